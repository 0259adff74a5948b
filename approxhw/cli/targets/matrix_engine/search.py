"""``approxhw search --target matrix-engine``: the cheapest arithmetic of every matrix product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import command_line
from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.cli.targets.shared import OpenSizes, SearchOptions
from approxhw.common.errors import Problem
from approxhw.common.option_fields import nested, option
from approxhw.engine.matrix.settings import EngineSearch
from approxhw.engine.matrix.target import MatrixEngine

from .compile import problems_of
from .folder import IS_FOR

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal
    from approxhw.dse.targets import Reached


@dataclass(frozen=True)
class EngineSearchOptions:
    """What ``search`` takes for matrix engines."""

    target: MatrixEngine = nested(MatrixEngine(), without="compile_only")
    evolution: EngineSearch = nested(EngineSearch())
    open: OpenSizes = nested(OpenSizes())
    jobs: int | None = option("workers; one a core by default", None, shown_default="cores")
    scheduler: str | None = option("Dask scheduler, tcp://host:port", None)
    resume: bool = option("go on from the checkpoint in the output folder", False)

    def problems(self, said: Mapping[str, object]) -> list[Problem]:
        """Return what is wrong with the array and with sizes."""
        return problems_of(self.target, self.open)


def run(terminal: Terminal, asked: SearchOptions, own: EngineSearchOptions) -> Json:
    """Search arithmetic for every product of a model as the command line asks for it."""
    from approxhw.backends.estimate import load_library
    from approxhw.cli.terminal.engine_view import show_engine_front
    from approxhw.cli.terminal.interrupt import Interrupt
    from approxhw.dse.targets import search_engine

    load_library(own.target.library)
    stop = Interrupt(terminal)

    def tell(record: Reached) -> None:
        terminal.progress("generations", record["generation"], record["generations"])
        if record["generation"] in (0, record["generations"]):
            terminal.say(
                f"generation {record['generation']}/{record['generations']}: least {record['least_errors']} wrong rows, least "
                f"cost {record['least_cost']:.6g}, {record['front']} on the front"
            )

    stop.enter()
    try:
        front = search_engine(
            asked.model,
            data=asked.rows,
            output=asked.output,
            target=own.target,
            options=own.evolution,
            shape=own.open.sizes(),
            jobs=own.jobs,
            scheduler=own.scheduler,
            resume=own.resume,
            command=command_line(),
            on_generation=tell,
            on_progress=terminal.progress,
            stop=stop,
        )
    finally:
        stop.leave()
    show_engine_front(terminal, front)
    return front.as_json()


KIND = CommandKind("matrix-engine", "Target matrix-engine", EngineSearchOptions, run, is_for=IS_FOR)
