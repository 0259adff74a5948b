"""What the circuits of a search are held against, class by class: the model's answers, and what any class may lose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from approxhw.dse.rules.class_rule import AskedClasses
from approxhw.flow.printed.reading import answers_of_graph
from approxhw.flow.printed.safety import HeldAgainst
from approxhw.flow.stages.safety import CLASS_LOSS, SafetyOptions

if TYPE_CHECKING:
    from approxhw.dse.genetic.options import GeneticOptions
    from approxhw.dse.rows.split_rows import SearchRows
    from approxhw.ir.graph import Graph


def held_against_model(options: GeneticOptions, graph: Graph, rows: SearchRows) -> HeldAgainst:
    """Return what safety reports of members hold their answers against, *graph* as it was read, and what they mark."""
    data, most = rows.data, options.max_class_loss
    splits = {"train": (data.X_train, data.y_train), "test": (data.X_test, data.y_test)}
    marks = SafetyOptions(options.max_accuracy_loss, CLASS_LOSS if most is None else most)
    return HeldAgainst(answers_of_graph(graph, splits), graph, marks)


def asked_classes(
    options: GeneticOptions, held: HeldAgainst, judging: np.ndarray, rows: SearchRows
) -> AskedClasses | None:
    """Return what any class may lose against the model; None where nothing bounds it.

    *judging*: the training rows (numbers) that pick winners; all of them where none is put aside.
    """
    if options.max_class_loss is None:
        return None
    labels = rows.data.y_train
    judging = judging if len(judging) else np.arange(len(labels))
    names = tuple(map(str, held.model.labels))
    return AskedClasses(options.max_class_loss, labels, held.reference.answers["train"], judging, names)
