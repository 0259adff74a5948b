"""Products of codes of a Graph as layers of an integer engine: sizes, what a column ends its sums with, what streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Lookup
from approxhw.ir.kinds.tensor.integer_rules import needed_bits, stationary
from approxhw.ir.kinds.tensor.integers import (
    ConvInteger,
    Rescale,
    along,
)
from approxhw.ir.kinds.tensor.ops import Add
from approxhw.ir.kinds.tensor.products import lower_product, product_of
from approxhw.ir.tensor.integer_layers import (
    column_count,
    columns_shape,
    held,
    integer_mac,
    integer_nodes,
    integer_op,
    layers_of_moved_weights,
    operand_kinds,
    stays_left,
    weights_last,
)
from approxhw.numerics.functions.units import ActivationUnit
from approxhw.numerics.mac.integer_mac import MOST_BITS, IntegerMac, exact_products, patterns
from approxhw.numerics.multipliers.families import EXACT


@dataclass(frozen=True, eq=False)
class Ended:
    """What follows the sums of a product, column by column: whole biases, a Rescale with its factors, a unit, where they come."""

    bias: np.ndarray
    rescale: Rescale | None = None
    multiplier: np.ndarray | None = None
    shift: np.ndarray | None = None
    unit: ActivationUnit | None = None


def ended(graph: Graph, node: Node) -> Ended:
    """Return what follows *node* and goes along its columns, those of all groups, and along nothing else."""
    columns = column_count(graph, node)
    bias, at = np.zeros(columns, np.int64), node
    shape = columns_shape(graph, node, columns)
    readers = [other for other in graph.nodes if at.name in other.inputs]
    if len(readers) == 1 and isinstance(readers[0].op, Add) and at.name not in graph.leaving:
        constants = [data for name in readers[0].inputs if (data := held(graph, name)) is not None]
        if len(constants) == 1 and (found := _spread(constants[0], shape)) is not None:
            bias, at = bias + found, readers[0]
            readers = [other for other in graph.nodes if at.name in other.inputs]
    if len(readers) == 1 and isinstance(op := readers[0].op, Rescale) and at.name not in graph.leaving:
        factors = [held(graph, name) for name in readers[0].inputs[1:3]]
        if any(each is None for each in factors):
            raise TypeError(f"multipliers of {readers[0].name} are computed")
        multiplier, shift = (_spread(along(each, op.axis, len(shape)), shape) for each in factors if each is not None)
        if multiplier is not None and shift is not None:
            return Ended(bias, op, multiplier, shift, _unit_behind(graph, readers[0]))
    return Ended(bias)


def _unit_behind(graph: Graph, codes: Node) -> ActivationUnit | None:
    """Return the activation unit that *codes*, which nothing else reads, go through; None where there is none."""
    readers = [other for other in graph.nodes if codes.name in other.inputs]
    if len(readers) != 1 or not isinstance(op := readers[0].op, Lookup) or codes.name in graph.leaving:
        return None
    return op.unit


def column_activations(graph: Graph) -> tuple[ActivationUnit, ...]:
    """Return the units that columns of an array for all products of *graph* end in, each once."""
    ends = [ended(graph, node).unit for node in integer_nodes(graph)]
    return tuple(dict.fromkeys(unit for unit in ends if unit is not None))


def _spread(values: np.ndarray, columns: tuple[int, ...]) -> np.ndarray | None:
    """Return *values* for each place along *columns*, a shape, flat (int64); None where they go along anything else."""
    shape = (1,) * (len(columns) - values.ndim) + values.shape
    if len(shape) > len(columns) or any(size not in (1, most) for size, most in zip(shape, columns, strict=True)):
        return None
    return np.broadcast_to(values.reshape(shape), columns).reshape(-1).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Streams:
    """What goes through an array for one product: codes (K × rows, K × N), their zero points, the columns of this one."""

    x: np.ndarray
    weights: np.ndarray
    x_zero: int
    weight_zero: np.ndarray
    columns: slice


def streams_of(graph: Graph, node: Node, operands: Mapping[str, np.ndarray], rows: int) -> Streams:
    """Return the codes of the first product of *node*, at most so many *rows* of what streams; *operands*: values by name."""
    op = integer_op(node)
    product = product_of(op, node.inputs)
    values = [operands[name] for name in node.inputs[:4]]
    pad = int(values[2].reshape(-1)[0])
    lowered = lower_product(product, values[:2], frozenset(), pad=pad, result=np.int32)
    block = lowered.gemms[0]
    turned = block.streams_right or stays_left(graph, node)
    swapped = turned and not isinstance(op, ConvInteger)
    stays = block.left.array.T if turned else block.right.columns(slice(None))
    taken = slice(0, min(rows, block.into.shape[int(turned)]))
    streams = block.right.columns(taken) if turned else np.ascontiguousarray(block.left.rows(taken).T)
    x_zero, w_zero = (values[3], values[2]) if swapped else (values[2], values[3])
    width = stays.shape[1]
    zeros = w_zero.reshape(-1)[:width] if w_zero.size > 1 else w_zero.reshape(-1)
    return Streams(
        np.ascontiguousarray(streams),
        np.ascontiguousarray(stays),
        int(x_zero.reshape(-1)[0]),
        np.broadcast_to(zeros, width).astype(np.int64),
        slice(0, width),
    )


def together(graph: Graph) -> tuple[IntegerMac, tuple[str, ...], int]:
    """Return the arithmetic of one array for all products of *graph*, its operators, and which low bits of x it sums up.

    Raises :class:`OptionError` where they do not go into one array: operands of other signs or widths, other adders, other
    variates. An exact product goes into any array of exact sums.
    """
    nodes = integer_nodes(graph)
    if not nodes:
        why, remedy = "they leave no product of codes", "put integer-products behind what gives the model codes"
        raise OptionError("integer engine", [Problem("passes", why, remedy)])
    macs = [integer_mac(node) for node in nodes]
    kinds = operand_kinds(graph)
    problems = []
    if len(kinds) > 1:
        told = ", ".join(f"{weight} × {x} bits, {signed} signed" for signed, weight, x in kinds)
        why = f"one array has one kind of operands, these have {told}"
        remedy = "choose alike ones, or leave layers of the one kind exact: --layers 'NUMBER=exact'"
        problems.append(Problem("operators", why, remedy))
    narrowest = min(weight for _, weight, _ in kinds)
    wider = [(number, mac) for number, mac in enumerate(macs) if mac.weight_bits > narrowest]
    if len(kinds) == 1 and wider:
        told = ", ".join(str(number) for number, _ in wider)
        why = f"the operators have weights of {narrowest} bits, and layers {told} have weights of {wider[0][1].weight_bits}"
        remedy = "give those layers operators, too, and leave the others exact: a weight of few bits goes into a wide operand"
        problems.append(Problem("operators", why, remedy))
    adders = dict.fromkeys(mac.adder for mac in macs)
    if len(adders) > 1:
        problems.append(Problem("adder", f"one array has one adder, not {', '.join(adders)}", "choose one"))
    variates = {integer_op(node).variate for node in nodes} - {0}
    if len(variates) > 1:
        told = ", ".join(map(str, sorted(variates)))
        problems.append(Problem("variate", f"one array sums one number of low bits, not {told}", "choose one"))
    problems += _sums_twice(graph, kinds[0][2])
    if problems:
        raise OptionError("integer engine", problems)
    (signed, weight_bits, x_bits), adder = kinds[0], next(iter(adders))
    names = tuple(dict.fromkeys(mac.operator for mac in macs))
    made = IntegerMac(names[0], signed, weight_bits, x_bits, MOST_BITS, adder)
    bits = max(_bits_in(graph, node, mac, made) for node, mac in zip(nodes, macs, strict=True))
    return replace(made, accumulator_bits=bits), names, max(variates, default=0)


def _sums_twice(graph: Graph, whole: int) -> list[Problem]:
    """Return a problem for layers that need other sums of a row than others, of *whole* x, do: an array sums rows once."""
    moved = layers_of_moved_weights(graph)
    varied = [node for node in integer_nodes(graph) if integer_op(node).variate]
    own = [node for node in varied if node in moved or integer_op(node).variate != whole]
    if not moved or not own:
        return []
    first, second = (", ".join(shown(integer_op(node).title, 60) for node in nodes[:8]) for nodes in (own, moved))
    why = (
        f"an array sums rows of x once: low bits for the control variate of {first}, whole ones for the zero points of the "
        f"weights of {second}"
    )
    return [Problem("variate", why, "leave control-variate out: --recover bias, or tune or fit")]


def _bits_in(graph: Graph, node: Node, own: IntegerMac, array: IntegerMac) -> int:
    """Return how wide the sums of *node* are in *array*, whose operands may have other signs than its *own* arithmetic."""
    weights = held(graph, weights_last(graph, node)[1])
    if weights is None or (own.signed, own.weight_bits) == (array.signed, array.weight_bits):
        return own.accumulator_bits
    columns = stationary(integer_op(node), weights, stays_left(graph, node))
    # exact products alone: operators have the signs of the array
    plain = replace(array, operator=EXACT)
    return max(own.accumulator_bits, needed_bits(columns, exact_products(plain).products, plain))


def layer_patterns(streams: Streams, mac: IntegerMac) -> tuple[np.ndarray, np.ndarray]:
    """Return bit patterns as the operator of *mac* reads them: x, rows × K, and weights, K × N."""
    x, _ = patterns(streams.x, mac.x_bits, mac.x_signed)
    weights, _ = patterns(streams.weights, mac.weight_bits, mac.weight_signed)
    return np.ascontiguousarray(x.T), weights


def unknown_operator(name: str) -> OptionError:
    """Return the error of an operator whose hardware nobody has said."""
    why = f"what operator {shown(name)!r} is made of is not known here: a table has no gates"
    return OptionError("integer engine", [Problem("operator", why, "give its Verilog module (.v)")])
