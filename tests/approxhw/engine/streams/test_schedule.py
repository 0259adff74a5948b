"""Schedules: every product of every element once and in order, words that a reader can take apart, errors that say all."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approxhw.backends.bespoke.readback import read_modules
from approxhw.backends.matrix_engine.engine import (
    Engine,
    activation_words,
    engine_verilog,
    gather_results,
    result_words,
    weight_words,
)
from approxhw.backends.systolic.schedule import make_schedule
from approxhw.backends.systolic.templates import configured
from approxhw.common.errors import OptionError
from approxhw.numerics.mac.arithmetic import FloatMac

SIZES = st.integers(1, 40)


def engines():
    formats = st.sampled_from(["bf16", "e4m3"])
    return st.builds(
        lambda rows, columns, format, result, vectors: Engine(rows, columns, FloatMac(format), 2, result, vectors),
        st.integers(1, 9),
        st.integers(1, 9),
        formats,
        st.sampled_from(["bf16", "float32"]),
        st.sampled_from([2, 4, 16, 64]),
    )


@settings(max_examples=60, deadline=None)
@given(engines(), SIZES, SIZES, SIZES)
def test_every_product_stands_once_in_ascending_order(engine, m, k, n):
    schedule = make_schedule(engine, m, k, n)
    done = np.zeros((m, n), dtype=int)  # how far each chain has come
    for tile in schedule.tiles:
        chains = done[tile.m : tile.m + tile.count, tile.n : tile.n + tile.width]
        assert (chains == tile.k).all()
        assert tile.first == (tile.k == 0)
        chains += tile.depth
        assert tile.last == (chains == k).all()
        assert tile.count <= engine.vectors
        assert tile.depth <= engine.rows
        assert tile.width <= engine.columns
    assert (done == k).all()
    assert json.loads(json.dumps(schedule.as_data()))["tiles"][0]["first"] is True


@settings(max_examples=40, deadline=None)
@given(engines(), SIZES, SIZES, SIZES, st.integers(0, 99))
def test_words_are_the_products_of_the_tiles(engine, m, k, n, seed):
    """A plain reading of the streams, by integers, gives the integer product."""
    source = np.random.default_rng(seed)
    a, b = source.integers(0, 200, size=(m, k)), source.integers(0, 200, size=(k, n))
    schedule = make_schedule(engine, m, k, n)
    dtype = np.uint8 if engine.code_bits == 8 else np.uint16
    weights, weight_ends = weight_words(engine, schedule, b)
    vectors, ends, user = activation_words(engine, schedule, a)
    assert weights.shape[1] == vectors.shape[1] == engine.word_bits // 8
    tiles = weights.view(dtype).astype(np.int64).reshape(-1, engine.columns, engine.rows)[:, ::-1]
    blocks = np.split(np.arange(len(ends)), np.flatnonzero(ends)[:-1] + 1)
    assert weight_ends.sum() == len(tiles) == len(blocks) == len(schedule.tiles)
    product, sums = [], np.zeros(0)
    for tile, block in zip(tiles, blocks, strict=True):
        values = vectors.view(dtype).astype(np.int64)[block] @ tile.T
        sums = values if user[block[0]] & 1 else sums + values
        assert len(set(user[block])) == 1
        if user[block[0]] & 2:
            product.append(sums)
    leaving = [tile for tile in schedule.tiles if tile.last]
    seen = np.zeros((m, n), dtype=np.int64)
    for tile, values in zip(leaving, product, strict=True):
        seen[tile.m : tile.m + tile.count, tile.n : tile.n + tile.width] = values[:, : tile.width]
        assert (values[:, tile.width :] == 0).all()
    assert (seen == a @ b).all()


@settings(max_examples=40, deadline=None)
@given(engines(), SIZES, SIZES, SIZES)
def test_results_come_back_as_they_were(engine, m, k, n):
    schedule = make_schedule(engine, m, k, n)
    product = (np.arange(m * n).reshape(m, n) % 251 - 100).astype(np.float32)  # bf16 numbers
    words, ends = result_words(engine, schedule, product)
    assert words.shape == (len(ends), engine.columns * engine.result_bits // 8)
    assert (gather_results(engine, schedule, words) == product).all()


def test_verilog_is_read_back_with_its_ports():
    engine = Engine(3, 5, FloatMac("e4m3", 18, "exact"), depth=3)
    text = engine_verilog(engine, ["one line", "another"])
    assert text.startswith("// one line\n// another\n\n// ")
    modules = read_modules(text)
    ports = [port.name for port in modules["matrix_engine"].ports]
    assert ports == [
        *("aclk", "aresetn"),
        *(f"s_axis_weights_{port}" for port in ("tdata", "tlast", "tvalid", "tready")),
        *(f"s_axis_activations_{port}" for port in ("tdata", "tuser", "tlast", "tvalid", "tready")),
        *(f"m_axis_results_{port}" for port in ("tdata", "tlast", "tvalid", "tready")),
        "fault",
    ]
    assert "matrix_engine" not in read_modules(configured("mac_array", engine.array_parameters()))
    assert json.loads(json.dumps(engine.as_data()))["mac"]["normalization"] == "exact"


def test_engines_that_cannot_be_built():
    with pytest.raises(OptionError) as error:
        Engine(0, 300, FloatMac(), 5, "fp64", 100)
    assert str(error.value).splitlines() == [
        "matrix engine: 5 problems",
        "  rows: 0 is no number of rows from 1 to 256",
        "    do: choose 1 to 256",
        "  columns: 300 is no number of columns from 1 to 256",
        "    do: choose 1 to 256",
        "  depth: 5 is no depth",
        "    do: choose 1, 2, 3 or 4",
        "  result: 'fp64' is no result",
        "    do: choose bf16 or float32",
        "  vectors: 100 is no power of two from 2 to 65536",
        "    do: choose 256, say",
    ]


def test_products_that_do_not_fit():
    engine = Engine(2, 2)
    with pytest.raises(OptionError, match=r"m: 0 is no size of a matrix\n  n: -1 is no size"):
        make_schedule(engine, 0, 3, -1)
    with pytest.raises(OptionError, match=r"weights: have shape \(3, 4\), not \(4, 3\)"):
        weight_words(engine, make_schedule(engine, 2, 4, 3), np.zeros((3, 4)))
