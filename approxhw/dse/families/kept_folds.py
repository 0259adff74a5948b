"""The study of a family's recipes, fold after fold: each is kept on disk as it comes, so that a search can go on from it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from approxhw.common.data.arrays import read_npz
from approxhw.common.errors import CheckpointError, InvalidDataError, Problem, shown
from approxhw.common.files import write_beside
from approxhw.common.options import Keywords
from approxhw.common.tools import tool_threads
from approxhw.common.version import __version__
from approxhw.dse.rules.recipe_study import FOLDS, RecipeStudy, Study, stratified_folds, study_recipes

from .circuits import Progress
from .family import Facts
from .registry import family_named

FOLDER = "family-{}"
"""Of what is kept of a family, in the folder of the checkpoint."""

_ANEW = "start again without --resume"
_THIS_ALONE = "delete this file and resume: its fold is fitted anew; or start again without --resume"


@dataclass(frozen=True, eq=False)
class Watch:
    """Who works on it, who hears of it, who may end it, and whether it goes on from what is there."""

    jobs: int = 1
    on_progress: Progress | None = None
    stop: Callable[[], bool] | None = None
    resume: bool = False

    def ended(self) -> bool:
        """Whether it shall end."""
        return self.stop is not None and self.stop()


def study_family(
    name: str, facts: Facts, codes: np.ndarray, labels: np.ndarray, seed: int, folder: Path, watch: Watch
) -> RecipeStudy:
    """Return what the recipes of the family called *name* hold on *codes* (R × F) and *labels*; every fit is kept in *folder*.

    Once ``watch.stop`` says so, no more is begun; the first fits are made in any case. Raises :class:`CheckpointError` where
    what is there is of something else, and is to be gone on from.
    """
    family = family_named(name)
    recipes = list(family.recipes(facts))
    place = folder / FOLDER.format(name)
    identity = _identity(facts, codes, labels, [str(recipe) for recipe in recipes], seed)
    sizes = np.bincount(stratified_folds(labels, FOLDS, seed), minlength=FOLDS).tolist() if len(labels) else [0] * FOLDS
    if not watch.resume:
        for old in place.glob("without-*.npz"):
            old.unlink()

    def each(one: Callable[[tuple[int, ...]], Study], todo: Sequence[tuple[int, ...]]) -> Iterator[Study]:
        tell = watch.on_progress or (lambda step, done, total: None)
        step = f"folds of family {name}"
        tell(step, 0, len(todo))

        def kept(without: tuple[int, ...]) -> Study:
            path = place / f"without-{'-'.join(map(str, without))}.npz"
            if watch.resume and path.exists():
                return _read(path, identity, without, (len(recipes), sizes))
            made = one(without)
            _write(path, identity, made)
            return made

        # a few at a time, so that an end is heeded
        for begin in range(0, len(todo), watch.jobs):
            if begin and watch.ended():
                return
            part = todo[begin : begin + watch.jobs]
            with tool_threads(len(part)) as pool:
                yield from pool.map(kept, part)
            tell(step, begin + len(part), len(todo))

    return study_recipes(family.fit(facts), codes, labels, recipes, FOLDS, seed, each)


def _identity(
    facts: Facts, codes: np.ndarray, labels: np.ndarray, recipes: Sequence[str], seed: int
) -> Mapping[str, str]:
    """Return what makes a fit of a fold the same fit, by what it is called."""

    def digest(*parts: bytes) -> str:
        return hashlib.sha256(b"\0".join(parts)).hexdigest()

    return {
        "version": __version__,
        "training rows": digest(np.ascontiguousarray(codes).tobytes(), np.ascontiguousarray(labels).tobytes()),
        "recipes": digest(*(recipe.encode() for recipe in recipes)),
        "seed": str(seed),
        "library": facts.library,
        "converters": "counted" if facts.system else "not counted",
    }


def _write(path: Path, identity: Mapping[str, str], study: Study) -> None:
    without, answers, costs = study
    packed = io.BytesIO()
    arrays: Keywords = {f"right_{i}": part for i, part in zip(without, answers, strict=True)}
    np.savez(packed, meta=np.frombuffer(json.dumps(identity).encode(), np.uint8), costs=costs, **arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_beside(path, packed.getvalue())


def _read(
    path: Path, identity: Mapping[str, str], without: tuple[int, ...], wanted: tuple[int, Sequence[int]]
) -> Study:
    """Return what *path* holds; raise :class:`CheckpointError` where it is not whole, or of another search.

    *wanted*: how many recipes there are, and how many rows each fold has.
    """
    recipes, sizes = wanted
    try:
        arrays = read_npz(path).arrays
        told = json.loads(arrays.pop("meta", np.zeros(0, np.uint8)).astype(np.uint8).tobytes().decode())
        found = _differences(told, identity)
        answers, costs = [arrays[f"right_{i}"] for i in without], arrays["costs"]
        if not found and (
            costs.shape != (recipes,)
            or costs.dtype != np.float64
            or any(
                part.dtype != np.bool_ or part.shape != (recipes, sizes[i])
                for i, part in zip(without, answers, strict=True)
            )
        ):
            raise ValueError("its arrays are not of this search's recipes")
    except InvalidDataError as error:
        raise CheckpointError(str(path), [Problem(p.where, p.why, _THIS_ALONE) for p in error.problems]) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = f"it holds no fit of a fold ({type(error).__name__}: {shown(error)})"
        raise CheckpointError(str(path), [Problem(path.name, why, _THIS_ALONE)]) from error
    if found:
        raise CheckpointError(str(path), found)
    return without, answers, costs


def _differences(told: Mapping[str, object], identity: Mapping[str, str]) -> list[Problem]:
    """Return a problem for everything in which the fit is of another search."""
    return [
        Problem(name, f"the checkpoint is of {shown(told.get(name), 80)}, this search of {wanted}", _ANEW)
        for name, wanted in identity.items()
        if told.get(name) != wanted
    ]
