"""The pass that takes the expected error of approximate products out of the sums, by their biases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.tensor.integer_layers import integer_op
from approxhw.ir.tensor.operator_errors import layer_codes

from ._biases import moved_biases
from ._operators import exactly


@dataclass(frozen=True)
class CorrectBias:
    """Take the expected error of each column's sum into its bias: that of its weights on the codes of training rows.

    Layers with a control variate have it there already.
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with moved biases."""
        moves = {}
        for name, layer in layer_codes(graph, exactly(context.observe), "correct-bias").items():
            if integer_op(layer.node).variate:
                continue  # control-variate took the whole of it
            mean = layer.mean_error()
            if (move := -np.rint(mean).astype(np.int64)).any():
                moves[name] = move
        context.note(f"{len(moves)} layers: biases moved by their expected error")
        return moved_biases(graph, moves)
