"""Exact resynthesis: fewer gates, equal on every code that can occur; pairs of signals are what they say."""

import numpy as np
import pytest

from approxhw.ir.kinds import random_gates
from approxhw.numerics.formats import Encoding
from approxhw.numerics.logic.care_set import CareSet, care_set, every_word
from approxhw.numerics.logic.gates import AND, NAND, NOR, OR, XOR, GateList, MappedGates, run_gates
from approxhw.numerics.logic.kernels.resubstitution import MOST_PAIRS, covering_pairs
from approxhw.numerics.logic.removal import signal_planes
from approxhw.numerics.logic.resynthesis import differing_words, most_occurring, resynthesise

AREAS = (0.2, 0.5, 0.6, 1.0, 0.25, 0.4, 1.3, 0.9)


def priced(gates):
    """The gates as if they were mapped: a synthesiser that changes nothing."""
    return MappedGates(gates, sum(AREAS[function] for function in gates.functions.tolist()), AREAS)


def sorted_bits(count, readings=2):
    """A thermometer of *count* bits of each of *readings*."""
    reads = np.repeat(np.arange(readings), count).tolist()
    borders = tuple((float(border),) for border in [*range(count)] * readings)
    size = len(reads)
    return care_set(
        Encoding(1, "thermometer", (0.0,) * size, (1.0,) * size, borders=borders, closed=((True,),) * size,
                 reads=tuple(reads), readings=readings),
        size,
    )  # fmt: skip


def test_sorted_bits_leave_gates_free():
    # of x > 0, x > 1, x > 2: (a & b) ^ c is b ^ c, as b implies a; b & ~c would do as well
    gates = GateList(6, [AND, XOR], [[2, 3, 0], [8, 4, 0]], [9])
    found = resynthesise(priced(gates), sorted_bits(3), priced, candidates=4, rng=np.random.default_rng(1))
    assert (found.words, found.mappings > 0) == (4, True)
    assert found.mapped.gates.functions.tolist() in ([XOR], [NOR], [AND])
    assert differing_words(gates, found.mapped.gates, sorted_bits(3)) == 0
    everything = CareSet(1, 6)
    kept = resynthesise(priced(gates), everything, priced, candidates=4, rng=np.random.default_rng(1))
    assert kept.mapped.gates == gates
    assert kept.words == 8


def test_random_netlists_stay_equal_on_all_codes_that_can_occur():
    smaller = compared = 0
    for seed in range(6):
        rng, care = np.random.default_rng(seed), sorted_bits(4, 3)
        gates = random_gates(rng, 12, 3, 80)
        found = resynthesise(priced(gates), care, priced, candidates=4, rng=rng)
        smaller += found.mapped.area_mm2 < priced(gates).area_mm2
        rows = every_word(care, np.ones((12, 1), dtype=bool))
        assert np.array_equal(run_gates(gates, rows, 1, 3), run_gates(found.mapped.gates, rows, 1, 3))
        assert differing_words(gates, found.mapped.gates, care) == 0
        compared += len(rows)
    assert (smaller, compared) == (4, 6 * 125)


def test_what_differs_is_counted_and_never_given_back():
    care = sorted_bits(3)
    one, other = (GateList(6, [function], [[2, 3, 0]], [8]) for function in (AND, OR))
    assert differing_words(one, other, care) == 1  # x > 0 alone
    assert differing_words(one, GateList(6, [], np.zeros((0, 3)), [3]), care) == 0
    wrong = Resynthesiser(other)
    with pytest.raises(ValueError, match="resynthesised gates differ on codes that can occur"):
        resynthesise(priced(one), care, wrong, candidates=1, rng=np.random.default_rng(1))


class Resynthesiser:
    """A synthesiser gone wrong: it gives another circuit, and calls it small."""

    def __init__(self, gates):
        self.gates = gates

    def __call__(self, gates):
        return MappedGates(self.gates, 0.01, AREAS)


def test_more_codes_than_can_be_looked_at_are_none():
    wires = GateList(40, [XOR], [[2, 41, 0]], np.arange(2, 42))
    assert resynthesise(priced(wires), CareSet(1, 40), priced, candidates=1, rng=np.random.default_rng(1)) is None
    assert most_occurring(wires) == 1 << 24
    assert most_occurring(GateList(2, np.zeros(996), np.zeros((996, 3)), [0])) == (1 << 25) // 1000 * 64


@pytest.mark.parametrize("seed", range(4))
def test_pairs_make_the_signal_they_are_told_for(seed):
    rng = np.random.default_rng(seed)
    gates = random_gates(rng, 6, 3, 60)
    inputs = np.zeros((8, 2), dtype=np.uint64)
    inputs[1] = ~np.uint64(0)
    inputs[2:] = rng.integers(0, 1 << 63, (6, 2), dtype=np.uint64) * 2 + rng.integers(0, 2, (6, 2), dtype=np.uint64)
    planes = signal_planes(gates, inputs)
    chosen, sources = np.arange(20, 60), np.arange(2, 68)
    found = np.zeros((MOST_PAIRS * 40, 4), dtype=np.int64)
    count = covering_pairs(chosen, sources, 8, planes, 2, found)
    assert count > 20
    meaning = {AND: lambda a, b: a & b, OR: lambda a, b: a | b, NAND: lambda a, b: ~(a & b), NOR: lambda a, b: ~(a | b)}
    for gate, function, a, b in found[:count].tolist():
        assert max(a, b) < 8 + gate
        assert np.array_equal(meaning[function](planes[a], planes[b]), planes[8 + gate])
    told = {(gate, function, *sorted(pair)) for gate, function, *pair in found[:count].tolist()}
    missed = 0
    for gate in chosen.tolist():  # every pair that there is, where they are few
        own = planes[8 + gate]
        pairs = {
            (gate, function, a, b)
            for function, make in meaning.items()
            for a in range(2, 8 + gate)
            for b in range(a + 1, 8 + gate)
            if np.array_equal(make(planes[a], planes[b]), own)
            and not any(np.array_equal(make(planes[s], planes[s]), own) for s in (a, b))
        }
        missed += bool(pairs) and not any(row[0] == gate for row in told)
    assert missed == 0
