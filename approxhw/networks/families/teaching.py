"""What learners learn from: the labels of rows, or the classes that a teacher gives to noisy copies of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from approxhw.common.errors import OptionError, Problem

Teacher = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]]
"""(codes, labels) → what answers codes (R × F → classes, R). It is fitted on these rows alone, fold after fold: one that saw the
rows that judge would hand their labels on."""


@dataclass(frozen=True)
class Teaching:
    """A teacher, and the copies of the rows that it names."""

    teacher: Teacher
    copies: int = field(default=8, metadata={"help": "copies of the rows, 1 to 64: the first are the rows themselves"})
    noise: float = field(default=0.2, metadata={"help": "probability that a code of a copy is off by one"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        found = []
        if not 1 <= self.copies <= 64:
            found.append(Problem("copies", f"{self.copies} is not in 1…64"))
        if not 0 <= self.noise <= 1:
            found.append(Problem("noise", f"{self.noise:g} is not in 0…1"))
        if found:
            raise OptionError("teaching", found)


def taught_rows(
    codes: np.ndarray, labels: np.ndarray, teaching: Teaching, bits: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return noisy copies of *codes* (integers of *bits* bits, R × F), and the classes that the teacher fitted on them gives."""
    copies = noisy_copies(codes, teaching.copies, teaching.noise, bits, seed)
    return copies, np.asarray(teaching.teacher(codes, labels)(copies), dtype=np.int64)


def noisy_copies(codes: np.ndarray, copies: int, noise: float, bits: int, seed: int) -> np.ndarray:
    """Return *copies* of *codes* (R × F), one below the other, the first as they are: of others each code may be one off."""
    rng = np.random.default_rng(seed)
    seen = np.repeat(np.asarray(codes, dtype=np.int64)[None], copies, axis=0)
    moves = rng.choice([-1, 0, 1], seen.shape, p=[noise / 2, 1 - noise, noise / 2])
    moves[0] = 0
    return np.clip(seen + moves, 0, (1 << bits) - 1).reshape(-1, seen.shape[2])
