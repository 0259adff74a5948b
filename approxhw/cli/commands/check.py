"""``approxhw check``: everything that keeps a model from being compiled for a target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import Command
from approxhw.cli.targets.registry import target_choices
from approxhw.cli.targets.shared import OpenSizes
from approxhw.common.option_fields import argument, nested, option

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class CheckOptions:
    """What ``check`` takes."""

    model: Path = argument("ONNX file")
    target: str = option("what to build for", "printed", choices=target_choices, metavar="TARGET")
    open: OpenSizes = nested(OpenSizes())


def run(terminal: Terminal, options: CheckOptions) -> dict[str, object]:
    """List everything that keeps MODEL from being compiled for a target: a printed circuit, where no other is named."""
    from approxhw.cli.terminal.terminal import how_many
    from approxhw.common.errors import UnsupportedModelError
    from approxhw.flow.compile import check, counted

    shape = options.open.sizes()
    if problems := check(options.model, options.target, shape=shape):
        raise UnsupportedModelError(str(options.model), problems)
    found = counted(options.model, options.target, shape=shape)
    terminal.say(
        f"{options.model}: can be compiled: {', '.join(how_many(number, what) for what, number in found.items())}"
    )
    return {"model": str(options.model), "problems": [], **found}


COMMAND = Command("check", run, CheckOptions)
