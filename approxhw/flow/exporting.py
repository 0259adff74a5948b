"""The model of a design folder as its passes left it, written for any ONNX runtime."""

from __future__ import annotations

from pathlib import Path

from approxhw.artifacts.steps import read_graph
from approxhw.common.arguments import checked
from approxhw.common.errors import OptionError, Problem, UnsupportedModelError, shown

from .compile import open_folder


@checked("export_onnx")
def export_onnx(design: str | Path, output: str | Path) -> Path:
    """Write the model in the engine's folder *design*, as the last pass left it, to the ONNX file *output*; return its path.

    Products are exact there: ONNX knows no other. ``compile`` keeps the Graph of every pass where a pass changed shapes, and with
    ``--steps``. Raises :class:`OptionError` where nothing is kept, and :class:`UnsupportedModelError` for a printed circuit.
    """
    folder = Path(design)
    open_folder(folder)  # what is no whole design says so in its own words
    steps = sorted((folder / "steps").glob("[0-9][0-9]_*.axir"))
    if not steps:
        why = "it keeps no Graph: no pass changed the shapes of its model, which is the one that it was compiled from"
        raise OptionError(
            "export", [Problem(str(folder), why, "for weights that passes changed, compile with --steps")]
        )
    graph = read_graph(steps[-1])
    if not graph.is_tensor:
        why = "a printed circuit computes codes of one row, which are no ONNX model"
        raise UnsupportedModelError(shown(graph.name), [Problem("Graph", why, "export designs of an engine")])
    from approxhw.frontends.products.writing import write_onnx

    return write_onnx(graph, output)
