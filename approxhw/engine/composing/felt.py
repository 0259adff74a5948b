"""What the model's end feels of each layer: how far its answers move when the layer loses a known share of what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds.tensor.ops import Gemm
from approxhw.passes.integers._mean_shifts import with_column_shift
from approxhw.passes.structure.ground.layers import matrix_of, with_matrix
from approxhw.passes.structure.ground.losses import scores_of, scoring_outputs
from approxhw.passes.structure.ground.moments import Moments, Observe

TRIED = 0.05
"""Share of what a layer gives, by variance, that it loses while the end is looked at: about what a smaller model loses in one."""

LEAST = 1e-6
"""What the end feels at least, for a share of 1: rows do not tell that it feels nothing."""


@dataclass(frozen=True, eq=False)
class EndAnswers:
    """What a model says of rows: ``logs`` of its chances (R × classes), or of one score a row that and its spread."""

    logs: np.ndarray
    spread: float | None = None

    def moved(self, other: EndAnswers) -> float:
        """Return how far *other* is: mean Kullback-Leibler divergence in nats; of one score its square over the spread."""
        if self.spread is not None:
            return float(np.mean((other.logs - self.logs) ** 2)) / self.spread
        return float(np.mean(np.sum(np.exp(self.logs) * (self.logs - other.logs), axis=1)))


def end_answers(graph: Graph, observe: Observe) -> tuple[EndAnswers, ...]:
    """Return what *graph* says of the calibration rows in each output that scores classes; chances are taken as such."""
    return tuple(map(_answers, scores_of(graph, observe, scoring_outputs(graph))))


def _answers(scores: np.ndarray) -> EndAnswers:
    if scores.shape[1] < 2:
        return EndAnswers(scores, max(float(scores.var()), 1e-12))
    if (scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=1e-3):
        return EndAnswers(np.log(np.maximum(scores, 1e-12)))
    moved = scores - scores.max(axis=1, keepdims=True)
    return EndAnswers(moved - np.log(np.exp(moved).sum(axis=1, keepdims=True)))


def felt_by_layer(
    graph: Graph,
    moments: Mapping[str, Moments],
    observe: Observe,
    tell: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Return by how much answers move for each product of *moments* (by its Node) that loses all it gives, were that linear.

    Measured layer by layer, all others whole: what it gives loses the directions of least variance, as ranks do, as far as makes
    :data:`TRIED` of its variance. One run over the rows for each. Divergence of answers is quadratic in what scores move by,
    so that this is their Fisher information along what approximations take away. In nats, or of the spread, for a share of 1.
    """
    before, found = end_answers(graph, observe), {}
    for done, (name, each) in enumerate(moments.items()):
        made = with_share_lost(graph, graph[name], each, TRIED)
        moved = float(np.mean([was.moved(now) for was, now in zip(before, end_answers(made, observe), strict=True)]))
        found[name] = max(moved / TRIED, LEAST) if np.isfinite(moved) else 1 / LEAST
        if tell is not None:
            tell(done + 1, len(moments))
    return found


def with_share_lost(graph: Graph, node: Node, moments: Moments, share: float) -> Graph:
    """Return *graph* whose product *node* gives *share* less of its variance, along what it gives least of; its mean stays.

    Both are those of *moments*.
    """
    matrix = matrix_of(graph, node)
    values, directions = np.linalg.eigh(matrix.T @ moments.covariance @ matrix)
    values = np.maximum(values, 0.0)
    wanted = share * float(values.sum())
    if wanted <= 0:
        return graph  # what it gives is the same for all rows
    count = int(np.searchsorted(np.cumsum(values), wanted)) + 1
    lost = directions[:, :count]
    scale = np.sqrt(wanted / float(values[:count].sum()))
    less = matrix - scale * (matrix @ lost) @ lost.T
    shift = moments.mean @ (matrix - less) * (node.op.alpha if isinstance(node.op, Gemm) else 1.0)
    made = with_matrix(graph, node, less)
    return with_column_shift(made, made[node.name], shift)


def felt_of(felt: Mapping[str, float], names: Sequence[str]) -> float:
    """Return what is felt on average of the products *names*; of those not measured, what is felt of a usual one."""
    usual = float(np.median([*felt.values()])) if felt else 1.0
    return float(np.mean([felt.get(name, usual) for name in names])) if names else usual
