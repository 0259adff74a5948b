"""Verilog that depends on parameters only, never on weights; one module a file."""

from __future__ import annotations

import re
from importlib import resources


def template_names() -> tuple[str, ...]:
    """Return the name of every template, sorted; a template's file bears its module's name."""
    files = resources.files(__package__).iterdir()
    return tuple(sorted(file.name.removesuffix(".v") for file in files if file.name.endswith(".v")))


def template_text(name: str) -> str:
    """Return the Verilog text of the template called *name*."""
    return resources.files(__package__).joinpath(f"{name}.v").read_text(encoding="utf-8")


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
