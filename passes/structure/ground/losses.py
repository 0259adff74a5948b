"""What a model loses on calibration rows: cross-entropy of all rows, of each output, and of each class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import PassError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.pass_manager import PassContext
from approxhw.numerics.formats import Float

from .moments import Observe


@dataclass(frozen=True, eq=False)
class LossJudge:
    """What tells losses: a run over the rows, and the class index of each row (int64) in every output that scores classes.

    ``outputs``: their places among what leaves the Graph. Classes are those of the labels for the first one, or where the rows
    have none, and for all others, those that the model itself gave.
    """

    observe: Observe
    outputs: tuple[int, ...]
    classes: tuple[np.ndarray, ...]
    titles: tuple[str, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """What bounds are for: every output, or where there is one alone, each class that occurs."""
        if len(self.outputs) > 1:
            return tuple(f"output {shown(title, 40)!r}" for title in self.titles)
        return tuple(f"class {each}" for each in np.unique(self.classes[0]).tolist())


def judge_of(context: PassContext, graph: Graph, observe: Observe) -> LossJudge:
    """Return the judge of *graph*, the model before a pass; raise :class:`PassError` where it gives no scores of classes."""
    outputs = scoring_outputs(graph)
    every = scores_of(graph, observe, outputs)
    if every[0].shape[1] < 2:
        why = "no output of it is a score for each class: no loss tells what leaves"
        raise PassError("losses", [Problem("model", why, "use prune-outputs or low-rank, which look at layers alone")])
    if not all(np.isfinite(scores).all() for scores in every):
        why = "some of its scores of calibration rows are NaN or infinite: no loss comes of them"
        raise PassError("losses", [Problem("model", why, "look at the data and the model")])
    labels = context.training[1] if context.training is not None else None
    if labels is not None and (labels.max(initial=0) >= every[0].shape[1] or labels.min(initial=0) < 0):
        labels = None
        context.note("the labels are no places of its scores: the model's own answers are taken for the truth")
    answers = [scores.argmax(axis=1) for scores in every]
    # chances beside the scores that they come of are the same task
    own = [place for place, found in enumerate(answers) if not any(np.array_equal(found, o) for o in answers[:place])]
    truth = [answers[0] if labels is None else labels[: len(every[0])], *(answers[place] for place in own[1:])]
    titles = {name: title for title, name in graph.results}
    return LossJudge(
        observe,
        tuple(outputs[place] for place in own),
        tuple(each.astype(np.int64) for each in truth),
        tuple(titles.get(graph.leaving[outputs[place]], "output") for place in own),
    )


def scoring_outputs(graph: Graph) -> tuple[int, ...]:
    """Return the places, among what leaves *graph*, of outputs of several real numbers a row: the first, and other matrices.

    Where there is none, whatever the first output is.
    """
    leaving = [graph[name].type for name in graph.leaving]
    several = [
        place for place, kind in enumerate(leaving) if isinstance(kind.format, Float) and math.prod(kind.shape[1:]) > 1
    ]
    return tuple(place for place in several if place == several[0] or len(leaving[place].shape) == 2) or (0,)


def scores_of(graph: Graph, observe: Observe, outputs: Sequence[int]) -> list[np.ndarray]:
    """Return the scores that *graph* gives the calibration rows in each of its *outputs*: rows × scores, float64."""
    names = [graph.leaving[place] for place in outputs]
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}

    def seen(node: Node, value: np.ndarray) -> None:
        if node.name in found:
            found[node.name].append(value.reshape(len(value), -1).astype(np.float64))

    observe(graph, seen)
    if not all(found.values()):
        raise PassError(
            "losses", [Problem("data", "no calibration row reaches the output", "give training rows with --data")]
        )
    return [np.concatenate(found[name]) for name in names]


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
    """Return the mean loss of *graph* for each of the judge's tasks: of every output, or on the rows of each class."""
    lost = _lost(judge, graph)
    if len(lost) > 1:
        return np.array([each.mean() for each in lost])
    (alone,), (classes,) = lost, judge.classes
    return np.array([alone[classes[: len(alone)] == each].mean() for each in np.unique(classes)])


def mean_loss(judge: LossJudge, graph: Graph) -> float:
    """Return the mean loss of *graph* over all rows and outputs."""
    return float(np.mean([each.mean() for each in _lost(judge, graph)]))


def _lost(judge: LossJudge, graph: Graph) -> list[np.ndarray]:
    every = scores_of(graph, judge.observe, judge.outputs)
    return [row_losses(scores, classes) for scores, classes in zip(every, judge.classes, strict=True)]
