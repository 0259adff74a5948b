"""From a model to a front on disk: search, judge by validation rows, synthesise, choose, compile, simulate, write."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.design import Design
from approxhw.artifacts.front import CHECKPOINT, Front, FrontData, Member, write_front
from approxhw.common.errors import ToolNotFoundError
from approxhw.common.files import beside
from approxhw.common.statistics import majority_share, no_better
from approxhw.common.version import __version__
from approxhw.flow.printed.reading import reference_accuracies, told_of_rows
from approxhw.flow.printed.write_report import report_design
from approxhw.flow.stages.describe import about
from approxhw.ir.evaluation import accuracy
from approxhw.ir.graph import Graph
from approxhw.report import write_front_page

from .candidates import simulate_members
from .evolve import Found, prices_of
from .fold import Branch, branch_of, search_branches
from .rows.split_rows import SearchRows
from .select_members import HURRIED, Choice, Wanted, pick
from .settings import Task

if TYPE_CHECKING:
    from approxhw.backends.estimate import Estimate
    from approxhw.frontends.classifier import Classifier


def make_front(task: Task, model: Classifier, graph: Graph, rows: SearchRows, folder: Path) -> Front:
    """Search the masked networks of *graph*, and write the front to *folder*; what was there stays until it is whole."""
    clock, folds = task.clock, range(len(rows.folds))
    with clock.step("reference"):
        onnx = _references(model, graph, rows)
    with clock.step("area model"):
        prices = prices_of(task.target.library, task.objectives, task.settings.timeout)
    shared = {
        "data": rows.data,
        "onnx": {"train": onnx["train"], "test": onnx["test"]},
        "model": about(model),
        "target": task.target,
        "search": task.spelled(),
        "command": task.command,
        "timeout": task.settings.timeout,
    }
    with clock.step("passes"):
        branches = []
        for i in folds:
            if task.hooks.on_progress and len(folds) > 1:
                task.hooks.on_progress("passes of each fold", i, len(folds))
            reference = onnx[f"fold {i}"] or 0.0
            branches.append(branch_of(task, graph, rows, i, reference, prices, shared))
    first = branches[0]
    for line in _thinned(branches):
        if task.hooks.on_note:
            task.hooks.on_note(line)
    if task.hooks.on_start:
        task.hooks.on_start(
            {
                "rows": len(first.judge.labels["train"]),
                "validation": len(rows.validated()),
                "folds": len(folds),
                "genes": first.space.genes,
                "onnx": onnx["train"],
                "objectives": task.settings.objectives,
            }
        )
    found = search_branches(task, branches, folder / CHECKPOINT)
    seconds = sum(one.seconds.get("evolve", 0.0) for one in found)
    for branch in branches:
        branch.workshop.origin = replace(branch.workshop.origin, seconds=seconds)
    settings, hurried = task.settings, any(one.interrupted for one in found)
    wanted = Wanted(
        target=task.target_accuracy,
        keep=settings.keep,
        reference=onnx["validation"] if len(rows.validated()) else onnx["train"],
        loss=task.options.max_accuracy_loss,
        synthesised=min(settings.synthesised, HURRIED) if hurried else settings.synthesised,
        members=min(settings.members, HURRIED) if hurried else settings.members,
        costs=task.objectives[1:],
    )
    with clock.step("synthesise"):
        searched = [(branch, one.genomes) for branch, one in zip(branches, found)]
        choice = pick(searched, wanted, task.hooks.on_progress, task.hooks.stop)
    told = told_of_rows(model, (rows.data.X_train, rows.data.X_test))
    with beside(folder) as part:
        with clock.step("compile"):
            made = _compiled(choice, part / "members", task)
        with clock.step("simulate"):
            simulated, missing = _simulate(task, part / "members", [design for design, _ in made])
        majority = {name: majority_share(y) for name, y in _labels(rows).items()}
        chosen = next(member for member in _members(choice, made, simulated) if member.chosen)
        least = no_better("the model", onnx["test"], majority["test"], "test rows")
        least += no_better("the chosen circuit", chosen.test_accuracy, majority["test"], "test rows")
        front = Front(
            name=graph.name,
            members=_members(choice, made, simulated),
            genomes=_stacked([member.genome for member in choice.members]),
            version=__version__,
            model=about(model),
            data=_about_rows(rows),
            onnx={name: onnx[name] for name in ("train", "validation", "test")},
            options=task.asked(),
            rule=choice.rule,
            library=task.target.library,
            evaluations=sum(one.evaluations for one in found),
            generations=sum(one.generations for one in found),
            seconds=dict(clock.seconds),
            interrupted=any(one.interrupted for one in found),
            bound_met=any(one.feasible for one in found),
            rank_correlation=choice.rank_correlation,
            ledger=tuple(made[0][0].ledger[: len(choice.members[0].branch.workshop.origin.ledger)]),
            history=tuple({"fold": i, **record} for i, one in enumerate(found) for record in one.history),
            command=task.command,
            warnings=(
                *rows.notes,
                *told,
                *least,
                *_thinned(branches),
                *_warnings(task, branches, found, choice),
                *missing,
            ),
            majority=majority,
            objectives=tuple(objective.name for objective in task.objectives),
        )
        _write(front, part, folder, [design for design, _ in made])
    return front


def _references(model: Classifier, graph: Graph, rows: SearchRows) -> dict[str, float | None]:
    """Return the accuracy of the model on all training rows, on those that pick winners, on test rows and for each fold."""
    data, chosen = rows.data, rows.validated()
    splits = {"train": rows.splits()["all"], "validation": (data.X_train[chosen], data.y_train[chosen])}
    splits["test"] = (data.X_test, data.y_test)
    splits.update({f"fold {i}": rows.splits(i)["train"] for i in range(len(rows.folds))})
    found = reference_accuracies(model, graph, splits)
    for name, (x, y) in splits.items():
        if found[name] is None and name.startswith("fold"):  # the bound needs one, of the Graph if need be
            found[name] = accuracy(graph, x, y)
    return found


def _compiled(choice: Choice, folder: Path, task: Task) -> list[tuple[Design, Estimate]]:
    """Compile every member into a design folder of its own, those of one fold together."""
    made: dict[int, tuple[Design, Estimate]] = {}
    for branch in dict.fromkeys(member.branch for member in choice.members):
        mine = {i: member.genome for i, member in enumerate(choice.members) if member.branch is branch}
        made.update(zip(mine, branch.workshop.compile(mine, folder, task.hooks.on_progress)))
    return [made[i] for i in range(len(choice.members))]


def _stacked(genomes: Sequence[np.ndarray]) -> np.ndarray:
    """Return *genomes* as rows; those of a fold that has fewer features left end in zeros."""
    most = max(len(genome) for genome in genomes)
    return np.array([np.pad(genome, (0, most - len(genome))) for genome in genomes], dtype=np.int32)


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
    choice: Choice, made: Sequence[tuple[Design, Estimate]], simulated: Mapping[str, list[int]]
) -> tuple[Member, ...]:
    members = []
    for i, (picked, (design, cost)) in enumerate(zip(choice.members, made, strict=True)):
        judge = picked.branch.judge
        train, validation, test = (judge.accuracy(picked.genome, split) for split in ("train", "validation", "test"))
        assert train is not None
        inputs = len(design.inputs)
        outside = design.converters
        members.append(
            Member(
                index=i,
                fold=picked.branch.number,
                train_accuracy=train,
                validation_accuracy=validation,
                expected_accuracy=min(1.0, max(0.0, picked.expected)),
                test_accuracy=test,
                area_mm2=cost.area_mm2,
                estimated_area_mm2=picked.estimate,
                power_mw=cost.known_power_mw(),
                delay_ms=cost.delay_ms,
                cells=cost.cells,
                inputs=inputs,
                converters_area_mm2=outside.area_mm2,
                converters_power_mw=outside.power_mw,
                design=f"members/{i:02d}",
                chosen=i == choice.index,
                simulated={simulator: counts[i] for simulator, counts in simulated.items()},
            )
        )
    return tuple(members)


def _labels(rows: SearchRows) -> dict[str, np.ndarray]:
    data = rows.data
    return {"train": rows.splits()["all"][1], "validation": data.y_train[rows.validated()], "test": data.y_test}


def _about_rows(rows: SearchRows) -> FrontData:
    data, validated = rows.data, len(rows.validated())
    counts = {"train": len(rows.folds[0][0]), "validation": validated, "test": len(data.y_test)}
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


def _warnings(task: Task, branches: Sequence[Branch], found: Sequence[Found], choice: Choice) -> list[str]:
    told = []
    loss = f"{100 * task.options.max_accuracy_loss:g} %"
    if not any(one.feasible for one in found):
        best, reference = max(
            (1 - one.least_errors / max(1, len(branch.judge.labels["train"])), branch.reference)
            for branch, one in zip(branches, found)
        )
        told.append(
            f"nothing keeps within {loss} of the model's accuracy on training rows ({100 * reference:.2f} %): these are the "
            f"circuits that come nearest to it, with {100 * best:.2f} %; search longer, or allow more"
        )
    if not choice.held:
        told.append(f"no circuit holds what was asked of the chosen one, {choice.rule.partition(';')[0]}")
    if any(one.interrupted for one in found):
        done = sum(one.generations for one in found)
        told.append(f"the search was interrupted after generation {done}; --resume goes on from there")
    return told


def _write(front: Front, part: Path, folder: Path, designs: Sequence[Design]) -> None:
    """Write everything that is not there yet into *part*, which will be *folder*."""
    for member, design in zip(front.members, designs):
        report_design(part / member.design, design, folder / member.design)
    write_front_page(part / "report.html", front, str(folder))
    if (folder / CHECKPOINT).is_dir():
        shutil.copytree(folder / CHECKPOINT, part / CHECKPOINT)
    write_front(front, part)
