"""``approxhw multiplier``: what multipliers make of all their operands, what they cost, and which of them none beats."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import Command, command_line
from approxhw.cli.targets.shared import LIBRARIES
from approxhw.common.errors import shown
from approxhw.common.option_fields import argument, option

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal
    from approxhw.flow.multipliers.measure import MeasuredMultiplier, MeasuredMultipliers

SIGNS = ("weight", "none", "both")
"""As ``numerics.multipliers.signs`` has them: help loads no NumPy."""
SHOWN = 60
"""Multipliers that get a line of their own at most."""
BROKEN = 12
"""Sources that could not be read and are named at most; ``--json`` and the page have them all."""


@dataclass(frozen=True)
class MultiplierOptions:
    """What ``multiplier`` takes."""

    sources: tuple[str, ...] = argument("Verilog, .npz, one of ours (truncated-4, exact), a pattern or a folder")
    weight: str | None = option(
        "port of a module, axis a or b of a table, that is the weight", None, metavar="PORT", shown_default="the first"
    )
    signed: str | None = option(
        "operands in two's complement", None, choices=SIGNS, shown_default="found out; our own: both"
    )
    weight_bits: int | None = option("bits of the weight; checked, or as found", None, shown_default="our own: 8")
    x_bits: int | None = option("bits of the other operand; checked, or as found", None, shown_default="our own: 8")
    top: str | None = option("module of a file that has several on top", None, metavar="MODULE")
    library: str = option("egfet, egfet_0v6, sky130 or a Liberty file", "sky130", choices=LIBRARIES, metavar="LIBRARY")
    liberty: Path | None = option("a Liberty file (.lib or .lib.gz) as the library", None)
    frequency: float | None = option("products per second", None, shown_default="the library's, 100 million for sky130")
    clock_ns: float | None = option("clock period in ns: tells the slack; a product a clock", None)
    operands: Path | None = option("npz with weight and x, one of each a product: power and errors of those", None)
    export: Path | None = option("the products of the only multiplier, as .npz", None)
    output: Path | None = option(
        "folder of page, pictures and tables; left out: told alone", None, short="-o", metavar="FOLDER"
    )
    timeout: float = option("seconds a tool may take for one of them", 300.0, least=0, above=True)


def run(terminal: Terminal, options: MultiplierOptions) -> dict[str, object]:
    """Tell errors, area, power and delay of multipliers: files, folders of them, and our own."""
    from approxhw.flow.multipliers.measure import measure_multipliers
    from approxhw.flow.multipliers.write_report import export_table, write_multipliers

    measured = measure_multipliers(
        *options.sources,
        weight=options.weight,
        signed=options.signed,
        weight_bits=options.weight_bits,
        x_bits=options.x_bits,
        top=options.top,
        library=options.liberty or options.library,
        frequency=options.frequency,
        clock_ns=options.clock_ns,
        operands=options.operands,
        timeout=options.timeout,
        on_progress=terminal.progress,
    )
    _show(terminal, measured)
    if options.export is not None:
        export_table(measured, options.export)
        terminal.say(f"table: {options.export}")
    page = None if options.output is None else write_multipliers(measured, options.output, command_line())
    if page is not None:
        terminal.say(f"page: {page}")
    written = {"output": options.output, "export": options.export, "report": page}
    return {**measured.as_json(), **{name: None if path is None else str(path) for name, path in written.items()}}


def _show(terminal: Terminal, measured: MeasuredMultipliers) -> None:
    from approxhw.flow.multipliers.write_report import multiplier_rows, ruler
    from approxhw.report.figures import scaled
    from approxhw.report.multipliers.page import scales_of

    rows = multiplier_rows(measured)
    scales = scales_of(rows)
    titles = ["multiplier", "operands", "signed", *(title for title, _ in rows[0].figures)]
    titles += [*(f"{name}, {unit}" for name, (_, unit) in scales.items()), "none beats it in"]
    lines = [titles]
    ordered = sorted(rows, key=lambda row: (row.mean_share, row.name))
    for row in ordered[:SHOWN]:
        costs = [scaled(v, s) for v, s in zip((row.area_mm2, row.power_mw, row.delay_ms), scales.values(), strict=True)]
        figures = [value for _, value in row.figures]
        lines.append([shown(row.name, 40), row.operands, row.signed, *figures, *costs, ", ".join(row.fronts)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:  # a terminal may be narrower: lines then go on below, and no figure is cut
        cells = [
            cell.ljust(w) if i in (0, 1, 2, len(line) - 1) else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths))
        ]
        terminal.say("  ".join(cells).rstrip())
    if len(ordered) > SHOWN:
        terminal.say(f"… and {len(ordered) - SHOWN} more: --json, or -o FOLDER")
    terminal.say(f"{ruler(measured)}; shares are of 2^(bits of both operands)")
    _tell_more(terminal, measured, sorted(measured.operators, key=lambda each: (each.figures.mean_share, each.name)))


def _tell_more(terminal: Terminal, measured: MeasuredMultipliers, ordered: list[MeasuredMultiplier]) -> None:
    from approxhw.flow.multipliers.write_report import shown_figures

    for each in ordered[:SHOWN]:
        if each.in_use is not None:
            figures = ", ".join(f"{title.replace(',', '')} {value}" for title, value in shown_figures(each.in_use))
            terminal.say(f"{each.name}, of the given operands: {figures}")
    if len(ordered) == 1:
        (only,) = ordered
        if only.alike:
            terminal.say(f"signs found out: signed={only.table.signed}")
        if only.cost is not None and only.cost.clock_ns is not None:
            terminal.estimated(only.cost)
        if only.published is not None:
            said = ", ".join(f"{name} {value:g}" for name, value in only.published.values.items())
            terminal.say(f"{only.published.origin}: {said}")
    for each in ordered:
        for note in each.notes:
            terminal.warn(f"{each.name}: {note}")
    for note in measured.notes:
        terminal.warn(note)
    for problem in measured.broken[:BROKEN]:
        terminal.warn(f"not read: {problem}")
    if len(measured.broken) > BROKEN:
        terminal.warn(f"not read: {len(measured.broken) - BROKEN} more: --json, or -o FOLDER")


COMMAND = Command("multiplier", run, MultiplierOptions)
