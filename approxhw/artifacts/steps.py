"""Every step of a pass list on disk: ``03_fold_affine.axir``, written whole or not at all, and read to restart from."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from approxhw.common.errors import GraphError, OutputError, Problem
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassRecord
from approxhw.ir.text import MAXIMUM_CHARACTERS, parse_graph, print_graph
from approxhw.ir.verifier import verify


def step_writer(folder: Path, graph: Graph | None = None) -> Callable[[int, str, Graph, PassRecord], None]:
    """Return an ``on_step`` for ``run_passes`` that writes every step; *graph*, if given, is written as step 0."""
    if graph is not None:
        write_step(folder, 0, "input", graph)

    def on_step(index: int, name: str, result: Graph, record: PassRecord) -> None:
        write_step(folder, index, name, result)

    return on_step


def write_step(folder: Path, index: int, name: str, graph: Graph) -> Path:
    """Write *graph* as ``NN_name.axir`` into *folder*, made if need be; another NN_* is replaced."""
    path = folder / f"{index:02d}_{re.sub('[^a-z0-9]+', '_', name.lower())}.axir"
    beside = path.with_suffix(".axir.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        beside.write_text(print_graph(graph), encoding="ascii")
        for other in folder.glob(f"{index:02d}_*.axir"):
            if other != path:
                other.unlink()
        os.replace(beside, path)  # noqa: PTH105  (Path.replace is the same; this one is atomic by documentation)
    except OSError as error:
        beside.unlink(missing_ok=True) if folder.is_dir() else None
        raise OutputError("steps", [Problem(str(path), f"it cannot be written ({error})")]) from error
    return path


def read_step(folder: Path, index: int) -> Graph:
    """Return the Graph of step *index* in *folder*, verified; raise :class:`GraphError` where there is none."""
    paths = sorted(folder.glob(f"{index:02d}_*.axir"))
    if len(paths) != 1:
        there = ", ".join(sorted(path.name for path in folder.glob("*.axir"))) or "none"
        raise GraphError(str(folder), [Problem(f"step {index}", f"{len(paths)} files of this step; steps: {there}")])
    return read_graph(paths[0])


def read_graph(path: Path) -> Graph:
    """Return the verified Graph in the ``.axir`` file *path*; raise :class:`GraphError` for anything else."""
    try:
        if path.stat().st_size > MAXIMUM_CHARACTERS:
            raise GraphError(str(path), [Problem("file", f"it is larger than {MAXIMUM_CHARACTERS} bytes")])
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GraphError(str(path), [Problem("file", f"it cannot be read as text ({error})")]) from error
    graph = parse_graph(text, subject=str(path))
    verify(graph)
    return graph
