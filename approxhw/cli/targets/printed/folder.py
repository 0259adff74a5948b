"""Designs of printed circuits on disk: opened, finished as far as was asked for, and told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from approxhw.cli.targets.shared import CompileOptions
from approxhw.common.errors import ToolNotFoundError
from approxhw.sim.simulators.registry import SIMULATORS

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal

IS_FOR = "is for printed circuits"


def open_folder(folder: Path) -> Any:
    """Return the design in *folder*; raise :class:`InvalidDesignError` where there is none."""
    from approxhw.flow.compile import open_design

    return open_design(folder)


def finished(terminal: Terminal, compiled: Any, asked: CompileOptions) -> dict[str, Any]:
    """Simulate, measure and report a compiled design as far as it was asked for."""
    terminal.compiled(compiled)
    for simulator in () if asked.no_simulate else SIMULATORS:
        try:
            terminal.simulated(compiled.simulate(simulator, on_progress=terminal.progress))
        except ToolNotFoundError as error:
            if asked.require_tools:
                raise
            terminal.warn(f"not simulated on {simulator}: {error}")
    if not asked.no_estimate:
        terminal.estimated(compiled.estimate(on_progress=terminal.progress))
    terminal.say(f"report: {compiled.report()}")
    return summary(compiled)


def summary(compiled: Any) -> dict[str, Any]:
    """Return the one object that ``--json`` prints: what is known of the design so far."""
    from approxhw.artifacts.results import estimates, verdicts

    found = estimates(compiled.folder)
    seconds = dict(compiled.design.seconds)
    simulation = verdicts(compiled.folder)
    seconds.update({f"simulate {row['simulator']}": sum(row["seconds"].values()) for row in simulation})
    if found:
        seconds["estimate"] = found[-1]["seconds"]
    return {
        "design": str(compiled.folder),
        "accuracy": dict(compiled.accuracy),
        "simulation": simulation,
        "estimate": found[-1] if found else None,
        "seconds": seconds,
        "warnings": list(compiled.design.warnings),
    }
