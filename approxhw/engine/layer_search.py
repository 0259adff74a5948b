"""What searches of engines share: accuracies of splits, digests of what is searched, what a front tells of the rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from approxhw.common.files import sha256_of
from approxhw.common.statistics import majority_share, no_better

from .operands import Feeds, predictions

if TYPE_CHECKING:
    from onnx import ModelProto

    from approxhw.ir.tensor.emulate import EmulatedEngine

SPLITS = {"search": "search", "validation": "validation", "test": "report"}
"""What a front calls the rows, and what they are called while they are searched on."""


class SearchRecord(Protocol):
    """What a front tells of the genetic search behind it."""

    evaluations: int
    generations: int
    interrupted: bool

    @property
    def logbook(self) -> Iterable[Mapping[str, object]]:
        """What each generation reached."""


def model_bytes(model: str | Path | ModelProto) -> bytes:
    """Return what is in the file of *model*: what a worker elsewhere opens."""
    from onnx import load

    proto = load(str(model)) if isinstance(model, str | Path) else model
    content: bytes = proto.SerializeToString()
    return content


def model_digest(model: str | Path | ModelProto) -> str:
    """Return the SHA-256 of *model*'s file."""
    if isinstance(model, str | Path):
        return sha256_of(Path(model))
    return hashlib.sha256(model.SerializeToString()).hexdigest()


def search_identity(about: str, searched: Feeds) -> dict[str, str]:
    """Return digests of ``model``, as *about* tells it with all that is chosen from, and ``data``, the rows searched on."""
    rows = hashlib.sha256()
    for name, array in [*sorted(searched.arrays.items()), ("labels", searched.labels)]:
        plain = np.ascontiguousarray(array)
        rows.update(f"{name} {plain.dtype.str}{plain.shape}".encode() + plain.tobytes())
    return {"model": hashlib.sha256(about.encode()).hexdigest(), "data": rows.hexdigest()}


def accuracy_on(engine: EmulatedEngine, feeds: Feeds) -> float:
    """Return the accuracy of *engine* on labelled rows."""
    assert feeds.labels is not None
    found = predictions(engine, feeds)
    return float(np.mean(found == feeds.labels[: len(found)]))


def majorities(splits: Mapping[str, Feeds]) -> dict[str, float]:
    """Return what always answering the most frequent class is worth on the rows of each split, as a front calls it."""
    labels = {name: splits[split].labels for name, split in SPLITS.items()}
    return {name: (None if each is None else majority_share(each)) or 0.0 for name, each in labels.items()}


def rows_of(splits: Mapping[str, Feeds]) -> dict[str, int]:
    """Return how many rows each split has, as a front calls it."""
    return {name: splits[split].rows for name, split in SPLITS.items()}


def told_warnings(onnx: Mapping[str, float], majority: Mapping[str, float], chosen: float) -> tuple[str, ...]:
    """Return lines where the model or the member that is *chosen* is no better on test rows than the most frequent class."""
    least = no_better("the model in float32", onnx["test"], majority["test"], "test rows")
    return (*least, *no_better("the chosen member", chosen, majority["test"], "test rows"))
