"""``approxhw estimate FILE.v``: any Verilog, measured by the ruler of our own designs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.common.option_fields import argument, nested, option, values_of

from .shared import EstimateOptions, Measure

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class VerilogOptions:
    """What ``estimate`` takes for files of Verilog."""

    more: tuple[str, ...] = argument("further files of the same circuit", (), metavar="FILE")
    top: str | None = option(
        "top module of Verilog files", None, shown_default="the only one that no other instantiates"
    )
    vectors: Path | None = option("npz with an array of codes a port", None)
    include: tuple[str, ...] = option(
        "folder in which includes and data files are looked for", (), short="-I", metavar="FOLDER"
    )
    define: tuple[str, ...] = option("macro of the preprocessor", (), short="-D", metavar="NAME=VALUE")
    parameter: tuple[str, ...] = option("parameter of the top module", (), metavar="NAME=VALUE")
    allow_undriven: bool = option("count nets that nothing drives as 0, and name them, instead of refusing", False)
    measure: Measure = nested(Measure())


def run(terminal: Terminal, asked: EstimateOptions, own: VerilogOptions) -> Json:
    """Measure files of Verilog, and say what they cost."""
    from approxhw.flow.stages.measure import estimate

    terminal.step("synthesise", 0.0)
    found = estimate(
        [asked.design, *own.more],
        top=own.top,
        vectors=own.vectors,
        library=asked.cells or "egfet",
        include=own.include,
        define=own.define,
        parameter=own.parameter,
        timeout=asked.timeout,
        allow_undriven=own.allow_undriven,
        **values_of(own.measure),
    )
    terminal.estimated(found)
    return {
        "design": str(asked.design),
        "files": [str(asked.design), *own.more],
        "estimate": found.as_json(),
        "seconds": {"estimate": found.seconds},
    }


KIND = CommandKind(
    "verilog",
    "Verilog files",
    VerilogOptions,
    run,
    is_for="is for Verilog files; a design folder knows its own",
)
