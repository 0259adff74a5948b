"""``approxhw estimate`` for an integer engine: an element with each operator, fed with a real tile, and the array."""

from __future__ import annotations

from typing import TYPE_CHECKING

from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.cli.targets.matrix_engine.estimate import Clocked
from approxhw.cli.targets.shared import EstimateOptions

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


def run(terminal: Terminal, asked: EstimateOptions, own: Clocked) -> Json:
    """Measure an engine, and say what it costs."""
    from approxhw.cli.terminal.integer_view import show_integer_cost
    from approxhw.flow.compile import open_folder

    engine = open_folder(asked.design)
    found = engine.estimate(asked.cells, clock_ns=own.clock_ns, timeout=asked.timeout, on_progress=terminal.progress)
    show_integer_cost(terminal, found)
    return dict(engine.summary())


KIND = CommandKind(
    "integer-engine",
    "Integer engines",
    Clocked,
    run,
    is_for="is for engines",
    refuses="is not for integer engines: give --library or --liberty, --clock-ns and --timeout",
)
