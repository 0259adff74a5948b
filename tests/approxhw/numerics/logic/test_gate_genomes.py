"""Genomes of gates: they come back, moves and crossing stay within bounds, and the kernel judges as the interpreter does."""

import numpy as np
import pytest

from approxhw.ir.kinds import random_gates
from approxhw.numerics.logic.gates import CONSTANTS, gate_faults, run_gates
from approxhw.numerics.logic.genomes import (
    COPY,
    crossed,
    gates_of_genome,
    genome_of_gates,
    judged,
    moved,
    space_of_gates,
)
from approxhw.numerics.logic.removal import CareRows, planes_of_rows

AREAS = np.array([0.2, 0.5, 0.6, 1.0, 0.25, 0.4, 1.3, 0.9, 0.0, 0.0, 0.0])


def some(seed, count=30, rows=150):
    rng = np.random.default_rng(seed)
    gates, codes = random_gates(rng, 8, 3, count), rng.integers(0, 4, (rows, 4))
    return gates, codes, rng


def test_a_genome_is_its_gates_and_means_what_they_mean():
    for seed in range(8):
        gates, codes, _ = some(seed)
        space, genome = space_of_gates(gates), genome_of_gates(gates)
        assert (genome >= space.lower).all()
        assert (genome <= space.upper).all()
        back = gates_of_genome(space, genome, AREAS)
        assert gate_faults(back) == []
        assert len(back.functions) < len(gates.functions)
        assert np.array_equal(run_gates(back, codes, 2, 3), run_gates(gates, codes, 2, 3))


@pytest.mark.parametrize("rows", [1, 64, 150])
def test_the_kernel_judges_as_the_interpreter_does(rows):
    gates, codes, rng = some(5, rows=rows)
    space = space_of_gates(gates)
    labels = np.where(rng.random(rows) < 0.3, rng.integers(0, 8, rows), run_gates(gates, codes, 2, 3).ravel())
    planes = planes_of_rows(gates, CareRows(codes, labels, codes[:0], labels[:0]), 2)
    genomes = moved(space, np.tile(genome_of_gates(gates), (200, 1)), 4.0, rng)
    errors, areas = judged(space, genomes, planes.inputs, planes.wanted, planes.mask, AREAS)
    for genome, wrong, area in zip(genomes, errors.tolist(), areas.tolist()):
        meant = gates_of_genome(space, genome, AREAS)
        assert gate_faults(meant) == []
        assert wrong == np.count_nonzero(run_gates(meant, codes, 2, 3).ravel() != labels)
        assert area == pytest.approx(AREAS[meant.functions].sum())
    assert len(set(areas.tolist())) > 20


def test_every_move_happens_and_none_leaves_the_bounds():
    gates, _, rng = some(7)
    space, start = space_of_gates(gates), genome_of_gates(gates)
    genomes = np.tile(start, (4000, 1))
    made = moved(space, genomes, 1.0, rng)
    assert (genomes == start).all()  # what is given stays
    assert (made >= space.lower).all()
    assert (made <= space.upper).all()
    before, _ = space.split(start[None])
    after, outputs = space.split(made)
    changed = (after != before).any(axis=2)
    assert changed.sum(axis=1).max() == 1
    assert changed.any(axis=0).all()
    assert set(np.unique(after[:, :, 0][changed]).tolist()) == set(range(COPY + 1))
    copies = after[changed][after[changed][:, 0] == COPY]
    assert {0, 1} < set(copies[:, 1].tolist())
    assert copies[:, 1].max() >= CONSTANTS + gates.inputs
    assert (outputs != gates.outputs).any(axis=0).all()
    assert np.array_equal(made, moved(space, genomes, 1.0, some(7)[2]))


def test_children_have_gates_of_both_parents_and_nothing_else():
    gates, _, rng = some(9)
    space = space_of_gates(gates)
    first, second = (moved(space, np.tile(genome_of_gates(gates), (60, 1)), 20.0, rng) for _ in range(2))
    children = crossed(space, first, second, 0.5, rng)
    (one, one_out), (two, two_out), (child, child_out) = map(space.split, (first, second, children))
    from_first, from_second = (child == one).all(axis=2), (child == two).all(axis=2)
    assert (from_first | from_second).all()
    assert ((child_out == one_out) | (child_out == two_out)).all()
    mixed = (~from_first).any(axis=1)
    assert 10 < mixed.sum() < 50
    assert (~from_second)[mixed].any(axis=1).all()
