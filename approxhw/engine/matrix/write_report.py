"""Fill the report of a matrix engine's folder with all that is known so far."""

from __future__ import annotations

import shlex
from pathlib import Path

from approxhw.artifacts.engine import EngineDesign

from .cost import engine_estimates, engine_of
from .simulate import engine_verdicts


def report_engine(folder: Path, design: EngineDesign) -> Path:
    """Write ``report.html`` into *folder*; return its path."""
    from approxhw.report.engines.engine_page import render_engine
    from approxhw.report.page import write_page

    runs, estimates = engine_verdicts(folder), engine_estimates(folder)
    made = design.command or f"approxhw compile MODEL --target matrix-engine -o {shlex.quote(str(folder))}"
    commands = [made]
    commands += [
        shlex.join(["approxhw", "simulate", str(folder), "--simulator", run["simulator"], "--layer", run["layer"]])
        for run in runs
    ]
    if estimates:
        commands.append(
            shlex.join(["approxhw", "estimate", str(folder), "--clock-ns", f"{estimates[-1]['clock_ns']:g}"])
        )
    path = folder / "report.html"
    beats = engine_of(design).beats() if design.engine.get("codes") else {}
    cost = estimates[-1] if estimates else None
    write_page(path, render_engine(design, runs, cost, str(folder), commands, beats))
    return path
