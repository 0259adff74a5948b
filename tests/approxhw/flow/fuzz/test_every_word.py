"""Every word of random circuits, bit by bit, against the interpreter: a class index alone hides faults in low bits."""

import numpy as np
import pytest

from approxhw.backends.bespoke import compression
from approxhw.backends.bespoke.circuit import _Builder
from approxhw.backends.cells.blocks import Whole
from approxhw.flow.fuzz import random_program
from approxhw.ir.interpreter import run_all
from approxhw.ir.kinds import Input


def full(a, b, c):
    return {"sum": a ^ b ^ c, "carry": (a & b) | (a & c) | (b & c)}


LANES = {
    "full_adders": full,
    "half_adders": lambda a, b: {"sum": a ^ b, "carry": a & b},
    "half_adders_plus_one": lambda a, b: {"sum": ~(a ^ b), "carry": a | b},
    "choose": lambda take_b, a, b: {"y": np.where(take_b, b, a)},
    "mask_bits": lambda keep, x: {"y": x & keep},
    "saturate_bits": lambda overflow, x: {"y": x | overflow},
}


def ripple(a, b, carry_in):
    (carry,), sums = carry_in, []
    for left, right in zip(a, b, strict=True):
        made = full(left, right, carry)
        sums.append(made["sum"])
        carry = made["carry"]
    return {"sum": sums, "carry_out": [carry]}


def above(a, b):
    result = np.zeros_like(a[0])
    for left, right in zip(a, b, strict=True):
        result = np.where(left == right, result, left)
    return {"greater": [result]}


def looked_up(x, parameters):
    values = {name: value for name, value, _ in parameters}
    entry = sum(bit.astype(np.int64) << place for place, bit in enumerate(x))
    found = [values["TABLE"] >> values["OUT"] * number for number in entry.tolist()]
    return {"y": [np.array([code >> place & 1 for code in found], dtype=bool) for place in range(values["OUT"])]}


WHOLES = {"ripple_adder": ripple, "greater_than": above, "any_bit": lambda x: {"any": [np.logical_or.reduce(x)]}}


class Values:
    """Bits of every row by name and position."""

    def __init__(self, count):
        self.bits, self.count = {}, count

    def __getitem__(self, bit):
        if isinstance(bit, int):
            return np.full(self.count, bool(bit))
        name, position = bit
        return ~self.bits[name[:-1], position] if name.endswith("~") else self.bits[bit]

    def run(self, block):
        for cell in block.cells:
            if isinstance(cell, Whole):
                inputs = {port: [self[bit] for bit in bits] for port, bits in cell.inputs}
                known = {"parameters": cell.parameters} if cell.parameters else {}
                made = (looked_up if known else WHOLES[cell.template])(**inputs, **known)
                for port, dots in cell.outputs:
                    self.bits.update(zip(dots, made[port], strict=True))
            else:
                made = LANES[cell.template](**{port: self[bit] for port, bit in cell.inputs})
                self.bits.update({dot: made[port] for port, dot in cell.outputs})
        leaving = {name: [self[bit] for bit in bits] for name, bits in block.outputs.items()}
        self.bits = {dot: value for dot, value in self.bits.items() if not dot[0].startswith(":")}
        for name, bits in leaving.items():
            self.bits.update({(name, position): value for position, value in enumerate(bits)})

    def word(self, word):
        total = np.zeros(self.count, dtype=object)
        for position, bit in enumerate(word.bits):
            sign = word.signed and position == len(word.bits) - 1
            total += self[bit].astype(object) * (-1 if sign else 1) * (1 << position)
        return total


def wrong_words(graph, seed, count=40):
    """Return how many words were compared, and those that differ from the interpreter or leave their range."""
    op, fmt = graph.input.op, graph.input.type.format
    assert isinstance(op, Input)
    rows = np.random.default_rng([seed, 9]).integers(0, fmt.high + 1, (count, len(op.features)))
    rows[0], rows[1] = 0, fmt.high
    builder = _Builder(graph, graph.name)
    words = builder.build()
    values = Values(count)
    for i, feature in enumerate(op.features):
        values.bits.update({(feature, bit): (rows[:, i] >> bit & 1).astype(bool) for bit in range(fmt.bits)})
    for block in builder.blocks:
        values.run(block)
    wanted, compared, wrong = run_all(graph, rows), 0, []
    for name, made in words.items():
        known = wanted[name].reshape(count, -1).astype(object)
        for element, word in enumerate(made):
            seen = values.word(word)
            compared += 1
            if not (seen == known[:, element]).all() or min(seen) < word.low or max(seen) > word.high:
                wrong.append((name, element))
    return compared, wrong


def test_every_word_of_random_circuits_equals_the_interpreter():
    total = 0
    for seed in range(1, 81):
        compared, wrong = wrong_words(random_program(seed), seed)
        assert wrong == [], seed
        total += compared
    assert total > 800


def lose_a_carry(monkeypatch):
    right = compression._combine

    def wrong(kind, count, column, dots, waiting, lanes, used, prefix):
        right(kind, count, column, dots, waiting, lanes, used, prefix)
        if kind == "full" and column == 1:
            waiting[column + 1].pop()

    monkeypatch.setattr(compression, "_combine", wrong)


def lose_a_high_bit(monkeypatch):
    right = compression.Columns.add

    def wrong(self, word, shift, sign):
        right(self, word, shift, sign)
        if len(self.dots.get(self.width - 2, ())) > 1:
            self.dots[self.width - 2].pop()

    monkeypatch.setattr(compression.Columns, "add", wrong)


@pytest.mark.parametrize("fault", [lose_a_carry, lose_a_high_bit])
def test_a_fault_is_found_wherever_it_is(fault, monkeypatch):
    fault(monkeypatch)
    found = sum(bool(wrong_words(random_program(seed), seed)[1]) for seed in range(1, 31))
    assert found >= 10
