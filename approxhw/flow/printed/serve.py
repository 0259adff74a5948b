"""How the flow serves printed circuits, stage by stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.artifacts.design import (
    Design,
    Model,
    check_design_output,
    read_design,
    write_design,
)
from approxhw.flow.stages.protocol import Flow, Ledger, Steps

from .building import build_design, circuit_context
from .compiled import CompiledDesign, open_design
from .reading import check_classifier, counts, prepare, read_classifier, with_tree_pipeline

if TYPE_CHECKING:
    pass


def write(design: Design, folder: Path, steps: Steps) -> CompiledDesign:
    """Write *design* to *folder*."""
    write_design(design, folder, steps)
    return CompiledDesign(folder, design)


def _kept(folder: Path) -> tuple[Model, Ledger]:
    design = read_design(folder)
    return design.model, design.ledger


FLOW = Flow(
    check=check_classifier,
    counts=counts,
    read=read_classifier,
    free=check_design_output,
    prepare=prepare,
    settle=with_tree_pipeline,
    context=circuit_context,
    build=build_design,
    write=write,
    open=open_design,
    kept=_kept,
)
