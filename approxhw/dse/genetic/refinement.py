"""The last step of a search: the best genomes refined round by round, told, kept on disk, ended and taken up again."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.data.arrays import read_npz
from approxhw.common.errors import CheckpointError, InvalidDataError, Problem
from approxhw.common.files import write_beside
from approxhw.networks.refine import MOST_ROUNDS, RefiningWalk, begin_walk, refine_round
from approxhw.numerics.pareto import layers_of_front

if TYPE_CHECKING:
    from approxhw.dse.genetic.executors import Executor
    from approxhw.dse.genetic.problem import NetworkProblem
    from approxhw.networks.kernels.masked_network import PackedRows
    from approxhw.networks.space import Space

WALKS = "refined.npz"

REFINED, REFINED_ROWS = 32, 8000
"""Genomes that are refined, and the rows (noisy copies with them) on which nothing may get worse."""

COPIES, NOISE = 2, 0.2
"""Noisy copies of each of these rows, and the probability that one of their codes is off by one."""

LARGE = 2000
"""Genes from which on fewer genomes are refined: in inverse proportion, two at least."""

TOGETHER = 8
"""Walks that go on together, so that there is something to show, and to keep, in between; of large networks two."""


@dataclass(frozen=True, eq=False)
class Round:
    """RefiningWalk → the same a round further: a pure function, so that any worker may do it."""

    space: Space
    rows: PackedRows
    area: Callable[[np.ndarray], np.ndarray]

    def __call__(self, walk: RefiningWalk) -> RefiningWalk:
        """Return *walk* after one more round."""
        return refine_round(self.space, walk, self.rows, self.area)


def refined(
    problem: NetworkProblem,
    genomes: np.ndarray,
    executor: Executor,
    path: Path,
    most: int = REFINED,
    *,
    resume: bool = False,
    stop: Callable[[], bool] | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> tuple[np.ndarray, bool]:
    """Return *genomes* (P × G) where everything is dropped from the best of them that costs none of some noisy rows.

    The best are those by their costs and these rows. What they were before is not kept: it reads inputs that nothing needs.
    ``path``: written after every round of a few of them; with *resume* those that stand there go on. ``stop``: asked as
    often; the second result says whether all came to their end. Raises :class:`CheckpointError` where *path* holds others.
    """
    from approxhw.networks.anneal import noisy
    from approxhw.networks.kernels.masked_network import count_errors, pack_rows

    space = problem.space
    rng = np.random.default_rng(len(problem.labels))
    count = min(len(problem.labels), REFINED_ROWS // (1 + COPIES))
    chosen = np.sort(rng.choice(len(problem.labels), count, replace=False))
    highest = (1 << space.layers[0].input_bits) - 1
    codes, labels = noisy(
        problem.codes[chosen], problem.labels[chosen], copies=COPIES, probability=NOISE, highest=highest, seed=COPIES
    )
    rows = pack_rows(codes, labels)
    errors = count_errors(space.layout, space.head, genomes, rows)
    gains = -np.asarray(errors, dtype=np.float64)
    if space.genes > LARGE:
        most = max(2, most * LARGE // space.genes)
    best = np.array(layers_of_front(np.column_stack([problem.estimates(genomes), -gains]), most)[:most], dtype=np.int64)
    walks = [begin_walk(space, genome, rows, int(errors[i])) for i, genome in zip(best.tolist(), genomes[best])]
    identity = _identity(walks, codes, labels)
    if resume and path.exists():
        walks = _read(path, space, walks, identity)
    elif path.exists():
        path.unlink()
    executor.start(Round(space, rows, problem.area))
    tell = on_progress or (lambda step, done, total: None)
    together, ended = TOGETHER if space.genes <= LARGE else 2, False
    while not ended and (todo := [i for i, walk in enumerate(walks) if not walk.done][:together]):
        rounds = sum(len(walk.planned) for walk in walks)
        tell(f"refine (round {rounds + 1})", len(walks) - sum(not walk.done for walk in walks), len(walks))
        for i, walk in zip(todo, executor.map([walks[i] for i in todo]), strict=True):
            walks[i] = walk
        _write(path, walks, identity)
        ended = stop is not None and stop()
    done = all(walk.done for walk in walks)
    tell("refine", sum(walk.done for walk in walks), len(walks))
    after = np.array([walk.genome for walk in walks], dtype=np.int32).reshape(len(walks), space.genes)
    return np.concatenate([after, np.delete(genomes, best, axis=0)]), done


def _identity(walks: Sequence[RefiningWalk], codes: np.ndarray, labels: np.ndarray) -> bytes:
    """Return a digest of everything that the walks depend on: where they begin, and the rows."""
    digest = hashlib.sha256()
    for array in (*(walk.genome for walk in walks), codes, labels):
        plain = np.ascontiguousarray(array, dtype=np.int64)
        digest.update(f"{plain.shape}".encode() + plain.tobytes())
    return digest.digest()


def _write(path: Path, walks: Sequence[RefiningWalk], identity: bytes) -> None:
    packed = io.BytesIO()
    np.savez(
        packed,
        identity=np.frombuffer(identity, dtype=np.uint8),
        genomes=np.array([walk.genome for walk in walks], dtype=np.int32),
        counts=np.array([[w.allowed, w.kept, w.tried, w.done, len(w.planned)] for w in walks], dtype=np.int64),
        planned=np.array([count for walk in walks for count in walk.planned], dtype=np.int64),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_beside(path, packed.getvalue())


def _read(path: Path, space: Space, fresh: Sequence[RefiningWalk], identity: bytes) -> list[RefiningWalk]:
    remedy = "start again without --resume"
    try:
        arrays = read_npz(path).arrays
    except InvalidDataError as error:
        raise CheckpointError(str(path), [Problem(p.where, p.why, remedy) for p in error.problems]) from error
    names = {"identity": np.uint8, "genomes": np.int32, "counts": np.int64, "planned": np.int64}
    found = {name: arrays[name] for name, kind in names.items() if name in arrays and arrays[name].dtype == kind}
    if len(found) < len(names) or not _whole(found, space, len(fresh)):
        why = "it holds no refinements of this network"
        raise CheckpointError(str(path), [Problem(path.name, why, remedy)])
    if found["identity"].tobytes() != identity:
        why = "its refinements are of another search, other rows or other options"
        raise CheckpointError(str(path), [Problem(path.name, why, remedy)])
    counts = found["counts"].tolist()
    ends = np.cumsum([row[4] for row in counts]).tolist()
    return [
        RefiningWalk(genome, allowed, kept, tried, tuple(found["planned"][end - rounds : end].tolist()), bool(done))
        for genome, (allowed, kept, tried, done, rounds), end in zip(found["genomes"], counts, ends, strict=True)
    ]


def _whole(found: dict[str, np.ndarray], space: Space, walks: int) -> bool:
    genomes, counts, planned = found["genomes"], found["counts"], found["planned"]
    return (
        genomes.shape == (walks, space.genes)
        and counts.shape == (walks, 5)
        and bool((counts >= 0).all())
        and planned.shape == (int(counts[:, 4].sum()),)
        and bool(((planned >= 0) & (planned <= _MOST_PLANNED)).all())
        and bool((counts[:, 4] <= _MOST_PLANNED_ROUNDS).all())
        and bool(((genomes >= space.lower) & (genomes <= space.upper)).all())
    )


_MOST_PLANNED, _MOST_PLANNED_ROUNDS = 10_000_000, 1000 * MOST_ROUNDS
"""What no refinement of ours reaches: numbers beyond are somebody else's."""
