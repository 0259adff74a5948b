"""What is searched: the protocol that every target's problem keeps, and the problem of masked networks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
from deap import base

from approxhw.artifacts.objectives import CIRCUIT, DEFAULT, Objective
from approxhw.common.statistics.class_bounds import ClassBound
from approxhw.networks.kernels.masked_network import PackedRows, count_errors, pack_rows
from approxhw.networks.space import Space
from approxhw.numerics.pareto import select_nsga2, tournament

from . import operators
from .operators import Bounds
from .options import GeneticOptions

UM2_PER_MM2 = 1_000_000
"""Areas are compared as whole µm²: integers are equal on every machine."""


class GeneticProblem(Protocol):
    """Genomes (int32, P × G, within ``bounds``) whose ``objectives`` are to be least; the first counts errors, and is bounded."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is to be least, in the order of the columns that ``evaluate`` gives."""

    @property
    def bounds(self) -> Bounds:
        """Of every gene."""

    def allowed_errors(self, max_accuracy_loss: float) -> int:
        """Return the most errors that keep accuracy within *max_accuracy_loss* of the reference's."""

    def identity(self) -> Mapping[str, str]:
        """Return digests of ``model`` (and what else the genomes mean) and ``data``, which tell searches apart."""

    def toolbox(self, options: GeneticOptions) -> base.Toolbox:
        """Return DEAP's toolbox with operators on whole populations (:func:`evolve` says which)."""


@dataclass(frozen=True, eq=False)
class NetworkProblem:
    """Masked networks of ``space`` that classify ``codes`` as ``labels``, small by ``area``.

    ``codes``: integers, rows × features. ``labels``: class indices, rows. ``reference_errors``: rows of these that the
    reference (the ONNX model) classifies wrongly. ``area``: genomes (int32, P × G) → mm² (float64, P). ``starts``:
    genomes (int32, S × G) to start from, the retrained network first. ``model``: a text that tells models apart.
    ``costs``: what the objectives after the errors are estimated by, the same way; the area alone where there are none.
    ``bound``: of what any class may lose on these rows; what passes it counts as more errors than are allowed.
    """

    space: Space
    codes: np.ndarray
    labels: np.ndarray
    reference_errors: int
    area: Callable[[np.ndarray], np.ndarray]
    starts: np.ndarray
    model: str = ""
    objectives: tuple[Objective, ...] = tuple(CIRCUIT[name] for name in DEFAULT)
    costs: tuple[Callable[[np.ndarray], np.ndarray], ...] = ()
    bound: ClassBound | None = None

    @property
    def bounds(self) -> operators.GeneMap:
        """What every gene is and may be."""
        return operators.gene_map(self.space)

    def allowed_errors(self, max_accuracy_loss: float) -> int:
        """Return the most errors that keep accuracy within *max_accuracy_loss* of the reference's, exactly."""
        return int(self.reference_errors + Fraction(repr(float(max_accuracy_loss))) * len(self.labels))

    def identity(self) -> dict[str, str]:
        """Return digests of the network with its start genomes, and of the rows."""
        space = self.space
        model = (space.layout, space.head, space.lower, space.upper, np.asarray(self.starts, np.int32))
        return {
            "model": digest(self.model, *model),
            "data": digest(
                str(int(self.reference_errors)),
                np.asarray(self.codes, np.int64),
                self.labels,
                *([] if self.bound is None else [self.bound.allowed]),
            ),
        }

    def estimates(self, genomes: np.ndarray) -> np.ndarray:
        """Return what every objective after the errors is estimated to be (float64, P × M − 1), as a member tells it."""
        return np.stack([np.asarray(cost(genomes), dtype=np.float64) for cost in self.costs or (self.area,)], axis=1)

    def toolbox(self, options: GeneticOptions) -> base.Toolbox:
        """Return the operators of :mod:`approxhw.dse.genetic.operators`."""
        return default_toolbox(self, options)


def digest(text: str, *arrays: np.ndarray) -> str:
    """Return a hash of *text* and *arrays*."""
    found = hashlib.sha256(text.encode())
    for array in arrays:
        plain = np.ascontiguousarray(array)
        found.update(f"{plain.dtype.str}{plain.shape}".encode() + plain.tobytes())
    return found.hexdigest()


def evaluate(
    space: Space, rows: PackedRows, area: Callable[[np.ndarray], np.ndarray], genomes: np.ndarray
) -> np.ndarray:
    """Return errors and estimated area in µm² (int64, P × 2)."""
    return evaluate_all(space, rows, (area,), (UM2_PER_MM2,), genomes)


def evaluate_all(
    space: Space,
    rows: PackedRows,
    costs: Sequence[Callable[[np.ndarray], np.ndarray]],
    scales: Sequence[float],
    genomes: np.ndarray,
) -> np.ndarray:
    """Return errors, and every one of *costs* times its scale as whole numbers (int64, P × 1 + costs)."""
    columns = [count_errors(space.layout, space.head, genomes, rows)]
    for cost, scale in zip(costs, scales, strict=True):
        columns.append(np.rint(np.asarray(cost(genomes), dtype=np.float64) * scale).astype(np.int64))
    return np.stack(columns, axis=1)


def evaluate_bounded(
    space: Space,
    rows: Sequence[PackedRows],
    bound: ClassBound,
    allowed: int,
    costs: Sequence[Callable[[np.ndarray], np.ndarray]],
    scales: Sequence[float],
    genomes: np.ndarray,
) -> np.ndarray:
    """Return what :func:`evaluate_all` does, with errors as *bound* counts them beside the *allowed* ones.

    *rows*: those of each class.
    """
    wrong = np.zeros((len(genomes), len(rows)), dtype=np.int64)
    for label, part in enumerate(rows):
        if len(part.labels):
            wrong[:, label] = count_errors(space.layout, space.head, genomes, part)
    made = [
        np.rint(np.asarray(cost(genomes), dtype=np.float64) * scale) for cost, scale in zip(costs, scales, strict=True)
    ]
    return np.stack([bound.counted(wrong, allowed), *(column.astype(np.int64) for column in made)], axis=1)


def default_toolbox(problem: NetworkProblem, options: GeneticOptions) -> base.Toolbox:
    """Return DEAP's toolbox with operators on whole populations; register others under the same names to swap them.

    ``initialise(count, generator)``, ``parents(size, count, generator)`` → indices into a population that stands best
    first, ``mate(first, second, generator)``, ``mutate(genomes, generator)``, ``evaluate(genomes)`` → int64 P × M,
    ``select(objectives, violations, count)`` → indices of survivors, best first.
    """
    genes = problem.bounds
    chances = {"changes": options.mutation, "weights": options.mutation_weights, "prune": options.prune}
    shares = {"probability": options.crossover, "shares": options.crossover_shares}
    toolbox = base.Toolbox()
    toolbox.register("initialise", operators.initialise, genes, np.asarray(problem.starts, np.int32))
    toolbox.register("parents", tournament)
    toolbox.register("mate", operators.crossover, genes, **shares)
    toolbox.register("mutate", operators.mutate, genes, **chances)
    rows, scales = pack_rows(problem.codes, problem.labels), tuple(each.scale for each in problem.objectives[1:])
    if problem.bound is not None:
        codes, labels = np.asarray(problem.codes), np.asarray(problem.labels)
        parts = [pack_rows(codes[labels == each], labels[labels == each]) for each in range(len(problem.bound.allowed))]
        allowed, costs = problem.allowed_errors(options.max_accuracy_loss), problem.costs or (problem.area,)
        toolbox.register("evaluate", evaluate_bounded, problem.space, parts, problem.bound, allowed, costs, scales)
    elif problem.costs:
        toolbox.register("evaluate", evaluate_all, problem.space, rows, problem.costs, scales)
    else:
        toolbox.register("evaluate", evaluate, problem.space, rows, problem.area)
    toolbox.register("select", select_nsga2)
    return toolbox


def plain_toolbox(problem: object) -> base.Toolbox:
    """Return DEAP's toolbox of a problem that brings ``initialise``, ``mate``, ``mutate`` and ``evaluate`` as methods."""
    toolbox = base.Toolbox()
    for name in ("initialise", "mate", "mutate", "evaluate"):
        toolbox.register(name, getattr(problem, name))
    toolbox.register("parents", tournament)
    toolbox.register("select", select_nsga2)
    return toolbox
