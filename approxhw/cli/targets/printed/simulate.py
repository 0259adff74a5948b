"""``approxhw simulate`` for a printed circuit: vector by vector against its Graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.cli.targets.shared import SimulateOptions
from approxhw.common.option_fields import option

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class Vectors:
    """What ``simulate`` takes for a printed circuit."""

    random: int = option("random vectors", 1000, least=0)


def run(terminal: Terminal, asked: SimulateOptions, own: Vectors) -> Json:
    """Simulate a printed circuit, and say what came of it."""
    from approxhw.flow.compile import open_folder

    compiled = open_folder(asked.design)
    options = {"random": own.random, "seed": asked.seed, "timeout": asked.timeout}
    terminal.simulated(compiled.simulate(asked.simulator, on_progress=terminal.progress, **options))
    return dict(compiled.summary())


KIND = CommandKind(
    "printed",
    "Printed circuits",
    Vectors,
    run,
    is_for="is for printed circuits; a matrix engine is fed with a layer's own numbers",
)
