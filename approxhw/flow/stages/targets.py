"""Targets by name, ours and those of other packages, and who serves them; none is imported until it is used."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.artifacts.built_files import BUILT, is_built
from approxhw.artifacts.engine import is_engine
from approxhw.artifacts.integer_engine import is_integer_engine
from approxhw.common.arguments import told
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.options import option_class_problem, parse_calls, read_options, suggestion
from approxhw.common.plugins import Loaded, load_plugin, plugins

from .protocol import SomeFlow, Target

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

BUILT_IN = {
    "printed": "approxhw.flow.printed.target:Printed",
    "matrix-engine": "approxhw.engine.matrix.target:MatrixEngine",
    "integer-engine": "approxhw.engine.integers.target:IntegerEngine",
}
"""Name → ``module:Class``: the flow knows targets by these alone, and imports none."""

ADDED = "approxhw.flow.added:FLOW"
"""How targets of other packages are served that do not say so themselves."""


def target_names() -> tuple[str, ...]:
    """Return the names of all targets: ours, then those of other packages, sorted."""
    return (*BUILT_IN, *_added())


def target_named(name: str, subject: str = "compile") -> Callable[..., Target]:
    """Return the class of the target called *name*.

    Raises :class:`OptionError` where there is none, :class:`PluginError` where another package's cannot be used.
    """
    if name in BUILT_IN:
        ours: Callable[..., Target] = loaded(BUILT_IN[name])
        return ours
    added = _added()
    if name not in added:
        why = f"there is no target {shown(name)!r}{suggestion(name, target_names())}"
        raise OptionError(subject, [Problem("--target", why)])
    theirs: Callable[..., Target] = load_plugin(added[name], "a target", lambda found: _misfit(name, found))
    return theirs


def parse_target(text: str, subject: str = "compile") -> Target:
    """Return the target that *text* spells: a name, of ours or another package's, such as ``toy{greeting=hello}``.

    Raises :class:`OptionError` for an unknown name, and listing every option that it has not or that has a wrong value.
    """
    calls, found = parse_calls(text) if "{" in text else ([(text, {})], [])
    if found or len(calls) != 1:
        why = f"cannot read {shown(text, 40)!r}"
        raise OptionError(subject, [Problem("--target", why, "write name or name{option=value,option=value}")])
    ((name, options),) = calls
    made = target_named(name, subject)
    if name in BUILT_IN and options:
        remedy = "give them beside it, such as --weight-bits 6, or make the target in Python"
        raise OptionError(subject, [Problem("--target", f"{name} does not read options in braces", remedy)])
    values, found = read_options(made, options, name)
    if found:
        raise OptionError(subject, found)
    return made(**values)


def target_of(given: object, subject: str = "compile") -> Target:
    """Return the target that is *given*: itself, or what a text spells (:func:`parse_target`).

    Raises :class:`OptionError` for anything else, the class of a target in place of a target among it.
    """
    if isinstance(given, str):
        return parse_target(given, subject)
    if isinstance(given, type):
        name = shown(given.__name__, 60)
        why = f"the class {name} is no target"
        raise OptionError(subject, [Problem("target", why, f"call it: {name}()")])
    flow_of(given, subject)
    target: Target = given  # type: ignore[assignment]  # it has a flow, or is built as any other's
    return target


def name_of_target(target: Loaded) -> str:
    """Return the name of *target*, ours or another package's."""
    spelled = f"{type(target).__module__}:{type(target).__qualname__}"
    return next((name for name, value in BUILT_IN.items() if value == spelled), "") or str(target.name)


def loaded(entry: str) -> Loaded:
    """Return what *entry* names as ``module:name``: of a higher floor, or of somebody else's package."""
    module, _, name = entry.partition(":")
    return getattr(importlib.import_module(module), name)


def flow_of(target: object, subject: str = "compile") -> SomeFlow:
    """Return how the flow serves *target*: what its class names as ``flow``, ``module:NAME``, or how it serves any other's."""
    entry = getattr(type(target), "flow", None)
    if not isinstance(entry, str):
        if not hasattr(target, "build"):
            why = f"{told(target)} is no target: it names no compiler"
            raise OptionError(subject, [Problem("target", why, "such as ax.Printed() or ax.MatrixEngine()")])
        entry = ADDED
    flow: SomeFlow = loaded(entry)
    return flow


def target_in(folder: Path) -> str:
    """Return whose design is in *folder*: a target of ours, or ``added``, another package's.

    Where it is nobody's, it is opened as that of a printed circuit, which says what is wrong.
    """
    if not folder.is_dir():
        return "printed"
    if is_built(folder) or ((folder / BUILT.file).exists() and not (folder / "design.json").exists()):
        return "added"  # a damaged one, too: it says so itself
    if is_integer_engine(folder):
        return "integer-engine"
    return "matrix-engine" if is_engine(folder) else "printed"


def flow_in(folder: Path) -> SomeFlow:
    """Return how the flow serves the design in *folder*."""
    name = target_in(folder)
    entry = loaded(BUILT_IN[name]).flow if name in BUILT_IN else ADDED
    flow: SomeFlow = loaded(entry)
    return flow


def entry_of(name: str) -> EntryPoint | None:
    """Return the entry point of another package's target called *name*; None where none is installed."""
    return _added().get(name)


def _added() -> dict[str, EntryPoint]:
    return plugins("targets", BUILT_IN.__contains__)


def _misfit(name: str, found: object) -> str | None:
    if why := option_class_problem(found):
        return why
    missing = [method for method in ("passes", "build") if not callable(getattr(found, method, None))]
    if missing:
        return f"it has no method {' and no method '.join(missing)}"
    return None if getattr(found, "name", None) == name else f"its name is not {name}, as the entry point's is"
