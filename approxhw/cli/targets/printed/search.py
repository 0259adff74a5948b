"""``approxhw search --target printed``: the smallest circuits that still do a model's job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import command_line
from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.cli.targets.shared import SearchOptions, Steps
from approxhw.common.errors import OptionError, Problem
from approxhw.common.option_fields import nested, option
from approxhw.dse.settings import SearchSettings
from approxhw.flow.printed.target import Printed

from .compile import PIPELINED
from .folder import IS_FOR

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class PrintedSearch:
    """What ``search`` takes for printed circuits."""

    target: Printed = nested(Printed(pipeline="printed-po2"), without="compile_only")
    passes: str | None = option("passes instead of the pipeline's", None, metavar="PASSES")
    no_simulate: bool = option("leave the simulators out", False)
    settings: SearchSettings = nested(SearchSettings())

    def problems(self, said: Mapping[str, object]) -> list[Problem]:
        """Return what is wrong with the options of the genetic search, and with the passes."""
        found = Steps(passes=self.passes).problems(said, PIPELINED | {"widen"}) if self.passes else []
        try:
            self.settings.genetic()
        except OptionError as error:
            found += error.problems
        return found


def run(terminal: Terminal, asked: SearchOptions, own: PrintedSearch) -> Json:
    """Search as the command line asks for it, show how it goes, and return what ``--json`` prints."""
    from approxhw.backends.estimate import load_library
    from approxhw.cli.terminal.interrupt import Interrupt
    from approxhw.cli.terminal.search_view import SearchView, show_front
    from approxhw.dse.api import search
    from approxhw.dse.evolve import Hooks
    from approxhw.ir.pass_manager import parse_passes

    load_library(own.target.library)  # what cannot be measured need not be searched
    view, stop = SearchView(terminal), Interrupt(terminal)

    def on_step(name: str, share: float) -> None:
        if name == "synthesise":
            view.finish()
        if name == "compile":  # what is chosen is built: there is no front without it
            stop.leave()
        terminal.step(name, share)

    def begun(about: Mapping[str, object]) -> None:
        stop.enter()
        view.start(about)

    hooks = Hooks(
        on_start=begun,
        on_generation=view.generation,
        on_progress=view.progress,
        on_note=terminal.warn,
        stop=stop,
    )
    settings = replace(own.settings, simulate=()) if own.no_simulate else own.settings
    try:
        result = search(
            asked.model,
            data=asked.rows,
            output=asked.output,
            target=own.target,
            passes=parse_passes(own.passes) if own.passes else None,
            settings=settings,
            command=command_line(),
            hooks=hooks,
            on_step=on_step,
        )
    finally:
        view.finish()
        stop.leave()
    told = result.as_json()
    show_front(terminal, {**told, "knee": told["front"][result.knee().index]})
    terminal.say(f"front: {result.folder / 'report.html'}")
    return told


KIND = CommandKind("printed", "Target printed", PrintedSearch, run, is_for=IS_FOR)
