"""Fill the report of an integer engine's folder with all that is known so far."""

from __future__ import annotations

import shlex
from pathlib import Path

from approxhw.artifacts.integer_engine import IntegerDesign

from .cost import integer_estimates
from .simulate import integer_verdicts


def report_integer_engine(folder: Path, design: IntegerDesign) -> Path:
    """Write ``report.html`` into *folder*; return its path."""
    from approxhw.report.engines.integer_page import render_integer_engine
    from approxhw.report.page import write_page

    runs, estimates = integer_verdicts(folder), integer_estimates(folder)
    commands = [design.command or f"approxhw compile MODEL --target integer-engine -o {shlex.quote(str(folder))}"]
    commands += [
        shlex.join(["approxhw", "simulate", str(folder), "--simulator", run["simulator"], "--layer", run["layer"]])
        for run in runs
    ]
    if estimates:
        clock = f"{estimates[-1]['clock_ns']:g}"
        commands.append(shlex.join(["approxhw", "estimate", str(folder), "--clock-ns", clock]))
    path = folder / "report.html"
    write_page(path, render_integer_engine(design, runs, estimates[-1] if estimates else None, str(folder), commands))
    return path
