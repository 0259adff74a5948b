"""ONNX and QONNX nodes of small quantised networks, evaluated in fractions: slow, and obviously what the operators say."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from onnx import helper, numpy_helper


def fractions(array):
    """*array* as an object array of the fractions that its numbers are."""
    array = np.asarray(array)
    found = np.empty(array.shape, dtype=object)
    found.reshape(-1)[:] = [Fraction(v) for v in array.reshape(-1).tolist()]
    return found


def half_even(x):
    return round(x)


def away(x, whole):
    """*whole* of the magnitude of x, with its sign."""
    return whole(abs(x)) * (1 if x > 0 else -1)


ROUNDINGS = {
    "ROUND": half_even,
    "HALF_EVEN": half_even,
    "FLOOR": math.floor,
    "CEIL": math.ceil,
    "UP": lambda x: away(x, math.ceil),
    "DOWN": lambda x: away(x, math.floor),
    "HALF_UP": lambda x: away(x, lambda m: math.floor(m + Fraction(1, 2))),
    "HALF_DOWN": lambda x: away(x, lambda m: math.ceil(m - Fraction(1, 2))),
}


def each(function, *arrays):
    """The function of every element of arrays that broadcast."""
    arrays = np.broadcast_arrays(*arrays)
    found = np.empty(arrays[0].shape, dtype=object)
    found.reshape(-1)[:] = [function(*entry) for entry in zip(*(a.reshape(-1).tolist() for a in arrays), strict=True)]
    return found


def clip(x, low, high):
    return min(max(x, low), high)


def evaluate(model, rows, output):
    """The tensor *output* of *model* for *rows* (fractions, rows × features)."""
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    kinds = {name: array.dtype for name, array in values.items()}
    values = {name: fractions(array) for name, array in values.items()}
    values[model.graph.input[0].name] = rows
    for node in model.graph.node:
        a = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        x = [values[name] if name else None for name in node.input]
        values[node.output[0]] = _node(node, a, x, kinds)
        if node.op_type == "QuantizeLinear":
            kinds[node.output[0]] = kinds[node.input[2]]
    return values[output]


def _node(node, a, x, kinds):
    op = node.op_type
    if op == "QuantizeLinear":
        ends = np.iinfo(kinds[node.input[2]])
        return each(lambda v, s, z: clip(round(v / s) + z, int(ends.min), int(ends.max)), x[0], x[1], x[2])
    if op == "DequantizeLinear":
        scale, zero = x[1], x[2] if len(x) > 2 else fractions(0)
        if scale.ndim and x[0].ndim == 2:
            shape = [-1 if axis == a.get("axis", 1) else 1 for axis in range(2)]
            scale, zero = scale.reshape(shape), zero.reshape(shape) if zero.ndim else zero
        return (x[0] - zero) * scale
    if op in ("Quant", "IntQuant"):
        bits, signed, narrow = int(x[3]), a["signed"], a["narrow"]
        low, high = (-(1 << bits) // 2 + narrow, (1 << bits) // 2 - 1) if signed else (0, (1 << bits) - 1 - narrow)
        if signed and bits == 1:
            return each(lambda v, s: s if v >= 0 else -s, x[0], x[1])
        rounding = ROUNDINGS[a["rounding_mode"].decode()]
        return each(lambda v, s, z: (rounding(clip(v / s + z, low, high)) - z) * s, x[0], x[1], x[2])
    if op == "BipolarQuant":
        return each(lambda v, s: s if v >= 0 else -s, x[0], x[1])
    if op == "Trunc":
        dropped = int(x[3]) - int(x[4])
        rounding = ROUNDINGS[a["rounding_mode"].decode()]
        return each(lambda v, s, z: (rounding(round(v / s + z) / Fraction(1 << dropped)) - z) * s, x[0], x[1], x[2])
    if op == "Gemm":
        y = x[0] @ (x[1].T if a.get("transB") else x[1]) * Fraction(a.get("alpha", 1.0))
        return y + x[2] * Fraction(a.get("beta", 1.0)) if len(x) > 2 else y
    if op == "BatchNormalization":
        root = each(lambda v: _root(v + Fraction(a["epsilon"])), x[4])
        return (x[0] - x[3]) / root * x[1] + x[2]
    if op == "LeakyRelu":
        return each(lambda v: v if v >= 0 else v * Fraction(a["alpha"]), x[0])
    if op == "ThresholdedRelu":
        return each(lambda v: v if v > Fraction(a["alpha"]) else Fraction(0), x[0])
    if op == "HardSigmoid":
        return each(lambda v: clip(v * Fraction(a["alpha"]) + Fraction(a["beta"]), 0, 1), x[0])
    if op == "Concat":
        return np.concatenate(x, axis=a["axis"])
    if op == "ArgMax":
        return np.array([max(range(len(row)), key=lambda i: (row[i], -i)) for row in x[0]])
    simple = {
        "MatMul": lambda p, q: p @ q,
        "Add": lambda p, q: p + q,
        "Sub": lambda p, q: p - q,
        "Mul": lambda p, q: p * q,
        "Div": lambda p, q: p / q,
        "Neg": lambda p: -p,
        "PRelu": lambda p, q: each(lambda v, w: v if v >= 0 else v * w, p, q),
        "HardSwish": lambda p: each(lambda v: v * clip(v / 6 + Fraction(1, 2), 0, 1), p),
        "Relu": lambda p: each(lambda v: max(v, 0), p),
        "Clip": lambda p, q, r: each(clip, p, fractions(-(10**9)) if q is None else q, r),
        "Min": lambda p, q: each(min, p, q),
        "Max": lambda p, q: each(max, p, q),
        "Identity": lambda p: p,
        "Greater": lambda p, q: each(lambda v, w: int(v > w), p, q),
        "GreaterOrEqual": lambda p, q: each(lambda v, w: int(v >= w), p, q),
        "Less": lambda p, q: each(lambda v, w: int(v < w), p, q),
        "LessOrEqual": lambda p, q: each(lambda v, w: int(v <= w), p, q),
    }
    return simple[op](*x)


def _root(value):
    root = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
    assert root * root == value, "the oracle needs squares"
    return root
