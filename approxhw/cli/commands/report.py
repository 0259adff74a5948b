"""``approxhw report``: one page of all that is known of a design folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import Command
from approxhw.common.option_fields import argument

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class ReportOptions:
    """What ``report`` takes."""

    design: Path = argument("folder of a design")


def run(terminal: Terminal, options: ReportOptions) -> dict[str, object]:
    """Write report.html into the design folder DESIGN from all that is known so far."""
    from approxhw.flow.compile import open_folder

    compiled = open_folder(options.design)
    path = compiled.report()
    terminal.say(f"report: {path}")
    return {**compiled.summary(), "report": str(path)}


COMMAND = Command("report", run, ReportOptions)
