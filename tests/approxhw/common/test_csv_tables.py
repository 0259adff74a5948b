"""Csv files: which column is the label, whether there are titles, what parts the columns, and what is doubtful."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from approxhw.common.data import csv_tables
from approxhw.common.data.csv_tables import read_csv
from approxhw.common.data.dataset import DataSource, load_dataset
from approxhw.common.errors import InvalidDataError


def table(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refused(path: Path, label: str | None = None) -> str:
    with pytest.raises(InvalidDataError) as caught:
        read_csv(path, label)
    return str(caught.value)


ROWS = "1,0,1\n2,3,0\n3,2,0\n4,1,1\n"


@pytest.mark.parametrize(
    ("titles", "label", "features", "note"),
    [
        ("x,y,label", "label", ("x", "y"), "the label is column 'label'; 'y' is read as a feature: --label NAME"),
        ("y,label,x", "label", ("y", "x"), "the label is column 'label'; 'y' is read as a feature"),
        ("class,target,z", "class", ("target", "z"), "the label is column 'class'; 'target' is read as a feature"),
        ("Target,x,CLASS", "CLASS", ("Target", "x"), "the label is column 'CLASS'; 'Target' is read as a feature"),
        ("class,a,outcome", "class", ("a", "outcome"), "column 'class', and 'outcome', the last one, is a feature"),
        ("a,b,outcome", "outcome", ("a", "b"), "the last one, 'outcome', is the label"),
        ("a,b,label", "label", ("a", "b"), ""),
    ],
)
def test_the_order_of_names_decides_and_doubts_are_told(titles, label, features, note, tmp_path):
    found = read_csv(table(tmp_path, f"{titles}\n{ROWS}"))
    at = titles.split(",").index(label)
    assert found.titles == features
    assert found.arrays["y"].tolist() == [row.split(",")[at] for row in ROWS.splitlines()]
    assert len(found.notes) == bool(note)
    assert note in "".join(found.notes)


def test_whoever_names_the_column_gets_it_without_a_doubt(tmp_path):
    path = table(tmp_path, f"x,y,label\n{ROWS}")
    for label in ("y", " Y ", "2"):
        found = read_csv(path, label)
        assert (found.titles, found.arrays["y"].tolist(), found.notes) == (("x", "label"), list("0321"), ())
    data = load_dataset(DataSource(path, "y"))
    assert data.features == ("x", "label")
    assert "0 columns are called 'z'; there are x, y, label\n    do: name one of them, or its number from 1 to 3" in (
        refused(path, "z")
    )
    assert "0 columns are called '4'" in refused(path, "4")
    twice = table(tmp_path, f"label,y,label\n{ROWS}")
    assert "columns 1, 3 are all called 'label': which of them is the label?" in refused(twice)
    assert read_csv(twice, "3").arrays["y"].tolist() == list("1001")


def test_notes_reach_the_data_set(tmp_path):
    assert "'y' is read as a feature" in load_dataset(table(tmp_path, f"x,y,label\n{ROWS}")).notes[0]
    np.savez(tmp_path / "a.npz", X=np.zeros((4, 2)), y=[0, 1, 0, 1])
    with pytest.raises(InvalidDataError, match="is no table: it has no column to choose"):
        load_dataset(DataSource(tmp_path / "a.npz", "y"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            ",1,2,0\n2,3,4,1\n",
            "line 1 is neither titles nor a row: '' in column 1 is no number, '1' in column 2 is one",
        ),
        ("1,?,2,0\n2,3,4,1\n", "line 1 is neither titles nor a row: '?' in column 2 is no number"),
        ("\n\n1,abc,0\n2,3,1\n", "line 3 is neither titles nor a row: 'abc' in column 2"),
        ("?,?,?\n1,2,no\n", "lines 1 hold what is no number, the first '?'"),
        (",,\n?,NA,\n1,2,0\n", "line 2 has the label '', the others have numbers"),
        ("abc,0\n1,1\n2,0\n", "line 1 is neither titles nor a row: 'abc' in column 1"),
        ("1,2,name\n3,4,0\n5,6,1\n", "line 1 has the label 'name', the others have numbers: are these titles?"),
        ("yes,1,2\nno,3,4\n", "column 1 is all text: if it is the label, give --label 1"),
        ("a,b,c\n1,x,0\n2,y,1\n", "column 'b' is all text: if it is the label, give --label b"),
    ],
)
def test_a_first_row_with_a_bad_cell_does_not_become_titles(text, says, tmp_path):
    assert says in refused(table(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "rows", "titles"),
    [
        ("1,2,y\n3,4,n\n5,6,y\n", 3, ()),  # a class that is called like a column of labels
        ("0,1,label\n5,6,a\n7,8,b\n", 2, ("0", "1")),  # what pandas writes for columns without names
        (",0,1,label\n0,5,6,1\n1,7,8,0\n", 2, ("", "0", "1")),
        ("7,9,label\n5,6,1\n7,8,0\n", 2, ("7", "9")),
        ("a,b,c\n1,2,x\n", 1, ("a", "b")),
        ("1,2,x\n3,4,y\n", 2, ()),
    ],
)
def test_titles_are_titles_and_rows_are_rows(text, rows, titles, tmp_path):
    found = read_csv(table(tmp_path, text))
    assert (len(found.arrays["X"]), found.titles) == (rows, titles)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("0,1,2\n5,6,1\n7,8,0\n", "line 1 (0, 1, 2, …) is read as a row; drop it if it counts the columns"),
        (
            "2020,2021,species\n1,2,a\n3,4,b\n",
            "line 1 is read as a row, of class 'species', which the next ones do not have",
        ),
        (",a,b,label\n0,5,6,1\n1,7,9,0\n", "column 1 has no title and counts the rows: it is read as a feature"),
        ("a;label\n1,5;0\n2,25;1\n", "decimal commas are read as points, as in '1,5' on line 2"),
    ],
)
def test_what_may_be_meant_otherwise_is_told(text, note, tmp_path):
    assert note in " ".join(read_csv(table(tmp_path, text)).notes)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_separators_line_ends_quotes_and_marks(separator, end, tmp_path):
    rows = [["a", '"b"', "label"], ["1", '"2.5"', "x y"], [], ["3", "4", '"z, ; | w"']]
    text = "\ufeff" + "".join(separator.join(row) + end for row in rows)
    found = read_csv(table(tmp_path, text))
    assert found.titles == ("a", "b")
    assert found.arrays["X"].tolist() == [[1.0, 2.5], [3.0, 4.0]]
    assert found.arrays["y"].tolist() == ["x y", "z, ; | w"]


def test_decimal_commas_are_numbers_where_nothing_else_can_be_meant(tmp_path):
    assert read_csv(table(tmp_path, "1,5;2,25;0\n-3;4e1;1\n")).arrays["X"].tolist() == [[1.5, 2.25], [-3.0, 40.0]]
    assert "hold commas inside numbers, the first '1,234'; these may part thousands" in (
        refused(table(tmp_path, "1,234;2;0\n5,678;3;1\n"))
    )
    assert "the first '1,5'; others hold points" in refused(table(tmp_path, "2.5;2;0\n1,5;3;1\n"))
    assert "the first '1,5'; others hold points" in refused(table(tmp_path, "1,5;2;0\n2.5;3;1\n"))


def test_text_of_other_encodings_is_told(tmp_path):
    assert "UTF-16 text: save it as UTF-8" in refused(table(tmp_path, "1,2,0\n".encode("utf-16")))
    assert "no UTF-8 text" in refused(table(tmp_path, "é,b,label\n1,2,0\n".encode("latin-1")))


def test_packed_files_are_read_and_limited(tmp_path, monkeypatch):
    path = table(tmp_path, gzip.compress(f"a,b,label\n{ROWS}".encode()), "iris.csv.gz")
    data = load_dataset(path)
    assert (data.name, len(data.X_train) + len(data.X_test)) == ("iris", 4)
    assert "it is no csv file (" in refused(table(tmp_path, path.read_bytes()[:30]))
    monkeypatch.setattr(csv_tables, "MAXIMUM_TEXT", 1 << 16)
    monkeypatch.setattr(csv_tables, "MAXIMUM_LINES", 5000)
    monkeypatch.setattr(csv_tables, "MAXIMUM_ROW", 1 << 12)
    assert "more than 5000 lines" in refused(table(tmp_path, gzip.compress(b"\n" * 1_000_000)))
    assert "more than 64 KiB of text" in refused(table(tmp_path, gzip.compress(b"1,2,3,4,5,6,7,8,9,10,0\n" * 4000)))
    assert "a row of more than 4 KiB, from line 1" in refused(table(tmp_path, gzip.compress(b"1," * 1_000_000)))
    quoted = "1,2,0\n" + '"\n",' * 4000  # one row of many lines
    assert "a row of more than 4 KiB" in refused(table(tmp_path, quoted))


def test_labels_that_are_books_are_refused(tmp_path):
    assert "a label has 5000 characters, in 2 rows" in refused(table(tmp_path, f"1,2,{'x' * 5000}\n1,2,y\n"))


def test_wrong_columns_are_hinted_at(tmp_path):
    text = "a,b,c\n" + "".join(f"{i % 2},{i},{i / 7}\n" for i in range(12))
    with pytest.raises(InvalidDataError, match="12 different labels for 2 classes\n    do: are these the labels"):
        load_dataset(table(tmp_path, text), classes=2)
    with pytest.raises(InvalidDataError, match="data has 2\n    do: is a column of row numbers among them"):
        load_dataset(table(tmp_path, f"a,b,label\n{ROWS}"), features=1)


def test_lines_of_separators_are_told(tmp_path):
    """A spreadsheet leaves them below its rows; in between they may be readings that got lost."""
    found = read_csv(table(tmp_path, f";;\nx;z;label\n{ROWS.replace(',', ';')}; ;\n\n3;3;0\n"))
    assert found.arrays["y"].tolist() == list("10010")
    assert found.notes == ("lines 1, 7 hold semicolons alone, and are no rows",)


def test_a_first_row_of_which_the_label_alone_is_there_is_no_title(tmp_path):
    rows = "1,0,cat\n2,3,dog\n3,2,cat\n"
    assert "lines 1 hold what is no number, the first '?'" in refused(table(tmp_path, f"?,NA,cat\n{rows}"))
    found = read_csv(table(tmp_path, f",,animal\n{rows}"))
    assert (found.titles, found.arrays["y"].tolist()) == (("", ""), ["cat", "dog", "cat"])
