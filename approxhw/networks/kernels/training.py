"""Quantisation-aware training of masked power-of-two networks: weights settle on powers of two, the largest first.

Forward goes the integer network itself, its whole numbers held in float64 (exact below 2^53), but for weights that have
not settled yet and are real; backward slopes pass straight through all rounding; Adam moves what moves. Only +, −, ×, ÷, square
roots and floor are used, in a fixed order, with an exponential and a logarithm made of them: no library function whose last bit
depends on the machine. One seed therefore gives one result wherever floating point is IEEE 754 and nothing fuses × and +.

A *latent* is an array like a genome (``approxhw/networks/space.py``), of float64: real-valued weights stand where the genome has
exponents, real-valued biases and the shift where it has its own; what else there is is unused.
"""

from __future__ import annotations

import numba
import numpy as np

from .portable import LN2, below, exponential, exponentials, natural_log, random_bits

EPOCHS, BATCH, KEEP_LOSS, MOVE_SHIFTS, SEED = range(5)
"""Places in the array of whole settings (int64): ``KEEP_LOSS`` 1: the least loss is kept, 0: the fewest errors;
``MOVE_SHIFTS``: epochs after which shifts may move."""

RATE, LAST_RATE, L1, JITTER, LEAK, TEMPERATURE_RATE, SETTLE_FROM, SETTLE_TO = range(8)
"""Places in the array of real settings (float64). ``SETTLE_TO`` 0: weights are rounded from the first step on, and all move."""

_LANES = 8
_BLOCK = 256


@numba.njit(cache=True, nogil=True, error_model="numpy")
def quantise(
    layout: np.ndarray, lower: np.ndarray, upper: np.ndarray, masks: np.ndarray, latent: np.ndarray,
    settled: np.ndarray, real: np.ndarray,
) -> None:  # fmt: skip
    """Fill *real* with what *latent* stands for: whole biases, weights 0 or ±2^k (the nearest by value) where *settled*."""
    for layer in range(layout.shape[0]):
        n, m, _, mask, _, exponent, bias, _, _ = layout[layer]
        for at in range(m * n):
            value = latent[exponent + at]
            size, power = abs(value), 1.0
            if masks[mask + at] == 0 or (settled[exponent + at] and size < 0.5):
                real[exponent + at] = 0.0
            elif settled[exponent + at]:
                for _ in range(upper[exponent + at]):
                    if size >= 1.5 * power:
                        power *= 2.0
                real[exponent + at] = power if value > 0.0 else -power
            else:
                real[exponent + at] = value
        for o in range(m):
            whole = np.floor(latent[bias + o] + 0.5)
            real[bias + o] = min(max(whole, float(lower[bias + o])), float(upper[bias + o]))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _settle(
    layout: np.ndarray, upper: np.ndarray, masks: np.ndarray, share: float, latent: np.ndarray, real: np.ndarray,
    settled: np.ndarray,
) -> None:  # fmt: skip
    """Let the *share* of all weights that is largest settle on its powers of two (*real*), for good.

    Steps between large powers are the coarsest: smaller weights, still free, make up for what is lost there.
    """
    size, order = np.empty(latent.size), np.empty(latent.size, np.int64)
    free = there = 0
    for layer in range(layout.shape[0]):
        n, m, _, mask, _, exponent, _, _, _ = layout[layer]
        for at in range(m * n):
            place = exponent + at
            there += 1 if masks[mask + at] else 0
            if masks[mask + at] and not settled[place]:
                order[free] = place
                size[place] = abs(latent[place]) / _power(upper[place])
                free += 1
    gap = free // 2
    while gap:  # Shell's sort, the largest first: a library's would take seconds to compile
        for i in range(gap, free):
            place, j = order[i], i
            while j >= gap and (size[order[j - gap]], -order[j - gap]) < (size[place], -place):
                order[j] = order[j - gap]
                j -= gap
            order[j] = place
        gap //= 2
    for rank in range(int(share * there) - (there - free)):
        settled[order[rank]] = 1
        latent[order[rank]] = real[order[rank]]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _power(k: int) -> float:
    """Return 2^k."""
    p = 1.0
    for _ in range(abs(k)):
        p *= 2.0
    return p if k >= 0 else 1.0 / p


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _forward(
    layout: np.ndarray, masks: np.ndarray, real: np.ndarray, shifts: np.ndarray, whole: np.ndarray, acts: np.ndarray,
    sums: np.ndarray,
) -> None:  # fmt: skip
    """Fill *sums* and *acts* (layer × neuron × row) from ``acts[0]``; *whole*: the same activations as int32."""
    lanes = acts.shape[2]
    for layer in range(layout.shape[0]):
        n, m, bits_in, mask, _, exponent, bias, _, bits = layout[layer]
        everything = (1 << bits_in) - 1
        for o in range(m):
            total = sums[layer, o]
            start = real[bias + o]
            for r in range(lanes):
                total[r] = start
            for i in range(n):
                w, seen = real[exponent + o * n + i], masks[mask + o * n + i]
                if w == 0.0:
                    continue
                if seen == everything:
                    x = acts[layer, i]
                    for r in range(lanes):
                        total[r] += w * x[r]
                else:
                    codes, seen = whole[layer, i], np.int32(seen)
                    for r in range(lanes):
                        total[r] += w * np.float64(codes[r] & seen)
            if layer + 1 < layout.shape[0]:
                scale, top = _power(-shifts[layer]), float((1 << bits) - 1)
                h, codes = acts[layer + 1, o], whole[layer + 1, o]
                for r in range(lanes):
                    value = min(max(np.floor(total[r] * scale), 0.0), top)
                    h[r] = value
                    codes[r] = np.int32(value)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _probabilities(
    kind: int, outputs: int, temperature: float, sums: np.ndarray, shares: np.ndarray, bits: np.ndarray,
    largest: np.ndarray,
) -> None:  # fmt: skip
    """Fill *shares* (class × row; one row for a single logit) with class probabilities, and *largest*, for the loss.

    Softmax of temperature · sums; for a single logit the probability of class 1, which begins between 0 and 1.
    *largest* becomes the sum of exponentials.
    """
    lanes = sums.shape[1]
    if kind == 1:
        logit, share = sums[0], shares[0]
        for r in range(lanes):
            share[r] = -abs(temperature * (logit[r] - 0.5))
        exponentials(share, bits, share)
        for r in range(lanes):
            largest[r] = 1.0 + share[r]
            share[r] = (1.0 if logit[r] > 0.0 else share[r]) / largest[r]
        return
    for r in range(lanes):
        largest[r] = sums[0, r]
    for o in range(1, outputs):
        logit = sums[o]
        for r in range(lanes):
            largest[r] = max(largest[r], logit[r])
    for o in range(outputs):
        logit, share = sums[o], shares[o]
        for r in range(lanes):
            share[r] = temperature * (logit[r] - largest[r])
        exponentials(share, bits, share)
    for r in range(lanes):
        largest[r] = shares[0, r]
    for o in range(1, outputs):
        share = shares[o]
        for r in range(lanes):
            largest[r] += share[r]
    for o in range(outputs):
        share = shares[o]
        for r in range(lanes):
            share[r] /= largest[r]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _dot(a: np.ndarray, b: np.ndarray, sums: np.ndarray) -> float:
    """Return Σ a·b, summed in eight lanes in a fixed order; the length is a multiple of eight."""
    for j in range(_LANES):
        sums[j] = 0.0
    for r in range(0, a.size, _LANES):
        for j in range(_LANES):
            sums[j] += a[r + j] * b[r + j]
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _backward(
    layout: np.ndarray, masks: np.ndarray, real: np.ndarray, shifts: np.ndarray, leak: float, whole: np.ndarray,
    acts: np.ndarray, sums: np.ndarray, slopes: np.ndarray, gradient: np.ndarray, scratch: np.ndarray,
) -> None:  # fmt: skip
    """Fill *gradient* from the slopes of the last sums; straight through floors and masks.

    Where QReLU cuts off, *leak* of the slope passes, so that no neuron is lost for good.
    """
    lanes = acts.shape[2]
    ones, masked, eight = scratch[0], scratch[1], scratch[2]
    for layer in range(layout.shape[0] - 1, -1, -1):
        n, m, bits_in, mask, _, exponent, bias, _, _ = layout[layer]
        everything = (1 << bits_in) - 1
        for o in range(m):
            slope = slopes[layer, o]
            gradient[bias + o] = _dot(slope, ones, eight)
            for i in range(n):
                at, seen = exponent + o * n + i, masks[mask + o * n + i]
                if seen == everything:
                    gradient[at] = _dot(slope, acts[layer, i], eight)
                elif seen:
                    codes, seen = whole[layer, i], np.int32(seen)
                    for r in range(lanes):
                        masked[r] = np.float64(codes[r] & seen)
                    gradient[at] = _dot(slope, masked, eight)
                else:
                    gradient[at] = 0.0
        if layer == 0:
            return
        scale = _power(-shifts[layer - 1])
        end = float(everything + 1) / scale
        for i in range(n):
            below, total = slopes[layer - 1, i], sums[layer - 1, i]
            for r in range(lanes):
                below[r] = 0.0
            for o in range(m):
                w = real[exponent + o * n + i]
                if w != 0.0:
                    slope = slopes[layer, o]
                    for r in range(lanes):
                        below[r] += w * slope[r]
            for r in range(lanes):
                inside = total[r] >= 0.0 and total[r] < end
                below[r] *= scale if inside else scale * leak


@numba.njit(cache=True, nogil=True, error_model="numpy")
def errors_and_loss(
    layout: np.ndarray, kind: int, masks: np.ndarray, real: np.ndarray, shifts: np.ndarray, temperature: float,
    codes: np.ndarray, labels: np.ndarray, weights: np.ndarray, reach: np.ndarray,
) -> tuple[float, float]:  # fmt: skip
    """Return (errors, loss), both weighted by row, of the integer network on all rows (*codes*: features × rows).

    *reach* (layers × 2) becomes the number of hidden values that saturate, and that would with a shift one less.
    """
    rows, features, layers, batch = codes.shape[1], codes.shape[0], layout.shape[0], _BLOCK
    widest = max(features, layout[:, 1].max())
    acts = np.zeros((layers + 1, widest, batch))
    whole = np.zeros((layers + 1, widest, batch), np.int32)
    sums, shares = np.zeros((layers, widest, batch)), np.zeros((widest, batch))
    bits, largest = np.zeros(batch), np.zeros(batch)
    outputs = layout[layers - 1, 1]
    errors, loss = 0.0, 0.0
    reach[:] = 0
    for first in range(0, rows, batch):
        count = min(batch, rows - first)
        for i in range(features):
            for r in range(count):
                whole[0, i, r] = codes[i, first + r]
                acts[0, i, r] = codes[i, first + r]
        _forward(layout, masks, real, shifts, whole, acts, sums)
        _probabilities(kind, outputs, temperature, sums[layers - 1], shares, bits, largest)
        for r in range(count):
            label, weight = labels[first + r], weights[first + r]
            if weight == 0.0:
                continue
            if kind == 1:
                logit = sums[layers - 1, 0, r]
                right = (logit > 0.0) == (label == 1)
                distance = 0.0 if right else abs(temperature * (logit - 0.5))
            else:
                best = 0
                for o in range(1, outputs):
                    if sums[layers - 1, o, r] > sums[layers - 1, best, r]:
                        best = o
                right = best == label
                distance = temperature * (sums[layers - 1, best, r] - sums[layers - 1, label, r])
            errors += 0.0 if right else weight
            loss += weight * (distance + natural_log(largest[r]))
        for layer in range(layers - 1):
            end = _power(shifts[layer] + layout[layer, 8])
            for o in range(layout[layer, 1]):
                for r in range(count):
                    if sums[layer, o, r] >= 0.5 * end:
                        reach[layer, 1] += 1
                        if sums[layer, o, r] >= end:
                            reach[layer, 0] += 1
    return errors, loss


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _move_shifts(
    layout: np.ndarray, upper: np.ndarray, shifts: np.ndarray, latent: np.ndarray, logarithm: float, reach: np.ndarray,
    rows: int,
) -> float:  # fmt: skip
    """Move every shift by one where too much saturates or the top bit is hardly used; return the new log of the temperature."""
    for layer in range(layout.shape[0] - 1):
        cells = rows * layout[layer, 1]
        change = 0
        if reach[layer, 0] > 0.01 * cells and shifts[layer] < upper[layout[layer, 7]]:
            change = 1
        elif reach[layer, 1] <= 0.001 * cells and shifts[layer] > 0:
            change = -1
        if change == 0:
            continue
        shifts[layer] += change
        # what reads the coarser values has biases that are as much smaller, and so on to the temperature
        for after in range(layer + 1, layout.shape[0]):
            scale = _power(-change)
            for o in range(layout[after, 1]):
                latent[layout[after, 6] + o] *= scale
            if after == layout.shape[0] - 1:
                logarithm += change * LN2
            elif shifts[after] >= change:
                shifts[after] -= change
                break
    return logarithm


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _gather(
    codes: np.ndarray, rows: np.ndarray, jitter: float, top: int, state: np.ndarray, whole: np.ndarray, acts: np.ndarray
) -> None:
    """Take *rows* of *codes* as a batch; with probability *jitter* a code moves by ±1."""
    threshold = np.uint64(jitter * 4294967296.0)
    for i in range(codes.shape[0]):
        for r in range(rows.size):
            whole[i, r] = codes[i, rows[r]]
        if threshold:
            for r in range(rows.size):
                drawn = random_bits(state)
                if (drawn >> np.uint64(32)) < threshold:
                    moved = whole[i, r] + (1 if drawn & np.uint64(1) else -1)
                    whole[i, r] = min(max(moved, 0), top)
        for r in range(rows.size):
            acts[i, r] = whole[i, r]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _slopes_of_loss(
    wanted: np.ndarray, weights: np.ndarray, rows: np.ndarray, temperature: float, logits: np.ndarray,
    shares: np.ndarray,
) -> float:  # fmt: skip
    """Turn *shares* (class × row: probabilities) into slopes of the mean loss by the last sums; return that by log temperature.

    ``wanted``: class × all rows, the probabilities that *shares* are to be; ``rows``: which of them the batch holds.
    """
    warmth = 0.0
    for o in range(logits.shape[0]):
        share, logit, wish = shares[o], logits[o], wanted[o]
        for r in range(rows.size):
            slope = (share[r] - wish[rows[r]]) * weights[rows[r]]
            warmth += slope * logit[r]
            share[r] = slope * temperature / rows.size
        for r in range(rows.size, share.size):
            share[r] = 0.0
    return warmth * temperature / rows.size


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _adam(
    layout: np.ndarray, upper: np.ndarray, masks: np.ndarray, held: np.ndarray, l1: float, rate: float,
    gradient: np.ndarray, mean: np.ndarray, square: np.ndarray, decays: np.ndarray, latent: np.ndarray,
) -> None:  # fmt: skip
    """Move *latent* (but where *held*) one step against *gradient*; its last element is the log of the temperature."""
    decays[0] *= 0.9
    decays[1] *= 0.999
    for layer in range(layout.shape[0]):
        n, m, bits_in, mask, _, exponent, bias, _, _ = layout[layer]
        top = _power(upper[exponent])
        for at in range(m * n):
            place, value = exponent + at, latent[exponent + at]
            if masks[mask + at] == 0 or held[place]:
                continue
            slope = gradient[place] * top
            if l1 > 0.0 and value != 0.0:
                seen, found = masks[mask + at], 0
                while seen:
                    found += seen & 1
                    seen >>= 1
                slope += l1 * found / bits_in * (1.0 if value > 0.0 else -1.0)
            value -= rate * top * _step(place, slope, mean, square, decays)
            latent[place] = min(max(value, -1.25 * top), 1.25 * top)
        unit = top * _power(bits_in - 1)  # a bias is the weight of an input that is always half of the greatest
        for place in range(bias, bias + m):
            latent[place] -= rate * unit * _step(place, gradient[place] * unit, mean, square, decays)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _step(place: int, slope: float, mean: np.ndarray, square: np.ndarray, decays: np.ndarray) -> float:
    """Return Adam's step for one parameter (betas 0.9 and 0.999), in units of the rate."""
    mean[place] = 0.9 * mean[place] + 0.1 * slope
    square[place] = 0.999 * square[place] + 0.001 * slope * slope
    return mean[place] / (1.0 - decays[0]) / (np.sqrt(square[place] / (1.0 - decays[1])) + 1e-8)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def train(
    layout: np.ndarray, kind: int, lower: np.ndarray, upper: np.ndarray, masks: np.ndarray, latent: np.ndarray,
    shifts: np.ndarray, logarithm: float, codes: np.ndarray, labels: np.ndarray, wanted: np.ndarray,
    weights: np.ndarray, keep_weights: np.ndarray, counts: np.ndarray, numbers: np.ndarray,
) -> tuple[float, float, int, float]:  # fmt: skip
    """Train one network in place: *latent* (float64, G) and *shifts* (int64, layers) become those of the best epoch.

    ``layout``, ``lower``, ``upper``: of the space; ``masks``: a genome (int64), of which masks are read; ``logarithm``:
    natural log of the temperature; ``codes``: int32, features × rows; ``labels``: int64, what counts as right;
    ``wanted``: float64, classes × rows, the probabilities that are learnt (one row, of class 1, for a single logit);
    ``weights``: float64, what a row counts in training, ``keep_weights``: and in choosing the epoch; ``counts``,
    ``numbers``: settings. Epoch 0 is
    the start itself, so that what is kept is never worse than it. Returns errors and loss (sums weighted by row), epoch
    and log temperature of what is kept.
    """
    layers = layout.shape[0]
    outputs, top = layout[layers - 1, 1], (1 << layout[0, 2]) - 1
    batch = (counts[BATCH] + _LANES - 1) // _LANES * _LANES
    widest = max(codes.shape[0], layout[:, 1].max())
    acts = np.zeros((layers + 1, widest, batch))
    whole = np.zeros((layers + 1, widest, batch), np.int32)
    sums, slopes = np.zeros((layers, widest, batch)), np.zeros((layers, widest, batch))
    bits, largest, scratch = np.zeros(batch), np.zeros(batch), np.zeros((3, batch))
    scratch[0] = 1.0
    real, gradient, size = np.zeros(latent.size), np.zeros(latent.size), latent.size
    mean, square, decays = np.zeros(size + 1), np.zeros(size + 1), np.ones(2)
    used, rounded = np.flatnonzero(weights > 0.0), np.ones(size, np.uint8)
    steps = (used.size + counts[BATCH] - 1) // counts[BATCH]
    counted = weights * (used.size / weights.sum())
    reach = np.zeros((layers, 2), np.int64)
    state = np.array([counts[SEED]], np.int64).view(np.uint64)
    gradual = numbers[SETTLE_TO] > 0.0
    settled = np.zeros(size, np.uint8) if gradual else np.ones(size, np.uint8)
    held = settled if gradual else np.zeros(size, np.uint8)
    best_latent, best_shifts = latent.copy(), shifts.copy()
    best_errors, best_loss, best_epoch, best_logarithm = np.inf, np.inf, 0, logarithm
    for epoch in range(counts[EPOCHS] + 1):
        quantise(layout, lower, upper, masks, latent, rounded, real)
        errors, loss = errors_and_loss(
            layout, kind, masks, real, shifts, exponential(logarithm), codes, labels, keep_weights, reach
        )
        key, best_key = (loss, best_loss) if counts[KEEP_LOSS] else (errors, best_errors)
        if key < best_key or (key == best_key and loss < best_loss):
            best_latent[:] = latent
            best_shifts[:] = shifts
            best_errors, best_loss, best_epoch, best_logarithm = errors, loss, epoch, logarithm
        if epoch == counts[EPOCHS]:
            break
        done = epoch / counts[EPOCHS]
        if epoch < counts[MOVE_SHIFTS]:
            logarithm = _move_shifts(layout, upper, shifts, latent, logarithm, reach, codes.shape[1])
        if gradual and done > numbers[SETTLE_FROM]:
            share = (done - numbers[SETTLE_FROM]) / (numbers[SETTLE_TO] - numbers[SETTLE_FROM])
            _settle(layout, upper, masks, min(share, 1.0), latent, real, settled)
        for r in range(used.size - 1, 0, -1):
            other = below(state, r + 1)
            used[r], used[other] = used[other], used[r]
        for step in range(steps):
            rows = used[step * counts[BATCH] : (step + 1) * counts[BATCH]]
            left = 1.0 - (epoch + step / steps) / counts[EPOCHS]
            # from the first rate down to the last along a parabola: a cosine would do the same, but needs the library
            rate = numbers[LAST_RATE] + (numbers[RATE] - numbers[LAST_RATE]) * left * left
            _gather(codes, rows, numbers[JITTER], top, state, whole[0], acts[0])
            quantise(layout, lower, upper, masks, latent, settled, real)
            _forward(layout, masks, real, shifts, whole, acts, sums)
            temperature, logits, last = exponential(logarithm), sums[layers - 1, :outputs], slopes[layers - 1]
            _probabilities(kind, outputs, temperature, logits, last, bits, largest)
            warmth = _slopes_of_loss(wanted, counted, rows, temperature, logits, last)
            _backward(layout, masks, real, shifts, numbers[LEAK], whole, acts, sums, slopes, gradient, scratch)
            _adam(layout, upper, masks, held, numbers[L1], rate, gradient, mean, square, decays, latent)
            logarithm -= rate * numbers[TEMPERATURE_RATE] * _step(size, warmth, mean, square, decays)
    latent[:] = best_latent
    shifts[:] = best_shifts
    return best_errors, best_loss, best_epoch, best_logarithm
