"""What a layer may have in a search: every operator with every edit, its energy by real tiles and its harm by statistics."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from approxhw.ir.tensor.operator_errors import LayerCodes
from approxhw.numerics.mac.kernels.table_sums import sum_products
from approxhw.numerics.multipliers.families import EXACT
from approxhw.numerics.multipliers.tables import operand_values
from approxhw.numerics.pareto import pareto_front
from approxhw.passes.integers.narrow_weights import narrowed_patterns
from approxhw.passes.integers.tune_weights import TuneWeights
from approxhw.passes.retrain.fit_weights import FitWeights, read_as

from ..plans import LayerPlan
from .operator_costs import PricedOperators
from .settings import FIT, PLAIN, TUNE, parts_of_edit

RANKS = 2
"""How often the choices that none beats are taken: estimates are not so good that the next ones could be left out."""


@dataclass(frozen=True)
class LayerChoice:
    """Something a layer may have, and its estimates.

    ``energy_fj``: of one product on a real tile. ``harm``: variance of the errors of its sums over the variance of the sums
    themselves, once biases take the mean, times how much of it the model's outputs are seen to feel.
    """

    plan: LayerPlan
    energy_fj: float
    harm: float
    operator: int | None
    """Which of the operators; None: the exact product."""


@dataclass(frozen=True, eq=False)
class LayerRows:
    """What training rows send through a layer: its real tile, and codes of each group of columns, K × S.

    ``x``: P × M patterns of activations on the tile; ``places``: which P weights stand there, as an index into K × N.
    ``samples``: what weights are fitted on, ``held``: other rows, that errors are told on.
    """

    x: np.ndarray
    places: tuple[np.ndarray, np.ndarray]
    samples: tuple[np.ndarray, ...]
    held: tuple[np.ndarray, ...]


def layer_choices(
    layer: LayerCodes,
    rows: LayerRows,
    priced: PricedOperators,
    edits: Sequence[str],
    clock_ns: float,
    *,
    fits: dict[str, np.ndarray] | None = None,
    jobs: int = 1,
) -> tuple[list[LayerChoice], float]:
    """Return what the *layer* may have, cheapest last, and the energy of an exact product (fJ) of weights as they are.

    Choices that others beat in energy and harm are left out after :data:`RANKS` rounds; the exact one always stays. *fits*:
    where fitted weights are kept.
    """
    tile = layer.weights[rows.places]
    plain = min((each.power_mw(rows.x, tile, clock_ns) * clock_ns * 1e3, i) for i, each in enumerate(priced.exact))
    exact = priced.exact[plain[1]]
    exact_choice = LayerChoice(LayerPlan(EXACT), plain[0], 0.0, None)
    errors = SumErrors(layer, rows.held)

    def choice(asked: tuple[int | None, str]) -> LayerChoice:
        number, (bits, moved) = asked[0], parts_of_edit(asked[1])
        operator = exact if number is None else priced.operators[number]
        own = replace(layer, products=operator.table.products)
        weights = edited_weights(own, bits, moved, rows.samples, fits)
        energy = operator.power_mw(rows.x, weights[rows.places], clock_ns) * clock_ns * 1e3
        spelled = EXACT if number is None else operator.spelling
        return LayerChoice(LayerPlan(spelled, bits, moved), energy, errors.harm(own.products, weights), number)

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        # edits are tried with those operators alone that are any good as they are
        alone = _worth([exact_choice, *pool.map(choice, [(number, PLAIN) for number in range(len(priced.operators))])])
        found = [exact_choice] if PLAIN not in edits else alone
        asked = [
            (each.operator, edit)
            for each in alone
            for edit in edits
            if edit != PLAIN and not (each.operator is None and edit in (TUNE, FIT))
        ]
        return _worth([*found, *pool.map(choice, asked)]), plain[0]


def edited_weights(
    layer: LayerCodes,
    bits: int | None,
    moved: str,
    samples: tuple[np.ndarray, ...],
    fits: dict[str, np.ndarray] | None = None,
) -> np.ndarray:
    """Return the weights of *layer* (K × N patterns) as a plan has them: passes of the target make the same ones."""
    if moved == FIT:
        fit = FitWeights() if bits is None else FitWeights(bits=bits)
        return fit.fitted(layer, samples, fits)
    made = layer.weights if bits is None else narrowed_patterns(layer, bits)[layer.weights]
    if moved == TUNE:
        likely = np.mean([part.mean(axis=0) for part in layer.likely], axis=0)
        made = TuneWeights().best_patterns(layer, likely)[made]
    return made


class SumErrors:
    """Errors of a layer's sums on rows that nothing was fitted on, over the spread of its exact sums."""

    def __init__(self, layer: LayerCodes, held: tuple[np.ndarray, ...]) -> None:
        """Make the exact sums of *layer* for *held* (codes, K × S, of each group of columns)."""
        self.layer, self.read = layer, read_as(layer, held)
        w = operand_values(layer.mac.weight_bits, layer.mac.weight_signed)
        x = operand_values(layer.mac.x_bits, layer.mac.x_signed)
        self.numbers, width = w, layer.weights.shape[1] // len(held)
        self.parts = [slice(group * width, (group + 1) * width) for group in range(len(held))]
        self.exact = [
            (x[each] - layer.x_zero).T.astype(np.float64) @ w[layer.weights[:, part]]
            for each, part in zip(self.read, self.parts, strict=True)
        ]

    def harm(self, products: np.ndarray, weights: np.ndarray) -> float:
        """Return the variance of all columns' errors where *weights* (K × N patterns) are multiplied by a table of *products*."""
        errors = spread = 0.0
        for x, part, exact in zip(self.read, self.parts, self.exact, strict=True):
            own = np.ascontiguousarray(weights[:, part])
            made = sum_products(own, x, products) - self.layer.x_zero * self.numbers[own].sum(axis=0)
            errors += float((made - exact).var(axis=0).sum())
            spread += float(exact.var(axis=0).sum())
        return errors / max(spread, 1e-12)


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
