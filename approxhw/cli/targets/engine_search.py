"""What ``approxhw search`` does for engines of any arithmetic: who works, what is said on the way, the front in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import command_line
from approxhw.cli.parameters.kinds import Json
from approxhw.cli.targets.shared import OpenSizes, SearchOptions
from approxhw.common.option_fields import option

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal
    from approxhw.dse.targets import Reached
    from approxhw.engine.integers.operator_search.settings import IntegerSearch
    from approxhw.engine.integers.target import IntegerEngine
    from approxhw.engine.matrix.settings import EngineSearch
    from approxhw.engine.matrix.target import MatrixEngine


@dataclass(frozen=True)
class Workers:
    """Who works on a search of an engine, and whether one that was ended goes on."""

    jobs: int | None = option("workers; one a core by default", None, shown_default="cores")
    scheduler: str | None = option("Dask scheduler, tcp://host:port", None)
    resume: bool = option("go on from the checkpoint in the output folder", False)


def search_of_engine(
    terminal: Terminal,
    asked: SearchOptions,
    target: MatrixEngine | IntegerEngine,
    evolution: EngineSearch | IntegerSearch,
    sizes: OpenSizes,
    workers: Workers,
) -> Json:
    """Search *target* for a model as the command line asks for it; Ctrl-C ends it with the front so far."""
    from approxhw.backends.estimate import load_library
    from approxhw.cli.terminal.engine_view import show_engine_front
    from approxhw.cli.terminal.interrupt import Interrupt
    from approxhw.dse.targets import search_target

    load_library(target.library)
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
        front = search_target(
            target.search_problem,
            asked.model,
            data=asked.rows,
            output=asked.output,
            target=target,
            options=evolution,
            shape=sizes.sizes(),
            jobs=workers.jobs,
            scheduler=workers.scheduler,
            resume=workers.resume,
            command=command_line(),
            on_generation=tell,
            on_progress=terminal.progress,
            stop=stop,
        )
    finally:
        stop.leave()
    show_engine_front(terminal, front)
    told: Json = front.as_json()
    return told
