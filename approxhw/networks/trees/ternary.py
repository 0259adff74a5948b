"""Ternary threshold networks: hidden units count literals (x ≥ c, or its opposite), outputs add units with weights −1, 0, 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from approxhw.common.errors import OptionError, Problem
from approxhw.ir.kinds import Forest

from .boosted import HELD, MOST_STEPS, OpenPrices, open_prices, prior_score, steepness
from .columns import CodeColumns, columns_of
from .priced import checked_labels
from .prices import ADDER, TreePrices
from .scored import ScoredTrees

SHARES = (0.25, 0.5, 0.75, 1.0)
"""Roundings that are tried: the step at this quantile is 1."""

FAR = (-8, 8, -4, 4, -2, 2, -1, 1)
"""Moves of what sums start from."""

UNBOUNDED = 1 << 40
"""No sum starts as far from 0."""

Literal = tuple[int, bool]
"""A split, and whether it counts where the split does not hold."""


@dataclass(frozen=True)
class TernaryNetwork:
    """Options of a ternary threshold network."""

    units: int = field(default=8, metadata={"help": "hidden units, 1 to 256"})
    literals: int = field(default=4, metadata={"help": "literals that a unit counts at most, 1 to 32"})
    price: float = field(default=0.001, metadata={"help": "share of all that can be won that a mm² must win"})
    rate: float = field(default=0.6, metadata={"help": "share of a step that is taken"})
    least: int = field(default=3, metadata={"help": "rows on either side of a unit, at least"})
    bits: int = field(default=4, metadata={"help": "of a code"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        found = [
            Problem(name, f"{getattr(self, name)} is not in {low}…{high}")
            for name, low, high in (("units", 1, 256), ("literals", 1, 32), ("least", 1, 1 << 30))
            if not low <= getattr(self, name) <= high
        ]
        if not 0 <= self.price <= 1e6:
            found.append(Problem("price", f"{self.price:g} is not in 0…1e+06"))
        if not 0 < self.rate <= 1:
            found.append(Problem("rate", f"{self.rate:g} is not above 0 and at most 1"))
        if found:
            raise OptionError("ternary network", found)


@dataclass(frozen=True, eq=False)
class _Unit:
    """A hidden unit: 1 where at least ``reach`` of its literals hold. ``fires``: bool, R."""

    literals: tuple[Literal, ...]
    reach: int
    fires: np.ndarray


def ternary_network(
    codes: np.ndarray,
    labels: np.ndarray,
    classes: int,
    options: TernaryNetwork,
    seed: int = 0,
    prices: TreePrices | None = None,
) -> ScoredTrees:
    """Return a network of ``options.units`` hidden units for *codes* (integers, R × F) and *labels* (R).

    Its ``trees`` count the literals of each unit, its ``table`` adds the units up. Units are boosted: each takes the literals,
    one after the other, that win most of the cross-entropy for their price, and the number of them that must hold. Weights are
    steps of Newton's, rounded to −1, 0 or 1, and then moved by one where fewer rows go wrong. Nothing is random, whatever *seed*.
    """
    return ternary_sizes(codes, labels, classes, options, [options.units], prices)[0]


def ternary_sizes(
    codes: np.ndarray,
    labels: np.ndarray,
    classes: int,
    options: TernaryNetwork,
    units: Sequence[int],
    prices: TreePrices | None = None,
) -> list[ScoredTrees]:
    """Return a network of the first units of one growth, so many as each of *units* says; else as :func:`ternary_network`."""
    labels = checked_labels(codes, labels, classes)
    columns = columns_of(np.asarray(codes), options.bits)
    cost = open_prices(columns, prices)
    base = prior_score(labels, classes)
    score = np.repeat(base[None], len(labels), axis=0)
    made: list[_Unit] = []
    steps: list[np.ndarray] = []
    while len(made) < max(units, default=0):
        slope, bend = steepness(labels, score)
        unit = _next_unit(columns, slope, bend, options, cost)
        if unit is None:
            break
        on, off = unit.fires, ~unit.fires
        up, down = (slope[s].sum(axis=0) / (bend[s].sum(axis=0) + HELD) for s in (on, off))
        # what a unit adds when it is 1; what it adds when it is 0 belongs to the base
        score += options.rate * np.where(on[:, None], up, down)
        base = base + options.rate * down
        made.append(unit)
        steps.append(options.rate * (up - down))
    found = {}
    for size in {min(each, len(made)) for each in units}:
        weights, start = _ternary_weights(labels, classes, base, steps[:size], made[:size])
        found[size] = ScoredTrees(_counters(columns, made[:size]), _adders(made[:size], weights, start))
    return [found[min(each, len(made))] for each in units]


def _next_unit(
    columns: CodeColumns, slope: np.ndarray, bend: np.ndarray, options: TernaryNetwork, cost: OpenPrices
) -> _Unit | None:
    """Return the unit that wins most for its price, and note its comparators in *cost*; None where none wins anything."""
    from .kernels.counting import literal_gains

    counts = np.zeros(len(slope), dtype=np.int64)
    literals: list[Literal] = []
    best, reach = 0.0, 1
    paid = 0.0
    gain = np.empty((2, columns.splits))
    reached = np.empty((2, columns.splits), dtype=np.int64)
    while len(literals) < options.literals and columns.splits:
        literal_gains(
            columns.values, columns.first, counts, len(literals), slope, bend, HELD, options.least, gain, reached
        )
        price = paid + options.price * (cost.now + (ADDER if literals else 0.0))
        worth = np.where(gain > 1e-9, gain / len(slope) - price[None], -np.inf)
        side, split = divmod(int(worth.argmax()), columns.splits)
        if not worth[side, split] > best + 1e-12:
            break
        best, reach, paid = float(worth[side, split]), int(reached[side, split]), float(price[split])
        literals.append((split, bool(side)))
        counts += _holds(columns, split) != bool(side)
        cost.take(split, columns)
    return _Unit(tuple(literals), reach, counts >= reach) if literals else None


def _holds(columns: CodeColumns, split: int) -> np.ndarray:
    """Return where *split* holds (bool, R)."""
    column = int(np.searchsorted(columns.first, split, side="right")) - 1
    return np.asarray(columns.values[column] > split - columns.first[column])


def _ternary_weights(
    labels: np.ndarray, classes: int, base: np.ndarray, steps: Sequence[np.ndarray], units: Sequence[_Unit]
) -> tuple[np.ndarray, np.ndarray]:
    """Return weights in −1…1 (int64, units × classes) and starts of the sums: of several roundings the one of least errors."""
    wanted = np.array(steps).reshape(len(units), classes)
    fires = np.array([unit.fires for unit in units]).reshape(len(units), len(labels))
    best: tuple[int, np.ndarray, np.ndarray] | None = None
    for share in SHARES:
        scale = 1 / max(float(np.quantile(np.abs(wanted), share)), 1e-9) if wanted.size else 1.0
        weights = np.clip(np.rint(wanted * scale), -1, 1).astype(np.int64)
        start = np.rint((base - base.min()) * scale * (len(units) > 0)).clip(0, len(units) + 1).astype(np.int64)
        wrong = _moved_weights(labels, fires, weights, start)
        if best is None or wrong < best[0]:
            best = (wrong, weights, start)
    assert best is not None
    return best[1], best[2]


def _moved_weights(labels: np.ndarray, fires: np.ndarray, weights: np.ndarray, start: np.ndarray) -> int:
    """Move *weights* and *start* in place while fewer rows go wrong, and return how many do. The first of two sums stays 0."""
    if len(start) == 2:
        start[1] -= start[0]
        weights[:, 1] = np.clip(weights[:, 1] - weights[:, 0], -1, 1)
        start[0], weights[:, 0] = 0, 0
    from .kernels.moving import move_numbers

    sums = start + fires.T.astype(np.int64) @ weights
    first = 1 if len(start) == 2 else 0
    rows = [np.flatnonzero(each) for each in fires]
    every, near, far = np.arange(len(labels)), np.array([-1, 1]), np.array(FAR)
    for _ in range(MOST_STEPS):
        saved = move_numbers(labels, sums, every, start, first, far, UNBOUNDED)
        for mine, own in zip(rows, weights, strict=True):
            saved += move_numbers(labels, sums, mine, own, first, near, 1)
        if not saved:
            break
    return int((sums.argmax(axis=1) != labels).sum())


def _counters(columns: CodeColumns, units: Sequence[_Unit]) -> Forest:
    """Return a tree of one node for every literal, which adds 1 to the sum of its unit where the literal holds."""
    pairs = [(u, literal) for u, unit in enumerate(units) for literal in unit.literals]
    count = len(pairs)
    leaves = np.zeros((2 * count, max(1, len(units))), dtype=np.int64)
    for n, (u, (_, opposite)) in enumerate(pairs):
        leaves[2 * n + int(not opposite), u] = 1
    splits = np.array([split for _, (split, _) in pairs], dtype=np.int64)
    column = columns.of_split()[splits] if count else splits
    return Forest(
        np.arange(count),
        columns.feature[column],
        columns.thresholds()[splits] if count else splits,
        ~(2 * np.arange(count) + 1),
        ~(2 * np.arange(count)),
        leaves,
        np.zeros(leaves.shape[1], dtype=np.int64),
    )


def _adders(units: Sequence[_Unit], weights: np.ndarray, start: np.ndarray) -> Forest:
    """Return a tree of one node for every unit, which adds its weights where enough of its literals hold."""
    count = len(units)
    leaves = np.zeros((2 * count, len(start)), dtype=np.int64)
    leaves[1::2] = weights
    return Forest(
        np.arange(count),
        np.arange(count),
        np.array([unit.reach for unit in units], dtype=np.int64),
        ~(2 * np.arange(count) + 1),
        ~(2 * np.arange(count)),
        leaves,
        start,
    )
