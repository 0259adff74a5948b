"""``approxhw opt``: run passes on a Graph in a file, as a tool for those who write passes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from approxhw.artifacts.steps import read_graph, read_step, step_writer, write_graph
from approxhw.common.data.dataset import CLASSIFICATION, Dataset, DataSpec, load_dataset, targets_a_row
from approxhw.common.errors import OptionError, OutputError, PassError, Problem
from approxhw.common.files import opened, unwritable
from approxhw.ir.evaluation import task_of
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import LedgerLine, PassContext, PassRecord, parse_passes, run_passes

from .stages.mapped import circuit_gates
from .stages.measure import circuit_area
from .stages.searching import searching
from .stages.tabulate import tabulate_verilog

MODEL = ".onnx"
"""How the name of an output ends that is a model, not a Graph."""

NO_ROWS = "opt runs no rows through a Graph of whole tensors"
WITH_ROWS = (
    "approxhw compile MODEL --target integer-engine --passes … --data ROWS --steps keeps the Graph after every pass"
)
"""Why a Graph of whole tensors gets no rows here, and where it does."""


def optimize_file(
    source: Path,
    output: Path,
    passes: str,
    *,
    data: DataSpec | None = None,
    steps: Path | None = None,
    from_step: int = 0,
    tensors: bool = False,
    shape: Mapping[str, Sequence[int]] | None = None,
    on_pass: Callable[[str], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> list[LedgerLine]:
    """Run the pass list *passes* on the Graph in *source*, write the last one to *output*; return the ledger.

    *source*: an ``.axir`` file, or with *tensors* an ONNX model, its open sizes as *shape* says; large arrays of those stand
    in ``weights/`` beside *output*. Where that ends in ``.onnx``, a Graph of whole tensors is written back as a model, its
    products exact (:func:`~approxhw.frontends.products.writing.onnx_of`), with no *passes* as it is.
    ``steps``: folder for ``NN_pass.axir`` after every pass; ``from_step``: start behind that step of the folder.
    ``on_note`` is told what was doubtful in *data*. *output* is replaced only where it is one of ours already.
    """
    if from_step and steps is None:
        raise OptionError("opt", [Problem("--from-step", "needs the folder of the steps", "give --steps FOLDER")])
    # a Graph may be written back as it is
    todo = () if output.suffix == MODEL and not passes.strip() else parse_passes(passes)
    if not 0 <= from_step <= len(todo):
        raise OptionError(
            "opt", [Problem("--from-step", f"there is no step {from_step} in a list of {len(todo)} passes")]
        )
    _refuse_foreign(output)
    graph = _read(source, tensors, shape)
    if data is not None and graph.is_tensor:
        raise OptionError("opt", [Problem("--data", NO_ROWS, WITH_ROWS)])
    rows = _rows(data, graph) if data is not None else None
    if rows is not None and on_note:
        for note in rows.notes:
            on_note(note)
    keep = step_writer(steps, graph if not from_step else None) if steps is not None else None

    def on_step(index: int, name: str, result: Graph, record: PassRecord) -> None:
        if on_pass:
            on_pass(name)
        if keep:
            keep(index, name, result, record)

    start = read_step(steps, from_step) if steps is not None and from_step else graph
    context = PassContext(
        rows,
        graph,
        tabulate=tabulate_verilog,
        area=circuit_area,
        mapped_gates=circuit_gates,
        search=searching("egfet"),
    )
    try:
        result, records = run_passes(start, todo, context, on_step=on_step, start=from_step)
    except PassError as error:
        if not graph.is_tensor:
            raise
        raise PassError(error.subject, [_without_rows(each) for each in error.problems]) from error
    _write(result, output)
    return [asdict(record) for record in records]


def _without_rows(problem: Problem) -> Problem:
    """Return *problem* with what to do where a pass asks for ``--data``, which cannot be given for a Graph of whole tensors."""
    asks, comma, other = problem.remedy.partition(", ")
    return replace(problem, remedy=f"{WITH_ROWS}{comma}{other}") if asks.startswith("give --data") else problem


def _rows(data: DataSpec, graph: Graph) -> Dataset:
    outputs = graph[graph.output].type.elements
    # scores that no decision stands behind may come with labels, and are not scored then
    fits = bool(graph.classes) or targets_a_row(data) == outputs
    task = task_of(graph) if fits else CLASSIFICATION
    return load_dataset(
        data, graph.input.type.elements, graph.classes or None, graph.labels, task=task, outputs=outputs
    )


def _read(source: Path, tensors: bool, shape: Mapping[str, Sequence[int]] | None) -> Graph:
    if not tensors:
        if shape:
            raise OptionError("opt", [Problem("--shape", "is for Graphs of whole tensors", "add --tensors")])
        return read_graph(source)
    from approxhw.frontends.products.partition import open_model

    return open_model(source, shape).graph


def _write(graph: Graph, output: Path) -> None:
    if output.suffix == MODEL:
        from approxhw.frontends.products.writing import write_onnx

        write_onnx(graph, output)
        return
    try:
        write_graph(graph, output)
    except OSError as error:
        raise unwritable(output, error) from error


def _refuse_foreign(output: Path) -> None:
    if not os.path.lexists(output):
        return
    try:
        with opened(output) as stream:
            head = stream.read(16)
        # of a model: its IR version, and who made it
        ours = head[2:].startswith(b"\x12\x08approxhw") if output.suffix == MODEL else head.startswith(b"axir ")
    except OSError:
        ours = False
    if not ours:
        why = f"it exists and is no {'model of ours' if output.suffix == MODEL else '.axir file'}"
        raise OutputError("opt", [Problem(str(output), why, "choose another name with -o")])
