"""The genetic search itself: the loop over generations of a problem with any number of objectives."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from deap import base, tools

from approxhw.artifacts.objectives import Objective
from approxhw.common.errors import OptionError, Problem, WorkersError

from .checkpoint import Checkpoint, Expected, book_titles, identity_of, read_checkpoint, write_checkpoint
from .executors import Executor, SerialExecutor
from .islands import Island, NextGeneration, island_sizes, merged, migrate, new_island
from .options import GeneticOptions
from .problem import GeneticProblem

OPERATORS = ("initialise", "parents", "mate", "mutate", "evaluate", "select")


@dataclass(frozen=True)
class GenerationRecord:
    """What there is to tell of a generation: for a live table."""

    generation: int
    generations: int
    evaluations: int
    """Since the start."""
    evaluations_per_second: float
    """Of this generation."""
    least_errors: int
    least_cost: float | None
    """Of those that meet the bound, by the first objective after the errors (area in mm², by default); None where none does."""
    front_size: int
    seconds: float
    """Since the start."""
    front: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int32), compare=False, repr=False)
    """int32, genomes of the front so far: of those that meet the bound, if any do; by rising errors."""
    front_objectives: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64), compare=False, repr=False)
    """int64, what each of them has of every objective."""


@dataclass(frozen=True, eq=False)
class Evolution:
    """What a search found: the front over all islands by rising errors, thus falling area."""

    genomes: np.ndarray
    """int32, F × G."""
    values: np.ndarray
    """int64, F × M: training rows classified wrongly, then the other objectives in their units."""
    objectives: tuple[Objective, ...]
    allowed_errors: int
    feasible: bool
    """False: nothing met the bound, and the front is what comes nearest to it."""
    interrupted: bool
    generations: int
    evaluations: int
    seconds: float
    logbook: tools.Logbook
    islands: tuple[Island, ...]
    """The last populations."""

    @property
    def errors(self) -> np.ndarray:
        """Training rows classified wrongly: int64, F."""
        return self.values[:, 0]

    @property
    def areas_mm2(self) -> np.ndarray:
        """Estimated areas: float64, F."""
        return self.estimated("area")

    def estimated(self, name: str) -> np.ndarray:
        """Return what the objective *name* is estimated to be, as members tell it: float64, F."""
        column = [objective.name for objective in self.objectives].index(name)
        return self.values[:, column] / self.objectives[column].scale


def evolve(
    problem: GeneticProblem,
    options: GeneticOptions | None = None,
    toolbox: base.Toolbox | None = None,
    *,
    executor: Executor | None = None,
    on_generation: Callable[[GenerationRecord], None] | None = None,
    checkpoint: str | Path | None = None,
    resume: bool = False,
    stop: Callable[[], bool] | None = None,
) -> Evolution:
    """Search, and return the front: the same for the same problem, options and toolbox, whatever the *executor*.

    *checkpoint*: a file that every generation is written to, whole or not at all; with *resume* the search goes on from
    there where it exists, and *on_generation* is told of the last one again. *stop* is asked after each generation. An
    *executor* is the caller's to close. Raises :class:`~approxhw.common.errors.CheckpointError`,
    :class:`~approxhw.common.errors.WorkersError` and, for operators that give something unusable,
    :class:`~approxhw.common.errors.OptionError`.
    """
    options = options or GeneticOptions()
    toolbox = toolbox or problem.toolbox(options)
    missing = [name for name in OPERATORS if not hasattr(toolbox, name)]
    if missing:
        raise OptionError("toolbox", [Problem(name, "no operator is registered under this name") for name in missing])
    path = None if checkpoint is None else Path(checkpoint)
    allowed = problem.allowed_errors(options.max_accuracy_loss)
    objectives = problem.objectives
    work = NextGeneration(toolbox, problem.bounds, allowed, options.archive, len(objectives))
    sizes = island_sizes(options.population, options.islands)
    identity = identity_of(problem, options, toolbox, OPERATORS)
    state = None
    if resume and path is not None and path.exists():
        state = read_checkpoint(path, identity, Expected(problem.bounds, objectives, sizes, options), toolbox.evaluate)
    executor = executor or SerialExecutor()
    run = _Run(objectives, options, work, sizes, state, on_generation)
    try:
        executor.start(work)
        if state is not None:
            run.tell()  # whoever was told of this generation may not have lived to make use of it
        while run.generation < options.generations and not run.interrupted:
            run.advance(executor)
            if path is not None:
                write_checkpoint(path, identity, run.checkpoint())
            run.tell()
            run.interrupted = stop is not None and bool(stop())
    except WorkersError as error:
        if path is None or not path.exists() or run.generation < 0:
            raise
        kept = f"the checkpoint {path} holds generation {run.generation}: the same command with --resume goes on from there"
        raise WorkersError(error.what, f"{error.remedy}; {kept}") from error
    return run.result()


class _Run:
    """The state of a running search, and its book."""

    def __init__(
        self,
        objectives: tuple[Objective, ...],
        options: GeneticOptions,
        work: NextGeneration,
        sizes: Sequence[int],
        state: Checkpoint | None,
        told: Callable[[GenerationRecord], None] | None,
    ) -> None:
        self.objectives, self.options, self.work, self.told = objectives, options, work, told
        genes, width = len(work.bounds.lower), len(objectives)
        self.islands: Sequence[Island] = [new_island(i, n, genes, options.seed, width) for i, n in enumerate(sizes)]
        self.before, self.started = 0.0, time.monotonic()
        self.logbook, self.interrupted, self.speed = tools.Logbook(), False, 0.0
        if state:
            self.islands, self.before = state.islands, state.seconds
            for record in state.records:
                self.logbook.record(**record)
        self.logbook.header = book_titles(objectives)
        self.statistics = tools.Statistics()
        self.statistics.register("least_errors", lambda groups: int(groups[0][:, 0].min()))
        for column, objective in enumerate(objectives):
            median = functools.partial(_median, column)
            self.statistics.register(f"median_{objective.unit}", median)
        self.found = self._front()

    @property
    def generation(self) -> int:
        return self.islands[0].generation

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.started

    def advance(self, executor: Executor) -> None:
        """Take every island one generation further, and write the book."""
        options, since = self.options, time.monotonic()
        done = sum(island.evaluations for island in self.islands)
        self.islands = executor.map(self.islands)
        every = options.migration_every
        if every and len(self.islands) > 1 and self.generation and self.generation % every == 0:
            self.islands = migrate(self.islands, options.migrants, self.work.allowed, self.work.toolbox.select)
        evaluations = sum(island.evaluations for island in self.islands)
        self.speed = (evaluations - done) / max(time.monotonic() - since, 1e-9)
        self.found = self._front()
        front = self.found[1]
        feasible = front[front[:, 0] <= self.work.allowed]
        least = {
            f"least_{objective.unit}": int(feasible[:, column].min()) if len(feasible) else None
            for column, objective in enumerate(self.objectives)
            if column
        }
        self.logbook.record(
            generation=self.generation,
            evaluations=evaluations,
            **self.statistics.compile([np.concatenate([island.objectives for island in self.islands])]),
            **least,
            front=len(front),
        )

    def _front(self) -> tuple[np.ndarray, np.ndarray]:
        return merged([(island.archive, island.archive_objectives) for island in self.islands], self.work.allowed)

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(tuple(self.islands), tuple(self.logbook), self.seconds)

    def tell(self) -> None:
        """Tell the caller of the last generation."""
        if self.told is None:
            return
        last = self.logbook[-1]
        cost = self.objectives[1]
        least = last[f"least_{cost.unit}"]
        self.told(
            GenerationRecord(
                self.generation,
                self.options.generations,
                last["evaluations"],
                self.speed,
                last["least_errors"],
                None if least is None else least / cost.scale,
                last["front"],
                self.seconds,
                *self.found,
            )
        )

    def result(self) -> Evolution:
        """Return what was found so far."""
        genomes, values = self.found
        return Evolution(
            genomes,
            values,
            self.objectives,
            self.work.allowed,
            bool(len(values) and values[0, 0] <= self.work.allowed),
            self.interrupted,
            self.generation,
            sum(island.evaluations for island in self.islands),
            self.seconds,
            self.logbook,
            tuple(self.islands),
        )


def _median(column: int, groups: Sequence[np.ndarray]) -> int:
    return int(np.median(groups[0][:, column]))
