"""Kernels of floating-point multiply-add chains: bit for bit the reference, on random and on adversarial data."""

import math
import random

import numpy as np
import pytest
from numba import njit

from approxhw.numerics.mac import float_mac
from approxhw.numerics.mac.arithmetic import FLOAT_CODES, FloatMac
from approxhw.numerics.mac.float_mac import EMIN, State
from approxhw.numerics.mac.kernels import fast as _float_fast
from approxhw.numerics.mac.kernels import gemm as float_gemm
from approxhw.numerics.mac.kernels.codes import from_codes, to_codes
from approxhw.numerics.simd import lanes as _lanes

NORMALIZATIONS = ["exact", "an-1-1", "an-1-2", "an-2-2", "an-3-1", "an-2-5", "an-1-14", "an-8-7"]
EVERY = [
    FloatMac(name, width, normalization)
    for name, code in FLOAT_CODES.items()
    for width in range(max(16, code.product_bits), 25)
    for normalization in NORMALIZATIONS
]
SOME = [mac for mac in EVERY if mac.accumulator_bits in (16, 20, 22, 23, 24) and mac.normalization != "an-3-1"]
KINDS = ("near", "cancelling", "spread", "sparse", "specials")


def codes(mac, kind, shape, rng):
    """Return random codes: alike in size, cancelling, of any exponent, mostly zeros of both signs, or with NaN and infinities."""
    layout, top = FLOAT_CODES[mac.format], (1 << FLOAT_CODES[mac.format].exponent_bits) - 1
    fraction = rng.integers(0, 1 << layout.fraction_bits, shape)
    sign = rng.integers(0, 2, shape)
    field = rng.integers(max(1, layout.bias - 3), layout.bias + 4, shape)
    if kind in ("spread", "specials"):
        field = rng.integers(0, top, shape)
    made = sign << (layout.bits - 1) | field << layout.fraction_bits | fraction
    if kind == "cancelling":  # each column of a, each row of b twice, the second time negative or one unit off
        axis = 1 if shape[0] < shape[1] else 0
        made = np.repeat(made, 2, axis=axis)[tuple(slice(n) for n in shape)]
        second = np.arange(shape[axis]) % 2 == 1
        made ^= np.where(second, (1 << (layout.bits - 1)) * (axis == 1), 0).reshape(-1, *[1] * (1 - axis))
        made ^= rng.integers(0, 8, shape) == 0
    if kind == "sparse":
        made = np.where(rng.random(shape) < 0.7, sign << (layout.bits - 1), made)
    if kind == "specials":
        special = top << layout.fraction_bits | np.where(rng.random(shape) < 0.7, 0, fraction)
        made = np.where(rng.random(shape) < 0.06, sign << (layout.bits - 1) | special, made)
    return made


def expected(mac, a, b, result):
    """Return the bits that the reference gives, as those of float32."""
    words = np.empty((a.shape[0], b.shape[1]), np.uint32)
    for i, row in enumerate(a.tolist()):
        for j, column in enumerate(b.T.tolist()):
            code = float_mac.finish(float_mac.chain(mac, row, column), result, mac.accumulator_bits)
            words[i, j] = code << 16 if result == "bf16" else code
    return words


def bits(products):
    assert products.dtype == np.float32
    return np.ascontiguousarray(products).view(np.uint32)


@pytest.mark.parametrize("mac", EVERY, ids=str)
def test_matrix_products_are_those_of_the_reference(mac):
    rng, checked = np.random.default_rng(EVERY.index(mac)), 0
    result = "bf16" if mac.accumulator_bits % 2 else "float32"
    for kind in KINDS:
        a, b = codes(mac, kind, (2, 11), rng), codes(mac, kind, (11, 3), rng)
        found = bits(float_gemm.matmul(from_codes(a, mac.format), from_codes(b, mac.format), mac, result=result))
        assert np.array_equal(found, expected(mac, a, b, result)), kind
        checked += found.size
    assert checked == 30


@pytest.fixture
def paths(monkeypatch):
    """Count calls of the fast and of the integer kernels."""
    seen = {"fast": 0, "wide": 0}

    def counted(kernel, path):
        def call(*arguments):
            seen[path] += 1
            return kernel(*arguments)

        return call

    for module, name, path in (
        (float_gemm.fast, "exact_chains", "fast"),
        (float_gemm.fast, "approximate_chains", "fast"),
        (float_gemm.wide, "advance", "wide"),
    ):
        monkeypatch.setattr(module, name, counted(getattr(module, name), path))
    return seen


def integers_only(monkeypatch, a, b, mac, result="float32"):
    with monkeypatch.context() as patch:
        patch.setattr(float_gemm, "_moves", lambda *_: None)
        return bits(float_gemm.matmul(a, b, mac, result=result))


@pytest.mark.parametrize("mac", SOME, ids=str)
def test_the_fast_form_equals_the_integers(mac, monkeypatch, paths):
    rng, checked = np.random.default_rng(mac.accumulator_bits), 0
    shapes = [(5, 64, 70), (3, 33, 300), (4, 130, 33), (2, 31, 257)]
    for kind, (rows, depth, columns) in zip(KINDS, [*shapes, (6, 66, 40)], strict=True):
        a, b = codes(mac, kind, (rows, depth), rng), codes(mac, kind, (depth, columns), rng)
        a, b = from_codes(a, mac.format), from_codes(b, mac.format)
        for result in ("float32", "bf16"):
            slow = integers_only(monkeypatch, a, b, mac, result)
            before = paths["fast"]
            fast = bits(float_gemm.matmul(a, b, mac, result=result))
            assert np.array_equal(fast, slow), (kind, result)
            assert paths["fast"] - before == (
                mac.accumulator_bits < 24 and not (mac.format == "bf16" and kind in ("spread", "specials"))
            )
            checked += fast.size
    assert checked == 2 * sum(rows * columns for rows, _, columns in [*shapes, (6, 66, 40)])


@pytest.mark.parametrize("normalization", ["exact", "an-1-2", "an-2-2", "an-1-14"])
@pytest.mark.parametrize("width", [16, 20, 23])
def test_the_fast_form_reaches_to_its_limits_and_no_further(width, normalization, monkeypatch, paths):
    """Sizes that just fit the exponents of float32, wherever they lie; one binade more is a matter of integers."""
    mac, rng, depth = FloatMac("bf16", width, normalization), np.random.default_rng(width), 64
    span = 122 - 6 + 126 - 2 * width  # of the products' exponents, from the least to the greatest
    for low in (-125, -100, -40):
        for wider in (0, 1):
            first = span // 2
            second = span - first + wider
            if low + max(first, second) > 127:
                continue
            for form in range(3):
                a, b = (
                    np.ldexp(1 + rng.integers(0, 128, shape) / 128, rng.integers(0, 2, shape) * exponents + low)
                    for shape, exponents in (((4, depth), first), ((depth, 40), second))
                )
                a *= rng.choice([-1, 1], a.shape)
                if form == 1:  # every second product takes the one before it back
                    a[:, 1::2], b[1::2] = -a[:, ::2], b[::2]
                elif form == 2:
                    a[:, 8:] *= rng.random(a[:, 8:].shape) < 0.2
                a[0, 0], b[0, 0] = math.ldexp(1.5, low), math.ldexp(1.5, low)
                a[0, 1], b[1, 0] = math.ldexp(1.5, low + first), math.ldexp(1.5, low + second)
                a, b = a.astype(np.float32), b.astype(np.float32)
                before = dict(paths)
                fast = bits(float_gemm.matmul(a, b, mac))
                assert paths["fast"] - before["fast"] == 1 - wider
                assert np.array_equal(fast, integers_only(monkeypatch, a, b, mac)), (low, form)
    assert paths["fast"] >= 6


@pytest.mark.parametrize("mac", [FloatMac(), FloatMac("bf16", 23, "exact"), FloatMac("bf16", 24, "an-2-2")], ids=str)
def test_results_at_the_ends_of_float32(mac, paths):
    """Flushed to a zero of their sign, kept, or infinite: the column's end, on results that cross both limits."""
    rng, checked = np.random.default_rng(12), 0
    for exponent in (-130, -127, -126, 125, 127):
        half = exponent // 2
        a, b = (
            np.ldexp(rng.choice([1, 127 / 64, 129 / 128, 255 / 128], shape), lift) * rng.choice([-1, 1], shape)
            for shape, lift in (((12, 3), half), ((3, 8), exponent - half))
        )
        a[::2, 1:] = 0
        a[1::2, 2] *= rng.integers(0, 2, 6)
        for result in ("float32", "bf16"):
            found = bits(float_gemm.matmul(a, b, mac, result=result))
            assert np.array_equal(found, expected(mac, to_codes(a, "bf16"), to_codes(b, "bf16"), result))
            size = found & 0x7FFFFFFF
            if exponent in (-127, -126):
                assert 0 < (found == 0x80000000).sum() < found.size
                assert 0 < ((size > 0) & (size < 0x01800000)).sum() < found.size
            if exponent == 127:
                assert 0 < (size == 0x7F800000).sum() < found.size
            checked += found.size
    assert checked == 5 * 2 * 96
    assert paths["fast"] == (10 if mac.accumulator_bits < 24 else 0)


def test_ordinary_layers_take_the_fast_form(paths):
    """Normal weights, activations with the tiny tails of a GELU or a softmax, infinities and NaNs, whatever the result."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(64, 128)) * 4
    gelu = np.array([0.5 * v * math.erfc(-v / math.sqrt(2)) for v in x.reshape(-1)]).reshape(x.shape)
    softmax = np.exp(20 * x - (20 * x).max(axis=1, keepdims=True))
    special = np.where(rng.random(x.shape) < 0.001, np.inf, x)
    weights = rng.normal(size=(128, 96)) * 0.05
    for activations in (x, gelu, softmax, special):
        for mac in (FloatMac(), FloatMac("bf16", 20, "exact"), FloatMac("fp16", 23, "an-2-2"), FloatMac("e4m3", 16)):
            float_gemm.matmul(activations, weights, mac)
    assert paths == {"fast": 16, "wide": 0}


# ---------------------------------------------------------------- specials, shapes, threads


@pytest.mark.parametrize(
    "mac", [FloatMac(), FloatMac("bf16", 24, "exact"), FloatMac("fp16", 22), FloatMac("e5m2")], ids=str
)
def test_specials_follow_their_chains(mac):
    rng = np.random.default_rng(11)
    a, b = codes(mac, "near", (9, 40), rng), codes(mac, "near", (40, 37), rng)
    inf = float_mac.nearest_code(mac.format, math.inf)
    nan, minus = float_mac.nearest_code(mac.format, math.nan), 1 << (FLOAT_CODES[mac.format].bits - 1)
    a[1, 3], a[2, 5], a[2, 9], a[4, 7], b[6, 2], b[7, 2], b[8, 3] = inf, inf, inf | minus, nan, inf, inf | minus, inf
    b[3, 6], b[3, 7], a[5, 0], b[0, :9], a[6, 8] = 0, minus, 0, inf, minus
    found = bits(float_gemm.matmul(from_codes(a, mac.format), from_codes(b, mac.format), mac))
    assert np.array_equal(found, expected(mac, a, b, "float32"))
    numbers = found.view(np.float32)
    assert np.isnan(numbers[4]).all()
    assert np.isinf(numbers[1, 10:]).all()
    assert 20 < np.isnan(numbers).sum() < 150
    assert 40 < np.isinf(numbers).sum() < 150


def test_a_format_without_infinity_turns_them_into_nan():
    mac = FloatMac("e4m3", 16)
    products = float_gemm.matmul(np.array([[1.0, np.inf], [1.0, 2.0], [500.0, 1.0]]), np.ones((2, 1)), mac)
    assert np.isnan(products[:, 0]).tolist() == [True, False, True]


@pytest.mark.parametrize("normalization", ["exact", "an-1-2", "an-2-2"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 300), (40, 9, 3), (70, 5, 1), (3, 2, 513), (2, 1030, 33)])
def test_shapes(shape, normalization):
    rows, depth, columns = shape
    mac, rng = FloatMac("e4m3", 18, normalization), np.random.default_rng(depth)
    a, b = codes(mac, "spread", (rows, depth), rng), codes(mac, "spread", (depth, columns), rng)
    a, b = np.where(a & 127 == 127, 0, a), np.where(b & 127 == 127, 5, b)
    at_rows, at_columns = sorted({0, rows - 1}), sorted({0, columns // 2, columns - 1})
    for result in ("float32", "bf16"):
        found = bits(float_gemm.matmul(from_codes(a, mac.format), from_codes(b, mac.format), mac, result=result))
        assert found.shape == (rows, columns)
        picked = found[np.ix_(at_rows, at_columns)]
        assert np.array_equal(picked, expected(mac, a[at_rows], b[:, at_columns], result))


def test_empty_products_are_zeros():
    mac = FloatMac()
    assert float_gemm.matmul(np.ones((2, 0)), np.ones((0, 3)), mac).tolist() == [[0.0] * 3] * 2
    assert float_gemm.matmul(np.ones((0, 4)), np.ones((4, 3)), mac).shape == (0, 3)
    assert float_gemm.matmul(np.zeros((2, 4)), np.ones((4, 3)), mac).tolist() == [[0.0] * 3] * 2
    assert not np.signbit(float_gemm.matmul(np.full((2, 4), -0.0), np.ones((4, 3)), mac)).any()


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        (np.ones((2, 3)), np.ones((4, 5)), "a matrix product needs M × K and K × N, not (2, 3) and (4, 5)"),
        (np.ones(3), np.ones((3, 5)), "a matrix product needs M × K and K × N, not (3,) and (3, 5)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(a, b, text):
    for call in (float_gemm.matmul, float_gemm.shift_histogram):
        with pytest.raises(ValueError, match="a matrix product needs") as raised:
            call(a, b, FloatMac())
        assert str(raised.value) == text


def test_results_do_not_depend_on_threads_layout_or_rounding_beforehand():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(37, 150)).astype(np.float32), rng.normal(size=(150, 90)).astype(np.float32)
    for mac in (FloatMac(), FloatMac("bf16", 20, "exact"), FloatMac("bf16", 24, "an-2-2")):
        alone = bits(float_gemm.matmul(a, b, mac))
        for threads in (2, 3, 64):
            assert np.array_equal(alone, bits(float_gemm.matmul(a, b, mac, threads=threads)))
        assert np.array_equal(alone, bits(float_gemm.matmul(np.asfortranarray(a), b.T.copy().T, mac)))
        assert np.array_equal(alone, bits(float_gemm.matmul(from_codes(to_codes(a, "bf16"), "bf16"), b, mac)))
        assert np.array_equal(alone[:, :5], bits(float_gemm.matmul(a, b[:, :5], mac)))  # transposed inside


def test_results_are_close_to_those_of_float64():
    rng = np.random.default_rng(3)
    a, b = (from_codes(to_codes(rng.normal(size=shape), "bf16"), "bf16") for shape in ((64, 256), (256, 64)))
    exact = a.astype(np.float64) @ b
    for normalization, limit in (("exact", 2e-3), ("an-1-2", 3e-3)):
        products = float_gemm.matmul(a, b, FloatMac("bf16", 20, normalization))
        error = np.abs(products - exact).max() / np.abs(exact).max()
        assert 0 < error < limit


@pytest.mark.parametrize("mac", [FloatMac(), FloatMac("bf16", 17, "exact"), FloatMac("e4m3", 20, "an-2-2")], ids=str)
def test_real_images_through_a_fitted_layer(mac, monkeypatch):
    """scikit-learn's digits through the weights of a linear classifier: a sample against the reference, all against integers."""
    digits = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not here").load_digits()
    rows = (digits.data / 16).astype(np.float32)
    targets = np.eye(10)[digits.target] * 2 - 1
    weights = np.linalg.lstsq(rows, targets, rcond=None)[0].astype(np.float32)
    found = bits(float_gemm.matmul(rows, weights, mac, threads=2))
    assert found.shape == (1797, 10)
    assert np.array_equal(found, integers_only(monkeypatch, rows, weights, mac))
    a, b = to_codes(rows[::90], mac.format), to_codes(weights, mac.format)
    assert np.array_equal(found[::90], expected(mac, a, b, "float32"))
    assert (np.argmax(found.view(np.float32), axis=1) == digits.target).mean() > 0.9


# ---------------------------------------------------------------- states


def as_states(states, shape):
    """Return reference states as the arrays of the kernel."""
    fields = [[s.sign, s.exponent, s.significand, s.nan << 1 | s.inf] for s in states]
    return float_gemm.States(*np.array(fields, np.int32).T.reshape(4, *shape))


def read_back(states):
    """Return the arrays' states as those of the reference."""
    fields = (states.sign, states.exponent, states.significand, states.flags)
    return [State(s, e, v, bool(f & 2), bool(f & 1)) for s, e, v, f in zip(*(x.reshape(-1).tolist() for x in fields))]


@pytest.mark.parametrize("mac", EVERY, ids=str)
def test_single_steps_from_any_state_are_those_of_the_reference(mac):
    rng, width, count = random.Random(str(mac)), mac.accumulator_bits, 200
    generator = np.random.default_rng(width)
    given = []
    for _ in range(count):
        size = rng.choice([rng.randrange(1, 1 << width), (1 << rng.randrange(width)), (1 << width) - 1, 1, 3])
        exponent = rng.choice([rng.randrange(-12, 12), rng.randrange(-500, 500), width, -width])
        given.append(State(rng.getrandbits(1), exponent, size))
    given[::10] = [rng.choice([State(0, EMIN, 0), State(1, EMIN, 0)]) for _ in given[::10]]
    given[5::20] = [State(rng.getrandbits(1), EMIN, 0, inf=True) for _ in given[5::20]]
    given[7::40] = [State(0, EMIN, 0, nan=True) for _ in given[7::40]]
    kinds = [codes(mac, kind, (2, count // 5), generator) for kind in KINDS]
    a, b = (np.concatenate([kind[side] for kind in kinds]) for side in (0, 1))
    shape = (10, count // 10)
    found = float_gemm.step(a.reshape(shape), b.reshape(shape), mac, as_states(given, shape))
    reference = [float_mac.step(mac, *each) for each in zip(given, a.tolist(), b.tolist(), strict=True)]
    assert read_back(found) == reference
    assert len({state.exponent for state in reference}) > 20
    for result in ("float32", "bf16"):
        finished = bits(float_gemm.finish(found, mac, result=result)).reshape(-1).tolist()
        ends = [float_mac.finish(state, result, width) for state in reference]
        assert finished == [end << 16 if result == "bf16" else end for end in ends]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mac", [FloatMac(), FloatMac("fp16", 24, "exact"), FloatMac("e5m2", 16, "an-2-2")], ids=str)
def test_tiles_of_any_depth_give_the_same_states(mac, kind):
    rng = np.random.default_rng(5)
    a, b = codes(mac, kind, (3, 50), rng), codes(mac, kind, (50, 7), rng)
    whole = float_gemm.chain(a, b, mac)
    reference = [float_mac.chain(mac, row, column) for row in a.tolist() for column in b.T.tolist()]
    assert read_back(whole) == reference
    for depth in (1, 4, 8, 16, 49):
        states = None
        for first in range(0, 50, depth):
            before = states
            states = float_gemm.chain(a[:, first : first + depth], b[first : first + depth], mac, states)
            assert states is not before
        assert read_back(states) == reference
    products = float_gemm.matmul(from_codes(a, mac.format), from_codes(b, mac.format), mac, result="bf16")
    assert np.array_equal(bits(float_gemm.finish(whole, mac, result="bf16")), bits(products))


def test_rows_beyond_the_end_are_steps_too():
    """A last tile is filled up with zero products: they normalise again, and the rounded result stays."""
    mac, rng = FloatMac(), np.random.default_rng(6)
    a, b = codes(mac, "cancelling", (4, 10), rng), codes(mac, "cancelling", (10, 6), rng)
    states = float_gemm.chain(a, b, mac)
    padded = float_gemm.chain(np.zeros((4, 6), int), np.zeros((6, 6), int), mac, states)
    assert (padded.significand != states.significand).any()
    assert np.array_equal(bits(float_gemm.finish(padded, mac)), bits(float_gemm.finish(states, mac)))


def test_states_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"states of shape \(2, 3\) are needed"):
        float_gemm.chain(np.zeros((2, 4), int), np.zeros((4, 3), int), FloatMac(), float_gemm.start((3, 2)))
    with pytest.raises(ValueError, match=r"codes of one shape, not \(2,\) and \(3,\)"):
        float_gemm.step(np.zeros(2, int), np.zeros(3, int), FloatMac())


def test_states_given_are_left_alone():
    states = float_gemm.start((2, 2))
    float_gemm.chain(np.full((2, 4), 0x3F80), np.full((4, 2), 0x3F80), FloatMac(), states)
    assert not states.significand.any()
    assert (states.exponent == EMIN).all()


# ---------------------------------------------------------------- statistics


@pytest.mark.parametrize("mac", [FloatMac(), FloatMac("bf16", 20, "exact"), FloatMac("fp16", 24, "an-2-3")], ids=str)
def test_histogram_counts_what_the_reference_sums(mac):
    rng, width = np.random.default_rng(9), mac.accumulator_bits
    counts = np.zeros(width + 2, np.int64)
    total = 0
    for kind in ("near", "cancelling", "sparse"):
        a, b = codes(mac, kind, (3, 30), rng), codes(mac, kind, (30, 9), rng)
        found = float_gemm.shift_histogram(from_codes(a, mac.format), from_codes(b, mac.format), mac)
        counts[:] = 0
        for row in a.tolist():
            for column in b.T.tolist():
                state = float_mac.START
                for pair in zip(row, column):
                    product = float_mac.multiply_codes(mac, *pair)
                    exponent = max(state.exponent, product.exponent)
                    total_size = 0
                    for part in (state, product):
                        size = part.significand >> (exponent - part.exponent)
                        total_size += -size if part.sign else size
                    length = abs(total_size).bit_length()
                    counts[width + 1 if length == 0 else width - length + 1] += 1
                    state = float_mac.step(mac, state, *pair)
        assert found.dtype == np.int64
        assert found.tolist() == counts.tolist()
        assert found.sum() == 3 * 30 * 9
        total += found
    assert (total[[0, 1, 2, width + 1]] > 0).all()
    assert (total[3:-1] > 0).sum() > 5


def test_nothing_but_short_shifts_is_common():
    """The observation that approximate normalization rests on, on data like that of a layer."""
    rng = np.random.default_rng(4)
    counts = float_gemm.shift_histogram(rng.normal(size=(32, 256)), rng.normal(size=(256, 64)), FloatMac())
    assert counts[:4].sum() > 0.95 * counts.sum()


# ---------------------------------------------------------------- vectors


def test_the_wish_for_wide_vectors_reaches_llvm():
    @njit
    def total(x):
        _lanes.widest_vectors()
        return x.sum()

    assert total(np.ones(3)) == 3
    (text,) = total.inspect_llvm().values()
    assert '"prefer-vector-width"="512"' in text


def test_blocks_of_columns_are_crossed_by_a_shape_above():
    assert _float_fast.BLOCK < 257
