"""Lists of gates: kernels equal a plain reference, faults are named, moves keep what they say."""

import numpy as np
import pytest

from approxhw.ir.kinds import random_gates
from approxhw.numerics.logic.gates import (
    AND,
    ARITIES,
    FUNCTIONS,
    NAND,
    NOT,
    SELECT,
    XOR,
    GateList,
    bits_that_count,
    gate_faults,
    output_patterns,
    run_gates,
)
from approxhw.numerics.logic.kernels import gate_words, removal

MEANING = {
    "not": lambda a: 1 - a,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "nand": lambda a, b: 1 - (a & b),
    "nor": lambda a, b: 1 - (a | b),
    "xnor": lambda a, b: 1 - (a ^ b),
    "select": lambda s, a, b: b if s else a,
}


def reference(gates, row, bits, width):
    """What the gates make of one row of codes, bit by bit."""
    values = [0, 1, *(int(code) >> place & 1 for code in row for place in range(bits))]
    for function, read in zip(gates.functions.tolist(), gates.operands.tolist()):
        values.append(MEANING[FUNCTIONS[function]](*(values[s] for s in read[: ARITIES[function]])))
    out = [values[signal] for signal in gates.outputs.tolist()]
    return [sum(bit << i for i, bit in enumerate(out[at : at + width])) for at in range(0, len(out), width)]


def some_gates(seed, bits=3, elements=4, outputs=6, count=40):
    rng = np.random.default_rng(seed)
    return random_gates(rng, bits * elements, outputs, count), rng


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 300])
def test_the_kernel_equals_the_reference(rows):
    seen = 0
    for seed in range(12):
        gates, rng = some_gates(seed, count=seed * 7)
        assert gate_faults(gates) == []
        codes = rng.integers(-9, 16, (rows, 4))  # what stands above the bits that are read is ignored
        found = run_gates(gates, codes, 3, 2)
        assert found.tolist() == [reference(gates, row, 3, 2) for row in codes]
        seen += found.size
    assert seen == 12 * rows * 3


def test_rows_are_worked_on_in_blocks():
    gates, rng = some_gates(3, count=gate_words.WORDS // 8)  # nine words a block
    codes = rng.integers(0, 8, (1500, 4))
    chosen = [0, 575, 576, 577, 1151, 1152, 1499]
    assert run_gates(gates, codes, 3, 6)[chosen].tolist() == [reference(gates, codes[i], 3, 6) for i in chosen]


def test_every_pattern_of_the_bits_that_count():
    gates = GateList(40, [AND, NOT], [[3, 30, 0], [42, 0, 0]], [42, 43, 3])
    assert np.flatnonzero(bits_that_count(gates)).tolist() == [1, 28]
    assert sorted(output_patterns(gates, 3).ravel().tolist()) == [0b010, 0b010, 0b101, 0b110]
    assert output_patterns(GateList(40, [], np.zeros((0, 3)), np.arange(2, 22)), 20) is None


def test_every_fault_is_named():
    gates = GateList(2, [9, AND, NOT, SELECT], [[2, 2, 0], [2, 5, 0], [2, 3, 0], [2, 3, 4]], [8, -1])
    assert gate_faults(gates) == [
        "gate 0 has function 9; there are 0…7",
        "gate 1, signal 5, reads [2, 5]: only signals above it, 0…4",
        "gate 2, not, has more than 1 operands",
        "output 0 is signal 8; there are 0…7",
        "output 1 is signal -1; there are 0…7",
    ]
    many = np.zeros(200_001)
    assert gate_faults(GateList(1, many, np.zeros((200_001, 3)), [0])) == ["it has 200001 gates; 200000 are the most"]


def test_equal_lists_are_equal_and_frozen():
    gates, _ = some_gates(1)
    other = GateList(gates.inputs, gates.functions.tolist(), gates.operands.tolist(), gates.outputs.tolist())
    assert other == gates
    assert hash(other) == hash(gates)
    assert GateList(gates.inputs, gates.functions, gates.operands, gates.outputs[::-1]) != gates
    with pytest.raises(ValueError, match="read-only"):
        gates.functions[0] = XOR


# Moves -----------------------------------------------------------------------------------------------------------------

AREAS = np.array([0.2, 0.5, 0.6, 1.0, 0.25, 0.4, 1.3, 0.9, 0.0, 0.0, 0.0])


class Planes:
    """Random gates on random rows, as the kernels of moves have them."""

    def __init__(self, seed, rows=200, count=60):
        self.gates, rng = some_gates(seed, bits=1, elements=9, outputs=3, count=count)
        self.first = self.gates.first
        self.codes = rng.integers(0, 2, (rows, 9))
        right = run_gates(self.gates, self.codes, 1, 3).ravel()
        self.labels = np.where(rng.random(rows) < 0.2, rng.integers(0, 8, rows), right)
        self.words = (rows + 63) // 64
        self.functions, self.operands = self.gates.functions.copy(), self.gates.operands.copy()
        self.outputs = self.gates.outputs.copy()
        self.planes = np.zeros((self.first + count, self.words), np.uint64)
        gate_words.load_planes(self.codes, 0, rows, 1, self.planes)
        gate_words.run_planes(self.functions, self.operands, self.first, self.planes, self.words)
        bits = np.zeros((4, self.words * 64), np.uint8)
        bits[3, :rows] = 1
        for output in range(3):
            bits[output, :rows] = self.labels >> output & 1
        packed = np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
        self.wanted, self.mask = packed[:3].copy(), packed[3].copy()
        self.alias = np.empty(self.first + count, np.int32)
        self.live = np.empty(self.first + count, np.bool_)
        self.rng = rng

    def made(self, functions, operands, outputs):
        """The number of each row, gate by gate, of a netlist that may hold copies and constants."""
        meaning = [*MEANING.values(), lambda a: a, lambda a: 0, lambda a: 1]
        arities, found = (*ARITIES, 1, 1, 1), []
        for row in self.codes.tolist():
            values = [0, 1, *row]
            for function, read in zip(functions.tolist(), operands.tolist()):
                values.append(meaning[function](*(values[s] for s in read[: arities[function]])))
            found.append(sum(values[s] << i for i, s in enumerate(outputs.tolist())))
        return np.array(found)

    def simplified(self):
        return removal.simplify(
            self.functions, self.operands, self.outputs, self.first, AREAS, self.alias, self.live
        )  # fmt: skip

    def some_moves(self, count=40):
        gates = self.rng.integers(0, len(self.functions), count)
        functions = self.rng.choice([gate_words.ZERO, gate_words.ONE, gate_words.COPY, NOT, NAND, AND], count)
        operands = self.rng.integers(0, self.first + gates[:, None], (count, 2))
        return np.concatenate([gates[:, None], functions[:, None], operands], axis=1)


@pytest.mark.parametrize("seed", range(8))
def test_simplifying_changes_no_output(seed):
    case = Planes(seed)
    before = case.made(case.functions, case.operands, case.outputs)
    whole = AREAS[case.functions].sum()
    area = case.simplified()
    assert np.array_equal(case.made(case.functions, case.operands, case.outputs), before)
    assert area < whole
    assert area == pytest.approx(AREAS[case.functions[case.live[case.first :]]].sum())
    assert case.simplified() == area
    live = case.functions[case.live[case.first :]]
    assert not np.isin(live, [gate_words.COPY, gate_words.ZERO, gate_words.ONE]).any()


def changed(case, move):
    functions, operands = case.functions.copy(), case.operands.copy()
    functions[move[0]], operands[move[0]] = move[1], [move[2], move[3], 0]
    return functions, operands


@pytest.mark.parametrize("seed", range(6))
def test_trying_a_move_counts_what_it_would_do(seed):
    case = Planes(seed)
    area = case.simplified()
    moves = case.some_moves(300)
    limit = removal.count_wrong(case.outputs, case.wanted, case.mask, case.planes, 0, case.words) + 30
    case.live[: case.first] = True
    apart = (moves[:, 2] != moves[:, 3]) & (moves[:, 2:] > 1).all(axis=1)  # else it is a simpler gate at once
    moves = moves[apart & case.live[case.first + moves[:, 0]] & case.live[moves[:, 2:]].all(axis=1)]
    errors, freed = np.zeros(len(moves), np.int64), np.zeros(len(moves))
    removal.try_moves(
        moves, case.functions, case.operands, case.outputs, case.first, case.live, case.planes, case.wanted, case.mask,
        case.words, AREAS, limit, errors, freed,
    )  # fmt: skip
    fitting = 0
    for move, wrong, gain in zip(moves, errors, freed):
        functions, operands = changed(case, move)
        really = np.count_nonzero(case.made(functions, operands, case.outputs) != case.labels)
        if wrong > limit:
            assert really > limit
            assert gain == 0
            continue
        assert wrong in (0, really), "a move that frees nothing is not looked at"
        outputs = case.outputs.copy()
        after = removal.simplify(functions, operands, outputs, case.first, AREAS, case.alias.copy(), case.live.copy())
        assert after <= area - gain + 1e-9, "what constants decide comes on top"
        fitting += gain > 0
    assert fitting > 0


@pytest.mark.parametrize("seed", range(6))
def test_moves_that_are_taken_keep_planes_errors_and_area(seed):
    case = Planes(seed, rows=256)
    area = case.simplified()
    best = case.functions.copy(), case.operands.copy(), case.outputs.copy()
    figures = np.array([area, 0, 0, area])
    start = removal.count_wrong(case.outputs, case.wanted, case.mask, case.planes, 0, 2)
    aside = removal.count_wrong(case.outputs, case.wanted, case.mask, case.planes, 2, 4)
    limits = np.array([start + 6, aside + 2])
    taken = removal.take_moves(
        case.some_moves(300), case.functions, case.operands, case.outputs, case.first, case.planes, case.wanted, case.mask, 2,
        AREAS, limits, 1e-9, 0.0, *best, figures,
    )  # fmt: skip
    assert taken > 0
    made = case.made(case.functions, case.operands, case.outputs)
    wrong = made != case.labels
    assert figures[1] == np.count_nonzero(wrong[:128]) <= limits[0]
    assert figures[2] == np.count_nonzero(wrong[128:])
    assert figures[0] < area
    planes = case.planes.copy()
    gate_words.run_planes(case.functions, case.operands, case.first, planes, 4)
    assert np.array_equal(planes, case.planes)
    kept = case.made(*best) != case.labels
    assert np.count_nonzero(kept[128:]) <= limits[1]


def test_the_signals_that_agree_most_are_found():
    case = Planes(2, rows=256)
    gates, sources = np.arange(20, 30), np.arange(2, case.first + 40)
    found = np.zeros((len(gates), 3, 2), np.int64)
    removal.agreeing_signals(gates, sources, case.first, case.planes, np.arange(4), found)
    bits = np.unpackbits(case.planes.view(np.uint8), axis=1, bitorder="little").astype(bool)
    for gate, near in zip(gates, found):
        own = case.first + gate
        agree = {s: np.count_nonzero(bits[own] == bits[s]) for s in sources if s < own}
        ranked = sorted((max(n, 256 - n) for n in agree.values()), reverse=True)
        for place, (signal, inverted) in enumerate(near):
            assert ranked[place] == (256 - agree[signal] if inverted else agree[signal])
