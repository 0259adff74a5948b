"""The recipe of a search: stages of evolution, synthesis on the way, refinement; what comes out are genomes."""

from __future__ import annotations

import functools
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from approxhw.artifacts.converters import converters
from approxhw.artifacts.objectives import Objective
from approxhw.common.data.arrays import read_npz
from approxhw.common.errors import CheckpointError, InvalidDataError, Problem
from approxhw.common.files import write_beside
from approxhw.networks.area_model import AreaModel, model_of
from approxhw.networks.costs import Area, CellFigures, Cost, Delay, Energy, Inputs, Power, Together, measured_figures
from approxhw.numerics.pareto import pareto_front

from .genetic.refinement import REFINED, WALKS, refined
from .genetic.starts.initial_population import STARTS, make_starts

if TYPE_CHECKING:
    from deap import base

    from approxhw.dse.genetic.evolution import GenerationRecord
    from approxhw.dse.genetic.executors import Executor
    from approxhw.dse.genetic.options import GeneticOptions, Seeding
    from approxhw.dse.genetic.problem import GeneticProblem, NetworkProblem
    from approxhw.dse.genetic.starts.seeding import Seeder
    from approxhw.networks.space import Space

    from .families.candidates import Workshop

CHECKPOINT = "search.npz"
SYNTHESISED = "synthesised.npz"


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found: ``genomes`` (int32, F × G), of which the front is to be chosen."""

    genomes: np.ndarray
    evaluations: int
    generations: int
    feasible: bool
    """Whether anything kept within the loss of accuracy that was asked for, on the rows searched on."""
    least_errors: int
    """Of everything found, on the rows searched on."""
    interrupted: bool
    history: tuple[dict[str, object], ...] = ()
    """What each generation reached."""
    seconds: dict[str, float] = field(default_factory=dict)


class SearchBegin(TypedDict):
    """What is searched, as those hear of it who watch."""

    rows: int
    """Of each search; of training data."""
    validation: int
    """Rows that pick the winners, of all folds."""
    folds: int
    genes: int
    families: tuple[str, ...]
    """That folds of all training rows judge, beside the genetic search."""
    onnx: float | None
    """Accuracy of the model on training rows; None where it is not known."""
    objectives: str | tuple[str, ...]


@dataclass(frozen=True)
class Hooks:
    """Who wants to hear of a search, who may end it, and how it is customised.

    ``on_start`` gets what is searched; ``on_note`` what is to be known of that before it begins.
    ``on_generation`` gets a record of each generation. ``stop``: asked after each; true ends the search. ``toolbox``: makes
    the operators of a search problem and its options; the default ones where it is None.
    """

    on_start: Callable[[SearchBegin], None] | None = None
    on_generation: Callable[[GenerationRecord], None] | None = None
    on_progress: Callable[[str, int, int], None] | None = None
    on_note: Callable[[str], None] | None = None
    stop: Callable[[], bool] | None = None
    toolbox: Callable[[GeneticProblem, GeneticOptions], base.Toolbox] | None = None


def area_model(library: str, timeout: float = 600.0) -> AreaModel:
    """Return the area model of a cell library; one that has no table yet gets its cells synthesised one by one."""
    from approxhw.flow.stages.measure import cell_area

    return model_of(library, cell_area(library, timeout=timeout))


def seeder_of(
    problem: NetworkProblem,
    model: AreaModel,
    seeding: Seeding,
    options: GeneticOptions,
    teacher: Callable[[np.ndarray], np.ndarray] | None,
) -> Seeder:
    """Return what makes the starts of a search of *problem*; ``teacher``: codes → classes of the model."""
    from approxhw.dse.genetic.starts.seeding import Seeder

    rows = len(problem.labels)
    # a little beyond the bound: evolution may bring such circuits back
    allowed = problem.allowed_errors(options.max_accuracy_loss) + rows // 50
    return Seeder(
        problem.space,
        np.asarray(problem.starts[0]),
        problem.codes,
        problem.labels,
        model,
        allowed,
        seeding,
        options.seed,
        teacher,
    )


@dataclass(frozen=True, eq=False)
class Prices:
    """What estimates the costs of genomes on a library: its area model, and its cells' power and delay where asked for."""

    area: AreaModel
    cells: CellFigures | None = None

    def costs(self, space: Space, objectives: Sequence[Objective]) -> tuple[Cost, ...]:
        """Return what estimates each of *objectives* for genomes of *space*, in a member's unit."""
        one = converters(1, space.layers[0].input_bits)
        area, outside = Area(space, self.area), Inputs(space, one.area_mm2)
        made: dict[str, Cost] = {
            "area": area,
            "inputs": Inputs(space),
            "converters": outside,
            "system-area": Together((area, outside)),
        }
        if self.cells is not None:
            power, delay = Power(space, self.cells), Delay(space, self.cells)
            made.update({"power": power, "delay": delay, "energy": Energy(power, delay)})
            made["system-power"] = Together((power, Inputs(space, one.power_mw)))
        return tuple(made[objective.name] for objective in objectives)


def prices_of(library: str, objectives: Sequence[Objective], timeout: float = 600.0) -> Prices:
    """Return what estimates *objectives* on a cell library; cells are synthesised one by one for what has no table."""
    area = area_model(library, timeout)
    if not {"power", "delay", "energy", "system-power"} & {objective.name for objective in objectives}:
        return Prices(area)
    from approxhw.backends.estimate import estimate, load_library

    loaded = load_library(library)

    def figures_of(text: str, top: str) -> tuple[float, float]:
        found = estimate(text, top, loaded, timeout=timeout)
        return found.known_power_mw(), found.delay_ms

    return Prices(area, measured_figures(library, figures_of))


def area_of(model: AreaModel, space: Space) -> Callable[[np.ndarray], np.ndarray]:
    """Return what estimates genomes (int32, P × G) of *space* in mm² (float64, P), fit to be sent to workers."""
    return functools.partial(model.area_mm2, space.layout, space.head)


def optimise(
    problem: NetworkProblem,
    options: GeneticOptions,
    workshop: Workshop,
    executor: Executor,
    folder: Path,
    seeder: Seeder,
    *,
    resume: bool = False,
    synthesise_every: int = 100,
    synthesised: int = 16,
    refine_share: int = 1,
    hooks: Hooks | None = None,
) -> Found:
    """Search *problem* and return genomes to choose a front from.

    First come the starts that *seeder* makes, then the generations, then refinement. ``folder``: for the starts and for
    the checkpoint, written every generation; with *resume* the search goes on from there. Every ``synthesise_every``
    generations (0: never) *synthesised* members of the front go through *workshop*; those that no other beats by
    synthesised area (or what else is searched for) stay in the running, whatever the estimate says of them. One in
    ``refine_share`` of the ``REFINED`` genomes is refined.
    """
    from approxhw.dse.genetic.evolution import evolve

    hooks = hooks or Hooks()
    started = time.perf_counter()
    kept = _Kept(folder / SYNTHESISED, problem.space, resume)
    spent = [0.0]
    starts, whole = make_starts(
        seeder, executor, folder / STARTS, resume=resume, stop=hooks.stop, on_progress=hooks.on_progress
    )
    problem = replace(problem, starts=np.concatenate([problem.starts, starts]))
    seeding = time.perf_counter() - started

    def on_generation(record: GenerationRecord) -> None:
        if hooks.on_generation:
            hooks.on_generation(record)
        due = synthesise_every and record.generation and record.generation % synthesise_every == 0
        if due and record.generation < options.generations and record.generation not in kept.marks:
            since = time.perf_counter()
            kept.add(record, synthesised, workshop, hooks)
            spent[0] += time.perf_counter() - since

    evolution = evolve(
        problem,
        options,
        hooks.toolbox(problem, options) if hooks.toolbox else None,
        executor=executor,
        on_generation=on_generation,
        # of a search that was ended among its starts there is nothing to go on from but these
        checkpoint=folder / CHECKPOINT if whole else None,
        resume=resume,
        stop=hooks.stop,
    )
    since = time.perf_counter()
    # starts were annealed on noisy rows: they may hold more than rows that are looked at once can tell
    genomes = distinct(problem.space, np.concatenate([evolution.genomes, kept.genomes, starts]))
    interrupted = evolution.interrupted
    if not interrupted:
        genomes, whole = refined(
            problem,
            genomes,
            executor,
            folder / WALKS,
            -(-REFINED // refine_share),
            resume=resume,
            stop=hooks.stop,
            on_progress=hooks.on_progress,
        )
        genomes, interrupted = distinct(problem.space, genomes), not whole
    refining = time.perf_counter() - since
    return Found(
        genomes=genomes,
        evaluations=evolution.evaluations,
        generations=max(0, evolution.generations),
        feasible=evolution.feasible,
        least_errors=int(evolution.errors.min()) if len(evolution.errors) else len(problem.labels),
        interrupted=interrupted,
        history=tuple(dict(record) for record in evolution.logbook),
        seconds={
            "anneal": seeding,
            "evolve": time.perf_counter() - started - spent[0] - refining - seeding,
            "refine": refining,
            "synthesise": spent[0],
        },
    )


def spread(size: int, count: int) -> np.ndarray:
    """Return at most *count* places of a front of *size* in order, both ends and evenly between (int64, ascending)."""
    if not size:
        return np.zeros(0, dtype=np.int64)
    return np.unique(np.linspace(0, size - 1, min(count, size)).round().astype(np.int64))


def distinct(space: Space, genomes: np.ndarray) -> np.ndarray:
    """Return *genomes* (P × G) in their canonical form, each circuit once, in the order of their first appearance."""
    from approxhw.networks.space import canonical

    plain = canonical(space, genomes)
    return plain[np.sort(np.unique(plain, axis=0, return_index=True)[1])]


class _Kept:
    """Genomes that were synthesised on the way and proved small, by generation; on disk beside the checkpoint."""

    def __init__(self, path: Path, space: Space, resume: bool) -> None:
        self.path, self.space = path, space
        self.genomes = np.zeros((0, space.genes), dtype=np.int32)
        self.generations = np.zeros(0, dtype=np.int64)
        if resume and path.exists():
            self._read()
        elif path.exists():
            path.unlink()

    @property
    def marks(self) -> set[int]:
        return set(self.generations.tolist())

    def add(self, record: GenerationRecord, count: int, workshop: Workshop, hooks: Hooks) -> None:
        """Synthesise *count* genomes of the front of *record*; keep those that none with as few errors beats in every cost."""
        places = spread(len(record.front), count)
        genomes, errors = record.front[places], record.front_objectives[places, 0]
        costs = workshop.measured(genomes, hooks.on_progress)
        # of equal costs the one with fewer errors: it stands before
        chosen = genomes[np.sort(pareto_front(np.column_stack([errors, costs])))]
        generation = record.generation
        self.genomes = np.concatenate([self.genomes, chosen])
        self.generations = np.concatenate([self.generations, np.full(len(chosen), generation)])
        packed = io.BytesIO()
        np.savez(packed, genomes=self.genomes, generations=self.generations)
        write_beside(self.path, packed.getvalue())

    def _read(self) -> None:
        remedy = "start again without --resume"
        try:
            arrays = read_npz(self.path).arrays
        except InvalidDataError as error:
            raise CheckpointError(str(self.path), [Problem(p.where, p.why, remedy) for p in error.problems]) from error
        genomes, generations = arrays.get("genomes"), arrays.get("generations")
        whole = (
            genomes is not None
            and generations is not None
            and genomes.dtype == np.int32
            and generations.dtype == np.int64
            and genomes.shape == (len(generations), self.space.genes)
            and generations.ndim == 1
            and bool(((genomes >= self.space.lower) & (genomes <= self.space.upper)).all())
        )
        if not whole:
            why = "it holds no genomes of this search with one generation each"
            raise CheckpointError(str(self.path), [Problem(self.path.name, why, remedy)])
        assert genomes is not None
        assert generations is not None
        self.genomes, self.generations = genomes, generations
