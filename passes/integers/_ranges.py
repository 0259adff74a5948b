"""Which range of an activation its codes are to hold: all that rows show, or what costs least, by one histogram a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from approxhw.common.errors import PassError, Problem, shown
from approxhw.ir.graph import Graph, Node

RANGES = ("minmax", "mse", "entropy")
"""All that was seen; least squared error; least divergence of the distribution of codes from that of the numbers."""

Range = tuple[float, float]
Observe = Callable[[Graph, Callable[[Node, np.ndarray], None]], None]
"""Carries a Graph out on training rows, batch by batch, and shows every value as it is made."""

BINS, STEPS = 2048, 64
"""Bins of a histogram, and how many ranges are tried."""


def observed_ranges(graph: Graph, names: Sequence[str], how: str, observe: Observe) -> dict[str, Range]:
    """Return the range of every value of *names* by *how*, one of :data:`RANGES`, over the rows that *observe* runs.

    Two runs where not all is kept: one for the ends, one for histograms, so that memory does not grow with the rows. Raises
    :class:`PassError` for values that are no finite numbers.
    """
    ends: dict[str, Range] = {}
    problems: dict[str, Problem] = {}

    def note_ends(node: Node, value: np.ndarray) -> None:
        if node.name not in wanted or not value.size:
            return
        low, high = float(value.min()), float(value.max())
        if not np.isfinite(low) or not np.isfinite(high):
            why = "some of its numbers are infinite or no numbers"
            problems[node.name] = Problem(
                shown(node.origin or node.name, 80), why, "look at the rows, or leave the layer out"
            )
            return
        before = ends.get(node.name, (low, high))
        ends[node.name] = (min(before[0], low), max(before[1], high))

    wanted = set(names)
    observe(graph, note_ends)
    if problems:
        raise PassError("pass quantize-model", list(problems.values()))
    for name in names:
        ends.setdefault(name, (0.0, 0.0))
    if how == "minmax":
        return ends
    counts: dict[str, np.ndarray] = {}

    def count(node: Node, value: np.ndarray) -> None:
        if node.name in wanted and value.size and ends[node.name][0] < ends[node.name][1]:
            found, _ = np.histogram(value.astype(np.float64), BINS, ends[node.name])
            counts[node.name] = counts.get(node.name, 0) + found

    observe(graph, count)
    choose = least_squares if how == "mse" else least_divergence
    return {name: choose(counts[name], ends[name]) if name in counts else ends[name] for name in names}


def _tried(ends: Range) -> list[Range]:
    """Return ranges from the whole one down to a fifth, each end by itself; 0 stays inside."""
    low, high = min(ends[0], 0.0), max(ends[1], 0.0)
    if low == 0 or high == 0:
        return [(low * share, high * share) for share in np.linspace(1.0, 0.2, STEPS)]
    shares = np.linspace(1.0, 0.2, STEPS // 3)
    return [(low * one, high * other) for one in shares for other in shares]


def least_squares(counts: np.ndarray, ends: Range) -> Range:
    """Return the range whose 256 codes have the least squared error over a histogram of *counts* between *ends*."""
    middles = ends[0] + (np.arange(len(counts)) + 0.5) * (ends[1] - ends[0]) / len(counts)
    best, least = ends, np.inf
    for low, high in _tried(ends):
        step = (high - low) / 255
        if step <= 0:
            continue
        clipped = np.clip(middles, low, high)
        inside = (middles == clipped).astype(np.float64)
        # inside, an error is spread evenly over a step; bins of a few values may be finer than it
        error = counts * ((middles - clipped) ** 2 + inside * step * step / 12)
        if (total := float(error.sum())) < least:
            best, least = (low, high), total
    return best


def least_divergence(counts: np.ndarray, ends: Range) -> Range:
    """Return the range whose codes' distribution diverges least (Kullback–Leibler) from that of *counts*, clipped to it."""
    edges = np.linspace(ends[0], ends[1], len(counts) + 1)
    middles, weights = (edges[:-1] + edges[1:]) / 2, counts.astype(np.float64)
    best, least = ends, np.inf
    for low, high in _tried(ends):
        if high <= low:
            continue
        inside = (middles >= low) & (middles <= high)
        if inside.sum() < 256:
            continue
        kept = weights[inside].copy()
        kept[0] += weights[middles < low].sum()
        kept[-1] += weights[middles > high].sum()
        codes = np.minimum(((middles[inside] - low) / (high - low) * 256).astype(int), 255)
        plain = weights[inside]
        sums = np.bincount(codes, plain, 256)
        filled = np.bincount(codes, (plain > 0).astype(float), 256)
        spread = np.where(plain > 0, (sums / np.maximum(filled, 1))[codes], 0.0)
        total, other = kept.sum(), spread.sum()
        if total <= 0 or other <= 0:
            continue
        p, q = kept / total, np.maximum(spread / other, 1e-12)
        divergence = float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())
        if divergence < least:
            best, least = (low, high), divergence
    return best
