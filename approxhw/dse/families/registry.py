"""The families that a search knows, by name: those of the table of learners, and the one that the genetic search finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.options import suggestion
from approxhw.networks.families.table import FAMILIES

if TYPE_CHECKING:
    from .family import Family

GENETIC = "mlp"
"""Masked networks of powers of two, which the genetic search finds: the one family that has no recipes."""

EVERY = "all"

NAMES = (GENETIC, *FAMILIES)


def family_named(name: str) -> Family:
    """Return the family of the table of learners that is called *name*."""
    from .learnt import learnt_family

    return learnt_family(name)


def family_names() -> tuple[str, ...]:
    """Return what ``--families`` may name."""
    return (*NAMES, EVERY)


def chosen_families(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return the families that *given* names (``"mlp,tree"``, ``"all"`` or a sequence), each once, in the order of the registry.

    Raises :class:`OptionError` with every name that is none.
    """
    names = [name.strip() for name in (given.split(",") if isinstance(given, str) else given)]
    choice = f"give some of {', '.join(NAMES)}, or {EVERY}"
    found = [
        Problem("families", f"there is no family {shown(name, 40)!r}{suggestion(name, [*family_names()])}", choice)
        for name in dict.fromkeys(names)
        if name not in family_names()
    ]
    if not names:
        found.append(Problem("families", "none is named", choice))
    if found:
        raise OptionError("search", found)
    return tuple(name for name in NAMES if name in names or EVERY in names)
