"""What the pipeline printed-calibrated would make in place of an exact circuit: kept beside it, so that a report can offer it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from approxhw.artifacts.design import Calibrated, Design
from approxhw.artifacts.folder import Plain
from approxhw.common.errors import ApproxhwError
from approxhw.flow.stages.protocol import Asked, Source
from approxhw.ir.evaluation import score
from approxhw.ir.graph import Graph
from approxhw.ir.kinds import Constant
from approxhw.ir.pass_manager import PassContext, run_passes

from .reading import OpenedClassifier
from .target import EXACT, Printed

CALIBRATED = "printed-calibrated"
MINUS = "−"
MOST_WORK = 300_000
"""Constants × training rows up to which it is tried: about a second."""


def offer(design: Design, estimate: Mapping[str, Plain]) -> str:
    """Return what calibrating would save of an exact *design* whose *estimate* this is, and cost; empty where it is not known."""
    area = estimate.get("calibrated_area_mm2")
    if design.calibrated is None or area is None or not estimate["area_mm2"]:
        return ""
    smaller = f"{100 * (area / estimate['area_mm2'] - 1):+.1f} % area".replace("-", MINUS)
    split = design.accuracy["rows"]
    before, after = design.accuracy["hardware_splits"][split], design.calibrated.splits[split]
    cost = "" if before is None or after is None else f" at {100 * (after - before):+.2f} % accuracy on {split} rows"
    return f"calibrated: {smaller}{cost.replace('-', MINUS)} (compile with --pipeline {CALIBRATED})"


def calibrated_beside(
    source: Source[OpenedClassifier], asked: Asked[Printed], exact: Graph, context: PassContext
) -> Calibrated | None:
    """Return what ``printed-calibrated`` makes of *source*, and how good it is; None where it is *exact* again, or not asked.

    It is no answer where other passes were asked for, where there are no training rows to calibrate on, and where it would
    take long. The choice between the two is the user's: nothing here looks at which is better.
    """
    rows = source.kept.rows
    if asked.given is not None or asked.target.pipeline != EXACT or rows is None or not len(rows.X_train):
        return None
    constants = sum(node.op.data.size for node in source.graph.nodes if isinstance(node.op, Constant))
    if constants * min(len(rows.X_train), 2000) > MOST_WORK:
        return None
    try:
        graph, _ = run_passes(source.graph, replace(asked.target, pipeline=CALIBRATED).passes(), context, check=False)
    except ApproxhwError:  # what cannot be calibrated is not offered
        return None
    if graph == exact:
        return None
    return Calibrated(
        graph, {"train": score(graph, rows.X_train, rows.y_train), "test": score(graph, rows.X_test, rows.y_test)}
    )
