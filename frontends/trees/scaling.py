"""Thresholds in front of scalers: which readings pass a test on what float32 makes of them, exactly."""

from __future__ import annotations

import numpy as np

from approxhw.frontends.tensors.values import Refusal

Step = tuple[str, float, float]
"""``sub``, ``add``, ``mul`` or ``div`` by a number, in float32; or ``linear``: factor and shift, rounded once."""

Steps = tuple[Step, ...]

_INFINITE = 0x7F800000
"""Bits of float32's infinity."""


def scaling_steps(operator: str, offset: np.ndarray | None, scale: np.ndarray, shift: np.ndarray) -> list[Steps]:
    """Return what *operator* does to each element, whose map is scale · x + shift: as onnxruntime works it out in float32.

    *offset*: of a Scaler, which takes it off first.
    """
    found: list[Steps] = []
    for index, (a, b) in enumerate(zip(scale.astype(np.float64).tolist(), shift.astype(np.float64).tolist())):
        if offset is not None:
            found.append((("sub", float(offset[index]), 0.0), ("mul", a, 0.0)))
        elif operator in ("Mul", "Neg") and b == 0:
            found.append((("mul", a, 0.0),))
        elif operator == "Div" and b == 0 and a:
            found.append((("div", 1 / a, 0.0),))
        elif operator in ("Add", "Sub", "Sum") and abs(a) == 1:
            found.append(((("mul", a, 0.0),) if a < 0 else ()) + (("add", b, 0.0),))
        else:
            found.append((("linear", a, b),))
    return found


def before_scaling(
    steps: list[Steps], threshold: np.ndarray, modes: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return threshold and mode of a test on the reading that holds where the given one holds of what *steps* make of it.

    One entry a test; an infinite threshold: always, or never. Raises :class:`Refusal` for tests of equality.
    """
    found, told = threshold.copy(), list(modes)
    groups: dict[tuple[str, ...], list[int]] = {}
    for place, made in enumerate(steps):
        if made:
            groups.setdefault(tuple(step[0] for step in made), []).append(place)
    for words, places in groups.items():
        if any(modes[place] in ("eq", "neq") for place in places):
            why = "tests scaled features for equality, which is true of no single reading"
            raise Refusal(why, "scale other features only, or train on unscaled ones")
        numbers = np.array([[step[1:] for step in steps[place]] for place in places])  # tests × steps × 2
        falling = np.prod([_falls(word, numbers[:, i]) for i, word in enumerate(words)], axis=0) < 0
        strict = np.array([modes[place] in ("leq", "gt") for place in places])
        edges = _first_above(words, numbers, threshold[places], strict, falling)
        for place, edge, falls in zip(places, edges.tolist(), falling.tolist()):
            # above: what is made of x is beyond the threshold, where x ≥ edge, or ≤ edge where the map falls
            above = modes[place] in ("gt", "gte")
            told[place] = ("leq" if above else "gt") if falls else ("gte" if above else "lt")
            found[place] = edge
    return found, tuple(told)


def _falls(word: str, numbers: np.ndarray) -> np.ndarray:
    if word in ("add", "sub"):
        return np.ones(len(numbers))
    return np.where(numbers[:, 0] < 0, -1.0, 1.0)


def _made(words: tuple[str, ...], numbers: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return what the steps make of *x* (float32, one a test), in float32."""
    with np.errstate(all="ignore"):
        for i, word in enumerate(words):
            first = numbers[:, i, 0].astype(np.float32)
            if word == "linear":
                x = (x.astype(np.float64) * numbers[:, i, 0] + numbers[:, i, 1]).astype(np.float32)
            elif word == "add":
                x = x + first
            elif word == "sub":
                x = x - first
            elif word == "mul":
                x = x * first
            else:
                x = x / first
    return x


def _first_above(
    words: tuple[str, ...], numbers: np.ndarray, threshold: np.ndarray, strict: np.ndarray, falling: np.ndarray
) -> np.ndarray:
    """Return the least float32 whose image is above its threshold, where the map falls the greatest; ±infinity for none."""
    low, high = np.full(len(threshold), -_INFINITE, dtype=np.int64), np.full(len(threshold), _INFINITE, dtype=np.int64)
    while (low < high).any():
        middle = (low + high) // 2
        x = _float(np.where(falling, -middle, middle))
        y = _made(words, numbers, x).astype(np.float64)
        above = np.where(strict, y > threshold, y >= threshold)
        high = np.where(above, middle, high)
        low = np.where(above, low, np.minimum(middle + 1, high))
    edge = _float(low).astype(np.float64)
    return np.where(falling, -edge, edge)


def _float(order: np.ndarray) -> np.ndarray:
    """Return the float32 of each place in the order of all of them; 0 is that of zero."""
    bits = np.where(order < 0, (-order) | 0x80000000, order).astype(np.uint32)
    return bits.view(np.float32)
