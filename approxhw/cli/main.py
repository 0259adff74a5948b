"""The command line: reads arguments, calls the library, prints. Exit codes are those of ``approxhw.common.errors``."""

from __future__ import annotations

import json
import math
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from approxhw.common.errors import ApproxhwError, OptionError, Problem, ToolNotFoundError, shown
from approxhw.common.version import __version__
from approxhw.sim.simulators.registry import SIMULATORS

from .added_target import compile_added_target
from .compress import compress_options, run_compress
from .eight_bit_rtl import eight_bit_options, run_eight_bit_rtl
from .engine import TARGET as ENGINE
from .engine import (
    compile_engine_command,
    engine_options,
    engine_search_options,
    engine_simulation_options,
    estimated_engine,
    open_if_engine,
    printed_options,
    printed_search,
    refuse_foreign,
    search_command,
    simulated_engine,
)
from .engine import summary as engine_summary
from .link_model import link_options, run_link_model
from .search import compile_member, run_search, search_options
from .terminal import Terminal


class _Group(click.Group):
    """Commands whose names are suggested where one is mistyped; wrong options are JSON too where that was asked for."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["json"] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if ctx.meta["json"]:
                _tell_machine(error.format_message(), error.exit_code)
            raise

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from approxhw.common.options import suggestion

        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            ctx.fail(f"no such command {args[0]!r}{suggestion(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="approxhw")
def main() -> None:
    """Trained ONNX classifiers in; verified, low-cost Verilog out, with its area and power."""


def _command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give *function* ``--json`` and ``-v``, a terminal, and errors as users read them."""
    import functools

    @functools.wraps(function)
    def wrapper(as_json: bool, verbose: bool, **arguments: Any) -> None:
        terminal = Terminal(as_json)
        try:
            with terminal:
                result = function(terminal, **arguments)
        except ApproxhwError as error:
            if verbose:
                traceback.print_exc()
            _fail(str(error), error.exit_code, as_json)
        except KeyboardInterrupt:
            _fail("interrupted; what was finished stays", 130, as_json)
        except (BrokenPipeError, click.ClickException, click.exceptions.Exit):
            raise
        except OSError as error:  # what the library did not expect: a full disk under temporary files, say
            from approxhw.common.files import unwritable

            if verbose:
                traceback.print_exc()
            refused = unwritable(Path(error.filename or "temporary files"), error)
            _fail(str(refused), refused.exit_code, as_json)
        except Exception as error:
            if verbose:
                traceback.print_exc()
            text = f"defect of approxhw: {type(error).__name__}: {error}\n    do: run it again with -v and report what it says"
            _fail(text, 70, as_json)
        else:
            if as_json:
                click.echo(json.dumps(result, indent=1))

    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Show tracebacks."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else."),
    ):
        wrapper = option(wrapper)
    return wrapper


def _fail(text: str, code: int, as_json: bool) -> None:
    if as_json:
        _tell_machine(text, code)
    click.echo(f"error: {text}", err=True)
    sys.exit(code)


def _tell_machine(text: str, code: int) -> None:
    click.echo(json.dumps({"error": text, "exit_code": code}, indent=1))


def _numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        why = f"{shown(text)!r} is no finite number, nor such numbers with commas between"
        raise OptionError("options", [Problem(option, why, "such as 0 or 0,0,-1.5")])
    return numbers


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@_command
def check(terminal: Terminal, model: Path) -> dict[str, Any]:
    """List everything that keeps MODEL from being compiled."""
    from approxhw.common.errors import UnsupportedModelError
    from approxhw.flow.compile import check as check_model

    problems = check_model(model)
    if problems:
        raise UnsupportedModelError(str(model), problems)
    from approxhw.flow.compile import read

    graph = read(model)
    terminal.say(f"{model}: can be compiled: {graph.input.type.elements} inputs, {graph.classes} classes")
    return {"model": str(model), "problems": [], "inputs": graph.input.type.elements, "classes": graph.classes}


@main.command(name="compile")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", help="NAME.npz, NAME.csv, X.npy,y.npy or sklearn:NAME; ranges come from its training rows.")
@click.option("--target", default="printed", show_default=True, help="What to build for: printed or matrix-engine.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Design folder.  [default: build/NAME]")
@click.option("--pipeline", default="printed-exact", show_default=True, help="Named list of passes.")
@click.option("--passes", help="Passes instead of the pipeline's, such as fold-affine,quantize-weights{bits=6}.")
@click.option("--input-bits", type=int, default=4, show_default=True, help="Bits of an input code.")
@click.option("--input-code", default="round", show_default=True, help="round, or floor16 (the papers' code).")
@click.option("--ranges", default="mse", show_default=True, help="mse or extremes: how training rows give the ends.")
@click.option("--low", help="Lower end of the readings: one number, or one a feature.")
@click.option("--high", help="Upper end of the readings: one number, or one a feature.")
@click.option("--weight-bits", type=int, default=8, show_default=True, help="Bits of a weight, 2 to 16.")
@click.option("--hidden-bits", type=int, help="Bits of hidden activations.  [default: full width]")
@click.option(
    "--compress", help="8-bit codes: dynamic8, static8, mantissa8, linear8 or auto, then ,block=256,max=pow2…"
)
@click.option("--registers", is_flag=True, help="Registered inputs and output.")
@click.option("--steps", is_flag=True, help="Keep the Graph after every pass in steps/.")
@click.option("--from-step", type=int, help="Start behind this step of the design that is in the folder already.")
@click.option("--library", default="egfet", show_default=True, help="Cell library, or a Liberty file.")
@click.option("--no-simulate", is_flag=True, help="Leave the simulators out.")
@click.option("--no-estimate", is_flag=True, help="Leave synthesis out.")
@click.option("--require-tools", is_flag=True, help="A missing simulator is an error, not a note.")
@click.option("--pick", help="MODEL is a front: its member knee, chosen, cheapest, within:5% or a number.  [chosen]")
@engine_options
@_command
def compile_command(terminal: Terminal, model: Path, **given: Any) -> dict[str, Any]:
    """Compile MODEL into a design folder: Verilog, simulated on both simulators, measured, with a report.

    Targets: printed, a bespoke circuit of a classifier; matrix-engine, an array that multiplies any model's matrices.

    MODEL may be the folder of a front, too: one of its members is compiled.
    """
    from approxhw.flow.compile import Printed, compile
    from approxhw.ir.pass_manager import parse_passes

    if given["target"] == ENGINE:
        return compile_engine_command(terminal, model, given)
    if given["target"] != "printed":
        return compile_added_target(terminal, model, given)
    refuse_foreign(given, engine=False)
    if not given["no_estimate"]:
        _check_library(given["library"])
    if given["pick"] or (model / "front.json").is_file():
        return _finished(terminal, compile_member(model, given), given)
    target = Printed(
        input_bits=given["input_bits"],
        input_code=given["input_code"],
        ranges=given["ranges"],
        weight_bits=given["weight_bits"],
        hidden_bits=given["hidden_bits"],
        low=_numbers(given["low"], "--low"),
        high=_numbers(given["high"], "--high"),
        registers=given["registers"],
        pipeline=given["pipeline"],
        library=given["library"],
        compress=given["compress"],
    )
    compiled = compile(
        model,
        target=target,
        data=given["data"],
        output=given["output"],
        passes=parse_passes(given["passes"]) if given["passes"] else None,
        steps=given["steps"],
        from_step=given["from_step"],
        command=shlex.join(["approxhw", *sys.argv[1:]]),
        on_progress=lambda step, done: terminal.step(step, done),
    )
    return _finished(terminal, compiled, given)


def _finished(terminal: Terminal, compiled: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Simulate, measure and report a compiled design as far as it was asked for."""
    terminal.compiled(compiled)
    for simulator in () if given["no_simulate"] else SIMULATORS:
        try:
            _simulate(terminal, compiled, simulator)
        except ToolNotFoundError as error:
            if given["require_tools"]:
                raise
            terminal.warn(f"not simulated on {simulator}: {error}")
    if not given["no_estimate"]:
        terminal.estimated(compiled.estimate(on_progress=terminal.progress))
    terminal.say(f"report: {compiled.report()}")
    return _summary(compiled)


@main.command()
@search_options
@engine_search_options
@_command
def search(terminal: Terminal, model: Path, **given: Any) -> dict[str, Any]:
    """Search the smallest circuits that still do MODEL's job: a front of designs, and an interactive page.

    With --target matrix-engine: the cheapest arithmetic of every matrix product.
    """
    if given["target"] == ENGINE:
        return search_command(terminal, model, given)
    return run_search(terminal, model, printed_search(given))


def _check_library(library: str) -> None:
    """Refuse a cell library that cannot be used before anything is built for it."""
    from approxhw.backends.estimate import load_library

    load_library(library)


def _simulate(terminal: Terminal, compiled: Any, simulator: str, **options: Any) -> None:
    terminal.simulated(compiled.simulate(simulator, on_progress=terminal.progress, **options))


def _summary(compiled: Any) -> dict[str, Any]:
    """Return the one object that ``--json`` prints: what is known of the design so far."""
    from approxhw.flow.write_report import estimates, verdicts

    found = estimates(compiled.folder)
    seconds = dict(compiled.design.seconds)
    simulation = verdicts(compiled.folder)
    seconds.update({f"simulate {row['simulator']}": sum(row["seconds"].values()) for row in simulation})
    if found:
        seconds["estimate"] = found[-1]["seconds"]
    return {
        "design": str(compiled.folder),
        "accuracy": dict(compiled.accuracy),
        "simulation": simulation,
        "estimate": found[-1] if found else None,
        "seconds": seconds,
        "warnings": list(compiled.design.warnings),
    }


@main.command()
@click.argument("design", type=click.Path(path_type=Path))
@click.option("--simulator", default="verilator", show_default=True, help="icarus or verilator.")
@click.option("--random", type=click.IntRange(0), default=1000, show_default=True, help="Random vectors.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the random vectors.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds for all of it.",
)
@engine_simulation_options
@_command
def simulate(terminal: Terminal, design: Path, simulator: str, **options: Any) -> dict[str, Any]:
    """Prove the design in folder DESIGN equal to its Graph on a simulator, vector by vector.

    Of a matrix engine: a real layer of the model streams through it, and every bit is compared.
    """
    from approxhw.flow.compile import open_design

    if (engine := open_if_engine(design)) is not None:
        return simulated_engine(terminal, engine, simulator, options)
    options = printed_options(options)
    compiled = open_design(design)
    _simulate(terminal, compiled, simulator, **options)
    return _summary(compiled)


@main.command()
@click.argument("design", type=click.Path(path_type=Path))
@click.option("--library", help="egfet, egfet_0v6, sky130 or a Liberty file.  [default: the design's, else egfet]")
@click.option("--liberty", type=click.Path(path_type=Path), help="A Liberty file (.lib or .lib.gz) as the library.")
@click.option("--top", help="Top module of a Verilog file.")
@click.option("--vectors", type=click.Path(path_type=Path), help="npz with an array of codes a port (Verilog files).")
@click.option("--frequency", type=float, help="Vectors per second.  [default: the library's, 5 for printed]")
@click.option("--clock-ns", type=float, help="Clock period in ns: tells the slack; a vector a clock.")
@click.option("--prove", is_flag=True, help="Also prove blocks of at most 10 input bits by SAT (designs).")
@click.option(
    "--recipe", default="reference", show_default=True, help="reference, smallest, or timed (for --clock-ns)."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds a tool may take.",
)
@_command
def estimate(terminal: Terminal, design: Path, **given: Any) -> dict[str, Any]:
    """Measure area, power and delay of a design folder or of any Verilog file DESIGN."""
    from approxhw.flow.compile import open_design
    from approxhw.flow.measure import estimate as measure

    library = given["liberty"] or given["library"]
    common = {name: given[name] for name in ("frequency", "clock_ns", "timeout", "recipe")}
    if not design.exists():
        why = "there is no such design folder or Verilog file"
        raise OptionError("estimate", [Problem(str(design), why, "check the path")])
    if (engine := open_if_engine(design)) is not None:
        return estimated_engine(terminal, engine, given)
    if design.is_dir():
        foreign = [f"--{name}" for name in ("top", "vectors") if given[name] is not None]
        if foreign:
            why = "is for Verilog files; a design folder knows its own"
            raise OptionError("estimate", [Problem(name, why) for name in foreign])
        compiled = open_design(design)
        found = compiled.estimate(library, prove=given["prove"], on_progress=terminal.progress, **common)
        terminal.estimated(found)
        summary = _summary(compiled)
        terminal.proofs(summary["estimate"]["proofs"])
        return summary
    if given["prove"]:
        raise OptionError("estimate", [Problem("--prove", "is for design folders")])
    terminal.step("synthesise", 0.0)
    found = measure(design, top=given["top"], library=library or "egfet", vectors=given["vectors"], **common)
    terminal.estimated(found)
    return {"design": str(design), "estimate": found.as_json(), "seconds": {"estimate": found.seconds}}


@main.command()
@click.argument("design", type=click.Path(path_type=Path))
@_command
def report(terminal: Terminal, design: Path) -> dict[str, Any]:
    """Write report.html into the design folder DESIGN from all that is known so far."""
    from approxhw.flow.compile import open_design

    if (engine := open_if_engine(design)) is not None:
        terminal.say(f"report: {engine.report()}")
        return {**engine_summary(engine), "report": str(design / "report.html")}
    compiled = open_design(design)
    path = compiled.report()
    terminal.say(f"report: {path}")
    return {**_summary(compiled), "report": str(path)}


@main.command()
@click.argument("graph", type=click.Path(path_type=Path))
@click.option("--passes", required=True, help="Passes and named pipelines, such as fold-affine,narrow-formats.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The changed Graph, .axir.")
@click.option("--data", help="Rows for passes that learn from them, and for accuracies.")
@click.option("--steps", type=click.Path(path_type=Path), help="Folder for the Graph after every pass.")
@click.option("--from-step", type=int, default=0, help="Start behind this step in the --steps folder.")
@_command
def opt(terminal: Terminal, graph: Path, **given: Any) -> dict[str, Any]:
    """Run passes on the Graph in file GRAPH (.axir), the verifier after every one."""
    from approxhw.flow.opt import optimize_file

    ledger = optimize_file(
        graph,
        given["output"],
        given["passes"],
        data=given["data"],
        steps=given["steps"],
        from_step=given["from_step"],
        on_pass=lambda name: terminal.step(name, 0.0),
    )
    terminal.ledger(ledger)
    return {"graph": str(given["output"]), "passes": ledger}


@main.command()
@_command
def passes(terminal: Terminal) -> dict[str, Any]:
    """List passes with their contracts and options, and the named pipelines."""
    from approxhw.ir.pass_manager import (
        available_passes,
        available_pipelines,
        describe,
        named_pipeline,
        pass_named,
        spell,
    )

    infos = [describe(pass_named(name)) for name in available_passes()]
    pipelines = {name: [spell(item) for item in named_pipeline(name)] for name in available_pipelines()}
    terminal.passes(infos, pipelines)
    return {
        "passes": [
            {
                "name": info.name,
                "kind": info.kind,
                "contract": info.contract,
                "package": info.package,
                "options": [
                    {"name": o.name, "type": o.type, "default": o.default, "help": o.help} for o in info.options
                ],
            }
            for info in infos
        ],
        "pipelines": pipelines,
    }


@main.command()
@compress_options
@_command
def compress(terminal: Terminal, model: Path, **given: Any) -> dict[str, Any]:
    """Store the weights of MODEL as 8-bit codes that any ONNX runtime decodes."""
    return run_compress(terminal, model, given)


@main.command(name="eight-bit-rtl")
@eight_bit_options
@_command
def eight_bit_rtl(terminal: Terminal, **given: Any) -> dict[str, Any]:
    """Write a decoder, encoder, normalizer or compressor of the 8-bit code FORMAT as Verilog."""
    return run_eight_bit_rtl(terminal, given)


@main.command(name="link-model")
@link_options
@_command
def link_model(terminal: Terminal, **given: Any) -> dict[str, Any]:
    """Predict how much faster several GPUs train a model, with float32 and with 8-bit exchange."""
    return run_link_model(terminal, given)


@main.command()
@click.option("--count", type=click.IntRange(1), default=200, show_default=True, help="Networks.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the first network.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("build/fuzz"), show_default=True)
@click.option("--simulator", multiple=True, default=SIMULATORS, show_default=True, help="May be given twice.")
@click.option("--no-netlist", is_flag=True, help="Leave the synthesised netlists out.")
@_command
def fuzz(terminal: Terminal, count: int, seed: int, output: Path, simulator: tuple[str, ...], no_netlist: bool) -> Any:
    """Check random small networks: interpreter = Icarus = Verilator = synthesised netlist."""
    from approxhw.flow.fuzz import fuzz as run_fuzz

    result = run_fuzz(
        count,
        seed=seed,
        folder=output,
        simulators=simulator,
        netlists=not no_netlist,
        on_progress=terminal.progress,
    )
    compared = ", ".join(f"{where} {number}" for where, number in result.checked.items())
    terminal.say(f"{count} networks from seed {seed} agree everywhere; vectors compared: {compared}")
    return {"networks": count, "seed": seed, "vectors": result.checked, "mismatches": 0, "constant": result.constant}


if __name__ == "__main__":
    main()
