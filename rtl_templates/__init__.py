"""Verilog that depends on parameters only, never on weights; one module a file, in a folder for each kind."""

from __future__ import annotations

import functools
import re
from importlib import resources
from importlib.resources.abc import Traversable


@functools.cache
def _files() -> dict[str, Traversable]:
    """Return every template by its name, from whichever folder it stands in."""
    folders = [folder for folder in resources.files(__package__).iterdir() if folder.is_dir()]
    files = [file for folder in folders for file in folder.iterdir() if file.name.endswith(".v")]
    return {file.name.removesuffix(".v"): file for file in files}


def template_names() -> tuple[str, ...]:
    """Return the name of every template, sorted; a template's file bears its module's name."""
    return tuple(sorted(_files()))


def template_text(name: str) -> str:
    """Return the Verilog text of the template called *name*."""
    return _files()[name].read_text(encoding="utf-8")


def template_closure(*names: str) -> str:
    """Return the Verilog text of the templates called *names* and of all that they instantiate, each once, these last."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order:
            for inner in _INSTANCE.findall(template_text(name)):
                visit(inner)
            order.append(name)

    for name in names:
        visit(name)
    return "\n".join(map(template_text, order))


_INSTANCE = re.compile(r"^ +(\w+) #\(\s*\.", re.MULTILINE)
