"""The search as a pass: a Graph goes in, the masked network that the rule chooses comes out (``genetic-retraining``)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from approxhw.artifacts.design import read_design
from approxhw.common.errors import PassError, Problem
from approxhw.common.files import temporary_folder
from approxhw.dse.evolve import Hooks
from approxhw.dse.families.registry import GENETIC
from approxhw.dse.rows.split_rows import search_rows
from approxhw.dse.run import make_front
from approxhw.dse.settings import Task, settled
from approxhw.flow.printed.target import Printed
from approxhw.flow.stages.protocol import Clock
from approxhw.frontends.classifier import open_classifier
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext
from approxhw.networks.space import space_of

if TYPE_CHECKING:
    from approxhw.passes.retrain.genetic_retraining import GeneticRetraining


def retrained(graph: Graph, item: GeneticRetraining, context: PassContext, library: str) -> Graph:
    """Return the network that a search from *graph*, as the pass *item* asks for it, chooses; its story goes to the ledger.

    *library*: of the areas. The rows are those of *context*; test rows are not looked at. Raises :class:`PassError` where
    *graph* is no network of powers of two.
    """
    assert context.data is not None
    try:
        space_of(graph)
    except PassError as error:
        why = f"it is no masked network: {error.problems[0].why}"
        found = [Problem(graph.name, why, "put printed-po2 or printed-masked in front of it")]
        raise PassError("pass genetic-retraining", found) from error
    losses = ("target_accuracy", "max_accuracy_loss", "max_class_loss")
    names = (*losses, "population", "generations", "starts", "moves", "folds", "seed")
    options = {name: getattr(item, name) for name in names}
    islands = max(1, min(4, item.population // 4))
    # what comes out is a masked network again
    asked = settled(
        {**options, "families": GENETIC, "islands": islands, "simulate": (), "members": 4, "synthesised": 8}
    )
    blind = replace(context.data, X_test=context.data.X_test[:0], y_test=context.data.y_test[:0])
    rows = search_rows(blind, graph, float(asked.validation_share), asked.seed, asked.folds or 1)
    with temporary_folder("retraining") as place:
        folder = place / "front"
        task = Task(Printed(pipeline="printed-po2", library=library), (), asked, Hooks(), "", Clock())
        front = make_front(task, open_classifier(graph), graph, rows, folder)
        chosen = read_design(folder / front.chosen.design).graph
    context.note(f"chosen: {front.rule}")
    context.note(f"{front.evaluations} evaluations, {front.chosen.area_mm2:.4g} mm² in {library}")
    return replace(chosen, name=graph.name, labels=graph.labels, source=graph.source)
