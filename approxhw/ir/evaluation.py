"""What a Graph says about rows of readings: codes, classes, accuracy, confusion."""

from __future__ import annotations

import numpy as np

from approxhw.numerics.formats import Fixed

from .graph import Graph
from .interpreter import run
from .kinds import Input


def codes_of(graph: Graph, readings: np.ndarray) -> np.ndarray:
    """Return what the Input of *graph* takes for *readings* (rows × features): codes, or the readings themselves."""
    node = graph.input
    assert isinstance(node.op, Input)
    if not isinstance(node.type.format, Fixed) or node.op.encoding is None:
        return np.asarray(readings, dtype=np.float64)
    return node.op.encoding.encode(readings)[0]


def predict(graph: Graph, readings: np.ndarray) -> np.ndarray:
    """Return the class index (int64) that *graph* gives every row of *readings* (rows × features)."""
    return run(graph, codes_of(graph, readings)).reshape(len(readings)).astype(np.int64)


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
