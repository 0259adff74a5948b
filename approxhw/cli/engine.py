"""The command line of matrix engines: what ``compile``, ``simulate``, ``estimate`` and ``report`` do for them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from approxhw.common.errors import OptionError, Problem, ToolNotFoundError, shown
from approxhw.sim.simulators.registry import SIMULATORS

from .interrupt import Interrupt
from .terminal import Terminal

TARGET = "matrix-engine"

OPTIONS = (
    click.option("--format", "number_format", default="bf16", show_default=True, help="bf16, fp16, e4m3 or e5m2."),
    click.option("--normalization", default="an-1-2", show_default=True, help="exact, or an-K-L."),
    click.option("--alignment", type=int, help="Bits of distance, 1 to 4: smaller addends farther away are dropped."),
    click.option("--accumulator-bits", type=int, default=20, show_default=True, help="Significand of sums, 16 to 24."),
    click.option("--array", default="16x16", show_default=True, help="ROWSxCOLUMNS."),
    click.option("--depth", type=int, default=2, show_default=True, help="Pipeline registers of an element, 1 to 4."),
    click.option("--result", default="float32", show_default=True, help="What leaves a column: float32 or bf16."),
    click.option("--shape", multiple=True, help="Sizes of an input that the model leaves open: NAME=1x128."),
    click.option("--clock-ns", type=float, default=10.0, show_default=True, help="Clock period of estimates."),
)
"""Options of ``compile`` that mean something for a matrix engine alone."""

_STREAMS = (
    click.option("--layer", help="Matrix engine: the layer that is streamed, by name or number.  [default: the first]"),
    click.option(
        "--rows", type=click.IntRange(1), help="Matrix engine: rows of its activations at most.  [default: 64]"
    ),
    click.option(
        "--pause", type=click.FloatRange(0, 1, max_open=True), help="Matrix engine: how often a stream rests."
    ),
)

_SEARCH = (
    click.option(
        "--target", default="printed", show_default=True, help="What to search for: printed or matrix-engine."
    ),
    click.option(
        "--objective", help="Matrix engine: area of the elements or energy, short for --objectives errors,THIS."
    ),
    click.option("--array", default="16x16", show_default=True, help="Matrix engine: ROWSxCOLUMNS."),
    click.option("--depth", type=int, default=2, show_default=True, help="Matrix engine: registers of an element."),
    click.option("--shape", multiple=True, help="Matrix engine: sizes of an input that the model leaves open."),
    click.option("--clock-ns", type=float, default=10.0, show_default=True, help="Matrix engine: clock period."),
)

_OWN = {"number_format", "normalization", "alignment", "accumulator_bits"}
_OWN |= {"array", "depth", "result", "shape", "clock_ns"}
_SHARED = {"data", "target", "output", "library", "compress", "no_simulate", "no_estimate", "require_tools"}
ENGINE_OWN = ("population", "generations", "members", "islands", "objectives")
"""Options of ``search`` whose defaults are others for a matrix engine."""


def engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* the options of a matrix engine."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def engine_simulation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* the options of ``simulate`` that mean something for a matrix engine alone."""
    for option in reversed(_STREAMS):
        command = option(command)
    return command


def engine_search_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* the options of ``search`` that mean something for a matrix engine alone, and ``--target``."""
    for option in reversed(_SEARCH):
        command = option(command)
    return command


def printed_search(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of ``search`` for printed circuits; raise :class:`OptionError` for those of a matrix engine."""
    if given["target"] != "printed":
        from approxhw.common.options import suggestion

        why = f"there is no target {shown(given['target'])!r}{suggestion(given['target'], ['printed', TARGET])}"
        raise OptionError("search", [Problem("--target", why)])
    own = ("objective", "array", "depth", "shape", "clock_ns")
    _refuse("search", own, f"is for --target {TARGET}")
    return {name: value for name, value in given.items() if name not in (*own, "target")}


def search_command(terminal: Terminal, model: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Search arithmetic for every product of a model as the command line asks for it."""
    from approxhw.artifacts.front import share_of
    from approxhw.backends.estimate import load_library
    from approxhw.dse.targets import search_engine
    from approxhw.engine.api import parse_shapes
    from approxhw.engine.search import EngineSearch
    from approxhw.engine.target import MatrixEngine, array_of

    shared = {"data", "output", "population", "generations", "max_accuracy_loss", "seed", "jobs", "members", "library"}
    shared |= {"objectives", "islands", "scheduler", "resume"}
    own = {"target", "objective", "array", "depth", "shape", "clock_ns"}
    _refuse("search", [name for name in given if name not in shared | own], "is for printed circuits")
    context = click.get_current_context()

    def said(name: str) -> bool:
        return context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT

    chosen = {name: given[name] for name in ENGINE_OWN if said(name)}
    # one percent, where the search of printed circuits allows five
    loss = share_of(given["max_accuracy_loss"], "--max-accuracy-loss") if said("max_accuracy_loss") else 0.01
    options = EngineSearch(max_accuracy_loss=loss, objective=given["objective"], seed=given["seed"], **chosen)
    rows, columns = array_of(given["array"])
    target = MatrixEngine(rows=rows, columns=columns, depth=given["depth"], clock_ns=given["clock_ns"])
    if said("library"):
        target = replace(target, library=given["library"])
    target.array()
    load_library(target.library)
    stop = Interrupt(terminal)

    def tell(record: Mapping[str, Any]) -> None:
        terminal.progress("generations", record["generation"], record["generations"])
        if record["generation"] in (0, record["generations"]):
            terminal.say(
                f"generation {record['generation']}/{record['generations']}: least {record['least_errors']} wrong rows, least "
                f"cost {record['least_cost']:.6g}, {record['front']} on the front"
            )

    stop.enter()
    try:
        front = search_engine(
            model,
            data=given["data"],
            output=given["output"],
            target=target,
            options=options,
            shape=parse_shapes(given["shape"]) or None,
            jobs=given["jobs"],
            scheduler=given["scheduler"],
            resume=given["resume"],
            command=shlex.join(["approxhw", *sys.argv[1:]]),
            on_generation=tell,
            on_progress=terminal.progress,
            stop=stop,
        )
    finally:
        stop.leave()
    _show_front(terminal, front)
    return front.as_json()


def _show_front(terminal: Terminal, front: Any) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    more = [each for each in front.costs if each.name not in ("area", "energy")]
    titles = (
        "member",
        "validation",
        "test",
        "elements µm²",
        "energy nJ",
        *(each.title.replace(",", "") for each in more),
    )
    for title in (*titles, "arithmetic", ""):
        table.add_column(title, justify="left" if title in ("", "arithmetic") else "right")
    for member in front.members:
        shares = [f"{100 * share:.2f} %" for share in (member.validation_accuracy, member.test_accuracy)]
        cost = [f"{member.area_um2:.0f}", f"{member.energy_nj:.4g}"]
        cost += [f"{each.value(member):.4g}" for each in more]
        named = ", ".join(member.arithmetics)
        table.add_row(str(member.index), *shares, *cost, named, "[bold]chosen[/]" if member.chosen else "")
    terminal.out.print(table)
    told = front.onnx
    terminal.say(f"float32: validation {100 * told['validation']:.2f} %, test {100 * told['test']:.2f} %")
    terminal.say(f"chosen: {front.folder / 'chosen'}, {front.rule}")
    terminal.say(f"front: {front.folder / 'report.html'}")
    terminal.say(f"{front.evaluations} evaluations, {front.seconds:.0f} s")


def _refuse(command: str, names: Sequence[str], why: str) -> None:
    context = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    said = [name for name in names if context.get_parameter_source(name) is not default]
    if said:
        raise OptionError(command, [Problem(f"--{_spelled(name)}", why, "leave it out") for name in said])


def printed_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of ``simulate`` for a printed circuit; raise :class:`OptionError` for those of a matrix engine."""
    own = ("layer", "rows", "pause")
    _refuse("simulate", own, "is for matrix engines; this is a printed circuit")
    return {name: value for name, value in options.items() if name not in own}


def simulated_engine(terminal: Terminal, engine: Any, simulator: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Simulate a matrix engine with the options of ``simulate``."""
    _refuse("simulate", ["random"], "is for printed circuits; a matrix engine is fed with a layer's own numbers")
    told = {"layer": given["layer"], "vectors": given["rows"], "pause": given["pause"], "seed": given["seed"]}
    options = {name: value for name, value in told.items() if value is not None}
    simulate_command(terminal, engine, simulator, timeout=given["timeout"], **options)
    return summary(engine)


def estimated_engine(terminal: Terminal, engine: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Estimate a matrix engine with the options of ``estimate``."""
    foreign = ("top", "vectors", "frequency", "prove", "recipe")
    _refuse("estimate", foreign, "is not for matrix engines: give --library or --liberty, --clock-ns and --timeout")
    library = given["liberty"] or given["library"]
    estimate_command(terminal, engine, library, clock_ns=given["clock_ns"], timeout=given["timeout"])
    return summary(engine)


def refuse_foreign(given: Mapping[str, Any], *, engine: bool) -> None:
    """Raise :class:`OptionError` for options of ``compile`` that the other target has."""
    foreign = [name for name in given if (name not in _OWN | _SHARED if engine else name in _OWN)]
    _refuse("compile", foreign, "is for printed circuits" if engine else f"is for --target {TARGET}")


def _spelled(name: str) -> str:
    return {"number_format": "format"}.get(name, name).replace("_", "-")


def compile_engine_command(terminal: Terminal, model: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Compile a matrix engine as the command line asks for it, stream a layer through it, and measure it."""
    from approxhw.backends.estimate import load_library
    from approxhw.engine.api import parse_shapes
    from approxhw.engine.compile import compile_engine
    from approxhw.engine.target import MatrixEngine, array_of, engine_target

    refuse_foreign(given, engine=True)
    problems: list[Problem] = []
    target = MatrixEngine()
    sizes: dict[str, int] = {}
    try:
        sizes["rows"], sizes["columns"] = array_of(given["array"])
    except OptionError as error:
        problems += error.problems
    try:
        target = engine_target(
            format=given["number_format"],
            accumulator_bits=given["accumulator_bits"],
            normalization=given["normalization"],
            alignment=given["alignment"],
            depth=given["depth"],
            result=given["result"],
            clock_ns=given["clock_ns"],
            compress=given["compress"],
            **sizes,
        )
    except OptionError as error:
        problems += error.problems
    if problems:
        raise OptionError("compile", problems)
    context = click.get_current_context()
    if context.get_parameter_source("library") is not click.core.ParameterSource.DEFAULT:
        target = replace(target, library=given["library"])
    if not given["no_estimate"]:
        load_library(target.library)
    compiled = compile_engine(
        model,
        target=target,
        data=given["data"],
        output=given["output"],
        shape=parse_shapes(given["shape"]) or None,
        command=shlex.join(["approxhw", *sys.argv[1:]]),
        on_progress=terminal.step,
    )
    _show(terminal, compiled)
    for simulator in () if given["no_simulate"] or not compiled.design.operands else SIMULATORS:
        try:
            simulate_command(terminal, compiled, simulator)
        except ToolNotFoundError as error:
            if given["require_tools"]:
                raise
            terminal.warn(f"not simulated on {simulator}: {error}")
    if not given["no_estimate"] and compiled.design.operands:
        estimate_command(terminal, compiled)
    terminal.say(f"report: {compiled.report()}")
    return summary(compiled)


def _show(terminal: Terminal, compiled: Any) -> None:
    from rich.table import Table

    design = compiled.design
    terminal.say(f"engine: {compiled.folder}  ({len(design.layers)} matrix products)")
    if design.accuracy:
        told = design.accuracy
        terminal.say(
            f"accuracy on {told['rows']} rows: float32 {told['onnx']:.4f}, engine {told['engine']:.4f}; "
            f"{100 * told['agree']:.2f} % of the answers agree"
        )
    for line in _codes_said(compiled):
        terminal.say(line)
    table = Table(box=None, pad_edge=False)
    for title in ("layer", "op", "count", "M × K × N", "tiles", "clocks", "array used"):
        table.add_column(title, justify="left" if title in ("layer", "op") else "right")
    for layer in design.layers[:24]:
        row = [layer.name[:40], layer.op, str(layer.count), f"{layer.m} × {layer.k} × {layer.n}"]
        row += (
            [str(layer.tiles), str(layer.clocks), f"{100 * layer.utilisation:.0f} %"] if layer.tiles else ["", "", "–"]
        )
        table.add_row(*map(_plain, row))
    terminal.out.print(table)
    if len(design.layers) > 24:
        terminal.say(f"… and {len(design.layers) - 24} more: design.json")
    for warning in design.warnings:
        terminal.warn(warning)


def _codes_said(compiled: Any) -> list[str]:
    """Return a line for each port that carries 8-bit codes."""
    from approxhw.engine.cost import engine_of

    said, beats = [], engine_of(compiled.design).beats()
    for port, beat in beats.items():
        told = [layer.compression[port] for layer in compiled.design.layers if port in layer.compression]
        if beat["bits"] == beat["without_codes"]:
            continue
        line = f"{port} as 8-bit codes: beats of {beat['bits']} bits, not {beat['without_codes']}"
        if elements := sum(each["elements"] for each in told):
            bits = sum(each["bits_after"] for each in told) / elements
            relative = sum(each["elements"] * each["relative"] for each in told) / elements
            line += f"; {bits:.3f} bits a value, not 16; mean relative error {100 * relative:.2f} %"
        said.append(line)
    return said


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape("".join(c if c.isprintable() else "?" for c in text))


def simulate_command(terminal: Terminal, compiled: Any, simulator: str, **options: Any) -> Any:
    """Stream a layer through the engine and say what came of it."""
    terminal.step(f"simulate on {simulator}", 0.0)
    found = compiled.simulate(simulator, **options)
    terminal.step(f"simulate on {simulator}", 1.0)
    stalls = ", ".join(f"{name} {count}" for name, count in found.stalled.items())
    terminal.say(
        f"{simulator}: layer {_plain(found.layer)[:60]} ({found.m} × {found.k} × {found.n}), {found.vectors} results, "
        f"{found.mismatches} mismatches; {found.clocks} clocks of at least {found.least_clocks}, array used "
        f"{100 * found.utilisation:.0f} %, stalls: {stalls} ({sum(found.seconds.values()):.1f} s)"
    )
    return found


def estimate_command(terminal: Terminal, compiled: Any, library: Any = None, **options: Any) -> dict[str, Any]:
    """Measure the engine and one of its elements, and say what they cost."""
    found: dict[str, Any] = compiled.estimate(library, on_progress=terminal.progress, **options)
    pe, whole = found["estimate_pe"], found["estimate"]
    kept = "kept" if pe["met"] else "missed"
    terminal.say(
        f"element in {found['library']}: {pe['area_um2']:.0f} µm², {pe['power_mw']:.4g} mW, {pe['delay_ns']:.3f} ns; clock of "
        f"{pe['clock_ns']:g} ns {kept}; {pe['checked']} states equal to the reference ({pe['made']})"
    )
    terminal.say(
        f"engine: {whole['area_mm2']:.4g} mm² and {whole['power_mw']:.4g} mW without memories of {whole['memory_bits']} bits, "
        f"{whole['peak_gmac_per_s']:.4g} billion multiply-adds a second at most"
    )
    return found


def summary(compiled: Any) -> dict[str, Any]:
    """Return the one object that ``--json`` prints: what is known of the engine so far."""
    from approxhw.engine.cost import engine_estimates, engine_of
    from approxhw.engine.simulate import engine_verdicts

    estimates = engine_estimates(compiled.folder)
    beats = engine_of(compiled.design).beats()
    last = estimates[-1] if estimates else {"estimate": None, "estimate_pe": None}
    return {
        "design": str(compiled.folder),
        "engine": dict(compiled.design.engine),
        "beats": beats,
        "accuracy": dict(compiled.design.accuracy),
        "layers": [asdict(layer) for layer in compiled.design.layers],
        "simulation": engine_verdicts(compiled.folder),
        "estimate": last["estimate"],
        "estimate_pe": last["estimate_pe"],
        "seconds": dict(compiled.design.seconds),
        "warnings": list(compiled.design.warnings),
    }


def open_if_engine(design: Path) -> Any:
    """Return the engine in the folder *design*; None where it holds something else."""
    from approxhw.artifacts.engine import is_engine

    if not design.is_dir() or not is_engine(design):
        return None
    from approxhw.engine.compile import open_engine_design

    return open_engine_design(design)
