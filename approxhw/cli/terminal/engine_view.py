"""Matrix engines as people see them: layers, verdicts, costs, and the front of a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from approxhw.report.figures import saving

from .terminal import NO_TABLES, Terminal, how_many

if TYPE_CHECKING:
    from approxhw.artifacts.engine_front import EngineFront
    from approxhw.artifacts.folder import Plain
    from approxhw.engine.kept_verdicts import EngineVerdict
    from approxhw.engine.matrix.compile import CompiledEngine


def show_engine(terminal: Terminal, compiled: CompiledEngine) -> None:
    """Say what an engine is: its layers, what they take, and how right it is."""
    from rich.table import Table

    design = compiled.design
    terminal.say(f"engine: {compiled.folder}  ({how_many(len(design.layers), 'matrix products')})")
    if design.accuracy:
        told = design.accuracy
        least = f", always the most frequent class {told['majority']:.4f}" if "majority" in told else ""
        terminal.say(
            f"accuracy on {told['rows']} rows: float32 {told['onnx']:.4f}, engine {told['engine']:.4f}{least}; "
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


def _codes_said(compiled: CompiledEngine) -> list[str]:
    """Return a line for each port that carries 8-bit codes."""
    from approxhw.engine.matrix.cost import engine_of

    said, beats = [], engine_of(compiled.design).beats()
    for port, beat in beats.items():
        told = [
            (int(each["elements"]), float(each["bits_after"]), float(each["relative"]))
            for layer in compiled.design.layers
            if (each := layer.compression.get(port)) is not None
        ]
        if beat["bits"] == beat["without_codes"]:
            continue
        line = f"{port} as 8-bit codes: beats of {beat['bits']} bits, not {beat['without_codes']}"
        if elements := sum(count for count, _, _ in told):
            bits = sum(after for _, after, _ in told) / elements
            relative = sum(count * error for count, _, error in told) / elements
            line += f"; {bits:.3f} bits a value, not 16; mean relative error {100 * relative:.2f} %"
        said.append(line)
    return said


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape("".join(c if c.isprintable() else "?" for c in text))


def show_stream(terminal: Terminal, found: EngineVerdict) -> None:
    """Say what came of a layer that was streamed through an engine."""
    stalls = ", ".join(f"{name} {count}" for name, count in found.stalled.items())
    terminal.say(
        f"{found.simulator}: layer {_plain(found.layer)[:60]} ({found.m} × {found.k} × {found.n}), {found.vectors} results, "
        f"{found.mismatches} mismatches; {found.clocks} clocks of at least {found.least_clocks}, array used "
        f"{100 * found.utilisation:.0f} %, stalls: {stalls} ({sum(found.seconds.values()):.1f} s)"
    )


def show_cost(terminal: Terminal, found: Mapping[str, Plain]) -> None:
    """Say what an engine and one of its elements cost."""
    pe, whole = found["estimate_pe"], found["estimate"]
    kept = "not known to be kept" if pe["met"] is None else "kept" if pe["met"] else "missed"
    terminal.say(
        f"element in {found['library']}: {pe['area_um2']:.0f} µm², {pe['power_mw']:.4g} mW, {pe['delay_ns']:.3f} ns; clock of "
        f"{pe['clock_ns']:g} ns {kept} by the element; {pe['checked']} states equal to the reference ({pe['made']})"
    )
    show_whole(terminal, whole, "multiply-adds")


def show_whole(terminal: Terminal, whole: Mapping[str, Plain], unit: str) -> None:
    """Say what an array with all around it costs, and, of its memories, what is known; ``unit``: what it does in a clock."""
    peak = whole["peak_gmac_per_s"]
    speed = f"; {NO_TABLES}" if peak is None else f", {peak:.4g} billion {unit} a second at most"
    if whole["met"] is False:
        speed += f", at the {whole['kept_clock_ns']:.4g} ns that it keeps"
        timed = [part for part in whole["parts"] if "delay_ns" in part]
        if timed:
            slowest = max(timed, key=lambda part: part["delay_ns"])["part"]
            speed += f" and not {whole['clock_ns']:g} ns, for {slowest}"
    terminal.say(
        f"engine: {whole['area_mm2']:.4g} mm² and {whole['power_mw']:.4g} mW without memories of {whole['memory_bits']} "
        f"bits{speed}"
    )
    if whole["memory_area_um2"] is not None:
        terminal.say(f"memories besides: {whole['memory_area_um2'] * 1e-6:.4g} mm² by {_plain(whole['memory_source'])}")


def show_engine_front(terminal: Terminal, front: EngineFront) -> None:
    """Print the members as a table, which one is chosen and why."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    more = [each for each in front.costs if each.name not in ("area", "energy")]
    titles = (
        "member",
        "validation",
        "test",
        "elements µm²",
        "energy nJ",
        *(("saved",) if front.exact_energy_nj else ()),
        *(each.title.replace(",", "") for each in more),
    )
    for title in (*titles, "arithmetic", ""):  # where a terminal is narrow, names are folded and no figure is cut
        named = title == "arithmetic"
        left = named or not title
        table.add_column(
            title, justify="left" if left else "right", no_wrap=not named, overflow="fold" if named else "ellipsis"
        )
    for member in front.members:
        shares = [f"{100 * share:.2f} %" for share in (member.validation_accuracy, member.test_accuracy)]
        cost = [f"{member.area_um2:.0f}", f"{member.energy_nj:.4g}"]
        cost += [saving(member.saved)] if front.exact_energy_nj else []
        cost += [f"{each.value(member):.4g}" for each in more]
        named = ", ".join(member.arithmetics)
        table.add_row(str(member.index), *shares, *cost, _plain(named), "[bold]chosen[/]" if member.chosen else "")
    terminal.out.print(table)
    told = front.onnx
    given = "float32" if front.exact_energy_nj is None else "the model as it is given"
    terminal.say(f"{given}: validation {100 * told['validation']:.2f} %, test {100 * told['test']:.2f} %")
    if front.exact_energy_nj is not None:
        terminal.say(f"energy of exact products: {front.exact_energy_nj:.4g} nJ an inference")
        array = f"approxhw estimate {front.folder / 'chosen'}"
        terminal.say(f"energy and what is saved are those of the operators alone; the array's: {array}")
    if front.rank_correlation is not None:
        terminal.say(f"estimated harm and counted errors: rank correlation {front.rank_correlation:.2f}")
    if "test" in front.majority:
        terminal.say(f"always the most frequent class: test {100 * front.majority['test']:.2f} %")
    for warning in front.warnings:
        terminal.warn(warning)
    if front.chosen.passes:
        terminal.say(f"shape of the chosen one: {_plain(front.chosen.passes)}")
        for name, became in [*front.chosen.sizes.items()][:24]:
            terminal.say(f"  {_plain(name)[:60]}: {_plain(became)}")
    terminal.say(f"chosen: {front.folder / 'chosen'}, {front.rule}")
    terminal.say(f"front: {front.folder / 'report.html'}")
    terminal.say(f"{front.evaluations} evaluations, {front.seconds:.0f} s")
