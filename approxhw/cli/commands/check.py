"""``approxhw check``: everything that keeps a model from being compiled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import Command
from approxhw.common.option_fields import argument

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class CheckOptions:
    """What ``check`` takes."""

    model: Path = argument("ONNX file")


def run(terminal: Terminal, options: CheckOptions) -> dict[str, object]:
    """List everything that keeps MODEL from being compiled."""
    from approxhw.common.errors import UnsupportedModelError
    from approxhw.flow.compile import check, read

    problems = check(options.model)
    if problems:
        raise UnsupportedModelError(str(options.model), problems)
    graph = read(options.model)
    terminal.say(f"{options.model}: can be compiled: {graph.input.type.elements} inputs, {graph.classes} classes")
    found = {"inputs": graph.input.type.elements, "classes": graph.classes}
    return {"model": str(options.model), "problems": [], **found}


COMMAND = Command("check", run, CheckOptions)
