"""``approxhw estimate FILE.v``: any Verilog, measured by the ruler of our own designs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.common.option_fields import nested, option, values_of

from .shared import EstimateOptions, Measure

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class VerilogOptions:
    """What ``estimate`` takes for a file of Verilog."""

    top: str | None = option("top module of a Verilog file", None)
    vectors: Path | None = option("npz with an array of codes a port", None)
    measure: Measure = nested(Measure())


def run(terminal: Terminal, asked: EstimateOptions, own: VerilogOptions) -> Json:
    """Measure a file of Verilog, and say what it costs."""
    from approxhw.flow.measure import estimate

    terminal.step("synthesise", 0.0)
    found = estimate(
        asked.design,
        top=own.top,
        vectors=own.vectors,
        library=asked.cells or "egfet",
        timeout=asked.timeout,
        **values_of(own.measure),
    )
    terminal.estimated(found)
    return {"design": str(asked.design), "estimate": found.as_json(), "seconds": {"estimate": found.seconds}}


KIND = CommandKind(
    "verilog",
    "Verilog files",
    VerilogOptions,
    run,
    is_for="is for Verilog files; a design folder knows its own",
)
