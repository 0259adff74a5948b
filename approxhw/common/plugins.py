"""Plug-ins: what installed packages add by entry points; found by name, loaded on use, refused with a word.

A package says in its ``pyproject.toml`` what it adds, one table a group (docs/plugins.md)::

    [project.entry-points."approxhw.passes"]
    drop-biases = "toy_plugin.drop_biases:DropBiases"
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import PluginError, Problem, shown

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUPS = ("passes", "targets", "frontends", "simulators", "cell_libraries", "multipliers")
"""What can be added; the group of entry points is ``approxhw.`` and one of these."""

Loaded = Any
"""What a plug-in stands for: an object of another package, of the type that ``fits`` has looked for."""

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")


def plugins(group: str, ours: Callable[[str], bool]) -> dict[str, EntryPoint]:
    """Return the entry points of *group* (one of :data:`GROUPS`) by name, sorted; none of them is loaded.

    ``ours``: whether a name is one of approxhw's own. Raises :class:`PluginError` that lists every name that is no plain
    name, is one of ours, or that two packages give: a list of passes must not mean something else because another package
    was installed.
    """
    assert group in GROUPS
    found: dict[str, EntryPoint] = {}
    problems: list[Problem] = []
    for entry in _entries(tuple(sys.path)).get(f"approxhw.{group}", ()):
        owner, where = package_of(entry), _about(entry)
        if not _NAME.match(entry.name):
            why = "its name is not made of small letters, digits, - and _ behind a small letter"
            problems.append(Problem(where, why, f"ask the authors of {owner} for another name, or {_removal(entry)}"))
        elif ours(entry.name):
            problems.append(Problem(where, "approxhw itself has one of this name", _removal(entry)))
        elif entry.name in found:
            why = f"{package_of(found[entry.name])} gives one of this name, too"
            problems.append(Problem(where, why, f"keep one of the two packages: {_removal(entry)}"))
        else:
            found[entry.name] = entry
    if problems:
        raise PluginError(f"plug-ins, {group.replace('_', ' ')}", problems)
    return dict(sorted(found.items()))


def load_plugin(entry: EntryPoint, wanted: str, fits: Callable[[object], str | None]) -> Loaded:
    """Return what *entry* stands for, imported now.

    ``wanted``: what it should be, such as ``a frozen dataclass``. ``fits``: returns why an object is not that, None where it
    is. Raises :class:`PluginError` that names the package where it cannot be imported, or is something else.
    """
    try:
        found = entry.load()
    except Exception as error:  # the code of others: anything can go wrong in it
        raise broken(entry, f"{entry.value} cannot be loaded: {_told(error)}") from error
    try:
        why = fits(found)
    except Exception as error:
        raise broken(entry, f"{entry.value} is not {wanted}: {_told(error)}") from error
    if why:
        raise broken(entry, f"{entry.value} is not {wanted}: {why}")
    return found


def broken(entry: EntryPoint, why: str) -> PluginError:
    """Return the error of a plug-in that does not do what it should: it names the package, and what to do."""
    remedy = f"install a version of {package_of(entry)} that fits approxhw, or {_removal(entry)}"
    return PluginError(f"plug-in {shown(entry.name)}", [Problem(_about(entry), why, remedy)])


def failed(entry: EntryPoint, doing: str, error: Exception) -> PluginError:
    """Return the error of a plug-in that raised *error*, which is none of ours, while *doing* something."""
    return broken(entry, f"it failed {doing}: {_told(error)}")


def package_of(entry: EntryPoint) -> str:
    """Return the distribution that *entry* comes from, and its version, such as ``toy-plugin 1.0``."""
    if entry.dist is None:
        return "an unknown package"
    return shown(f"{entry.dist.name} {entry.dist.version}")


def _about(entry: EntryPoint) -> str:
    return f"{package_of(entry)}, {entry.group} {shown(entry.name)}"


def _removal(entry: EntryPoint) -> str:
    return f"pip uninstall {shown(entry.dist.name)}" if entry.dist is not None else "remove it from the path"


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {shown(error, 200)}"


@functools.cache
def _entries(path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:
    """Return our entry points by group, in the same order everywhere; *path* is what the answer depends on."""
    from importlib.metadata import entry_points  # takes longer than the rest of approxhw's import

    found = entry_points()
    groups = [f"approxhw.{group}" for group in GROUPS]
    return {
        group: tuple(sorted(found.select(group=group), key=lambda entry: (entry.name, package_of(entry))))
        for group in groups
    }
