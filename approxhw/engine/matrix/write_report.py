"""Fill the report of a matrix engine's folder with all that is known so far."""

from __future__ import annotations

from pathlib import Path

from approxhw.artifacts.engine import EngineDesign

from ..commands import commands_of
from ..kept_verdicts import verdicts_in
from .cost import engine_estimates, engine_of


def report_engine(folder: Path, design: EngineDesign) -> Path:
    """Write ``report.html`` into *folder*; return its path."""
    from approxhw.report.engines.engine_page import render_engine
    from approxhw.report.page import write_page

    runs, estimates = verdicts_in(folder), engine_estimates(folder)
    commands = commands_of(folder, design.command, "matrix-engine", runs, estimates)
    path = folder / "report.html"
    beats = engine_of(design).beats() if design.engine.get("codes") else {}
    cost = estimates[-1] if estimates else None
    write_page(path, render_engine(design, runs, cost, str(folder), commands, beats))
    return path
