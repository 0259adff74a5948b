"""``approxhw search``, and ``approxhw compile FRONT``: their options, Ctrl-C, and what they print."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from approxhw.common.errors import OptionError, Problem

from .interrupt import Interrupt
from .search_view import SearchView, show_front
from .terminal import Terminal

OPTIONS = (
    click.argument("model", type=click.Path(path_type=Path)),
    click.option("--data", required=True, help="NAME.npz, NAME.csv, X.npy,y.npy or sklearn:NAME."),
    click.option("-o", "--output", type=click.Path(path_type=Path), help="Front folder.  [default: build/NAME-front]"),
    click.option(
        "--objectives",
        default="errors,area",
        show_default=True,
        help="What is made least: errors and one or two of area, power, energy, delay, inputs, converters.",
    ),
    click.option(
        "--population", type=int, default=1000, show_default=True, help="Individuals, on all islands together."
    ),
    click.option("--generations", type=int, default=300, show_default=True, help="Generations."),
    click.option(
        "--max-accuracy-loss", default="5%", show_default=True, help="Absolute, against the model, training rows."
    ),
    click.option("--target-accuracy", help="Mark the smallest member expected to hold this, such as 90%, as chosen."),
    click.option("--seed", type=int, default=1, show_default=True, help="The same seed, the same front."),
    click.option("--islands", type=int, default=4, show_default=True, help="Populations that meet by migration only."),
    click.option(
        "--jobs", type=int, help="Workers of this machine; the front does not depend on it.  [default: cores]"
    ),
    click.option("--scheduler", help="Dask scheduler, tcp://HOST:PORT, whose workers search instead."),
    click.option("--resume", is_flag=True, help="Go on from the checkpoint in the front folder."),
    click.option("--validation-share", default="20%", show_default=True, help="Training rows that pick the winners."),
    click.option(
        "--folds",
        type=int,
        help="Searches, each of which puts other rows aside.  [default: 4, or as many as the share allows]",
    ),
    click.option(
        "--widen",
        type=click.FloatRange(1, 16),
        default=2.0,
        show_default=True,
        help="Times the model's hidden neurons, at first.",
    ),
    click.option("--starts", type=int, default=8, show_default=True, help="Annealed starts; 0: none."),
    click.option("--moves", type=int, default=20_000, show_default=True, help="Moves a start tries at each price."),
    click.option("--synthesise-every", type=int, default=100, show_default=True, help="Generations between; 0: never."),
    click.option("--members", type=int, default=16, show_default=True, help="Members of the front at most."),
    click.option("--pipeline", default="printed-po2", show_default=True, help="Passes that give the masked network."),
    click.option("--passes", help="Passes instead of the pipeline's."),
    click.option("--input-bits", type=int, default=4, show_default=True, help="Bits of an input code."),
    click.option(
        "--ranges", default="mse", show_default=True, help="mse or extremes: how training rows give the ends."
    ),
    click.option("--library", default="egfet", show_default=True, help="Cell library, or a Liberty file."),
    click.option("--no-simulate", is_flag=True, help="Leave the simulators out."),
    click.option("--require-tools", is_flag=True, help="A missing simulator is an error, not a note."),
    click.option("--timeout", type=click.FloatRange(0, min_open=True), default=600.0, help="Seconds a tool may take."),
)


def search_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give *command* the options of a search."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def run_search(terminal: Terminal, model: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Search as the command line asks for it, show how it goes, and return what ``--json`` prints."""
    from approxhw.backends.estimate import load_library
    from approxhw.dse.api import search
    from approxhw.dse.evolve import Hooks
    from approxhw.dse.settings import SearchSettings
    from approxhw.flow.compile import Printed
    from approxhw.ir.pass_manager import parse_passes
    from approxhw.sim.simulators.registry import SIMULATORS

    load_library(given["library"])  # what cannot be measured need not be searched
    view, stop = SearchView(terminal), Interrupt(terminal)

    def on_step(name: str, share: float) -> None:
        if name == "synthesise":
            view.finish()
            stop.leave()
        terminal.step(name, share)

    def begun(about: Mapping[str, Any]) -> None:
        stop.enter()
        view.start(about)

    hooks = Hooks(
        on_start=begun,
        on_generation=view.generation,
        on_progress=view.progress,
        stop=stop,
    )
    asked = {name: given[name] for name in SearchSettings.__dataclass_fields__ if name in given}
    try:
        result = search(
            model,
            target=Printed(
                input_bits=given["input_bits"],
                ranges=given["ranges"],
                pipeline=given["pipeline"],
                library=given["library"],
            ),
            passes=parse_passes(given["passes"]) if given["passes"] else None,
            simulate=() if given["no_simulate"] else SIMULATORS,
            command=shlex.join(["approxhw", *sys.argv[1:]]),
            hooks=hooks,
            on_step=on_step,
            data=given["data"],
            output=given["output"],
            **asked,
        )
    finally:
        view.finish()
        stop.leave()
    told = result.as_json()
    show_front(terminal, {**told, "knee": told["front"][result.knee().index]})
    terminal.say(f"front: {result.folder / 'report.html'}")
    return told


KEPT = ("output", "registers", "library", "no_simulate", "no_estimate", "require_tools", "pick")
"""Options of ``compile`` that mean something for a member of a front."""


def compile_member(folder: Path, given: dict[str, Any]) -> Any:
    """Compile the member of the front in *folder* that ``--pick`` names into a design folder of its own."""
    from approxhw.dse.api import open_front

    context = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    foreign = [name for name in given if name not in KEPT and context.get_parameter_source(name) is not default]
    if foreign:
        why = "is for models; the members of a front are compiled already"
        raise OptionError("compile", [Problem(f"--{name.replace('_', '-')}", why) for name in foreign])
    found = open_front(folder).pick(given["pick"] or "chosen")
    command = shlex.join(["approxhw", *sys.argv[1:]])
    return found.compile(given["output"], registers=given["registers"], library=given["library"], command=command)
