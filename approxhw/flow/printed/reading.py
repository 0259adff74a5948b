"""Read a classifier or regressor and the rows of its user, and run the reference on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.data.dataset import (
    CLASSIFICATION,
    Dataset,
    load_dataset,
    targets_a_row,
    task_of_targets,
)
from approxhw.common.errors import OptionError, Problem, UnsupportedModelError
from approxhw.flow.stages.describe import about
from approxhw.flow.stages.protocol import Asked, Clock, Source, Target
from approxhw.ir.evaluation import predict, score, score_of, task_of
from approxhw.ir.graph import Graph, titled
from approxhw.ir.kinds import Forest

from .target import EXACT, TREES, Printed

if TYPE_CHECKING:
    from approxhw.frontends.classifier import Classifier


@dataclass(frozen=True, eq=False)
class ReferenceAnswers:
    """What the model says of the rows of each split before any pass, and who says so: ``against``."""

    against: str
    answers: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class OpenedClassifier:
    """What is kept of a model: the file as it was read, the user's rows, and its accuracy on ``train`` and ``test`` rows.

    ``told``: what users should know about these rows.
    """

    model: Classifier
    rows: Dataset | None = None
    reference: Mapping[str, float | None] | None = None
    notes: tuple[str, ...] = ()
    """What the user should know of how model and rows were taken."""
    answers: ReferenceAnswers | None = None


def read_classifier(asked: Asked[Target]) -> Source[OpenedClassifier]:
    """Open the classifier that is asked for; sizes and threads are for other targets."""
    from approxhw.frontends.classifier import open_classifier

    _refuse_sizes(asked, "compile")
    model = open_classifier(asked.model, task=_task(asked))
    return Source(model.graph, about(model), model.graph.name, OpenedClassifier(model))


def _task(asked: Asked[Target]) -> str | None:
    return getattr(asked.target, "task", None)


def _refuse_sizes(asked: Asked[Target], subject: str) -> None:
    if asked.shape:
        why = "is for the open inputs of a model on a matrix engine; a circuit's are fixed"
        raise OptionError(subject, [Problem("shape", why, "leave it out")])


def prepare(source: Source[OpenedClassifier], asked: Asked[Target], clock: Clock) -> Source[OpenedClassifier]:
    """Read the user's rows, and run the reference on them."""
    graph, model = source.graph, source.kept.model
    rows = None
    with clock.step("data"):
        if asked.data is not None:
            model, graph = _told_by_data(model, graph, asked)
            rows = load_dataset(
                asked.data,
                graph.input.type.elements,
                graph.classes or None,
                graph.labels,
                task=task_of(graph),
                outputs=graph[graph.output].type.elements,
            )
            graph = titled(graph, rows.features)
    with clock.step("reference"):
        reference: Mapping[str, float | None] = {"train": None, "test": None}
        answers = None
        notes = [] if model.reading is None else list(model.reading.notes)
        if rows is not None:
            splits = {"train": (rows.X_train, rows.y_train), "test": (rows.X_test, rows.y_test)}
            reference, answers, differ = compared(model, graph, splits)
            notes += [*told_of_rows(model, (rows.X_train, rows.X_test)), *differ]
    return replace(source, graph=graph, kept=OpenedClassifier(model, rows, reference, tuple(notes), answers))


def _told_by_data(model: Classifier, graph: Graph, asked: Asked[Target]) -> tuple[Classifier, Graph]:
    """Return the model read for the task that the user's targets speak for, where the model itself says nothing."""
    from approxhw.frontends.classifier import open_classifier

    if asked.data is None or model.reading is None or not model.reading.doubtful:
        return model, graph
    told = task_of_targets(asked.data)
    scores = graph[graph[graph.output].inputs[0]].type.elements
    if told is None or (scores > 1 and targets_a_row(asked.data) == 1):  # labels of several classes
        return model, graph
    again = open_classifier(asked.model, task=told)
    return again, again.graph


def reference_accuracies(
    model: Classifier, graph: Graph, splits: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> dict[str, float | None]:
    """Return the accuracy of the model before any pass on each split (readings, class indices); None without rows.

    onnxruntime says so where there is an ONNX model, else the interpreter of *graph*.
    """
    return compared(model, graph, splits)[0]


def compared(
    model: Classifier, graph: Graph, splits: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> tuple[dict[str, float | None], ReferenceAnswers, list[str]]:
    """Return what :func:`reference_accuracies` does, the answers, and a line where onnxruntime and *graph*, as read, differ."""
    if model.loaded is None:
        own = answers_of_graph(graph, splits)
        return {name: score(graph, x, y, own.answers.get(name)) for name, (x, y) in splits.items()}, own, []
    from approxhw.frontends.runtime.reference import open_reference

    try:
        session = open_reference(model)
    except UnsupportedModelError:  # it compiles, but has operators (QONNX) that onnxruntime lacks
        return dict.fromkeys(splits), answers_of_graph(graph, splits), []
    answers = dict[str, np.ndarray]()
    task, found = task_of(graph), dict[str, float | None](dict.fromkeys(splits))
    differ = rows = 0
    for name, (x, y) in splits.items():
        if len(x):
            said = session.predict(x)
            found[name], answers[name] = score_of(task, said, y), said
            if not graph.is_integer and task == CLASSIFICATION:
                differ, rows = differ + int((said != predict(graph, x)).sum()), rows + len(x)
    told = (
        f"onnxruntime gives {differ} of {rows} rows another class than the greatest score does: float32 does not tell their "
        "probabilities apart there; the circuit goes by the scores (skl2onnx: raw_scores has a model do so, too)"
    )
    return found, ReferenceAnswers("the model in onnxruntime", answers), [told] if differ else []


def answers_of_graph(graph: Graph, splits: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> ReferenceAnswers:
    """Return what *graph*, the model as it was read, says of the rows of each split."""
    return ReferenceAnswers(
        "the model as it was read", {name: predict(graph, x) for name, (x, _) in splits.items() if len(x)}
    )


def told_of_rows(model: Classifier, rows: Sequence[np.ndarray]) -> tuple[str, ...]:
    """Return what users should know about readings, of several splits, that *model* is not made for."""
    if model.loaded is None:
        return ()
    from approxhw.frontends.runtime.readings import told_of_readings

    return told_of_readings(model.loaded.proto, rows)


def with_tree_pipeline(source: Source[OpenedClassifier], asked: Asked[Printed]) -> Asked[Printed]:
    """Return *asked* with the pipeline of trees where the model is made of trees, and no other was asked for."""
    trees = any(isinstance(node.op, Forest) for node in source.graph.nodes)
    if not trees or asked.given is not None or asked.target.pipeline != EXACT:
        return asked
    return replace(asked, target=replace(asked.target, pipeline=TREES))


def check_classifier(asked: Asked[Target]) -> list[Problem]:
    """Return everything that keeps the model from being compiled; empty where nothing does."""
    from approxhw.frontends import check_model

    _refuse_sizes(asked, "check")
    return check_model(asked.model, _task(asked))


def counts(asked: Asked[Target]) -> dict[str, int]:
    """Return how many inputs and classes there are, and of trees how many and how many tests they have."""
    graph = read_classifier(asked).graph
    found = {"inputs": graph.input.type.elements}
    if task_of(graph) != CLASSIFICATION:
        found["outputs"] = graph[graph.output].type.elements
    else:
        found["classes"] = graph.classes
    forests = [node.op for node in graph.nodes if isinstance(node.op, Forest)]
    if forests:
        found |= {"trees": sum(len(op.roots) for op in forests), "tests": sum(len(op.feature) for op in forests)}
    return found
