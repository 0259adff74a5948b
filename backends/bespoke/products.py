"""What a neuron adds up, by arithmetic: masked inputs shifted to their power of two, or the products of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from approxhw.backends.cells.blocks import LOCAL, Cell, Word
from approxhw.backends.cells.tables import looked_up, table_entries
from approxhw.numerics.mac.arithmetic import ApproximateMultiplier

from .shift_add import Term, signed_digits


@dataclass
class Neuron:
    """The summands of one neuron: ``terms`` point into ``sources``, whose texts stand in ``names``; ``cells`` make them."""

    constant: int
    sources: list[Word] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    terms: list[Term] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)

    def add(self, word: Word, name: str, shift: int, sign: int) -> None:
        """Add sign · (word << shift)."""
        self.terms.append((len(self.sources), shift, sign))
        self.sources.append(word)
        self.names.append(name)


def masked_neuron(
    weights: Sequence[int], masks: Sequence[int], bias: int, x: Sequence[Word], names: Sequence[str]
) -> Neuron:
    """Return the neuron bias + Σ ±((xᵢ & maskᵢ) << k) of weights 0 or ±2^k; inputs are unsigned."""
    neuron = Neuron(bias)
    for weight, mask, word, name in zip(weights, masks, x, names, strict=True):
        bits = tuple(bit if mask >> place & 1 else 0 for place, bit in enumerate(word.bits))
        if not weight or not any(bit != 0 for bit in bits):
            continue
        seen = mask & ((1 << len(bits)) - 1)
        whole = seen == (1 << len(bits)) - 1
        text = name if whole else f"({name} & {len(bits)}'b{seen:0{len(bits)}b})"
        neuron.add(Word(0, seen, bits), text, abs(weight).bit_length() - 1, -1 if weight < 0 else 1)
    return neuron


def table_neuron(
    arithmetic: ApproximateMultiplier,
    table: np.ndarray,
    weights: Sequence[int],
    bias: int,
    x: Sequence[Word],
    names: Sequence[str],
) -> Neuron:
    """Return the neuron bias + Σ T[wᵢ, xᵢ].

    A row that is a sum over the bits of x, as those of array multipliers are, becomes masked summands; any other one is
    looked up, by nothing but the bits that it depends on.
    """
    neuron = Neuron(bias)
    for number, (weight, word, name) in enumerate(zip(weights, x, names, strict=True)):
        row = table[int(weight) % (1 << arithmetic.weight_bits)].tolist()
        parts = _by_bit(row, word)
        if parts is not None:
            _add_bits(neuron, parts, word, name)
            continue
        values = table_entries(row, word)
        low, high = min(values), max(values)
        if low == high:
            neuron.constant += low
            continue
        product = looked_up(neuron.cells, f"{LOCAL}product{number}", values, word)
        neuron.add(product, f"T[{weight}, {name}]", 0, 1)
    return neuron


def _by_bit(row: Sequence[int], word: Word) -> list[int] | None:
    """Return the product at 0 and what each bit of *word* adds to it; None where the product is no such sum."""
    width = len(word.bits)
    codes = [pattern - ((pattern >> (width - 1)) << width) if word.signed else pattern for pattern in range(1 << width)]
    values = [row[code % len(row)] for code in codes]
    parts = [values[1 << place] - values[0] for place in range(width)]
    for pattern, code in enumerate(codes):
        total = sum(part for place, part in enumerate(parts) if pattern >> place & 1)
        if word.low <= code <= word.high and values[pattern] != values[0] + total:
            return None
    return [values[0], *parts]


def _add_bits(neuron: Neuron, parts: Sequence[int], word: Word, name: str) -> None:
    """Add parts[0] + Σ bitᵢ · parts[i + 1]: summands ±((x & mask) << k), one for every k and sign of a signed digit."""
    neuron.constant += parts[0]
    masks: dict[tuple[int, int], int] = {}
    for place, part in enumerate(parts[1:]):
        for shift, sign in signed_digits(part):
            masks[shift - place, sign] = masks.get((shift - place, sign), 0) | 1 << place
    for (shift, sign), mask in sorted(masks.items()):
        below = (mask & -mask).bit_length() - 1 if shift < 0 else 0
        bits = tuple(bit if mask >> place & 1 else 0 for place, bit in enumerate(word.bits))[below : mask.bit_length()]
        whole = mask == (1 << len(word.bits)) - 1 and not word.signed
        text = name if whole else f"({name} & {len(word.bits)}'b{mask:0{len(word.bits)}b})"
        neuron.add(Word(0, mask >> below, bits), f"({text} >> {below})" if below else text, shift + below, sign)
