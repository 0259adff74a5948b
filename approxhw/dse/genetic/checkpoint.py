"""Checkpoints of a genetic search: an npz file that holds all that its future depends on, and what search it is of."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.folder import Plain
from approxhw.artifacts.objectives import Objective
from approxhw.common.data.arrays import read_npz
from approxhw.common.errors import CheckpointError, InvalidDataError, Problem, shown
from approxhw.common.files import unwritable
from approxhw.common.version import __version__

from .islands import Island
from .operators import Bounds
from .options import GeneticOptions
from .problem import GeneticProblem

if TYPE_CHECKING:
    from deap import base

FORMAT = 2
_ARRAYS = ("genomes", "objectives", "archive", "archive_objectives")
_NOISE = (0, 1)
"""Errors are exact; a sum of real areas may round to the next µm² in another batch, and so may any other cost."""
_ANEW = "start again without --resume, or with another folder"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A search after a generation."""

    islands: tuple[Island, ...]
    records: tuple[Mapping[str, object], ...]
    """The logbook: one record a generation."""
    seconds: float


@dataclass(frozen=True, eq=False)
class Expected:
    """What the arrays of a checkpoint must fit."""

    bounds: Bounds
    objectives: tuple[Objective, ...]
    sizes: tuple[int, ...]
    options: GeneticOptions


def identity_of(
    problem: GeneticProblem, options: GeneticOptions, toolbox: base.Toolbox, operators: Sequence[str]
) -> dict[str, Plain]:
    """Return what makes a search the same search: hashes of model and rows, options, names of the operators, version."""
    chosen = asdict(options)
    chosen.pop("generations")  # a finished search may go on
    if chosen["max_class_loss"] is None:  # searches of before there was such a bound go on, too
        chosen.pop("max_class_loss")
    return {
        "version": __version__,
        **problem.identity(),
        "objectives": ",".join(objective.name for objective in problem.objectives),
        "options": json.loads(json.dumps(chosen)),
        "operators": {name: _name_of(getattr(toolbox, name)) for name in operators},
    }


def _name_of(operator: object) -> str:
    """Return the name of a registered operator, and those of functions handed to it, as for DEAP's own."""
    function = getattr(operator, "func", operator)
    given = [value for value in getattr(operator, "args", ()) if callable(value)]
    return ", ".join(f"{getattr(f, '__module__', '?')}.{getattr(f, '__qualname__', '?')}" for f in (function, *given))


def write_checkpoint(path: Path, identity: Mapping[str, Plain], checkpoint: Checkpoint) -> None:
    """Write *checkpoint* to *path*, whole or not at all, and wait until the disk has it."""
    told = {
        "format": FORMAT,
        "identity": identity,
        "seconds": checkpoint.seconds,
        "records": list(checkpoint.records),
        "islands": [
            {"generator": list(map(str, i.generator)), "generation": i.generation, "evaluations": i.evaluations}
            for i in checkpoint.islands
        ],
    }
    arrays = {f"{name}_{i.number}": getattr(i, name) for i in checkpoint.islands for name in _ARRAYS}
    packed = io.BytesIO()
    np.savez(packed, meta=np.frombuffer(json.dumps(told).encode(), np.uint8), **arrays)
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            stream.write(packed.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)  # noqa: PTH105
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise unwritable(path, error) from error


def read_checkpoint(
    path: Path, identity: Mapping[str, Plain], expected: Expected, evaluate: Callable[[np.ndarray], np.ndarray]
) -> Checkpoint:
    """Return what *path* holds; raise :class:`CheckpointError` where it is not whole, or not of this search.

    *evaluate*: finds the objectives of genomes anew; they must be those that the checkpoint tells.
    """
    arrays, told = _opened(path)
    found = _differences(told["identity"], identity)
    if not found and any(set(record) != set(book_titles(expected.objectives)) for record in told["records"]):
        found.append(Problem(path.name, "it is no checkpoint of a search (TypeError: records)", _ANEW))
    if found:
        raise CheckpointError(str(path), found)
    islands = [_island(i, size, arrays, told, expected, found) for i, size in enumerate(expected.sizes)]
    whole = tuple(island for island in islands if island is not None)
    generations = sorted({island.generation for island in whole})
    if len(generations) > 1:
        found.append(Problem("islands", f"they are at different generations: {generations}", _ANEW))
    elif generations and generations[0] > expected.options.generations:
        why = f"the checkpoint is at generation {generations[0]}, {expected.options.generations} are asked for"
        found.append(Problem("generations", why, f"ask for {generations[0]} or more"))
    noise = (_NOISE[0], *[_NOISE[1]] * (len(expected.objectives) - 1))
    if not found and any(np.any(np.abs(evaluate(i.genomes) - i.objectives) > noise) for i in whole):
        why = "its genomes have other errors or another area today than the checkpoint tells"
        found.append(Problem("objectives", why, f"another area model, or an altered file: {_ANEW}"))
    if found:
        raise CheckpointError(str(path), found)
    return Checkpoint(whole, tuple(told["records"]), float(told["seconds"]))


def _opened(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Plain]]:
    """Return the arrays of *path* and what it tells about itself, of which the outer shape is sure."""
    try:
        arrays = read_npz(path).arrays
    except InvalidDataError as error:
        problems = [Problem(problem.where, problem.why, _ANEW) for problem in error.problems]
        raise CheckpointError(str(path), problems) from error
    meta = arrays.pop("meta", np.zeros(0, np.uint8))
    try:
        told = json.loads(meta.astype(np.uint8).tobytes().decode())
        number = told["format"]
        if number != FORMAT:
            why = f"it is of format {shown(number)}; this version of approxhw reads format {FORMAT}"
            raise CheckpointError(str(path), [Problem(path.name, why, _ANEW)])
        if not all(isinstance(island, dict) for island in told["islands"]):
            raise TypeError("islands")
        if not all(isinstance(record, dict) for record in told["records"]):
            raise TypeError("records")
        sure = {"identity": dict(told["identity"]), "islands": told["islands"], "records": told["records"]}
        sure["seconds"] = max(0.0, float(told["seconds"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"it is no checkpoint of a search ({type(error).__name__}: {shown(error)})"
        raise CheckpointError(str(path), [Problem(path.name, why, _ANEW)]) from error
    return arrays, sure


def book_titles(objectives: Sequence[Objective]) -> list[str]:
    """Return the titles of the logbook, one record a generation."""
    units = [objective.unit for objective in objectives]
    medians, least = [f"median_{unit}" for unit in units], [f"least_{unit}" for unit in units[1:]]
    return ["generation", "evaluations", "front", "least_errors", *medians, *least]


def _differences(told: Mapping[str, Plain], identity: Mapping[str, Plain]) -> list[Problem]:
    """Return one problem for everything in which the checkpoint is of another search."""
    found = []
    if told.get("version") != identity["version"]:
        why = f"the checkpoint was written by approxhw {shown(told.get('version'))}, this is {identity['version']}"
        found.append(Problem("version", why, f"use that version, or {_ANEW}"))
    for name, what in (("model", "another model or other start genomes"), ("data", "other training rows")):
        if told.get(name) != identity[name]:
            found.append(Problem(name, f"the checkpoint is of {what}", f"give what it was made with, or {_ANEW}"))
    if told.get("objectives") != identity["objectives"]:
        why = f"the checkpoint is of {shown(told.get('objectives'))}, this search of {identity['objectives']}"
        found.append(Problem("objectives", why, f"give the same objectives, or {_ANEW}"))
    for group, remedy in (("options", "give the same option"), ("operators", "register the same operator")):
        there = told.get(group)
        there = there if isinstance(there, dict) else {}
        for name in sorted({*there, *identity[group]}, key=str):
            old, new = there.get(name), identity[group].get(name)
            if old != new:
                why = f"the checkpoint was made with {shown(old)}, this search with {shown(new)}"
                found.append(Problem(shown(name), why, f"{remedy}, or {_ANEW}"))
    return found


def _island(
    number: int,
    size: int,
    arrays: Mapping[str, np.ndarray],
    told: Mapping[str, Plain],
    expected: Expected,
    found: list[Problem],
) -> Island | None:
    """Return island *number*, or None and problems."""
    before, bounds, width = len(found), expected.bounds, len(expected.objectives)
    parts = {}
    for name in _ARRAYS:
        array = arrays.get(f"{name}_{number}")
        where = f"island {number}, {name}"
        told_of = name.endswith("objectives")
        columns, kind = (width, np.int64) if told_of else (len(bounds.lower), np.int32)
        if array is None:
            found.append(Problem(where, "it is not there", _ANEW))
            continue
        if array.ndim != 2 or array.shape[1] != columns or array.dtype != kind:
            why = f"it has shape {array.shape} and type {shown(array.dtype)}, not {columns} columns of {kind.__name__}"
            found.append(Problem(where, why, _ANEW))
            continue
        low, high = (0, np.iinfo(np.int64).max) if told_of else (bounds.lower, bounds.upper)
        if np.any(array < low) or np.any(array > high):
            found.append(Problem(where, "it holds values out of their bounds", _ANEW))
        parts[name] = np.array(array)
    if len(parts) == len(_ARRAYS):
        rows = {name: len(part) for name, part in parts.items()}
        if rows["genomes"] != size or rows["objectives"] != size or rows["archive"] != rows["archive_objectives"]:
            found.append(Problem(f"island {number}", f"its arrays have {shown(rows)} rows; its size is {size}", _ANEW))
    try:
        own = told["islands"][number]
        state, increment, has, held = (int(text) for text in own["generator"])
        generation, evaluations = int(own["generation"]), int(own["evaluations"])
        sane = (
            0 <= state < 1 << 128
            and 0 <= increment < 1 << 128
            and increment & 1
            and has in (0, 1)
            and 0 <= held < 1 << 32
        )
        if not sane or generation < 0 or evaluations < 0:
            raise ValueError("a number is out of bounds")
    except (KeyError, IndexError, TypeError, ValueError) as error:
        found.append(Problem(f"island {number}, state", f"it is no state of a generator ({shown(error)})", _ANEW))
        return None
    if len(found) > before:
        return None
    return Island(number, size, (state, increment, has, held), **parts, generation=generation, evaluations=evaluations)
