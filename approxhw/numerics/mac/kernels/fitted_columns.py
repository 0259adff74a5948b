"""Weights of whole columns fitted to sampled sums: coordinate descent on the spread of each column's error, in Numba."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from approxhw.numerics.multipliers.tables import operand_values

from ..integer_mac import IntegerMac
from .table_sums import shared_out


def fitted_columns(
    x: np.ndarray,
    weights: np.ndarray,
    products: np.ndarray,
    mac: IntegerMac,
    allowed: Sequence[int],
    *,
    x_zero: int = 0,
    reach: int = 32,
    sweeps: int = 4,
    threads: int = 1,
) -> np.ndarray:
    """Return patterns of weights (K × N, as *weights*) whose sums by an operator follow the exact sums of *weights*.

    *x*: K × S bit patterns, S samples of what streams; *products*: the operator's table; *allowed*: rising numbers that a
    weight may become, at most *reach* places of them away from its own. What is made least, one weight after another and in
    *sweeps* turns, is Σ_s (e_s − mean e)² of a column's error e_s = Σ_k T[w'_k, x_ks] − x_zero w'_k − w_k (x_ks − x_zero): a
    bias takes the mean. Few samples do not say how errors of many steps go together: a share K² / (K² + S²) of what counts is
    the sum of each step's own spread. The start are weights that are best by themselves, or those nearest to what they
    were, whichever err less together; of equals the first stays. The result
    does not depend on *threads*. Raises ``ValueError`` where shapes do not fit, nothing is allowed or there are no samples.
    """
    if x.ndim != 2 or weights.ndim != 2 or len(x) != len(weights):
        raise ValueError(f"x {x.shape} and weights {weights.shape} do not fit")
    if not len(allowed):
        raise ValueError("no weight is allowed")
    if not x.shape[1]:
        raise ValueError("there are no samples")
    w, values = operand_values(mac.weight_bits, mac.weight_signed), operand_values(mac.x_bits, mac.x_signed)
    numbers = np.array(allowed, dtype=np.int64)
    # what a weight adds to a sum: by x, then by the place of its number among those allowed
    adds = products.astype(np.int64)[numbers % len(w)].T - x_zero * numbers[None, :]
    wanted = np.ascontiguousarray(w[weights].T)
    places = np.searchsorted(numbers, wanted).clip(0, len(numbers) - 1)
    counts = np.stack([np.bincount(row, minlength=len(values)) for row in x]) if len(x) else np.zeros((0, len(values)))
    real, known = adds.astype(np.float64), counts.astype(np.float64)
    steps = _Steps(
        np.ascontiguousarray(x),
        # samples by what x is, so that errors of one x lie in one run
        np.argsort(x, axis=1, kind="stable").astype(np.int32),
        np.cumsum(np.pad(counts, ((0, 0), (1, 0))), axis=1),
        known @ real**2,
        known @ real,
        (known * (values - x_zero)) @ real,
    )
    made = np.zeros(wanted.shape, np.int64)
    alone = len(x) ** 2 / (len(x) ** 2 + x.shape[1] ** 2)

    def work(part: slice) -> None:
        _fit(*steps, wanted[part], adds, real, values - x_zero, places[part], reach, sweeps, alone, made[part])

    shared_out(work, len(wanted), threads)
    fitted: np.ndarray = (numbers[made.T] % len(w)).astype(weights.dtype)
    return fitted


class _Steps(NamedTuple):
    """What is known of each step of a sum before a weight is chosen; K rows each."""

    x: np.ndarray
    order: np.ndarray
    starts: np.ndarray
    """Of each code's run in ``order``."""
    squares: np.ndarray
    """Σ over samples of what each candidate adds, squared."""
    sums: np.ndarray
    along: np.ndarray
    """Σ of what each candidate adds times x."""


@njit(cache=True, nogil=True)
def _fit(
    x: np.ndarray,
    order: np.ndarray,
    starts: np.ndarray,
    squares: np.ndarray,
    sums: np.ndarray,
    along_x: np.ndarray,
    wanted: np.ndarray,
    adds: np.ndarray,
    real: np.ndarray,
    values: np.ndarray,
    places: np.ndarray,
    reach: int,
    sweeps: int,
    alone: float,
    made: np.ndarray,
) -> None:
    """Fill *made* (N × K, places among the allowed) for *wanted* (N × K, numbers) that stand at *places* or next to them."""
    depth, samples = x.shape
    codes, width = adds.shape
    costs, joint, errors = np.empty(width), np.empty(width), np.empty(samples, np.int64)
    nearest = np.empty(samples, np.int64)
    along, delta = np.empty(codes, np.int64), np.empty(codes, np.int64)
    for n in range(len(wanted)):
        # the start: each weight as it is best by itself, or as it was, whichever errs less together
        errors[:] = 0
        nearest[:] = 0
        own_best, own_nearest = 0.0, 0.0
        for k in range(depth):
            low, high = max(0, places[n, k] - reach), min(width, places[n, k] + reach + 1)
            _by_itself(wanted[n, k], starts[k], values, squares[k], sums[k], along_x[k], low, high, samples, costs)
            best = _least(costs, low, high, places[n, k])
            own_best, own_nearest = own_best + costs[best], own_nearest + costs[places[n, k]]
            for s in range(samples):
                exact = wanted[n, k] * values[x[k, s]]
                errors[s] += adds[x[k, s], best] - exact
                nearest[s] += adds[x[k, s], places[n, k]] - exact
            made[n, k] = best
        if (
            alone * own_nearest + (1.0 - alone) * _spread(nearest)
            < alone * own_best + (1.0 - alone) * _spread(errors) - 0.5
        ):
            made[n] = places[n]
            errors[:] = nearest
        total = errors.sum()
        for _ in range(sweeps):
            changed = False
            for k in range(depth):
                now, start = made[n, k], starts[k]
                low, high = max(0, places[n, k] - reach), min(width, places[n, k] + reach + 1)
                _by_itself(wanted[n, k], start, values, squares[k], sums[k], along_x[k], low, high, samples, costs)
                # against the errors of all the others
                _gather(errors, order[k], start, total, along)
                for code in range(codes):
                    along[code] -= (start[code + 1] - start[code]) * adds[code, now]
                mean = sums[k, now] - total
                for i in range(low, high):
                    joint[i] = squares[k, i]
                _add_scaled(along, real, low, high, joint)
                for i in range(low, high):
                    costs[i] = alone * costs[i] + (1.0 - alone) * (joint[i] - (sums[k, i] - mean) ** 2 / samples)
                best = _least(costs, low, high, now)
                if best != now:
                    changed = True
                    for code in range(codes):
                        delta[code] = adds[code, best] - adds[code, now]
                        total += (start[code + 1] - start[code]) * delta[code]
                    for s in range(samples):
                        errors[s] += delta[x[k, s]]
                    made[n, k] = best
            if not changed:
                break


@njit(cache=True, nogil=True)
def _by_itself(
    wanted: int,
    start: np.ndarray,
    values: np.ndarray,
    squares: np.ndarray,
    sums: np.ndarray,
    along_x: np.ndarray,
    low: int,
    high: int,
    samples: int,
    costs: np.ndarray,
) -> None:
    """Fill *costs*, from *low* to *high*, with the spread of one step's own error, but for what is the same for all."""
    mean = wanted * _dot(start, values)
    for i in range(low, high):
        costs[i] = squares[i] - 2.0 * wanted * along_x[i] - (sums[i] - mean) ** 2 / samples


@njit(cache=True, nogil=True)
def _least(costs: np.ndarray, low: int, high: int, now: int) -> int:
    """Return the place of the least of *costs* from *low* to *high*: *now* where none is less by more than rounding."""
    best = now
    for i in range(low, high):
        if costs[i] < costs[best] - 0.5:
            best = i
    return best


@njit(cache=True, nogil=True)
def _spread(errors: np.ndarray) -> float:
    """Return Σ (e − mean e)²."""
    squares, total = 0.0, 0.0
    for error in errors:
        squares += float(error) * float(error)
        total += float(error)
    return squares - total * total / len(errors)


@njit(cache=True, nogil=True)
def _dot(start: np.ndarray, values: np.ndarray) -> float:
    """Return the sum of x over all samples."""
    found = 0.0
    for code in range(len(values)):
        found += (start[code + 1] - start[code]) * values[code]
    return found


@njit(cache=True, nogil=True)
def _add_scaled(along: np.ndarray, real: np.ndarray, low: int, high: int, costs: np.ndarray) -> None:
    """Add 2 Σ along[code] · real[code] to *costs*, from *low* to *high*: four codes at a time, those of 0 left out."""
    code, codes = 0, len(along)
    while code < codes:
        one = two = three = four = 0
        taken = 0
        while code < codes and taken < 4:
            if along[code]:
                one, two, three, four = two, three, four, code
                taken += 1
            code += 1
        if taken == 4:
            a, b, c, d = 2.0 * along[one], 2.0 * along[two], 2.0 * along[three], 2.0 * along[four]
            for i in range(low, high):
                costs[i] += a * real[one, i] + b * real[two, i] + c * real[three, i] + d * real[four, i]
        else:
            for left in range(4 - taken, 4):
                at = (one, two, three, four)[left]
                for i in range(low, high):
                    costs[i] += 2.0 * along[at] * real[at, i]


@njit(cache=True, nogil=True)
def _gather(errors: np.ndarray, order: np.ndarray, start: np.ndarray, total: int, along: np.ndarray) -> None:
    """Fill *along* with the sum of the *errors* (in all *total*) of each code; the most frequent one has what is left."""
    most, rest = 0, total
    for code in range(len(along)):
        if start[code + 1] - start[code] > start[most + 1] - start[most]:
            most = code
    for code in range(len(along)):
        found = np.int64(0)
        if code != most:
            for s in range(start[code], start[code + 1]):
                found += errors[order[s]]
        along[code] = found
        rest -= found
    along[most] = rest
