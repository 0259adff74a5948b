"""From a model to a front on disk: search, judge by validation rows, synthesise, choose, compile, simulate, write."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import __version__
from .choosing import Candidate, choose, expected_accuracies
from .compiler import Clock, Printed, model_of, reference_accuracies
from .design import Design
from .errors import ToolNotFoundError
from .evaluation import accuracy, codes_of, predict
from .evolving import Found, Hooks, area_model, area_of, distinct, layers_of_front, optimise, seeder_of
from .folders import beside
from .front import CHECKPOINT, Front, Member, pareto, write_front
from .ir import Graph, Input
from .members import Origin, Workshop, simulate_members
from .pipeline import Pass, PassContext, run_passes
from .report import write_front_page
from .reporting import report_design
from .search_rows import SearchRows
from .text import print_graph

if TYPE_CHECKING:
    from .backends.estimate import Estimate
    from .passes.genetic.evolution import Problem as SearchProblem
    from .passes.genetic.evolution import SearchOptions
    from .passes.genetic.seeding import Seeder, Seeding
    from .passes.genetic.space import Space

SIMULATORS = ("icarus", "verilator")
MOST_LISTED = 150
"""About as many circuits as may come into question for that."""

TARGET_SLACK = 0.01
"""How far below a target circuits are still let in where the bound on the loss of accuracy would keep them out."""

COPIES, NOISE = 8, 0.2
"""Noisy copies of every row that circuits are ranked on, and the probability that one of their codes is off by one."""


@dataclass(frozen=True)
class Settings:
    """What a search is asked for besides the options of the genetic search itself (``SearchOptions``)."""

    jobs: int | None = field(default=None, metadata={"help": "workers; one a core by default"})
    scheduler: str | None = field(default=None, metadata={"help": "Dask scheduler, tcp://host:port"})
    resume: bool = field(default=False, metadata={"help": "go on from the checkpoint in the output folder"})
    target_accuracy: float | None = field(default=None, metadata={"help": "what the chosen member must hold"})
    validation_share: float = field(default=0.2, metadata={"help": "share of the training rows that picks winners"})
    synthesise_every: int = field(
        default=100, metadata={"help": "generations between syntheses of the front; 0: never"}
    )
    members: int = field(default=16, metadata={"help": "members of the front at most"})
    synthesised: int = field(default=24, metadata={"help": "circuits synthesised in the end, to choose members from"})
    keep: tuple[float, ...] = field(default=(), metadata={"help": "accuracies of which the smallest circuit stays"})
    seeding: Seeding | None = field(default=None, metadata={"help": "how starts are made; the default way where None"})
    simulate: tuple[str, ...] = field(default=SIMULATORS, metadata={"help": "simulators that every member must pass"})
    require_tools: bool = field(default=False, metadata={"help": "a missing simulator is an error, not a note"})
    timeout: float = field(default=600.0, metadata={"help": "seconds that a tool may take"})


@dataclass(frozen=True, eq=False)
class Task:
    """A search that was asked for, and who wants to hear of it."""

    target: Printed
    passes: tuple[Pass, ...]
    options: SearchOptions
    settings: Settings
    hooks: Hooks
    command: str
    clock: Clock

    @property
    def seeding(self) -> Seeding:
        """How starts are made."""
        from .passes.genetic.seeding import Seeding

        return self.settings.seeding or Seeding()

    @property
    def jobs(self) -> int:
        """Workers of this machine."""
        return self.settings.jobs or len(os.sched_getaffinity(0))

    def spelled(self) -> str:
        """Return the line of the ledger for the search: every option that decides what comes out."""
        options = self.options
        told: dict[str, Any] = {
            name: getattr(options, name) for name in ("population", "generations", "seed", "islands")
        }
        told["max_accuracy_loss"] = options.max_accuracy_loss
        return f"search{{{','.join(f'{name}={value}' for name, value in told.items())}}}"

    def asked(self) -> dict[str, Any]:
        """Return everything that decides what the front is, as plain types."""
        options = {name: getattr(self.options, name) for name in self.options.__dataclass_fields__}
        options.update({f"seeding_{name}": value for name, value in asdict(self.seeding).items()})
        names = ("target_accuracy", "validation_share", "synthesise_every", "members", "synthesised", "keep")
        told = {**options, **{name: getattr(self.settings, name) for name in names}}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}


@dataclass(frozen=True, eq=False)
class _Judge:
    """Codes and class indices of every split, and what genomes make of them."""

    space: Space
    codes: Mapping[str, np.ndarray]
    labels: Mapping[str, np.ndarray]

    @property
    def split(self) -> str:
        """The rows that pick winners."""
        return "validation" if len(self.labels["validation"]) else "train"

    def accuracies(self, genomes: np.ndarray, split: str) -> np.ndarray | None:
        """Return the accuracy of each of *genomes* (P × G) on a split: float64, P; None without rows."""
        from .kernels.masked_network import count_errors

        rows = len(self.labels[split])
        if not rows:
            return None
        space = self.space
        errors = count_errors(space.layout, space.head, genomes, self.codes[split], self.labels[split])
        return 1 - np.asarray(errors) / rows

    def noisy(self, genomes: np.ndarray, split: str) -> np.ndarray:
        """Return the accuracy of each of *genomes* (P × G) on the rows of a split and noisy copies of them: float64, P."""
        from .kernels.masked_network import count_errors
        from .passes.genetic.annealing import noisy

        space = self.space
        highest = (1 << space.layers[0].input_bits) - 1
        codes, labels = noisy(
            self.codes[split], self.labels[split], copies=COPIES, probability=NOISE, highest=highest, seed=COPIES
        )
        errors = count_errors(space.layout, space.head, genomes, codes, labels)
        return 1 - np.asarray(errors) / len(labels)


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The members of the front, by rising area, and all that was synthesised for it."""

    genomes: np.ndarray
    areas: np.ndarray
    estimates: np.ndarray
    expected: np.ndarray
    index: int
    rule: str
    held: bool
    rank_correlation: float | None


def make_front(task: Task, model: Any, graph: Graph, rows: SearchRows, folder: Path) -> Front:
    """Search the masked networks of *graph*, and write the front to *folder*; what was there stays until it is whole."""
    from .passes.genetic.space import encode, space_of

    clock, splits = task.clock, rows.splits()
    with clock.step("reference"):
        onnx = reference_accuracies(model, graph, splits)
    with clock.step("passes"):
        masked, records = run_passes(graph, task.passes, PassContext(rows.searched(), graph))
        space = space_of(masked)
    codes = {name: codes_of(masked, x) for name, (x, _) in splits.items()}
    judge = _Judge(space, codes, {name: y for name, (_, y) in splits.items()})
    reference = onnx["train"] if onnx["train"] is not None else accuracy(graph, *splits["train"])
    with clock.step("area model"):
        model_of_area = area_model(task.target.library, task.settings.timeout)
        estimate = area_of(model_of_area, space)
    task = replace(task, options=_bounded(task, reference))
    problem = _problem(judge, masked, reference or 0.0, estimate, encode(space, masked)[None])
    seeder = seeder_of(problem, model_of_area, task.seeding, task.options, Teacher(graph, masked))
    origin = Origin(
        graph=masked,
        space=space,
        data=rows.data,
        onnx={"train": onnx["all"], "test": onnx["test"]},
        model=model_of(model, graph),
        ledger=records,
        target=task.target,
        search=task.spelled(),
        command=task.command,
        timeout=task.settings.timeout,
    )
    workshop = Workshop(origin, task.jobs)
    if task.hooks.on_start:
        counts = {"rows": len(judge.labels["train"]), "validation": len(judge.labels["validation"])}
        task.hooks.on_start({**counts, "genes": space.genes, "onnx": onnx["train"]})
    found = _search(task, problem, seeder, workshop, folder / CHECKPOINT)
    workshop.origin = replace(origin, seconds=found.seconds.get("evolve", 0.0))
    with clock.step("synthesise"):
        chosen = _choose(task, found, judge, workshop, estimate, onnx)
    with beside(folder) as part:
        with clock.step("compile"):
            made = workshop.compile(chosen.genomes, part / "members", task.hooks.on_progress)
        with clock.step("simulate"):
            simulated, missing = _simulate(task, part / "members", [design for design, _ in made])
        front = Front(
            name=graph.name,
            members=_members(judge, chosen, made, simulated),
            genomes=chosen.genomes,
            version=__version__,
            model=model_of(model, graph),
            data=_about_rows(rows, splits),
            onnx={name: onnx[name] for name in ("train", "validation", "test")},
            options=task.asked(),
            rule=chosen.rule,
            library=task.target.library,
            evaluations=found.evaluations,
            generations=found.generations,
            seconds=dict(clock.seconds),
            interrupted=found.interrupted,
            bound_met=found.feasible,
            rank_correlation=chosen.rank_correlation,
            ledger=tuple(made[0][0].ledger[: len(records)]),
            history=found.history,
            command=task.command,
            warnings=(*rows.notes, *_warnings(task, found, judge, chosen, reference), *missing),
        )
        _write(front, part, folder, [design for design, _ in made])
    return front


@dataclass(frozen=True, eq=False)
class Teacher:
    """Codes (integers, rows × features) → class indices that the ``model`` gives the readings they stand for."""

    model: Graph
    masked: Graph

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Return them (int64, rows)."""
        op = self.masked.input.op
        assert isinstance(op, Input)
        assert op.encoding is not None
        return predict(self.model, op.encoding.offsets() + codes * op.encoding.steps())


def _bounded(task: Task, reference: float | None) -> SearchOptions:
    """Return the options with a bound that lets circuits in which just hold a target that was asked for."""
    target, options = task.settings.target_accuracy, task.options
    if target is None or reference is None or target >= reference - options.max_accuracy_loss:
        return options
    return replace(options, max_accuracy_loss=min(1.0, round(reference - target + TARGET_SLACK, 6)))


def _problem(judge: _Judge, masked: Graph, reference: float, estimate: Any, starts: np.ndarray) -> SearchProblem:
    from .passes.genetic.evolution import Problem as SearchProblem

    labels = judge.labels["train"]
    wrong = round((1 - reference) * len(labels))
    return SearchProblem(judge.space, judge.codes["train"], labels, wrong, estimate, starts, print_graph(masked))


def _search(task: Task, problem: SearchProblem, seeder: Seeder, workshop: Workshop, folder: Path) -> Found:
    from .passes.genetic.distribution import executor_for

    settings = task.settings
    executor = executor_for(min(task.jobs, task.options.islands), settings.scheduler)
    try:
        found = optimise(
            problem,
            task.options,
            workshop,
            executor,
            folder,
            seeder,
            resume=settings.resume,
            synthesise_every=settings.synthesise_every,
            synthesised=settings.members,
            hooks=task.hooks,
        )
    finally:
        executor.close()
    for step, seconds in found.seconds.items():
        task.clock.seconds[step] = task.clock.seconds.get(step, 0.0) + seconds
    return found


def _choose(
    task: Task, found: Found, judge: _Judge, workshop: Workshop, estimate: Any, onnx: Mapping[str, float | None]
) -> _Chosen:
    """Synthesise what may be best, keep what nothing beats by synthesised area and noisy rows, and choose one."""
    genomes = distinct(judge.space, found.genomes)
    rows, checked = len(judge.labels[judge.split]), judge.noisy(genomes, judge.split)
    # rows searched on are many, validation rows were not learnt by heart
    steady = (judge.noisy(genomes, "train") + checked) / 2
    estimates = np.asarray(estimate(genomes), dtype=np.float64)

    def candidates(places: Sequence[int], areas: Mapping[int, float]) -> list[Candidate]:
        return [Candidate(float(checked[i]), rows, areas[i]) for i in places]

    wanted, reference, loss = task.settings.target_accuracy, onnx[judge.split], task.options.max_accuracy_loss
    first = wanted if wanted is not None else None if reference is None else reference - loss
    aims = [aim for aim in (first, *task.settings.keep) if aim is not None]
    listed = layers_of_front(estimates, steady, MOST_LISTED)
    # what is not worth a synthesis: circuits far from what was asked for, but for a few
    listed = [listed[i] for i in nearest(steady[listed].tolist(), aims, task.settings.synthesised)]
    areas = dict(zip(listed, workshop.areas(genomes[listed], task.hooks.on_progress).tolist()))
    front = [listed[i] for i in pareto([(areas[i], float(steady[i])) for i in listed])]
    expected = dict(zip(front, expected_accuracies(candidates(front, areas))))
    index, rule, held = choose(candidates(front, areas), target=wanted, reference=reference, loss=loss)
    # what further accuracies ask for stays, too
    others = {
        choose(candidates(front, areas), target=target, reference=None, loss=loss)[0] for target in task.settings.keep
    }
    kept = thinned([float(steady[i]) for i in front], task.settings.members, {index, *others})
    members = [front[i] for i in kept]
    return _Chosen(
        genomes=workshop.without_unread(genomes[members]),
        areas=np.array([areas[i] for i in members]),
        estimates=estimates[members],
        expected=np.array([expected[i] for i in members]),
        index=kept.index(index),
        rule=rule,
        held=held,
        rank_correlation=rank_correlation(estimates[listed], np.array([areas[i] for i in listed])),
    )


def nearest(gains: Sequence[float], aims: Sequence[float], count: int) -> list[int]:
    """Return at most *count* places, ascending: half of them those nearest to the *aims*, the others evenly over all *gains*."""
    order = sorted(range(len(gains)), key=lambda i: gains[i])
    if len(order) <= count:
        return sorted(order)
    chosen: set[int] = set()
    for number, aim in enumerate(aims, 1):
        by_distance = [i for i in sorted(order, key=lambda i: (abs(gains[i] - aim), i)) if i not in chosen]
        chosen.update(by_distance[: count * number // (2 * len(aims)) - len(chosen)])
    others = [i for i in order if i not in chosen]
    evenly = np.unique(np.linspace(0, len(others) - 1, count - len(chosen)).round().astype(np.int64))
    return sorted(chosen | {others[i] for i in evenly.tolist()})


def thinned(gains: Sequence[float], count: int, wanted: set[int]) -> list[int]:
    """Return at most *count* places of a front with rising *gains*: those *wanted*, both ends, then what adds most gain."""
    kept = list(range(len(gains)))
    while len(kept) > max(1, count, len(wanted)):
        free = [k for k in range(len(kept)) if kept[k] not in wanted]
        inner = [k for k in free if 0 < k < len(kept) - 1] or free
        # what a place adds over the one before it is what is lost with it
        least = min(inner, key=lambda k: gains[kept[k]] - gains[kept[k - 1]] if k else 0.0)
        kept.pop(least)
    return kept


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return Spearman's rank correlation of *a* and *b*; None where one of them is the same everywhere, or too short."""
    if len(a) < 3:
        return None
    first, second = _ranks(np.asarray(a)), _ranks(np.asarray(b))
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value, the mean of their ranks for equal ones."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    _, group = np.unique(values, return_inverse=True)
    return (np.bincount(group, ranks) / np.bincount(group))[group]


def _simulate(task: Task, folder: Path, designs: Sequence[Design]) -> tuple[dict[str, list[int]], list[str]]:
    """Return how many vectors each design was compared on, by simulator, and a line for each that is missing."""
    done: dict[str, list[int]] = {}
    missing = []
    for simulator in task.settings.simulate:
        try:
            done[simulator] = simulate_members(
                folder, designs, simulator, timeout=task.settings.timeout, on_progress=task.hooks.on_progress
            )
        except ToolNotFoundError as error:
            if task.settings.require_tools:
                raise
            missing.append(f"not simulated on {simulator}: {error.tool} is not usable here; {error.hint}")
    shutil.rmtree(folder / "simulation", ignore_errors=True)  # each member has its own verdict
    return done, missing


def _members(
    judge: _Judge, chosen: _Chosen, made: Sequence[tuple[Design, Estimate]], simulated: Mapping[str, list[int]]
) -> tuple[Member, ...]:
    shares = {split: judge.accuracies(chosen.genomes, split) for split in ("train", "validation", "test")}
    members = []
    for i, (design, cost) in enumerate(made):
        train, validation, test = (None if found is None else float(found[i]) for found in shares.values())
        assert train is not None
        inputs = len(design.inputs)
        outside = design.converters
        members.append(
            Member(
                index=i,
                train_accuracy=train,
                validation_accuracy=validation,
                expected_accuracy=min(1.0, max(0.0, float(chosen.expected[i]))),
                test_accuracy=test,
                area_mm2=cost.area_mm2,
                estimated_area_mm2=float(chosen.estimates[i]),
                power_mw=cost.power_mw,
                delay_ms=cost.delay_ms,
                cells=cost.cells,
                inputs=inputs,
                converters_area_mm2=outside.area_mm2,
                converters_power_mw=outside.power_mw,
                design=f"members/{i:02d}",
                chosen=i == chosen.index,
                simulated={simulator: counts[i] for simulator, counts in simulated.items()},
            )
        )
    return tuple(members)


def _about_rows(rows: SearchRows, splits: Mapping[str, Any]) -> dict[str, Any]:
    counts = {name: len(splits[name][1]) for name in ("train", "validation", "test")}
    return {"name": rows.data.name, "rows": counts, "features": rows.data.X_train.shape[1]}


def _warnings(task: Task, found: Found, judge: _Judge, chosen: _Chosen, reference: float | None) -> list[str]:
    told = []
    loss = f"{100 * task.options.max_accuracy_loss:g} %"
    if not found.feasible and reference is not None:
        best = 1 - found.least_errors / max(1, len(judge.labels["train"]))
        told.append(
            f"nothing keeps within {loss} of the model's accuracy on training rows ({100 * reference:.2f} %): these are the "
            f"circuits that come nearest to it, with {100 * best:.2f} %; search longer, or allow more"
        )
    if not chosen.held:
        told.append(f"no circuit holds what was asked of the chosen one, {chosen.rule.partition(';')[0]}")
    if found.interrupted:
        told.append(f"the search was interrupted after generation {found.generations}; --resume goes on from there")
    return told


def _write(front: Front, part: Path, folder: Path, designs: Sequence[Design]) -> None:
    """Write everything that is not there yet into *part*, which will be *folder*."""
    for member, design in zip(front.members, designs):
        report_design(part / member.design, design, folder / member.design)
    write_front_page(part / "report.html", front, str(folder))
    if (folder / CHECKPOINT).is_dir():
        shutil.copytree(folder / CHECKPOINT, part / CHECKPOINT)
    write_front(front, part)
