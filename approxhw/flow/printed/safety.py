"""The safety report of a printed circuit: its answers held against the model's, on training rows and beside them on test rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from approxhw.common.data.dataset import CLASSIFICATION, Dataset
from approxhw.common.errors import OptionError, Problem
from approxhw.common.statistics.margins import MarginShift, margin_shift, margins_of
from approxhw.common.statistics.safety import SafetyReport
from approxhw.common.statistics.subgroups import Answers
from approxhw.flow.stages.protocol import Asked, Lowered, Source, Target
from approxhw.flow.stages.safety import SafetyOptions, Subgrouped, safety_report
from approxhw.ir.evaluation import deciding_values, predict, task_of
from approxhw.ir.graph import Graph
from approxhw.ir.kinds import Input

from .reading import OpenedClassifier, ReferenceAnswers

MARGIN_ROWS = 2000
"""Rows whose margins are told at most, the first ones."""


@dataclass(frozen=True, eq=False)
class HeldAgainst:
    """What the answers of a circuit are held against: the ``reference``, and the Graph ``model`` whose margins it had.

    ``steps``: passes that are not exact, and the answers after each of them to the rows that judge.
    """

    reference: ReferenceAnswers
    model: Graph
    asked: SafetyOptions = field(default_factory=SafetyOptions)
    steps: tuple[tuple[str, np.ndarray], ...] = ()


def held_against(source: Source[OpenedClassifier], asked: Asked[Target], lowered: Lowered) -> HeldAgainst | None:
    """Return what the circuit of the *lowered* Graph is held against; None without rows, and for what names no class."""
    kept = source.kept
    if asked.safety.sensitivity:
        why = "is for engines, layer by layer; of a circuit every pass is told anyway"
        raise OptionError("safety", [Problem("sensitivity", why, "leave it out")])
    if kept.rows is None or kept.answers is None or task_of(source.graph) != CLASSIFICATION:
        return None
    rows = kept.rows.X_train if len(kept.rows.X_train) else kept.rows.X_test
    steps, known = [], dict[int, np.ndarray]()
    for name, graph in lowered.approximated:
        if id(graph) not in known:
            known[id(graph)] = predict(graph, rows)
        steps.append((name, known[id(graph)]))
    return HeldAgainst(kept.answers, source.graph, asked.safety, tuple(steps))


def circuit_safety(
    graph: Graph, data: Dataset, found: Mapping[str, np.ndarray], held: HeldAgainst
) -> SafetyReport | None:
    """Return the report of an integer *graph* that says *found* (class indices, by split) of the rows of *data*."""
    splits = {"train": (data.X_train, data.y_train), "test": (data.X_test, data.y_test)}
    reference = held.reference.answers
    answers = {
        name: Answers(labels, reference[name], found[name])
        for name, (rows, labels) in splits.items()
        if len(rows) and name in reference
    }
    op = held.model.input.op  # the circuit's own inputs may be bits, several a feature
    assert isinstance(op, Input)
    subgroups = Subgrouped(op.titles, {name: splits[name][0] for name in answers}, data.groups)
    return safety_report(
        held.asked,
        answers,
        tuple(map(str, graph.labels)) or tuple(map(str, range(graph.classes))),
        held.reference.against,
        subgroups,
        _margins(held.model, graph, next((splits[name][0] for name in answers), data.X_train)),
        held.steps,
    )


def _margins(model: Graph, graph: Graph, rows: np.ndarray) -> MarginShift | None:
    """Return how margins moved from *model* to *graph*; None where one of them compares no values."""
    some = rows[:MARGIN_ROWS]
    if not len(some):
        return None
    before = deciding_values(model, some)
    after = None if before is None else deciding_values(graph, some)
    if before is None or after is None:
        return None
    return margin_shift(margins_of(before), margins_of(after))
