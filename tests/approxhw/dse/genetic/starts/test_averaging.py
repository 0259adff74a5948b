"""Averaged networks and mean teachers: matched whatever the order of neurons, equal to what the kernels and brute force say."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from approxhw.dse.genetic.starts.averaging import averaged_start, best_pairs, layer_values, mean_teacher
from approxhw.networks.kernels.masked_network import classes_of
from approxhw.networks.retrain import genome_of, start_of_genome
from approxhw.networks.space import Space, make_space


def drawn(space: Space, seed: int) -> np.ndarray:
    """Return a genome whose masks are full or empty, and whose hidden neurons say something."""
    rng = np.random.default_rng(seed)
    genome = space.upper.copy()
    for n, m, bits, masks, signs, exponents, biases, shift, _ in space.layout.tolist():
        genome[masks : masks + m * n] = rng.choice([0, (1 << bits) - 1], m * n, p=[0.2, 0.8])
        genome[signs : signs + m * n] = rng.integers(0, 2, m * n)
        genome[exponents : exponents + m * n] = rng.integers(0, 5, m * n)
        genome[biases : biases + m] = rng.integers(-20, 60, m)
        if shift >= 0:
            genome[shift] = 2
    return genome


def permuted(space: Space, genome: np.ndarray, order: list[int]) -> np.ndarray:
    """Return *genome* with its hidden neurons in another order: the same function."""
    result = genome.copy()
    first, second = (space.layer_genes(result[None], index) for index in (0, 1))
    for part in (first.masks, first.signs, first.exponents):
        part[0] = part[0][order]
    first.biases[0] = first.biases[0][order]
    for part in (second.masks, second.signs, second.exponents):
        part[0] = part[0][:, order]
    return result


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 16, (300, 5))


@pytest.mark.parametrize("threshold", [False, True])
def test_sums_decide_as_the_kernel_does(rows: np.ndarray, threshold: bool) -> None:
    space = make_space((5, 4, 1 if threshold else 3), threshold=threshold)
    compared = 0
    for seed in range(20):
        genome = drawn(space, seed)
        hidden, sums = layer_values(space, genome, rows)
        assert hidden.min() >= 0
        assert hidden.max() <= 255
        told = (sums[:, 0] > 0).astype(int) if threshold else np.argmax(sums, axis=1)
        assert np.array_equal(told, classes_of(space.layout, space.head, genome[None], rows)[0])
        compared += len(rows)
    assert compared == 6000


def test_pairs_are_the_best_of_all_orders() -> None:
    rng = np.random.default_rng(7)
    for count in (1, 2, 3, 5, 6):
        for _ in range(30):
            gains = rng.normal(size=(count, count)).round(1)  # with ties
            columns = best_pairs(gains)
            assert sorted(columns.tolist()) == list(range(count))
            most = max(sum(gains[i, j] for i, j in enumerate(order)) for order in permutations(range(count)))
            assert gains[np.arange(count), columns].sum() == pytest.approx(most)


def test_the_order_of_hidden_neurons_does_not_count(rows: np.ndarray) -> None:
    space = make_space((5, 4, 3))
    one, other = drawn(space, 1), drawn(space, 2)
    labels = classes_of(space.layout, space.head, one[None], rows)[0]
    straight = averaged_start(space, np.array([one, other]), rows, labels)
    for order in ([1, 0, 2, 3], [3, 2, 1, 0], [2, 3, 1, 0]):
        again = averaged_start(space, np.array([one, permuted(space, other, order)]), rows, labels)
        assert np.allclose(again[0], straight[0])
        assert np.array_equal(again[1], straight[1])


def test_a_network_is_the_mean_of_itself_however_it_stands(rows: np.ndarray) -> None:
    """Were neurons not put in order, a network and its own image would average to something else."""
    space = make_space((5, 4, 3))
    genome = drawn(space, 1)
    labels = classes_of(space.layout, space.head, genome[None], rows)[0]
    images = np.array([genome, permuted(space, genome, [2, 3, 1, 0]), permuted(space, genome, [1, 0, 3, 2])])
    alone = averaged_start(space, genome[None], rows, labels)
    found = averaged_start(space, images, rows, labels)
    assert np.allclose(found[0], alone[0])
    right = (
        classes_of(space.layout, space.head, genome_of(space, space.upper, *found[:2])[None], rows)[0] == labels
    ).mean()
    assert right > 0.9, "rounded anew it says nearly what it said"


def test_a_mean_teacher_says_what_is_likeliest_on_average(rows: np.ndarray) -> None:
    space = make_space((5, 4, 3))
    genomes = np.array([drawn(space, seed) for seed in (1, 2, 3)])
    said = classes_of(space.layout, space.head, genomes, rows)
    labels = np.where(
        np.arange(len(rows)) % 2, said[0], said[1]
    )  # so that each is right in a part, and sure of nothing
    alone = mean_teacher(space, genomes[:1], rows, labels)
    assert np.array_equal(alone(rows), said[0])
    teacher = mean_teacher(space, genomes, rows, labels)
    assert teacher.logarithms == tuple(start_of_genome(space, genome, rows, labels)[2] for genome in genomes)
    wanted = []
    for row in rows:
        total = np.zeros(3)
        for genome, logarithm in zip(genomes, teacher.logarithms):
            logits = layer_values(space, genome, row[None])[-1][0] * np.exp(logarithm)
            total += np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        wanted.append(int(np.argmax(total)))
    assert teacher(rows).tolist() == wanted
    for number in range(3):
        assert (np.array(wanted) != said[number]).any(), "none of them has the only say"


def test_a_mean_teacher_of_one_logit_says_yes_where_sums_are_above_0(rows: np.ndarray) -> None:
    space = make_space((5, 4, 1), threshold=True)
    genome = drawn(space, 4)
    labels = classes_of(space.layout, space.head, genome[None], rows)[0]
    assert 0 < labels.sum() < len(labels)
    assert np.array_equal(mean_teacher(space, genome[None], rows, labels)(rows), labels)
