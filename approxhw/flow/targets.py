"""Targets by name: what one must provide, ours, and those of other packages; none is imported until it is used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from approxhw.artifacts.built_files import BuiltFiles
from approxhw.common.dataset import Dataset
from approxhw.common.errors import ApproxhwError, OptionError, Problem, shown
from approxhw.common.options import option_class_problem, parse_calls, read_options, spell_call, suggestion
from approxhw.common.plugins import broken, failed, load_plugin, package_of, plugins
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import Pass

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from pathlib import Path

BUILT_IN = {
    "printed": "approxhw.flow.printed:Printed",
    "matrix-engine": "approxhw.engine.target:MatrixEngine",
}
"""Name → ``module:Class``: the flow knows targets by these alone, and imports none."""


class Target(Protocol):
    """What a target of another package is: a frozen dataclass whose fields are its options.

    The first line of its docstring says what it builds. Each field has a default, and ``metadata={"help": …}``.
    """

    name: ClassVar[str]

    def passes(self) -> Sequence[Pass]:
        """Return the passes that make of a float Graph what :meth:`build` takes; the user's ``--passes`` replace them."""
        ...

    def build(self, graph: Graph, data: Dataset | None) -> Mapping[str, str | bytes]:
        """Return the files that *graph* becomes, by name (``rtl/top.v``).

        ``graph``: what the passes made, verified. ``data``: the user's rows, training and test. Raises the errors of
        :mod:`approxhw.common.errors`, such as :class:`UnsupportedModelError` listing every node that it cannot build.
        """
        ...


def target_names() -> tuple[str, ...]:
    """Return the names of all targets: ours, then those of other packages, sorted."""
    return (*BUILT_IN, *_added())


def target_named(name: str) -> type[Any]:
    """Return the class of the target called *name*.

    Raises :class:`OptionError` where there is none, :class:`PluginError` where another package's cannot be used.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        ours: type[Any] = getattr(importlib.import_module(module), attribute)
        return ours
    added = _added()
    if name not in added:
        why = f"there is no target {shown(name)!r}{suggestion(name, target_names())}"
        raise OptionError("compile", [Problem("--target", why)])
    theirs: type[Any] = load_plugin(added[name], "a target", lambda found: _misfit(name, found))
    return theirs


def parse_target(text: str) -> Any:
    """Return the target of another package that *text* spells, such as ``toy`` or ``toy{greeting=hello}``.

    Raises :class:`OptionError` for an unknown name, and listing every option that it has not or that has a wrong value.
    """
    calls, found = parse_calls(text) if "{" in text else ([(text, {})], [])
    if found or len(calls) != 1:
        why = f"cannot read {shown(text, 40)!r}"
        raise OptionError("compile", [Problem("--target", why, "write name or name{option=value,option=value}")])
    ((name, options),) = calls
    made = target_named(name)
    if name in BUILT_IN and options:
        raise OptionError(
            "compile", [Problem("--target", f"{name} has options of the command line", "give them there")]
        )
    values, found = read_options(made, options, name)
    if found:
        raise OptionError("compile", found)
    return made(**values)


def name_of_target(target: Any) -> str:
    """Return the name of *target*, ours or another package's."""
    spelled = f"{type(target).__module__}:{type(target).__qualname__}"
    return next((name for name, value in BUILT_IN.items() if value == spelled), "") or str(target.name)


def build_files(
    target: Target, graph: Graph, data: Dataset | None, folder: Path, record: Mapping[str, Any]
) -> BuiltFiles:
    """Return what *target*, one of another package, builds of *graph*; what goes wrong in it names its package."""
    entry = _added().get(target.name)
    try:
        files = dict(target.build(graph, data))
        wrong = [
            name for name, value in files.items() if not isinstance(name, str) or not isinstance(value, str | bytes)
        ]
    except ApproxhwError:
        raise
    except Exception as error:
        if entry is None:  # a class that was merely written somewhere: its author sees where it failed
            raise
        raise failed(entry, f"building {shown(graph.name)}", error) from error
    if wrong or not files:
        why = f"{shown(wrong[0])} is no text or bytes" if wrong else "it built no file"
        if entry is None:
            raise OptionError("compile", [Problem(f"target {shown(target.name)}", why)])
        raise broken(entry, why)
    content = {name: value.encode() if isinstance(value, str) else value for name, value in files.items()}
    about = {
        "target": target.name,
        "spelled": spell_call(target.name, target),
        "options": asdict(target),  # type: ignore[call-overload]  # a Target is a dataclass
        "package": package_of(entry) if entry is not None else "",
    }
    return BuiltFiles(folder, content, {**about, **record})


def _added() -> dict[str, EntryPoint]:
    return plugins("targets", BUILT_IN.__contains__)


def _misfit(name: str, found: Any) -> str | None:
    if why := option_class_problem(found):
        return why
    missing = [method for method in ("passes", "build") if not callable(getattr(found, method, None))]
    if missing:
        return f"it has no method {' and no method '.join(missing)}"
    return None if getattr(found, "name", None) == name else f"its name is not {name}, as the entry point's is"
