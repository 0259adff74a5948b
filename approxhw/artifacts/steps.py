"""Every step of a pass list on disk: ``03_fold_affine.axir``, written whole or not at all, and read to restart from."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from approxhw.common.data.arrays import read_npy
from approxhw.common.errors import GraphError, InvalidDataError, OutputError, Problem, shown
from approxhw.common.files import read_text
from approxhw.ir.graph import Graph
from approxhw.ir.kinds.tensor.beside import Fetch
from approxhw.ir.pass_manager import PassRecord
from approxhw.ir.text import MAXIMUM_CHARACTERS, parse_graph, print_graph
from approxhw.ir.verifier import verify

WEIGHTS = "weights"
"""The folder of large arrays beside the texts that hold them."""


def step_writer(folder: Path, graph: Graph | None = None) -> Callable[[int, str, Graph, PassRecord], None]:
    """Return an ``on_step`` for ``run_passes`` that writes every step; *graph*, if given, is written as step 0."""
    if graph is not None:
        write_step(folder, 0, "input", graph)

    def on_step(index: int, name: str, result: Graph, record: PassRecord) -> None:
        write_step(folder, index, name, result)

    return on_step


def step_name(index: int, name: str) -> str:
    """Return the file of step *index*, such as ``03_fold_affine.axir``."""
    return f"{index:02d}_{re.sub('[^a-z0-9]+', '_', name.lower())}.axir"


def step_files(folder: Path, last: int) -> list[Path]:
    """Return the files of the steps in *folder* up to number *last*, in order; raise :class:`GraphError` where one lacks."""
    files = [path for path in sorted(folder.glob("*.axir")) if path.name[:2].isdigit() and int(path.name[:2]) <= last]
    if [int(path.name[:2]) for path in files] != list(range(last + 1)):
        there = ", ".join(path.name for path in files) or "none"
        why = f"not every step up to {last} is there; steps: {there}"
        raise GraphError(str(folder), [Problem(f"step {last}", why, "compile once more with --steps")])
    return files


def write_step(folder: Path, index: int, name: str, graph: Graph) -> Path:
    """Write *graph* as ``NN_name.axir`` into *folder*, made if need be; another NN_* is replaced."""
    path = folder / step_name(index, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_graph(graph, path)
        for other in folder.glob(f"{index:02d}_*.axir"):
            if other != path:
                other.unlink()
    except OSError as error:
        raise OutputError("steps", [Problem(str(path), f"it cannot be written ({error})")]) from error
    return path


def write_graph(graph: Graph, path: Path) -> tuple[str, ...]:
    """Write *graph* to the ``.axir`` file *path*; return what stands beside it, by its place in the folder.

    Large arrays of a tensor Graph go to ``weights/DIGEST.npy``, written once however many Graphs of the folder hold them.
    """
    arrays: dict[str, np.ndarray] = {}
    text = print_graph(graph, arrays)
    for digest, array in arrays.items():
        file = path.parent / WEIGHTS / f"{digest}.npy"
        if not file.is_file():
            file.parent.mkdir(exist_ok=True)
            part = file.with_suffix(".part")
            with part.open("wb") as stream:
                np.save(stream, array, allow_pickle=False)
            part.replace(file)
    part = path.with_suffix(".axir.part")
    try:
        part.write_text(text, encoding="ascii")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return tuple(f"{WEIGHTS}/{digest}.npy" for digest in arrays)


def write_steps(folder: Path, steps: Sequence[tuple[str, Graph]]) -> list[str]:
    """Write every Graph of *steps* to its file in ``steps/`` of *folder*; return all that stands there now."""
    written: list[str] = []
    for file, graph in steps:
        (folder / "steps").mkdir(exist_ok=True)
        beside = write_graph(graph, folder / "steps" / file)
        written += [f"steps/{name}" for name in (file, *beside)]
    return list(dict.fromkeys(written))


def fetch_from(folder: Path) -> Fetch:
    """Return what gives the arrays beside the texts in *folder*, by digest; it raises ``ValueError`` where one is not there."""

    def fetch(digest: str) -> np.ndarray:
        file = folder / WEIGHTS / f"{digest}.npy"
        try:
            return read_npy(file)
        except (OSError, InvalidDataError) as error:
            raise ValueError(f"array {digest} is not in {WEIGHTS}/ beside the text ({shown(error, 80)})") from error

    return fetch


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
        text = read_text(path, MAXIMUM_CHARACTERS)
    except (OSError, UnicodeDecodeError) as error:
        raise GraphError(str(path), [Problem("file", f"it cannot be read as text ({error})")]) from error
    graph = parse_graph(text, subject=str(path), fetch=fetch_from(path.parent))
    verify(graph)
    return graph
