"""Columns of groups: taken out of a table or left among its features, split as the rows are, and what is wrong with them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from approxhw.common.data.dataset import DataSource, load_dataset
from approxhw.common.errors import InvalidDataError

X, Y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
SITES = np.array(["north", "south"] * 10)


def table(tmp_path, column="site", cells=SITES):
    path = tmp_path / "rows.csv"
    lines = [f"a,{column},b,label", *(f"{x[0]},{s},{x[1]},{y}" for x, s, y in zip(X, cells, Y, strict=True))]
    path.write_text("\n".join(lines))
    return path


def rows_with_groups(data):
    return {tuple(row): site for part, sites in ((data.X_train, data.groups.train), (data.X_test, data.groups.test))
            for row, site in zip(part.tolist(), sites.tolist(), strict=True)}  # fmt: skip


def test_a_column_of_texts_is_no_feature(tmp_path):
    data = load_dataset(DataSource(table(tmp_path), groups="site"), 2)
    assert data.features == ("a", "b")
    assert data.groups.title == "site"
    assert len(data.groups.train) == len(data.X_train) == 14
    assert rows_with_groups(data) == {tuple(x): s for x, s in zip(X.tolist(), SITES.tolist(), strict=True)}
    assert load_dataset(data, 2).groups is data.groups


def test_a_column_that_the_model_reads_stays_a_feature(tmp_path):
    path = table(tmp_path, "age", np.arange(20))
    data = load_dataset(DataSource(path, groups="2"), 3)
    assert data.features == ("a", "age", "b")
    assert data.groups.train.tolist() == data.X_train[:, 1].tolist()
    apart = load_dataset(DataSource(path, groups="age"), 2)
    assert apart.X_train.shape[1] == 2
    assert apart.groups.train.dtype == np.float64


@pytest.mark.parametrize("split", [True, False])
def test_groups_of_arrays(tmp_path, split):
    path, arrays = tmp_path / "rows.npz", {"X": X, "y": Y, "site": SITES}
    if split:
        arrays = {
            f"{name}_{part}": value[where]
            for name, value in arrays.items()
            for part, where in (("train", slice(12)), ("test", slice(12, None)))
        }
    np.savez(path, **arrays)
    for source in (path, arrays):
        data = load_dataset(DataSource(source, groups="site"), 2)
        assert rows_with_groups(data) == {tuple(x): s for x, s in zip(X.tolist(), SITES.tolist(), strict=True)}


def test_a_feature_by_its_title():
    data = load_dataset(DataSource("sklearn:iris", groups="petal width (cm)"))
    assert data.groups.test.tolist() == data.X_test[:, 3].tolist()


def test_numbers_in_one_split_and_texts_in_the_other():
    arrays = {"X_train": X[:2], "y_train": Y[:2], "X_test": X[2:4], "y_test": Y[2:4]}
    arrays |= {"g_train": np.array(["1", "2"]), "g_test": np.array(["1", "b"])}
    data = load_dataset(DataSource(arrays, groups="g"))
    assert data.groups.train.dtype.kind == data.groups.test.dtype.kind == "U"


@pytest.mark.parametrize(
    ("groups", "why"),
    [
        ({"site": SITES}, r"there is no column 'town'; there are site do: name one of them"),
        ({}, r"there is no column 'town'; its columns have no titles do: give a csv file, or an npz with an array of"),
        ({"town": SITES[:5]}, r"--groups town: 5 values for 20 rows do: give one a row"),
        ({"town": np.where(Y, np.nan, 1.0)}, r"10 of 20 rows have no group: rows 1, 3, 5, 7, 9, …, counted from 0"),
        ({"town": np.where(Y, "", "x")}, r"10 of 20 rows have no group"),
        ({"town": np.ones((20, 2))}, r"one text or number a row is needed, not float64 of shape \[20, 2\]"),
        ({"town": SITES[:0]}, r"0 values for 20 rows"),
    ],
)
def test_what_is_no_column_of_groups(groups, why):
    with pytest.raises(InvalidDataError) as raised:
        load_dataset(DataSource({"X": X, "y": Y, **groups}, groups="town"), 2)
    assert len(raised.value.problems) == 1
    message = " ".join(str(raised.value).split())
    assert re.search(why, message), message


def test_tables_name_their_columns(tmp_path):
    with pytest.raises(InvalidDataError, match="0 columns are called 'town'; there are a, site, b, label"):
        load_dataset(DataSource(table(tmp_path), groups="town"), 2)
    cells = SITES.copy()
    cells[[3, 4]] = ["nan", "?"]
    with pytest.raises(InvalidDataError, match="2 of 20 rows have no group: rows 3, 4, counted from 0"):
        load_dataset(DataSource(table(tmp_path, cells=cells), groups="site"), 2)


@pytest.mark.parametrize("title", ["x", "y", "X", "X_train", "y_train"])
def test_a_column_that_is_called_as_arrays_are_groups_rows_and_no_more(tmp_path, title):
    """Its title is the user's: it takes the place of no readings and of no labels."""
    path = tmp_path / "rows.csv"
    rows = [f"{i % 7}.5,{i % 3},{'ab'[i % 2]},{i % 2}" for i in range(40)]
    path.write_text("\n".join([f"p,q,{title},label", *rows]) + "\n")
    data = load_dataset(DataSource(path, groups=title), 2)
    assert data.groups is not None
    assert set(data.groups.train.tolist()) | set(data.groups.test.tolist()) == {"a", "b"}
    assert len(data.X_train) + len(data.X_test) == 40
    assert data.X_train.shape[1] == 2
    assert set(data.y_train.tolist()) == {0, 1}
    assert len(data.groups.train) == len(data.X_train)
