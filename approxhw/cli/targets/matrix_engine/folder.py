"""Designs of matrix engines: measured, and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from approxhw.cli.terminal.terminal import Terminal
    from approxhw.flow.stages.protocol import Compiled, Option

IS_FOR = "is for --target matrix-engine"


def measured(terminal: Terminal, compiled: Compiled, library: str | Path | None = None, **options: Option) -> None:
    """Measure the engine and one of its elements, and say what they cost."""
    from approxhw.cli.terminal.engine_view import show_cost

    show_cost(terminal, compiled.estimate(library, on_progress=terminal.progress, **options))
