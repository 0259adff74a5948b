"""The genetic search itself: problem, options, toolbox, and the loop over generations."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from deap import base, tools

from approxhw.common.errors import OptionError, WorkersError
from approxhw.common.errors import Problem as Fault
from approxhw.networks.kernels.masked_network import Rows, count_errors, prepare
from approxhw.networks.space import Space
from approxhw.numerics._kernel_pareto import select_nsga2, tournament

from . import operators
from .checkpoint import Checkpoint, Expected, identity_of, read_checkpoint, write_checkpoint
from .executors import Executor, SerialExecutor
from .islands import Island, NextGeneration, island_sizes, merged, migrate, new_island

UM2_PER_MM2 = 1_000_000
"""Areas are compared as whole µm²: integers are equal on every machine."""


@dataclass(frozen=True)
class SearchOptions:
    """How to search; every field but ``generations`` decides what the front is, and is kept with a checkpoint."""

    population: int = field(default=1000, metadata={"help": "individuals, of all islands together"})
    generations: int = field(default=300, metadata={"help": "generations after the start population"})
    max_accuracy_loss: float = field(
        default=0.05, metadata={"help": "absolute, against the reference, training rows", "unit": "share"}
    )
    seed: int = field(default=1, metadata={"help": "seed of every random draw"})
    islands: int = field(default=4, metadata={"help": "populations that meet by migration only"})
    migration_every: int = field(default=5, metadata={"help": "generations between migrations; 0: none"})
    migrants: int = field(default=10, metadata={"help": "individuals that each island hands on to the next"})
    crossover: float = field(default=0.8, metadata={"help": "share of children that have two parents"})
    crossover_shares: tuple[float, ...] = field(
        default=(1.0, 1.0, 1.0), metadata={"help": "how often children inherit by weight, by neuron, by feature"}
    )
    mutation: float = field(default=1.5, metadata={"help": "mean number of changed genes of a child"})
    mutation_weights: tuple[float, ...] = field(
        default=(8.0, 1.0, 2.0, 4.0, 4.0, 2.0),
        metadata={"help": f"how often a gene is drawn: {', '.join(operators.KINDS)}"},
    )
    prune: float = field(default=0.02, metadata={"help": "share of children that lose a whole neuron or feature"})
    archive: int = field(default=256, metadata={"help": "best trade-offs that each island remembers"})

    def __post_init__(self) -> None:
        """Refuse what cannot be, all at once."""
        least = {"population": 1, "generations": 0, "seed": 0, "islands": 1, "migration_every": 0, "migrants": 0}
        found = [
            Fault(name, f"{getattr(self, name)!r} is no integer of {low} or more")
            for name, low in {**least, "archive": 2}.items()
            if isinstance(getattr(self, name), bool)
            or not isinstance(getattr(self, name), int)
            or getattr(self, name) < low
        ]
        found += [
            Fault(name, f"{getattr(self, name)!r} is not in 0…1")
            for name in ("max_accuracy_loss", "crossover", "prune")
            if not 0 <= getattr(self, name) <= 1
        ]
        if not 1 <= self.mutation <= 1000:
            found.append(Fault("mutation", f"{self.mutation!r} is not in 1…1000"))
        for name, count in (("crossover_shares", 3), ("mutation_weights", len(operators.KINDS))):
            given = getattr(self, name)
            if len(given) != count or not all(0 <= value < 1e9 for value in given) or not sum(given):
                found.append(Fault(name, f"{given!r} is not {count} numbers of 0 or more, one of them above 0"))
        if not found and self.population < 4 * self.islands:
            why = f"{self.population} individuals on {self.islands} islands; an island needs 4"
            found.append(Fault("population", why, "take more individuals or fewer islands"))
        if found:
            raise OptionError("search", found)


@dataclass(frozen=True, eq=False)
class Problem:
    """What is searched: masked networks of ``space`` that classify ``codes`` as ``labels``, small by ``area``.

    ``codes``: integers, rows × features. ``labels``: class indices, rows. ``reference_errors``: rows of these that the
    reference (the ONNX model) classifies wrongly. ``area``: genomes (int32, P × G) → mm² (float64, P). ``starts``:
    genomes (int32, S × G) to start from, the retrained network first. ``model``: a text that tells models apart.
    """

    space: Space
    codes: np.ndarray
    labels: np.ndarray
    reference_errors: int
    area: Callable[[np.ndarray], np.ndarray]
    starts: np.ndarray
    model: str = ""

    def allowed_errors(self, max_accuracy_loss: float) -> int:
        """Return the most errors that keep accuracy within *max_accuracy_loss* of the reference's, exactly."""
        return int(self.reference_errors + Fraction(repr(float(max_accuracy_loss))) * len(self.labels))


def evaluate(space: Space, rows: Rows, area: Callable[[np.ndarray], np.ndarray], genomes: np.ndarray) -> np.ndarray:
    """Return errors and estimated area in µm² (int64, P × 2)."""
    errors = count_errors(space.layout, space.head, genomes, rows)
    areas = np.asarray(area(genomes), dtype=np.float64)
    return np.stack([errors, np.rint(areas * UM2_PER_MM2).astype(np.int64)], axis=1)


def default_toolbox(problem: Problem, options: SearchOptions) -> base.Toolbox:
    """Return DEAP's toolbox with operators on whole populations; register others under the same names to swap them.

    ``initialise(count, generator)``, ``parents(size, count, generator)`` → indices into a population that stands best
    first, ``mate(first, second, generator)``, ``mutate(genomes, generator)``, ``evaluate(genomes)`` → int64 P × 2,
    ``select(objectives, violations, count)`` → indices of survivors, best first.
    """
    genes = operators.gene_map(problem.space)
    chances = {"changes": options.mutation, "weights": options.mutation_weights, "prune": options.prune}
    shares = {"probability": options.crossover, "shares": options.crossover_shares}
    toolbox = base.Toolbox()
    toolbox.register("initialise", operators.initialise, genes, np.asarray(problem.starts, np.int32))
    toolbox.register("parents", tournament)
    toolbox.register("mate", operators.crossover, genes, **shares)
    toolbox.register("mutate", operators.mutate, genes, **chances)
    rows = prepare(problem.codes, problem.labels)
    toolbox.register("evaluate", evaluate, problem.space, rows, problem.area)
    toolbox.register("select", select_nsga2)
    return toolbox


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
    least_area_mm2: float | None
    """Of those that meet the bound; None where none does."""
    front_size: int
    seconds: float
    """Since the start."""
    front: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int32), compare=False, repr=False)
    """int32, genomes of the front so far: of those that meet the bound, if any do; by rising errors."""


@dataclass(frozen=True, eq=False)
class Evolution:
    """What a search found: the front over all islands by rising errors, thus falling area."""

    genomes: np.ndarray
    """int32, F × G."""
    errors: np.ndarray
    """int64, F: training rows classified wrongly."""
    areas_mm2: np.ndarray
    """float64, F: estimated."""
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


def evolve(
    problem: Problem,
    options: SearchOptions | None = None,
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
    options = options or SearchOptions()
    toolbox = toolbox or default_toolbox(problem, options)
    missing = [name for name in OPERATORS if not hasattr(toolbox, name)]
    if missing:
        raise OptionError("toolbox", [Fault(name, "no operator is registered under this name") for name in missing])
    path = None if checkpoint is None else Path(checkpoint)
    allowed = problem.allowed_errors(options.max_accuracy_loss)
    work = NextGeneration(toolbox, operators.gene_map(problem.space), allowed, options.archive)
    sizes = island_sizes(options.population, options.islands)
    identity = identity_of(problem, options, toolbox, OPERATORS)
    state = None
    if resume and path is not None and path.exists():
        state = read_checkpoint(path, identity, Expected(problem.space, sizes, options), toolbox.evaluate)
    executor = executor or SerialExecutor()
    run = _Run(options, work, sizes, state, on_generation)
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


STATISTICS = ("least_errors", "median_errors", "median_um2")
"""What the logbook tells of all populations of a generation together."""


class _Run:
    """The state of a running search, and its book."""

    def __init__(
        self, options: SearchOptions, work: NextGeneration, sizes: Sequence[int], state: Checkpoint | None, told: Any
    ) -> None:
        self.options, self.work, self.told = options, work, told
        self.islands: Sequence[Island] = [new_island(i, n, work.genes.genes, options.seed) for i, n in enumerate(sizes)]
        self.before, self.started = 0.0, time.monotonic()
        self.logbook, self.interrupted, self.speed = tools.Logbook(), False, 0.0
        if state:
            self.islands, self.before = state.islands, state.seconds
            for record in state.records:
                self.logbook.record(**record)
        self.logbook.header = ["generation", "evaluations", "front", *STATISTICS, "least_um2"]
        self.statistics = tools.Statistics()
        self.statistics.register("least_errors", lambda groups: int(groups[0][:, 0].min()))
        self.statistics.register("median_errors", lambda groups: int(np.median(groups[0][:, 0])))
        self.statistics.register("median_um2", lambda groups: int(np.median(groups[0][:, 1])))
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
        feasible = front[front[:, 0] <= self.work.allowed, 1]
        self.logbook.record(
            generation=self.generation,
            evaluations=evaluations,
            **self.statistics.compile([np.concatenate([island.objectives for island in self.islands])]),
            least_um2=int(feasible.min()) if len(feasible) else None,
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
        area = None if last["least_um2"] is None else last["least_um2"] / UM2_PER_MM2
        self.told(
            GenerationRecord(
                self.generation,
                self.options.generations,
                last["evaluations"],
                self.speed,
                last["least_errors"],
                area,
                last["front"],
                self.seconds,
                self.found[0],
            )
        )

    def result(self) -> Evolution:
        """Return what was found so far."""
        genomes, objectives = self.found
        return Evolution(
            genomes,
            objectives[:, 0],
            objectives[:, 1] / UM2_PER_MM2,
            self.work.allowed,
            bool(len(objectives) and objectives[0, 0] <= self.work.allowed),
            self.interrupted,
            self.generation,
            sum(island.evaluations for island in self.islands),
            self.seconds,
            self.logbook,
            tuple(self.islands),
        )
