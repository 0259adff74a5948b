"""The genetic search on the level of gates (``evolve-gates``): moves of Cartesian genetic programming, errors against area."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.objectives import CIRCUIT, ERRORS, Objective
from approxhw.common.errors import PassError
from approxhw.dse.genetic.options import GeneticOptions
from approxhw.dse.targets import Box
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext
from approxhw.networks.gate_level import (
    GateOptions,
    Mapper,
    gate_generator,
    gate_problems,
    graph_of_gates,
    mapped_circuit,
    option_problems,
    remapper,
    rows_of_gates,
)
from approxhw.numerics.logic.gates import GateList, MappedGates
from approxhw.numerics.logic.genomes import (
    GenomeSpace,
    crossed,
    gates_of_genome,
    genome_of_gates,
    judged,
    moved,
    space_of_gates,
)
from approxhw.numerics.logic.removal import RowPlanes, planes_of_rows, signal_planes

if TYPE_CHECKING:
    from deap import base

    from approxhw.dse.genetic.evolution import GenerationRecord
    from approxhw.passes.approximate.evolve_gates import EvolveGates

ROUNDS = 3
"""Searches after one another: between them what was found is synthesised anew, and its gates are the next genome."""

MAPPED = 4
"""Circuits of a round that are synthesised: the smallest of those that rows set aside allow."""

MOVES = 1.5
"""Moves that make a child, on average."""

SLACK = 0.01
"""Share of the rows that genomes on the way may lose, at least: the way to less area leads through netlists that lose a few."""

CROSSED = 0.5
"""Share of children that have two parents."""


@dataclass(frozen=True)
class EvolveOptions(GateOptions):
    """What the genetic search of gates is asked for; ``candidates`` is not looked at."""

    generations: int = 900
    population: int = 256
    islands: int = 2


@dataclass(frozen=True, eq=False)
class GateProblem:
    """Netlists of ``space`` around ``start`` (int32, G), few wrong ones of the rows seen, small by the sum of their gates.

    Rows are planes (:class:`~approxhw.numerics.logic.removal.RowPlanes`): those that the circuit got right; ``seen``: how many
    rows there are. ``areas``: mm² of a gate of each function.
    """

    space: GenomeSpace
    start: np.ndarray
    inputs: np.ndarray
    wanted: np.ndarray
    mask: np.ndarray
    areas: np.ndarray
    seen: int
    objectives: tuple[Objective, ...] = (ERRORS, CIRCUIT["area"])

    @property
    def bounds(self) -> Box:
        """Of every gene."""
        return Box(self.space.lower, self.space.upper)

    def allowed_errors(self, max_accuracy_loss: float) -> int:
        """Return how many rows that were right may be lost."""
        return int(max_accuracy_loss * self.seen)

    def identity(self) -> Mapping[str, str]:
        """Return digests of the circuit and of the rows."""
        from approxhw.dse.genetic.problem import digest

        return {"model": digest("gates", self.start, self.areas), "data": digest("rows", self.inputs, self.mask)}

    def toolbox(self, options: GeneticOptions) -> base.Toolbox:
        """Return the operators of this problem."""
        from approxhw.dse.genetic.problem import plain_toolbox

        toolbox = plain_toolbox(self)
        toolbox.register("parents", _parents)
        return toolbox

    def initialise(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Return the start, and others a few moves away."""
        genomes = np.tile(self.start, (count, 1))
        genomes[1:] = moved(self.space, genomes[1:], 2 * MOVES, generator)
        return genomes

    def mate(self, first: np.ndarray, second: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return one child of each pair of rows: gates of both."""
        return crossed(self.space, first, second, CROSSED, generator)

    def mutate(self, genomes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return *genomes* some moves further."""
        return moved(self.space, genomes, MOVES, generator)

    def evaluate(self, genomes: np.ndarray) -> np.ndarray:
        """Return rows lost, and area in µm² (int64, P × 2)."""
        errors, areas = judged(self.space, genomes, self.inputs, self.wanted, self.mask, self.areas)
        return np.stack([errors, np.rint(areas * self.objectives[1].scale).astype(np.int64)], axis=1)


def _parents(size: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return parents (int64, *count*) of a population that stands best first: the best of four draws each.

    Most netlists near a good one are far worse, so that more children than usual are those of the front.
    """
    chosen: np.ndarray = generator.integers(0, size, (4, count)).min(axis=0)
    return chosen


@dataclass(frozen=True)
class Evolved:
    """What the search came to: the circuit before and now; rows set aside that are wrong, before and now, of how many."""

    before: MappedGates
    mapped: MappedGates
    aside_wrong: tuple[int, int]
    aside: int
    lost: int
    right: int
    evaluations: int
    interrupted: bool


@dataclass
class _Last:
    """The front so far, so that an interrupted search has something to give."""

    genomes: np.ndarray
    values: np.ndarray
    evaluations: int = 0
    interrupted: bool = False

    def heed(self, record: GenerationRecord) -> None:
        self.genomes, self.values, self.evaluations = record.front, record.front_objectives, record.evaluations


def evolved_gates(
    graph: Graph,
    codes: np.ndarray,
    labels: np.ndarray,
    mapped_gates: Mapper,
    options: EvolveOptions | None = None,
    seed: int = 1,
    *,
    jobs: int = 1,
    on_progress: Callable[[str, int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> tuple[Graph, Evolved]:
    """Return *graph*, an integer classifier, as the smallest ``Gates`` that evolves from its circuit, and what came of it.

    Genomes see a share of the rows and noisy copies of them; the rows set aside choose: they lose at most ``max_loss``. *codes*:
    int64, rows × elements, of training rows alone. *labels*: class indices. *mapped_gates*: as
    ``flow.stages.mapped.circuit_gates``. *jobs*: processes, which change nothing but the time. *stop*: asked after every
    generation; it, or Ctrl-C, ends the search with the best so far. The same seed gives the same gates. Raises
    :class:`PassError` for a Graph that decides no class, and for too few rows.
    """
    name, options = "evolve-gates", options or EvolveOptions()
    if wrong := [*option_problems(name, options), *gate_problems(graph)]:
        raise PassError(f"pass {name}", wrong)
    rows = rows_of_gates(name, graph, codes, labels, options, gate_generator(seed))
    before = mapped_circuit(name, graph, mapped_gates)
    planes = planes_of_rows(before.gates, rows, codes_bits(graph))
    right = _right(before.gates, planes)
    limit = int(_wrong_aside(before.gates, planes) + options.max_loss * len(rows.aside_codes))
    lost = int(options.max_loss * len(rows.codes))
    best, evaluations, interrupted = before, 0, False

    remap = remapper(graph, mapped_gates)
    start = before.gates
    for number in range(ROUNDS if len(start.functions) else 0):
        problem = _problem(start, before.function_areas, planes, right, len(rows.codes))
        last = _searched(problem, options, [seed, number], jobs, _told(on_progress, number, options), stop)
        evaluations, interrupted = evaluations + last.evaluations, last.interrupted
        start, best = _smallest(problem, last, best, (lost, limit), planes, remap)
        if interrupted or not len(start.functions):
            break
    told = Evolved(
        before,
        best,
        (_wrong_aside(before.gates, planes), _wrong_aside(best.gates, planes)),
        len(rows.aside_codes),
        int(np.bitwise_count(right & ~_right(best.gates, planes)).sum()),
        int(np.bitwise_count(right).sum()),
        evaluations,
        interrupted,
    )
    return (graph if best is before else graph_of_gates(graph, best.gates)), told


def codes_bits(graph: Graph) -> int:
    """Return how many bits an input code of *graph* has."""
    return int(graph.input.type.format.bits)  # type: ignore[union-attr]  # gate_problems has seen to it


def _right(gates: GateList, rows: RowPlanes) -> np.ndarray:
    """Return which of the rows seen *gates* get right, as a plane."""
    made = signal_planes(gates, rows.inputs[:, : rows.width])[gates.outputs]
    found: np.ndarray = rows.mask[: rows.width] & ~np.bitwise_or.reduce(made ^ rows.wanted[:, : rows.width], axis=0)
    return found


def _wrong_aside(gates: GateList, rows: RowPlanes) -> int:
    made = signal_planes(gates, rows.inputs[:, rows.width :])[gates.outputs]
    wrong = np.bitwise_or.reduce(made ^ rows.wanted[:, rows.width :], axis=0) & rows.mask[rows.width :]
    return int(np.bitwise_count(wrong).sum())


def _problem(
    gates: GateList, function_areas: tuple[float, ...], rows: RowPlanes, right: np.ndarray, seen: int
) -> GateProblem:
    inputs, wanted = (np.ascontiguousarray(part[:, : rows.width]) for part in (rows.inputs, rows.wanted))
    areas = np.array([*function_areas, 0.0, 0.0, 0.0])
    return GateProblem(space_of_gates(gates), genome_of_gates(gates), inputs, wanted, right, areas, seen)


def _searched(
    problem: GateProblem,
    options: EvolveOptions,
    seeds: list[int],
    jobs: int,
    told: Callable[[GenerationRecord], None],
    stop: Callable[[], bool] | None,
) -> _Last:
    """Return the front that the genetic core finds; where it is interrupted, that of the last whole generation."""
    from approxhw.dse.genetic.evolution import evolve
    from approxhw.dse.genetic.executors import executor_for

    asked = GeneticOptions(
        population=options.population,
        generations=max(1, options.generations // ROUNDS),
        max_accuracy_loss=max(options.max_loss, SLACK),
        seed=int(np.random.SeedSequence(seeds).generate_state(1)[0]),
        islands=min(options.islands, options.population // 4),
    )
    last = _Last(problem.start[None], problem.evaluate(problem.start[None]))

    def heed(record: GenerationRecord) -> None:
        last.heed(record)
        told(record)

    executor = executor_for(min(jobs, asked.islands))
    try:
        found = evolve(problem, asked, executor=executor, on_generation=heed, stop=stop)
        last.interrupted = found.interrupted
    except KeyboardInterrupt:
        last.interrupted = True
    finally:
        executor.close()
    return last


def _told(
    on_progress: Callable[[str, int, int], None] | None, number: int, options: EvolveOptions
) -> Callable[[GenerationRecord], None]:
    def tell(record: GenerationRecord) -> None:
        if on_progress:
            done = number * record.generations + record.generation
            on_progress("evolve gates", done, ROUNDS * record.generations)

    return tell


def _smallest(
    problem: GateProblem,
    last: _Last,
    best: MappedGates,
    limits: tuple[int, int],
    rows: RowPlanes,
    remap: Callable[[GateList], MappedGates],
) -> tuple[GateList, MappedGates]:
    """Return where to go on from, and the smallest circuit of the front, synthesised; *best* where none is smaller.

    *limits*: rows seen that may be lost, and rows set aside that may be wrong. What goes on is the best circuit where there is
    a new one, else the smallest genome within the limits: synthesis has not made it smaller yet.
    """
    tried, (lost, limit), before = 0, limits, best
    smallest: GateList | None = None
    for i in np.lexsort((last.values[:, 0], last.values[:, 1])).tolist():
        gates = gates_of_genome(problem.space, last.genomes[i], problem.areas)
        if last.values[i, 0] > lost or _wrong_aside(gates, rows) > limit:
            continue
        smallest, tried = smallest or gates, tried + 1
        mapped = remap(gates)
        if mapped.area_mm2 < best.area_mm2 and _wrong_aside(mapped.gates, rows) <= limit:
            best = mapped
        if tried == MAPPED:
            break
    return (before.gates if smallest is None else smallest) if best is before else best.gates, best


def evolved(graph: Graph, item: EvolveGates, context: PassContext, library: str) -> Graph:
    """Return the gates that the pass *item* asks for; their story goes to the ledger of *context*."""
    assert context.data is not None
    assert context.mapped_gates is not None
    options = EvolveOptions(
        item.max_loss,
        item.aside,
        item.copies,
        item.noise,
        0,
        item.rows,
        item.generations,
        item.population,
        item.islands,
    )
    data = context.data
    made, found = evolved_gates(
        graph,
        codes_of(graph, data.X_train),
        data.y_train,
        context.mapped_gates,
        options,
        item.seed,
        jobs=context.threads,
        on_progress=context.on_progress,
    )
    if found.interrupted:
        context.note("interrupted: the best so far")
    if found.mapped is found.before:
        context.note(f"nothing evolved: no smaller netlist loses at most {item.max_loss:.2%} of the rows set aside")
    context.note(
        f"{len(found.before.gates.functions)} gates, now {len(found.mapped.gates.functions)}; "
        f"{found.before.area_mm2:.4g} mm², now {found.mapped.area_mm2:.4g} mm²"
    )
    wrong, now = found.aside_wrong
    context.note(
        f"{found.lost} of {found.right} rows and noisy copies lost that were right; "
        f"of {found.aside} rows set aside {now} are wrong, {wrong} before"
    )
    context.note(f"{found.evaluations} netlists evaluated")
    return replace(made, name=graph.name)
