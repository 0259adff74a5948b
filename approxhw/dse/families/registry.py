"""The families that a search knows, by name: each is imported when somebody asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.options import suggestion
from approxhw.networks.families.table import FAMILIES as LEARNT

if TYPE_CHECKING:
    from .family import Family

GENETIC = "mlp"
"""Masked networks of powers of two, which the genetic search finds: the one family that has no recipes."""

EVERY = "all"


@dataclass(frozen=True)
class FamilyLine:
    """What a family is, and ``module:function`` of what makes it of its name."""

    help: str
    maker: str


FAMILIES: dict[str, FamilyLine] = {
    **{name: FamilyLine(family.help, ".learnt:learnt_family") for name, family in LEARNT.items()},
    "gates": FamilyLine("gates of small trees, of which training rows need fewer", ".gates:gates_family"),
}
"""Name → where it is: first what ``networks/families/table.py`` has."""

NAMES = (GENETIC, *FAMILIES)


def family_named(name: str) -> Family:
    """Return the family called *name*, one of :data:`FAMILIES`."""
    module, _, maker = FAMILIES[name].maker.partition(":")
    found: Family = getattr(import_module(module, __package__), maker)(name)
    return found


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
