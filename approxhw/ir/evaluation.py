"""What a Graph says about rows of readings: codes, classes or values, scores, confusion."""

from __future__ import annotations

import numpy as np

from approxhw.common.data.dataset import CLASSIFICATION, MULTILABEL, REGRESSION
from approxhw.numerics.formats import Fixed
from approxhw.numerics.logic.care_set import CareSet, care_set

from .chain import compares_values, is_decision
from .graph import Graph
from .interpreter import run, run_all
from .kinds import Binarize, Input, Threshold

MEASURES = {CLASSIFICATION: "accuracy", REGRESSION: "R²", MULTILABEL: "exact match"}
"""Task → what its score is called: the share of right rows, the coefficient of determination, the share of rows whose labels are
all right."""


def task_of(graph: Graph) -> str:
    """Return what *graph* is for: it names a class, makes a bit a label, or real values."""
    node = graph[graph.output]
    if is_decision(node):
        return CLASSIFICATION
    return MULTILABEL if isinstance(node.op, Binarize) else REGRESSION


def codes_of(graph: Graph, readings: np.ndarray) -> np.ndarray:
    """Return what the Input of *graph* takes for *readings* (rows × features): codes, or the readings themselves."""
    node = graph.input
    assert isinstance(node.op, Input)
    if not isinstance(node.type.format, Fixed) or node.op.encoding is None:
        return np.asarray(readings, dtype=np.float64)
    return node.op.encoding.encode(readings)[0]


def care_set_of(graph: Graph) -> CareSet:
    """Return which codes can occur at the Input of an integer *graph*."""
    node = graph.input
    assert isinstance(node.op, Input)
    assert isinstance(node.type.format, Fixed)
    count = node.type.elements
    return care_set(node.op.encoding, count) if node.op.encoding else CareSet(node.type.format.bits, count)


def predict(graph: Graph, readings: np.ndarray) -> np.ndarray:
    """Return the class index (int64) that *graph* gives every row of *readings* (rows × features).

    For regression the real values (float64, rows × outputs), for several labels a row a bit each (int64, rows × labels).
    """
    task = task_of(graph)
    if task == REGRESSION:
        return real_values(graph, run(graph, codes_of(graph, readings)))
    if task == MULTILABEL:
        return run(graph, codes_of(graph, readings)).reshape(len(readings), -1).astype(np.int64)
    return run(graph, codes_of(graph, readings)).reshape(len(readings)).astype(np.int64)


def deciding_values(graph: Graph, readings: np.ndarray) -> np.ndarray | None:
    """Return the values that the head of *graph* compares for every row of *readings*: float64, rows × classes.

    Of a threshold, one value a row, above 0 for class 1. In any unit: what is added to all of a row, or multiplies all values, is
    not told apart. None where the head compares nothing: gates, say, that have decided.
    """
    head = graph[graph.output]
    if not compares_values(head):
        return None
    found = run_all(graph, codes_of(graph, readings))[head.inputs[0]]
    values = found.reshape(len(readings), -1).astype(np.float64)
    return values - float(head.op.threshold) if isinstance(head.op, Threshold) else values


def real_values(graph: Graph, found: np.ndarray) -> np.ndarray:
    """Return what the values *found* at the output of *graph* stand for: float64, rows × outputs."""
    flat = found.reshape(len(found), -1)
    fmt = graph[graph.output].type.format
    if not isinstance(fmt, Fixed):
        return flat.astype(np.float64)
    return (flat - fmt.zero).astype(np.float64) * float(fmt.scale)


def names_classes(graph: Graph) -> bool:
    """Whether the output of *graph* is one class index a row, so that accuracy means something."""
    node = graph[graph.output]
    return node.type.shape == () and isinstance(node.type.format, Fixed)


def accuracy(graph: Graph, readings: np.ndarray, labels: np.ndarray) -> float | None:
    """Return the share of rows whose class index is the label's; None without rows or where *graph* names no class."""
    if not len(readings) or not names_classes(graph):
        return None
    return float(np.mean(predict(graph, readings) == labels))


def confusion(graph: Graph, codes: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return how many rows of each label (first axis) get each class (second axis): int64, classes × classes.

    ``codes``: what the Input of *graph* takes, rows × features.
    """
    table = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(table, (labels, run(graph, codes).reshape(len(codes)).astype(np.int64)), 1)
    return table


def score(graph: Graph, readings: np.ndarray, targets: np.ndarray, found: np.ndarray | None = None) -> float | None:
    """Return how good *graph* is on rows, by the measure of its task (``MEASURES``); None without rows.

    *found*: what it says of them, where that is known already.
    """
    width = graph[graph.output].type.elements
    if not len(readings) or (task_of(graph) != CLASSIFICATION and targets.size != len(readings) * width):
        return None
    return score_of(task_of(graph), predict(graph, readings) if found is None else found, targets)


def score_of(task: str, found: np.ndarray, wanted: np.ndarray) -> float:
    """Return how good what was *found* is, by the measure of *task*, where *wanted* is right; rows × what a row has.

    R² is the mean over outputs of 1 − Σ(y − f)² / Σ(y − mean y)²; of an output that never changes 1 where it is met, else 0.
    """
    if task == CLASSIFICATION:
        return float(np.mean(found == wanted))
    wanted = wanted.reshape(len(found), -1)
    if task == MULTILABEL:
        return float(np.mean((found == wanted).all(axis=1)))
    left = ((wanted - found) ** 2).sum(axis=0)
    spread = ((wanted - wanted.mean(axis=0)) ** 2).sum(axis=0)
    shares = np.where(spread > 0, 1 - left / np.where(spread > 0, spread, 1.0), (left == 0).astype(np.float64))
    return float(shares.mean())


def details_of(task: str, found: np.ndarray, wanted: np.ndarray) -> dict[str, list[float]]:
    """Return what else tells how good it is: ``rmse`` of each output, or ``label_accuracy`` of each label."""
    wanted = wanted.reshape(len(found), -1) if task != CLASSIFICATION else wanted
    if task == REGRESSION and len(found):
        return {"rmse": np.sqrt(((wanted - found) ** 2).mean(axis=0)).tolist()}
    if task == MULTILABEL and len(found):
        return {"label_accuracy": (wanted == found).mean(axis=0).tolist()}
    return {}
