"""Read rows and labels from csv files that nobody vouches for: which separator, which titles, which column is the label."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np

from approxhw.common.errors import InvalidDataError, Problem, shown
from approxhw.common.files import opened, size_text

from .arrays import NamedArrays
from .row_groups import MISSING

MAXIMUM_TEXT = 1 << 28
"""Most bytes of a csv file, unpacked."""
MAXIMUM_LINES = 2_000_000
"""Most lines of a csv file, empty ones included."""
MAXIMUM_ROW = 1 << 21
"""Most bytes of a row."""
LABEL_COLUMNS = ("label", "labels", "class", "target", "y")
"""Titles of the column that holds the labels: the first of these that is there is taken, wherever it stands."""
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SETTLE = "--label NAME (DataSource(file, label=NAME) in Python) chooses another column"

_SAMPLE = 50
_SHOWN = 5
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d{1,3})?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+")
_LONGEST_LABEL = 200


def read_csv(path: Path, label: str | None = None, groups: str | None = None) -> NamedArrays:
    """Return X (float64) and y (texts) of a csv file (plain or gzip), its titles where it has them, and notes on doubts.

    The separator is a comma, semicolon, tab or bar, whichever makes the most numbers. The first line gives the titles where no
    cell of a feature in it is a number, or where the column of the label is named in it. *label*: the title, or the number
    (from 1), of the column that holds the labels; by default the one whose title comes first in
    :data:`LABEL_COLUMNS`, else the last one. *groups*: the title, or the number, of a column that parts rows into groups: it
    is no feature, and comes as an array (texts) of that name. Raises :class:`InvalidDataError` that names the lines which are
    ragged or hold no numbers.
    """
    try:
        with opened(path) as stream:
            text = _Text(_unpacked(stream))
            return _read(path, text, label, groups)
    except UnicodeDecodeError as error:
        why = f"it is no csv file (no UTF-8 text: {shown(error)})"
        raise InvalidDataError(str(path), [Problem(path.name, why, "save it as UTF-8")]) from error
    except (OSError, EOFError, zlib.error, csv.Error, _TooMuch) as error:
        why = str(error) if isinstance(error, _TooMuch) else f"it is no csv file ({shown(error)})"
        raise InvalidDataError(str(path), [Problem(path.name, why)]) from error


class _TooMuch(Exception):
    """A limit is passed; the text says which."""


def _unpacked(stream: BinaryIO) -> BinaryIO:
    packed = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    return gzip.GzipFile(fileobj=stream) if packed else stream  # type: ignore[return-value]


class _Text:
    """The lines of a file, counted, one after the other; :class:`_TooMuch` where they never end."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.size, self.lines, self.row = stream, 0, 0, 0

    def __iter__(self) -> Iterator[str]:
        for line in self._bytes():
            yield line.decode("utf-8-sig" if self.lines == 1 else "utf-8").replace("\r\n", "\n")

    def _bytes(self) -> Iterator[bytes]:
        while line := self.stream.readline(MAXIMUM_ROW + 1):
            self.size += len(line)
            self.lines += 1
            self.row += len(line)
            if self.row > MAXIMUM_ROW:
                raise _TooMuch(f"it has a row of more than {size_text(MAXIMUM_ROW)}, from line {self.lines} or before")
            if self.size > MAXIMUM_TEXT:
                raise _TooMuch(f"it has more than {size_text(MAXIMUM_TEXT)} of text")
            if self.lines > MAXIMUM_LINES:
                raise _TooMuch(f"it has more than {MAXIMUM_LINES} lines")
            if self.lines == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise _TooMuch("it is no csv file (UTF-16 text: save it as UTF-8)")
            # lines of old Macs end with a carriage return alone
            yield from (line.splitlines(keepends=True) if b"\r" in line.rstrip(b"\r\n") else (line,))


@dataclass
class _Layout:
    """What the first lines say of all: the separator, titles or none, the column of the label, and what was doubtful."""

    separator: str
    width: int
    titles: tuple[str, ...] = ()
    label: int = -1
    group: int | None = None
    notes: list[str] = field(default_factory=list)


Line = tuple[int, list[str]]
"""Its number, counted from 1, and its cells."""


def _read(path: Path, text: _Text, label: str | None, groups: str | None) -> NamedArrays:
    begin: list[str] = []
    sample: list[str] = []
    lines = iter(text)
    while len(sample) < 2 or (len(sample) < _SAMPLE and text.size < 2 * MAXIMUM_ROW):
        if (line := next(lines, None)) is None:
            break
        text.row = 0
        begin.append(line)
        if line.strip():
            sample.append(line)
    if not sample:
        raise InvalidDataError(str(path), [Problem(path.name, "it has no rows")])
    separator = _separator(sample)
    blank: list[int] = []
    rows = _rows(text, _chained(begin, lines), separator, blank)
    head: list[Line] = []
    for row in rows:
        head.append(row)
        if len(head) >= _SAMPLE or text.size > 2 * MAXIMUM_ROW:
            break
    layout, body = _laid_out(path, head, separator, label, groups)
    table = _Table(path, layout)
    for row in _chained(body, rows):
        table.add(*row)
    arrays = table.arrays(label, groups)
    if blank:
        told = f"{_lines(blank)} hold {SEPARATORS[separator]} alone, and are no rows"
        arrays = replace(arrays, notes=(*arrays.notes, told))
    return arrays


def _chained(first: Iterable, rest: Iterable) -> Iterator:  # type: ignore[type-arg]
    yield from first
    yield from rest


def _rows(text: _Text, lines: Iterator[str], separator: str, blank: list[int]) -> Iterator[Line]:
    """Yield the lines that are not empty as stripped cells; add to *blank* those that hold separators alone."""
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    for row in reader:
        text.row = 0
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield reader.line_num, cells
        elif len(cells) > 1:
            blank.append(reader.line_num)


def _separator(sample: list[str]) -> str:
    """Return what parts the lines of *sample* into the most numbers, in columns as even as can be; a comma in doubt."""
    best, chosen = 0.0, ","
    for separator in SEPARATORS:
        with suppress(csv.Error):
            rows = [row for row in csv.reader(sample, delimiter=separator, skipinitialspace=True) if any(row)]
            width = Counter(map(len, rows)).most_common(1)[0] if rows else (0, 0)
            if width[0] < 2:
                continue
            cells = [cell.strip() for row in rows[1:] or rows for cell in row]
            numbers = sum(_is_number(cell) or (separator != "," and _is_comma(cell)) for cell in cells)
            score = (numbers + 0.5) / (len(cells) + 1) * width[1] / len(rows)
            if score > best:
                best, chosen = score, separator
    return chosen


def _is_comma(text: str) -> bool:
    return _DECIMAL_COMMA.fullmatch(text) is not None


def _laid_out(
    path: Path, head: list[Line], separator: str, label: str | None, groups: str | None
) -> tuple[_Layout, list[Line]]:
    """Return the layout, and the lines of *head* that are rows."""
    layout = _Layout(separator, len(head[0][1]))
    if (groups is not None and not _is_number(groups)) or _has_titles(path, head, separator, label):
        layout.titles = tuple(head[0][1])
    body = head[1:] if layout.titles else head
    _choose_label(path, layout, body, label)
    if groups is not None:
        layout.group = _named_column(path, layout, groups, "--groups")
    if not layout.titles:
        _look_at_first(path, layout, head)
    return layout, body


def _has_titles(path: Path, head: list[Line], separator: str, label: str | None) -> bool:
    """Whether the first line holds titles; raise :class:`InvalidDataError` where it is neither that nor a row."""
    number, first = head[0]
    numeric = [_is_number(cell) or (separator != "," and _is_comma(cell)) for cell in first]
    lower = [cell.lower() for cell in first]
    if label is not None and not _is_number(label):
        return True  # whoever names a column says that columns have names
    if not any(numeric):
        told = [i for i, cell in enumerate(lower) if cell not in MISSING]
        if len(told) == 1 and len(first) > 2:  # a row of which the label alone is there: others have that label, too
            return all(len(row) <= told[0] or row[told[0]] != first[told[0]] for _, row in head[1:])
        return bool(told)
    known = [lower.index(name) for name in LABEL_COLUMNS if name in lower]
    at = int(label) - 1 if label is not None and label.isascii() and label.isdecimal() else len(first) - 1
    at = known[0] if known and label is None else at if 0 <= at < len(first) else len(first) - 1
    below = [row[at] for _, row in head[1:] if len(row) == len(first)]
    features = [is_one for i, is_one in enumerate(numeric) if i != at]
    if known and label is None and first[at] not in below and (all(map(_is_number, below)) or _counts(first, at)):
        return True  # a title among numbers: what pandas writes for columns without names
    if all(features):
        return False
    wrong, right = numeric.index(False), numeric.index(True)
    why = (
        f"line {number} is neither titles nor a row: {shown(first[wrong], 40)!r} in column {wrong + 1} is no number, "
        f"{shown(first[right], 40)!r} in column {right + 1} is one"
    )
    texts = all(not _is_number(row[wrong]) and row[wrong] for _, row in head if len(row) > wrong)
    remedy = "fill that cell, or give every column a title that is no number"
    if texts and len(head) > 1:
        remedy = f"column {wrong + 1} is all text: if it is the label, give --label {wrong + 1}"
    raise InvalidDataError(str(path), [Problem(path.name, why, remedy)])


def _counts(cells: Sequence[str], label: int) -> bool:
    """Whether *cells*, but for that of the label and an empty one in front, count 0, 1, 2, … or 1, 2, 3, …."""
    told = [cell for i, cell in enumerate(cells) if i != label and (cell or i)]
    return len(told) > 1 and told in ([str(i + start) for i in range(len(told))] for start in (0, 1))


def _choose_label(path: Path, layout: _Layout, body: list[Line], label: str | None) -> None:
    """Set ``layout.label``, and tell where another column might be meant."""
    titles, width = [title.lower() for title in layout.titles], layout.width
    if label is not None:
        layout.label = _named_column(path, layout, label, "--label")
        return
    found = [name for name in LABEL_COLUMNS if name in titles]
    doubled = [name for name in found if titles.count(name) > 1]
    if doubled:
        columns = ", ".join(str(i + 1) for i, title in enumerate(titles) if title == doubled[0])
        why = f"columns {columns} are all called {doubled[0]!r}: which of them is the label?"
        raise InvalidDataError(str(path), [Problem(path.name, why, "name its number: --label 1, say")])
    layout.label = titles.index(found[0]) if found else width - 1
    chosen = shown(layout.titles[layout.label], 40) if titles else ""
    others = [shown(layout.titles[titles.index(name)], 40) for name in found[1:]]
    if others:
        last = ", ".join(map(repr, others))
        layout.notes.append(f"the label is column {chosen!r}; {last} {_are(others)} read as a feature: {SETTLE}")
    elif found and layout.label != width - 1 and _could_be_labels(body, width - 1):
        last = shown(layout.titles[-1], 40)
        layout.notes.append(f"the label is column {chosen!r}, and {last!r}, the last one, is a feature: {SETTLE}")
    elif titles and not found:
        layout.notes.append(
            f"no column is called {', '.join(LABEL_COLUMNS)}: the last one, {chosen!r}, is the label: {SETTLE}"
        )


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are each"


def _could_be_labels(body: list[Line], column: int) -> bool:
    cells = [row[column] for _, row in body if len(row) > column]
    return all(not _is_number(cell) or float(cell).is_integer() for cell in cells)


def _named_column(path: Path, layout: _Layout, column: str, flag: str) -> int:
    wanted = column.strip().lower()
    columns = [i for i, title in enumerate(layout.titles) if title.lower() == wanted]
    if len(columns) == 1:
        return columns[0]
    if not columns and wanted.isascii() and wanted.isdecimal() and 1 <= int(wanted[:9]) <= layout.width:
        return int(wanted) - 1
    there = ", ".join(shown(title, 40) for title in layout.titles[:20]) or "no titles"
    why = f"{len(columns)} columns are called {shown(column, 40)!r}; there are {there}"
    remedy = f"name one of them, or its number from 1 to {layout.width}"
    raise InvalidDataError(str(path), [Problem(flag, why, remedy)])


def _look_at_first(path: Path, layout: _Layout, head: list[Line]) -> None:
    """Tell of a first line that is read as a row and may be titles; raise where its label is of another kind."""
    number, first = head[0]
    rest = {row[layout.label] for _, row in head[1:] if len(row) == layout.width}
    mark = shown(first[layout.label], 40)
    if rest and not _is_number(mark) and all(map(_is_number, rest)):
        why = f"line {number} has the label {mark!r}, the others have numbers: are these titles?"
        remedy = "give every column a title that is no number, or drop that line"
        raise InvalidDataError(str(path), [Problem(path.name, why, remedy)])
    if _counts(first, layout.label):
        layout.notes.append(
            f"line {number} ({', '.join(first[:3])}, …) is read as a row; drop it if it counts the columns"
        )
    elif len(rest) > 1 and not _is_number(mark) and first[layout.label] not in rest:
        layout.notes.append(f"line {number} is read as a row, of class {mark!r}, which the next ones do not have")


class _Table:
    """Rows as they come: numbers packed, labels, and what is wrong with which lines."""

    def __init__(self, path: Path, layout: _Layout) -> None:
        self.path, self.layout = path, layout
        self.numbers, self.labels, self.known = array("d"), list[str](), dict[str, str]()
        self.groups = list[str]()
        self.apart = {layout.label} if layout.group is None else {layout.label, layout.group}
        ends = [-1, *sorted(self.apart), layout.width]
        self.readings = [slice(low + 1, high) for low, high in pairwise(ends)]
        self.ragged, self.bad, self.commas = list[int](), list[int](), list[int]()
        self.first_bad, self.first_comma, self.points, self.grouped = ("", 0), "", False, True
        self.texts: Counter[int] = Counter()

    def add(self, number: int, row: list[str]) -> None:
        label, group = self.layout.label, self.layout.group
        if len(row) != self.layout.width:
            self.ragged.append(number)
            return
        self.labels.append(self.known.setdefault(row[label], row[label]))
        if group is not None:
            self.groups.append(self.known.setdefault(row[group], row[group]))
        try:
            for part in self.readings:
                self.numbers.extend(map(float, row[part]))
        except ValueError:
            self._add_slowly(number, row)
            return
        if any("_" in cell for cell in row):
            self._add_slowly(number, row)
        elif not self.points and self.layout.separator != ",":
            self.points = any("." in cell for i, cell in enumerate(row) if i not in self.apart)

    def _add_slowly(self, number: int, row: list[str]) -> None:
        """Look at every cell of a row that is not all numbers."""
        wrong = False
        for i, cell in enumerate(row):
            if i in self.apart or _is_number(cell):
                self.points = self.points or (i not in self.apart and "." in cell)
                continue
            if self.layout.separator != "," and _is_comma(cell):
                self.first_comma = self.first_comma or cell
                self.grouped = self.grouped and _THOUSANDS.fullmatch(cell) is not None
                if self.commas[-1:] != [number]:
                    self.commas.append(number)
                continue
            self.texts[i] += 1
            if not wrong:
                wrong = True
                self.first_bad = self.first_bad if self.bad else (cell, i)
                self.bad.append(number)
        if not wrong:
            given = self.numbers
            del given[(len(self.labels) - 1) * (self.layout.width - len(self.apart)) :]
            cells = (cell for i, cell in enumerate(row) if i not in self.apart)
            given.extend(float(cell.replace(",", ".") if _is_comma(cell) else cell) for cell in cells)

    def arrays(self, label: str | None, groups: str | None = None) -> NamedArrays:
        """Return the arrays, or raise :class:`InvalidDataError` with everything that is wrong."""
        layout, name = self.layout, self.path.name
        problems = []
        if layout.width < 2:
            known = ", ".join(SEPARATORS.values())
            problems.append(
                Problem(name, "it has one column; features and a label are needed", f"part columns by {known}")
            )
        if not self.labels and not self.ragged:
            problems.append(Problem(name, "it has titles but no rows"))
        if self.ragged:
            by = "" if layout.separator == "," else f" by {SEPARATORS[layout.separator]}"
            why = f"{_lines(self.ragged)} do not have {layout.width} columns{by}, as the first line has"
            problems.append(Problem(name, why))
        if self.bad:
            problems.append(self._bad(label))
        if self.commas and (self.points or self.grouped):
            why = f"{_lines(self.commas)} hold commas inside numbers, the first {self.first_comma!r}"
            other = "others hold points" if self.points else "these may part thousands as well as decimals"
            problems.append(
                Problem(name, f"{why}; {other}", "write decimals with a point, and nothing between thousands")
            )
        longest = max(map(len, self.known), default=0)
        if longest > _LONGEST_LABEL or 4 * longest * len(self.labels) > MAXIMUM_TEXT:
            why = f"a label has {longest} characters, in {len(self.labels)} rows: that is more than labels need"
            problems.append(Problem(name, why, SETTLE))
        if problems:
            raise InvalidDataError(str(self.path), problems)
        if self.commas:
            layout.notes.append(
                f"decimal commas are read as points, as in {self.first_comma!r} on line {self.commas[0]}"
            )
        titles = tuple(title for i, title in enumerate(layout.titles) if i not in self.apart)
        x = np.frombuffer(self.numbers, dtype=np.float64).reshape(len(self.labels), layout.width - len(self.apart))
        if titles and not titles[0] and np.array_equal(x[:, 0] - x[:1, 0], np.arange(len(x))):
            layout.notes.append(
                "column 1 has no title and counts the rows: it is read as a feature (pandas: index=False)"
            )
        made = {"X": x, "y": np.array(self.labels)}
        if layout.group is None or groups is None:
            return NamedArrays(made, titles, tuple(layout.notes))
        place = layout.group - (layout.label < layout.group)
        own = layout.titles[layout.group] if layout.titles else ""
        return NamedArrays(made, titles, tuple(layout.notes), (place, own), np.array(self.groups))

    def _bad(self, label: str | None) -> Problem:
        (cell, column), layout = self.first_bad, self.layout
        why = f"{_lines(self.bad)} hold what is no number, the first {shown(cell, 40)!r}"
        remedy = "fill or drop missing values; only the label may be text"
        rows = len(self.labels)
        if label is None and len(self.texts) == 1 and self.texts[column] == rows:
            title = layout.titles[column] if layout.titles else str(column + 1)
            remedy = f"column {shown(title, 40)!r} is all text: if it is the label, give --label {shown(title, 40)}"
        return Problem(self.path.name, why, remedy)


def _lines(numbers: list[int]) -> str:
    text = ", ".join(map(str, numbers[:_SHOWN]))
    return f"lines {text}" + (f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else "")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
