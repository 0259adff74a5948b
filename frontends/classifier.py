"""A classifier, read once: its Graph, its title and digest, and what onnxruntime can run beside it as the reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.common.files import sha256_of
from approxhw.ir.graph import Graph

if TYPE_CHECKING:
    from approxhw.frontends.onnx.loading import Loaded
    from approxhw.frontends.onnx.reading import Reading


@dataclass(frozen=True, eq=False)
class Classifier:
    """What a model file is to everybody behind the frontends; nobody opens the file again.

    ``digest``: SHA-256 of the file, None where the model was none. ``loaded``, ``reading``: the ONNX model and what was
    read in it; None where there is none (a Graph, or a frontend of another package).
    """

    graph: Graph
    title: str
    digest: str | None = None
    loaded: Loaded | None = None
    reading: Reading | None = None


def open_classifier(source: object, *, name: str | None = None, task: str | None = None) -> Classifier:
    """Return the model in *source*, a Graph or what :func:`approxhw.frontends.read_model` takes, which says what is raised.

    *task*: what an ONNX or scikit-learn model is for (``common.dataset.TASKS``); None: as the model says.
    """
    from approxhw.ir.verifier import verify

    from .registry import added_frontend, load_classifier, read_by

    if isinstance(source, Graph):
        return Classifier(source, source.source or source.name)
    if (theirs := added_frontend(source)) is not None:
        graph = read_by(*theirs, source, name)
        if not isinstance(source, str | Path):
            return Classifier(graph, graph.source or graph.name)
        return Classifier(graph, Path(source).name, sha256_of(Path(source)))
    from approxhw.frontends.onnx.reading import read_loaded

    loaded, titles = load_classifier(source, name)
    reading = read_loaded(loaded, titles, task)
    graph = reading.whole(loaded.title)
    verify(graph)
    title = Path(source).name if isinstance(source, str | Path) else graph.source or graph.name
    return Classifier(graph, title, loaded.digest, loaded, reading)
