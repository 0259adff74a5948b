"""From a model to a front on disk: search, judge by validation rows, synthesise, choose, compile, simulate, write."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.design import Design
from approxhw.artifacts.front import CHECKPOINT, Front, FrontData, Member, write_front
from approxhw.artifacts.results import FamilySummary
from approxhw.common.errors import InvalidDataError, ToolNotFoundError
from approxhw.common.files import beside
from approxhw.common.statistics import majority_share, no_better
from approxhw.common.tools import tool_threads
from approxhw.common.version import __version__
from approxhw.flow.printed.reading import reference_accuracies, told_of_rows
from approxhw.flow.printed.write_report import report_design
from approxhw.flow.stages.describe import about
from approxhw.ir.evaluation import accuracy
from approxhw.ir.graph import Graph
from approxhw.report import write_front_page

from .evolve import Found, prices_of
from .families.asked_classes import asked_classes, held_against_model
from .families.circuits import Origin, Progress, compile_circuits, simulate_members
from .families.kept_folds import Watch
from .families.merging import FamiliesPart, Wanted, asked_accuracies, merged_parts
from .families.recipe_front import RecipeFront, front_of_recipes
from .families.searching import Studied, check_rows, coding_of, study_families
from .fold import Branch, branch_of, search_branches
from .rows.split_rows import SearchRows
from .rules.class_rule import AskedClasses
from .rules.honest_rule import shared_rows_note
from .select_members import part_of, pick
from .settings import Task

if TYPE_CHECKING:
    from approxhw.backends.estimate import Estimate
    from approxhw.common.options import Keywords
    from approxhw.frontends.classifier import Classifier


def make_front(task: Task, model: Classifier, graph: Graph, rows: SearchRows, folder: Path) -> Front:
    """Search all families that *task* asks for, from *graph* on, and write the front to *folder*.

    What was there stays until it is whole.
    """
    clock, notes = task.clock, list[str]()
    recipes = _fitted_families(task, rows, notes)
    coding = coding_of(task.passes, recipes) if recipes else None  # what is wrong with it is told before any work
    with clock.step("reference"):
        onnx = _references(task, model, graph, rows)
    shared: Keywords = {
        "data": rows.data,
        "onnx": {"train": onnx["train"], "test": onnx["test"]},
        "model": about(model),
        "target": task.target,
        "command": task.command,
        "timeout": task.settings.timeout,
        "held": held_against_model(task.options, graph, rows),
    }
    classes = asked_classes(task.options, shared["held"], _judging(task, rows), rows)
    branches = _branches(task, graph, rows, onnx, shared, classes) if task.genetic else []
    _tell_start(task, rows, branches, recipes, onnx["train"])
    watch = Watch(task.jobs, task.hooks.on_progress, task.hooks.stop, task.settings.resume)
    studied = None
    if coding is not None:
        with clock.step("families"):
            studied = study_families(
                recipes,
                graph,
                rows.data,
                coding,
                task.objectives,
                task.target.library,
                task.settings.timeout,
                task.options.seed,
                folder / CHECKPOINT,
                watch,
            )
    found = search_branches(task, branches, folder / CHECKPOINT) if branches else []
    seconds = sum(one.seconds.get("evolve", 0.0) for one in found)
    for branch in branches:
        branch.workshop.origin = replace(branch.workshop.origin, seconds=seconds)
    interrupted = any(one.interrupted for one in found) or (studied is not None and studied.interrupted)
    wanted = _wanted(task, rows, onnx, interrupted, classes)
    parts = []
    with clock.step("synthesise"):
        if found:
            searched = [(branch, one.genomes) for branch, one in zip(branches, found)]
            parts.append(part_of(pick(searched, wanted, task.hooks.on_progress, task.hooks.stop)))
        if studied is not None:
            origin = Origin(nodes=len(graph.nodes), ledger=studied.ledger, search=task.spelled_recipes(), **shared)
            right = shared["held"].reference.answers["train"] == rows.data.y_train
            every = None if classes is None else replace(classes, judging=np.arange(len(right)))
            reference = float(right.mean()) if onnx["train"] is None and classes is not None else onnx["train"]
            fitting = replace(wanted, reference=reference, right=right, classes=every)
            fitted = RecipeFront(studied, origin, fitting, watch)
            parts.append(front_of_recipes(fitted, wanted.costs[0].name, wanted.costs[0].least.format("circuit")))
        choice = merged_parts(parts, wanted)
        majority = {name: majority_share(y) for name, y in _labels(rows).items()}
        asked = asked_accuracies(parts, majority["train"] or 0.0)
    told = told_of_rows(model, (rows.data.X_train, rows.data.X_test))
    with beside(folder) as part:
        with clock.step("compile"):
            made = compile_circuits(choice.circuits, part / "members", task.jobs, task.hooks.on_progress)
        with clock.step("simulate"):
            simulated, missing = _simulate(task, part / "members", [design for design, _ in made])
        members = _members(choice, made, simulated)
        front = Front(
            name=graph.name,
            members=members,
            genomes=_stacked([circuit.genome for circuit in choice.circuits]),
            version=__version__,
            model=about(model),
            data=_about_rows(task, rows),
            onnx={name: onnx[name] for name in ("train", "validation", "test")},
            options=task.asked(),
            rule=choice.rule,
            library=task.target.library,
            evaluations=sum(one.evaluations for one in found),
            generations=sum(one.generations for one in found),
            seconds=dict(clock.seconds),
            interrupted=interrupted,
            bound_met=any(one.feasible for one in found) if found else choice.held,
            rank_correlation=choice.rank_correlation,
            ledger=tuple(made[0][0].ledger[: len(choice.circuits[0].origin.ledger)]),
            history=tuple({"fold": i, **record} for i, one in enumerate(found) for record in one.history),
            command=task.command,
            warnings=(
                *rows.notes,
                *told,
                *shared_rows_note(rows.data.X_train, rows.data.X_test),
                *notes,
                *([] if classes is None else classes.notes()),
                *_no_better(members, choice, onnx["test"], majority),
                *_thinned(branches),
                *_warnings(task, branches, found, choice),
                *_ended(studied),
                *missing,
            ),
            majority=majority,
            objectives=tuple(objective.name for objective in task.objectives),
            promise=choice.promise,
            families=_summaries(choice, members) if recipes else (),
            asked=asked,
        )
        _write(front, part, folder, [design for design, _ in made])
    return front


def _fitted_families(task: Task, rows: SearchRows, notes: list[str]) -> tuple[str, ...]:
    """Return the families to fit by recipes; where rows are too few for them, and others are asked for, *notes* get a line."""
    recipes = task.recipes
    try:
        check_rows(rows.data, recipes)
    except InvalidDataError as error:
        if recipes and not task.genetic:
            raise
        notes += [problem.why for problem in error.problems] if recipes else []
        return ()
    return recipes


def _branches(
    task: Task,
    graph: Graph,
    rows: SearchRows,
    onnx: Mapping[str, float | None],
    shared: Keywords,
    classes: AskedClasses | None,
) -> list[Branch]:
    """Return the folds of the genetic search, ready to begin."""
    clock, folds = task.clock, range(len(rows.folds))
    with clock.step("area model"):
        prices = prices_of(task.target.library, task.objectives, task.settings.timeout)
    branches = []
    with clock.step("passes"):
        for i in folds:
            if task.hooks.on_progress and len(folds) > 1:
                task.hooks.on_progress("passes of each fold", i, len(folds))
            branches.append(branch_of(task, graph, rows, i, onnx[f"fold {i}"] or 0.0, prices, shared, classes))
    return branches


def _tell_start(
    task: Task, rows: SearchRows, branches: Sequence[Branch], recipes: tuple[str, ...], onnx: float | None
) -> None:
    """Tell who watches what is searched, and what is to be known of it."""
    for line in _thinned(branches):
        if task.hooks.on_note:
            task.hooks.on_note(line)
    if task.hooks.on_start:
        task.hooks.on_start(
            {
                "rows": len(branches[0].judge.labels["train"]) if branches else len(rows.data.y_train),
                "validation": len(_judging(task, rows)),
                "folds": len(rows.folds),
                "genes": branches[0].space.genes if branches else 0,
                "families": recipes,
                "onnx": onnx,
                "objectives": task.settings.objectives,
            }
        )


def _wanted(
    task: Task,
    rows: SearchRows,
    onnx: Mapping[str, float | None],
    interrupted: bool,
    classes: AskedClasses | None,
) -> Wanted:
    settings = task.settings
    reference = onnx["validation"] if len(_judging(task, rows)) else onnx["train"]
    if reference is None and classes is not None:  # onnxruntime cannot say: the model as it was read can
        reference = float(classes.right[classes.judging].mean())
    wanted = Wanted(
        target=task.target_accuracy,
        keep=settings.keep,
        reference=reference,
        loss=task.options.max_accuracy_loss,
        synthesised=settings.synthesised,
        members=settings.members,
        costs=task.objectives[1:],
        test_rows=len(rows.data.y_test) or None,
        classes=classes,
    )
    return wanted.hurried if interrupted else wanted


def _judging(task: Task, rows: SearchRows) -> np.ndarray:
    """Return the training rows (numbers) that pick winners: of recipes alone all of them, fold after fold."""
    return rows.validated() if task.genetic else np.arange(len(rows.data.y_train))


def _references(task: Task, model: Classifier, graph: Graph, rows: SearchRows) -> dict[str, float | None]:
    """Return the accuracy of the model on all training rows, on those that pick winners, on test rows and for each fold."""
    data, chosen = rows.data, _judging(task, rows)
    splits = {"train": rows.splits()["all"], "validation": (data.X_train[chosen], data.y_train[chosen])}
    splits["test"] = (data.X_test, data.y_test)
    splits.update({f"fold {i}": rows.splits(i)["train"] for i in range(len(rows.folds))})
    found = reference_accuracies(model, graph, splits)
    for name, (x, y) in splits.items():
        if found[name] is None and name.startswith("fold"):  # the bound needs one, of the Graph if need be
            found[name] = accuracy(graph, x, y)
    return found


def _stacked(genomes: Sequence[np.ndarray]) -> np.ndarray:
    """Return *genomes* as rows; those of a fold that has fewer features left end in zeros, other families have nothing else."""
    most = max(len(genome) for genome in genomes)
    return np.array([np.pad(genome, (0, most - len(genome))) for genome in genomes], dtype=np.int32)


def _simulate(task: Task, folder: Path, designs: Sequence[Design]) -> tuple[dict[str, list[int]], list[str]]:
    """Return how many vectors each design was compared on, by simulator, and a line for each that is missing."""

    def work(simulator: str) -> list[int] | ToolNotFoundError:
        told = task.hooks.on_progress and partial(_told_of, task.hooks.on_progress, simulator)
        try:
            return simulate_members(folder, designs, simulator, timeout=task.settings.timeout, on_progress=told)
        except ToolNotFoundError as error:
            return error

    # side by side: one core is busy with either
    with tool_threads(min(task.jobs, max(1, len(task.settings.simulate)))) as pool:
        found = dict(zip(task.settings.simulate, pool.map(work, task.settings.simulate), strict=True))
    lacking = {name: error for name, error in found.items() if isinstance(error, ToolNotFoundError)}
    if lacking and task.settings.require_tools:
        raise next(iter(lacking.values()))
    done = {name: counts for name, counts in found.items() if not isinstance(counts, ToolNotFoundError)}
    missing = [
        f"not simulated on {name}: {error.tool} is not usable here; {error.hint}" for name, error in lacking.items()
    ]
    shutil.rmtree(folder / "simulation", ignore_errors=True)  # each member has its own verdict
    return done, missing


def _told_of(tell: Progress, simulator: str, step: str, done: int, total: int) -> None:
    """Tell of a step of one of the simulators."""
    tell(f"{step} {simulator}", done, total)


def _members(
    choice: FamiliesPart, made: Sequence[tuple[Design, Estimate]], simulated: Mapping[str, list[int]]
) -> tuple[Member, ...]:
    members = []
    for i, (circuit, (design, cost)) in enumerate(zip(choice.circuits, made, strict=True)):
        outside = design.converters
        members.append(
            Member(
                index=i,
                fold=circuit.fold,
                family=circuit.family,
                recipe=circuit.recipe,
                train_accuracy=circuit.train,
                validation_accuracy=circuit.validation,
                expected_accuracy=circuit.expected,
                test_accuracy=circuit.test,
                area_mm2=cost.area_mm2,
                estimated_area_mm2=circuit.estimate,
                power_mw=cost.known_power_mw(),
                delay_ms=cost.delay_ms,
                cells=cost.cells,
                inputs=len(design.inputs),
                converters_area_mm2=outside.area_mm2,
                converters_power_mw=outside.power_mw,
                design=f"members/{i:02d}",
                chosen=i == choice.index,
                simulated={simulator: counts[i] for simulator, counts in simulated.items()},
            )
        )
    return tuple(members)


def _summaries(choice: FamiliesPart, members: Sequence[Member]) -> tuple[FamilySummary, ...]:
    families = [member.family for member in members]
    return tuple(replace(each, members=families.count(each.name)) for each in choice.summaries)


def _no_better(
    members: Sequence[Member], choice: FamiliesPart, model: float | None, majority: Mapping[str, float | None]
) -> list[str]:
    """Return lines where model or chosen circuit is no better than always answering the most frequent class."""
    told = no_better("the model", model, majority["test"], "test rows")
    told += no_better("the chosen circuit", members[choice.index].test_accuracy, majority["test"], "test rows")
    if choice.promise is not None:
        told += no_better(
            "what is promised of the chosen circuit", choice.promise.accuracy, majority["train"], "training rows"
        )
    return told


def _labels(rows: SearchRows) -> dict[str, np.ndarray]:
    data = rows.data
    return {"train": rows.splits()["all"][1], "validation": data.y_train[rows.validated()], "test": data.y_test}


def _about_rows(task: Task, rows: SearchRows) -> FrontData:
    data, validated = rows.data, len(_judging(task, rows))
    searched = len(rows.folds[0][0]) if task.genetic else len(data.y_train)
    counts = {"train": searched, "validation": validated, "test": len(data.y_test)}
    return {"name": data.name, "rows": counts, "folds": len(rows.folds), "features": data.X_train.shape[1]}


def _thinned(branches: Sequence[Branch]) -> list[str]:
    """Return a line that says which inputs were searched with, where they were not all."""
    thinned = [branch.thinned for branch in branches if branch.thinned is not None]
    if not thinned:
        return []
    kept, count = len(thinned[0].kept), len(thinned[0].low)
    in_folds = " of each fold" if len(branches) > 1 else ""
    return [
        f"{kept} of {count} inputs were searched with: those that tell the classes apart best alone (analysis of variance on "
        f"the training rows{in_folds}); the others stand at their mean; --max-inputs {count} searches with all, and takes longer"
    ]


def _warnings(task: Task, branches: Sequence[Branch], found: Sequence[Found], choice: FamiliesPart) -> list[str]:
    told = []
    loss = f"{100 * task.options.max_accuracy_loss:g} %"
    if found and not any(one.feasible for one in found):
        best, reference = max(
            (1 - one.least_errors / max(1, len(branch.judge.labels["train"])), branch.reference)
            for branch, one in zip(branches, found)
        )
        told.append(
            f"nothing keeps within {loss} of the model's accuracy on training rows ({100 * reference:.2f} %): these are the "
            f"circuits that come nearest to it, with {100 * best:.2f} %; search longer, or allow more"
        )
    if not choice.held:
        at_best = f"; the best one is expected to hold {100 * choice.chosen.expected:.2f} %" if task.recipes else ""
        told.append(f"no circuit holds what was asked of the chosen one, {choice.rule.partition(';')[0]}{at_best}")
    if any(one.interrupted for one in found):
        done = sum(one.generations for one in found)
        told.append(f"the search was interrupted after generation {done}; --resume goes on from there")
    return told


def _ended(studied: Studied | None) -> list[str]:
    """Return lines that say what is not known since the search was ended among its folds."""
    told = []
    if studied is not None and studied.missing:
        told.append(f"the search was ended before family {', '.join(studied.missing)}; --resume goes on from there")
    if studied is not None and not studied.study.whole:
        judged = int(studied.study.judged[-1].sum())
        told.append(
            f"the search was ended among its folds: {judged} of {len(studied.study.labels)} training rows judge recipes, and "
            "nothing is promised; --resume goes on from there"
        )
    return told


def _write(front: Front, part: Path, folder: Path, designs: Sequence[Design]) -> None:
    """Write everything that is not there yet into *part*, which will be *folder*."""
    for member, design in zip(front.members, designs):
        report_design(part / member.design, design, folder / member.design)
    write_front_page(part / "report.html", front, str(folder))
    if (folder / CHECKPOINT).is_dir():
        shutil.copytree(folder / CHECKPOINT, part / CHECKPOINT)
    write_front(front, part)
