"""The folds of a search: each has passes, starts and evolution of its own, and validation rows that none of them saw."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.flow.stages.measure import cell_area
from approxhw.ir.evaluation import codes_of
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.text import print_graph

from .evolve import Found, Prices, area_of, optimise, seeder_of
from .families.candidates import Masked, Workshop
from .families.circuits import Origin
from .genetic.fitness import Judge, Teacher
from .rows.thin_inputs import Thinned, thinned_inputs

if TYPE_CHECKING:
    from approxhw.common.options import Keywords
    from approxhw.dse.genetic.evolution import GenerationRecord
    from approxhw.dse.genetic.options import GeneticOptions, Seeding
    from approxhw.dse.genetic.problem import NetworkProblem
    from approxhw.dse.genetic.starts.seeding import Seeder
    from approxhw.ir.graph import Graph
    from approxhw.networks.space import Space

    from .evolve import Hooks
    from .rows.split_rows import SearchRows
    from .rules.class_rule import AskedClasses
    from .settings import Task

TARGET_SLACK = 0.01
"""How far below a target circuits are still let in where the bound on the loss of accuracy would keep them out."""


@dataclass(frozen=True, eq=False)
class Branch:
    """One fold of a search, ready to begin."""

    number: int
    judge: Judge
    problem: NetworkProblem
    seeder: Seeder
    options: GeneticOptions
    workshop: Workshop
    reference: float
    """Accuracy of the model on the rows that this fold is searched on."""
    thinned: Thinned | None = None
    """Which inputs it is searched with, where they are not all."""

    @property
    def space(self) -> Space:
        """The genomes of this fold."""
        return self.problem.space

    def estimates(self, genomes: np.ndarray) -> np.ndarray:
        """Return what each of *genomes* (P × G) is estimated to have of every cost: float64, P × costs."""
        return self.problem.estimates(genomes)

    def estimate(self, genomes: np.ndarray) -> np.ndarray:
        """Return the estimated area in mm² of each of *genomes* (P × G): float64, P."""
        return np.asarray(self.problem.area(genomes), dtype=np.float64)


def branch_of(
    task: Task,
    graph: Graph,
    rows: SearchRows,
    number: int,
    reference: float,
    prices: Prices,
    origin: Keywords,
    classes: AskedClasses | None = None,
) -> Branch:
    """Return fold *number* of a search of *graph*; ``origin``: the fields of :class:`Origin` that all folds share.

    ``classes``: what any class may lose, where that is bounded.
    """
    from approxhw.dse.genetic.problem import NetworkProblem
    from approxhw.networks.space import encode_genome, space_of

    library = task.target.library
    graph, thinned = thinned_inputs(graph, rows.searched(number), task.settings.max_inputs)
    searched, splits = rows.searched(number), rows.splits(number)
    if thinned is not None:
        searched = thinned.rows(searched)
        splits = {name: (thinned.columns(x), y) for name, (x, y) in splits.items()}
    context = PassContext(searched, graph, library=library, cell_area=cell_area(library))
    masked, records = run_passes(graph, task.passes, context)
    space = space_of(masked)
    codes = {name: codes_of(masked, x) for name, (x, _) in splits.items()}
    judge = Judge(space, codes, {name: y for name, (_, y) in splits.items()})
    labels = judge.labels["train"]
    wrong = round((1 - reference) * len(labels))
    estimate, start = area_of(prices.area, space), encode_genome(space, masked)[None]
    problem = NetworkProblem(space, codes["train"], labels, wrong, estimate, start, print_graph(masked))
    if classes is not None:
        fit, _ = rows.folds[number]
        problem = replace(problem, bound=classes.bound(labels, fit))
    costs = task.objectives[1:]
    if task.objectives != problem.objectives:
        problem = replace(problem, objectives=task.objectives, costs=prices.costs(space, costs))
    options, folds = _bounded(task, reference), len(rows.folds)
    options = replace(
        options,
        population=max(options.population // folds, min(options.population, 4 * options.islands)),
        seed=options.seed if number == 0 else int(np.random.SeedSequence((options.seed, number)).generate_state(1)[0]),
    )
    seeding: Seeding = replace(task.seeding, starts=-(-task.seeding.starts // folds))
    seeder = seeder_of(problem, prices.area, seeding, options, Teacher(graph, masked))
    made_of = Origin(
        nodes=len(masked.nodes), ledger=records, pipeline=task.target.pipeline, search=task.spelled(), **origin
    )
    workshop = Workshop(made_of, Masked(masked, space, thinned), task.jobs, costs)
    return Branch(number, judge, problem, seeder, options, workshop, reference, thinned)


def _bounded(task: Task, reference: float) -> GeneticOptions:
    """Return the options with a bound that lets circuits in which just hold a target that was asked for."""
    target, options = task.target_accuracy, task.options
    if target is None or target >= reference - options.max_accuracy_loss:
        return options
    return replace(options, max_accuracy_loss=min(1.0, round(reference - target + TARGET_SLACK, 6)))


def search_branches(task: Task, branches: list[Branch], folder: Path) -> list[Found]:
    """Search fold after fold, and return what each found; fewer where the search was asked to end on the way.

    ``folder``: of the checkpoints, one folder a fold.
    """
    from approxhw.dse.genetic.executors import executor_for

    settings, found = task.settings, list[Found]()
    executor = executor_for(min(task.jobs, task.options.islands), settings.scheduler)
    share = len(branches)
    try:
        for branch in branches:
            one = optimise(
                branch.problem,
                branch.options,
                branch.workshop,
                executor,
                folder / f"fold-{branch.number}",
                branch.seeder,
                resume=settings.resume,
                synthesise_every=settings.synthesise_every,
                synthesised=max(2, settings.members // share),
                refine_share=share,
                hooks=_shifted(task.hooks, found, share),
            )
            found.append(one)
            for step, seconds in one.seconds.items():
                task.clock.seconds[step] = task.clock.seconds.get(step, 0.0) + seconds
            if one.interrupted:
                break
    finally:
        executor.close()
    return found


def _shifted(hooks: Hooks, before: list[Found], folds: int) -> Hooks:
    """Return *hooks* that hear of the generations of one fold as of a part of them all."""
    tell = hooks.on_generation
    if tell is None or folds == 1:
        return hooks
    generations = sum(found.generations for found in before)
    evaluations = sum(found.evaluations for found in before)
    seconds = sum(found.seconds.get("evolve", 0.0) for found in before)

    def on_generation(record: GenerationRecord) -> None:
        tell(
            replace(
                record,
                generation=record.generation + generations,
                generations=record.generations * folds,
                evaluations=record.evaluations + evaluations,
                seconds=record.seconds + seconds,
            )
        )

    return replace(hooks, on_generation=on_generation)
