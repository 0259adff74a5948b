"""Rows and labels: what a data set is, and how one is read, checked and split."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from approxhw.common.arguments import checked, settle_fields
from approxhw.common.errors import InvalidDataError, Problem, shown
from approxhw.common.files import is_plain_file

from .arrays import NamedArrays, read_npy, read_npz
from .csv_tables import read_csv
from .row_groups import RowGroups, groups_by_title, with_group_feature

TEST_SHARE = 0.3
"""Share of the rows of each class that a data set without splits gives to the test split."""

CLASSIFICATION, REGRESSION, MULTILABEL = TASKS = ("classification", "regression", "multilabel")
"""What a model is for: one class a row, real values, or several labels a row that are there or not."""

_SKLEARN = ("breast_cancer", "diabetes", "digits", "iris", "wine")
_SHOWN = 5
_KINDS = "NAME.npz, NAME.csv, 'X.npy,y.npy' or sklearn:NAME"
_WHICH = "are these the labels? of a csv file, --label NAME names their column"
_TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows of readings (float64, rows × features) and class indices (int64, rows); either split may have no rows.

    For regression ``y_train`` and ``y_test`` are real values (float64, rows × outputs), for several labels a row 0 and 1 (int64,
    rows × labels).
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    features: tuple[str, ...] = ()
    """Titles of the features, or none."""
    name: str = "data"
    notes: tuple[str, ...] = ()
    """What was doubtful in reading it, such as which column the labels are."""
    groups: RowGroups | None = None
    """A column that parts the rows into groups, where one was asked for."""

    def __post_init__(self) -> None:
        """Refuse values that are not of the types of their fields."""
        settle_fields(self, "Dataset")


@dataclass(frozen=True)
class DataSource:
    """A data set, and which of its columns are meant.

    ``label``: of a table in a file (``NAME.csv``) the title or number (from 1) of the column that holds the labels. ``groups``:
    the column that parts rows into groups: of a table its title or number, else a feature's title or the name of an array
    (``NAME_train`` and ``NAME_test`` beside ``X_train`` and ``X_test``), one text or number a row.
    """

    data: str | Path | Mapping[str, ArrayLike]
    label: str | None = None
    groups: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that are not of the types of their fields."""
        settle_fields(self, "DataSource")


DataSpec = str | Path | Dataset | DataSource | tuple[ArrayLike, ...] | Mapping[str, ArrayLike]
"""What is given for a data set; :func:`load_dataset` says what each of them means."""


@checked("load_dataset")
def load_dataset(
    spec: DataSpec,
    features: int | None = None,
    classes: int | None = None,
    labels: tuple[str | int, ...] = (),
    seed: int = 1,
    *,
    task: str = CLASSIFICATION,
    outputs: int | None = None,
) -> Dataset:
    """Return the data set that *spec* names or holds.

    *spec*: an ``.npz`` with X_train and y_train (and X_test, y_test), or X and y; a ``.csv`` with a label column (which one, a
    :class:`DataSource` says); a pair ``X.npy,y.npy``; ``sklearn:NAME``; a tuple (X, y) or (X_train, y_train, X_test, y_test); a
    dict of arrays named like those of an npz.
    *task*: what y holds: class labels, or for ``regression`` and ``multilabel`` one number, or one of *outputs*, a row.
    X and y alone are split 70/30 by class, the same way for the same *seed*. *features* and *classes*: what the model
    has. *labels*: the model's own names of its classes; labels are mapped to class indices by them, else they are
    indices, else (texts) they are numbered in sorted order. Raises :class:`InvalidDataError` with every fault at once.
    """
    if isinstance(spec, Dataset):
        splits = {"X_train": spec.X_train, "y_train": spec.y_train, "X_test": spec.X_test, "y_test": spec.y_test}
        arrays = {key: np.asarray(value) for key, value in splits.items()}
        table, name = NamedArrays(arrays, spec.features, spec.notes), spec.name
    else:
        table, name = _read(spec)
    groups = spec.groups if isinstance(spec, DataSource) else None
    made = _checked(table, name, features, classes, labels, seed, task, outputs, groups)
    return replace(made, groups=spec.groups) if isinstance(spec, Dataset) else made


def task_of_targets(spec: DataSpec) -> str | None:
    """Return the task that the targets of *spec* speak for; None where they may well be labels of classes.

    Several numbers a row: ``multilabel`` where all are 0 or 1, else ``regression``. One number a row: ``regression`` where one
    of them is neither 0 nor 1.
    """
    targets = _target_arrays(spec)
    numbers = [array for array in targets if array.dtype.kind in "fiub" and array.ndim in (1, 2) and array.size]
    if not numbers or len(numbers) < len([array for array in targets if array.size]):
        return None
    single = all(array.ndim == 1 or array.shape[1] == 1 for array in numbers)
    truths = all(np.isin(array, (0, 1)).all() for array in numbers)
    if single:
        return None if truths else REGRESSION
    return MULTILABEL if truths else REGRESSION


def targets_a_row(spec: DataSpec) -> int:
    """Return how many targets *spec* has for each row; 0 where there is no telling."""
    widths = {
        1 if array.ndim == 1 else array.shape[1]
        for array in _target_arrays(spec)
        if array.ndim in (1, 2) and array.size
    }
    return widths.pop() if len(widths) == 1 else 0


def _target_arrays(spec: DataSpec) -> list[np.ndarray]:
    if isinstance(spec, Dataset):
        return [np.asarray(spec.y_train), np.asarray(spec.y_test)]
    arrays = _read(spec)[0].arrays
    return [np.asarray(arrays[key]) for key in ("y", "y_train", "y_test") if key in arrays]


def _read(
    spec: str | Path | DataSource | tuple[ArrayLike, ...] | Mapping[str, ArrayLike],
) -> tuple[NamedArrays, str]:
    """Return arrays and a name for messages."""
    source = spec if isinstance(spec, DataSource) else None
    label = None if source is None else source.label
    groups = None if source is None else source.groups
    if isinstance(spec, DataSource):
        spec = spec.data
    if isinstance(spec, Mapping):
        return NamedArrays({str(key): _array(value) for key, value in spec.items()}), "data"
    if isinstance(spec, tuple):
        keys = {2: ("X", "y"), 4: ("X_train", "y_train", "X_test", "y_test")}.get(len(spec))
        if keys is None:
            why = f"a tuple of {len(spec)}; (X, y) or (X_train, y_train, X_test, y_test) is needed"
            raise InvalidDataError("data", [Problem("data", why)])
        return NamedArrays({key: _array(value) for key, value in zip(keys, spec)}), "data"
    text = str(spec)
    if label is not None and not text.lower().endswith(_TABLES):
        why = f"{shown(text)} is no table: it has no column to choose"
        raise InvalidDataError("data", [Problem("--label", why, "leave it out, or give a csv file")])
    if text.startswith("sklearn:"):
        return _from_sklearn(text.removeprefix("sklearn:")), text
    pair = text.split(",")
    if len(pair) == 2 and not is_plain_file(Path(text)):
        paths = [Path(part.strip()) for part in pair]
        _refuse_missing(*paths)
        return NamedArrays({"X": read_npy(paths[0]), "y": read_npy(paths[1])}), paths[0].stem
    path = Path(text)
    _refuse_missing(path)
    if path.name.lower().endswith(_TABLES):
        return read_csv(path, label, groups), path.name.split(".")[0] or path.stem
    if path.suffix.lower() != ".npz":
        why = f"no data is read from {shown(path.suffix or 'a file without a suffix')!r}"
        raise InvalidDataError(text, [Problem(path.name, why, f"give {_KINDS}")])
    return read_npz(path), path.stem


def _array(value: ArrayLike) -> np.ndarray:
    return np.asarray(value)


def _refuse_missing(*paths: Path) -> None:
    found = []
    for path in paths:
        if not is_plain_file(path):
            near = difflib.get_close_matches(path.name[:200], _names(path.parent), 1)
            hint = f"; did you mean {shown(near[0])!r}?" if near else ""
            why = "it is no plain file" if near == [path.name] else f"there is no such file{hint}"
            found.append(Problem(str(path), why, f"give {_KINDS}"))
    if found:
        raise InvalidDataError("data", found)


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except (OSError, ValueError):
        return []


def _from_sklearn(name: str) -> NamedArrays:
    if name not in _SKLEARN:
        near = difflib.get_close_matches(name, _SKLEARN, 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(_SKLEARN)}"
        raise InvalidDataError("data", [Problem(f"sklearn:{name}", f"no data set of this name is known{hint}")])
    if importlib.util.find_spec("sklearn") is None:
        raise InvalidDataError(
            "data", [Problem(f"sklearn:{name}", "scikit-learn is missing", "pip install scikit-learn")]
        )
    bunch = getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")()
    return NamedArrays({"X": bunch.data, "y": bunch.target}, tuple(map(str, bunch.feature_names)))


def _checked(
    table: NamedArrays,
    name: str,
    features: int | None,
    classes: int | None,
    labels: tuple[str | int, ...],
    seed: int,
    task: str,
    outputs: int | None,
    groups: str | None = None,
) -> Dataset:
    if groups is not None:
        table = with_group_feature(table, features)
    arrays = table.arrays
    found: list[Problem] = []
    if "X_train" in arrays or "X_test" in arrays:
        splits = [split for split in ("train", "test") if f"X_{split}" in arrays]
        keys = [(f"X_{split}", f"y_{split}") for split in splits]
    else:
        keys = [("X", "y")]
    missing = [key for pair in keys for key in pair if key not in arrays]
    if missing:
        there = ", ".join(map(shown, sorted(arrays))) or "nothing"
        why = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing; there is {there}"
        raise InvalidDataError(name, [Problem(name, why, "X_train, y_train (X_test, y_test), or X, y are needed")])
    rows = {x: _rows(x, arrays[x], features, found, table.titles) for x, _ in keys}
    widths = {x: value.shape[1] for x, value in rows.items() if value is not None and len(value)}
    if len(set(widths.values())) > 1:
        found.append(Problem(name, f"the splits differ in their features: {', '.join(map(str, widths.values()))}"))
    if task == CLASSIFICATION:
        raw = {y: _labels(y, arrays[y], found) for _, y in keys}
        indices = _indices([value for value in raw.values() if value is not None], classes, labels, found, list(raw))
    else:
        raw = {y: _targets(y, arrays[y], task, outputs, found) for _, y in keys}
        indices = [value for value in raw.values() if value is not None]
    for x, y in keys:
        readings, named = rows[x], raw[y]
        if readings is not None and named is not None and len(readings) != len(named):
            found.append(
                Problem(
                    f"{x}, {y}",
                    f"{len(readings)} rows, but {len(named)} {'labels' if task != REGRESSION else 'targets'}",
                )
            )
    sound = {x: value for x, value in rows.items() if value is not None}
    if not found and not any(map(len, sound.values())):
        found.append(Problem(name, "it has no rows"))
    parted: dict[str, np.ndarray] = {}
    if groups is not None:
        counts = {x: len(value) for x, value in sound.items()}
        parted = groups_by_title(table, groups, [x for x, _ in keys], counts, found)
    if found:
        raise InvalidDataError(name, found)
    width = next(iter(widths.values()))
    titles = table.titles if len(table.titles) == width else ()
    if keys == [("X", "y")]:
        whole, given = sound["X"], indices[0]
        strata = given if task == CLASSIFICATION else np.zeros(len(given), dtype=np.int64)
        train, test = split_rows(strata, TEST_SHARE, seed)
        column = None if groups is None else RowGroups(groups, parted["X"][train], parted["X"][test])
        return Dataset(whole[train], given[train], whole[test], given[test], titles, name, table.notes, column)
    none = np.empty(0, np.int64) if task == CLASSIFICATION else indices[0][:0]
    empty = Dataset(np.empty((0, width)), none, np.empty((0, width)), none)
    parts = {x: sound[x].reshape(-1, width) for x, _ in keys} | {y: part for (_, y), part in zip(keys, indices)}
    made = replace(empty, features=titles, name=name, notes=table.notes, **parts)
    if groups is None:
        return made
    rest = next(iter(parted.values()))[:0]
    return replace(made, groups=RowGroups(groups, parted.get("X_train", rest), parted.get("X_test", rest)))


def readings_of(given: ArrayLike, features: int) -> np.ndarray:
    """Return *given* as float64 rows × *features*; raise :class:`InvalidDataError` with everything that keeps it from that."""
    found: list[Problem] = []
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise InvalidDataError("readings", [Problem("readings", f"they are no array ({shown(error)})")]) from error
    rows = _rows("readings", array, features, found)
    if found or rows is None:
        raise InvalidDataError("readings", found)
    return rows.reshape(len(rows), features)


def _rows(
    key: str, array: np.ndarray, features: int | None, found: list[Problem], titles: Sequence[str] = ()
) -> np.ndarray | None:
    """Return *array* as float64 rows × features, or None where that cannot be; what is wrong goes to *found*."""
    if array.dtype == object:
        found.append(Problem(key, "it holds Python objects, not numbers", "give an array of numbers"))
        return None
    if array.dtype.kind not in "fiub":
        found.append(Problem(key, f"readings are numbers, not {array.dtype}"))
        return None
    if array.ndim < 2:
        found.append(Problem(key, f"rows × features are needed, the array has shape {list(array.shape)}"))
        return None
    rows = array.reshape(len(array), int(np.prod(array.shape[1:]))).astype(np.float64)
    if features is not None and len(rows) and rows.shape[1] != features:
        why = f"the model reads {features} features, the data has {rows.shape[1]}"
        columns = f"its columns are {shown(', '.join(titles), 200)}; " if len(titles) == rows.shape[1] else ""
        more = f"{columns}give the features that the model reads, in its order"
        if rows.shape[1] == features + 1:
            more = "is a column of row numbers among them?"
        found.append(Problem(key, why, more))
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        why = f"{len(bad)} of {len(rows)} rows hold NaN or infinity: rows {_some(bad)}, counted from 0"
        found.append(Problem(key, why, "drop or fill them"))
    return rows


def _some(values: Collection[object]) -> str:
    text = ", ".join(shown(value, 40) for value in list(values)[:_SHOWN])
    return f"{text}, …" if len(values) > _SHOWN else text


def _labels(key: str, array: np.ndarray, found: list[Problem]) -> np.ndarray | None:
    """Return labels as int64 or as texts, or None where they are neither."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        found.append(Problem(key, f"one label a row is needed, the array has shape {list(array.shape)}"))
        return None
    if array.dtype == object and all(isinstance(value, str) for value in array.tolist()):
        array = array.astype(str)
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind == "U":
        return _as_numbers(array)
    if array.dtype.kind == "f":
        whole = np.isfinite(array) & (array == np.floor(array)) & (np.abs(array) < 2**53)
        if not whole.all():
            bad = np.flatnonzero(~whole)
            found.append(Problem(key, f"labels are integers or texts; row {bad[0]} has {array[bad[0]]}"))
            return None
    elif array.dtype.kind not in "iub" or (array.dtype == np.uint64 and len(array) and array.max() >= 1 << 63):
        found.append(Problem(key, f"labels are integers or texts, not {array.dtype}"))
        return None
    return array.astype(np.int64)


def _targets(key: str, array: np.ndarray, task: str, outputs: int | None, found: list[Problem]) -> np.ndarray | None:
    """Return targets, rows × outputs: float64, or int64 of 0 and 1; None where they are none."""
    if array.dtype.kind in "USO":
        texts = array.reshape(-1).tolist()
        try:
            array = np.array([float(text) for text in texts]).reshape(array.shape)
        except (TypeError, ValueError):
            found.append(Problem(key, f"{task} needs numbers, not texts", "leave out --task, or give numbers"))
            return None
    if array.dtype.kind not in "fiub" or array.ndim not in (1, 2):
        why = f"one number, or one an output, a row is needed, not {array.dtype} of shape {list(array.shape)}"
        found.append(Problem(key, why))
        return None
    table = array.reshape(len(array), -1) if array.size else np.empty((0, outputs or 1))
    if outputs is not None and len(table) and table.shape[1] != outputs:
        found.append(Problem(key, f"the model has {outputs} outputs, the data {table.shape[1]} targets a row"))
        return None
    bad = np.flatnonzero(~np.isfinite(table.astype(np.float64)).all(axis=1))
    if len(bad):
        found.append(
            Problem(key, f"{len(bad)} rows hold NaN or infinity: rows {_some(bad)}, counted from 0", "drop them")
        )
        return None
    if task == REGRESSION:
        return table.astype(np.float64)
    if not np.isin(table, (0, 1)).all():
        found.append(Problem(key, "labels that are there or not are 0 and 1", "give one column of 0 and 1 a label"))
        return None
    return table.astype(np.int64)


def _as_numbers(texts: np.ndarray) -> np.ndarray:
    """Return *texts* as integers where all of them are such, else as they are."""
    try:
        numbers = np.array([float(text) for text in texts.tolist()])
    except ValueError:
        return texts
    whole = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (np.abs(numbers) < 2**53)
    return numbers.astype(np.int64) if whole.all() else texts


def _indices(
    parts: list[np.ndarray], classes: int | None, labels: tuple[str | int, ...], found: list[Problem], keys: list[str]
) -> list[np.ndarray]:
    """Return class indices for the labels of all splits together."""
    values = [part.tolist() for part in parts]
    seen = list(dict.fromkeys(value for part in values for value in part))
    by_text = {str(label): index for index, label in enumerate(labels)}
    count = classes or (len(labels) or None)
    numbers = all(isinstance(value, int) for value in seen)
    if labels and all(str(value) in by_text for value in seen):
        table = {value: by_text[str(value)] for value in seen}
    elif numbers:
        table = {value: value for value in seen}
        bad = sorted(value for value in seen if value < 0 or (count is not None and value >= count))
        if bad:
            reach = f"0…{count - 1}" if count is not None else "0, 1, 2, …"
            named = f", nor among the model's labels {_some(labels)}" if labels else ""
            why = f"labels {_some(bad)} are not in {reach}{named}"
            found.append(Problem(", ".join(keys), why, "number the classes from 0"))
    elif labels:
        bad = sorted({str(value) for value in seen} - set(by_text))
        why = f"{_some(bad)} are not among the model's labels {_some(labels)}"
        found.append(Problem(", ".join(keys), why, _WHICH))
        return []
    else:
        table = {value: index for index, value in enumerate(sorted(seen, key=str))}
        if count is not None and len(table) > count:
            found.append(Problem(", ".join(keys), f"{len(table)} different labels for {count} classes", _WHICH))
    return [np.array([table[value] for value in part], dtype=np.int64) for part in values]


def split_rows(y: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ascending row numbers of two parts: of each class of *y* the second has *share*, the first one row at least."""
    return fold_rows(y, share, 1, seed)[0]


def fold_rows(y: np.ndarray, share: float, folds: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return *folds* splits of all rows as by :func:`split_rows`; no row is in the second part of two of them.

    ``share · folds`` must not be above 1. The first split is the same for any number of folds.
    """
    rng = np.random.default_rng(seed)
    second: list[list[np.ndarray]] = [[np.zeros(0, np.int64)] for _ in range(folds)]
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        ends = [round(share * len(rows) * fold) for fold in range(folds + 1)]
        for fold in range(folds):
            second[fold].append(rows[ends[fold] : ends[fold + 1]][: len(rows) - 1])
    chosen = [np.sort(np.concatenate(parts)).astype(np.int64) for parts in second]
    return [(np.setdiff1d(np.arange(len(y)), part), part) for part in chosen]
