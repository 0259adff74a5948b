"""The interpreter: the bit-exact meaning of a Graph, in NumPy.

It defines what a Graph computes. Kernels, passes, circuits and netlists are tested equal to it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from approxhw.common.errors import InvalidDataError, Problem
from approxhw.numerics.eight_bit_words import reals_to_codes, words_to_codes
from approxhw.numerics.formats import EightBit, Fixed, Rational
from approxhw.numerics.mac.arithmetic import MaskedPowerOfTwo

from .graph import (
    Affine,
    ArgMax,
    Clip,
    Decode,
    Dense,
    Encode,
    Graph,
    Input,
    Node,
    Relu,
    Requantize,
    Reshape,
    Threshold,
    clip_codes,
    decode_values,
    matches,
    product_ranges,
    ranges,
    requantize_codes,
)

_EXACT_IN_FLOAT = 1 << 53
_EXACT_IN_INT64 = 1 << 62


def run(graph: Graph, rows: np.ndarray) -> np.ndarray:
    """Return the output of *graph* for every row.

    ``rows``: codes (integers) where the Input is ``Fixed``, readings where it is float; rows × the Input's shape, or
    rows × elements. Returns rows × the output's shape: int64 (object beyond 62 bits), float64, or object of fractions.
    Raises :class:`InvalidDataError` for another number of features, for codes that the format lacks, and for NaN.
    """
    return run_all(graph, rows)[graph.output]


def run_all(graph: Graph, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return every value of *graph* but its weights and biases, by name, each rows × the value's shape."""
    values: dict[str, np.ndarray] = {}
    known = ranges(graph)
    wanted = {node.inputs[0] for node in graph.nodes if node.inputs} | {graph.output}
    for node in graph.nodes:
        op = node.op
        if graph.is_constant(node.name):
            if node.name in wanted:  # a whole value that is the same for every row
                values[node.name] = np.broadcast_to(graph.constant(node.name), (len(rows), *node.type.shape))
            continue
        if isinstance(op, Input):
            values[node.name] = _checked(graph, node, np.asarray(rows))
            continue
        x = values[node.inputs[0]]
        if isinstance(op, Encode | Decode):
            values[node.name] = _coded_node(graph, node, x.reshape(len(x), -1)).reshape(len(x), *node.type.shape)
        elif node.is_float:
            source = graph[node.inputs[0]]
            values[node.name] = _float_node(graph, node, _real(source, x, node))
        else:
            values[node.name] = _integer_node(graph, node, x, known)
    return values


def _coded_node(graph: Graph, node: Node, x: np.ndarray) -> np.ndarray:
    """Encode or decode rows × elements, block after block."""
    if isinstance(node.op, Decode):
        return decode_values(graph, node, x)
    source, code = graph[node.inputs[0]].type.format, node.type.format
    assert isinstance(node.op, Encode)
    assert isinstance(code, EightBit)
    if isinstance(source, Fixed):
        return words_to_codes(code, node.op.maxima, source, x)
    return reals_to_codes(code, node.op.maxima, x)


def _checked(graph: Graph, node: Node, rows: np.ndarray) -> np.ndarray:
    """Return *rows* in the shape and dtype of the Input, or say everything that is wrong with them."""
    problems = []
    width = int(np.prod(rows.shape[1:], dtype=np.int64)) if rows.ndim > 1 else -1
    if width != node.type.elements:
        found = f"rows of {width} values" if rows.ndim > 1 else f"an array of shape {rows.shape}"
        problems.append(Problem("rows", f"the model reads {node.type.elements} features, the data has {found}"))
    fmt = node.type.format
    if isinstance(fmt, Fixed):
        if rows.dtype.kind not in "iub":
            problems.append(Problem("rows", f"codes are integers, not {rows.dtype}", "encode the readings first"))
        elif rows.size and (int(rows.min()) < fmt.low or int(rows.max()) > fmt.high):
            problems.append(
                Problem("rows", f"codes of {fmt} lie in {fmt.low}…{fmt.high}, found {rows.min()}…{rows.max()}")
            )
    elif rows.dtype.kind == "f" and not np.isfinite(rows).all():
        problems.append(Problem("rows", "NaN or infinite readings", "drop or fill those rows"))
    if problems:
        raise InvalidDataError(f"rows for {graph.name}", problems)
    rows = rows.reshape(len(rows), *node.type.shape)
    if isinstance(fmt, Fixed):
        return rows.astype(np.int64)
    return rows if isinstance(fmt, Rational) else rows.astype(np.float64)


def _real(source: Node, x: np.ndarray, reader: Node) -> np.ndarray:
    """Return the real values that codes x stand for, in the number type of *reader*."""
    fmt = source.type.format
    if not isinstance(fmt, Fixed):
        return x
    if isinstance(reader.type.format, Rational):
        return (x.astype(object) - fmt.zero) * fmt.scale
    return (x - fmt.zero).astype(np.float64) * float(fmt.scale)


def _float_constant(graph: Graph, name: str, reader: Node) -> np.ndarray:
    return _real(graph[name], graph.constant(name), reader)


def _float_node(graph: Graph, node: Node, x: np.ndarray) -> np.ndarray:
    op = node.op
    if isinstance(op, Dense):
        return x @ _float_constant(graph, node.inputs[1], node).T + _float_constant(graph, node.inputs[2], node)
    if isinstance(op, Affine):
        return _float_constant(graph, node.inputs[1], node) * x + _float_constant(graph, node.inputs[2], node)
    return _shared_node(node, x)


def _integer_node(graph: Graph, node: Node, x: np.ndarray, known: dict[str, Any]) -> np.ndarray:
    """One integer Node. Where the exact range leaves int64, Python integers take over: nothing ever wraps."""
    op = node.op
    if isinstance(op, Dense):
        return _dense(graph, node, x, known)
    if isinstance(op, Requantize):
        reach = max(map(abs, op.multiplier)) * _reach(known[node.inputs[0]]) + max(map(abs, op.offset))
        wide = x if x.dtype == object or max(reach, abs(op.low), abs(op.high)) < _EXACT_IN_INT64 else x.astype(object)
        flat = requantize_codes(op, wide.reshape(len(x), -1))
        return _narrowed(flat.reshape(x.shape), _reach(known[node.name]))
    if isinstance(op, Threshold):
        threshold = op.threshold
        wide = x if abs(threshold) < _EXACT_IN_INT64 else x.astype(object)
        return (wide.reshape(len(x)) > threshold).astype(np.int64)
    if isinstance(op, Clip):
        bounds = [abs(bound) for bound in (op.low, op.high) if bound is not None]
        wide = x if max(bounds, default=0) < _EXACT_IN_INT64 else x.astype(object)
        return _narrowed(clip_codes(wide, op.low, op.high), _reach(known[node.name]))
    return _shared_node(node, x)


def _shared_node(node: Node, x: np.ndarray) -> np.ndarray:
    """Kinds that mean the same on codes and on real values."""
    op = node.op
    if isinstance(op, Relu):
        return np.maximum(x, 0)
    if isinstance(op, Clip):
        return clip_codes(x, op.low, op.high)
    if isinstance(op, ArgMax):
        return np.argmax(x, axis=1).astype(np.int64) if op.width is None else approximate_argmax(op, x)
    if isinstance(op, Threshold):
        return (x.reshape(len(x)) > op.threshold).astype(np.int64)
    if isinstance(op, Reshape):
        return x.reshape(len(x), *node.type.shape)
    raise TypeError(f"{node.name}: the interpreter does not know {node.kind}")


def _dense(graph: Graph, node: Node, x: np.ndarray, known: dict[str, Any]) -> np.ndarray:
    """Integer ``Dense``. Through float64 BLAS where every partial sum is exact there (a stated bound), else in integers."""
    assert isinstance(node.op, Dense)
    weights, bias = graph.constant(node.inputs[1]), graph.constant(node.inputs[2])
    low, high = known[node.inputs[0]]
    if node.op.arithmetic is not None and node.op.arithmetic.operand:
        operand = graph.constant(node.inputs[3])
        least, greatest = product_ranges(graph, node, (low, high))
        reach = int(np.maximum(np.abs(least), np.abs(greatest)).sum(axis=1).max())
        wide = reach + max(map(abs, bias.tolist())) >= _EXACT_IN_INT64 or x.dtype == object
        products = _masked_sums if isinstance(node.op.arithmetic, MaskedPowerOfTwo) else _table_sums
        number = object if wide else np.int64
        sums = products(*(array.astype(number) for array in (x, weights, operand))) + bias
        return _narrowed(sums, _reach(known[node.name]))
    extreme = np.maximum(np.abs(low), np.abs(high))
    reach = max((np.abs(weights.astype(object)) @ extreme + np.abs(bias.astype(object))).tolist())
    if reach < _EXACT_IN_FLOAT and x.dtype != object:
        return (x.astype(np.float64) @ weights.T.astype(np.float64)).astype(np.int64) + bias
    if reach < _EXACT_IN_INT64 and x.dtype != object:
        return x @ weights.T + bias
    return _narrowed(x.astype(object) @ weights.T.astype(object) + bias.astype(object), _reach(known[node.name]))


def _masked_sums(x: np.ndarray, weights: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return Σᵢ w[o,i] · (x[i] & mask[o,i]) for every row: a weight is ±2^k, so that this is ±((x & mask) << k)."""
    return np.stack([(x & mask) @ row for row, mask in zip(weights, masks, strict=True)], axis=1)


def _table_sums(x: np.ndarray, weights: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return Σᵢ T[w[o,i] mod rows, x[i] mod columns] for every row."""
    rows, columns = (weights % table.shape[0]).astype(np.int64), (x % table.shape[1]).astype(np.int64)
    inputs = np.arange(x.shape[1])
    return np.stack([table[row][inputs, columns].sum(axis=1) for row in rows], axis=1)


def approximate_argmax(op: ArgMax, x: np.ndarray) -> np.ndarray:
    """Return the winner (int64) of each row of codes: the tree's comparators look at chosen bits of offset binary codes."""
    width = op.width
    assert width is not None
    codes = x.astype(np.int64 if width < 62 else object) + (1 << (width - 1))  # a `width`-bit code, its sign inverted
    values = [codes[:, i] for i in range(x.shape[1])]
    indices = [np.full(len(x), i, dtype=np.int64) for i in range(x.shape[1])]
    comparators = iter(op.bits)
    for pairs in matches(len(values)):
        odd = len(values) % 2
        winners = []
        for left, right in pairs:
            mask = sum(1 << position for position in next(comparators))
            wins = ((values[right] & mask) > (values[left] & mask)).astype(bool)
            winners.append((np.where(wins, values[right], values[left]), np.where(wins, indices[right], indices[left])))
        last = [(values[-1], indices[-1])] if odd else []
        values, indices = ([entry[part] for entry in winners + last] for part in (0, 1))
    return indices[0]


def _narrowed(x: np.ndarray, reach: int) -> np.ndarray:
    return x.astype(np.int64) if reach < _EXACT_IN_INT64 else x.astype(object)


def _reach(interval: tuple[np.ndarray, np.ndarray]) -> int:
    low, high = interval
    return max(abs(min(low.tolist())), abs(max(high.tolist())))


def as_fractions(x: np.ndarray) -> np.ndarray:
    """Return *x* as exact fractions (object array), for ``rational`` Graphs."""
    return np.vectorize(Fraction, otypes=[object])(x)
