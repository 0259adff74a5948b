"""The search of whatever a target hands over as a problem: the same genetic core, checkpoints, workers and page for all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, TypeVar

import numpy as np

from approxhw.artifacts.front import CHECKPOINT, need_checkpoint
from approxhw.artifacts.objectives import Objective
from approxhw.common.arguments import checked
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.files import beside, locked
from approxhw.common.options import Keywords

from .evolve import Hooks, spread
from .genetic.options import GeneticOptions
from .rules.short_lists import thinned

if TYPE_CHECKING:
    from deap import base

    from approxhw.artifacts.engine_front import EngineFront

    from .genetic.evolution import Evolution, GenerationRecord

MATRIX_ENGINE = "approxhw.engine.matrix.search:problem"
"""What makes the search problem of matrix engines: dse and engine never import each other."""

SEARCH = "search.npz"


MemberTold = Mapping[str, Any]
"""What a front tells of a member: numbers that are compared, and whatever else the target has to say of it."""

SomeFront = Any
"""The front of a target whose problem is made by a function that is known by name alone: so is its type."""

FrontT = TypeVar("FrontT")


class Reached(TypedDict):
    """What a generation came to; ``front``: how many genomes are on it."""

    generation: int
    generations: int
    least_errors: int
    least_cost: float
    front: int


class TargetProblem(Protocol[FrontT]):
    """What a target is searched by, in plain types: genomes (int32, P × G), and what they mean.

    It is sent to workers (pickled), so that it opens what cannot be sent where it is used. The first of ``objectives``
    counts errors; ``evaluate`` gives them all as whole numbers (int64, P × M), in the order of ``objectives``.
    """

    objectives: tuple[Objective, ...]
    lower: np.ndarray
    """The least value of each gene; all of them together: the genome that approximates least."""
    upper: np.ndarray
    folder: Path
    """Where its front goes."""
    reference: float
    """Accuracy that the loss is counted against, on the rows that pick the winner; ``against`` says what it is of."""
    against: str

    def settings(self) -> Keywords:
        """Return what it was asked for: fields of :class:`GeneticOptions`, and ``members`` of the front at most."""

    def allowed_errors(self, max_accuracy_loss: float) -> int:
        """Return the most errors that keep accuracy within *max_accuracy_loss* of the reference's."""

    def identity(self) -> Mapping[str, str]:
        """Return digests of ``model`` and ``data``."""

    def initialise(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Return a first population."""

    def mate(self, first: np.ndarray, second: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return one child of each pair of rows."""

    def mutate(self, genomes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return changed genomes."""

    def evaluate(self, genomes: np.ndarray) -> np.ndarray:
        """Return all objectives of each."""

    def describe(self, genome: np.ndarray) -> MemberTold:
        """Return what a front tells of a member; ``accuracy``, on rows that pick the winner, and costs by their ``field``."""

    def front(self, members: Sequence[MemberTold], chosen: int, rule: str, found: Evolution) -> FrontT:
        """Return the front of *members* (by rising cost, as :meth:`describe` tells them)."""

    def write(self, front: FrontT, genome: np.ndarray, folder: Path) -> None:
        """Write the chosen member *genome*, the files of *front*, and its page into *folder*."""


@dataclass(frozen=True, eq=False)
class _Core:
    """A target's problem as the genetic core takes it."""

    target: TargetProblem[SomeFront]

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return self.target.objectives

    @property
    def bounds(self) -> Box:
        return Box(self.target.lower, self.target.upper)

    def allowed_errors(self, max_accuracy_loss: float) -> int:
        return self.target.allowed_errors(max_accuracy_loss)

    def identity(self) -> Mapping[str, str]:
        return self.target.identity()

    def toolbox(self, options: GeneticOptions) -> base.Toolbox:
        from .genetic.problem import plain_toolbox

        return plain_toolbox(self.target)


@dataclass(frozen=True, eq=False)
class Box:
    """Bounds of every gene (int32, G)."""

    lower: np.ndarray
    upper: np.ndarray


def search_engine(
    model: object,
    **given: Any,  # each of the type that search_target declares, or the problem's maker, which has a name alone
) -> EngineFront:
    """Search the cheapest arithmetic of every matrix product of *model*, write the front, and compile the chosen member.

    ``data``: labelled rows, as :func:`approxhw.engine.matrix.compile.compile_engine` takes them. ``output``, ``shape``,
    ``command``. ``target``: the array (``MatrixEngine``); its own arithmetic is not looked at. ``options``: an
    ``EngineSearch``. The rest as :func:`search_target` takes it. Returns an ``EngineFront``.
    """
    front: EngineFront = search_target(MATRIX_ENGINE, model, **given)
    return front


@checked("search")
def search_target(
    entry: str,
    model: object,
    *,
    jobs: int | None = 1,
    scheduler: str | None = None,
    resume: bool = False,
    hooks: Hooks | None = None,
    on_generation: Callable[[Reached], None] | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
    **given: object,
) -> SomeFront:
    """Search the problem that *entry* (``package.module:function``) makes of *model* and what is *given*; return its front.

    ``jobs``, ``scheduler``: who works (None: a worker a core); the front does not depend on it. Where there are more jobs
    than islands, an evaluation has threads. ``resume``: go on from the checkpoint in the folder of the front.
    ``on_generation``: gets ``generation``, ``generations``, ``least_errors``, ``least_cost``, ``front`` (size) of each;
    ``stop``: asked after it; true ends the search with the front so far. ``hooks``: ``toolbox`` and ``on_generation`` of them
    are heeded, too. What is left of *given* goes to *entry*, such as ``data``, ``output``, ``target``, and options by name.
    Raises errors of :mod:`approxhw.common.errors`; a front that was there is replaced only when the new one is whole.
    """
    from .genetic.evolution import evolve
    from .genetic.executors import executor_for

    jobs, output = _jobs(jobs), given.get("output")
    with (
        locked(Path(output)) if isinstance(output, str | Path) else nullcontext()
    ):  # before the problem is made: it takes time
        module, _, name = entry.partition(":")
        maker = getattr(import_module(module), name)
        if "stop" in signature(maker).parameters:  # making it takes long where it says so
            given["stop"] = stop
        if isinstance(output, str | Path):
            need_checkpoint(Path(output), resume)  # what is made may begin one
        problem: TargetProblem[SomeFront] = maker(model, jobs=jobs, on_progress=on_progress, **given)
        folder, core = problem.folder, _Core(problem)
        with locked(folder):
            need_checkpoint(folder, resume)
            asked = dict(problem.settings())
            members = asked.pop("members")
            options = GeneticOptions(**asked)

            def told(record: GenerationRecord) -> None:
                if hooks and hooks.on_generation:
                    hooks.on_generation(record)
                if on_generation:
                    reached = record.front_objectives
                    on_generation(
                        {
                            "generation": record.generation,
                            "generations": record.generations,
                            "least_errors": int(reached[:, 0].min()),
                            "least_cost": float(reached[:, 1].min()) / problem.objectives[1].scale,
                            "front": len(reached),
                        }
                    )

            executor = executor_for(min(jobs, options.islands), scheduler)
            try:
                found = evolve(
                    core,
                    options,
                    hooks.toolbox(core, options) if hooks and hooks.toolbox else None,
                    executor=executor,
                    on_generation=told,
                    checkpoint=folder / CHECKPOINT / SEARCH,
                    resume=resume,
                    stop=stop,
                )
            finally:
                executor.close()
            genomes, described = _with_least(problem, options, *_members(problem, found, members))
            chosen, rule = _chosen(problem, described, options)
            front = problem.front(
                described, chosen, rule + ("; the search was interrupted" if found.interrupted else ""), found
            )
            with beside(folder) as part:
                problem.write(front, genomes[chosen], part)
                if (folder / CHECKPOINT).is_dir():
                    shutil.copytree(folder / CHECKPOINT, part / CHECKPOINT)
            return front


def _jobs(jobs: int | None) -> int:
    if jobs is None:
        return len(os.sched_getaffinity(0))
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise OptionError("search", [Problem("jobs", f"{shown(repr(jobs), 40)} is no integer of 1 or more")])
    return jobs


def _members(problem: TargetProblem[SomeFront], found: Evolution, most: int) -> tuple[np.ndarray, list[MemberTold]]:
    """Return at most *most* genomes of the front by rising cost, and what is to be told of each."""
    values = found.values
    order = np.lexsort((*values.T[:0:-1][:-1], values[:, 0], values[:, 1]))
    if len(order) > most and values.shape[1] == 2:
        order = order[spread(len(order), most)]
    elif len(order) > most:
        points = np.column_stack([values[order, 1], values[order, 0], values[order, 2:]]).astype(np.float64)
        order = order[thinned(points, most, set())]
    genomes = found.genomes[order]
    return genomes, [problem.describe(genome) for genome in genomes]


def _with_least(
    problem: TargetProblem[SomeFront], asked: GeneticOptions, genomes: np.ndarray, members: list[MemberTold]
) -> tuple[np.ndarray, list[MemberTold]]:
    """Return *genomes* and *members* with what approximates least, where no other holds what is *asked* and it does.

    It is beaten on the rows searched on, so that the front has lost it; rows that pick the winner may say otherwise.
    """
    if any(_missed(problem, told, asked) <= 1e-12 for told in members):
        return genomes, members
    told = problem.describe(problem.lower)
    if _missed(problem, told, asked) > 1e-12:
        return genomes, members
    cost = problem.objectives[1].field
    place = sum(each[cost] <= told[cost] for each in members)
    return np.insert(genomes, place, problem.lower, axis=0), [*members[:place], told, *members[place:]]


def _missed(problem: TargetProblem[SomeFront], told: MemberTold, asked: GeneticOptions) -> float:
    """Return by how much a member misses what is *asked* on the rows that pick the winner; 0 or less where it holds it.

    Raises :class:`OptionError` where a bound on classes is asked for, and the target's search does not tell what they lose.
    """
    missed = float(problem.reference - asked.max_accuracy_loss - told["accuracy"])
    if asked.max_class_loss is None:
        return missed
    if told.get("class_loss") is None:
        why = "the search of this target does not tell what a class loses"
        raise OptionError("search", [Problem("max_class_loss", why, "leave it out")])
    return max(missed, float(told["class_loss"]) - asked.max_class_loss)


def _chosen(problem: TargetProblem[SomeFront], members: Sequence[MemberTold], asked: GeneticOptions) -> tuple[int, str]:
    """Return which of *members* (by rising cost) is chosen by the rows that pick the winner, and the rule in words."""
    cost = problem.objectives[1]
    missed = [_missed(problem, told, asked) for told in members]
    held = [i for i, by in enumerate(missed) if by <= 1e-12]
    rule = f"{cost.least} that loses at most {100 * asked.max_accuracy_loss:g} % against {problem.against} on validation rows"
    if asked.max_class_loss is not None:
        rule += f", and no class more than {100 * asked.max_class_loss:g} %"
    if held:
        return held[0], rule
    if asked.max_class_loss is not None:
        best = min(range(len(members)), key=lambda i: (missed[i], members[i][cost.field]))
        return best, f"{rule}; there is none, so it is the one that misses this least, by {100 * missed[best]:.2f} %"
    best = max(range(len(members)), key=lambda i: (members[i]["accuracy"], -members[i][cost.field]))
    return best, f"{rule}; there is none, so it is the most accurate on them"
