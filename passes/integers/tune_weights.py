"""The pass that gives each weight the code whose approximate products are nearest to its exact ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.tensor.integer_layers import held, weights_last
from approxhw.ir.tensor.operator_errors import LayerCodes, layer_codes
from approxhw.numerics.mac.integer_mac import patterns
from approxhw.numerics.multipliers.tables import operand_values

from ._biases import moved_biases
from ._editing import Editor, with_weights
from ._operators import chosen_layers, exactly, layer_number_problems

MEASURES = ("absolute", "squared", "spread")


@dataclass(frozen=True)
class TuneWeights:
    """Move weight codes to where the operator errs least: w becomes the w' whose T[w', x] is nearest to w · x on training rows.

    *measure*: the mean ``absolute`` or ``squared`` error over the codes of the layer, or its ``spread``, what is left once the
    bias takes the mean (correct-bias behind it). Costs nothing in hardware. Source: Mrazek et al., *ALWANN*, ICCAD 2019.
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True

    measure: str = field(default="spread", metadata={"help": ", ".join(MEASURES), "choices": MEASURES})
    reach: int = field(default=16, metadata={"help": "how far a code may move"})
    layers: tuple[float, ...] | None = field(
        default=None, metadata={"help": "layers by number, from 0; all by default"}
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        found = []
        if self.measure not in MEASURES:
            why = f"{shown(repr(self.measure), 40)} is no measure"
            found.append(Problem("tune-weights.measure", why, f"choose {', '.join(MEASURES)}"))
        if not 1 <= self.reach <= 255:
            found.append(Problem("tune-weights.reach", f"{self.reach} does not lie in 1…255"))
        found += layer_number_problems("tune-weights", self.layers)
        if found:
            raise OptionError("tune-weights", found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with moved codes."""
        editor, moved, count = Editor(graph), 0, 0
        tuned = {}
        moves: dict[str, np.ndarray] = {}
        chosen = {node.name for node in chosen_layers(graph, self.layers, "tune-weights")}
        for name, layer in layer_codes(graph, exactly(context.observe), "tune-weights").items():
            if name in chosen and layer.errors.any():
                tuned[name] = self.tuned(graph, layer)
                moves[name] = tuned[name][2]
                moved += int(tuned[name][1])
                count += layer.weights.size
        for node in graph.nodes:
            if node.name in tuned:
                codes = tuned[node.name][0]
                node = with_weights(editor, graph, node, codes, "tuned")
            editor.nodes.append(node)
        context.note(f"{moved} of {count} weights moved, in {len(tuned)} layers")
        return moved_biases(editor.done(), moves)

    def tuned(self, graph: Graph, layer: LayerCodes) -> tuple[np.ndarray, int, np.ndarray]:
        """Return *layer*'s weights as they become, in the shape of its constant, how many moved, and what biases take."""
        stays = weights_last(graph, layer.node)[1]
        old = held(graph, stays)
        assert old is not None
        likely = np.mean([part.mean(axis=0) for part in layer.likely], axis=0)
        best = self.best_patterns(layer, likely)
        # by pattern: what is not a code of the constant's type keeps its own
        bits = layer.mac.weight_bits
        seen, shift = patterns(old, bits, layer.mac.weight_signed)
        numbers = operand_values(bits, layer.mac.weight_signed)
        made = (numbers[best[seen]] - shift).astype(old.dtype)
        mean = layer.mean_change(numbers[best] - numbers)
        return made, int((made != old).sum()), -np.rint(mean).astype(np.int64)

    def best_patterns(self, layer: LayerCodes, likely: np.ndarray) -> np.ndarray:
        """Return the pattern that stands best for each pattern of a weight, *likely* being how often each x is met."""
        w = operand_values(layer.mac.weight_bits, layer.mac.weight_signed)
        x = operand_values(layer.mac.x_bits, layer.mac.x_signed)
        lowest, highest = int(w.min()), int(w.max())
        best = np.arange(len(w))
        products = layer.products.astype(np.float64)
        for pattern, number in enumerate(w.tolist()):
            tried = np.arange(max(lowest, number - self.reach), min(highest, number + self.reach) + 1)
            places = tried % len(w)
            # zero points: what is taken off for w' is x_zero · w'
            errors = products[places] - number * x[None, :] - layer.x_zero * (tried - number)[:, None]
            mean = errors @ likely
            if self.measure == "absolute":
                cost = np.abs(errors) @ likely
            else:
                cost = errors**2 @ likely - (mean**2 if self.measure == "spread" else 0)
            order = np.lexsort((np.abs(tried - number), np.round(cost, 9)))
            best[pattern] = places[order[0]]
        return best
