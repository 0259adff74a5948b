"""Every breach of the engine's protocol: its bit of fault, no port that waits, right results before it and behind a reset."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from protocol_bench import (
    ABANDONED,
    CHANGED,
    CODES,
    LONG,
    ORPHANED,
    OTHER,
    WEIGHTS,
    Case,
    Seen,
    expected,
    lawful,
    mutated,
    run_cases,
    whole_numbers,
)

from approxhw.backends.matrix_engine.engine import CODED_FAULTS, Engine, engine_verilog
from approxhw.backends.systolic.protocol import FAULTS
from approxhw.numerics.eight_bit.port_codes import EngineCodes
from approxhw.numerics.mac.arithmetic import FloatMac

SMALL = Engine(2, 3, vectors=4)
ENGINES = {
    "depth-2": SMALL,
    "one-column": Engine(3, 1, FloatMac("e4m3", 16, "exact"), depth=4, result="bf16", vectors=2),
    "one-row": Engine(1, 2, FloatMac("fp16", 22, "an-1-1"), depth=1, vectors=8),
    "tall": Engine(7, 2, depth=3, vectors=4),
    "codes": Engine(2, 2, vectors=4, codes=EngineCodes("dynamic8", 64, activations=True)),
    "coded-weights": Engine(2, 3, vectors=4, codes=EngineCodes("linear8", 64)),
    "coded-activations": Engine(2, 1, vectors=4, codes=EngineCodes("static8", weights=False, activations=True)),
}
CHAINS = [(2, 3), (1, 5), (3, 2)]


def vectors_of(case: Case, **changes: object) -> Case:
    """Return *case* with vectors changed: ``at``: which ones."""
    at = changes.pop("at")
    return replace(case, vectors=tuple(replace(v, **changes) if i in at else v for i, v in enumerate(case.vectors)))


def weights_of(case: Case, at: int, end: bool) -> Case:
    return replace(case, weights=tuple(replace(w, end=end) if i == at else w for i, w in enumerate(case.weights)))


def cut(case: Case, start: int, words: int = 0) -> Case:
    """Return *case* without its first vectors, and weights."""
    return replace(case, weights=case.weights[words:], vectors=case.vectors[start:])


WHOLE_NUMBERS = whole_numbers(engine_verilog(SMALL))
WHOLE = lawful(SMALL, CHAINS, 1)  # vectors 0-2, 3-5 | 6-10 | 11-12, 13-14, 15-16
BREACHES = {
    "goes on, the first after reset": (cut(WHOLE, 3, 3), ORPHANED, 0),
    "goes on behind a finished chain": (vectors_of(WHOLE, at=range(6, 11), first=False), ORPHANED, 3),
    "goes on behind a finished chain, alone": (vectors_of(WHOLE, at=range(11, 13), first=False), ORPHANED, 8),
    "first changes inside": (vectors_of(WHOLE, at=[1], first=False), CHANGED, 0),
    "first changes at the end": (vectors_of(WHOLE, at=[5], first=True), CHANGED, 2),
    "last changes inside": (vectors_of(WHOLE, at=[7], last=False), CHANGED, 4),
    "both change": (vectors_of(WHOLE, at=[14], first=True, last=True), CHANGED, 8),
    "a chain begins, the one before has not ended": (vectors_of(WHOLE, at=range(3, 6), first=True), ABANDONED, 0),
    "tlast of a vector early": (vectors_of(WHOLE, at=[4], end=True), OTHER, 1),
    "tlast of a vector late": (vectors_of(WHOLE, at=[14], end=False), OTHER, 8),
    "tlast of a chain's first tile missing": (vectors_of(WHOLE, at=[2], end=False), CHANGED, 0),
    "tile longer than the memory": (lawful(SMALL, [(1, 2), (2, 5)], 2), LONG, 2),
    "tile goes on and is longer": (replace(WHOLE, vectors=(*WHOLE.vectors[:5], *WHOLE.vectors[4:])), OTHER, 2),
    "tlast of weights early": (weights_of(WHOLE, 6, True), WEIGHTS, 3),
    "tlast of weights missing": (weights_of(WHOLE, 8, False), WEIGHTS, 3),
    "a word of weights lost": (replace(WHOLE, weights=WHOLE.weights[:7] + WHOLE.weights[8:]), WEIGHTS, 3),
    "a word of weights too many": (replace(WHOLE, weights=WHOLE.weights[:7] + WHOLE.weights[6:]), WEIGHTS, 3),
}


def judged(engine: Engine, case: Case, seen: Seen, name: object = "", *, whole: bool = False) -> int:
    """Check what came of *case*; return the fault that must stand."""
    results, fault, besides = expected(engine, case, whole=whole)
    assert seen.results == results, name
    assert seen.fault & fault == fault, name
    assert seen.fault & ~(fault | besides) == 0, name
    if fault:  # no port waits
        assert (seen.weights, seen.vectors) == (len(case.weights), len(case.vectors)), name
    return fault


@pytest.fixture(scope="module")
def seen_on_icarus(icarus, tmp_path_factory):
    """Every breach, once without pauses and once with, each followed by streams that keep to the protocol."""
    cases = []
    for case, *_ in BREACHES.values():
        for rest in (0, 30):
            cases += [replace(case, rest=rest), replace(WHOLE, rest=rest)]
    return cases, run_cases(SMALL, cases, "icarus", tmp_path_factory.mktemp("breaches"), WHOLE_NUMBERS)


@pytest.mark.parametrize("number", range(len(BREACHES)), ids=list(BREACHES))
def test_every_breach_has_its_bit_and_stops_no_port(seen_on_icarus, number):
    cases, seen = seen_on_icarus
    _, fault, before = list(BREACHES.values())[number]
    for at in (4 * number, 4 * number + 2):
        assert judged(SMALL, cases[at], seen[at], whole=True) == fault
        assert len(seen[at].results) == before  # by hand, beside the model
        assert seen[at].fault == fault
        assert judged(SMALL, cases[at + 1], seen[at + 1], whole=True) == 0
        assert len(seen[at + 1].results) == 10


def test_words_that_do_not_come_are_waited_for_and_are_no_fault(icarus, tmp_path):
    """Too few weights, or vectors: nothing is broken yet. Nor is it where tvalid goes away again."""
    few = replace(WHOLE, weights=WHOLE.weights[:7])
    short = replace(WHOLE, vectors=WHOLE.vectors[:12])
    seen = run_cases(SMALL, [few, short, replace(WHOLE, rest=32)], "icarus", tmp_path / "waits", WHOLE_NUMBERS)
    assert [each.fault for each in seen] == [0, 0, 0]
    assert [len(each.results) for each in seen] == [3, 8, 10]
    assert seen[0].weights == 7
    assert seen[1].vectors == 12
    assert seen[2].results == expected(SMALL, WHOLE, whole=True)[0]


@pytest.mark.parametrize("name", ["depth-2", "tall", "codes"])
def test_a_reset_of_one_clock_anywhere_leaves_nothing_behind(icarus, tmp_path, name):
    engine = ENGINES[name]
    whole = lawful(engine, CHAINS, 3)
    cases = [each for stop in range(1, 90, 3) for each in (replace(whole, stop=stop), lawful(engine, [(2, 3)], stop))]
    seen = run_cases(engine, cases, "icarus", tmp_path / name, whole_numbers(engine_verilog(engine)))
    wanted = expected(engine, whole, whole=True)[0]
    cut_off = [each.results for each in seen[::2]]
    assert all(each == wanted[: len(each)] for each in cut_off)
    assert {0, 3, 8} < {len(each) for each in cut_off}
    for case, each in zip(cases[1::2], seen[1::2], strict=True):
        assert judged(engine, case, each, whole=True) == 0
        assert len(each.results) == 3


@pytest.mark.parametrize("name", ENGINES)
def test_breaches_at_random(icarus, tmp_path, name):
    """Whatever is broken, and wherever: what leaves is right, nothing leaves that should not, and no port waits."""
    engine, source = ENGINES[name], random.Random(name)
    cases = []
    for seed in range(80):
        chains = [(source.randint(1, 3), source.randint(1, engine.vectors)) for _ in range(source.randint(1, 3))]
        whole = lawful(engine, chains, seed)
        cases += [mutated(engine, whole, source), replace(whole, rest=source.choice((0, 30)))]
    seen = run_cases(engine, cases, "icarus", tmp_path / name, whole_numbers(engine_verilog(engine)))
    faults = Counter(judged(engine, *pair, number, whole=True) for number, pair in enumerate(zip(cases, seen)))
    wanted = {OTHER, WEIGHTS, ORPHANED, CHANGED, ABANDONED} | ({CODES} if engine.codes else set())
    assert wanted <= faults.keys()
    assert all(faults[bit] >= 2 for bit in wanted)
    assert all(judged(engine, *pair, whole=True) == 0 for pair in zip(cases[1::2], seen[1::2], strict=True))


@pytest.mark.slow
def test_verilator_sees_the_same(verilator, icarus, tmp_path):
    engine, source = ENGINES["codes"], random.Random(5)
    cases = [mutated(engine, lawful(engine, CHAINS, seed), source) for seed in range(60)]
    seen = [run_cases(engine, cases, name, tmp_path / name) for name in ("icarus", "verilator")]
    assert seen[0] == seen[1]
    assert len({each.fault for each in seen[0]}) >= 5


DEFECTS = [
    ("  assign broken[3] = changed;", "  assign broken[3] = 1'b0;"),
    ("  assign broken[2] = orphaned;", "  assign broken[2] = 1'b0;"),
    ("under_way <= ~vector_end;", "under_way <= 1'b0;"),
    (".push(comes & placed)", ".push(comes)"),
    ("(weights_broken & ~streaming & ~loading)", "1'b0"),
    ("open      <= ~vector_last;", "open      <= 1'b1;"),
]


@pytest.mark.parametrize(("right", "wrong"), DEFECTS)
def test_defects_are_found(icarus, tmp_path, right, wrong):
    assert WHOLE_NUMBERS.count(right) == 1
    cases = [each for case, *_ in BREACHES.values() for each in (case, WHOLE)]
    seen = run_cases(SMALL, cases, "icarus", tmp_path / "broken", WHOLE_NUMBERS.replace(right, wrong))
    with pytest.raises(AssertionError):
        _ = [judged(SMALL, *pair, whole=True) for pair in zip(cases, seen, strict=True)]


def test_bits_of_fault_have_words():
    assert len(FAULTS) == 6
    assert len(CODED_FAULTS) == 7
    assert CODED_FAULTS[:6] == FAULTS
    assert [bit.bit_length() - 1 for bit in (LONG, OTHER, WEIGHTS, ORPHANED, CHANGED, ABANDONED, CODES)] == [*range(7)]
    assert np.log2(CODES) == 6
