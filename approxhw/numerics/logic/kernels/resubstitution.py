"""Two signals that make a third one: an AND, OR, NAND or NOR of them is equal to it on every row."""

from __future__ import annotations

import numba
import numpy as np

from .gate_words import AND, NAND, NOR, OR
from .removal import bits_set

MOST_COVERS = 12
"""Signals that cover another one, those that do so most tightly, of which pairs are tried."""

MOST_PAIRS = 8
"""Pairs that are told of one gate, at most."""


@numba.njit(cache=True, nogil=True)
def covering_pairs(
    gates: np.ndarray, sources: np.ndarray, first: int, planes: np.ndarray, width: int, found: np.ndarray
) -> int:
    """Fill *found* with moves (gate, function, a, b) that change none of *gates* on the first *width* words; return how many.

    a and b are of *sources* (ascending), and stand above the gate. Signals that alone are equal to the gate are left out.
    *found*: ``MOST_PAIRS`` rows a gate.
    """
    covers, excess = np.empty(MOST_COVERS, np.int64), np.empty(MOST_COVERS, np.int64)
    total = 0
    for k in range(gates.size):
        own, told = first + gates[k], 0
        for function in (NAND, NOR, AND, OR):
            # AND, OR make the gate itself, the others its inverse; what an AND is made of covers that, of an OR lies below
            inverted, below = function in (NAND, NOR), function in (OR, NOR)
            count = 0
            for s in range(sources.size):
                other = sources[s]
                if other >= own:
                    break
                extra = _excess(planes[own], planes[other], inverted, below, width)
                if extra <= 0:
                    continue
                place = count
                while place > 0 and extra < excess[place - 1]:
                    place -= 1
                if place < MOST_COVERS:
                    last = min(count, MOST_COVERS - 1)
                    for later in range(last, place, -1):
                        covers[later], excess[later] = covers[later - 1], excess[later - 1]
                    covers[place], excess[place] = other, extra
                    count = min(count + 1, MOST_COVERS)
            for i in range(count):
                for j in range(i):
                    if told < MOST_PAIRS and _makes(
                        planes[own], planes[covers[i]], planes[covers[j]], inverted, below, width
                    ):
                        found[total, 0], found[total, 1], found[total, 2], found[total, 3] = (
                            gates[k],
                            function,
                            covers[j],
                            covers[i],
                        )
                        total += 1
                        told += 1
    return total


@numba.njit(cache=True, nogil=True, inline="always")
def _target(word: np.uint64, inverted: bool) -> np.uint64:
    return ~word if inverted else word


@numba.njit(cache=True, nogil=True)
def _excess(own: np.ndarray, other: np.ndarray, inverted: bool, below: bool, width: int) -> int:
    """Return in how many rows *other* is beyond the target (*below*: short of it); −1 where it does not cover it."""
    count = 0
    for i in range(width):
        target, word = _target(own[i], inverted), other[i]
        if below:
            target, word = ~target, ~word
        if target & ~word:
            return -1
        count += bits_set(word & ~target)
    return count


@numba.njit(cache=True, nogil=True)
def _makes(own: np.ndarray, one: np.ndarray, two: np.ndarray, inverted: bool, below: bool, width: int) -> bool:
    for i in range(width):
        made = (one[i] | two[i]) if below else (one[i] & two[i])
        if made != _target(own[i], inverted):
            return False
    return True
