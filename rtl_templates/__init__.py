"""Verilog that depends on parameters only, never on weights; one module a file."""

from __future__ import annotations

from importlib import resources


def template_names() -> tuple[str, ...]:
    """Return the name of every template, sorted; a template's file bears its module's name."""
    files = resources.files(__package__).iterdir()
    return tuple(sorted(file.name.removesuffix(".v") for file in files if file.name.endswith(".v")))


def template_text(name: str) -> str:
    """Return the Verilog text of the template called *name*."""
    return resources.files(__package__).joinpath(f"{name}.v").read_text(encoding="utf-8")
