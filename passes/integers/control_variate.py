"""The pass that takes out what the low bits of a layer's activations tell of its error: one coefficient a column."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds.tensor.integers import ConvInteger
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.tensor.integer_layers import integer_op, layers_of_moved_weights, stays_left, weights_last
from approxhw.ir.tensor.operator_errors import LayerCodes, layer_codes

from ._biases import moved_biases
from ._editing import Editor
from ._operators import exactly

MOST = (1 << 15) - 1
"""Greatest coefficient: 16 bits of two's complement."""


@dataclass(frozen=True)
class ControlVariate:
    """Add C · Σ (x mod 2^bits) + C0 to each column's sum: the part of its error that the low bits of x tell.

    C is the whole number nearest to Σ Cov(error, x mod 2^bits) / Σ Var(x mod 2^bits) over the steps of a column, for the
    codes of training rows; C0 goes into the bias. Σ (x mod 2^bits) is the same for all columns of an array: one narrow adder
    a row, one product a result. Where an operator's error is w · (x mod 2^bits), C is the mean weight. Layers whose error the
    variate would not lessen are left as they are. Source: Zervakis et al., *Control Variate Approximation for
    DNN Accelerators*, DAC 2021 (arXiv 2102.09642).
    Products by several matrices, or by a constant at the left, have no coefficients. A model of which any layer's weights have
    a zero point is left as it is: an array sums rows once, and takes those points out by sums of whole x.
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True

    bits: int = field(default=4, metadata={"help": "low bits of activations, 1 to 8"})

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 1 <= self.bits <= 8:
            raise OptionError("control-variate", [Problem("control-variate.bits", f"{self.bits} does not lie in 1…8")])

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with coefficients beside its products."""
        if moved := layers_of_moved_weights(graph):
            named = ", ".join(shown(integer_op(node).title, 60) for node in moved[:8]) + (", …" if moved[8:] else "")
            context.note(
                f"nothing: weights of {named} have zero points, for which an array sums whole x, and it sums once"
            )
            return graph
        layers = layer_codes(graph, exactly(context.observe), "control-variate")
        chosen: dict[str, np.ndarray] = {}
        moves: dict[str, np.ndarray] = {}
        gains: list[float] = []
        for name, layer in layers.items():
            if not layer.errors.any() or integer_op(layer.node).variate or not _columns_last(graph, layer.node):
                continue
            coefficients, less = coefficients_of(layer, self.bits)
            if coefficients.any() and less > 0:
                chosen[name] = coefficients
                gains.append(less)
                shift = layer.mean_error() + coefficients * layer.mean_rest(self.bits)
                moves[name] = -np.rint(shift).astype(np.int64)
        editor = Editor(graph)
        for node in graph.nodes:
            if node.name in chosen:
                beside = editor.constant(f"{node.name}_coefficients", chosen[node.name].astype(np.int32))
                node = replace(node, op=replace(integer_op(node), variate=self.bits), inputs=(*node.inputs, beside))
            editor.nodes.append(node)
        said = f": variance of errors less by {100 * float(np.mean(gains)):.0f} % on average" if gains else ""
        context.note(f"{len(chosen)} of {len(layers)} layers{said}")
        return moved_biases(editor.done(), moves)


def _columns_last(graph: Graph, node: Node) -> bool:
    """Whether columns are those of one matrix at the right, or the filters of a convolution: where coefficients may stand."""
    several = graph[weights_last(graph, node)[1]].type.shape[:-2]
    return isinstance(node.op, ConvInteger) or (not stays_left(graph, node) and math.prod(several) == 1)


def coefficients_of(layer: LayerCodes, bits: int) -> tuple[np.ndarray, float]:
    """Return the coefficient of each column (int64), and by what share the variance of the columns' errors gets less."""
    both, spread = layer.rest(bits)
    exact = np.divide(both, spread, out=np.zeros_like(both), where=spread > 0)
    coefficients = np.clip(np.rint(exact), -MOST, MOST).astype(np.int64)
    before = float(layer.variance().sum())
    after = before - float((2 * coefficients * both - coefficients**2 * spread).sum())
    return coefficients, 1 - after / before if before else 0.0
