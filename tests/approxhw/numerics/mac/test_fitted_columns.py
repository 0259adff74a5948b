"""Weights fitted to an operator: the kernel beside the same descent in plain NumPy, weight for weight."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw.numerics.mac.integer_mac import IntegerMac
from approxhw.numerics.mac.kernels.fitted_columns import fitted_columns
from approxhw.numerics.multipliers.families import own_operator
from approxhw.numerics.multipliers.tables import operand_values

RNG = np.random.default_rng(5)


def spread(errors):
    """Return Σ (e − mean e)², S times over: whole numbers."""
    return len(errors) * int((errors * errors).sum()) - int(errors.sum()) ** 2


def plain_descent(x, weights, products, mac, allowed, x_zero, reach, sweeps):
    """The definition, column by column: every candidate's errors are made anew, in whole numbers."""
    w, values = operand_values(mac.weight_bits, mac.weight_signed), operand_values(mac.x_bits, mac.x_signed)
    table, made = products.astype(np.int64), weights.copy()
    least = len(x[0]) / 2  # what a change must be worth, in this unit
    alone = len(x) ** 2 / (len(x) ** 2 + len(x[0]) ** 2)
    for n in range(weights.shape[1]):
        wanted = w[weights[:, n]]
        places = [min(int(np.searchsorted(allowed, number)), len(allowed) - 1) for number in wanted]
        adds = [[table[number % len(w)][row] - x_zero * number for number in allowed] for row in x]
        exact = [number * (values[row] - x_zero) for number, row in zip(wanted, x)]
        columns = [[add - own for add in each] for each, own in zip(adds, exact)]  # a step's error, by candidate
        reached = [range(max(0, place - reach), min(len(allowed), place + reach + 1)) for place in places]
        chosen = [
            first_least({i: spread(each[i]) for i in some}, place, least)
            for each, some, place in zip(columns, reached, places)
        ]

        if together(columns, places, alone) < together(columns, chosen, alone) - least:
            chosen = list(places)
        for _ in range(sweeps):
            for k in range(len(x)):
                others = sum(columns[i][chosen[i]] for i in range(len(x)) if i != k)
                costs = {
                    i: alone * spread(columns[k][i]) + (1 - alone) * (spread(others + columns[k][i]) - spread(others))
                    for i in reached[k]
                }
                chosen[k] = first_least(costs, chosen[k], least)
        made[:, n] = np.array(allowed)[chosen] % len(w)
    return made


def together(columns, genes, alone):
    """Return what the steps of *columns* err with candidates *genes*."""
    own = [each[i] for each, i in zip(columns, genes)]
    return alone * sum(map(spread, own)) + (1 - alone) * spread(sum(own))


def first_least(costs, now, least):
    """Return the key of the least cost, *now* where none is less by more than *least*."""
    best = now
    for key, cost in costs.items():
        if cost < costs[best] - least:
            best = key
    return best


@pytest.mark.parametrize(
    ("operator", "signed", "weight_bits", "x_zero", "step", "reach"),
    [
        ("truncated-8", "weight", 8, 0, 1, 32),
        ("broken-array-8-3", "both", 8, 5, 1, 8),
        ("truncated-6", "none", 8, 131, 8, 4),
        ("leading-3", "both", 8, -20, 16, 32),
        ("truncated-9", "weight", 4, 7, 1, 32),
    ],
)
def test_every_weight_is_that_of_the_plain_descent(operator, signed, weight_bits, x_zero, step, reach):
    mac = IntegerMac(operator, signed, weight_bits)
    products = own_operator(operator).table(weight_bits, 8, signed).products
    x = RNG.integers(0, 256, (7, 40)).astype(np.uint8)
    x[:, ::3] = x[:, :1]  # a code that is met more often than others
    weights = RNG.integers(0, 1 << weight_bits, (7, 5)).astype(np.uint8)
    numbers = operand_values(weight_bits, mac.weight_signed)
    allowed = list(range(int(numbers.min()), int(numbers.max()) + 1, step))
    found = fitted_columns(x, weights, products, mac, allowed, x_zero=x_zero, reach=reach, sweeps=3)
    assert found.dtype == weights.dtype
    assert np.array_equal(found, plain_descent(x, weights, products, mac, allowed, x_zero, reach, 3))
    assert (found != weights).any()


def test_threads_change_nothing_and_exact_products_keep_their_weights():
    mac = IntegerMac("truncated-0", "both")
    products = own_operator("truncated-0").table(8, 8, "both").products
    x = RNG.integers(0, 256, (12, 64)).astype(np.uint8)
    weights = RNG.integers(0, 256, (12, 9)).astype(np.uint8)
    allowed = list(range(-128, 128))
    assert np.array_equal(fitted_columns(x, weights, products, mac, allowed, x_zero=3), weights)
    rough = own_operator("truncated-9").table(8, 8, "both").products
    one = fitted_columns(x, weights, rough, mac, allowed, x_zero=3)
    assert np.array_equal(one, fitted_columns(x, weights, rough, mac, allowed, x_zero=3, threads=4))
    assert (one != weights).any()


def test_what_does_not_fit_is_refused():
    mac, products = IntegerMac("truncated-4", "both"), np.zeros((256, 256), np.int32)
    x, weights = np.zeros((3, 4), np.uint8), np.zeros((2, 4), np.uint8)
    with pytest.raises(ValueError, match=r"x \(3, 4\) and weights \(2, 4\) do not fit"):
        fitted_columns(x, weights, products, mac, [0])
    with pytest.raises(ValueError, match="no weight is allowed"):
        fitted_columns(x[:2], weights, products, mac, [])
    with pytest.raises(ValueError, match="there are no samples"):
        fitted_columns(x[:2, :0], weights, products, mac, [0])
