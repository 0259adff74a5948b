"""Which vectors are chosen, how they are counted, and which rows are refused."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw import sim
from approxhw.common.errors import InvalidDataError, OptionError


def test_small_input_spaces_are_exhausted():
    vectors, counts = sim.test_vectors([("a", 3), ("b", 2)], {"a": np.array([7]), "b": np.array([1])})
    assert counts == {"data": 1, "corners": 0, "random": 0, "exhaustive": 32}
    assert (vectors["a"][0], vectors["b"][0]) == (7, 1)
    pairs = set(zip(vectors["a"][1:].tolist(), vectors["b"][1:].tolist(), strict=True))
    assert pairs == {(a, b) for a in range(8) for b in range(4)}


def test_limit_of_exhaustion_is_sixteen_bits():
    assert sim.test_vectors({"a": 16})[1]["exhaustive"] == 65536
    counts = sim.test_vectors({"a": 17})[1]
    assert counts["exhaustive"] == 0
    assert counts["random"] == 1000


def test_rows_come_first_then_corners_then_random():
    ports = [("a", 10), ("b", 9)]
    rows = np.array([[1023, 0], [5, 511], [5, 511]])
    vectors, counts = sim.test_vectors(ports, rows, random=50)
    assert counts["data"] == 3
    assert {len(column) for column in vectors.values()} == {sum(counts.values())}
    assert vectors["a"][:3].tolist() == [1023, 5, 5]
    corners = slice(3, 3 + counts["corners"])
    seen = list(zip(vectors["a"][corners].tolist(), vectors["b"][corners].tolist(), strict=True))
    for wanted in ((0, 0), (1023, 511), (1023, 0), (0, 511), (0x155, 0x155), (0x2AA, 0x0AA), (512, 256), (1, 1)):
        assert wanted in seen, wanted
    assert len(set(seen)) == len(seen)
    assert vectors["a"].dtype == np.int64


def test_each_port_is_at_its_maximum_alone_and_at_zero_alone():
    ports = [(f"x{i}", 4) for i in range(6)]
    vectors, counts = sim.test_vectors(ports, random=0)
    corners = np.stack([vectors[name] for name, _ in ports], axis=1)
    assert len(corners) == counts["corners"]
    for i in range(6):
        alone = np.zeros(6, int)
        alone[i] = 15
        assert (corners == alone).all(axis=1).any()
        assert (corners == 15 - alone).all(axis=1).any()


def test_random_vectors_depend_on_the_seed_only():
    ports = [("a", 100), ("b", 63), ("c", 64)]
    first, counts = sim.test_vectors(ports, seed=5, random=20)
    again, _ = sim.test_vectors(ports, seed=5, random=20)
    other, _ = sim.test_vectors(ports, seed=6, random=20)
    for name, bits in ports:
        assert first[name].tolist() == again[name].tolist()
        assert first[name].tolist() != other[name].tolist()
        assert 0 <= min(first[name]) <= max(first[name]) == (1 << bits) - 1
        assert first[name].dtype == (object if bits > 63 else np.int64)
        assert len(first[name]) == counts["corners"] + 20


def test_design_without_inputs_has_one_vector():
    assert sim.test_vectors([]) == ({}, {"data": 0, "corners": 0, "random": 0, "exhaustive": 1})


def test_rows_that_do_not_fit_are_refused_with_every_reason():
    with pytest.raises(InvalidDataError) as error:
        sim.test_vectors([("a", 4), ("b", 4), ("c", 4)], {"a": [16], "b": [0.5, 1.0], "d": [1]})
    text = str(error.value)
    assert "rows[d]: there is no such port" in text
    assert "rows[c]: is missing" in text
    assert "rows[a]: holds values from 16 to 16, but 4 bits hold 0 to 2^4 - 1" in text
    assert "rows[b]: has shape (2,) and dtype float64, not one integer a row" in text
    assert "rows: columns have different lengths: [1, 2]" in text
    with pytest.raises(InvalidDataError, match=r"rows: have shape \(2, 3\), but there are 2 ports"):
        sim.test_vectors([("a", 4), ("b", 4)], np.zeros((2, 3), int))
    with pytest.raises(InvalidDataError, match="holds values from -1 to 3"):
        sim.test_vectors([("a", 4)], {"a": np.array([-1, 3])})
    with pytest.raises(OptionError, match="a: has 0 bits"):
        sim.test_vectors([("a", 0)])
