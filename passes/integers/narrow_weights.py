"""The pass that rounds weight codes of chosen layers to fewer bits: the low ones become zero, their products cost nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.tensor.integer_layers import held, integer_op, weights_last
from approxhw.ir.tensor.operator_errors import LayerCodes, layer_codes
from approxhw.numerics.mac.integer_mac import patterns
from approxhw.numerics.multipliers.tables import operand_values

from ._biases import moved_biases
from ._editing import Editor, with_weights
from ._operators import chosen_layers, exactly, layer_number_problems

WIDTH = 8
"""Bits of codes of weights, where an arithmetic has no fewer."""


@dataclass(frozen=True)
class NarrowWeights:
    """Round the weight codes of chosen layers to *bits* bits: each becomes the nearest multiple of 2^(8 − bits).

    Codes of 4 bits become multiples of 2^(4 − bits), and stay where they have no more bits than that.

    Scales stay as they are, so that nothing but the weights changes; in an array the low bits of a stationary weight are
    zero, and the products of those bits do not switch. Ties go to the even multiple. What that does to the mean of a column's
    sum goes into its bias, where there are rows. Behind approximate-multiplier.
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True

    bits: int = field(default=6, metadata={"help": "bits that a weight keeps, 2 to 8"})
    layers: tuple[float, ...] | None = field(
        default=None, metadata={"help": "layers by number, from 0; all by default"}
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        found = []
        if not 2 <= self.bits <= WIDTH:
            found.append(Problem("narrow-weights.bits", f"{self.bits} does not lie in 2…{WIDTH}"))
        found += layer_number_problems("narrow-weights", self.layers)
        if found:
            raise OptionError("narrow-weights", found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with rounded codes."""
        chosen = {node.name: node for node in chosen_layers(graph, self.layers, "narrow-weights")}
        computed = [name for name, node in chosen.items() if held(graph, weights_last(graph, node)[1]) is None]
        if computed and self.layers is not None:
            why = "its weights are no constant"
            raise PassError("pass narrow-weights", [Problem(name, why, "leave it out") for name in computed])
        codes_seen = {} if context.observe is None else layer_codes(graph, exactly(context.observe), "narrow-weights")
        editor, moved, count = Editor(graph), 0, 0
        moves: dict[str, np.ndarray] = {}
        for node in graph.nodes:
            if node.name in chosen and node.name not in computed:
                old = held(graph, weights_last(graph, node)[1])
                assert old is not None
                mac = integer_op(node).arithmetic
                codes = rounded_to_bits(old, self.bits, WIDTH if mac is None else mac.weight_bits)
                moved, count = moved + int((codes != old).sum()), count + old.size
                if node.name in codes_seen:
                    moves[node.name] = -np.rint(self._mean(codes_seen[node.name])).astype(np.int64)
                node = with_weights(editor, graph, node, codes, "narrowed")
            editor.nodes.append(node)
        context.note(f"{moved} of {count} weights moved, in {len(chosen) - len(computed)} layers")
        return moved_biases(editor.done(), moves)

    def _mean(self, layer: LayerCodes) -> np.ndarray:
        """Return by how much the exact sums of *layer* get greater on average."""
        numbers = operand_values(layer.mac.weight_bits, layer.mac.weight_signed)
        return layer.mean_change(numbers[narrowed_patterns(layer, self.bits)] - numbers)


def narrowed_patterns(layer: LayerCodes, bits: int) -> np.ndarray:
    """Return the pattern that each pattern of a weight of *layer* becomes where it keeps *bits* bits."""
    width = layer.mac.weight_bits
    low, high = _limits(layer.kind, width)
    _, shift = patterns(np.zeros(1, layer.kind), width, layer.mac.weight_signed)
    codes = np.clip(operand_values(width, layer.mac.weight_signed) - shift, low, high).astype(layer.kind)
    made: np.ndarray = (rounded_to_bits(codes, bits, width).astype(np.int64) + shift) % (1 << width)
    return made


def rounded_to_bits(codes: np.ndarray, bits: int, width: int = WIDTH) -> np.ndarray:
    """Return *codes* of *width* bits (int8 or uint8, any shape) rounded to multiples of 2^(*width* − *bits*) among them."""
    step = 1 << max(0, width - bits)
    low, high = _limits(codes.dtype.type, width)
    rounded = np.rint(codes.astype(np.float64) / step) * step
    return np.clip(rounded, -(-low // step) * step, high // step * step).astype(codes.dtype)


def _limits(kind: type[np.generic], width: int) -> tuple[int, int]:
    """Return the least and the greatest code of *width* bits in the type *kind*."""
    low = -(1 << (width - 1)) if np.dtype(kind).kind == "i" else 0
    return low, low + (1 << width) - 1
