"""``approxhw compile FRONT``: a member of a front becomes a design folder of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import command_line
from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.cli.targets.shared import LIBRARIES, CompileOptions
from approxhw.common.option_fields import option

from .folder import finish_design

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class FrontOptions:
    """What ``compile`` takes for a member of a front, beside what it takes of everybody."""

    registers: bool = option("registered inputs and output", False)
    library: str = option("cell library of estimates, or a Liberty file", "egfet", choices=LIBRARIES, metavar="LIBRARY")


def run(terminal: Terminal, asked: CompileOptions, own: FrontOptions) -> Json:
    """Compile the member of the front that ``--pick`` names into a design folder of its own."""
    from approxhw.backends.estimate import load_library
    from approxhw.dse.api import open_front

    if not asked.no_estimate:
        load_library(own.library)  # before anything is built for it
    found = open_front(asked.model).pick(asked.pick or "chosen")
    compiled = found.compile(asked.output, registers=own.registers, library=own.library, command=command_line())
    return finish_design(terminal, compiled, asked)


KIND = CommandKind(
    "front",
    "Members of fronts",
    FrontOptions,
    run,
    is_for="is for members of fronts",
    refuses="is for models; the members of a front are compiled already",
    listed=False,
)
