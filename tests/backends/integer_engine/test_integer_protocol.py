"""Every breach of the integer engine's protocol, tiles of one vector one behind the other, and resets of one clock."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
from protocol_bench import ABANDONED, CHANGED, LONG, ORPHANED, OTHER, WEIGHTS, Case, Word, expected, mutated, run_cases

from approxhw.backends.integer_engine.engine import TOP, IntegerArray, integer_engine_verilog
from approxhw.backends.systolic.protocol import FAULTS
from approxhw.numerics.exact.fixed_point import requantized_sum
from approxhw.numerics.mac.integer_mac import IntegerMac

ENGINES = {
    "two banks": IntegerArray(6, 2, IntegerMac(accumulator_bits=20), 2, 4),
    "four banks": IntegerArray(2, 3, IntegerMac(accumulator_bits=24), 1, 8, "sums", banks=4),
    "one column": IntegerArray(3, 1, IntegerMac(accumulator_bits=20), 2, 2, variate=8),
}
TEXTS = {name: integer_engine_verilog(engine) for name, engine in ENGINES.items()}
CHAINS = [(2, 3), (1, 5), (3, 2)]


def ports(engine: IntegerArray) -> SimpleNamespace:
    """Return what the bench of the other engine asks for."""
    return SimpleNamespace(
        rows=engine.rows,
        columns=engine.columns,
        vectors=engine.vectors,
        weight_word_bits=engine.weight_word_bits,
        activation_word_bits=engine.activation_word_bits,
        result_bits=engine.result_bits,
        fields=engine.fields(),
        latency=engine.latency + engine.end_latency,
        top=TOP,
        codes=None,
        weight_codes=None,
        activation_codes=None,
    )


def word_of(numbers, width: int = 8) -> int:
    return sum((number & 255) << width * row for row, number in enumerate(numbers))


def weight_word(engine: IntegerArray, source: random.Random, end: bool) -> Word:
    """Return a word of weights; its numbers: the weights, then the constants of the column."""
    weights = [source.randint(-128, 127) for _ in range(engine.rows)]
    drawn = {
        "bias": source.randint(-9999, 9999),
        "coefficient": source.randint(-99, 99),
        "multiplier": source.randint(1000, 9999),
        "shift": source.randint(20, 23),
        "zero": source.randint(-9, 9),
        "low": source.randint(-128, -90),
        "high": source.randint(90, 127),
    }
    word, at = word_of(weights), 8 * engine.rows
    for name, bits in engine.fields().items():
        word |= (drawn[name] & ((1 << bits) - 1)) << at
        at += bits
    return Word(word, (*weights, *(drawn[name] for name in engine.fields())), end)


def chains(engine: IntegerArray, sizes, seed: int) -> Case:
    """Return chains of (tiles, vectors) one behind the other, all numbers random; no two tiles have the same constants."""
    source = random.Random(seed)
    weights, vectors = [], []
    for tiles, count in sizes:
        for tile in range(tiles):
            weights += [weight_word(engine, source, c == engine.columns - 1) for c in range(engine.columns)]
            for i in range(count):
                x = [source.randint(-128, 127) for _ in range(engine.rows)]
                vectors.append(Word(word_of(x), tuple(x), i == count - 1, tile == 0, tile == tiles - 1))
    return Case(tuple(weights), tuple(vectors))


def ended(engine, numbers, stays) -> int:
    """Return the word of results of one vector: plain integers; the constants are those of the chain's last tile."""
    word = 0
    for column in range(engine.columns):
        constants = dict(zip(engine.fields, (int(each) for each in stays[-1][engine.rows :, column]), strict=True))
        total = constants.pop("bias") + constants.pop("coefficient", 0) * sum(int(sum(x)) for x in numbers)
        for x, tile in zip(numbers, stays, strict=True):
            total += sum(int(a) * int(b) for a, b in zip(x, tile[: engine.rows, column], strict=True))
        result = requantized_sum(total, **constants) if constants else total
        word |= (result & ((1 << engine.result_bits) - 1)) << engine.result_bits * column
    return word


def judged(engine: IntegerArray, case: Case, seen, name: object = "") -> int:
    """Check what came of *case*; return the fault that must stand."""
    results, fault, besides = expected(ports(engine), case, chain=ended)
    assert seen.results == results, name
    assert seen.fault & fault == fault, name
    assert seen.fault & ~(fault | besides) == 0, name
    if fault:  # no port waits
        assert (seen.weights, seen.vectors) == (len(case.weights), len(case.vectors)), name
    return fault


@pytest.mark.parametrize("name", ENGINES)
def test_breaches_at_random(icarus, tmp_path, name):
    """Whatever is broken, and wherever: what leaves is right, nothing leaves that should not, and no port waits."""
    engine, source = ENGINES[name], random.Random(name)
    cases = []
    for seed in range(60):
        sizes = [(source.randint(1, 3), source.randint(1, engine.vectors)) for _ in range(source.randint(1, 3))]
        whole = chains(engine, sizes, seed)
        cases += [mutated(ports(engine), whole, source), replace(whole, rest=source.choice((0, 30)))]
    for count in range(1, 7):  # tiles of one vector that wait for a bank, and then broken weights
        whole = chains(engine, [(1, 1)] * count, count)
        cases += [replace(whole, weights=(*whole.weights[:-1], replace(whole.weights[-1], end=False))), whole]
    seen = run_cases(ports(engine), cases, "icarus", tmp_path / "icarus", TEXTS[name])
    faults = Counter(judged(engine, *pair, number) for number, pair in enumerate(zip(cases, seen, strict=True)))
    wanted = {OTHER, WEIGHTS, ORPHANED, CHANGED, ABANDONED}
    assert wanted <= faults.keys()
    assert sum(faults.values()) == 132
    assert all(judged(engine, *pair) == 0 for pair in zip(cases[1::2], seen[1::2], strict=True))


def test_tiles_of_one_vector_end_with_their_own_constants(icarus, tmp_path):
    """One behind the other without a gap, chains of one tile and of several, banks that run out: also with rests."""
    for name, engine in ENGINES.items():
        plain = [chains(engine, [(1, 1)] * 12, 1), chains(engine, [(1, 1), (2, 1), (1, 2), (3, 1)] * 3, 2)]
        cases = [*plain, *(replace(case, rest=rest) for case in plain for rest in (10, 40))]
        seen = run_cases(ports(engine), cases, "icarus", tmp_path / name.replace(" ", "_"), TEXTS[name])
        assert [judged(engine, *pair) for pair in zip(cases, seen, strict=True)] == [0] * 6
        assert [len(each.results) for each in seen[:2]] == [12, 15]


def test_a_reset_of_one_clock_anywhere_leaves_nothing_behind(icarus, tmp_path):
    engine = ENGINES["two banks"]
    whole = chains(engine, CHAINS, 3)
    cases = [each for stop in range(1, 90, 3) for each in (replace(whole, stop=stop), chains(engine, [(2, 3)], stop))]
    seen = run_cases(ports(engine), cases, "icarus", tmp_path / "icarus", TEXTS["two banks"])
    wanted = expected(ports(engine), whole, chain=ended)[0]
    assert all(each.results == wanted[: len(each.results)] for each in seen[::2])
    assert len({len(each.results) for each in seen[::2]}) > 5
    assert [judged(engine, *pair) for pair in zip(cases[1::2], seen[1::2], strict=True)] == [0] * 30


DEFECTS = [
    ("assign bank_there = ~tiles[BANK_BITS];", "assign bank_there = 1'b1;"),
    (".weights_broken(weights_fault & ~hold)", ".weights_broken(weights_fault)"),
    ("if (load) bank <= next_bank;", "bank <= 0;"),
    (
        ".data_out({last_of_tile, tile_done})\n        );",
        ".data_out({last_of_tile, in_time})\n        );\n        assign tile_done = valid & south_here[SOUTH-3];",
    ),
    (".push(comes & placed)", ".push(comes)"),
    (".north_first(north_here[NORTH-1])", ".north_first(1'b1)"),
]


@pytest.mark.parametrize(("right", "wrong"), DEFECTS)
def test_defects_are_found(icarus, tmp_path, right, wrong):
    engine, text = ENGINES["two banks"], TEXTS["two banks"]
    assert text.count(right) == 1
    whole = chains(engine, [(1, 1)] * 6 + CHAINS, 4)
    ones = chains(engine, [(1, 1)] * 4, 5)
    broken = [replace(ones, weights=(*ones.weights[:-1], replace(ones.weights[-1], end=False))), ones]
    cases = [whole, replace(whole, rest=20), *broken, whole]
    seen = run_cases(ports(engine), cases, "icarus", tmp_path / "broken", text.replace(right, wrong))
    with pytest.raises(AssertionError):
        _ = [judged(engine, *pair) for pair in zip(cases, seen, strict=True)]


def test_bits_of_fault_have_words():
    assert len(FAULTS) == 6
    assert [bit.bit_length() - 1 for bit in (LONG, OTHER, WEIGHTS, ORPHANED, CHANGED, ABANDONED)] == [*range(6)]
