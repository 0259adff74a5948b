"""Slopes of multipliers: those of exact products are their operands; of others, half differences of means, place by place."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw.numerics.mac.kernels.table_gradients import gradient_of_weights, gradient_of_x
from approxhw.numerics.multipliers.families import own_operator
from approxhw.numerics.multipliers.gradients import gradient_tables
from approxhw.numerics.multipliers.signs import operand_values

RNG = np.random.default_rng(17)


@pytest.mark.parametrize("signed", ["weight", "none", "both"])
@pytest.mark.parametrize(("weight_bits", "x_bits"), [(8, 8), (4, 8), (2, 8), (8, 3), (1, 2)])
@pytest.mark.parametrize("half_window", [0, 1, 16, 500])
def test_slopes_of_exact_products_are_the_operands(signed, weight_bits, x_bits, half_window):
    w, x = operand_values(weight_bits, signed != "none"), operand_values(x_bits, signed == "both")
    along_w, along_x = gradient_tables(w[:, None] * x[None, :], signed, half_window)
    assert (along_w == x[None, :]).all()
    assert (along_x == w[:, None]).all()
    assert along_w.dtype == along_x.dtype == np.float32


@pytest.mark.parametrize("operator", ["truncated-7", "leading-3", "logarithmic"])
@pytest.mark.parametrize("half_window", [0, 4, 16])
def test_slopes_are_half_the_difference_of_neighbouring_means(operator, half_window):
    products = own_operator(operator).table(8, 8, "weight").products
    along_w, along_x = gradient_tables(products, "weight", half_window)
    window = range(-half_window, half_window + 1)
    for _ in range(50):
        w, x = int(RNG.integers(-128, 128)), int(RNG.integers(256))
        inside = min(max(w, -128 + half_window + 1), 127 - half_window - 1)
        means = [np.mean([products[(inside + step + i) % 256, x] for i in window]) for step in (-1, 1)]
        assert along_w[w % 256, x] == pytest.approx((means[1] - means[0]) / 2, abs=1e-3)
        inside = min(max(x, half_window + 1), 255 - half_window - 1)
        means = [np.mean([products[w % 256, inside + step + i] for i in window]) for step in (-1, 1)]
        assert along_x[w % 256, x] == pytest.approx((means[1] - means[0]) / 2, abs=1e-3)


def test_a_window_below_nothing_is_refused():
    with pytest.raises(ValueError, match="a half window of -1"):
        gradient_tables(np.zeros((4, 4)), "weight", -1)


def test_sums_of_slopes_are_those_of_plain_sums():
    weights, x = (RNG.integers(0, 256, shape, dtype=np.uint8) for shape in ((5, 3), (5, 7)))
    slopes = RNG.normal(size=(256, 256)).astype(np.float32)
    back = RNG.normal(size=(7, 3)).astype(np.float32)
    each = slopes[weights[:, None, :], x[:, :, None]]  # K × M × N
    assert gradient_of_x(weights, x, slopes, back) == pytest.approx((each * back).sum(axis=2), rel=1e-4, abs=1e-4)
    assert gradient_of_weights(weights, x, slopes, back) == pytest.approx((each * back).sum(axis=1), rel=1e-4, abs=1e-4)
    for found in (gradient_of_x, gradient_of_weights):
        with pytest.raises(ValueError, match="do not fit"):
            found(weights, x[:4], slopes, back)
        with pytest.raises(ValueError, match="do not fit"):
            found(weights, x, slopes, back.T)
