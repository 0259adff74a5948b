"""Trees on codes become trees on thresholds: an input of one bit for each, where the converter needs its comparator alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from approxhw.common.errors import Problem, UnsupportedModelError, shown
from approxhw.ir.graph import Graph, Node, identifier
from approxhw.ir.kinds import Forest, Input, Type
from approxhw.networks.trees.tree import comparators_of
from approxhw.numerics.formats import Encoding, Fixed


def with_thermometer(graph: Graph, trees: Forest) -> tuple[Graph, Forest]:
    """Return *graph* with an Input of one bit for each threshold of *trees*, and the trees on these bits.

    *graph*: anything with an Input of codes that rise with their readings; what stands behind it does not fit any more.
    Readings are float32, and get the same answers. Raises :class:`UnsupportedModelError` where trees compare sums or
    differences of two codes: these are of no single reading.
    """
    x = graph.input
    assert isinstance(x.op, Input)
    wanted = comparators_of(trees)
    if any(other >= 0 for _, other, _, _ in wanted):
        why = "its trees compare sums or differences of two inputs, and a threshold is of one"
        raise UnsupportedModelError("learnt trees", [Problem(shown(graph.name), why, "take trees of single inputs")])
    if x.op.encoding is None or x.op.encoding.rule == "thermometer":
        why = "its Input has no codes whose thresholds could become bits"
        raise UnsupportedModelError("learnt trees", [Problem(shown(x.name), why, "run quantize-inputs before")])
    encoding, features, titles = x.op.encoding, list[str](), list[str]()
    pairs = [(feature, threshold) for feature, _, _, threshold in wanted]
    kept = pairs or [(0, 1)]  # an Input has an element at least
    taken = set(graph.by_name)
    borders = [float(least_reading(encoding, feature, threshold)) for feature, threshold in kept]
    for (feature, threshold), border in zip(kept, borders, strict=True):
        titles.append(f"{x.op.titles[feature]} >= {np.float32(border)!s}")
        word = f"{x.op.features[feature]} from {threshold}"
        features.append(identifier(word, taken | set(features), default="x"))
    made = Encoding(
        1,
        "thermometer",
        tuple(encoding.low[feature] for feature, _ in kept),
        tuple(encoding.high[feature] for feature, _ in kept),
        borders=tuple((border,) for border in borders),
        closed=((True,),) * len(kept),
        reads=tuple(feature for feature, _ in kept),
        readings=x.type.elements,
    )
    head = Node(x.name, Input(tuple(features), tuple(titles), made), (), Type((len(kept),), Fixed(1)), x.origin)
    place = {pair: number for number, pair in enumerate(pairs)}
    asked = zip(trees.feature.tolist(), trees.threshold.tolist(), strict=True)
    element = np.array([place[pair] for pair in asked], dtype=np.int64)
    bits = replace(trees, feature=element, threshold=np.ones(len(element), dtype=np.int64))
    return replace(graph, nodes=(head, *(node for node in graph.nodes if node is not x))), bits


def least_reading(encoding: Encoding, feature: int, threshold: int) -> np.float32:
    """Return the least float32 that *encoding* gives a code of at least *threshold* to, for its element *feature*.

    By halving all float32, in whose order codes rise: infinity where no reading reaches it.
    """
    row = np.zeros((1, encoding.width))

    def reaches(number: int) -> bool:
        row[0, feature] = _float_of(number)
        return int(encoding.encode(row)[0][0, feature]) >= threshold

    top = int(np.array(np.finfo(np.float32).max).view(np.uint32))
    low, high = -top, top  # numbers of floats in their order; low is taken not to reach it
    while high - low > 1:
        middle = (low + high) // 2
        if reaches(middle):
            high = middle
        else:
            low = middle
    return _float_of(high) if reaches(high) else np.float32(np.inf)


def _float_of(number: int) -> np.float32:
    """Return the float32 of this *number* in their order; that of −n is −(that of n)."""
    value = np.array(abs(number), dtype=np.uint32).view(np.float32)[()]
    return np.float32(-value if number < 0 else value)
