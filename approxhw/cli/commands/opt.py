"""``approxhw opt``: passes on a Graph in a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import Command
from approxhw.cli.targets.shared import LabelColumn, OpenSizes
from approxhw.common.option_fields import argument, nested, option

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class OptOptions:
    """What ``opt`` takes."""

    graph: Path = argument("Graph as text, .axir")
    passes: str = option("passes and named pipelines, such as fold-affine,narrow-formats")
    output: Path = option("the changed Graph, .axir, or as a model of exact products, .onnx", short="-o")
    data: str | None = option("rows for passes that learn from them, and for accuracies", None)
    column: LabelColumn = nested(LabelColumn())
    steps: Path | None = option("folder for the Graph after every pass", None)
    tensors: bool = option("GRAPH is an ONNX model; its products stay products of whole tensors", False)
    open: OpenSizes = nested(OpenSizes())
    from_step: int = option("start behind this step in the --steps folder", 0, shown_default="")


def run(terminal: Terminal, options: OptOptions) -> dict[str, object]:
    """Run passes on the Graph in file GRAPH (.axir), the verifier after every one."""
    from approxhw.artifacts.steps import read_graph
    from approxhw.flow.opt import MODEL, optimize_file
    from approxhw.ir.evaluation import MEASURES, task_of

    ledger = optimize_file(
        options.graph,
        options.output,
        options.passes,
        data=None if options.data is None else options.column.of(options.data),
        on_note=terminal.warn,
        steps=options.steps,
        from_step=options.from_step,
        tensors=options.tensors,
        shape=options.open.sizes(),
        on_pass=lambda name: terminal.step(name, 0.0),
    )
    whole = options.tensors or options.output.suffix == MODEL
    terminal.ledger(ledger, "accuracy" if whole else MEASURES[task_of(read_graph(options.output))])
    return {"graph": str(options.output), "passes": ledger}


COMMAND = Command("opt", run, OptOptions)
