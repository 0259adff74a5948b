"""Signed digits and the sharing of sums: every plan equals the matrix product, and sharing pays."""

from itertools import pairwise

import numpy as np
import pytest

from approxhw.backends.bespoke.shift_add import DigitSource, Plan, adders, plan_layer, signed_digits


def test_signed_digits_reconstruct_every_integer_and_have_no_neighbours():
    for value in range(-5000, 5001):
        digits = signed_digits(value)
        assert sum(sign << shift for shift, sign in digits) == value
        shifts = [shift for shift, _ in digits]
        assert all(later - earlier >= 2 for earlier, later in pairwise(shifts))
        assert all(sign in (-1, 1) for _, sign in digits)


def test_signed_digits_of_wide_integers():
    for value in (1 << 200, (1 << 200) - 1, -(3 << 150) + 7):
        assert sum(sign << shift for shift, sign in signed_digits(value)) == value


def random_layer(seed):
    """Return weights, and low and high of every input, of a random layer with all that is awkward."""
    rng = np.random.default_rng(seed)
    m, n, bits = int(rng.integers(1, 9)), int(rng.integers(1, 7)), int(rng.integers(2, 11))
    weights = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), (m, n))
    if rng.random() < 0.3:
        weights[:, rng.integers(0, n)] = 0
    if rng.random() < 0.2:
        weights[rng.integers(0, m)] = weights[0]
    low = rng.integers(-20, 1, n) * rng.integers(0, 2, n)
    return weights.tolist(), low.tolist(), (low + rng.integers(0, 64, n)).tolist()


def source_values(plan, row):
    values = list(row)
    for source in plan.sources[plan.inputs :]:
        first, second, shift, sign = source.pair
        if source.swapped:
            values.append((values[second] << shift) - values[first])
        else:
            values.append(values[first] + sign * (values[second] << shift))
    return values


@pytest.mark.parametrize("seed", range(60))
def test_a_plan_equals_the_matrix_product_and_its_ranges_hold(seed):
    weights, low, high = random_layer(seed)
    plan = plan_layer(weights, low, high)
    rng = np.random.default_rng([seed, 7])
    rows = [low, high, *rng.integers(low, np.array(high) + 1, (40, len(low))).tolist()]
    for row in rows:
        values = source_values(plan, row)
        for value, source in zip(values, plan.sources, strict=True):
            assert source.low <= value <= source.high
        for terms, wanted in zip(plan.neurons, weights, strict=True):
            assert sum(sign * (values[s] << k) for s, k, sign in terms) == sum(w * x for w, x in zip(wanted, row))
    assert all(max(source.pair[:2]) < i for i, source in enumerate(plan.sources) if source.pair)


def test_a_multiple_of_one_input_has_its_exact_range():
    plan = plan_layer([[45], [45 * 2]], [0], [15])
    assert len(plan.sources) > 1
    for source in plan.sources[1:]:
        assert source.low == 0
        assert source.high % 15 == 0


def test_what_is_always_zero_takes_no_part():
    plan = plan_layer([[7, 3], [7, 5]], [0, 0], [0, 3])
    assert all(source == 1 for terms in plan.neurons for source, _, _ in terms if source < plan.inputs)


def without_sharing(weights, low, high):
    sources = tuple(DigitSource(a, b) for a, b in zip(low, high))
    return Plan(
        sources,
        len(sources),
        tuple(
            tuple((i, k, sign) for i, w in enumerate(row) if sources[i].bits for k, sign in signed_digits(w))
            for row in weights
        ),
    )


def test_sharing_saves_adders_and_never_costs_any():
    before = after = 0.0
    for seed in range(200):
        layer = random_layer(seed)
        plain, shared = adders(without_sharing(*layer)), adders(plan_layer(*layer))
        assert shared <= plain
        before, after = before + plain, after + shared
    assert after < 0.8 * before


def test_a_sum_that_is_only_subtracted_is_not_shared():
    """-3x is x - 4x, one subtraction; with 3x shared every neuron would pay for a negation of its own."""
    assert len(plan_layer([[-3], [-3], [2]], [0], [44]).sources) == 1


def test_equal_neurons_share_their_whole_sum():
    rows = [[13, 27, -9, 5]] * 4
    assert adders(plan_layer(rows, [0] * 4, [15] * 4)) < 0.5 * adders(without_sharing(rows, [0] * 4, [15] * 4))


def test_the_plan_does_not_depend_on_anything_but_the_layer():
    weights, low, high = random_layer(11)
    assert plan_layer(weights, low, high) == plan_layer(weights, low, high)
