"""Numbers that groups of rows add, moved by the kernel and by plain loops: the same numbers, sums and errors saved."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw.networks.trees.kernels.moving import move_numbers


def _moved_plainly(labels, sums, rows, own, first, moves, most):
    """Count errors anew for every move: the obvious way."""
    saved = 0
    for c in range(first, sums.shape[1]):
        for by in moves:
            if abs(own[c] + by) > most:
                continue
            now = int((sums[rows].argmax(axis=1) != labels[rows]).sum())
            sums[rows, c] += by
            then = int((sums[rows].argmax(axis=1) != labels[rows]).sum())
            if then < now:
                own[c] += by
                saved += now - then
            else:
                sums[rows, c] -= by
    return saved


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_moved_numbers_are_those_of_plain_loops(classes):
    """Sums of few values, so that many are equal: which class comes first decides then."""
    rng = np.random.default_rng(classes)
    saved = 0
    for case in range(150):
        count, first = int(rng.integers(1, 60)), int(rng.integers(0, 2))
        labels, sums = rng.integers(0, classes, count), rng.integers(-3, 4, (count, classes))
        rows = np.flatnonzero(rng.random(count) < 0.7)
        own, moves, most = rng.integers(-1, 2, classes), rng.permutation([-8, -2, -1, 1, 2, 4]), int(rng.integers(1, 9))
        plain, plain_own = sums.copy(), own.copy()
        wanted = _moved_plainly(labels, plain, rows, plain_own, first, moves, most)
        assert move_numbers(labels, sums, rows, own, first, moves, most) == wanted, case
        np.testing.assert_array_equal(sums, plain)
        np.testing.assert_array_equal(own, plain_own)
        saved += wanted
    assert saved > 100  # else nothing was moved, and equal is no wonder
