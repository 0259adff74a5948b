"""Codes that can occur: those that readings make and no others, as rows, planes, draws and counts."""

from fractions import Fraction

import numpy as np
import pytest

from approxhw.numerics.formats import Encoding
from approxhw.numerics.logic.care_set import can_occur, care_planes, care_set, count_words, drawn_words, every_word

THERMOMETER = Encoding(
    1, "thermometer", (0.0,) * 5, (1.0,) * 5,
    borders=((0.5,), (2.5,), (1.5,), (1.5,), (0.5,)), closed=((True,), (True,), (False,), (True,), (False,)),
    reads=(0, 0, 0, 1, 1), readings=2,
)  # fmt: skip
BORDERS = Encoding(
    2, "borders", (0.0,) * 3, (1.0,) * 3, borders=((0.5, 1.5), (), (0.0, 1.0, 2.0)),
    closed=((True, False), (), (True, True, True)),
)  # fmt: skip
ROUNDED = Encoding(2, "round", (0.0, 3.0), (1.0, 3.0))
EXACT = Encoding.exact(2, (Fraction(1), Fraction(0)), (Fraction(0), Fraction(2)), "half-even", 0)
LINEAR = Encoding(2, "linear", (0.0, 0.0), (3.0, 1.5))


def readings(encoding):
    """Every combination of readings from a fine grid."""
    grid = np.arange(-1.0, 4.0, 0.25)
    return np.stack(np.meshgrid(*[grid] * encoding.width), axis=-1).reshape(-1, encoding.width)


@pytest.mark.parametrize(
    ("encoding", "words"), [(THERMOMETER, 12), (BORDERS, 12), (ROUNDED, 4), (EXACT, 4), (LINEAR, 16)]
)
def test_what_can_occur_is_what_readings_make(encoding, words):
    made = {tuple(row) for row in encoding.encode(readings(encoding))[0].tolist()}
    elements = len(encoding.low)
    care, reads = care_set(encoding, elements), np.ones((elements, encoding.bits), dtype=bool)
    listed = every_word(care, reads).tolist()
    assert len(listed) == len(made) == count_words(care, reads) == words
    assert {tuple(row) for row in listed} == made
    every = np.stack(np.meshgrid(*[np.arange(1 << encoding.bits)] * elements), axis=-1).reshape(-1, elements)
    assert {tuple(row) for row in every[can_occur(care, every, reads)].tolist()} == made
    drawn = drawn_words(care, 400, np.random.default_rng(3))
    assert {tuple(row) for row in drawn.tolist()} == made


def test_planes_are_the_rows_and_bits_that_are_not_read_do_not_count():
    care, reads = care_set(THERMOMETER, 5), np.array([[True], [True], [False], [True], [False]])
    rows = every_word(care, reads)
    assert len({tuple(row) for row in rows[:, [0, 1, 3]].tolist()}) == len(rows) == count_words(care, reads) == 6
    assert not rows[:, [2, 4]].any()
    planes, total = care_planes(care, reads)
    assert (planes.shape, total) == ((5, 1), 6)
    assert [[int(plane[0]) >> row & 1 for plane in planes] for row in range(6)] == rows.tolist()
    unsorted = np.array([[0, 1, 1, 0, 1], [1, 0, 1, 1, 0]])  # the second one is unsorted in a bit that is not read
    assert can_occur(care, unsorted, reads).tolist() == [False, True]


def test_borders_that_no_float32_tells_apart_are_one_step():
    least = float(np.nextafter(np.float32(1), np.float32(2)))  # above 1 is what reaches this one
    both = Encoding(2, "borders", (0.0,), (1.0,), borders=((1.0, least),), closed=((False, True),))
    assert every_word(care_set(both, 1), np.ones((1, 2), dtype=bool)).ravel().tolist() == [0, 2]


def test_planes_beyond_one_word_are_padded_with_what_the_mask_leaves_out():
    encoding = Encoding(3, "borders", (0.0,) * 3, (1.0,) * 3, borders=((1, 2, 3, 4),) * 3, closed=((True,) * 4,) * 3)
    care, reads = care_set(encoding, 3), np.ones((3, 3), dtype=bool)
    planes, total = care_planes(care, reads)
    assert (total, planes.shape) == (125, (9, 2))
    bits = np.unpackbits(planes.view(np.uint8), axis=1, bitorder="little")[:, :total].reshape(3, 3, total)
    assert np.array_equal((bits << np.arange(3)[None, :, None]).sum(axis=1).T, every_word(care, reads))
