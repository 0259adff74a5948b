"""Gates as genomes of Cartesian genetic programming: integers that may drift, moves that change them, and what they mean.

A genome holds four genes a gate, its function and three operands, then a gene an output. Operands are signals above the gate, so
that every genome within its bounds is a netlist; gates that no output reads stay in it, cost nothing, and drift. A gate may be
a copy of a signal. Source: Miller and Thomson, EuroGP 2000.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .gates import AND, CONSTANTS, FUNCTIONS, NAND, NOR, OR, XNOR, XOR, GateList
from .removal import compacted

COPY = len(FUNCTIONS)
PAIRS = np.array([AND, OR, NAND, NOR, XOR, XNOR])
GENES = 4
"""Genes of a gate."""


@dataclass(frozen=True, eq=False)
class GenomeSpace:
    """Genomes of netlists of ``gates`` gates over ``inputs`` input bits with ``outputs`` outputs."""

    inputs: int
    gates: int
    outputs: int

    @property
    def first(self) -> int:
        """Number of the first gate's signal."""
        return CONSTANTS + self.inputs

    @property
    def lower(self) -> np.ndarray:
        """The least value of every gene (int32)."""
        return np.zeros(GENES * self.gates + self.outputs, dtype=np.int32)

    @property
    def upper(self) -> np.ndarray:
        """The greatest value of every gene (int32)."""
        above = self.first + np.arange(self.gates) - 1
        each = np.column_stack([np.full(self.gates, COPY), above, above, above])
        return np.concatenate([each.ravel(), np.full(self.outputs, self.first + self.gates - 1)]).astype(np.int32)

    def split(self, genomes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the genes of gates (P × gates × 4) and of outputs (P × outputs) of *genomes* (P × G)."""
        end = GENES * self.gates
        return genomes[:, :end].reshape(len(genomes), self.gates, GENES), genomes[:, end:]


def space_of_gates(gates: GateList) -> GenomeSpace:
    """Return the genomes of netlists that are as large as *gates*."""
    return GenomeSpace(gates.inputs, len(gates.functions), len(gates.outputs))


def genome_of_gates(gates: GateList) -> np.ndarray:
    """Return *gates* as a genome (int32, G)."""
    each = np.column_stack([gates.functions, gates.operands])
    return np.concatenate([each.ravel(), gates.outputs]).astype(np.int32)


def gates_of_genome(space: GenomeSpace, genome: np.ndarray, areas: np.ndarray) -> GateList:
    """Return what a *genome* (G) means, simplified; *areas*: of a gate of each function, copies among them."""
    from .kernels.removal import simplify

    each, outputs = (part[0].copy() for part in space.split(genome[None]))
    functions, operands = each[:, 0].astype(np.int8), np.ascontiguousarray(each[:, 1:], dtype=np.int32)
    signals = space.first + space.gates
    alias, live = np.empty(signals, np.int32), np.empty(signals, np.bool_)
    simplify(functions, operands, outputs, space.first, areas, alias, live)
    return compacted(space.inputs, functions, operands, outputs)


def judged(
    space: GenomeSpace,
    genomes: np.ndarray,
    inputs: np.ndarray,
    wanted: np.ndarray,
    mask: np.ndarray,
    areas: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many rows of *mask* each of *genomes* (int32, P × G) gets wrong (int64, P), and its area (float64, P).

    *inputs*, *wanted*, *mask*: planes, as :class:`approxhw.numerics.logic.removal.RowPlanes` has them. *areas*: of a gate of each
    function, and 0 for copies and constants; equal gates count each.
    """
    from .kernels.genomes import judge_genomes

    errors, found = np.zeros(len(genomes), np.int64), np.zeros(len(genomes))
    genomes = np.ascontiguousarray(genomes, dtype=np.int32)
    judge_genomes(genomes, space.gates, space.first, inputs, wanted, mask, areas, errors, found)
    return errors, found


# Moves -----------------------------------------------------------------------------------------------------------------


def moved(space: GenomeSpace, genomes: np.ndarray, mean: float, generator: np.random.Generator) -> np.ndarray:
    """Return *genomes* (P × G) after one move each or more, *mean* of them on average (geometric).

    A move changes a gate's function, rewires one of its operands, makes it a copy of an operand, of any signal above or of
    a constant, or replaces an output. Rewiring goes to any signal above or to what the operand itself reads.
    """
    genomes = np.array(genomes, dtype=np.int32)
    counts = generator.geometric(1.0 / mean, len(genomes))
    for step in range(int(counts.max(initial=0))):
        rows = np.flatnonzero(counts > step)
        part = genomes[rows]
        _move(space, part, generator)
        genomes[rows] = part
    return genomes


def _move(space: GenomeSpace, genomes: np.ndarray, generator: np.random.Generator) -> None:
    """Change one gate or one output of each of *genomes*, in place."""
    gates, outputs = space.split(genomes)  # views: what is written there is written in the genomes
    count, rows = len(genomes), np.arange(len(genomes))
    gate = generator.integers(0, space.gates, count)
    act, slot = generator.integers(0, 16, count), generator.integers(1, 3, count)
    own = gates[rows, gate].copy()
    above = space.first + gate  # signals below this one stand above the gate
    anywhere, bit = generator.integers(0, above), generator.integers(0, 2, count)
    nearby = _read_by(space, gates, own[rows, slot], generator.integers(1, 3, count))
    further = np.where(bit == 1, nearby, anywhere)
    function = np.where(
        act < 2, PAIRS[generator.integers(0, len(PAIRS), count)], generator.integers(0, COPY + 1, count)
    )
    change, rewire, bypass, set_constant = act < 3, (act >= 3) & (act < 9), (act >= 9) & (act < 13), act == 13
    gates[rows[change], gate[change], 0] = function[change]
    gates[rows[rewire], gate[rewire], slot[rewire]] = further[rewire]
    for chosen, signal in ((bypass, own[rows, slot]), (set_constant, bit), (act == 14, anywhere)):
        gates[rows[chosen], gate[chosen], 0] = COPY
        gates[rows[chosen], gate[chosen], 1] = signal[chosen]
    place = generator.integers(0, space.outputs, count)
    beyond = generator.integers(0, space.first + space.gates, count)
    near = _read_by(space, gates, outputs[rows, place], slot)
    chosen = act == 15
    outputs[rows[chosen], place[chosen]] = np.where(bit == 1, near, beyond)[chosen]


def _read_by(space: GenomeSpace, gates: np.ndarray, signals: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """Return what the gates of *signals* (P) read in their *slots*; the signals themselves where they are no gates'."""
    gate = np.maximum(signals - space.first, 0)
    found: np.ndarray = np.where(signals >= space.first, gates[np.arange(len(gates)), gate, slots], signals)
    return found


def crossed(
    space: GenomeSpace, first: np.ndarray, second: np.ndarray, share: float, generator: np.random.Generator
) -> np.ndarray:
    """Return a child of each pair of rows: *first*, in a *share* of them with every gate and output from *second* by one half."""
    children = np.array(first, dtype=np.int32)
    taken = generator.integers(0, 2, (len(first), space.gates + space.outputs), dtype=bool)
    taken &= (generator.random(len(first)) < share)[:, None]
    gates = np.repeat(taken[:, : space.gates], GENES, axis=1)
    mask = np.concatenate([gates, taken[:, space.gates :]], axis=1)
    children[mask] = second[mask]
    return children
