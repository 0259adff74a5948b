"""The fast encoder and decoder of 8-bit codes: every bit as the plain NumPy form has it, on all that could tell them apart."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw.numerics.eight_bit import _kernel as fast
from approxhw.numerics.eight_bit.codes import BLOCKS, SMALL, make
from approxhw.numerics.eight_bit.tables import KINDS

FORMATS = [
    make(kind, block, mode)
    for kind in KINDS
    for block in (None, 64, 65, 100, 256, 333, 4095, 4096)
    for mode in ("exact", "pow2", "fixed")
    if block is None or mode != "fixed"
]


def same(fmt, x) -> int:
    """Compare both forms on *x*, both ways; return how many values were compared."""
    x = np.ascontiguousarray(x, dtype=np.float32).reshape(-1)
    codes, maxima = fast.encode(x, fmt)
    plain_codes, plain_maxima = fmt.encode_plainly(x)
    assert maxima.view(np.uint32).tolist() == plain_maxima.view(np.uint32).tolist()
    wrong = np.flatnonzero(codes != plain_codes)
    assert wrong.size == 0, f"{fmt}: {x[wrong[:3]]} → {codes[wrong[:3]]}, not {plain_codes[wrong[:3]]}"
    assert not np.any(codes == 0x80)
    values = fast.decode(codes, maxima, fmt)
    assert np.array_equal(values.view(np.uint32), fmt.decode_plainly(codes, maxima).view(np.uint32))
    return x.size


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_numbers_of_every_size(fmt):
    rng, compared = np.random.default_rng(11), 0
    count = 9 * 4096 + 77  # no block divides it
    normal = rng.normal(size=count).astype(np.float32)
    random = rng.integers(0, 1 << 32, count, dtype=np.uint64).astype(np.uint32).view(np.float32)
    random[~np.isfinite(random)] = 0
    if fmt.maximum == "pow2":
        random[np.abs(random) > 2.0**127] = 1
    sized = np.ldexp(normal, np.repeat(rng.integers(-160, 120, count // 50 + 1), 50)[:count]).astype(np.float32)
    sparse = np.where(rng.random(count) < 0.02, normal, np.float32(0)) * np.sign(rng.normal(size=count)).astype(
        np.float32
    )
    sparse[:5000] = -0.0
    for x in (normal, random, sized, sparse):
        compared += same(fmt, x)
    assert compared == 4 * count


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_numbers_beside_every_border(fmt, near_borders):
    """Each maximum's block begins with the maximum, then comes what lies beside borders; the rest repeats that."""
    rng, parts = np.random.default_rng(12), []
    maxima = [
        1.0,
        3.0,
        40.0,
        127.0,
        254.0,
        2.0**-100,
        2.0**100,
        2.0**-101,
        1e-44,
        3.3e-39,
        1.1754944e-38,
        2.0**125,
        1.6e38,
    ]
    maxima += np.ldexp(rng.uniform(1, 2, 20), rng.integers(-130, 125, 20)).tolist()
    for maximum in maxima:
        beside = near_borders(fmt, 1.0 if fmt.maximum == "fixed" else maximum)
        width = fmt.block or 2 * beside.size
        block = np.resize(rng.permutation(beside), -(-beside.size // (width - 1)) * width).reshape(-1, width)
        block[:, 0] = maximum
        parts.append(block.reshape(-1))
    x = np.concatenate(parts)
    compared = sum(same(fmt, part) for part in parts) if fmt.block is None else same(fmt, x)
    assert compared > 20_000


@pytest.mark.parametrize("kind", KINDS)
def test_doubtful_quotients_are_divided(kind):
    """Products with a float32 reciprocal alone are wrong on some of these, a few of them by two steps of float32."""
    rng, fmt = np.random.default_rng(13), make(kind, 128)
    maxima = rng.uniform(1.9, 2, (20_000, 1)).astype(np.float32)  # the reciprocals of these are off the most
    borders = np.resize([float(border) for border, _ in fmt.tables.exact], 127)
    x = np.concatenate([maxima, (borders * maxima).astype(np.float32)], axis=1)
    goals = x[:, 1:] * rng.integers(0, 3, (20_000, 127)).astype(np.float32)  # one float32 down, none, or one up
    x[:, 1:] = np.nextafter(x[:, 1:], goals)
    codes = fast.encode(x.reshape(-1), fmt)[0]
    assert np.array_equal(codes, fmt.encode_plainly(x.reshape(-1))[0])
    approximate = x * (np.float32(1) / maxima)
    guessed = fmt.tables.codes[np.searchsorted(fmt.tables.borders, approximate.astype(np.float64), side="right")]
    wrong = guessed != codes.reshape(x.shape)
    assert np.count_nonzero(wrong) > 1000
    reached = np.resize([fast._first_bits(*border) for border in fmt.tables.exact], 127).astype(np.int32)
    steps = approximate.view(np.int32)[:, 1:] - reached
    assert (steps[wrong[:, 1:]].min(), steps[wrong[:, 1:]].max()) == (-2, 1)
    # neighbours in doubt would have the whole part divided: those that are off the most stand alone
    hardest = np.argwhere(wrong[:, 1:] & ((steps == -2) | (steps == 1)))
    assert len(hardest) > 20
    for row, column in hardest[:200]:
        alone = np.array([maxima[row, 0], x[row, column + 1]])
        assert fast.encode(alone, fmt)[0].tolist() == fmt.encode_plainly(alone)[0].tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fixed", [False, True])
def test_bins_hold_one_border_each_far_from_their_edges(kind, fixed):
    tables = make(kind, max="fixed" if fixed else "exact").tables
    table, doubles, start, last, size = fast._bins(tables)
    words = table.view(np.uint32).astype(np.int64)
    lower, upper, place = words >> 7 & 127, words & 127, words >> 14
    parted = lower != upper
    assert np.count_nonzero(parted) == tables.borders.size
    assert np.array_equal(lower[parted], tables.codes[:-1])
    assert np.array_equal(upper[parted], tables.codes[1:])
    assert np.array_equal(doubles[parted], tables.borders)
    assert int(last) - int(start) + 1 == table.size << size
    assert place[parted].min() >= 4 * fast.DOUBT
    assert place[parted].max() < (1 << size) - 4 * fast.DOUBT
    reached = (int(start) + (np.flatnonzero(parted) << size) + place[parted]).astype(np.int32).view(np.float32)
    below = np.nextafter(reached, np.float32(0)).astype(np.float64)
    assert np.all((below < tables.borders) & (tables.borders <= reached))


@pytest.mark.parametrize("fmt", [f for f in FORMATS if f.block in (None, 256)], ids=str)
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows_in_the_maxima(fmt, special):
    x = np.ones(10_000, dtype=np.float32)
    x[5000] = special
    for maxima in (fast.encode(x, fmt)[1], fmt.encode_plainly(x)[1]):
        bad = ~np.isfinite(maxima)
        assert np.flatnonzero(bad).tolist() == [0 if fmt.block is None else 5000 // 256]


@pytest.mark.parametrize("fmt", [make("dynamic8", 64), make("mantissa8")], ids=str)
def test_the_public_form_is_the_same_at_any_size(fmt):
    rng = np.random.default_rng(14)
    for size in (1, 63, 64, SMALL, SMALL + 1, SMALL + 64, 3 * SMALL + 5):
        x = rng.normal(size=size).astype(np.float32)
        found, (codes, maxima) = fmt.encode(x, ragged=True), fmt.encode_plainly(x)
        assert np.array_equal(found.codes, codes)
        assert np.array_equal(found.maxima, maxima)
        assert np.array_equal(fmt.decode(found), fmt.decode_plainly(codes, maxima))


def test_arrays_that_are_read_only_or_not_aligned_are_taken():
    x = np.random.default_rng(15).normal(size=SMALL * 2).astype(np.float32)
    fmt = make("dynamic8", BLOCKS[0])
    expected = fmt.encode(x)
    raw = b"\0" + x.tobytes()
    moved = np.frombuffer(raw, dtype=np.float32, offset=1)
    assert (moved.flags.aligned, moved.flags.writeable) == (False, False)
    found = fmt.encode(moved)
    assert np.array_equal(found.codes, expected.codes)
    for array in (found.codes, found.maxima):
        array.flags.writeable = False
    assert np.array_equal(fmt.decode(found), fmt.decode(expected))
    assert (len(fast._encode.signatures), len(fast._decode.signatures)) == (1, 1)
