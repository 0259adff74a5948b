"""Column compression: cells evaluated in Python equal the sum, and there are as few full adders as can be."""

import itertools

import numpy as np
import pytest

from approxhw.backends.bespoke.compression import Columns, adder_counts, compress
from approxhw.backends.cells.blocks import Lane, Word


def columns_of(dots, constant, width):
    """Return columns with ``dots[c]`` bits of their own in column c."""
    filled = {c: [(f"c{c}b{i}", 0) for i in range(count)] for c, count in enumerate(dots) if count}
    return Columns(width, constant, filled)


def check(cells, columns, vectors):
    made, bits = compress(columns)
    assert len(bits) == columns.width
    names = [(column, dot) for column, dots in columns.dots.items() for dot in dots]
    for vector in vectors:
        values = {dot: value for (_, dot), value in zip(names, vector, strict=True)}
        wanted = columns.constant + sum(value << column for (column, _), value in zip(names, vector, strict=True))
        seen = cells.number(bits, cells.evaluated(made, values))
        assert seen == wanted % (1 << columns.width), (columns, vector)
    return made


@pytest.mark.parametrize("dots", [d for d in itertools.product(range(5), repeat=3) if sum(d) <= 6])
def test_small_columns_equal_their_sum_for_every_vector_and_constant(cells, dots):
    vectors = list(itertools.product((0, 1), repeat=sum(dots)))
    for constant in range(-3, 13, 1 if sum(dots) < 4 else 3):
        for width in (1, 3, 5):
            columns = columns_of(dots, constant, width)
            columns.dots = {c: d for c, d in columns.dots.items() if c < width}
            check(cells, columns, {v[: sum(dots[:width])] for v in vectors})


@pytest.mark.parametrize("seed", range(40))
def test_random_columns_equal_their_sum(cells, seed):
    rng = np.random.default_rng(seed)
    width = int(rng.integers(1, 80))
    dots = rng.integers(0, 9, width).tolist()
    columns = columns_of(dots, int(rng.integers(-(1 << 62), 1 << 62)), width)
    vectors = [[0] * sum(dots), [1] * sum(dots), *rng.integers(0, 2, (20, sum(dots))).tolist()]
    check(cells, columns, vectors)


@pytest.mark.parametrize("dots", [[5, 5, 5], [3], [9, 0, 0, 1], [2, 2, 2, 2], [7, 1, 4, 8, 2], [3, 3, 3, 3, 3, 3]])
def test_there_are_as_few_full_adders_as_any_order_reaches(cells, dots):
    """Each full adder takes one bit away from the whole; a column of n bits with carries in leaves one bit: (n - 1) // 2."""
    width = len(dots) + 4
    made = check(cells, columns_of(dots, 0, width), [[1] * sum(dots), [0] * sum(dots)])
    full = half = carries = 0
    for column in range(width):
        bits = carries + (dots[column] if column < len(dots) else 0)
        carries = bits // 2
        full += (bits - 1) // 2 if bits else 0
        half += bits % 2 == 0 and bits > 0
    found_full, found_half = adder_counts(made)
    assert found_full == full
    assert found_half <= half + len(dots)


def test_a_constant_one_in_an_even_column_costs_no_full_adder(cells):
    made = check(cells, columns_of([4], 1, 4), itertools.product((0, 1), repeat=4))
    kinds = [cell.template for cell in made]
    assert "half_adders_plus_one" in kinds or made[-1].inputs[2] == ("carry_in", (1,))


@pytest.mark.parametrize(("low", "high"), [(0, 7), (-4, 3), (-8, 0), (-1, 0), (0, 1), (5, 6)])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("shift", [0, 1, 3])
def test_signed_and_unsigned_words_are_added_and_subtracted(cells, low, high, sign, shift):
    bits = 1 + max(-low - 1, high).bit_length() if low < 0 else high.bit_length()
    word = Word(low, high, tuple(("x", i) for i in range(bits)))
    columns = Columns(9, 11)
    columns.add(word, shift, sign)
    made, result = compress(columns)
    for x in range(low, high + 1):
        values = {("x", i): x >> i & 1 for i in range(bits)}
        assert cells.number(result, cells.evaluated(made, values)) == (11 + sign * (x << shift)) % 512


def test_constant_bits_are_folded():
    columns = Columns(6)
    columns.add(Word(-3, -3, (1, 0, 1)), 1, -1)
    assert compress(columns) == ([], (0, 1, 1, 0, 0, 0))


def test_no_columns_make_no_bits():
    assert compress(Columns(0, 5)) == ([], ())


def test_bits_that_arrive_late_are_added_late(cells):
    columns = Columns(3, 0, {0: [("late", 0), *((f"b{i}", 0) for i in range(6))]})
    made, _ = compress(columns, {"late": 9})
    reading = [cell for cell in made if any(bit == ("late", 0) for _, bit in cell.inputs)]
    assert all(isinstance(cell, Lane) and cell.group.startswith("level10") for cell in reading) or not reading
    first = [cell for cell in made if isinstance(cell, Lane) and cell.group.startswith("level01")]
    assert first
    assert all(("late", 0) not in dict(cell.inputs).values() for cell in first)
