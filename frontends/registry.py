"""Which frontend reads a model: ours (ONNX, and scikit-learn by way of it) or one of another package, whose Graph is checked."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from approxhw.common.errors import ApproxhwError, GraphError, InvalidModelError, PluginError, Problem, shown
from approxhw.common.plugins import broken, failed, load_plugin, package_of, plugins
from approxhw.ir.graph import Graph
from approxhw.ir.verifier import verify

from .scikit_learn import convert, is_estimator

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from approxhw.frontends.onnx.loading import Loaded, ModelSource

OURS = (".onnx",)
"""Suffixes of files that are ONNX models, whatever else is installed."""
OUR_NAMES = ("onnx", "scikit-learn")
"""Names that no frontend of another package may have."""


@dataclass(frozen=True)
class Frontend:
    """What reads models: a file by its suffix, an object by a predicate.

    ``read``: returns the Graph of the file (a ``Path``) or object, called as the second argument says where it is not None;
    raises :class:`InvalidModelError` and :class:`UnsupportedModelError` with everything that is wrong. ``suffixes``: of
    files, such as ``.toy``. ``accepts``: whether an object, which is no path, is read by it.
    """

    read: Callable[[Any, str | None], Graph]  # Any: a path or an object, which only the frontend knows the class of
    suffixes: tuple[str, ...] = ()
    accepts: Callable[[object], bool] | None = None


def added_frontend(source: object) -> tuple[EntryPoint, Frontend] | None:
    """Return who reads *source*, None where we do (:func:`load_classifier`): ONNX and scikit-learn stay ours.

    Raises :class:`PluginError` where two packages do, or one cannot be used.
    """
    path = Path(source) if isinstance(source, str | Path) else None
    if path is not None and path.suffix.lower() in OURS:
        return None
    if path is None and (type(source).__module__.split(".")[0] == "onnx" or is_estimator(source)):
        return None
    found = []
    for entry in plugins("frontends", OUR_NAMES.__contains__).values():
        frontend: Frontend = load_plugin(entry, "a Frontend", _misfit)
        if path is not None:
            accepted = path.suffix.lower() in frontend.suffixes
        else:
            accepted = frontend.accepts is not None and _asked(entry, frontend.accepts, source)
        if accepted:
            found.append((entry, frontend))
    if len(found) > 1:
        where = path.suffix if path is not None else type(source).__name__
        owners = " and ".join(package_of(entry) for entry, _ in found)
        problem = Problem(shown(where), f"{owners} all read it", "keep one of these packages: pip uninstall the others")
        raise PluginError("plug-ins, frontends", [problem])
    return found[0] if found else None


def load_classifier(source: object, name: str | None) -> tuple[Loaded, tuple[str, ...]]:
    """Return the ONNX model that *source* is or becomes, and titles of its features (none where it does not say)."""
    from approxhw.frontends.onnx.loading import load

    if not is_estimator(source):
        return load(cast("ModelSource", source), name), ()  # what else it is, `Path` refuses
    proto, titles = convert(source)
    return load(proto, name or type(source).__name__), titles


def read_by(entry: EntryPoint, frontend: Frontend, source: object, name: str | None) -> Graph:
    """Return the Graph that *frontend* makes of *source*, verified; what goes wrong in it names its package."""
    if isinstance(source, str | Path):
        source = Path(source)
        if not source.is_file():
            raise InvalidModelError(source.name, [Problem(str(source), "there is no such file", "check the path")])
    try:
        graph = frontend.read(source, name)
    except ApproxhwError:
        raise
    except Exception as error:
        raise failed(entry, f"reading {shown(source)}", error) from error
    if not isinstance(graph, Graph):
        raise broken(entry, f"it made {type(graph).__name__} of {shown(source)}, not a Graph")
    try:
        verify(graph)
    except GraphError as error:
        raise broken(entry, f"it made a Graph that breaks rules: {error}") from error
    return graph


def _asked(entry: EntryPoint, accepts: Callable[[object], bool], source: object) -> bool:
    try:
        return bool(accepts(source))
    except Exception as error:
        raise failed(entry, f"looking at {type(source).__name__}", error) from error


def _misfit(found: object) -> str | None:
    if not isinstance(found, Frontend):
        return f"it is of type {type(found).__name__}"
    for suffix in found.suffixes:
        if suffix in OURS:
            return f"approxhw itself reads {suffix} files"
        if not re.fullmatch(r"\.[a-z0-9_-]+", suffix):
            return f"{shown(suffix)!r} is no suffix of small letters, such as .toy"
    return None
