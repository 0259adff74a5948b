"""Designs of matrix engines on disk: opened, simulated, measured, and told."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal

IS_FOR = "is for --target matrix-engine"


def is_there(folder: Path) -> bool:
    """Whether *folder* holds a matrix engine."""
    from approxhw.artifacts.engine import is_engine

    return folder.is_dir() and is_engine(folder)


def open_folder(folder: Path) -> Any:
    """Return the engine in *folder*."""
    from approxhw.engine.compile import open_engine_design

    return open_engine_design(folder)


def streamed(terminal: Terminal, compiled: Any, simulator: str, **options: Any) -> None:
    """Stream a layer through the engine, and say what came of it."""
    from approxhw.cli.terminal.engine_view import show_stream

    terminal.step(f"simulate on {simulator}", 0.0)
    found = compiled.simulate(simulator, **options)
    terminal.step(f"simulate on {simulator}", 1.0)
    show_stream(terminal, found)


def measured(terminal: Terminal, compiled: Any, library: Any = None, **options: Any) -> None:
    """Measure the engine and one of its elements, and say what they cost."""
    from approxhw.cli.terminal.engine_view import show_cost

    show_cost(terminal, compiled.estimate(library, on_progress=terminal.progress, **options))


def summary(compiled: Any) -> dict[str, Any]:
    """Return the one object that ``--json`` prints: what is known of the engine so far."""
    from approxhw.engine.cost import engine_estimates, engine_of
    from approxhw.engine.simulate import engine_verdicts

    estimates = engine_estimates(compiled.folder)
    beats = engine_of(compiled.design).beats()
    last = estimates[-1] if estimates else {"estimate": None, "estimate_pe": None}
    return {
        "design": str(compiled.folder),
        "engine": dict(compiled.design.engine),
        "beats": beats,
        "accuracy": dict(compiled.design.accuracy),
        "layers": [asdict(layer) for layer in compiled.design.layers],
        "simulation": engine_verdicts(compiled.folder),
        "estimate": last["estimate"],
        "estimate_pe": last["estimate_pe"],
        "seconds": dict(compiled.design.seconds),
        "warnings": list(compiled.design.warnings),
    }
