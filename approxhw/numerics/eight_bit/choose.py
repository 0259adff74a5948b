"""What a tensor loses in an 8-bit format, and which format each of several tensors should have under a budget of bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import OptionError, Problem, shown

from .codes import BLOCKS, Compressed, EightBit, make
from .tables import KINDS

BUDGET = 8.2
"""Bits a value, maxima included, that a choice may take on average unless said otherwise: 3.9 times less than float32."""


@dataclass(frozen=True)
class Loss:
    """What decoding gives back beside the tensor, in its own units: mean squared and mean absolute error; mean |error / value|.

    The last one is taken over values other than 0 (0 where there are none).
    """

    mse: float
    mae: float
    relative: float

    def __str__(self) -> str:
        """Return it in a line."""
        return f"MSE {self.mse:.3g}, MAE {self.mae:.3g}, mean relative error {100 * self.relative:.3g} %"


def compress_options(text: str) -> dict[str, str]:
    """Return the options that *text* such as ``dynamic8,block=256`` spells, by name; what stands first is ``code``.

    Raises :class:`~approxhw.common.errors.OptionError` for what is no option with a value.
    """
    first, *rest = (part.strip() for part in text.split(","))
    given, found = {"code": first}, []
    for part in rest:
        name, equals, value = part.partition("=")
        if not equals or name in given:
            why = f"{shown(part)!r} is no NAME=VALUE of its own"
            found.append(Problem("--compress", why, "such as dynamic8,block=256"))
        given[name] = value
    if found:
        raise OptionError("compress", found)
    return given


def loss_of(x: np.ndarray, decoded: np.ndarray) -> Loss:
    """Return the loss of *decoded* beside *x* (any numbers, one shape), worked out in float64."""
    values = np.asarray(x, dtype=np.float64)
    error = np.abs(values - decoded)
    some = values != 0
    relative = float((error[some] / np.abs(values[some])).mean()) if some.any() else 0.0
    return Loss(float(np.square(error).mean()), float(error.mean()), relative)


def candidates(elements: int, maximum: str = "exact") -> tuple[EightBit, ...]:
    """Return the formats that a tensor of so many *elements* may have: every code, one maximum or blocks of a power of two."""
    blocks = [1 << bits for bits in range(BLOCKS[0].bit_length() - 1, BLOCKS[1].bit_length()) if 1 << bits < elements]
    return tuple(make(kind, block, maximum) for kind in KINDS for block in (None, *blocks))


def choose_formats(
    tensors: Mapping[str, np.ndarray], budget: float = BUDGET, *, maximum: str = "exact"
) -> dict[str, Compressed]:
    """Return every tensor in the format that suits it, all of them together within *budget* bits a value, maxima included.

    What is made small is Σ elements · ‖x − x̂‖² / ‖x‖² over the tensors: each counts by its size, whatever its scale. Every
    tensor starts with its smallest format; then the step that gains most for a bit is taken, as long as one fits.
    Raises :class:`~approxhw.common.errors.OptionError` where even the smallest formats do not fit the budget.
    """
    offers = {name: _offers(x, maximum) for name, x in tensors.items()}
    total = budget * sum(x.size for x in tensors.values())
    chosen = dict.fromkeys(offers, 0)
    spent = sum(found[0][0] for found in offers.values())
    if spent > total:
        least = spent / sum(x.size for x in tensors.values())
        why = f"{budget:g} bits a value are fewer than the smallest formats take, {least:.4g}"
        raise OptionError("compress", [Problem("budget", why, "raise it")])
    while True:
        steps = [
            ((here[1] - offer[1]) / (offer[0] - here[0]), name, place)
            for name, found in offers.items()
            for here in (found[chosen[name]],)
            for place, offer in enumerate(found)
            if offer[1] < here[1] and offer[0] > here[0] and spent + offer[0] - here[0] <= total
        ]
        if not steps:
            return {name: offers[name][place][2] for name, place in chosen.items()}
        _, name, place = max(steps)
        spent += offers[name][place][0] - offers[name][chosen[name]][0]
        chosen[name] = place


def _offers(x: np.ndarray, maximum: str) -> list[tuple[int, float, Compressed]]:
    """Return (bits, error, tensor) of the formats that no other one beats in both, the smallest first."""
    values = np.asarray(x, dtype=np.float64)
    power = float(np.square(values).sum())
    found = []
    for code in candidates(x.size, maximum):
        packed = code.encode(x, ragged=True)
        error = float(np.square(values - code.decode(packed)).sum()) / power * x.size if power else 0.0
        found.append((packed.bits, error, packed))
    found.sort(key=lambda offer: offer[:2])
    best: list[tuple[int, float, Compressed]] = []
    for offer in found:
        if not best or offer[1] < best[-1][1]:
            best.append(offer)
    return best
