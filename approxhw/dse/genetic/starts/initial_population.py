"""Starts of a search: made in batches by whoever works, kept on disk beside the checkpoint, and taken up again from there."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.data.arrays import read_npz
from approxhw.common.errors import CheckpointError, InvalidDataError, Problem
from approxhw.common.files import write_beside

if TYPE_CHECKING:
    from approxhw.dse.genetic.executors import Executor
    from approxhw.dse.genetic.starts.seeding import Seeder

STARTS = "starts.npz"


def make_starts(
    seeder: Seeder,
    executor: Executor,
    path: Path,
    *,
    resume: bool = False,
    stop: Callable[[], bool] | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> tuple[np.ndarray, bool]:
    """Return the genomes of all starts (int32, S × G; those of one start together), and whether all of them were made.

    ``path``: written after every batch, whole; with *resume* what is there already is not made again. ``stop``: asked
    after every level. Raises :class:`~approxhw.common.errors.CheckpointError` where *path* holds starts of another search.
    """
    total, tell = seeder.seeding.starts, on_progress or (lambda step, done, total: None)
    made = _read(path, seeder) if resume and path.exists() else []
    if not resume and path.exists():
        path.unlink()
    if len(made) < total:
        executor.start(seeder.further)
    batch, ended, begun = 2, False, list[np.ndarray]()
    while len(made) < total and not ended:
        starts = [seeder.begin(number) for number in range(len(made), min(len(made) + batch, total))]
        while not ended and (todo := [i for i, start in enumerate(starts) if not start.done]):
            # level by level: a start of a large network takes minutes
            tell("anneal starts", len(made), total)
            for i, start in zip(todo, executor.map([starts[i] for i in todo]), strict=True):
                starts[i] = start
            ended = stop is not None and stop()
        begun = [] if all(start.done for start in starts) else [start.genomes for start in starts]
        if not begun:
            made += [start.genomes for start in starts]
            _write(path, seeder, made)
    tell("anneal starts", len(made), total)
    empty = np.zeros((0, seeder.space.genes), dtype=np.int32)
    # what is not whole is of use now, and made anew by who goes on
    return np.concatenate([empty, *made, *begun]), len(made) == total


def _identity(seeder: Seeder) -> str:
    """Return a hash of everything that the starts depend on."""
    space = seeder.space
    told = {
        **asdict(seeder.seeding),
        "seed": seeder.seed,
        "allowed": seeder.allowed,
        "area": [seeder.model.library, *seeder.model.coefficients],
        "teacher": seeder.teacher is not None,
    }
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for array in (space.layout, space.head, space.lower, space.upper, seeder.genome, seeder.codes, seeder.labels):
        plain = np.ascontiguousarray(array, dtype=np.int64)
        digest.update(f"{plain.shape}".encode() + plain.tobytes())
    return digest.hexdigest()


def _write(path: Path, seeder: Seeder, made: list[np.ndarray]) -> None:
    packed = io.BytesIO()
    identity = np.frombuffer(bytes.fromhex(_identity(seeder)), dtype=np.uint8)
    counts = np.array([len(genomes) for genomes in made], dtype=np.int64)
    np.savez(packed, genomes=np.concatenate(made), counts=counts, identity=identity)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_beside(path, packed.getvalue())


def _read(path: Path, seeder: Seeder) -> list[np.ndarray]:
    remedy = "start again without --resume"
    try:
        arrays = read_npz(path).arrays
    except InvalidDataError as error:
        raise CheckpointError(str(path), [Problem(p.where, p.why, remedy) for p in error.problems]) from error
    genomes, counts, identity = (arrays.get(name) for name in ("genomes", "counts", "identity"))
    space = seeder.space
    whole = (
        genomes is not None
        and counts is not None
        and identity is not None
        and genomes.dtype == np.int32
        and counts.dtype == np.int64
        and identity.dtype == np.uint8
        and counts.ndim == 1
        and bool((counts >= 1).all())
        and genomes.shape == (int(counts.sum()), space.genes)
        and len(counts) <= seeder.seeding.starts
        and bool(((genomes >= space.lower) & (genomes <= space.upper)).all())
    )
    if not whole:
        why = "it holds no starts of a search of this network"
        raise CheckpointError(str(path), [Problem(path.name, why, remedy)])
    assert genomes is not None
    assert counts is not None
    assert identity is not None
    if identity.tobytes().hex() != _identity(seeder):
        why = "its starts are of another model, other rows, another seed or other options"
        raise CheckpointError(str(path), [Problem(path.name, why, remedy)])
    return list(np.split(genomes, np.cumsum(counts)[:-1]))
