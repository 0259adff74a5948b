"""The pass that multiplies codes in place of the numbers that they stand for, and makes codes of sums without numbers between."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np

from approxhw.common.errors import PassError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Relu
from approxhw.ir.kinds.tensor.integer_rules import CODES, needed_bits, stationary
from approxhw.ir.kinds.tensor.integers import (
    ConvInteger,
    DequantizeLinear,
    IntegerProduct,
    MatMulInteger,
    QuantizeLinear,
    Rescale,
)
from approxhw.ir.kinds.tensor.ops import Add, Conv, ConvTranspose, Gemm, MatMul, Product, Transpose
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.tensor.integer_layers import held, integer_nodes, integer_op, weights_last
from approxhw.numerics.exact.fixed_point import fixed_point_multiplier
from approxhw.numerics.formats import Fixed
from approxhw.numerics.mac.integer_mac import MOST_BITS, IntegerMac, exact_products

from ._editing import SUMS, CodesBehind, Editor, codes_behind, is_fixed, readers_of

_LIMIT = 1 << 31

MATRIX_ENGINE = "compile it for a matrix-engine"
"""What to do with a product that cannot be one of codes."""


@dataclass(frozen=True)
class IntegerProducts:
    """Multiply codes: a product of numbers that codes stand for becomes one of whole numbers, its sums codes of the next layer.

    A product whose operands come from DequantizeLinear (8-bit codes, x of one scale, weights of one or of one a column)
    becomes MatMulInteger or ConvInteger, its bias whole, in units of the sums. Where its result goes through nothing but a
    ReLU into QuantizeLinear, a fixed-point multiplier of 31 bits rescales the sums. Products get exact arithmetic, its
    accumulator as wide as the weights ask for.
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with products of codes."""
        before = sum(isinstance(node.op, Conv | MatMul | Gemm) for node in graph.nodes)
        changed = with_rescaling(with_whole_biases(_with_products(graph)))
        changed = with_exact_arithmetic(changed)
        made = integer_nodes(changed)
        if not made:
            problems = products_left(graph) or [
                Problem(shown(graph.name), "it holds no product", "name a model with MatMul, Gemm or Conv")
            ]
            raise PassError("pass integer-products", problems)
        rescales = sum(isinstance(node.op, Rescale) for node in changed.nodes)
        left = sum(isinstance(node.op, Conv | MatMul | Gemm) for node in changed.nodes)
        context.note(f"{len(made)} products of codes, {rescales} results rescaled to codes")
        if left:
            context.note(f"{left} of {before} products of numbers stay")
        return changed


def _with_products(graph: Graph) -> Graph:
    editor = Editor(graph)
    for node in graph.nodes:
        if not (isinstance(node.op, Conv | MatMul | Gemm) and _made(editor, graph, node)):
            editor.nodes.append(node)
    return editor.done()


def _made(editor: Editor, graph: Graph, node: Node) -> bool:
    """Append what the product *node* becomes; whether it becomes something else."""
    op = node.op
    assert isinstance(op, Conv | MatMul | Gemm)
    a, b = codes_behind(graph, node.inputs[0]), codes_behind(graph, node.inputs[1])
    if a is None or b is None or op.arithmetic is not None or a.scale.size > 1:
        return False
    gemm = isinstance(op, Gemm)
    if gemm and (op.transpose_a or op.alpha != 1 or (len(node.inputs) > 2 and op.beta != 1)):  # type: ignore[union-attr]
        return False
    rank = len(node.type.shape)
    column = 1 if isinstance(op, Conv) else rank - 1
    turned = gemm and op.transpose_b  # type: ignore[union-attr]
    of_b = {Conv: 0, Gemm: 0 if turned else 1}.get(type(op), len(graph[node.inputs[1]].type.shape) - 1)
    vector = len(graph[node.inputs[1]].type.shape) < 2  # its one axis is that of the steps, and it has one column
    if (b.scale.size > 1 and (vector or b.turned_axis != of_b)) or (
        vector and graph[b.zero].type.shape not in ((), (1,))
    ):
        return False
    scale = a.scale.astype(np.float64).reshape(-1)[0] * b.scale.astype(np.float64).reshape(-1)
    bias = _whole_bias(graph, node, scale) if len(node.inputs) > 2 else None
    if len(node.inputs) > 2 and bias is None:
        return False
    left, right = _turned(editor, graph, a), _turned(editor, graph, b, turned)
    made: IntegerProduct = MatMulInteger(op.title)
    if isinstance(op, Conv):
        made = ConvInteger(op.title, op.strides, op.dilations, op.pads, op.auto_pad, op.group, op.kernel)
    sums = editor.add(f"{node.name}_sums", made, [left, right, a.zero, b.zero], node.type.shape, SUMS)
    if bias is not None:
        shape = [bias.size if axis == column and bias.size > 1 else 1 for axis in range(rank)]
        sums = editor.add(
            f"{node.name}_biased",
            Add(),
            [sums, editor.constant(f"{node.name}_bias", bias.reshape(shape))],
            node.type.shape,
            SUMS,
        )
    scales = editor.constant(
        f"{node.name}_scale", scale.astype(np.float32) if scale.size > 1 else scale.astype(np.float32)[0]
    )
    zero = editor.constant(f"{node.name}_origin", np.zeros((), np.int32))
    editor.add("", DequantizeLinear(column), [sums, scales, zero], node.type.shape, node.type.format, name=node.name)
    return True


def products_left(graph: Graph) -> list[Problem]:
    """Return why each product of numbers that *graph* holds is none of codes, in order; ``where`` names it."""
    return [_left(graph, node) for node in graph.nodes if isinstance(node.op, Product)]


def _left(graph: Graph, node: Node) -> Problem:
    op = node.op
    assert isinstance(op, Product)
    where = f"layer {shown(op.title, 60)!r}"
    coded = [codes_behind(graph, name) is not None for name in node.inputs[:2]]
    if isinstance(op, ConvTranspose):
        return Problem(where, "a ConvTranspose has no form of whole numbers here", "write it as a convolution")
    if op.arithmetic is not None:
        return Problem(where, "it has an arithmetic of floating-point numbers", MATRIX_ENGINE)
    if all(coded):
        if isinstance(op, Gemm) and (op.transpose_a or op.alpha != 1 or op.beta != 1):
            return Problem(where, "its first operand is turned, or alpha or beta is not 1", MATRIX_ENGINE)
        return Problem(where, "a scale or a bias of it does not go along columns, or is no 8-bit code's", MATRIX_ENGINE)
    if not any(is_fixed(graph, name) for name in node.inputs[:2]):
        why = "both of its operands are computed, and not both are numbers that 8-bit codes stand for"
        return Problem(where, why, "run quantize-model{products=all} before")
    which = "its operands are" if not any(coded) else f"its {'first' if coded[1] else 'second'} operand is"
    return Problem(
        where, f"{which} no numbers that 8-bit codes stand for", "run quantize-model before, with all layers"
    )


def _whole_bias(graph: Graph, node: Node, scale: np.ndarray) -> np.ndarray | None:
    """Return the third operand of *node* in units of its sums, int32; None where it is computed, too large, or not by column."""
    source = graph[node.inputs[2]]
    if isinstance(source.op, DequantizeLinear):
        codes, own, zero = (held(graph, name) for name in source.inputs)
        if codes is None or own is None or zero is None:
            return None
        numbers = (codes.astype(np.float64) - zero) * own.astype(np.float64)
    else:
        constant = held(graph, node.inputs[2])
        if constant is None:
            return None
        numbers = constant.astype(np.float64)
    if numbers.size not in (1, numbers.shape[-1] if numbers.ndim else 1):
        return None
    whole = np.rint(numbers.reshape(-1) / scale)
    return whole.astype(np.int32) if np.isfinite(whole).all() and (np.abs(whole) < _LIMIT // 2).all() else None


def _turned(editor: Editor, graph: Graph, codes: CodesBehind, turned: bool = False) -> str:
    """Return the value of *codes* behind their turn, *turned* once more where the product asks for it."""
    axes = codes.axes
    if turned:
        axes = (1, 0) if axes is None else (axes[1], axes[0])
    if axes is None or axes == tuple(range(len(axes))):
        return codes.node.name
    data = held(graph, codes.node.name)
    if data is not None:
        return editor.constant(f"{codes.node.name}_turned", np.ascontiguousarray(data.transpose(axes)))
    shape = [codes.node.type.shape[axis] for axis in axes]
    return editor.add(f"{codes.node.name}_turned", Transpose(axes), [codes.node.name], shape, codes.node.type.format)


def with_whole_biases(graph: Graph) -> Graph:
    """Return *graph* with constants that are added behind sums in whole units of them: what MatMul and Add are to a layer."""
    readers, editor, gone = readers_of(graph), Editor(graph), set[str]()
    leaving = set(graph.leaving)
    for node in graph.nodes:
        if node.name in gone:
            continue
        found = _bias_behind(graph, node, readers(node.name)) if node.name not in leaving else None
        if found is None:
            editor.nodes.append(node)
            continue
        add, whole = found
        rank = len(node.type.shape)
        assert isinstance(node.op, DequantizeLinear)
        shape = [whole.size if axis == node.op.axis and whole.size > 1 else 1 for axis in range(rank)]
        bias = editor.constant(f"{node.name}_bias", whole.reshape(shape))
        biased = editor.add(f"{node.name}_biased", Add(), [node.inputs[0], bias], node.type.shape, SUMS)
        editor.nodes.append(replace(node, name=add.name, inputs=(biased, *node.inputs[1:])))
        gone.add(add.name)
    return editor.done()


def _bias_behind(graph: Graph, node: Node, readers: list[Node]) -> tuple[Node, np.ndarray] | None:
    if not _is_of_sums(graph, node) or len(readers) != 1 or not isinstance(readers[0].op, Add):
        return None
    assert isinstance(node.op, DequantizeLinear)
    add, scale = readers[0], held(graph, node.inputs[1])
    others = [name for name in add.inputs if name != node.name]
    bias = held(graph, others[0]) if len(others) == 1 else None
    axis = node.op.axis
    if bias is None or scale is None or add.type.shape != node.type.shape or axis != len(node.type.shape) - 1:
        return None
    if bias.size not in (1, node.type.shape[axis]) or (bias.size > 1 and bias.shape[-1] != bias.size):
        return None
    whole = np.rint(bias.astype(np.float64).reshape(-1) / scale.astype(np.float64).reshape(-1))
    if not np.isfinite(whole).all() or (np.abs(whole) >= _LIMIT // 2).any():
        return None
    return add, whole.astype(np.int32)


def _is_of_sums(graph: Graph, node: Node) -> bool:
    return isinstance(node.op, DequantizeLinear) and graph[node.inputs[0]].type.format == SUMS


def with_rescaling(graph: Graph) -> Graph:
    """Return *graph* with sums that become codes at once where nothing but a ReLU stands between them and QuantizeLinear."""
    readers, editor, leaving = readers_of(graph), Editor(graph), set(graph.leaving)
    places: dict[str, tuple[Node, bool]] = {}
    for node in graph.nodes:
        if not _is_of_sums(graph, node) or node.name in leaving:
            continue
        for reader in readers(node.name):
            if isinstance(reader.op, QuantizeLinear):
                places[reader.name] = (node, False)
            elif isinstance(reader.op, Relu) and reader.name not in leaving:
                places |= {q.name: (node, True) for q in readers(reader.name) if isinstance(q.op, QuantizeLinear)}
    for node in graph.nodes:
        found = places.get(node.name)
        if found is None or not _rescaled(editor, graph, node, *found):
            editor.nodes.append(node)
    return editor.done()


def _rescaled(editor: Editor, graph: Graph, node: Node, numbers: Node, positive: bool) -> bool:
    """Append a Rescale in the place of QuantizeLinear *node* of *numbers*, *positive* or not; whether one stands for it."""
    scale, own, zero = held(graph, numbers.inputs[1]), held(graph, node.inputs[1]), held(graph, node.inputs[2])
    fmt = node.type.format
    if scale is None or own is None or zero is None or own.size > 1 or zero.size > 1 or not isinstance(fmt, Fixed):
        return False
    if fmt.bits != 8 or not (np.isfinite(own).all() and (own > 0).all()):
        return False
    step = Fraction(float(own.reshape(-1)[0]))
    try:
        pairs = [fixed_point_multiplier(Fraction(float(each)) / step) for each in scale.reshape(-1)]
    except ValueError:
        return False
    assert isinstance(numbers.op, DequantizeLinear)
    factors, shifts = (np.array([pair[i] for pair in pairs], np.int32) for i in (0, 1))
    inputs = [
        numbers.inputs[0],
        editor.constant(f"{node.name}_multiplier", factors if scale.size > 1 else factors[0]),
        editor.constant(f"{node.name}_shift", shifts if scale.size > 1 else shifts[0]),
    ]
    origin = int(zero.reshape(-1)[0])
    op = Rescale(origin, origin if positive else fmt.low, fmt.high, numbers.op.axis)
    editor.add("", op, inputs, node.type.shape, fmt, name=node.name)
    return True


def with_exact_arithmetic(graph: Graph) -> Graph:
    """Return *graph* whose products of codes have exact arithmetic: operands as codes are, accumulators as narrow as may be.

    A product that has an arithmetic keeps it.
    """
    nodes, problems = [], []
    for node in graph.nodes:
        if isinstance(node.op, MatMulInteger | ConvInteger) and node.op.arithmetic is None:
            try:
                node = replace(node, op=replace(node.op, arithmetic=exact_mac(graph, node)))
            except OverflowError as error:
                where = f"layer {shown(integer_op(node).title, 60)!r}"
                problems.append(Problem(where, str(error), "leave it in floating point: quantize-model{layers=…}"))
        nodes.append(node)
    if problems:
        raise PassError("pass integer-products", problems)
    return replace(graph, nodes=tuple(nodes))


def exact_mac(graph: Graph, node: Node) -> IntegerMac:
    """Return exact arithmetic for the product of codes *node*: signs as the codes have them, sums of their proven width.

    Raises :class:`OverflowError` where no accumulator is wide enough.
    """
    op = integer_op(node)
    x, w = (graph[name].type.format == CODES[0] for name in weights_last(graph, node))
    signed = "none" if not (x or w) else "both" if x else "weight"
    weights = held(graph, weights_last(graph, node)[1])
    bits = 8
    if weights is not None and w and weights.size and int(weights.min()) >= -8 and int(weights.max()) < 8:
        bits = 4
    mac = IntegerMac(signed=signed, weight_bits=bits)
    if weights is None:
        return mac
    columns = stationary(op, weights, turned=weights_last(graph, node)[1] == node.inputs[0])
    needed = needed_bits(columns, exact_products(mac).products, mac)
    if needed > MOST_BITS:
        raise OverflowError(f"its sums need {needed} bits, and an accumulator has {MOST_BITS} at most")
    return replace(mac, accumulator_bits=max(4, needed))
