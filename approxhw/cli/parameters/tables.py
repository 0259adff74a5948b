"""The option tables of docs/cli.md, made of the same fields as the options themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING

from .command import Command
from .kinds import Shared

MOST_CHOICES = 6
"""Choices that a table names at most."""

_TABLES = re.compile(
    r"(<!-- options of ([a-z-]+) -->\n)(?:(?!^#).)*?(<!-- end of options -->)", re.DOTALL | re.MULTILINE
)
"""Between two markers no heading stands: a marker without an end would take the next section with it."""


def page_with_tables(page: str, commands: Mapping[str, Command]) -> str:
    """Return *page*, the text of ``docs/cli.md``, with the tables between its markers made anew.

    Raises ``ValueError`` for a marker that has no end in front of the next heading.
    """
    if page.count("<!-- options of ") != len(_TABLES.findall(page)):
        raise ValueError("a table of options has no end: write <!-- end of options --> behind each marker")
    return _TABLES.sub(lambda found: f"{found[1]}\n{option_tables(commands[found[2]])}\n{found[3]}", page)


def option_tables(command: Command) -> str:
    """Return a table for each group of the options of *command*, as Markdown."""
    groups = [(title, [each for each in shared if not each.item.about.get("positional")])
              for title, _, shared in command.groups()]  # fmt: skip
    tables = []
    for title, members in groups:
        if members:
            lines = "\n".join(map(_line, members))
            heading = f"{title}:\n\n" if command.kinds else ""
            tables.append(f"{heading}| option | default | meaning |\n|---|---|---|\n{lines}\n")
    return "\n".join(tables)


def _line(each: Shared) -> str:
    item = each.item
    names = ", ".join(f"`{name}`" for name in (item.about.get("short"), item.flag) if name)
    words = "; ".join(f"{who}: {text}" if who else text for who, text in each.defaults().items() if text)
    if item.default is MISSING:
        words = "must be given"
    choices = item.choices()
    named = ", ".join(f"`{choice}`" for choice in choices)
    listed = named if 0 < len(choices) <= MOST_CHOICES and not all(choice in each.help() for choice in choices) else ""
    cells = (names, words, each.help() + (f": {listed}" if listed else ""))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
