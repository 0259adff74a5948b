"""Activations: Relu and its kin, Clip, Min and Max with constants, and every other function of one value by its formula."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from approxhw.frontends.tensors.values import LEVEL, PLAIN, UNIFORM, Known, Refusal, Row, Value, per_row
from approxhw.ir.graph import Node, Op
from approxhw.ir.kinds import (
    Affine,
    Clip,
    Constant,
    HardSwish,
    LeakyRelu,
    Lookup,
    PRelu,
    Relu,
    ThresholdedRelu,
)
from approxhw.numerics.functions.formulas import (
    IDENTITY,
    MOST_WORDS,
    Formula,
    composed,
)

from .importer import Call, Handler, Importer
from .quantised import narrowed_codes


def relu(work: Importer, call: Call) -> Value:
    """Relu; of codes between both nodes of a QDQ pair, too."""
    if (codes := _codes(call)) is not None:
        return narrowed_codes(work, codes, 0.0, None, call)
    row = call.row()
    return _activated(work, call, row, f"{work.prefix}_relu", Relu())


def leaky_relu(work: Importer, call: Call) -> Value:
    """LeakyRelu: its alpha is taken as the exact fraction that the float32 stands for; 0 is Relu, 1 does nothing."""
    row = call.row()
    alpha = float(call.attributes.get("alpha", np.float32(0.01)))
    if not math.isfinite(alpha):
        raise Refusal(f"its alpha is {alpha:g}", "train the model again", invalid=True)
    return _sloped(work, call, row, (alpha,))


def prelu(work: Importer, call: Call) -> Value:
    """PRelu: slopes as LeakyRelu's alpha, one or one an element."""
    row = call.row()
    array = call.constant(1, "the slope")
    if array is None:
        raise Refusal("its slope is missing", invalid=True)
    slopes = per_row(array, row, "the slope")
    if not np.isfinite(slopes).all():
        raise Refusal("a slope is NaN or infinite", "train the model again", invalid=True)
    same = (slopes == slopes[0]).all()
    return _sloped(work, call, row, tuple(slopes[:1].tolist() if same else slopes.tolist()))


def absolute(work: Importer, call: Call) -> Value:
    """Abs: a slope of −1 below 0."""
    return _sloped(work, call, call.row(), (-1.0,))


def _sloped(work: Importer, call: Call, row: Row, slopes: tuple[float, ...]) -> Row:
    if set(slopes) == {1.0}:
        return row
    op: Op = PRelu(tuple(map(Fraction, slopes)))
    if len(slopes) == 1 and slopes[0] >= 0:
        op = LeakyRelu(Fraction(slopes[0])) if slopes[0] else Relu()
    return _activated(work, call, row, f"{work.prefix}_relu", op)


def thresholded_relu(work: Importer, call: Call) -> Value:
    """ThresholdedRelu: x above alpha, else 0."""
    alpha = float(call.attributes.get("alpha", 1.0))
    if not math.isfinite(alpha):
        raise Refusal(f"its alpha is {alpha:g}", invalid=True)
    return _activated(work, call, call.row(), f"{work.prefix}_relu", ThresholdedRelu(alpha) if alpha else Relu())


def hard_sigmoid(work: Importer, call: Call) -> Value:
    """HardSigmoid: max(0, min(1, alpha · x + beta)), a Clip behind what the layer before it takes in."""
    row = call.row()
    alpha, beta = float(call.attributes.get("alpha", np.float32(0.2))), float(call.attributes.get("beta", 0.5))
    if not (math.isfinite(alpha) and math.isfinite(beta)):
        raise Refusal("its alpha or beta is NaN or infinite", invalid=True)
    scaled = work.scaled(row, np.full(row.elements, alpha), np.full(row.elements, beta), call)
    return _activated(work, call, scaled, f"{work.prefix}_clip", Clip(0.0, 1.0))


def hard_swish(work: Importer, call: Call) -> Value:
    """HardSwish: x · max(0, min(1, x / 6 + 1/2)), as x · clip(x + 3, 0, 6) and a factor for the layer behind it."""
    made = _activated(work, call, call.row(), f"{work.prefix}_hardswish", HardSwish(3.0, 0.0, 6.0))
    sixth = np.full(made.elements, Fraction(1, 6), dtype=object) if call.exact else np.full(made.elements, 1 / 6)
    return work.scaled(made, sixth, np.zeros(made.elements), call)


# Functions by formula --------------------------------------------------------------------------------------------------


def by_formula(*words: str | float, **defaults: float) -> Handler:
    """Return the handler of an operator that is the formula *words*; ``@name`` is the attribute *name*, else its default."""

    def handler(work: Importer, call: Call) -> Value:
        row = call.row()
        formula = []
        for word in words:
            if isinstance(word, str) and word.startswith("@"):
                word = float(call.attributes.get(word[1:], defaults[word[1:]]))
                if not math.isfinite(word):
                    raise Refusal("an attribute is NaN or infinite", invalid=True)
            formula.append(word if isinstance(word, str) else float(word))
        return function_of(work, row, tuple(formula), str(call.proto.name))

    return handler


GELU: Formula = ("x", 0.5, "mul", "x", 2.0, "sqrt", "div", "erf", 1.0, "add", "mul")
GELU_TANH: Formula = (
    *("x", 0.5, "mul", 2.0, math.pi, "div", "sqrt"),
    *("x", 0.044715, "x", 3.0, "pow", "mul", "add", "mul", "tanh", 1.0, "add", "mul"),
)
MISH: Formula = ("x", "x", "softplus", "tanh", "mul")


def gelu(work: Importer, call: Call) -> Value:
    """Gelu, exact or by tanh."""
    by_tanh = str(call.attributes.get("approximate", "none")) == "tanh"
    return function_of(work, call.row(), GELU_TANH if by_tanh else GELU, str(call.proto.name))


def power(work: Importer, call: Call) -> Value:
    """Pow: a computed value to a constant power, or a constant to a computed one."""
    positions = [position for position, value in enumerate(call.values) if not isinstance(value, Known)]
    if len(positions) != 1:
        raise Refusal("raises a computed value to a computed power", "one operand must be a constant number")
    row = call.row(positions[0])
    exponent = _one_number(call, 1 - positions[0], row)
    formula: Formula = ("x", exponent, "pow") if positions[0] == 0 else (exponent, "x", "pow")
    return row if formula == ("x", 1.0, "pow") else function_of(work, row, formula, str(call.proto.name))


def _one_number(call: Call, position: int, row: Row) -> float:
    array = call.constant(position, "the other operand")
    if array is None or array.dtype.kind not in "fiu":
        raise Refusal("its constant operand is no number", invalid=True)
    spread = per_row(array, row)
    if not (spread == spread[0]).all() or not np.isfinite(spread).all():
        raise Refusal("its constant differs from element to element", "use one number for all")
    return float(spread[0])


def function_of(work: Importer, row: Row, formula: Formula, origin: str) -> Row:
    """Return *formula* of *row*; what stands before it, element by element, is not taken in."""
    value = work.emit(
        f"{work.prefix}_{_short(formula)}", Lookup(formula), (work.vector(row, origin),), (row.elements,), origin
    )
    return replace(row, value=value, columns=None, shared=False, stage=PLAIN)


def _short(formula: Formula) -> str:
    names = [word for word in formula if isinstance(word, str) and word != "x"]
    return names[0] if len(names) == 1 else "function"


def step_of(work: Importer, node: Node) -> Formula | None:
    """Return what *node* is of its operand where it is one function for all elements, else None."""
    op = node.op
    if isinstance(op, Affine):
        scale, shift = (uniform(work, name) for name in node.inputs[1:])
        return None if scale is None or shift is None else ("x", scale, "mul", shift, "add")
    if isinstance(op, Clip):
        below: Formula = IDENTITY if op.low is None else ("x", float(op.low), "max")
        return below if op.high is None else (*below, float(op.high), "min")
    if isinstance(op, Relu):
        return ("x", 0.0, "max")
    if isinstance(op, LeakyRelu):
        return ("x", float(op.alpha), "leaky")
    if isinstance(op, PRelu) and len(op.slopes) == 1:
        return ("x", float(op.slopes[0]), "leaky")
    if isinstance(op, ThresholdedRelu):
        return ("x", float(op.threshold), "thresholded")
    if isinstance(op, HardSwish):
        return ("x", float(op.offset), float(op.low), float(op.high), "gate")
    return op.formula if isinstance(op, Lookup) else None


def uniform(work: Importer, name: str) -> float | None:
    """Return the one number that the constant *name* holds everywhere; None where it holds several."""
    op = work.node(name).op
    assert isinstance(op, Constant)
    flat = op.data.reshape(-1)
    return float(flat[0]) if (flat == flat[0]).all() else None


def ways(work: Importer, name: str) -> dict[str, Formula]:
    """Return the values that *name* is a function of, element by element, itself first, and that function."""
    found: dict[str, Formula] = {name: IDENTITY}
    formula, node = IDENTITY, work.node(name)
    while (step := step_of(work, node)) is not None and len(found) < MOST_WORDS:
        formula = composed(formula, step)
        if len(formula) > MOST_WORDS:
            break
        node = work.node(node.inputs[0])
        found[node.name] = formula
    return found


_EXACT = frozenset({"x", "mul", "add", "max", "min", "leaky", "thresholded"})
"""Words of formulas that have Nodes of their own, which are exact on codes."""


def joined_by(work: Importer, call: Call, rows: tuple[Row, Row], word: str, exact: bool = False) -> Row | None:
    """Return two computed values joined by *word* where both are functions of one value, element by element; else None.

    So are SiLU, GELU, Mish and the like, however an exporter writes them. A value times a hard sigmoid of itself stays exact.
    With *exact*, also None where both are made of exact Nodes: their sum is, too.
    """
    if rows[0].full(1) != rows[1].full(1) or rows[0].batch != rows[1].batch:
        return None
    origin = str(call.proto.name)
    first, second = (work.vector(row, origin) for row in rows)
    left, right = ways(work, first), ways(work, second)
    base = next((name for name in left if name in right), None)
    if base is None or len(left[base]) + len(right[base]) >= MOST_WORDS:
        return None
    used = {name for name in (*left[base], *right[base]) if isinstance(name, str)}
    if exact and used <= _EXACT:
        return None
    row = replace(rows[0], value=base, columns=None)
    if word == "mul":
        for value, gate in ((left[base], right[base]), (right[base], left[base])):
            made = _gated(work, call, row, value, gate)
            if made is not None:
                return made
    return function_of(work, row, (*left[base], *right[base], word), origin)


@dataclass(frozen=True)
class _Gate:
    """outer · clip(scale · x + shift, low, high) + added."""

    scale: float = 1.0
    shift: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    outer: float = 1.0
    added: float = 0.0

    @property
    def is_line(self) -> bool:
        return self.low == -math.inf and self.high == math.inf


def _as_gate(formula: Formula) -> _Gate | None:
    """Return *formula* as a line that is clipped once, and scaled and moved; None where it is something else."""
    stack: list[_Gate | float] = []
    for word in formula:
        if word == "x":
            stack.append(_Gate())
        elif isinstance(word, float):
            stack.append(word)
        else:
            if len(stack) < 2 or not isinstance(stack[-2], _Gate) or not isinstance(stack[-1], float):
                return None
            gate, number = stack[-2], stack[-1]
            line, plain = gate.is_line, gate.outer == 1 and gate.added == 0
            if word == "mul" and line:
                gate = replace(gate, scale=gate.scale * number, shift=gate.shift * number)
            elif word == "mul":
                gate = replace(gate, outer=gate.outer * number, added=gate.added * number)
            elif word == "add" and line:
                gate = replace(gate, shift=gate.shift + number)
            elif word == "add":
                gate = replace(gate, added=gate.added + number)
            elif word == "max" and plain and number <= gate.high:
                gate = replace(gate, low=max(gate.low, number))
            elif word == "min" and plain and number >= gate.low:
                gate = replace(gate, high=min(gate.high, number))
            else:
                return None
            stack[-2:] = [gate]
    return stack[0] if len(stack) == 1 and isinstance(stack[0], _Gate) else None


def _gated(work: Importer, call: Call, row: Row, value: Formula, gate: Formula) -> Row | None:
    """Return *value* times *gate* as an exact hard swish of *row*, and a factor; None where it is none."""
    line, found = _as_gate(value), _as_gate(gate)
    if line is None or found is None or not line.is_line or line.shift != 0:
        return None
    if found.scale <= 0 or not math.isfinite(found.low) or not math.isfinite(found.high) or not found.outer:
        return None
    moved = found.added / (found.outer * found.scale)
    ends = [end / found.scale + moved for end in (found.shift, found.low, found.high)]
    made = _activated(work, call, row, f"{work.prefix}_hardswish", HardSwish(*ends))
    factor = line.scale * found.outer * found.scale
    return work.scaled(made, np.full(made.elements, factor), np.zeros(made.elements), call)


def clip(work: Importer, call: Call) -> Value:
    """Clip by attributes (opset 6) or by inputs (opset 11 and newer); an infinite bound is none."""
    codes = _codes(call)
    row = call.row() if codes is None else codes
    if call.opset < 11:
        low, high = call.attributes.get("min"), call.attributes.get("max")
    else:
        low, high = (
            _scalar(call.constant(position, f"the {name} bound")) for position, name in ((1, "lower"), (2, "upper"))
        )
    return _clipped(work, call, row, low, high)


def _codes(call: Call) -> Row | None:
    """Return the one computed input where it holds codes of a QuantizeLinear: QCDQ form."""
    rows = [value for value in call.values if isinstance(value, Row)]
    return rows[0] if len(rows) == 1 and rows[0].codes is not None and rows[0].stage == PLAIN else None


def minimum(work: Importer, call: Call) -> Value:
    """Min with one constant number."""
    if (level := _level(call)) is not None:
        return level
    row, bound = _bounded(call)
    return _clipped(work, call, row, None, bound)


def maximum(work: Importer, call: Call) -> Value:
    """Max with one constant number; Max(x, 0) is Relu."""
    if (level := _level(call)) is not None:
        return level
    row, bound = _bounded(call)
    return _clipped(work, call, row, bound, None)


def _level(call: Call) -> Row | None:
    """Return the one computed input, bounded, where it is one number for all classes: so is what becomes of it."""
    rows = [value for value in call.values if isinstance(value, Row)]
    known = [value.array for value in call.values if isinstance(value, Known)]
    one = len(rows) == len(known) == 1 and rows[0].stage in (LEVEL, UNIFORM) and known[0].size == 1
    return replace(rows[0], stage=LEVEL) if one else None


def _bounded(call: Call) -> tuple[Row, float]:
    rows = [position for position, value in enumerate(call.values) if not isinstance(value, Known)]
    if len(call.values) != 2 or len(rows) != 1:
        raise Refusal("compares computed tensors with one another", "one operand must be a constant number")
    codes = _codes(call)
    row = call.row(rows[0]) if codes is None else codes
    array = call.constant(1 - rows[0], "the bound")
    assert array is not None
    spread = per_row(array, row, "the bound")
    if not (spread == spread[0]).all():
        raise Refusal("its bound differs from element to element", "use one bound for all")
    return row, float(spread[0])


def _scalar(array: np.ndarray | None) -> float | None:
    if array is None:
        return None
    if array.size != 1:
        raise Refusal(f"a bound of shape {array.shape} is no single number", invalid=True)
    return float(array.reshape(-1)[0])


def _clipped(work: Importer, call: Call, row: Row, low: float | None, high: float | None) -> Row:
    bounds = [None if bound is None else float(bound) for bound in (low, high)]
    if any(bound is not None and np.isnan(bound) for bound in bounds):
        raise Refusal("a bound is NaN", invalid=True)
    # exporters write the largest float32 for "no bound"
    low, high = (None if bound is None or abs(bound) > 3.4e38 else bound for bound in bounds)
    if low is not None and high is not None and low > high:
        raise Refusal(f"its lower bound {low:g} is greater than its upper bound {high:g}", "swap or mend the bounds")
    if low is None and high is None:
        return row
    if row.codes is not None:
        return narrowed_codes(work, row, low, high, call)
    if low == 0 and high is None:
        return _activated(work, call, row, f"{work.prefix}_relu", Relu())
    return _activated(work, call, row, f"{work.prefix}_clip", Clip(low, high))


def _activated(work: Importer, call: Call, row: Row, name: str, op: Op) -> Row:
    origin = str(call.proto.name)
    value = work.vector(row, origin)
    return replace(row, value=work.emit(name, op, (value,), (row.elements,), origin), columns=None, shared=False)
