"""The pass that turns real weights and biases into fixed-point codes: a float Graph becomes an integer Graph."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem
from approxhw.ir.graph import Graph, Node, kind_of, renamed_inputs
from approxhw.ir.kinds import MOST_LOOKUP_BITS, Add, Concat, Constant, Dense, Input, Lookup, Type
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import code_constant, finer_codes, fit_formats
from approxhw.numerics.formats import Fixed
from approxhw.numerics.mac.arithmetic import Exact

from ._tables import tabulated

_WIDE = 4000
"""Width of a result before ``fit_formats`` finds the narrowest."""


@dataclass(frozen=True)
class QuantizeWeights:
    """Turn real weights into fixed-point codes and biases into codes of the product's scale: floats become integers.

    A layer's weights share one scale 2^-f: the finest where all of them fit, or a finer one with saturation where that
    gives a smaller mean squared error; where all are 0, one that tells its biases apart. Biases and bounds of ``Clip``
    are rounded to the nearest code, halves up; slopes of a leaky ReLU or PReLU to fractions that a weight code holds. x >
    threshold becomes code > floor(threshold / scale), which is the same. A function that has no exact form on codes
    becomes a table of codes of
    *lookup-bits* bits; where branches meet, codes are brought to one scale, exactly. Integer Nodes are left alone.
    """

    kind: ClassVar[str] = "approximating"

    bits: int = field(default=8, metadata={"help": "width of a weight code, two's complement, 2 to 16"})
    lookup_bits: int = field(
        default=8, metadata={"help": "width of codes on both sides of a tabulated function, 2 to 10"}
    )

    def __post_init__(self) -> None:
        """Refuse widths out of reach."""
        found = []
        if not 2 <= self.bits <= 16:
            found.append(Problem("quantize-weights.bits", f"{self.bits} is not in 2…16"))
        if not 2 <= self.lookup_bits <= MOST_LOOKUP_BITS:
            why = f"{self.lookup_bits} is not in 2…{MOST_LOOKUP_BITS}"
            found.append(Problem("quantize-weights.lookup_bits", why))
        if found:
            raise OptionError("quantize-weights", found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return an integer Graph."""
        if graph.is_integer:
            context.note("the model is quantised already: its integers stay")
            return graph
        _refuse_what_cannot_be(graph)
        made: dict[str, Node] = {}
        nodes: list[Node] = []
        for node in graph.nodes:
            if isinstance(node.op, Lookup) and node.is_float:
                read = made[node.inputs[0]]
                fresh = tabulated(graph, node, nodes, read, self.lookup_bits, context)
            elif isinstance(node.op, Add | Concat) and node.is_float:
                fresh = _aligned(node, nodes, made, set(graph.by_name))
            else:
                fresh = self._changed(graph, node, made, context)
            nodes += fresh
            made.update({new.name: new for new in fresh})
        used = {name for node in nodes for name in node.inputs} | {graph.output}
        kept = tuple(node for node in nodes if node.name in used or isinstance(node.op, Input))
        return fit_formats(replace(graph, nodes=kept))

    def _changed(self, graph: Graph, node: Node, made: dict[str, Node], context: PassContext) -> list[Node]:
        """Return what stands for *node* in the integer Graph; *made*: what stands for those above it."""
        op = node.op
        if isinstance(op, Constant) or not node.inputs:
            return [] if node.is_float else [node]
        fmt = made[node.inputs[0]].type.format
        assert isinstance(fmt, Fixed)
        if isinstance(op, Dense) and node.is_float:
            return self._dense(graph, node, fmt, context)
        reads_codes = isinstance(graph[node.inputs[0]].type.format, Fixed)
        kind = kind_of(op)
        if not node.is_float and (reads_codes or kind.in_codes is None):
            return [node]
        on_codes = kind.in_codes(op, fmt, self.bits) if kind.in_codes is not None else None
        if on_codes is None:
            why = f"{node.kind} of codes whose zero point is {fmt.zero} has no codes"
            raise PassError("pass quantize-weights", [Problem(node.name, why, "put a layer before it")])
        scale = kind.result_scale(on_codes, fmt)
        wide = Type(node.type.shape, replace(fmt, bits=_WIDE, signed=True, scale=scale))
        return [replace(node, op=on_codes, type=node.type if kind.says_format else wide)]

    def _dense(self, graph: Graph, node: Node, fmt: Fixed, context: PassContext) -> list[Node]:
        w, b = node.inputs[1:]
        real = graph.constant(w)
        codes, fraction = quantized(real, self.bits)
        if not codes.any():  # nothing but biases is left: their scale says all, and costs nothing
            fraction = _finest(graph.constant(b).tolist(), fmt.scale)
        saturated = int((codes != _codes(real, fraction)).sum())
        scale = Fraction(2) ** -fraction
        bias = [
            math.floor(Fraction(value) / (scale * fmt.scale) + Fraction(1, 2)) - fmt.zero * int(row.sum())
            for value, row in zip(graph.constant(b).tolist(), codes)
        ]
        context.note(f"{node.name}: weights in units of 2^{-fraction}, {saturated} of {codes.size} saturate")
        result = Type(node.type.shape, Fixed(_WIDE, True, scale * fmt.scale))
        return [
            # the format says the width that was asked for; the circuit only pays for the codes that are there
            Node(f"{w}", Constant(codes), (), Type(codes.shape, Fixed(self.bits, True, scale)), graph[w].origin),
            code_constant(b, bias, scale * fmt.scale, origin=graph[b].origin),
            replace(node, op=Dense(Exact(self.bits)), type=result),
        ]


def _finest(biases: list[float | Fraction], scale: Fraction) -> int:
    """Return the f for which the greatest of *biases*, in units of 2^-f · *scale*, has 32 bits; less where all stay whole."""
    units = [Fraction(bias) / scale for bias in biases]
    largest = max(map(abs, units))
    if not largest:
        return 0
    fraction = 32 - (largest.numerator.bit_length() - largest.denominator.bit_length())
    codes = [unit * Fraction(2) ** fraction for unit in units]
    if all(code.denominator == 1 for code in codes):
        fraction -= min(code.numerator & -code.numerator for code in codes if code).bit_length() - 1
    return fraction


def _aligned(node: Node, above: list[Node], made: dict[str, Node], taken: set[str]) -> list[Node]:
    """Return *node*, where branches meet, on codes of one scale: that of which all scales are whole multiples."""
    operands = [made[name] for name in node.inputs]
    formats = [operand.type.format for operand in operands]
    scales = [fmt.scale for fmt in formats if isinstance(fmt, Fixed)]
    top, bottom = scales[0].numerator, scales[0].denominator
    for scale in scales[1:]:
        top, bottom = math.gcd(top * scale.denominator, scale.numerator * bottom), bottom * scale.denominator
    common = Fraction(top, bottom)
    nodes: list[Node] = []
    names: dict[str, str] = {}
    for operand, fmt in zip(operands, formats):
        assert isinstance(fmt, Fixed)
        if operand.name not in names and (fmt.scale != common or fmt.zero):
            nodes.append(finer_codes([*above, *nodes], operand, int(fmt.scale / common), taken))
            names[operand.name] = nodes[-1].name
    return [*nodes, replace(renamed_inputs(node, names), type=Type(node.type.shape, Fixed(_WIDE, True, common)))]


def quantized(weights: np.ndarray, bits: int) -> tuple[np.ndarray, int]:
    """Return codes of *weights* (int64, *bits*-bit two's complement) and f: a code stands for code · 2^-f.

    Of the finest f where every weight fits and up to three finer ones, the one with the least mean squared error.
    """
    largest = Fraction(abs(weights).max())
    if largest == 0:
        return np.zeros(weights.shape, dtype=np.int64), 0
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    fraction = bits + 1 - (math.floor(largest).bit_length() or 1 - math.ceil(1 / largest).bit_length())
    while not _fits(_codes(weights, fraction), low, high):
        fraction -= 1
    best: tuple[float | Fraction, np.ndarray, int] | None = None
    for candidate in range(fraction, fraction + 4):
        codes = np.clip(_codes(weights, candidate), low, high)
        error = _squared_error(codes, weights, candidate, fraction)
        if best is None or error < best[0]:
            best = (error, codes, candidate)
    assert best is not None
    return best[1].astype(np.int64), best[2]


def _codes(weights: np.ndarray, fraction: int) -> np.ndarray:
    """Return weights · 2^fraction rounded to the nearest integer, halves up, without any other rounding."""
    if weights.dtype != object:
        scaled = np.ldexp(weights, fraction)
        floor = np.floor(scaled)
        return floor + (scaled - floor >= 0.5)  # not floor(scaled + 0.5): that sum is rounded
    scale = Fraction(2) ** fraction
    codes = np.empty(weights.size, dtype=object)
    codes[:] = [math.floor(Fraction(value) * scale + Fraction(1, 2)) for value in weights.reshape(-1).tolist()]
    return codes.reshape(weights.shape)


def _squared_error(codes: np.ndarray, weights: np.ndarray, fraction: int, unit: int) -> float | Fraction:
    """Return the sum of (code · 2^-fraction − weight)², in units of 2^-unit; the same on every machine."""
    if weights.dtype != object:
        errors = np.ldexp(codes, unit - fraction) - np.ldexp(weights, unit)
        return math.fsum((errors * errors).reshape(-1).tolist())
    scale, pairs = Fraction(2) ** -fraction, zip(codes.reshape(-1).tolist(), weights.reshape(-1).tolist())
    return sum(((code * scale - value) ** 2 for code, value in pairs), Fraction(0)) * 4**unit


def _fits(codes: np.ndarray, low: int, high: int) -> bool:
    return bool(low <= codes.min() and codes.max() <= high)


def _refuse_what_cannot_be(graph: Graph) -> None:
    found = []
    if not isinstance(graph.input.type.format, Fixed):
        found.append(Problem(graph.input.name, "the Input has no codes yet", "run quantize-inputs before"))
    for node in graph.nodes:
        legal = isinstance(node.op, Input | Constant | Dense | Lookup) or kind_of(node.op).in_codes is not None
        if node.is_float and not legal:
            found.append(Problem(node.name, f"a real-valued {node.kind} has no codes", "run fold-affine before"))
        whole = node.inputs[:1] if isinstance(node.op, Dense) else node.inputs
        for name in [*whole, *([graph.output] if node is graph.nodes[-1] else [])]:
            if isinstance(graph[name].op, Constant) and graph[name].is_float:
                found.append(Problem(name, "a real-valued constant in place of a value has no scale", "fold it before"))
    if found:
        raise PassError("pass quantize-weights", found)
