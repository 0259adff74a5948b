"""``approxhw estimate`` for a matrix engine: one element fed with a real tile, and the engine from its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.cli.targets.shared import EstimateOptions
from approxhw.common.option_fields import option

from .folder import measured

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class Clocked:
    """What ``estimate`` takes for a matrix engine."""

    clock_ns: float | None = option("clock period in ns", None, shown_default="the engine's")


def run(terminal: Terminal, asked: EstimateOptions, own: Clocked) -> Json:
    """Measure an engine, and say what it costs."""
    from approxhw.flow.compile import open_folder

    engine = open_folder(asked.design)
    measured(terminal, engine, asked.cells, clock_ns=own.clock_ns, timeout=asked.timeout)
    return dict(engine.summary())


KIND = CommandKind(
    "matrix-engine",
    "Matrix engines",
    Clocked,
    run,
    is_for="is for matrix engines",
    refuses="is not for matrix engines: give --library or --liberty, --clock-ns and --timeout",
)
