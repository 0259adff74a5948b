"""The syntax of Liberty files: text (plain or gzip) -> groups, attributes and lists, in linear time and bounded depth."""

from __future__ import annotations

import functools
import gzip
import math
import re
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from approxhw.common.errors import LibraryError, Problem, shown
from approxhw.common.files import opened

TABLES = ("cell_rise", "cell_fall", "rise_transition", "fall_transition", "rise_constraint", "fall_constraint")
MAX_BYTES = 256_000_000
MAX_DEPTH = 40
MAX_SECONDS = 120


_KEPT = frozenset(
    (
        "library",
        "cell",
        "pin",
        "ff",
        "latch",
        "statetable",
        "leakage_power",
        "timing",
        "bus",
        "bundle",
        "lu_table_template",
        "operating_conditions",
        "wire_load",
        "test_cell",
        "ff_bank",
        "latch_bank",
        "memory",
        *TABLES,
    )
)


# Nothing here gives back what it has matched (``++``, ``*+``): every character of a file is looked at a bounded number of times.
_BLANKS = re.compile(r"[\s;]*+")
_NAME = re.compile(r"[A-Za-z_][\w.]*+")
_SPACES = re.compile(r"\s*+")
_VALUE = re.compile(r""""([^"]*+)"|([^;{}"\n]*+)""")
_ENDED = re.compile(r"[ \t\r]*+(?:;|\n|(?=\})|\Z)")
_INSIDE = re.compile(r"""(?:[^()"]++|"[^"]*+")*+""")
_COMMENT = re.compile(r'"[^"]*+"|/\*|//[^\n]*+')
_ARGUMENT = re.compile(r'"([^"]*+)"|([^",\s][^",]*+)')


@dataclass
class Group:
    """A Liberty group: its name and arguments, simple attributes, and the groups inside."""

    name: str
    args: tuple[str, ...]
    line: int
    attributes: dict[str, str] = field(default_factory=dict)
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)

    @functools.cached_property
    def _by_name(self) -> dict[str, list[Group]]:
        found: dict[str, list[Group]] = {}
        for group in self.groups:
            found.setdefault(group.name, []).append(group)
        return found

    def inside(self, name: str) -> Sequence[Group]:
        """Return the groups called *name* directly inside, once all of it is read."""
        return self._by_name.get(name, ())

    @functools.cached_property
    def templates(self) -> dict[str, Group]:
        """The templates of tables directly inside, by their own names; the first of a name counts."""
        return {group.label: group for group in reversed(self.inside("lu_table_template"))}

    @property
    def label(self) -> str:
        """Its first argument, which is its own name; empty where it has none."""
        return self.args[0] if self.args else ""


def liberty_text(path: Path) -> str:
    """Return the text of the file *path*, unpacked, comments blanked; raise :class:`LibraryError` where it cannot be read."""
    try:
        with opened(path) as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            whole = gzip.GzipFile(fileobj=file) if packed else file
            content = whole.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise LibraryError(str(path), [Problem(path.name, f"cannot be read whole: {shown(error)}")]) from error
    if len(content) > MAX_BYTES:
        why = f"larger than {MAX_BYTES // 1_000_000} MB (unpacked)"
        raise LibraryError(str(path), [Problem(path.name, why, "keep only the cells you need")])
    text = content.decode("utf-8-sig", errors="replace")
    return _without_comments(text.replace("\\\r\n", "  \n").replace("\\\n", " \n"))


def _without_comments(text: str) -> str:
    """Return *text* with blanks in place of comments; lines stay where they are."""
    parts, position = [], 0
    while (match := _COMMENT.search(text, position)) is not None:
        start, end = match.span()
        if text[start] == '"':
            parts.append(text[position:end])
            position = end
            continue
        if text[start + 1] == "*":
            closed = text.find("*/", end)
            end = len(text) if closed < 0 else closed + 2
        parts += (text[position:start], " ", "\n" * text.count("\n", start, end))
        position = end
    return "".join([*parts, text[position:]])


class _Reader:
    """One walk through the text: where it is, and the groups that are open."""

    def __init__(self, text: str, path: Path) -> None:
        self.text, self.path, self.at = text, path, 0
        self.counted, self.lines = 0, 1  # the line of a position before which all breaks are counted
        self.root = Group("", (), 0)
        self.kept = [self.root]
        self.skipped: list[int] = []  # lines of the open groups that are not kept

    def line(self) -> int:
        """Return the line of the place that is looked at; places only grow."""
        self.lines += self.text.count("\n", self.counted, self.at)
        self.counted = max(self.at, self.counted)
        return self.lines

    def refused(self, why: str, remedy: str = "") -> LibraryError:
        return LibraryError(str(self.path), [Problem(f"line {self.line()}", why, remedy)])

    def unreadable(self) -> LibraryError:
        self.past(_BLANKS)
        return self.refused(f"not Liberty syntax: {shown(self.text[self.at : self.at + 40].strip(), 40)!r}")

    def past(self, what: re.Pattern[str]) -> re.Match[str] | None:
        match = what.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
        return match

    def statement(self) -> None:
        """Read an attribute, a list, the head of a group, or the end of one."""
        start = self.at
        if self.text[self.at] == "}":
            self.close()
            self.at += 1
            return
        name = self.past(_NAME)
        self.past(_SPACES)
        mark = self.text[self.at : self.at + 1]
        if name is not None and mark == ":":
            self.at += 1
            self.past(_SPACES)
            value = self.past(_VALUE)
            if value is not None and self.past(_ENDED) is not None:
                if not self.skipped:
                    plain = value[1] if value[1] is not None else value[2]
                    self.kept[-1].attributes[name[0].lower()] = plain.strip()
                return
        elif name is not None and mark == "(":
            self.at += 1
            inside = self.past(_INSIDE)
            if inside is not None and self.text[self.at : self.at + 1] == ")":
                self.at += 1
                self.head(name[0].lower(), inside[0], start)
                return
        self.at = start
        raise self.unreadable()

    def head(self, name: str, inside: str, start: int) -> None:
        """Take what stands before and in brackets: a group where a brace follows, else a list."""
        self.past(_SPACES)
        if self.text[self.at : self.at + 1] != "{":
            if name == "include_file":
                self.at = start
                raise self.refused(
                    "other files are not read: include_file", "put the contents of that file in its place"
                )
            if not self.skipped:
                # the one attribute that a group has many of, each adding to the last
                before = self.kept[-1].lists.get(name, ()) if name == "fanout_length" else ()
                self.kept[-1].lists[name] = before + _arguments(inside)
            return
        after, self.at = self.at + 1, start
        line = self.line()
        if len(self.kept) + len(self.skipped) > MAX_DEPTH:
            raise self.refused(f"groups nested deeper than {MAX_DEPTH}")
        self.at = after
        if self.skipped or name not in _KEPT:
            self.skipped.append(line)
            return
        args = _arguments(inside)
        group = Group(name, args, line)
        self.kept[-1].groups.append(group)
        if name == "pin":  # pin (A, B) describes both
            self.kept[-1].groups += [
                Group(name, (each,), line, group.attributes, group.lists, group.groups) for each in args[1:]
            ]
        self.kept.append(group)

    def close(self) -> None:
        if self.skipped:
            self.skipped.pop()
        elif len(self.kept) > 1:
            self.kept.pop()
        else:
            raise self.refused("a closing brace too many")


def parse_library(text: str, path: Path) -> Group | None:
    """Return the library group; groups nobody needs are walked over, not kept.

    Takes time in proportion to the text. Raises :class:`LibraryError` with the line for what is no Liberty, for groups nested
    deeper than ``MAX_DEPTH``, and where it takes longer than ``MAX_SECONDS``.
    """
    reader, end = _Reader(text, path), len(text)
    started = time.monotonic()
    reader.past(_BLANKS)
    while reader.at < end:
        reader.statement()
        reader.past(_BLANKS)
        if time.monotonic() - started > MAX_SECONDS:
            raise reader.refused(f"not read within {MAX_SECONDS} s", "keep only the cells you need")
    if reader.skipped or len(reader.kept) > 1:
        opened_at = reader.skipped[-1] if reader.skipped else reader.kept[-1].line
        last = 1 + text.rstrip().count("\n")
        why = f"the file ends (line {last}) inside the group that line {opened_at} opens"
        raise LibraryError(str(path), [Problem(f"line {opened_at}", why, "the file is cut off: fetch it again")])
    return next((group for group in reader.root.groups if group.name == "library"), None)


def _arguments(text: str) -> tuple[str, ...]:
    found = _ARGUMENT.findall(text)
    return tuple(quoted.strip() if quoted or not plain else plain.strip() for quoted, plain in found)


def liberty_number(text: str, what: str, least: float = -math.inf) -> float:
    """Return *text* as a finite number; raise :class:`ValueError` that says *what* it is where it is none, or below *least*."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{what} is {text!r}, no finite number")
    if value < least:
        raise ValueError(f"{what} is {text!r}, below {least:g}")
    return value
