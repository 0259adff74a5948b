"""Multipliers that other packages add: an operator name stands for a table of products, or for a file that says them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.common.plugins import load_plugin, plugins

from .families import EXACT, own_operator
from .tables import ProductTable, Stated

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

SUFFIXES = (".npz", ".v", ".sv")
"""Files that say a multiplier's products: a table, or a module."""


@dataclass(frozen=True)
class MultiplierFile:
    """A multiplier in a file: a Verilog module (``.v``, ``.sv``) or a table (``.npz``), and what neither can say itself."""

    path: Path
    stated: Stated = field(default_factory=Stated)

    def checked(self, weight_bits: int | None, x_bits: int | None) -> Stated:
        """Return what is stated, with the widths that a user names; they are checked where the file is read."""
        said = self.stated
        return replace(said, weight_bits=weight_bits or said.weight_bits, x_bits=x_bits or said.x_bits)


def multiplier_names() -> tuple[str, ...]:
    """Return the names of the operators of other packages, sorted; none is loaded."""
    return tuple(_added())


def added_multiplier(name: str) -> ProductTable | MultiplierFile | None:
    """Return the operator that another package calls *name*; None where none does.

    Raises :class:`PluginError` where it is neither a table nor a file that is there.
    """
    entry = _added().get(name)
    if entry is None:
        return None
    found: ProductTable | MultiplierFile = load_plugin(entry, "a ProductTable or a MultiplierFile", _misfit)
    return found


def _added() -> dict[str, EntryPoint]:
    return plugins("multipliers", lambda name: name == EXACT or own_operator(name) is not None)


def _misfit(found: object) -> str | None:
    if isinstance(found, ProductTable):
        return None
    if not isinstance(found, MultiplierFile):
        return f"it is of type {type(found).__name__}"
    if found.path.suffix not in SUFFIXES:
        return f"{found.path.name} ends in none of {', '.join(SUFFIXES)}"
    return None if found.path.is_file() else f"there is no file {found.path}"
