"""The products of codes of a tensor Graph as layers: which they are, what streams and what stays, their tables and sizes."""

from __future__ import annotations

import math

import numpy as np

from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Constant
from approxhw.ir.kinds.tensor.integers import ConvInteger, IntegerProduct, MatMulInteger, needs_table
from approxhw.ir.kinds.tensor.products import operand_sizes, product_of
from approxhw.numerics.formats import dtype_of
from approxhw.numerics.mac.integer_mac import IntegerMac, exact_products
from approxhw.numerics.multipliers.families import EXACT


def integer_nodes(graph: Graph) -> tuple[Node, ...]:
    """Return the products of codes of *graph*, in order: layers are numbered from 0."""
    return tuple(node for node in graph.nodes if isinstance(node.op, MatMulInteger | ConvInteger))


def integer_op(node: Node) -> IntegerProduct:
    """Return the op of a product of codes."""
    assert isinstance(node.op, MatMulInteger | ConvInteger)
    return node.op


def integer_mac(node: Node) -> IntegerMac:
    """Return the arithmetic of a product of codes, exact where it has none."""
    return integer_op(node).arithmetic or IntegerMac()


def held(graph: Graph, name: str) -> np.ndarray | None:
    """Return the data of the Constant *name* as its format holds it; None where it is computed."""
    node = graph[name]
    return node.op.data.astype(dtype_of(node.type.format), copy=False) if isinstance(node.op, Constant) else None


def weights_last(graph: Graph, node: Node) -> tuple[str, str]:
    """Return what streams and what stays of the product of codes *node*: a constant stays, else the second operand."""
    first, second = node.inputs[:2]
    return (second, first) if stays_left(graph, node) else (first, second)


def stays_left(graph: Graph, node: Node) -> bool:
    """Whether it is the first operand of the product *node* that stays: a constant at the left of activations."""
    first, second = node.inputs[:2]
    constants = isinstance(graph[first].op, Constant), isinstance(graph[second].op, Constant)
    return constants == (True, False) and not isinstance(node.op, ConvInteger)


def column_count(graph: Graph, node: Node) -> int:
    """Return how many columns the product *node* has: of all groups, or of all matrices that stay."""
    shape = graph[weights_last(graph, node)[1]].type.shape
    if isinstance(node.op, ConvInteger):
        return shape[0]
    return 1 if len(shape) < 2 else math.prod(shape[:-2]) * shape[-2 if stays_left(graph, node) else -1]


def columns_shape(graph: Graph, node: Node, columns: int) -> tuple[int, ...]:
    """Return the shape in which one value for each of so many *columns* of the product *node* goes along its result.

    Columns are the filters of a convolution, the last axis of a product, the axis before it where the constant stands at the
    left; those of several matrices stand one behind the other. One value has the shape of ones.
    """
    rank, made = len(node.type.shape), list[int]()
    if columns != 1 and isinstance(node.op, ConvInteger):
        made = [columns] + [1] * (rank - 2)
    elif columns != 1:
        streams, stays = weights_last(graph, node)
        several = graph[stays].type.shape[:-2]
        each = columns // math.prod(several)
        if len(graph[streams].type.shape) < 2:  # a vector streams: nothing but columns is left of it
            made = [*several, each]
        else:
            made = [*several, each, 1] if stays_left(graph, node) else [*several, 1, each]
    return (1,) * (rank - len(made)) + tuple(made)


def products_table(graph: Graph, node: Node) -> np.ndarray:
    """Return the table of the operator of *node*, by bit patterns."""
    if needs_table(integer_op(node)):
        table = held(graph, node.inputs[4])
        if table is None:
            raise TypeError(f"the table of {node.name} is computed")
        return table
    return exact_products(integer_mac(node)).products


def layer_sizes(graph: Graph, node: Node) -> tuple[int, int, int, int]:
    """Return how many products *node* is, and M, K, N of one as it goes through an array: M rows stream, K × N stays."""
    product = product_of(integer_op(node), node.inputs)
    sizes = operand_sizes(product, [graph[name].type.shape for name in node.inputs[:2]])
    m, n = (sizes.n, sizes.m) if stays_left(graph, node) else (sizes.m, sizes.n)
    return sizes.count, m, sizes.k, n


def operand_kinds(graph: Graph) -> tuple[tuple[str, int, int], ...]:
    """Return signs, bits of weights and bits of x that an array of all products of *graph* has; several do not go into one.

    Those of operators that are not exact: an exact product goes into any array. Of exact ones alone the widest hold all.
    """
    macs = [integer_mac(node) for node in integer_nodes(graph)]
    chosen = [mac for mac in macs if mac.operator != EXACT]
    if chosen:
        return tuple(dict.fromkeys((mac.signed, mac.weight_bits, mac.x_bits) for mac in chosen))
    signs = {mac.signed for mac in macs}
    return ((signs.pop() if len(signs) == 1 else "both", max(mac.weight_bits for mac in macs), 8),) if macs else ()


def layers_of_moved_weights(graph: Graph) -> tuple[Node, ...]:
    """Return the products of *graph* whose weights have a zero point that is not 0, or not known, as an array reads them.

    An array needs sums of whole rows of x for them.
    """
    kinds = operand_kinds(graph)
    return tuple(node for node in integer_nodes(graph) if any(_are_moved(graph, node, *kind[:2]) for kind in kinds))


def _are_moved(graph: Graph, node: Node, signed: str, bits: int) -> bool:
    zero = held(graph, node.inputs[2 if stays_left(graph, node) else 3])
    if zero is None:
        return True
    half = 1 << (bits - 1)
    weight_signed = signed != "none"
    moved = 0 if (zero.dtype.kind == "i") == weight_signed else -half if weight_signed else half
    return bool(np.any(zero.astype(np.int64) + moved))
