"""Options that differ from layer to layer: ``conv1=16;conv2:fc=8`` read, fitted to the layers of a model, and spelled."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from approxhw.common.errors import OptionError, PassError, Problem, shown

from .layers import chosen_titles

Value = TypeVar("Value")

_PLAIN = re.compile(r"[A-Za-z0-9_./-]+\Z")
"""Names that can stand between the signs of an option; others are spelled by their number."""

_LONGEST = 3000
"""Characters of an option of names; a pass reads no more than 4000."""

_NUMBER = re.compile(r"#(\d{1,6})\Z")


def read_by_layer(text: str, read: Callable[[str], Value], where: str, example: str) -> dict[str, Value]:
    """Return values by name, pattern or number of layers (``LAYERS=VALUE;LAYERS=VALUE``, colons between layers).

    *read* makes a value of its text, or raises ``ValueError`` with why it is none. *where*: the pass and its option;
    *example*: what an error advises. Raises :class:`OptionError` with everything that is wrong, layers named twice among it.
    """
    found: dict[str, Value] = {}
    problems = []
    for part in filter(None, (each.strip() for each in text.split(";"))):
        names, equals, value = part.rpartition("=")
        if not equals or not names:
            problems.append(Problem(where, f"{shown(repr(part), 60)} gives no layer a value", f"write {example}"))
            continue
        try:
            meant = read(value)
        except ValueError as error:
            problems.append(
                Problem(where, f"{shown(repr(value), 40)}, of {shown(names, 60)}, {error}", f"write {example}")
            )
            continue
        for name in names.split(":"):
            if name in found:
                problems.append(Problem(where, f"layer {shown(repr(name), 60)} is named twice", "name it once"))
            found[name] = meant
    if text and not found and not problems:
        problems.append(Problem(where, f"{shown(repr(text), 60)} names no layer", f"write {example}"))
    if problems:
        raise OptionError(where.partition(".")[0], problems)
    return found


def fitted_by_layer(given: Mapping[str, Value], known: Sequence[str], name: str) -> dict[str, Value]:
    """Return the values *given* by title, for those *known* titles that they name; exact names go before patterns.

    ``#3`` is the fourth of *known*. Raises :class:`PassError` for the pass *name* with all that name no layer.
    """
    exact: dict[str, Value] = {}
    fitting: dict[str, Value] = {}
    problems: list[Problem] = []
    for asked, value in given.items():
        if number := _NUMBER.match(asked):
            if int(number[1]) >= len(known):
                why = f"the model has {len(known)} such layers, counted from #0"
                problems.append(Problem(f"layer {asked}", why, "name the layer"))
            else:
                exact[known[int(number[1])]] = value
            continue
        try:
            titles = [asked] if asked in known else chosen_titles(known, asked, name)
        except PassError as error:
            problems += error.problems
            continue
        into = exact if asked in known else fitting
        into |= dict.fromkeys(titles, value)
    if problems:
        raise PassError(f"pass {name}", problems)
    both = fitting | exact
    return {title: both[title] for title in known if title in both}


def spelled_by_layer(values: Mapping[str, object], known: Sequence[str]) -> str:
    """Return what :func:`read_by_layer` reads as *values* by title, each of them among the *known*; layers of a value together.

    Layers are named where their names can be told from the signs around them and the text stays below 3000 characters, else
    numbered.
    """

    def spelled(named: bool) -> str:
        together: dict[str, list[str]] = {}
        for title, value in values.items():
            plain = named and _PLAIN.match(title)
            together.setdefault(str(value), []).append(title if plain else f"#{known.index(title)}")
        return ";".join(f"{':'.join(names)}={value}" for value, names in together.items())

    text = spelled(named=True)
    return text if len(text) < _LONGEST else spelled(named=False)


def read_count(text: str) -> int:
    """Return a whole number of 1 or more; raise ``ValueError`` with why *text* is none."""
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < 1:
        raise ValueError("is no whole number of 1 or more")
    return int(text)
