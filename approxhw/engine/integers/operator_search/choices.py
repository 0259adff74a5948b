"""What a layer may have in a search: every operator with every edit, its energy by real tiles and its harm by statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds.tensor.integers import ConvInteger
from approxhw.ir.tensor.integer_layers import integer_nodes
from approxhw.ir.tensor.operator_errors import LayerCodes
from approxhw.numerics.multipliers.families import EXACT
from approxhw.numerics.multipliers.tables import operand_values
from approxhw.numerics.pareto import pareto_front
from approxhw.passes.integers.narrow_weights import narrowed_patterns
from approxhw.passes.integers.tune_weights import TuneWeights

from ..plans import LayerPlan
from .operator_costs import PricedOperators
from .settings import PLAIN, TUNE, bits_of_edit

RANKS = 2
"""How often the choices that none beats are taken: estimates are not so good that the next ones could be left out."""


@dataclass(frozen=True)
class LayerChoice:
    """Something a layer may have, and its estimates.

    ``energy_fj``: of one product on a real tile. ``harm``: variance of the errors of its sums over the variance of the sums
    themselves, once biases take the mean.
    """

    plan: LayerPlan
    energy_fj: float
    harm: float
    operator: int | None
    """Which of the operators; None: the exact product."""


@dataclass(frozen=True, eq=False)
class LayerTile:
    """A real tile of a layer, P × M patterns of activations and P of weights, and the variance of all its columns' sums."""

    x: np.ndarray
    weights: np.ndarray
    variance: float


def layer_choices(
    layer: LayerCodes,
    tile: LayerTile,
    priced: PricedOperators,
    edits: Sequence[str],
    clock_ns: float,
) -> tuple[list[LayerChoice], float]:
    """Return what the *layer* may have, cheapest last, and the energy of an exact product (fJ) of weights as they are.

    Choices that others beat in energy and harm are left out after :data:`RANKS` rounds; the exact one always stays.
    """
    plain = min(
        (each.power_mw(tile.x, tile.weights, clock_ns) * clock_ns * 1e3, i) for i, each in enumerate(priced.exact)
    )
    exact = priced.exact[plain[1]]
    exact_choice = LayerChoice(LayerPlan(EXACT), plain[0], 0.0, None)
    narrow = {edit: bits_of_edit(edit) for edit in (PLAIN, *edits) if edit != TUNE}
    width = 1 << layer.mac.weight_bits
    maps = {edit: np.arange(width) if b is None else narrowed_patterns(layer, b) for edit, b in narrow.items()}
    likely = np.mean([part.mean(axis=0) for part in layer.likely], axis=0)

    def choice(number: int | None, edit: str) -> LayerChoice:
        operator = exact if number is None else priced.operators[number]
        own = replace(layer, products=operator.table.products)
        best = TuneWeights().best_patterns(own, likely) if edit == TUNE else maps[edit]
        energy = operator.power_mw(tile.x, best[tile.weights], clock_ns) * clock_ns * 1e3
        harm = _edited_variance(own, best) / max(tile.variance, 1e-12)
        spelled = EXACT if number is None else operator.spelling
        return LayerChoice(LayerPlan(spelled, bits_of_edit(edit), edit == TUNE), energy, harm, number)

    # edits are tried with those operators alone that are any good as they are
    alone = _worth([exact_choice, *(choice(number, PLAIN) for number in range(len(priced.operators)))])
    found = [exact_choice] if PLAIN not in edits else alone
    for number in [each.operator for each in alone]:
        tried = [edit for edit in edits if edit != PLAIN and not (number is None and edit == TUNE)]
        found += [choice(number, edit) for edit in tried]
    return _worth(found), plain[0]


def _worth(found: list[LayerChoice]) -> list[LayerChoice]:
    """Return the first of *found*, and what no other beats, :data:`RANKS` times over, by falling energy; the first is exact."""
    kept, rest = [found[0]], [each for each in found[1:] if each.energy_fj < found[0].energy_fj]
    for _ in range(RANKS):
        if not rest:
            break
        front = set(pareto_front(np.array([[each.energy_fj, each.harm] for each in rest])))
        kept += [rest[i] for i in sorted(front)]
        rest = [each for i, each in enumerate(rest) if i not in front]
    return sorted(kept, key=lambda each: (-each.energy_fj, each.harm, str(each.plan)))


def _edited_variance(layer: LayerCodes, best: np.ndarray) -> float:
    """Return the variance of all columns' errors where the weight of each pattern becomes *best*, codes being independent."""
    w = operand_values(layer.mac.weight_bits, layer.mac.weight_signed)
    x = operand_values(layer.mac.x_bits, layer.mac.x_signed)
    errors = layer.products.astype(np.float64)[best] - w[:, None] * x[None, :]
    errors -= layer.x_zero * (w[best] - w)[:, None]
    turned = np.ascontiguousarray(errors.T)
    first = layer.by_column(lambda likely: likely @ turned)
    second = layer.by_column(lambda likely: likely @ turned**2)
    return float(np.maximum(second - first**2, 0).sum())


def sum_variances(
    graph: Graph, observe: Callable[[Graph, Callable[[Node, np.ndarray], None]], None]
) -> Mapping[str, float]:
    """Return, by the name of each product of codes, the variance of its sums over rows and places, all columns together."""
    names = {node.name for node in integer_nodes(graph)}
    counts: dict[str, np.ndarray] = {}

    def count(node: Node, value: np.ndarray) -> None:
        if node.name in names:
            axis = 1 if isinstance(node.op, ConvInteger) else value.ndim - 1
            columns = np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1).astype(np.float64)
            told = np.stack([np.full(len(columns), columns.shape[1]), columns.sum(axis=1), (columns**2).sum(axis=1)])
            counts[node.name] = counts.get(node.name, 0) + told

    observe(graph, count)
    return {name: float((each[2] / each[0] - (each[1] / each[0]) ** 2).sum()) for name, each in counts.items()}


def guided_starts(
    choices: Sequence[Sequence[LayerChoice]],
    products: np.ndarray,
    weights: np.ndarray,
    uneven: np.ndarray | None = None,
) -> np.ndarray:
    """Return a genome for each λ of *weights* (P): of each layer the choice of least energy + λ · harm (int32, P × layers).

    *products*: of each layer in one inference. *uneven*: what the harm of each layer counts besides (P × layers).
    """
    energies = [np.array([each.energy_fj for each in layer]) * n for layer, n in zip(choices, products, strict=True)]
    harms = [np.array([each.harm for each in layer]) for layer in choices]
    total = sum(float(each[0]) for each in energies)
    share = np.ones((len(weights), len(choices))) if uneven is None else uneven
    made = [
        [int(np.argmin(e / total + weight * s * h)) for e, h, s in zip(energies, harms, row, strict=True)]
        for weight, row in zip(weights, share, strict=True)
    ]
    return np.array(made, dtype=np.int32).reshape(len(weights), len(choices))


def harm_of(choices: Sequence[Sequence[LayerChoice]], genome: np.ndarray) -> float:
    """Return the estimate of what *genome* does: the sum of its layers' harms."""
    return sum(layer[int(gene)].harm for layer, gene in zip(choices, genome, strict=True))


def energy_of(choices: Sequence[Sequence[LayerChoice]], products: np.ndarray, genome: np.ndarray) -> float:
    """Return the energy of one inference's products in nJ."""
    each = [layer[int(gene)].energy_fj * n for layer, gene, n in zip(choices, genome, products, strict=True)]
    return float(sum(each)) * 1e-6


def operators_of(choices: Sequence[Sequence[LayerChoice]], genome: np.ndarray) -> tuple[int | None, ...]:
    """Return which operators *genome* takes, each once; None is the exact product."""
    used = {layer[int(gene)].operator for layer, gene in zip(choices, genome, strict=True)}
    return tuple(sorted(used, key=lambda each: -1 if each is None else each))
