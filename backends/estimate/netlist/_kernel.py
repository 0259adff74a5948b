"""Bit-parallel netlist evaluation, 64 vectors a word: packing, straight-line gate programs, toggles and state counts.

A program is a list of two-input operations over slots; a slot is a row of words. ``DELAY`` makes a register: it hands
on its operand one vector later, the first vector seeing the carry that it starts with.
"""

from __future__ import annotations

import numba
import numpy as np

NOT, AND, OR, XOR, NAND, NOR, XNOR, COPY, DELAY, ZERO, ONE = range(11)

_ONE = np.uint64(1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@numba.njit(cache=True, nogil=True)
def pack_port(values: np.ndarray, drop: int, shift: int, bits: int, rows: np.ndarray) -> np.uint64:
    """OR bits ``drop … drop + bits − 1`` of each of *values* into *rows* at bit *shift*; return all values ORed."""
    mask = _ALL >> np.uint64(64 - bits)
    seen = np.uint64(0)
    for i in range(values.size):
        value = np.uint64(values[i])
        seen |= value
        rows[i] |= ((value >> np.uint64(drop)) & mask) << np.uint64(shift)
    return seen


@numba.njit(cache=True, nogil=True)
def unpack_port(rows: np.ndarray, shift: int, bits: int, raise_by: int, values: np.ndarray) -> None:
    """OR *bits* bits of *rows* from bit *shift* on into *values*, raised by *raise_by* bits."""
    mask = _ALL >> np.uint64(64 - bits)
    for i in range(values.size):
        values[i] |= np.int64(((rows[i] >> np.uint64(shift)) & mask) << np.uint64(raise_by))


@numba.njit(cache=True, nogil=True, inline="always")
def _transpose(block: np.ndarray) -> None:
    """Transpose 64 words as a 64 × 64 bit matrix, in place: bit j of word i ↔ bit i of word j."""
    width = 32
    mask = np.uint64(0x00000000FFFFFFFF)
    while width:
        i = 0
        while i < 64:
            for k in range(i, i + width):
                swap = ((block[k] >> np.uint64(width)) ^ block[k + width]) & mask
                block[k] ^= swap << np.uint64(width)
                block[k + width] ^= swap
            i += 2 * width
        width >>= 1
        mask ^= mask << np.uint64(width)


@numba.njit(cache=True, nogil=True)
def _load(
    rows: np.ndarray, first: int, count: int, width: int, input_slots: np.ndarray, block: np.ndarray, slots: np.ndarray
) -> None:
    """Fill the input slots with *count* vectors from *first* on: bit j of row group g is ``input_slots[g, j]``."""
    for group in range(input_slots.shape[0]):
        for word in range(width):
            start = first + 64 * word
            left = min(64, first + count - start)
            for i in range(64):
                block[i] = rows[group, start + i] if i < left else np.uint64(0)
            _transpose(block)
            for j in range(64):
                slot = input_slots[group, j]
                if slot >= 0:
                    slots[slot, word] = block[j]


@numba.njit(cache=True, nogil=True)
def _run(program: np.ndarray, width: int, slots: np.ndarray, carries: np.ndarray) -> None:
    """Carry out *program* (rows: operation, out, a, b) on *width* words of every slot."""
    for step in range(program.shape[0]):
        operation, out, a, b = program[step, 0], program[step, 1], program[step, 2], program[step, 3]
        target, left, right = slots[out], slots[a], slots[b]
        if operation == NAND:
            for i in range(width):
                target[i] = ~(left[i] & right[i])
        elif operation == AND:
            for i in range(width):
                target[i] = left[i] & right[i]
        elif operation == OR:
            for i in range(width):
                target[i] = left[i] | right[i]
        elif operation == NOT:
            for i in range(width):
                target[i] = ~left[i]
        elif operation == XOR:
            for i in range(width):
                target[i] = left[i] ^ right[i]
        elif operation == NOR:
            for i in range(width):
                target[i] = ~(left[i] | right[i])
        elif operation == XNOR:
            for i in range(width):
                target[i] = ~(left[i] ^ right[i])
        elif operation == COPY:
            for i in range(width):
                target[i] = left[i]
        elif operation == DELAY:  # b is the number of the carry, not a slot
            carry = carries[b]
            for i in range(width):
                value = left[i]
                target[i] = (value << _ONE) | carry
                carry = value >> np.uint64(63)
            carries[b] = carry
        else:
            for i in range(width):
                target[i] = _ALL if operation == ONE else np.uint64(0)


@numba.njit(cache=True, nogil=True)
def run_stream(
    program: np.ndarray, rows: np.ndarray, count: int, input_slots: np.ndarray, output_slots: np.ndarray,
    slots: np.ndarray, carries: np.ndarray, results: np.ndarray,
) -> None:  # fmt: skip
    """Evaluate *count* vectors in blocks of as many words as a slot has; *results* is laid out like *rows*."""
    words = slots.shape[1]
    block = np.empty(64, np.uint64)
    for first in range(0, count, 64 * words):
        here = min(64 * words, count - first)
        width = (here + 63) // 64
        _load(rows, first, here, width, input_slots, block, slots)
        _run(program, width, slots, carries)
        for group in range(output_slots.shape[0]):
            for word in range(width):
                start = first + 64 * word
                for j in range(64):
                    slot = output_slots[group, j]
                    block[j] = slots[slot, word] if slot >= 0 else np.uint64(0)
                _transpose(block)
                for i in range(min(64, first + here - start)):
                    results[group, start + i] = block[i]


@numba.njit(cache=True, nogil=True)
def run_steps(
    program: np.ndarray, registers: np.ndarray, rows: np.ndarray, first: int, count: int, input_slots: np.ndarray,
    slots: np.ndarray, carries: np.ndarray,
) -> None:  # fmt: skip
    """Evaluate vectors one clock at a time (registers feed back): word i of a slot is then the value at vector i.

    ``registers``: rows (state slot, slot of the next state). Leaves 64 vectors a word in *slots*, as a stream would.
    """
    scratch = np.zeros((slots.shape[0], 1), np.uint64)
    none = np.zeros(1, np.uint64)
    width = (count + 63) // 64
    slots[:, :width] = np.uint64(0)
    for t in range(count):
        for group in range(input_slots.shape[0]):
            row = rows[group, first + t]
            for j in range(64):
                slot = input_slots[group, j]
                if slot >= 0:
                    scratch[slot, 0] = (row >> np.uint64(j)) & _ONE
        for r in range(registers.shape[0]):
            scratch[registers[r, 0], 0] = carries[r]
        _run(program, 1, scratch, none)
        word, bit = t >> 6, np.uint64(t & 63)
        for slot in range(slots.shape[0]):
            slots[slot, word] |= (scratch[slot, 0] & _ONE) << bit
        for r in range(registers.shape[0]):
            carries[r] = scratch[registers[r, 1], 0] & _ONE


@numba.njit(cache=True, nogil=True)
def run_stream_block(
    program: np.ndarray, rows: np.ndarray, first: int, count: int, input_slots: np.ndarray, slots: np.ndarray,
    carries: np.ndarray,
) -> None:  # fmt: skip
    """Evaluate one block of vectors and leave every slot's words in *slots*."""
    width = (count + 63) // 64
    _load(rows, first, count, width, input_slots, np.empty(64, np.uint64), slots)
    _run(program, width, slots, carries)


@numba.njit(cache=True, nogil=True)
def store(rows_of: np.ndarray, slots: np.ndarray, first: int, count: int, results: np.ndarray) -> None:
    """Copy the outputs of a block from *slots* to *results*; ``rows_of[g, j]``: the slot of bit j of group g."""
    block = np.empty(64, np.uint64)
    for group in range(rows_of.shape[0]):
        for word in range((count + 63) // 64):
            for j in range(64):
                slot = rows_of[group, j]
                block[j] = slots[slot, word] if slot >= 0 else np.uint64(0)
            _transpose(block)
            for i in range(min(64, count - 64 * word)):
                results[group, first + 64 * word + i] = block[i]


@numba.njit(cache=True, nogil=True, inline="always")
def _ones(word: np.uint64) -> np.int64:
    word -= (word >> _ONE) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@numba.njit(cache=True, nogil=True)
def count_toggles(slots: np.ndarray, count: int, start: bool, last: np.ndarray, toggles: np.ndarray) -> None:
    """Add to ``toggles[s]`` how often slot s differs from the vector before; ``last[s]`` is its value before the block.

    ``start``: true for the very first block, whose first vector has nothing before it.
    """
    for slot in range(slots.shape[0]):
        before = last[slot]
        for word in range((count + 63) // 64):
            value = slots[slot, word]
            changed = value ^ ((value << _ONE) | before)
            if start and word == 0:
                changed &= ~_ONE
            left = count - 64 * word
            if left < 64:
                changed &= (_ONE << np.uint64(left)) - _ONE
                before = (value >> np.uint64(left - 1)) & _ONE
            else:
                before = value >> np.uint64(63)
            toggles[slot] += _ones(changed)
        last[slot] = before


@numba.njit(cache=True, nogil=True)
def count_states(slots: np.ndarray, count: int, pins: np.ndarray, pin_counts: np.ndarray, states: np.ndarray) -> None:
    """Add to ``states[c, s]`` how many vectors find cell c in state s; the first of its pins is the top bit of s."""
    for cell in range(pins.shape[0]):
        number = pin_counts[cell]
        for word in range((count + 63) // 64):
            left = count - 64 * word
            valid = (_ONE << np.uint64(left)) - _ONE if left < 64 else _ALL
            for state in range(1 << number):
                match = valid
                for k in range(number):
                    value = slots[pins[cell, k], word]
                    match &= value if (state >> (number - 1 - k)) & 1 else ~value
                states[cell, state] += _ones(match)
