"""What a node may look at: columns of single features, and of sums and differences of two."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from approxhw.common.errors import OptionError, Problem
from approxhw.ir.kinds import Forest

from .tree import Sketch

MOST_BITS = 8
"""Bits of a code that trees are learnt on: what has more is better read by fewer levels first."""

MOST_PAIRED = 24
"""Features that are paired at most: those that tell the classes apart best alone."""

MOST_CUTS = 1 << 18
"""Cuts of all columns together."""


@dataclass(frozen=True, eq=False)
class CodeColumns:
    """K columns of R rows of small whole numbers ≥ 0. Column k is x[feature] + sign · x[other] − ``least``[k]."""

    values: np.ndarray
    """uint16, K × R."""
    feature: np.ndarray
    other: np.ndarray
    """int64, K; −1: none."""
    sign: np.ndarray
    least: np.ndarray
    first: np.ndarray
    """int64, K + 1: cut c of column k (c ≥ 1: at least c) is split number first[k] + c − 1."""
    bits: int
    """Of a code."""

    @property
    def splits(self) -> int:
        """How many (column, cut) there are."""
        return int(self.first[-1])

    def of_split(self) -> np.ndarray:
        """Return the column of each split (int64)."""
        return np.repeat(np.arange(len(self.feature)), np.diff(self.first))

    def thresholds(self) -> np.ndarray:
        """Return what x[feature] + sign · x[other] must reach, for each split (int64)."""
        column = self.of_split()
        return np.arange(self.splits) - self.first[column] + 1 + self.least[column]

    def kept(self, wanted: np.ndarray) -> KeptColumns:
        """Return those of single features, and those *wanted* (numbers): of many pairs few are worth a second look."""
        chosen = np.union1d(np.flatnonzero(self.other < 0), wanted)
        if len(chosen) == len(self.feature):
            return KeptColumns(self, chosen)
        width = np.diff(self.first)[chosen]
        first = np.concatenate([[0], np.cumsum(width)])
        kept = CodeColumns(
            self.values[chosen], self.feature[chosen], self.other[chosen], self.sign[chosen], self.least[chosen], first, self.bits
        )  # fmt: skip
        return KeptColumns(kept, chosen)


@dataclass(frozen=True, eq=False)
class KeptColumns:
    """Some of the columns that there were, and their numbers there (ascending)."""

    columns: CodeColumns
    numbers: np.ndarray

    def moved(self, sketch: Sketch) -> Sketch:
        """Return *sketch* over all columns as one over these."""
        return replace(sketch, column=np.searchsorted(self.numbers, sketch.column))


def columns_of(codes: np.ndarray, bits: int, paired: np.ndarray | None = None) -> CodeColumns:
    """Return the columns of *codes* (integers, R × F, each in 0…2^bits − 1); *paired*: features that are paired, too.

    Raises :class:`OptionError` for codes out of range, or more cuts than can be held.
    """
    codes = np.asarray(codes)
    found = []
    if codes.ndim != 2 or codes.dtype.kind not in "iu":
        found.append(
            Problem("codes", f"an array of shape {codes.shape} and {codes.dtype}: whole numbers, rows × features")
        )
    elif not 1 <= bits <= MOST_BITS:
        why = f"trees are learnt on codes of 1…{MOST_BITS} bits, these have {bits}"
        found.append(Problem("codes", why, f"quantize-inputs{{bits={MOST_BITS}}} or fewer"))
    elif codes.size and (codes.min() < 0 or codes.max() >= 1 << bits):
        found.append(Problem("codes", f"from {codes.min()} to {codes.max()}, not in 0…{(1 << bits) - 1}"))
    if found:
        raise OptionError("trees", found)
    features, top = codes.shape[1], (1 << bits) - 1
    spec = [(i, -1, 1, 0, top) for i in range(features)]
    chosen = [] if paired is None else sorted(paired.tolist())
    for a, i in enumerate(chosen):
        for j in chosen[a + 1 :]:
            spec += [(i, j, 1, 0, 2 * top), (i, j, -1, -top, 2 * top)]
    cuts = sum(entry[4] for entry in spec)
    if cuts > MOST_CUTS:
        why = f"{features} features of {bits} bits make {cuts} cuts, {MOST_CUTS} can be held"
        raise OptionError("trees", [Problem("codes", why, "fewer features, or fewer bits")])
    values = np.empty((len(spec), len(codes)), dtype=np.uint16)
    signed = codes.astype(np.int64).T
    for k, (i, j, sign, least, _) in enumerate(spec):
        values[k] = signed[i] if j < 0 else signed[i] + sign * signed[j] - least
    feature, other, sign_of, least_of, width = (
        (np.array(part, dtype=np.int64) for part in zip(*spec, strict=True))
        if spec
        else (np.zeros(0, dtype=np.int64),) * 5
    )
    return CodeColumns(values, feature, other, sign_of, least_of, np.concatenate([[0], np.cumsum(width)]), bits)


def code_trees(sketch: Sketch, columns: CodeColumns, classes: int) -> Forest:
    """Return *sketch* over *columns* in the numbering of the IR, with one of *classes* sums a leaf that is 1."""
    leaves = np.zeros((len(sketch.labels), classes), dtype=np.int64)
    leaves[np.arange(len(leaves)), sketch.labels] = 1
    return Forest(
        np.array([sketch.root], dtype=np.int64),
        columns.feature[sketch.column],
        sketch.cut + columns.least[sketch.column],
        sketch.high,
        sketch.low,
        leaves,
        np.zeros(classes, dtype=np.int64),
        columns.other[sketch.column],
        columns.sign[sketch.column],
    )
