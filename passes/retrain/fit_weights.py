"""The pass that fits the weights of each layer to its operator: sums of training rows by the operator follow the exact ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, Problem
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds.tensor.integer_rules import from_stationary
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.tensor.integer_layers import integer_op, weights_last
from approxhw.ir.tensor.layer_samples import layer_samples
from approxhw.ir.tensor.operator_errors import LayerCodes, layer_weights
from approxhw.numerics.mac.integer_mac import patterns
from approxhw.numerics.multipliers.tables import operand_values
from approxhw.passes.integers._biases import moved_biases
from approxhw.passes.integers._editing import Editor, with_weights
from approxhw.passes.integers._operators import chosen_layers, exactly, layer_number_problems
from approxhw.passes.integers.narrow_weights import WIDTH, narrowed_patterns


@dataclass(frozen=True)
class FitWeights:
    """Fit weight codes so that each column's sums by the operator follow its exact sums on samples of training rows.

    Coordinate descent on the spread of a column's error, weight after weight, errors of one made good by the next; what is left
    of the mean goes into biases (correct-bias behind it). *bits*: weights keep so many, as narrow-weights rounds them. Rows are
    seen as the exact model sees them, so that what a layer becomes does not depend on the other layers. Costs nothing in
    hardware. Source: as Frantar et al., *GPTQ*, ICLR 2023, fit roundings, with an operator's table in place of the product.
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True

    bits: int = field(default=WIDTH, metadata={"help": "bits that a weight keeps, 2 to 8"})
    reach: int = field(default=32, metadata={"help": "how many codes a weight may move"})
    samples: int = field(default=4096, metadata={"help": "vectors that a layer's sums are compared on, at most"})
    sweeps: int = field(default=4, metadata={"help": "turns over all weights of a column"})
    layers: tuple[float, ...] | None = field(
        default=None, metadata={"help": "layers by number, from 0; all by default"}
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        found = [
            Problem(f"fit-weights.{name}", f"{getattr(self, name)} does not lie in {low}…{high}")
            for name, low, high in (
                ("bits", 2, WIDTH),
                ("reach", 1, 255),
                ("samples", 16, 1 << 16),
                ("sweeps", 1, 64),
            )
            if not low <= getattr(self, name) <= high
        ]
        found += layer_number_problems("fit-weights", self.layers)
        if found:
            raise OptionError("fit-weights", found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with fitted codes."""
        chosen = {node.name for node in chosen_layers(graph, self.layers, "fit-weights")}
        seen = exact_samples(graph, context.observe, self.samples)
        editor, moved, count, layers = Editor(graph), 0, 0, 0
        moves: dict[str, np.ndarray] = {}
        for node in graph.nodes:
            if node.name in chosen and node.name in seen:
                stays = weights_last(graph, node)[1]
                layer = layer_weights(graph, node, stays)
                if layer.errors.any() or self.bits < layer.mac.weight_bits:
                    fitted = self.fitted(layer, seen[node.name], context.fits, context.threads)
                    moves[node.name] = -np.rint(mean_change(layer, fitted, seen[node.name])).astype(np.int64)
                    moved, count, layers = moved + int((fitted != layer.weights).sum()), count + fitted.size, layers + 1
                    node = with_weights(
                        editor, graph, node, constant_codes(layer, fitted, graph[stays].type.shape, stays), "fitted"
                    )
            editor.nodes.append(node)
        context.note(f"{moved} of {count} weights moved, in {layers} layers")
        return moved_biases(editor.done(), moves)

    def fitted(
        self,
        layer: LayerCodes,
        samples: tuple[np.ndarray, ...],
        known: dict[str, np.ndarray] | None = None,
        threads: int = 1,
    ) -> np.ndarray:
        """Return the weights of *layer* (K × N patterns) as they become for *samples*, codes of each group of columns (K × S).

        *known*: what was found before, where it is kept.
        """
        from approxhw.numerics.mac.kernels.fitted_columns import fitted_columns

        key = self._key(layer, samples)
        if known is not None and key in known:
            return known[key]
        width, made = layer.weights.shape[1] // len(samples), []
        for group, x in enumerate(read_as(layer, samples)):
            columns = layer.weights[:, group * width : (group + 1) * width]
            numbers = allowed_numbers(layer, self.bits)
            found = fitted_columns(
                x, columns, layer.products, layer.mac, numbers,
                x_zero=layer.x_zero, reach=self.reach, sweeps=self.sweeps, threads=threads,
            )  # fmt: skip
            made.append(found)
        fitted = np.concatenate(made, axis=1)
        if known is not None:
            known[key] = fitted
        return fitted

    def _key(self, layer: LayerCodes, samples: tuple[np.ndarray, ...]) -> str:
        """Return a digest of all that fitted weights depend on."""
        mac = layer.mac
        told = (self.bits, self.reach, self.sweeps, layer.x_zero, mac.signed, mac.weight_bits, layer.kind.__name__)
        found = hashlib.sha256(repr(told).encode())
        for array in (layer.weights, layer.products.astype(np.int64), *samples):
            found.update(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return found.hexdigest()


def exact_samples(
    graph: Graph, observe: Callable[[Graph, Callable[[Node, np.ndarray], None]], None] | None, most: int
) -> dict[str, tuple[np.ndarray, ...]]:
    """Return what :func:`layer_samples` does, at most *most* of a layer, of *graph* with all its products exact."""
    return layer_samples(graph, exactly(observe), "fit-weights", most)


def read_as(layer: LayerCodes, samples: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Return *samples* (codes) as patterns that the operator of *layer* reads."""
    return tuple(patterns(x, layer.mac.x_bits, layer.mac.x_signed)[0] for x in samples)


def allowed_numbers(layer: LayerCodes, bits: int) -> list[int]:
    """Return the numbers, rising, that a weight of *layer* may be where it keeps *bits* bits."""
    numbers = operand_values(layer.mac.weight_bits, layer.mac.weight_signed)
    found: list[int] = np.unique(numbers[narrowed_patterns(layer, bits)]).tolist()
    return found


def mean_change(layer: LayerCodes, fitted: np.ndarray, samples: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return by how much the exact sum of each column of *layer* is greater on average where *fitted* are its weights."""
    numbers = operand_values(layer.mac.weight_bits, layer.mac.weight_signed)
    change = numbers[fitted] - numbers[layer.weights]
    x = operand_values(layer.mac.x_bits, layer.mac.x_signed)
    width = change.shape[1] // len(samples)
    means = [x[part].mean(axis=1) - layer.x_zero for part in read_as(layer, samples)]
    return np.concatenate([mean @ change[:, g * width : (g + 1) * width] for g, mean in enumerate(means)])


def constant_codes(layer: LayerCodes, fitted: np.ndarray, shape: tuple[int, ...], stays: str) -> np.ndarray:
    """Return *fitted* (K × N patterns) as the constant *stays* of *layer*'s Node holds its weights, of *shape*."""
    numbers = operand_values(layer.mac.weight_bits, layer.mac.weight_signed)
    _, shift = patterns(np.zeros(1, layer.kind), layer.mac.weight_bits, layer.mac.weight_signed)
    turned = stays == layer.node.inputs[0]
    return from_stationary(integer_op(layer.node), (numbers[fitted] - shift).astype(layer.kind), shape, turned)
