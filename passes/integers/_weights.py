"""Other weights for a product of codes: its constant, and an accumulator as wide as their sums ask for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from approxhw.common.errors import PassError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds.tensor.integer_rules import needed_bits, stationary
from approxhw.ir.tensor.integer_layers import integer_op, products_table, weights_last
from approxhw.numerics.mac.integer_mac import MOST_BITS

from ._editing import Editor


def with_weights(editor: Editor, graph: Graph, node: Node, codes: np.ndarray, how: str) -> Node:
    """Return the product *node* with *codes* as weights, a Constant called after *how*, and an accumulator that holds their sums.

    Raises :class:`PassError` where none is wide enough.
    """
    op = integer_op(node)
    stays = weights_last(graph, node)[1]
    name = editor.constant(f"{stays}_{how}", codes)
    inputs = tuple(name if each == stays else each for each in node.inputs[:2]) + node.inputs[2:]
    if op.arithmetic is None:
        return replace(node, inputs=inputs)
    mac = replace(op.arithmetic, accumulator_bits=MOST_BITS)
    needed = needed_bits(stationary(op, codes, stays == node.inputs[0]), products_table(graph, node), mac)
    if needed > MOST_BITS:
        why = f"sums of its new weights need {needed} bits, and an accumulator has {MOST_BITS} at most"
        raise PassError("weights", [Problem(f"layer {shown(op.title, 60)!r}", why, "leave the layer as it is")])
    bits = max(4, needed, mac.low_bits + 1)
    return replace(node, op=replace(op, arithmetic=replace(mac, accumulator_bits=bits)), inputs=inputs)
