"""``approxhw estimate``: area, power and delay of a design folder, or of any Verilog file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import Command
from approxhw.cli.parameters.kinds import Given
from approxhw.cli.targets.registry import kinds_of
from approxhw.cli.targets.shared import EstimateOptions, page_anew, whose_design
from approxhw.common.errors import OptionError, Problem

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


def run(terminal: Terminal, given: Given) -> dict[str, object]:
    """Measure area, power and delay of a design folder or of any Verilog file DESIGN."""
    design = given.glance(EstimateOptions).design
    if not design.exists():
        why = "there is no such design folder or Verilog file"
        raise OptionError("estimate", [Problem(str(design), why, "check the path")])
    if not design.is_dir():
        return given.run("verilog", terminal)
    told = given.run(whose_design(design), terminal)
    page_anew(design)
    return told


COMMAND = Command("estimate", run, EstimateOptions, lambda: kinds_of("estimate"))
