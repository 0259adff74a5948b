"""The interpreter: the bit-exact meaning of a Graph, in NumPy.

It defines what a Graph computes. Kernels, passes, circuits and netlists are tested equal to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from approxhw.common.errors import InvalidDataError, Problem
from approxhw.numerics.formats import Fixed, Rational

from .graph import Graph, Node, kind_of, ranges
from .kinds import Input, Range, Type


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
    wanted = {name for node in graph.nodes for name in node.inputs[: kind_of(node.op).rows]} | {graph.output}
    for node in graph.nodes:
        if graph.is_constant(node.name):
            if node.name in wanted:  # a whole value that is the same for every row
                values[node.name] = np.broadcast_to(graph.constant(node.name), (len(rows), *node.type.shape))
        elif isinstance(node.op, Input):
            values[node.name] = _checked(graph, node, np.asarray(rows))
        else:
            values[node.name] = _value(graph, node, values, known)
    return values


def _value(graph: Graph, node: Node, values: dict[str, np.ndarray], known: Mapping[str, Range]) -> np.ndarray:
    """Return rows × shape of one Node, from the values above it and from the *known* ranges of codes."""
    kind = kind_of(node.op)
    operands = tuple(graph.operand(name, known) for name in node.inputs)
    read = tuple(values[name] for name in node.inputs[: kind.rows])
    own = graph.operand(node.name, known)
    if not node.is_float:
        return kind.on_codes(node.op, read, operands, own)
    constants = operands[kind.rows :]
    held = tuple(operand._replace(constant=_real(operand.type, operand.data, node.type)) for operand in constants)
    read = tuple(_real(operand.type, x, node.type) for operand, x in zip(operands, read))
    return kind.on_reals(node.op, read, operands[: kind.rows] + held, own)


def activated(op: object, codes: np.ndarray) -> np.ndarray:
    """Return what an activation makes of *codes* (… × elements): int64, object, or whole numbers below 2^52 as float64."""
    elements = kind_of(op).elements
    if elements is None:
        raise TypeError(f"{type(op).__name__} is no activation")
    return elements(op, codes)


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


def _real(source: Type, x: np.ndarray, reader: Type) -> np.ndarray:
    """Return the real values that codes x stand for, in the number type of *reader*."""
    fmt = source.format
    if not isinstance(fmt, Fixed):
        return x
    if isinstance(reader.format, Rational):
        return (x.astype(object) - fmt.zero) * fmt.scale
    return (x - fmt.zero).astype(np.float64) * float(fmt.scale)


def as_fractions(x: np.ndarray) -> np.ndarray:
    """Return *x* as exact fractions (object array), for ``rational`` Graphs."""
    return np.vectorize(Fraction, otypes=[object])(x)
