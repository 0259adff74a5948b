"""Whether a Graph in PyTorch computes what the Graph means: compared on the first batch of calibration rows."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping

import numpy as np

from approxhw.common.errors import PassError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds.tensor.ops import Feed
from approxhw.passes.structure.ground.moments import Observe

from ._torch_model import PASS, TorchModel
from .operators.library import torch

TOLERANCE = 1e-3
"""How far a value may be off, as a share of the largest one of its tensor: sums of float32 numbers have no order of their own."""


class _EnoughError(Exception):
    """One batch has been seen."""


def check_same_meaning(model: TorchModel, observe: Observe, wanted: Collection[str]) -> int:
    """Return on how many rows the values *wanted* of *model* are those of its Graph, within :data:`TOLERANCE`.

    Raises :class:`PassError` naming the first Node that is another one, and where there are no rows.
    """
    feeds, meant = _first_batch(model.graph, observe, wanted)
    if not meant:
        why = "no calibration row reaches its outputs"
        raise PassError(PASS, [Problem("data", why, "give training rows with --data")])
    off = _off(model, feeds, meant)
    if off is not None:
        # the error is worth a second look: at everything in front of it
        everything = [node.name for node in model.nodes if node.name in model.makers and _is_single(node)]
        feeds, all_meant = _first_batch(model.graph, observe, everything)
        name, share = _off(model, feeds, all_meant) or off
        node = model.graph[name]
        where = shown(getattr(node.op, "title", "") or node.origin or name, 80)
        why = f"PyTorch makes another value of it: {share:.2g} of its largest one off, and {TOLERANCE:g} is allowed"
        raise PassError(PASS, [Problem(where, why, "please report this model")])
    return len(next(iter(meant.values())))


def _is_single(node: Node) -> bool:
    return len(getattr(node.op, "makes", ("",))) == 1


def _first_batch(
    graph: Graph, observe: Observe, wanted: Collection[str]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    feeds: dict[str, np.ndarray] = {}
    found: dict[str, np.ndarray] = {}
    titles = {node.name: node.op.title for node in graph.nodes if isinstance(node.op, Feed)}

    def seen(node: Node, value: np.ndarray) -> None:
        if node.name in titles:
            feeds[titles[node.name]] = value
        if node.name in wanted:
            found[node.name] = value
            if len(found) == len(set(wanted)):
                raise _EnoughError

    with contextlib.suppress(_EnoughError):
        observe(graph, seen)
    return feeds, found


def _off(
    model: TorchModel, feeds: Mapping[str, np.ndarray], meant: Mapping[str, np.ndarray]
) -> tuple[str, float] | None:
    """Return the first value of *model* that is not as *meant*, and by how much of the largest; None where all are."""
    pytorch = torch()
    with pytorch.no_grad():
        made = model.values({title: pytorch.tensor(array) for title, array in feeds.items()}, tuple(meant))
    for name, wanted in meant.items():
        seen = made[name].numpy()
        if seen.shape != wanted.shape:
            return name, float("inf")
        if wanted.dtype.kind != "f":
            continue
        with np.errstate(all="ignore"):
            apart = np.abs(seen.astype(np.float64) - wanted)
            same = (seen == wanted) | (np.isnan(seen) & np.isnan(wanted))
            largest = max(float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0)), 1e-30)
            share = float(np.where(same, 0, np.where(np.isnan(apart), np.inf, apart)).max(initial=0)) / largest
        if share > TOLERANCE:
            return name, share
    return None
