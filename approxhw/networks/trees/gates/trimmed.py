"""Trees whose gates are trimmed by rows: what rows do not need goes, while rows set aside lose no more than a share.

Nothing is synthesised, so that folds may judge it: gates are those of ``tree_gates.py``, areas about what they will be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from approxhw.ir.kinds import Forest
from approxhw.numerics.logic.gates import GateList, bits_that_count, run_gates
from approxhw.numerics.logic.removal import care_rows, removed_along

from .tree_gates import priced_gates, tree_gates

LOSSES = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.04)
"""Shares of rows set aside that may be lost. Gates go in this order, so that what a loss leaves is the same whoever asks."""

ASIDE, COPIES, NOISE, CANDIDATES, MOST_ROWS = 0.3, 4, 0.2, 4, 10_000
"""Share of rows set aside, noisy copies of the others, chance of a code to be one off, signals tried, rows looked at at most."""


@dataclass(frozen=True, eq=False)
class TrimmedTree:
    """Gates over codes of ``bits`` bits that name one of ``classes`` classes."""

    gates: GateList
    bits: int
    classes: int

    @property
    def width(self) -> int:
        """Bits of the class."""
        return len(self.gates.outputs)

    @property
    def read(self) -> np.ndarray:
        """Which codes of a row (numbers, rising) may decide something."""
        return np.flatnonzero(bits_that_count(self.gates).reshape(-1, self.bits).any(axis=1))

    def answers(self, codes: np.ndarray) -> np.ndarray:
        """Return the class of each of *codes* (integers, R × F): int64, R; a number beyond the last class is brought back."""
        from approxhw.ir.kinds import Gates

        whole = Gates(self.gates, self.bits, self.classes).whole
        return run_gates(whole, np.asarray(codes, dtype=np.int64), self.bits, self.width).reshape(-1)

    def area(self) -> float:
        """Return about what it costs in mm²."""
        return priced_gates(self.gates).area_mm2


def trimmed_tree(
    codes: np.ndarray, labels: np.ndarray, classes: int, bits: int, tree: Forest, losses: Sequence[float], seed: int = 0
) -> list[TrimmedTree]:
    """Return *tree*, as gates, within each of *losses* (some of :data:`LOSSES`) on a share of the rows that no move sees.

    *codes*: integers, R × F; *labels*: R. Where no row can be set aside nothing goes. The same arguments give the same gates.
    """
    if unknown := set(losses) - set(LOSSES):
        raise ValueError(f"losses {sorted(unknown)} are none of {LOSSES}")
    start = tree_gates(tree, codes.shape[1], bits, max(1, (classes - 1).bit_length()))
    rng = np.random.default_rng([seed, 13])
    rows = care_rows(
        codes, labels, aside=ASIDE, copies=COPIES, noise=NOISE, high=(1 << bits) - 1, most=MOST_ROWS, rng=rng
    )
    found = dict.fromkeys(losses, start)
    if len(rows.codes) and len(rows.aside_codes) and len(start.gates.functions):
        asked = [loss for loss in LOSSES if loss <= max(losses)]
        made = removed_along(start, rows, bits, priced_gates, losses=asked, candidates=CANDIDATES, rng=rng)
        found = {loss: each.mapped for loss, each in zip(asked, made, strict=True)}
    return [TrimmedTree(found[loss].gates, bits, classes) for loss in losses]
