"""Make the table of a function of one value: which codes it is looked up by, and which it gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from approxhw.common.errors import PassError, Problem
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph, Node, ranges
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import Lookup, Requantize, Type
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import fresh_name
from approxhw.numerics.formats import Fixed, fixed_for
from approxhw.numerics.functions.formulas import Formula, formula_text, formula_values

_SAMPLES = 4097
"""Points at which a function is looked at to find where it does not change any more."""

_MOST_ROWS = 4096


def tabulated(
    graph: Graph, node: Node, above: Sequence[Node], read: Node, bits: int, context: PassContext
) -> list[Node]:
    """Return the Nodes that stand for the real-valued ``Lookup`` *node*: a ``Requantize`` where one is needed, and the table.

    *graph*: the float Graph; *above*, *read*: integer Nodes made so far, and the one that stands for the operand. Codes on both
    sides have at most *bits* bits. The table covers what training rows reach (without rows: the exact range), less the ends
    where the function gives one code; codes are cut off to the next lower step, and an entry is the value in its middle.
    Raises :class:`PassError` where the function is not defined anywhere there.
    """
    op = node.op
    assert isinstance(op, Lookup)
    fmt = read.type.format
    assert isinstance(fmt, Fixed)
    low, high = _exact_range(graph, above, read)
    values = _values(graph, node, context)
    least, most = _reached(values, fmt, low, high)
    target = _target(op.formula, fmt, least, most, values, bits)
    if target is None:
        why = f"{formula_text(op.formula)} is not defined where its values lie"
        raise PassError("pass quantize-weights", [Problem(node.name, why, "scale its input, or use another function")])
    least, most = _trimmed(op.formula, fmt, least, most, target)
    shift = 0
    while fixed_for(least >> shift, most >> shift).bits > bits:
        shift += 1
    least, most = least >> shift, most >> shift
    code = fixed_for(least, most, fmt.scale * (1 << shift), 0)
    made: list[Node] = []
    name = read.name
    if shift or low < code.low or high > code.high:
        name = fresh_name(graph, f"{node.name}_read", {other.name for other in above})
        cut = Requantize((1,), shift, (0,), least, most)
        made.append(Node(name, cut, (read.name,), Type(read.type.shape, code), node.origin))
    else:
        code = fixed_for(low, high, fmt.scale, 0)
    table = _table(op.formula, fmt, code, shift, target)
    context.note(f"{node.name}: {formula_text(op.formula)} by a table of {len(table)} codes of {target.bits} bits")
    made.append(replace(node, op=Lookup(op.formula, table), inputs=(name,), type=Type(node.type.shape, target)))
    return made


def _exact_range(graph: Graph, above: Sequence[Node], read: Node) -> tuple[int, int]:
    found = ranges(replace(graph, nodes=tuple(above), output=read.name))[read.name]
    return int(min(found[0].tolist())), int(max(found[1].tolist()))


def _values(graph: Graph, node: Node, context: PassContext) -> np.ndarray:
    """Return what *node* reads on training rows, flat (float64); nothing without rows."""
    rows = context.data.X_train[:_MOST_ROWS] if context.data is not None else np.empty((0, 1))
    if not len(rows):
        return np.empty(0)
    return run(replace(graph, output=node.inputs[0]), codes_of(graph, rows)).astype(np.float64).reshape(-1)


def _reached(values: np.ndarray, fmt: Fixed, low: int, high: int) -> tuple[int, int]:
    """Return the lowest and highest code that *values* reach, of the exact range *low* … *high*; all of it without values."""
    if not len(values):
        return low, high
    step = float(fmt.scale)
    ends = (math.floor(values.min() / step) + fmt.zero, math.ceil(values.max() / step) + fmt.zero)
    least, most = (min(max(end, low), high) for end in ends)
    return least, most


def _real(fmt: Fixed, codes: np.ndarray, shift: int = 0) -> np.ndarray:
    """Return what *codes* stand for that were shifted down: the middle of their step."""
    middle = codes.astype(np.float64) * 2.0**shift + ((1 << shift) - 1) / 2
    return (middle - fmt.zero) * float(fmt.scale)


def _target(formula: Formula, fmt: Fixed, least: int, most: int, seen: np.ndarray, bits: int) -> Fixed | None:
    """Return the format of at most *bits* bits for the values between two codes; None where there is none.

    The finest one that holds all of them, or up to four steps finer, with saturation, where that gives a smaller mean squared
    error over what training rows have *seen*.
    """
    values = formula_values(formula, _real(fmt, np.linspace(least, most, _SAMPLES)))
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    signed = bool(values.min() < 0)
    reach = float(np.abs(values).max())
    if not reach:
        return Fixed(1)
    fraction = bits - signed - math.floor(math.log2(reach))
    while True:
        target = Fixed(bits, signed, Fraction(2) ** -fraction)
        codes = np.floor(np.array([values.min(), values.max()]) * 2.0**fraction + 0.5)
        if target.low <= codes[0] and codes[1] <= target.high:
            break
        fraction -= 1
    wanted = formula_values(formula, seen)
    wanted = wanted[np.isfinite(wanted)]
    if not len(wanted):
        return target
    finer = [replace(target, scale=target.scale / (1 << step)) for step in range(5)]
    errors = []
    for other in finer:
        step = float(other.scale)
        errors.append(
            float(((np.clip(np.floor(wanted / step + 0.5), other.low, other.high) * step - wanted) ** 2).mean())
        )
    return finer[int(np.argmin(errors))]


def _codes_of(formula: Formula, target: Fixed, x: np.ndarray) -> np.ndarray:
    """Return the codes (float64) of the values at *x*, to the nearest, halves up, saturated; NaN where there are none."""
    codes = np.floor(formula_values(formula, x) * float(1 / target.scale) + 0.5)
    return np.clip(codes, target.low, target.high)


def _trimmed(formula: Formula, fmt: Fixed, least: int, most: int, target: Fixed) -> tuple[int, int]:
    """Return *least* and *most* moved inwards over codes that all give the code of the end."""
    points = np.unique(np.rint(np.linspace(least, most, _SAMPLES))).astype(np.int64) if most - least < 1 << 60 else None
    if points is None:
        return least, most
    codes = _codes_of(formula, target, _real(fmt, points))
    differ = np.flatnonzero(codes != codes[0])
    start = int(points[max(0, differ[0] - 1)]) if len(differ) else least
    differ = np.flatnonzero(codes != codes[-1])
    end = int(points[min(len(points) - 1, differ[-1] + 1)]) if len(differ) else least
    return start, max(start, end)


def _table(formula: Formula, fmt: Fixed, code: Fixed, shift: int, target: Fixed) -> tuple[int, ...]:
    """Return the code for each pattern of *code*; where the function is not defined, that of the nearest code where it is."""
    patterns = np.arange(1 << code.bits)
    codes = np.where(patterns > code.high, patterns - (1 << code.bits), patterns) if code.signed else patterns
    found = _codes_of(formula, target, _real(fmt, codes, shift))
    order = np.argsort(codes, kind="stable")
    sound = order[np.isfinite(found[order])]
    if not len(sound):
        return (0,) * len(codes)  # it is defined between codes only
    for place in np.flatnonzero(~np.isfinite(found)).tolist():
        found[place] = found[sound[np.argmin(np.abs(codes[sound] - codes[place]))]]
    return tuple(int(value) for value in found)
