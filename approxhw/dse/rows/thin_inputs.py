"""Searches of models with many inputs: those that tell classes apart best are searched with, the others stay at their mean."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from approxhw.common.data.dataset import Dataset
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Constant, Dense, Input, Type
from approxhw.ir.pass_manager import PassContext
from approxhw.numerics.formats import Encoding, Fixed
from approxhw.numerics.mac.arithmetic import MaskedPowerOfTwo


@dataclass(frozen=True, eq=False)
class Thinned:
    """Which inputs a search keeps (``kept``, ascending), of how many, and the Input that circuits of it have again."""

    kept: np.ndarray
    whole: Node
    """The model's Input."""
    low: np.ndarray
    high: np.ndarray
    """Ends of every reading in the training rows: those of an input that nothing reads stand in the circuit's encoding."""

    def columns(self, values: np.ndarray) -> np.ndarray:
        """Return the columns of rows × features that are kept."""
        return values[:, self.kept]

    def rows(self, data: Dataset) -> Dataset:
        """Return *data* with the features that are kept."""
        features = tuple(data.features[i] for i in self.kept.tolist()) if data.features else data.features
        return replace(data, X_train=self.columns(data.X_train), X_test=self.columns(data.X_test), features=features)

    def restored(self, graph: Graph) -> Graph:
        """Return *graph*, an integer one of the inputs that are kept, with all inputs, of which it reads no others."""
        node = graph.input
        assert isinstance(node.op, Input)
        assert isinstance(self.whole.op, Input)
        assert node.op.encoding is not None
        low, high = self.low.copy(), self.high.copy()
        low[self.kept], high[self.kept] = node.op.encoding.low, node.op.encoding.high
        encoding = Encoding(node.op.encoding.bits, node.op.encoding.rule, tuple(low.tolist()), tuple(high.tolist()))
        count = len(low)
        whole = replace(node, op=replace(self.whole.op, encoding=encoding), type=Type((count,), node.type.format))
        wide: dict[str, Node] = {}
        for reader in graph.readers(node.name):
            assert isinstance(reader.op, Dense)
            masked = isinstance(reader.op.arithmetic, MaskedPowerOfTwo)
            weights = (reader.inputs[1], reader.inputs[3]) if masked else (reader.inputs[1],)
            for name in weights:
                data = graph.constant(name)
                spread = np.zeros((len(data), count), dtype=data.dtype)
                spread[:, self.kept] = data
                wide[name] = replace(graph[name], op=Constant(spread), type=Type(spread.shape, graph[name].type.format))
        made = {**wide, node.name: whole}
        return replace(graph, nodes=tuple(made.get(each.name, each) for each in graph.nodes))


def univariate_scores(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how well each feature alone tells the classes apart: the F of an analysis of variance (float64, features).

    ``rows``: rows × features. 0 for a feature that is the same in every row, ∞ for one that is so within every class only.
    """
    x = np.asarray(rows, dtype=np.float64)
    classes = [x[labels == label] for label in np.unique(labels)]
    between = sum((len(part) * (part.mean(axis=0) - x.mean(axis=0)) ** 2 for part in classes), np.zeros(x.shape[1]))
    within = sum((((part - part.mean(axis=0)) ** 2).sum(axis=0) for part in classes), np.zeros(x.shape[1]))
    free = max(1, len(classes) - 1), max(1, len(x) - len(classes))
    # of what rounding leaves no score is made
    tiny = 1e-12 * (np.abs(x).max(axis=0, initial=0.0) ** 2 + 1e-300) * max(1, len(x))
    between = np.where(between <= tiny, 0.0, between / free[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.where(between > 0, np.where(within <= tiny, np.inf, between / (within / free[1])), 0.0)
    return np.asarray(scores, dtype=np.float64)


def thinned_inputs(graph: Graph, data: Dataset, most: int) -> tuple[Graph, Thinned | None]:
    """Return *graph* with at most *most* inputs, the best by :func:`univariate_scores` of training rows, and which they are.

    What is left out is taken as its mean, which goes into biases. The Graph stays as it is, with None, where it has no more
    inputs than that, or codes already, or something else than layers and scalers reads its Input.
    """
    from approxhw.passes.simplify.fold_affine import FoldAffine

    count = graph.input.type.elements
    if count <= most or not len(data.X_train) or isinstance(graph.input.type.format, Fixed):
        return graph, None
    folded = FoldAffine()(graph, PassContext())
    node = folded.input
    readers = folded.readers(node.name)
    if not readers or not all(isinstance(each.op, Dense) and each.inputs[0] == node.name for each in readers):
        return graph, None
    rows = np.asarray(data.X_train, dtype=np.float64)
    order = np.argsort(-univariate_scores(rows, data.y_train), kind="stable")
    kept = np.sort(order[:most])
    left = np.setdiff1d(np.arange(count), kept)
    means = rows.mean(axis=0)
    assert isinstance(node.op, Input)
    features, titles = (tuple(names[i] for i in kept.tolist()) for names in (node.op.features, node.op.titles))
    made = {node.name: replace(node, op=Input(features, titles), type=Type((len(kept),), node.type.format))}
    for reader in readers:
        weights, bias = (folded.constant(name) for name in reader.inputs[1:3])
        w, b = (folded[name] for name in reader.inputs[1:3])
        made[w.name] = replace(w, op=Constant(weights[:, kept]), type=Type((len(weights), len(kept)), w.type.format))
        made[b.name] = replace(b, op=Constant(bias + weights[:, left] @ means[left]))
    ends = rows.min(axis=0), rows.max(axis=0)
    thin = replace(folded, nodes=tuple(made.get(each.name, each) for each in folded.nodes))
    return thin, Thinned(kept, graph.input, *ends)
