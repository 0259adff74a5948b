"""What a model loses on calibration rows: cross-entropy of all rows, and of each class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import PassError, Problem
from approxhw.ir.graph import Graph, Node
from approxhw.ir.pass_manager import PassContext
from approxhw.numerics.formats import Float

from .moments import Observe


@dataclass(frozen=True, eq=False)
class LossJudge:
    """What tells losses: a run over the rows, and the class index of each row (int64).

    Classes are those of the labels, or where the rows have none, those that the model itself gave.
    """

    observe: Observe
    classes: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """The classes that occur."""
        return np.unique(self.classes)


def judge_of(context: PassContext, graph: Graph, observe: Observe) -> LossJudge:
    """Return the judge of *graph*, the model before a pass; raise :class:`PassError` where it gives no scores of classes."""
    scores = scores_of(graph, observe)
    if scores.shape[1] < 2:
        why = "no output of it is a score for each class: no loss tells what leaves"
        raise PassError("losses", [Problem("model", why, "use prune-outputs or low-rank, which look at layers alone")])
    if not np.isfinite(scores).all():
        why = "some of its scores of calibration rows are NaN or infinite: no loss comes of them"
        raise PassError("losses", [Problem("model", why, "look at the data and the model")])
    labels = context.training[1] if context.training is not None else None
    if labels is not None and (labels.max(initial=0) >= scores.shape[1] or labels.min(initial=0) < 0):
        labels = None
        context.note("the labels are no places of its scores: the model's own answers are taken for the truth")
    classes = scores.argmax(axis=1) if labels is None else labels[: len(scores)]
    return LossJudge(observe, classes.astype(np.int64))


def scores_of(graph: Graph, observe: Observe) -> np.ndarray:
    """Return the scores that *graph* gives the calibration rows: rows × scores, float64.

    They are its first output of several real numbers a row; where there is none, whatever the first output is.
    """
    found: list[np.ndarray] = []
    leaving = [graph[name] for name in graph.leaving]
    several = [
        node.name for node in leaving if isinstance(node.type.format, Float) and math.prod(node.type.shape[1:]) > 1
    ]
    output = (several or [graph.output])[0]

    def seen(node: Node, value: np.ndarray) -> None:
        if node.name == output:
            found.append(value.reshape(len(value), -1).astype(np.float64))

    observe(graph, seen)
    if not found:
        raise PassError(
            "losses", [Problem("data", "no calibration row reaches the output", "give training rows with --data")]
        )
    return np.concatenate(found)


def row_losses(scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the cross-entropy of each row; *scores* that are chances already (none below 0, sums of 1) are taken as such."""
    rows = np.arange(len(classes))
    scores = scores[: len(classes)]
    if (scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=1e-3):
        return -np.log(np.maximum(scores[rows, classes], 1e-12))
    moved = scores - scores.max(axis=1, keepdims=True)
    found: np.ndarray = np.log(np.exp(moved).sum(axis=1)) - moved[rows, classes]
    return np.where(np.isfinite(found), found, 1e3)


def losses_of(judge: LossJudge, graph: Graph) -> np.ndarray:
    """Return the mean loss of *graph* on the rows of each class that occurs (``judge.known``)."""
    lost = row_losses(scores_of(graph, judge.observe), judge.classes)
    return np.array([lost[judge.classes[: len(lost)] == each].mean() for each in judge.known])


def mean_loss(judge: LossJudge, graph: Graph) -> float:
    """Return the mean loss of *graph* over all rows."""
    return float(row_losses(scores_of(graph, judge.observe), judge.classes).mean())
