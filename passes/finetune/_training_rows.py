"""Training rows of a pass that trains: checked, of the inputs' types, parted into those that train and those that choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import PassError, Problem, shown
from approxhw.ir.graph import Graph
from approxhw.ir.kinds.tensor.ops import Feed
from approxhw.numerics.formats import dtype_of


def checked_rows(graph: Graph, feeds: Mapping[str, np.ndarray], subject: str) -> dict[str, np.ndarray]:
    """Return *feeds* of the inputs of *graph*; raise :class:`PassError` for *subject* naming all that miss rows or hold NaN."""
    titles = [node.op.title for node in graph.nodes if isinstance(node.op, Feed)]
    problems = [
        Problem(f"input {shown(title)!r}", "the training rows have none", "give an array for each input")
        for title in titles
        if title not in feeds
    ]
    problems += [
        Problem(f"input {shown(title)!r}", "some of its training rows are infinite or no numbers", "look at the rows")
        for title in titles
        if title in feeds and feeds[title].dtype.kind == "f" and not np.isfinite(feeds[title]).all()
    ]
    if problems:
        raise PassError(subject, problems)
    return {title: feeds[title] for title in titles}


def fixed_rows(graph: Graph) -> int | None:
    """Return how many rows one run takes where the model leaves no choice."""
    sizes = [node.op.dims[0] for node in graph.nodes if isinstance(node.op, Feed) and node.op.dims]
    return next((size for size in sizes if isinstance(size, int)), None)


def picked(feeds: Mapping[str, np.ndarray], chosen: np.ndarray | slice) -> dict[str, np.ndarray]:
    """Return the *chosen* rows of each input."""
    return {title: array[chosen] for title, array in feeds.items()}


@dataclass(frozen=True, eq=False)
class PartedRows:
    """Rows by the title of each input, of the types that the Graph reads; numbers of those that train, and that choose."""

    feeds: Mapping[str, np.ndarray]
    labels: np.ndarray | None
    training: np.ndarray
    choosing: np.ndarray
    fixed: int | None = None


def parted_rows(
    graph: Graph, feeds: Mapping[str, np.ndarray], labels: np.ndarray | None, aside: float, seed: int, subject: str
) -> PartedRows:
    """Return the rows of *feeds*, a share *aside* of them drawn by *seed* to choose by; raise :class:`PassError` for too few."""
    feeds = checked_rows(graph, feeds, subject)
    kinds = {node.op.title: dtype_of(node.type.format) for node in graph.nodes if isinstance(node.op, Feed)}
    feeds = {title: np.ascontiguousarray(array, kinds[title]) for title, array in feeds.items()}
    count, fixed = min((len(array) for array in feeds.values()), default=0), fixed_rows(graph)
    least = fixed or 1
    count -= count % least  # what does not fill a run is asked of nobody
    cut = max(least, round(aside * count))
    if count - cut < least:
        why = f"{count} training rows are too few to train on, and to put {cut} of them aside"
        raise PassError(subject, [Problem("data", why, "give more of them")])
    order = np.random.default_rng(seed).permutation(count)
    return PartedRows(feeds, labels, np.sort(order[cut:]), np.sort(order[:cut]), fixed)
