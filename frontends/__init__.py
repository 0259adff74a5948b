"""Frontends: a model file, ``ModelProto`` or scikit-learn estimator → Graph. Heavy imports wait for the first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from approxhw.common.errors import Problem

if TYPE_CHECKING:
    from approxhw.ir.graph import Graph

__all__ = ["check_model", "read_model"]


def read_model(source: object, *, name: str | None = None, task: str | None = None) -> Graph:
    """Return the Graph of one row of the model in *source*.

    ``source``: path of an ONNX file, an ``onnx.ModelProto``, a fitted scikit-learn classifier or pipeline, or what a frontend
    of another package reads (``registry.Frontend``). ``name``: what to call the Graph; the file's stem by default.
    *task*: what the model is for (``common.dataset.TASKS``); None: as it says itself, a classifier where it says nothing. A float
    model gives a float64 Graph, a QDQ or QONNX model an integer Graph with its own scales. Raises
    :class:`InvalidModelError` for a broken file and
    :class:`UnsupportedModelError` for nodes that cannot be compiled; each lists all that is wrong.
    """
    from .classifier import open_classifier

    return open_classifier(source, name=name, task=task).graph


def check_model(source: object, task: str | None = None) -> list[Problem]:
    """Return everything that keeps the model in *source* from being compiled; empty where nothing does. *task*: as above.

    Raises :class:`InvalidModelError` only where the file itself is broken.
    """
    from approxhw.common.errors import InvalidModelError, UnsupportedModelError
    from approxhw.frontends.onnx.reading import read_loaded
    from approxhw.ir.graph import Graph

    from .registry import added_frontend, load_classifier, read_by

    if isinstance(source, Graph):
        return []
    if (theirs := added_frontend(source)) is not None:
        try:
            read_by(*theirs, source, None)
        except UnsupportedModelError as error:
            return list(error.problems)
        return []
    loaded, titles = load_classifier(source, None)
    reading = read_loaded(loaded, titles, task)
    if reading.invalid:
        raise InvalidModelError(loaded.title, reading.problems)
    return list(reading.problems)
