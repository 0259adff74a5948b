"""Islands of the genetic search: one generation of one island as a pure function, and migration along a ring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from approxhw.common.errors import OptionError, Problem
from approxhw.numerics.pareto import by_objectives, non_dominated, select_nsga2

from .operators import Bounds, repair

if TYPE_CHECKING:
    from deap import base

NEW = -1
"""Generation of an island that has no population yet."""


@dataclass(frozen=True, eq=False)
class Island:
    """Everything that the future of an island depends on."""

    number: int
    size: int
    """Individuals."""
    generator: tuple[int, int, int, int]
    """State of a PCG64: state, increment, and the half word that it has in hand (flag, value)."""
    genomes: np.ndarray
    """int32, size × G, best first."""
    objectives: np.ndarray
    """int64, size × M: wrongly classified rows, then the other objectives, such as estimated area in µm²."""
    archive: np.ndarray
    """int32, A × G: every genome seen that none seen dominates, by rising errors; thinned out where too many."""
    archive_objectives: np.ndarray
    generation: int = NEW
    evaluations: int = 0


def island_sizes(population: int, islands: int) -> tuple[int, ...]:
    """Return how many individuals live on each island."""
    return tuple(population // islands + (i < population % islands) for i in range(islands))


def new_island(number: int, size: int, genes: int, seed: int, objectives: int = 2) -> Island:
    """Return an island before its first population; islands of one seed draw from independent streams."""
    source = np.random.PCG64(np.random.SeedSequence((seed, number)))
    genomes, values = np.zeros((0, genes), np.int32), np.zeros((0, objectives), np.int64)
    return Island(number, size, _state(source), genomes, values, genomes, values)


def _state(source: np.random.BitGenerator) -> tuple[int, int, int, int]:
    state = source.state
    return int(state["state"]["state"]), int(state["state"]["inc"]), int(state["has_uint32"]), int(state["uinteger"])


def generator_of(island: Island) -> np.random.Generator:
    """Return a generator in the state that *island* left it in."""
    source = np.random.PCG64(0)
    state, increment, has, held = island.generator
    source.state = {
        "bit_generator": "PCG64",
        "state": {"state": state, "inc": increment},
        "has_uint32": has,
        "uinteger": held,
    }
    return np.random.Generator(source)


def violations(objectives: np.ndarray, allowed: int) -> np.ndarray:
    """Return by how many errors each individual (N × M) misses the bound of *allowed* errors (int64, N)."""
    return np.maximum(objectives[:, 0] - allowed, 0)


@dataclass(frozen=True, eq=False)
class NextGeneration:
    """Island → the same island one generation later: state in, state out, so any worker may do it, and do it again."""

    toolbox: base.Toolbox
    """With initialise, parents, mate, mutate, evaluate and select."""
    bounds: Bounds
    allowed: int
    archive_size: int
    objectives: int = 2

    def __call__(self, island: Island) -> Island:
        """Return the next generation of *island*."""
        generator, tools = generator_of(island), self.toolbox
        if island.generation == NEW:
            children = tools.initialise(island.size, generator)
        else:
            first = island.genomes[tools.parents(island.size, island.size, generator)]
            second = island.genomes[tools.parents(island.size, island.size, generator)]
            children = tools.mutate(tools.mate(first, second, generator), generator)
        children = repair(self.bounds, _checked("genomes", children, (island.size, len(self.bounds.lower))))
        found = _checked("objectives", tools.evaluate(children), (island.size, self.objectives))
        # Children stand first: of two that select() cannot tell apart the newer survives, and plateaus are crossed.
        genomes, objectives = np.concatenate([children, island.genomes]), np.concatenate([found, island.objectives])
        best = tools.select(objectives, violations(objectives, self.allowed), island.size)
        archive, archive_objectives = merged(
            [(island.archive, island.archive_objectives), (children, found)], self.allowed, self.archive_size
        )
        return replace(
            island,
            generator=_state(generator.bit_generator),
            genomes=genomes[best],
            objectives=objectives[best],
            archive=archive,
            archive_objectives=archive_objectives,
            generation=island.generation + 1,
            evaluations=island.evaluations + island.size,
        )


def _checked(what: str, array: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Return *array* if it is of integers and *shape*; an operator that a user registered may give anything."""
    given = np.asarray(array)
    if given.shape == shape and given.dtype.kind in "iu" and (what == "genomes" or given.min(initial=0) >= 0):
        return given if what == "genomes" else given.astype(np.int64)
    operators = "initialise, mate and mutate" if what == "genomes" else "evaluate"
    why = f"gave {what} of shape {given.shape} and type {given.dtype}; integers of shape {shape}"
    why += " are needed" if what == "genomes" else ", none negative, are needed"
    raise OptionError("toolbox", [Problem(operators, why, "see docs/search.md, section Operators")])


def merged(
    parts: Sequence[tuple[np.ndarray, np.ndarray]], allowed: int, size: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return genomes and objectives of *parts* that none of them dominates, at most *size*, by rising errors.

    Of equal objectives the first is kept. Where no individual meets the bound, only those nearest to it are kept.
    """
    genomes = np.concatenate([part[0] for part in parts])
    objectives = np.concatenate([part[1] for part in parts])
    missed = violations(objectives, allowed)
    front = non_dominated(objectives, missed)
    if size is not None and len(front) > size:
        front = np.sort(front)  # so that ties are broken by age
        front = front[select_nsga2(objectives[front], missed[front], size)]
        front = front[by_objectives(objectives[front])]
    return genomes[front], objectives[front]


def migrate(
    islands: Sequence[Island], migrants: int, allowed: int, select: Callable[[np.ndarray, np.ndarray, int], np.ndarray]
) -> list[Island]:
    """Return the islands after the best *migrants* of each took the places of the worst of the next one, in a ring."""
    result = []
    for here, source in zip(islands, [islands[-1], *islands[:-1]]):
        count = min(migrants, source.size, here.size - 1)
        genomes = np.concatenate([here.genomes[: here.size - count], source.genomes[:count]])
        objectives = np.concatenate([here.objectives[: here.size - count], source.objectives[:count]])
        best = select(objectives, violations(objectives, allowed), here.size)
        result.append(replace(here, genomes=genomes[best], objectives=objectives[best]))
    return result
