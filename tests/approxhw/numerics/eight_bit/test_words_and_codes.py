"""8-bit codes beside fixed-point words: nearest codes and decoded words against exact fractions, word by word."""

from fractions import Fraction

import numpy as np

from approxhw.numerics.eight_bit.codes import make
from approxhw.numerics.eight_bit.tables import KINDS, magnitudes
from approxhw.numerics.eight_bit_words import (
    calibrated,
    codes_to_reals,
    codes_to_words,
    decoded,
    reals_to_codes,
    starts,
    words_to_codes,
)
from approxhw.numerics.formats import Fixed


def nearest(kind: str, fixed: bool, value: Fraction) -> int:
    """The code of *value* (over its maximum) by looking at all of them."""
    values = magnitudes(kind, fixed)
    least = min(abs(each - abs(value)) for each in values)
    near = sorted({each for each in values if abs(each - abs(value)) == least})
    codes = [values.index(each) for each in near]
    code = codes[1] if len(codes) == 2 and codes[0] & 1 and not codes[1] & 1 else codes[0]
    return code | 128 if value < 0 and code else code


def formats(seed: int):
    rng = np.random.default_rng(seed)
    for kind in KINDS:
        for mode in ("exact", "pow2", "fixed"):
            scale = Fraction(int(rng.integers(1, 50)), int(rng.integers(1, 300)))
            source = Fixed(10, True, scale, int(rng.choice([0, 0, 7, -3])))
            reach = float(np.float32(float(rng.integers(1, 600)) * float(scale)))
            maximum = {"exact": reach, "fixed": 1.0, "pow2": float(2.0 ** np.ceil(np.log2(reach)))}[mode]
            yield make(kind, None, mode), source, maximum


def test_words_have_the_nearest_code():
    seen = 0
    for seed in range(4):
        for code, source, maximum in formats(seed):
            words = np.arange(-512, 512)
            codes = words_to_codes(code, (maximum,), source, words[None, :])[0]
            for word, found in zip(words[seed::9].tolist(), codes[seed::9].tolist(), strict=True):
                real = (word - source.zero) * source.scale / Fraction(maximum)
                assert found == nearest(code.kind, code.maximum == "fixed", real), (code, source, maximum, word)
                seen += 1
    assert seen > 5000


def test_a_tie_goes_where_the_definition_says():
    # 17/128 lies between 0.10546875 + … of two codes of dynamic8; 0.995703125 is halfway to the maximum
    code, source = make("dynamic8"), Fixed(16, True, Fraction(1, 1280))
    for word in (170, -170, 136, 1275):
        found = int(words_to_codes(code, (1.0,), source, np.array([[word]]))[0, 0])
        assert found == nearest("dynamic8", False, word * source.scale)


def test_starts_are_where_codes_change():
    for code, source, maximum in formats(9):
        codes, begins = starts(code, maximum, source, -300, 300)
        every = words_to_codes(code, (maximum,), source, np.arange(-300, 301)[None, :])[0].tolist()
        changes = [word for word in range(-299, 301) if every[word + 300] != every[word + 299]]
        assert [every[0], *(every[word + 300] for word in changes)] == codes
        assert changes == begins
        assert len(codes) > 1


def test_codes_decode_to_the_word_that_is_nearest_the_float32():
    rng = np.random.default_rng(3)
    for code, target, maximum in formats(5):
        table = decoded(code, maximum, target)
        for number in rng.integers(0, 256, 40).tolist():
            single = np.float32(code.tables.values[number]) * np.float32(maximum)
            exact = Fraction(float(single)) / target.scale
            assert abs(table[number] - target.zero - exact) <= Fraction(1, 2)
        codes = rng.integers(0, 256, (3, 5))
        assert np.array_equal(codes_to_words(code, (maximum,), target, codes), np.array(table)[codes])


def test_blocks_have_maxima_of_their_own():
    code = make("dynamic8", 64)
    x = np.concatenate([np.linspace(-1, 1, 64), np.linspace(-50, 50, 64), np.linspace(0, 3, 10)])
    packed = code.encode(x, ragged=True)
    maxima = tuple(packed.maxima.tolist())
    assert np.array_equal(reals_to_codes(code, maxima, x[None, :])[0], packed.codes)
    assert np.array_equal(codes_to_reals(code, maxima, packed.codes.astype(np.int64)), code.decode(packed))
    assert calibrated(code, np.abs(x)) == maxima == (1.0, 50.0, 3.0)


def test_what_exceeds_a_maximum_saturates():
    code = make("linear8")
    assert reals_to_codes(code, (1.0,), np.array([[5.0, -5.0, 0.0, -0.0]])).tolist() == [[127, 255, 0, 0]]
    assert words_to_codes(code, (1.0,), Fixed(8, True), np.array([[100, -100, 0]])).tolist() == [[127, 255, 0]]


def test_a_block_that_is_always_zero_has_a_maximum_to_divide_by():
    assert calibrated(make("dynamic8"), np.zeros(3)) == (1.0,)
    assert calibrated(make("dynamic8", None, "pow2"), np.array([3.0])) == (4.0,)
    assert calibrated(make("static8"), np.array([3.0])) == (1.0,)
