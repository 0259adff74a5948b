"""What constant weights read, over all calibration rows: means and covariances of their inputs, streamed in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import PassError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds.tensor.ops import Conv, Gemm
from approxhw.ir.kinds.tensor.products import lower_product, product_of

Observe = Callable[[Graph, Callable[[Node, np.ndarray], None]], None]
"""Carries a Graph out on training rows, batch by batch, and shows every value as it is made."""

MOST_BYTES = 512 << 20
"""Of covariances that are gathered in one run over the rows; more of them take further runs."""

_ROWS = 1 << 14
"""Vectors that are multiplied at one time."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Of K inputs over ``count`` vectors: ``mean`` (K) and ``covariance`` (K × K), float64, divided by the count."""

    count: int
    mean: np.ndarray
    covariance: np.ndarray


def input_moments(graph: Graph, names: Sequence[str], observe: Observe) -> dict[str, Moments]:
    """Return the moments of what the weights of each product of *names* read, K in the order of its weights' rows.

    A convolution's K runs over channel, row, column. As many runs over the rows as ``MOST_BYTES`` asks for, each batch being
    let go. Raises :class:`PassError` naming every product that reads NaN or infinity, or no row at all.
    """
    found: dict[str, Moments] = {}
    for part in _parts(graph, names):
        gathered = {name: VectorSums(depth_of(graph, graph[name])) for name in part}
        readers: dict[str, list[Node]] = {}
        for name in part:
            readers.setdefault(graph[name].inputs[0], []).append(graph[name])

        def seen(node: Node, value: np.ndarray, readers: dict[str, list[Node]] = readers, sums=gathered) -> None:  # type: ignore[no-untyped-def]
            for reader in readers.get(node.name, ()):
                for vectors in vectors_of(graph, reader, value):
                    sums[reader.name].add(vectors)

        observe(graph, seen)
        found |= {name: sums.moments() for name, sums in gathered.items()}
    _refuse_odd(graph, found)
    return found


def depth_of(graph: Graph, node: Node) -> int:
    """Return how many inputs (K) one column of the product *node*'s weights reads."""
    shape = graph[node.inputs[1]].type.shape
    if isinstance(node.op, Conv):
        return math.prod(shape[1:])
    return shape[1] if isinstance(node.op, Gemm) and node.op.transpose_b else shape[-2]


def vectors_of(graph: Graph, node: Node, value: np.ndarray) -> Iterator[np.ndarray]:
    """Yield what the weights of the product *node* read of *value*, vectors × K in float64, some at a time."""
    if isinstance(node.op, Conv):
        weights = graph[node.inputs[1]].type.shape
        product = product_of(node.op, node.inputs[:2])
        few = np.zeros((1, *weights[1:]), np.float32)  # one filter: what it reads is what all of them read
        (gemm,) = lower_product(product, [value.astype(np.float32), few], frozenset()).gemms
        count = gemm.into.shape[1]
        for start in range(0, count, _ROWS):
            yield gemm.right.columns(slice(start, min(count, start + _ROWS))).T.astype(np.float64)
        return
    rows = value.T if isinstance(node.op, Gemm) and node.op.transpose_a else value
    rows = rows.reshape(-1, rows.shape[-1])
    for start in range(0, len(rows), _ROWS):
        yield rows[start : start + _ROWS].astype(np.float64)


@dataclass(eq=False)
class VectorSums:
    """Sums over vectors of ``depth`` inputs, and of ``columns`` that are meant of them, about the first batch's mean.

    So that a large mean leaves digits for the covariance.
    """

    depth: int
    columns: int = 0
    count: int = 0
    origin: np.ndarray | None = None
    total: np.ndarray | None = None
    products: np.ndarray | None = None

    def add(self, vectors: np.ndarray) -> None:
        """Add some vectors, inputs and columns side by side (vectors × (K + N))."""
        if self.origin is None or self.total is None or self.products is None:
            self.origin = vectors.mean(axis=0)
            self.total = np.zeros(self.depth + self.columns)
            self.products = np.zeros((self.depth, self.depth + self.columns))
        moved = vectors - self.origin
        self.count += len(moved)
        self.total += moved.sum(axis=0)
        self.products += moved[:, : self.depth].T @ moved

    def moments(self) -> Moments:
        """Return the moments of the inputs."""
        mean, spread = self._means()
        return Moments(self.count, mean[: self.depth], spread[:, : self.depth])

    def crossed(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the means of the columns (N), and their covariances with the inputs (K × N)."""
        mean, spread = self._means()
        return mean[self.depth :], spread[:, self.depth :]

    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        if self.origin is None or self.total is None or self.products is None:
            return np.zeros(self.depth + self.columns), np.zeros((self.depth, self.depth + self.columns))
        mean = self.total / self.count
        return self.origin + mean, self.products / self.count - np.outer(mean[: self.depth], mean)


def _parts(graph: Graph, names: Sequence[str]) -> Iterator[list[str]]:
    """Yield *names* in parts whose covariances fit into memory together."""
    part: list[str] = []
    held = 0
    for name in names:
        size = 8 * depth_of(graph, graph[name]) ** 2
        if part and held + size > MOST_BYTES:
            yield part
            part, held = [], 0
        part.append(name)
        held += size
    if part:
        yield part


def _refuse_odd(graph: Graph, found: Mapping[str, Moments]) -> None:
    problems = []
    for name, moments in found.items():
        where = f"layer {shown(graph[name].op.title, 60)!r}"  # type: ignore[union-attr]
        if not moments.count:
            problems.append(Problem(where, "no calibration row reaches it", "give training rows with --data"))
        elif not (np.isfinite(moments.mean).all() and np.isfinite(moments.covariance).all()):
            why = "what it reads of the calibration rows is NaN or infinite in places: no statistics come of it"
            problems.append(Problem(where, why, "look at the data and the model, or leave the layer out"))
    if problems:
        raise PassError("calibration statistics", problems)
