"""One generation of NSGA-II in plain DEAP, written as DEAP's own example of it (``examples/ga/nsga2.py``): lists of integers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from deap import base, creator, tools

from . import numpy_fitness

creator.create("Smallest", base.Fitness, weights=(-1.0, -1.0))
creator.create("Individual", list, fitness=creator.Smallest)

CROSSOVER = 0.7


def network_of(genome: Sequence[int], sizes: tuple[int, int, int], bits: int) -> numpy_fitness.Network:
    """Return *genome* (masks, signs, exponents, biases a layer; the shift after the first) as arrays."""
    values, at = np.array(genome, dtype=np.int32), 0
    parts: list[list[np.ndarray]] = [[], [], [], []]
    shift = 0
    for layer in (0, 1):
        n, m = sizes[layer], sizes[layer + 1]
        for part in parts[:3]:
            part.append(values[at : at + m * n].reshape(m, n))
            at += m * n
        parts[3].append(values[at : at + m])
        at += m
        if layer == 0:
            shift, at = int(values[at]), at + 1
    masks, signs, exponents, biases = map(tuple, parts)
    return numpy_fitness.Network(masks, tuple(1 - 2 * sign for sign in signs), exponents, biases, shift, bits)


def full_adders(network: numpy_fitness.Network, input_bits: tuple[int, int]) -> int:
    """Return the full adders of all neurons as the paper counts them: bits of each column, three of which become one."""
    total = 0
    for layer in (0, 1):
        for o, bias in enumerate(network.biases[layer].tolist()):
            for sign in (1, -1):
                columns = [0] * 40
                for mask, of, k in zip(
                    network.masks[layer][o].tolist(),
                    network.signs[layer][o].tolist(),
                    network.exponents[layer][o].tolist(),
                ):
                    if of == sign:
                        for bit in range(input_bits[layer]):
                            columns[bit + k] += mask >> bit & 1
                if bias * sign > 0:
                    for bit in range(32):
                        columns[bit] += abs(bias) >> bit & 1
                for column in range(39):
                    adders = max(0, (columns[column] - 1) // 2)
                    total += adders
                    columns[column + 1] += adders
    return total


def toolbox_of(lower: Sequence[int], upper: Sequence[int], sort: str, *, quick_clone: bool = False) -> base.Toolbox:
    """Return the operators; *sort*: ``standard`` (DEAP's default) or ``log``. DEAP clones by ``deepcopy`` if not told other."""
    toolbox = base.Toolbox()
    toolbox.register("mate", tools.cxTwoPoint)
    toolbox.register("mutate", tools.mutUniformInt, low=list(lower), up=list(upper), indpb=3.0 / len(lower))
    toolbox.register("select", tools.selNSGA2, nd=sort)
    if quick_clone:
        toolbox.register("clone", _clone)
    return toolbox


def _clone(individual: Any) -> Any:
    """Return a copy, as an experienced user writes it."""
    made = creator.Individual(individual)
    made.fitness.values = individual.fitness.values
    return made


Evaluate = Callable[[list[Any]], Sequence[tuple[float, ...]]]
"""Individuals → their objectives: ``map`` of a function of one individual, as in DEAP, or something that takes all at once."""


def individuals(genomes: np.ndarray, evaluate: Evaluate, toolbox: base.Toolbox) -> list[Any]:
    """Return an evaluated population with crowding distances."""
    people = [creator.Individual(genome) for genome in genomes.tolist()]
    for person, values in zip(people, evaluate(people)):
        person.fitness.values = values
    return toolbox.select(people, len(people))


def statistics() -> tools.Statistics:
    """Return the statistics of the example."""
    stats = tools.Statistics(lambda person: person.fitness.values)
    stats.register("min", np.min, axis=0)
    stats.register("max", np.max, axis=0)
    return stats


def generation(
    people: list[Any], evaluate: Evaluate, toolbox: base.Toolbox, stats: tools.Statistics, book: tools.Logbook
) -> list[Any]:
    """Return the next generation: tournaments, crossover, mutation, evaluation, selection among parents and children."""
    children = [toolbox.clone(person) for person in tools.selTournamentDCD(people, len(people))]
    for first, second in zip(children[::2], children[1::2]):
        if random.random() <= CROSSOVER:
            toolbox.mate(first, second)
        toolbox.mutate(first)
        toolbox.mutate(second)
        del first.fitness.values, second.fitness.values
    for child, values in zip(children, evaluate(children)):
        child.fitness.values = values
    people = toolbox.select(people + children, len(people))
    book.record(gen=len(book), evals=len(children), **stats.compile(people))
    return people
