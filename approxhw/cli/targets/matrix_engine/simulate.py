"""``approxhw simulate`` for a matrix engine: a real layer of the model streams through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.cli.targets.engines import streamed
from approxhw.cli.targets.shared import SimulateOptions
from approxhw.common.option_fields import option

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class StreamOptions:
    """What ``simulate`` takes for a matrix engine."""

    layer: str | None = option(
        "the layer that is streamed, by name or number", None, metavar="LAYER", shown_default="the first"
    )
    rows: int | None = option("rows of its activations at most", None, least=1, shown_default="64")
    pause: float | None = option("how often a stream rests, 0 to below 1", None, least=0, most=1, below=True)


def run(terminal: Terminal, asked: SimulateOptions, own: StreamOptions) -> Json:
    """Stream a layer through the engine, and say what came of it."""
    from approxhw.flow.compile import open_folder

    engine = open_folder(asked.design)
    told = {"layer": own.layer, "vectors": own.rows, "pause": own.pause, "seed": asked.seed, "timeout": asked.timeout}
    options = {name: value for name, value in told.items() if value is not None}
    streamed(terminal, engine, asked.simulator, **options)
    return dict(engine.summary())


KIND = CommandKind(
    "matrix-engine",
    "Matrix engines",
    StreamOptions,
    run,
    is_for="is for matrix engines; this is a printed circuit",
)
