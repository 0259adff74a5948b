"""Input codes that count the thresholds of trees: Forests on readings → Forests on such codes, and the encoding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from approxhw.common.errors import PassError, Problem
from approxhw.ir.graph import Graph, Node, identifier
from approxhw.ir.kinds import Forest, Input, Reshape, Type
from approxhw.ir.kinds.forest import MOST_NODES
from approxhw.ir.pass_manager import PassContext
from approxhw.numerics.formats import Encoding, Fixed

Border = tuple[float, bool]
"""A threshold, and whether a reading that equals it stays below: so they sort, and of equal ones the closed one comes first."""

Test = tuple[int, int, "Place", "Place"]
"""Element, code from which on the test holds, where to go then, and where else."""

Place = int | Test
"""Where a way goes: a node of the old Forest, ~leaf of it, or a test made in its place."""

SUBJECT = "pass quantize-inputs"


def forests_of(graph: Graph) -> list[Node]:
    """Return the Forests that read the Input of *graph*, maybe flat; raise :class:`PassError` where something else reads it."""
    names, found, strangers = {graph.input.name}, [], []
    for node in graph.nodes:
        if names.isdisjoint(node.inputs):
            continue
        if isinstance(node.op, Reshape):
            names.add(node.name)
        elif isinstance(node.op, Forest):
            found.append(node)
        else:
            strangers.append(node)
    problems = [
        Problem(node.name, f"{node.kind} reads the input, and codes of borders are for trees alone", "use code=round")
        for node in strangers
    ]
    problems += [
        Problem(node.name, "a test on two elements has no border in either", "train trees that look at one feature")
        for node in found
        if isinstance(node.op, Forest) and (node.op.other >= 0).any()
    ]
    if not found and not strangers:
        problems.append(Problem(graph.name, "nothing reads the input", "use code=round"))
    if problems:
        raise PassError(SUBJECT, problems)
    return found


def with_borders(graph: Graph, context: PassContext) -> Graph:
    """Return *graph* on codes that count, feature by feature, the thresholds which its Forests ask for: nothing is lost.

    Forests stay real-valued: they read a code as the number that it is.
    """
    node = graph.input
    forests = forests_of(graph)
    asked = [_asked(forest.op) for forest in forests if isinstance(forest.op, Forest)]
    every = [sorted(set[Border]().union(*(part.get(i, set()) for part in asked))) for i in range(node.type.elements)]
    made = {forest.name: _on_counts(forest.op, every) for forest in forests if isinstance(forest.op, Forest)}
    return _encoded(graph, made, every, context)


def counts_thresholds(graph: Graph) -> bool:
    """Whether the Input of *graph* has codes of rule ``round``, and Forests alone compare them, one element at a time."""
    node = graph.input
    assert isinstance(node.op, Input)
    if node.op.encoding is None or node.op.encoding.rule != "round":
        return False
    try:
        return bool(forests_of(graph))
    except PassError:
        return False


def by_thresholds(graph: Graph, context: PassContext) -> Graph:
    """Return *graph*, of which :func:`counts_thresholds` is true, on codes that count the thresholds which its Forests ask for.

    A code is at least c from the reading on that lies half a step below the one that c stands for.
    """
    node = graph.input
    assert isinstance(node.op, Input)
    encoding = node.op.encoding
    assert encoding is not None
    top = (1 << encoding.bits) - 1
    low, high = np.array(encoding.low), np.array(encoding.high)
    made, every = {}, [set[Border]() for _ in low]
    for forest in forests_of(graph):
        assert isinstance(forest.op, Forest)
        # a reading that never changes has code 0; of what no code decides there is no threshold
        op = _undecided(forest.op, np.where(high > low, top, 0).tolist())
        share = (np.asarray(op.threshold, dtype=np.float64) - 0.5) / top
        readings = low[op.feature] + share * (high - low)[op.feature]
        single = readings.astype(np.float32)
        readings = np.where(single < readings, np.nextafter(single, np.float32(np.inf)), single).astype(np.float64)
        made[forest.name] = replace(op, threshold=readings)
        for feature, value in zip(op.feature.tolist(), readings.tolist(), strict=True):
            every[feature].add((value + 0.0, False))
    borders = [sorted(row) for row in every]
    return _encoded(graph, {name: _on_counts(op, borders) for name, op in made.items()}, borders, context)


def _undecided(op: Forest, tops: list[int]) -> Forest:
    """Return *op*, on codes from 0 to *tops*, without the tests that these decide."""
    high, low = op.high.tolist(), op.low.tolist()

    def test_of(place: int) -> Place:
        return int(op.feature[place]), int(op.threshold[place]), high[place], low[place]

    return pruned(op, tops, test_of)


def _asked(op: Forest) -> dict[int, set[Border]]:
    """Return the borders of each feature: x > t where a test is ≤ or >, x ≥ t where it is < or ≥, both for equality."""
    found: dict[int, set[Border]] = {}
    for feature, threshold, mode in zip(op.feature.tolist(), op.threshold.tolist(), op.mode):
        borders = found.setdefault(feature, set())
        value = threshold + 0.0  # −0 is 0
        if mode in ("leq", "gt", "eq", "neq"):
            borders.add((value, True))
        if mode in ("lt", "gte", "eq", "neq"):
            borders.add((value, False))
    return found


def _on_counts(op: Forest, borders: list[list[Border]]) -> Forest:
    """Return *op* as tests of codes: what tests above it decide is left out, equality takes two tests."""
    ranks = [{border: rank + 1 for rank, border in enumerate(row)} for row in borders]
    high, low, threshold = op.high.tolist(), op.low.tolist(), op.threshold.tolist()

    def test_of(place: int) -> Place:
        feature, value, mode = int(op.feature[place]), threshold[place] + 0.0, op.mode[place]
        ways = high[place], low[place]
        if mode in ("leq", "lt", "neq"):
            ways = low[place], high[place]
        if mode in ("leq", "gt", "lt", "gte"):
            return feature, ranks[feature][value, mode in ("leq", "gt")], *ways
        # ways: where it is equal, and where not
        inner: Place = (feature, ranks[feature][value, False], ways[0], ways[1])
        return feature, ranks[feature][value, True], ways[1], inner

    return pruned(op, [len(row) for row in borders], test_of)


def pruned(op: Forest, tops: list[int], test_of: object) -> Forest:
    """Return *op* made of the tests that *test_of* gives for its nodes, on codes from 0 to *tops*; decided ones are left out."""
    assert callable(test_of)
    least, most = [0] * len(tops), list(tops)
    rows: list[tuple[int, int]] = []
    links: list[list[int]] = []
    leaves: list[int] = []
    roots: list[int] = []
    for root in op.roots.tolist():
        # a step: (place, parent, side), or (element, side, bound) to put back, or to narrow to
        steps: list[tuple[str, object, int, int]] = [("visit", root, -1, 0)]
        while steps:
            what, place, first, second = steps.pop()
            if what != "visit":
                assert isinstance(place, int)
                (least, most)[first][place] = second
                continue
            while True:
                if isinstance(place, int) and place >= 0:
                    place = test_of(place)
                if isinstance(place, int):
                    break
                assert isinstance(place, tuple)
                if least[place[0]] >= place[1]:
                    place = place[2]
                elif most[place[0]] < place[1]:
                    place = place[3]
                else:
                    break
            if isinstance(place, int):
                made = ~len(leaves)
                leaves.append(~place)
            else:
                element, code, above, below = place
                made = len(rows)
                if made >= MOST_NODES:
                    why = f"its tests of equality become more than {MOST_NODES} tests of codes"
                    raise PassError(SUBJECT, [Problem("Forest", why, "train trees that compare by ≤")])
                rows.append((element, code))
                links.append([0, 0])
                steps += [
                    ("put back", element, 1, most[element]),
                    ("visit", below, made, 1),
                    ("narrow", element, 1, code - 1),
                    ("put back", element, 0, least[element]),
                    ("visit", above, made, 0),
                ]
                least[element] = code
            if first < 0:
                roots.append(made)
            else:
                links[first][second] = made
    feature, threshold = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    ways = np.array(links, dtype=np.int64).reshape(-1, 2).T
    kind = np.float64 if op.leaves.dtype.kind == "f" else np.int64
    return Forest(
        np.array(roots, dtype=np.int64), feature, threshold.astype(kind), ways[0], ways[1], op.leaves[leaves], op.base
    )


def _recoded(graph: Graph, encoding: Encoding, changed: Mapping[str, Forest]) -> Graph:
    """Return *graph* whose Input makes codes of *encoding*, with the Forests *changed* to read them."""
    node, fmt = graph.input, Fixed(encoding.bits)
    assert isinstance(node.op, Input)
    nodes = []
    for other in graph.nodes:
        if other is node:
            other = replace(node, op=replace(node.op, encoding=encoding), type=Type(node.type.shape, fmt))
        elif other.name in changed:
            other = replace(other, op=changed[other.name])
        elif isinstance(other.op, Reshape) and other.type.format == node.type.format and node.name in other.inputs:
            other = replace(other, type=Type(other.type.shape, fmt))
        nodes.append(other)
    return replace(graph, nodes=tuple(nodes))


def _encoded(graph: Graph, made: Mapping[str, Forest], borders: list[list[Border]], context: PassContext) -> Graph:
    """Return *graph* with the Forests that were *made*, and an Input of codes that count those *borders* which they use."""
    node = graph.input
    assert isinstance(node.op, Input)
    changed, borders = only_used(made, borders)
    low, high = _training_ends(borders, context)
    encoding = border_encoding(borders, low, high)
    context.note(f"{sum(map(len, borders))} borders of {sum(map(bool, borders))} features, {encoding.bits} bits a code")
    return _recoded(graph, encoding, changed)


def only_used(
    forests: Mapping[str, Forest], borders: list[list[Border]]
) -> tuple[dict[str, Forest], list[list[Border]]]:
    """Return Forests and borders without the borders that no test asks for: codes are counted anew."""
    used: list[set[int]] = [set() for _ in borders]
    for op in forests.values():
        for element, code in zip(op.feature.tolist(), op.threshold.tolist()):
            used[element].add(int(code))
    ranks = [{code: rank + 1 for rank, code in enumerate(sorted(row))} for row in used]
    changed = {}
    for name, op in forests.items():
        codes = [ranks[element][int(code)] for element, code in zip(op.feature.tolist(), op.threshold.tolist())]
        changed[name] = replace(op, threshold=np.array(codes, dtype=op.threshold.dtype))
    return changed, [[row[code - 1] for code in sorted(codes)] for row, codes in zip(borders, used, strict=True)]


def _training_ends(borders: list[list[Border]], context: PassContext) -> tuple[list[float], list[float]]:
    """Return least and greatest training reading of each feature; without rows its least and greatest border."""
    rows = context.data.X_train if context.data is not None else np.empty((0, 0))
    if len(rows):
        if rows.shape[1] != len(borders):
            why = f"the model reads {len(borders)} features, the data has {rows.shape[1]}"
            raise PassError(SUBJECT, [Problem("data", why)])
        low, high = (end.astype(np.float64).tolist() for end in (rows.min(axis=0), rows.max(axis=0)))
        return low, high
    return [row[0][0] if row else 0.0 for row in borders], [row[-1][0] if row else 0.0 for row in borders]


def border_encoding(borders: list[list[Border]], low: list[float], high: list[float]) -> Encoding:
    """Return the encoding that counts *borders*; the feature with the most of them says the bits."""
    bits = max(1, max((len(row).bit_length() for row in borders), default=1))
    values = tuple(tuple(value for value, _ in row) for row in borders)
    closed = tuple(tuple(not above for _, above in row) for row in borders)
    return Encoding(bits, "borders", tuple(low), tuple(high), borders=values, closed=closed)


def borders_of(encoding: Encoding) -> list[list[Border]]:
    """Return the borders of each element of *encoding*."""
    pairs = zip(encoding.borders, encoding.closed, strict=True)
    return [[(value, not shut) for value, shut in zip(values, closed, strict=True)] for values, closed in pairs]


def without_unused(graph: Graph) -> Graph:
    """Return *graph*, whose Input counts borders that Forests alone read, without those that no test asks for."""
    node = graph.input
    assert isinstance(node.op, Input)
    encoding = node.op.encoding
    if encoding is not None and encoding.rule == "thermometer":
        return _fewer_elements(graph, node, encoding)
    if encoding is None or encoding.rule != "borders":
        return graph
    made = {forest.name: forest.op for forest in forests_of(graph) if isinstance(forest.op, Forest)}
    changed, borders = only_used(made, borders_of(encoding))
    fewer = border_encoding(borders, list(encoding.low), list(encoding.high))
    if fewer == encoding:
        return graph
    return _recoded(graph, fewer, changed)


def _fewer_elements(graph: Graph, node: Node, encoding: Encoding) -> Graph:
    """Return *graph* without the elements of a thermometer that no test asks for; one is left."""
    forests = [other for other in forests_of(graph) if isinstance(other.op, Forest)]
    used = sorted({element for other in forests for element in other.op.feature.tolist()}) or [0]  # type: ignore[union-attr]
    if len(used) == node.type.elements:
        return graph
    assert isinstance(node.op, Input)
    fewer = replace(
        encoding,
        low=tuple(encoding.low[i] for i in used),
        high=tuple(encoding.high[i] for i in used),
        borders=tuple(encoding.borders[i] for i in used),
        closed=tuple(encoding.closed[i] for i in used),
        reads=tuple(encoding.reads[i] for i in used),
    )
    features, titles = (tuple(words[i] for i in used) for words in (node.op.features, node.op.titles))
    head = replace(node, op=Input(features, titles, fewer), type=Type((len(used),), node.type.format))
    place = {element: number for number, element in enumerate(used)}
    nodes = []
    for other in graph.nodes:
        if isinstance(other.op, Forest) and node.name in other.inputs:
            feature = np.array([place[element] for element in other.op.feature.tolist()], dtype=np.int64)
            other = replace(other, op=replace(other.op, feature=feature))
        nodes.append(head if other is node else other)
    return replace(graph, nodes=tuple(nodes))


def as_thermometer(graph: Graph) -> Graph:
    """Return *graph*, whose Input counts borders, with an element of one bit for every border instead."""
    node = graph.input
    assert isinstance(node.op, Input)
    encoding = node.op.encoding
    assert encoding is not None
    taken = set(graph.by_name)
    titles, features, reads = list[str](), list[str](), list[int]()
    place: dict[tuple[int, int], int] = {}
    for element, values in enumerate(encoding.borders):
        for rank, told in enumerate(encoding.spelled_borders(element)):
            place[element, rank + 1] = len(titles)
            titles.append(f"{node.op.titles[element]} {told.removeprefix('x ')}")
            word = told.removeprefix("x ").replace(">=", "from").replace(">", "above").replace("-", "minus ")
            features.append(identifier(f"{node.op.features[element]} {word}", taken | set(features), default="x"))
            reads.append(element)
        assert len(values) == len(encoding.closed[element])
    if not titles:
        return graph
    pairs = [(value, shut) for row in zip(encoding.borders, encoding.closed) for value, shut in zip(*row)]
    made = Encoding(
        1,
        "thermometer",
        tuple(encoding.low[read] for read in reads),
        tuple(encoding.high[read] for read in reads),
        borders=tuple((value,) for value, _ in pairs),
        closed=tuple((shut,) for _, shut in pairs),
        reads=tuple(reads),
        readings=node.type.elements,
    )
    kind = Type((len(titles),), Fixed(1))
    head = Node(node.name, Input(tuple(features), tuple(titles), made), (), kind, node.origin)
    nodes = [head]
    flat = {node.name}
    for other in graph.nodes:
        if other is node:
            continue
        if isinstance(other.op, Reshape) and not flat.isdisjoint(other.inputs):
            flat.add(other.name)
            continue
        if isinstance(other.op, Forest) and not flat.isdisjoint(other.inputs):
            keys = zip(other.op.feature.tolist(), other.op.threshold.tolist())
            feature = np.array([place[element, int(code)] for element, code in keys], dtype=np.int64)
            op = replace(other.op, feature=feature, threshold=np.ones_like(other.op.threshold))
            other = replace(other, op=op, inputs=(head.name,))
        nodes.append(other)
    return replace(graph, nodes=tuple(nodes))
