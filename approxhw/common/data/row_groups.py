"""A column that parts the rows of a data set into groups: found by its title, checked, and split as the rows are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from approxhw.common.errors import Problem, shown

from .arrays import NamedArrays

MISSING = ("", "?", "-", "na", "n/a", "nan", "null", "none")
"""Cells that say nothing."""
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class RowGroups:
    """The column ``title``: its values (texts or numbers), one a row, of training and of test rows."""

    title: str
    train: np.ndarray
    test: np.ndarray


def with_group_feature(table: NamedArrays, features: int | None) -> NamedArrays:
    """Return *table* with its column of groups among the readings, where a model of so many *features* reads it, too."""
    x = table.arrays.get("X")
    if table.group_at is None or table.group_values is None or x is None or x.ndim != 2 or features != x.shape[1] + 1:
        return table
    place, own = table.group_at
    with suppress(ValueError):  # a text is no reading
        column = table.group_values.astype(np.float64)
        titles = (*table.titles[:place], own, *table.titles[place:]) if table.titles else ()
        return replace(table, arrays={**table.arrays, "X": np.insert(x, place, column, axis=1)}, titles=titles)
    return table


def groups_by_title(
    table: NamedArrays, title: str, splits: Sequence[str], rows: Mapping[str, int], found: list[Problem]
) -> dict[str, np.ndarray]:
    """Return the values of the column *title* for each array of readings of *splits*, such as ``X_train``.

    It is an array of that title (``TITLE_train`` beside ``X_train``), or a feature. *rows*: how many each split has. What is
    wrong goes to *found*.
    """
    made = {}
    for split in splits:
        name = title if split == "X" else f"{title}{split[1:]}"
        values = table.group_values if table.group_values is not None else table.arrays.get(name)
        if values is None and title in table.titles and np.ndim(table.arrays[split]) == 2:
            values = table.arrays[split][:, table.titles.index(title)]
        if values is None:
            found.append(unknown_column(title, name, known_columns(table)))
            continue
        checked = checked_groups(name, np.asarray(values), rows.get(split), found)
        if checked is not None:
            made[split] = checked
    if len({values.dtype.kind for values in made.values()}) > 1:  # numbers in one split, texts in another
        made = {split: values.astype(str) for split, values in made.items()}
    return made


def known_columns(table: NamedArrays) -> list[str]:
    """Return the titles that rows of *table* may be grouped by."""
    own = {"X", "y", "X_train", "y_train", "X_test", "y_test"}
    stems = [name.removesuffix("_train").removesuffix("_test") for name in table.arrays if name not in own]
    return list(dict.fromkeys([*stems, *table.titles]))


def unknown_column(title: str, name: str, known: Sequence[str]) -> Problem:
    """Return that nothing is called *name*, which the column *title* of groups would be; *known*: what is there."""
    there = f"there are {', '.join(shown(each, 40) for each in known[:20])}" if known else "its columns have no titles"
    remedy = "name one of them" if known else "give a csv file, or an npz with an array of that name, one value a row"
    return Problem("--groups", f"there is no column {shown(name, 40)!r}; {there}", remedy)


def checked_groups(name: str, values: np.ndarray, rows: int | None, found: list[Problem]) -> np.ndarray | None:
    """Return *values* as texts or as numbers (float64), one a row; what is wrong with them goes to *found*."""
    where = f"--groups {shown(name, 40)}"
    if values.dtype == object and all(isinstance(value, str) for value in values.reshape(-1).tolist()):
        values = values.astype(str)
    if values.ndim != 1 or values.dtype.kind not in "fiubU":
        why = f"one text or number a row is needed, not {values.dtype} of shape {list(values.shape)}"
        found.append(Problem(where, why))
        return None
    if rows is not None and len(values) != rows:
        found.append(Problem(where, f"{len(values)} values for {rows} rows", "give one a row"))
        return None
    if values.dtype.kind == "U":
        bad = np.array([text.strip().lower() in MISSING for text in values.tolist()], dtype=bool)
    else:
        bad = ~np.isfinite(values.astype(np.float64))
    if bad.any():
        places = np.flatnonzero(bad).tolist()
        named = ", ".join(map(str, places[:_SHOWN])) + (", …" if len(places) > _SHOWN else "")
        why = f"{len(places)} of {len(values)} rows have no group: rows {named}, counted from 0"
        found.append(Problem(where, why, "fill them, with a name for what is not known"))
        return None
    with suppress(ValueError):
        return values.astype(np.float64)
    return values
