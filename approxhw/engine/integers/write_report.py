"""Fill the report of an integer engine's folder with all that is known so far."""

from __future__ import annotations

from pathlib import Path

from approxhw.artifacts.integer_engine import IntegerDesign

from ..commands import commands_of
from ..kept_verdicts import verdicts_in
from .cost import integer_estimates


def report_integer_engine(folder: Path, design: IntegerDesign) -> Path:
    """Write ``report.html`` into *folder*; return its path."""
    from approxhw.report.engines.integer_page import render_integer_engine
    from approxhw.report.page import write_page

    runs, estimates = verdicts_in(folder), integer_estimates(folder)
    commands = commands_of(folder, design.command, "integer-engine", runs, estimates)
    path = folder / "report.html"
    write_page(path, render_integer_engine(design, runs, estimates[-1] if estimates else None, str(folder), commands))
    return path
