"""The syntax of Liberty files: text (plain or gzip) -> groups, attributes and lists, in one pass and bounded depth."""

from __future__ import annotations

import gzip
import math
import re
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from approxhw.common.errors import LibraryError, Problem, shown

TABLES = ("cell_rise", "cell_fall", "rise_transition", "fall_transition", "rise_constraint", "fall_constraint")
MAX_BYTES = 256_000_000


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


_STATEMENT = re.compile(
    r"""\s*(?:(?P<close>\})|(?P<name>[A-Za-z_][\w.]*)\s*
    (?: : \s* (?P<value>"[^"]*"|[^;{}"\n]*?) \s* (?:;|\n|(?=\})|\Z)
      | \( (?P<args>(?:"[^"]*"|[^()"])*) \) \s* (?P<open>\{)? \s* ;?
    ) | ; )""",
    re.VERBOSE,
)


_COMMENT = re.compile(r'"[^"]*"|/\*.*?(?:\*/|\Z)|//[^\n]*', re.DOTALL)


@dataclass
class Group:
    """A Liberty group: its name and arguments, simple attributes, and the groups inside."""

    name: str
    args: tuple[str, ...]
    line: int
    attributes: dict[str, str] = field(default_factory=dict)
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)

    def inside(self, name: str) -> Iterator[Group]:
        """Return the groups called *name* directly inside."""
        return (group for group in self.groups if group.name == name)

    @property
    def label(self) -> str:
        """Its first argument, which is its own name; empty where it has none."""
        return self.args[0] if self.args else ""


def liberty_text(path: Path) -> str:
    """Return the text of the file *path*, unpacked, comments blanked; raise :class:`LibraryError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as whole:
            content = whole.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise LibraryError(str(path), [Problem(path.name, f"cannot be read whole: {shown(error)}")]) from error
    if len(content) > MAX_BYTES:
        why = f"larger than {MAX_BYTES // 1_000_000} MB (unpacked)"
        raise LibraryError(str(path), [Problem(path.name, why, "keep only the cells you need")])
    text = content.decode("utf-8", errors="replace").replace("\\\r\n", "  \n").replace("\\\n", " \n")

    def blank(match: re.Match[str]) -> str:
        found = match.group()
        return found if found.startswith('"') else re.sub(r"[^\n]", " ", found)

    return _COMMENT.sub(blank, text)


def parse_library(text: str, path: Path) -> Group | None:
    """Return the library group; groups nobody needs are walked over, not kept."""
    breaks = [match.start() for match in re.finditer("\n", text)]
    root = Group("", (), 0)
    stack = [root]
    skipped: list[int] = []  # lines of the open groups that are not kept
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _STATEMENT.match(text, position)
        if match is None:
            line = bisect_right(breaks, position + len(text[position:]) - len(text[position:].lstrip())) + 1
            excerpt = shown(text[position : position + 40].strip(), 40)
            raise LibraryError(str(path), [Problem(f"line {line}", f"not Liberty syntax: {excerpt!r}")])
        position = match.end()
        if match["close"]:
            if skipped:
                skipped.pop()
            elif len(stack) > 1:
                stack.pop()
            else:
                line = bisect_right(breaks, match.start("close")) + 1
                raise LibraryError(str(path), [Problem(f"line {line}", "a closing brace too many")])
        elif match["open"]:
            line = bisect_right(breaks, match.start("name")) + 1
            if len(stack) + len(skipped) > 40:
                raise LibraryError(str(path), [Problem(f"line {line}", "groups nested deeper than 40")])
            if skipped or match["name"] not in _KEPT:
                skipped.append(line)
            else:
                group = Group(match["name"], _arguments(match["args"]), line)
                stack[-1].groups.append(group)
                stack.append(group)
        elif match["name"] and not skipped:
            if match["value"] is not None:
                stack[-1].attributes[match["name"]] = match["value"].strip('"').strip()
            else:
                # the one attribute that a group has many of, each adding to the last
                before = stack[-1].lists.get(match["name"], ()) if match["name"] == "fanout_length" else ()
                stack[-1].lists[match["name"]] = before + _arguments(match["args"])
    if skipped or len(stack) > 1:
        opened = skipped[-1] if skipped else stack[-1].line
        last = bisect_left(breaks, end) + 1
        why = f"the file ends (line {last}) inside the group that line {opened} opens"
        raise LibraryError(str(path), [Problem(f"line {opened}", why, "the file is cut off: fetch it again")])
    return next((group for group in root.groups if group.name == "library"), None)


def _arguments(text: str) -> tuple[str, ...]:
    found = re.findall(r'"([^"]*)"|([^",\s][^",]*)', text)
    return tuple(quoted.strip() if quoted or not plain else plain.strip() for quoted, plain in found)


def liberty_number(text: str, what: str) -> float:
    """Return *text* as a finite number; raise :class:`ValueError` that says *what* it is where it is none."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{what} is {text!r}, no finite number")
    return value
