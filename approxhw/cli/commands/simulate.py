"""``approxhw simulate``: a design proven equal to its Graph on a simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import Command
from approxhw.cli.parameters.kinds import Given
from approxhw.cli.targets.registry import kinds_of
from approxhw.cli.targets.shared import SimulateOptions, page_anew, whose_design

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


def run(terminal: Terminal, given: Given) -> dict[str, object]:
    """Prove the design in folder DESIGN equal to its Graph on a simulator, vector by vector.

    Of an engine: a real layer of the model streams through it, and every bit is compared.
    """
    design = given.glance(SimulateOptions).design
    told = given.run(whose_design(design), terminal)
    page_anew(design)
    return told


COMMAND = Command("simulate", run, SimulateOptions, lambda: kinds_of("simulate"))
