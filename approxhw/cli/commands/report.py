"""``approxhw report``: one page of all that is known of a design folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import Command
from approxhw.cli.targets.registry import opened
from approxhw.common.option_fields import argument

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class ReportOptions:
    """What ``report`` takes."""

    design: Path = argument("folder of a design")


def run(terminal: Terminal, options: ReportOptions) -> dict[str, object]:
    """Write report.html into the design folder DESIGN from all that is known so far."""
    compiled, summary = opened(options.design)
    path = compiled.report()
    terminal.say(f"report: {path}")
    return {**summary(compiled), "report": str(path)}


COMMAND = Command("report", run, ReportOptions)
