"""Seeded random tensor Graphs of products of numbers and of codes, sums, turns, rectifiers: for tests of text, rules, meaning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from approxhw.ir.graph import Graph, Node, Op
from approxhw.ir.kinds import Constant, Lookup, Relu, Type
from approxhw.ir.kinds.tensor.integers import ConvInteger, DequantizeLinear, MatMulInteger, QuantizeLinear, Rescale
from approxhw.ir.kinds.tensor.ops import Add, Conv, ConvTranspose, Feed, Gemm, MatMul, Transpose
from approxhw.ir.kinds.tensor.products import operand_sizes, product_of
from approxhw.numerics.eight_bit.port_codes import EngineCodes
from approxhw.numerics.formats import FLOAT32, Fixed, Format, dtype_of
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.integer_mac import IntegerMac
from approxhw.numerics.multipliers.families import own_operator

_SUMS = Fixed(32, True)
_OPERATORS: tuple[tuple[str, str, int, int, int, str], ...] = (
    ("exact", "both", 8, 8, 24, "exact"),
    ("truncated-5", "none", 8, 8, 24, "exact"),
    ("leading-3", "both", 8, 8, 24, "or-3"),
    ("rounded", "weight", 8, 8, 26, "cut-2"),
)
"""Operator, signs, widths and adder of products of codes."""
_MACS = (None, FloatMac(), FloatMac("bf16", 24, "exact"), FloatMac("bf16", 16, "an-2-2", 3))


class _Growing:
    """A Graph as it grows."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Node] = []

    def add(self, op: Op, inputs: Sequence[str], shape: Sequence[int], fmt: Format = FLOAT32) -> Node:
        name = f"{type(op).__name__.lower()}_{len(self.nodes)}"
        self.nodes.append(Node(name, op, tuple(inputs), Type(tuple(map(int, shape)), fmt)))
        return self.nodes[-1]

    def held(self, data: np.ndarray, fmt: Format) -> Node:
        """Return a Constant of *data* as the format holds it."""
        array = np.asarray(data).astype(dtype_of(fmt))
        return self.add(Constant(array), (), array.shape, fmt)

    def constant(self, *shape: int) -> Node:
        return self.add(Constant(self.rng.standard_normal(shape).astype(np.float32)), (), shape)

    def size(self) -> int:
        return int(self.rng.integers(1, 6))

    def how(self) -> dict[str, object]:
        """Return title, arithmetic, result and codes of a product."""
        mac = _MACS[self.rng.integers(len(_MACS))]
        codes = EngineCodes(activations=bool(self.rng.integers(2))) if self.rng.random() < 0.3 else None
        result = ("float32", "bf16")[self.rng.integers(2)]
        return {"title": f"product {len(self.nodes)}", "arithmetic": mac, "result": result, "codes": codes}


def random_tensor_graph(seed: int, steps: int = 6) -> Graph:
    """Return a verified-to-be tensor Graph of one or two feeds, about *steps* operations, and one or two results."""
    grow = _Growing(seed)
    feeds = []
    for title in ("x", "other feed")[: 1 + int(grow.rng.integers(2))]:
        shape = (grow.size(), grow.size()) if grow.rng.random() < 0.6 else tuple(grow.size() + 2 for _ in range(4))
        feeds.append(grow.add(Feed(title, ("rows", *shape[1:])), (), shape))
    values = list(feeds)
    for _ in range(steps):
        values.append(_grown(grow, values[int(grow.rng.integers(len(values)))]))
    leaving = [values[-1], *([values[int(grow.rng.integers(len(values)))]] if grow.rng.random() < 0.5 else [])]
    results = tuple((f"result {i}", node.name) for i, node in enumerate(leaving))
    return Graph("random_tensors", tuple(grow.nodes), results[0][1], source="random", results=results)


def _grown(grow: _Growing, x: Node) -> Node:
    """Return a new value made of *x*, with constants of its own."""
    shape = x.type.shape
    choice = grow.rng.random()
    if choice < 0.15:
        return grow.add(Relu(), [x.name], shape)
    if choice < 0.3:
        axes = tuple(map(int, grow.rng.permutation(len(shape))))
        return grow.add(Transpose(axes), [x.name], [shape[axis] for axis in axes])
    if choice < 0.45:
        return grow.add(Add(), [x.name, grow.constant(*shape[1:]).name], shape)
    if choice < 0.55:
        return _integer_step(grow, x)
    how = grow.how()
    if len(shape) == 4 and choice < 0.65:
        filters = grow.constant(shape[1], grow.size(), *(min(2, size) for size in shape[2:]))
        spread = ConvTranspose(pads=(0, 0, 0, 1), strides=(1, 2), output_padding=(0, 1), **how)  # type: ignore[arg-type]
        return _product(grow, spread, [x, filters, grow.constant(filters.type.shape[1])])
    if len(shape) == 4 and choice < 0.85:
        filters = grow.constant(grow.size(), shape[1], *(min(2, size) for size in shape[2:]))
        op: MatMul | Gemm | Conv | ConvTranspose = Conv(pads=(1, 0, 0, 1), **how)  # type: ignore[arg-type]
        return _product(grow, op, [x, filters, grow.constant(filters.type.shape[0])])
    if len(shape) == 2 and choice < 0.75:
        op = Gemm(alpha=0.5, beta=2.0, transpose_b=True, **how)  # type: ignore[arg-type]
        weights = grow.constant(grow.size(), shape[1])
        return _product(grow, op, [x, weights, grow.constant(weights.type.shape[0])])
    return _product(grow, MatMul(**how), [x, grow.constant(shape[-1], grow.size())])  # type: ignore[arg-type]


def _integer_step(grow: _Growing, x: Node) -> Node:
    """Return a real value made of *x* by way of codes: quantised, multiplied by an operator, rescaled, and turned back."""
    rng, shape = grow.rng, x.type.shape
    code, weight = (Fixed(8, bool(rng.integers(2))) for _ in range(2))
    scale, zero = grow.held(np.array(2.0 ** -int(rng.integers(2, 7))), FLOAT32), grow.held(_code(rng, code, ()), code)
    codes = grow.add(QuantizeLinear(), [x.name, scale.name, zero.name], shape, code)
    mac = IntegerMac(*_OPERATORS[rng.integers(len(_OPERATORS))])
    conv = len(shape) == 4
    sizes = (grow.size(), shape[1], *(min(2, size) for size in shape[2:])) if conv else (shape[-1], grow.size())
    columns = sizes[0] if conv else sizes[1]
    weights = grow.held(_code(rng, weight, sizes), weight)
    w_zero = grow.held(_code(rng, weight, (columns,) if rng.random() < 0.3 else ()), weight)
    operands = [codes.name, weights.name, zero.name, w_zero.name]
    if mac.operator != "exact":
        operator = own_operator(mac.operator)
        assert operator is not None
        operands.append(grow.held(operator.table(mac.weight_bits, mac.x_bits, mac.signed).products, _SUMS).name)
    variate = int(rng.integers(0, 5))
    if variate:
        operands.append(grow.held(rng.integers(-9, 10, columns), _SUMS).name)
    title = f"product {len(grow.nodes)}"
    op = (
        ConvInteger(title, pads=(1, 0, 0, 1), arithmetic=mac, variate=variate)
        if conv
        else MatMulInteger(title, mac, variate)
    )
    made = operand_sizes(product_of(op, tuple(operands)), [shape, sizes]).output
    sums = grow.add(op, operands, made, _SUMS)
    axis = 1 if conv else len(made) - 1
    if rng.random() < 0.5:
        step = grow.held(2.0 ** -rng.integers(3, 9, columns).astype(np.float64), FLOAT32)
        return grow.add(DequantizeLinear(axis), [sums.name, step.name, grow.held(np.array(0), _SUMS).name], made)
    factor = grow.held(rng.integers(1 << 30, 1 << 31, columns), _SUMS)
    shift = grow.held(rng.integers(31, 45, columns), _SUMS)
    again = grow.add(Rescale(3, code.low, code.high, axis), [sums.name, factor.name, shift.name], made, code)
    if rng.random() < 0.3:
        table = Lookup((), tuple(_code(rng, code, (256,)).tolist()))
        again = grow.add(table, [again.name], made, code)
    return grow.add(DequantizeLinear(), [again.name, scale.name, grow.held(np.array(3), code).name], made)


def _code(rng: np.random.Generator, fmt: Fixed, shape: Sequence[int]) -> np.ndarray:
    return rng.integers(fmt.low, fmt.high + 1, tuple(shape))


def _product(grow: _Growing, op: MatMul | Gemm | Conv | ConvTranspose, operands: Sequence[Node]) -> Node:
    names = tuple(node.name for node in operands)
    sizes = operand_sizes(product_of(op, names), [node.type.shape for node in operands])
    return grow.add(op, names, sizes.output)


def random_feeds(graph: Graph, seed: int) -> Mapping[str, np.ndarray]:
    """Return an array for every feed of *graph*, by title, at the sizes of its type."""
    rng = np.random.default_rng(seed)
    return {
        node.op.title: rng.standard_normal(node.type.shape).astype(np.float32)
        for node in graph.nodes
        if isinstance(node.op, Feed)
    }
