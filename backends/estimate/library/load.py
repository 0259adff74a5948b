"""Load a cell library: a built-in table by its name, a table of one's own, or a Liberty file."""

from __future__ import annotations

import difflib
import functools
import math
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.common.errors import LibraryError, OptionError, Problem, shown
from approxhw.common.files import is_plain_file, other_kind, read_text
from approxhw.common.plugins import load_plugin, plugins

from . import logic
from .cells import Cell, CellLibrary, FlipFlop, check_cell
from .liberty import read_liberty
from .memories import memory_table
from .table_timing import shared_timing, table_timing

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

TABLES = Path(__file__).parent / "tables"


ALIASES = {"egfet_1v0": "egfet", "sky130_hd": "sky130"}


MAX_TABLE_BYTES = 4_000_000
MOST_KEY_PARTS = 2_000_000
"""Most squares of points in a line, summed up: tomllib takes time by the square of the parts of a key."""


_UNITS: dict[str, dict[str, float]] = {
    "area": {"mm2": 1.0, "um2": 1e-6},
    "power": {"mW": 1e3, "uW": 1.0, "nW": 1e-3, "pW": 1e-6},
    "capacitance": {"nF": 1e-9, "pF": 1e-12, "fF": 1e-15},
    "delay": {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6, "ps": 1e-9},
}


def built_in_libraries() -> tuple[str, ...]:
    """Return the names of the tables that come with approxhw."""
    return tuple(sorted(file.stem for file in TABLES.glob("*.toml")))


def load_library(library: str | Path | CellLibrary) -> CellLibrary:
    """Return a library by name, built in or of another package, or that in a file: ``.toml``, Liberty (``.lib``, ``.lib.gz``).

    Raises :class:`OptionError` for a name that is neither, :class:`LibraryError` listing what is wrong with a file.
    """
    if isinstance(library, CellLibrary):
        return library
    name, added = ALIASES.get(str(library), str(library)), _added()
    if name in built_in_libraries():
        return _built_in(name)
    if name in added:
        return _library_of(name, added[name])
    path = Path(library)
    if not is_plain_file(path):
        known = [*built_in_libraries(), *ALIASES, *added]
        near = difflib.get_close_matches(str(library), known, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        kind = other_kind(path)
        there = f"that is {kind}" if kind else "no file of that name"
        why = f"no built-in library and {there}; {hint}built in are: {', '.join(known)}"
        raise OptionError(
            "library", [Problem(shown(library), why, "name one of them, or a Liberty file (.lib, .lib.gz)")]
        )
    return replace(_read(path), file=str(path))


def _read(path: Path) -> CellLibrary:
    return _read_table(path) if path.suffix == ".toml" else read_liberty(path)


def _added() -> dict[str, EntryPoint]:
    """Return the libraries of other packages by name (docs/plugins.md)."""
    return plugins("cell_libraries", {*built_in_libraries(), *ALIASES}.__contains__)


def _library_of(name: str, entry: EntryPoint) -> CellLibrary:
    """Return the library that another package calls *name*; estimates are kept under that name, whatever its file says."""
    found = load_plugin(entry, "a CellLibrary or the path of a file", _misfit)
    return replace(found if isinstance(found, CellLibrary) else _read(Path(found)), name=name)


def _misfit(found: object) -> str | None:
    if isinstance(found, CellLibrary):
        return None
    if not isinstance(found, str | Path):
        return f"it is of type {type(found).__name__}"
    return None if is_plain_file(Path(found)) else f"there is no file {shown(found, 160)}"


@functools.cache
def _built_in(name: str) -> CellLibrary:
    return _read_table(TABLES / f"{name}.toml")


def _read_table(path: Path) -> CellLibrary:
    try:
        text = read_text(path, MAX_TABLE_BYTES)
        if sum(line.count(".") ** 2 for line in text.split("\n")) > MOST_KEY_PARTS:
            raise ValueError("keys of too many parts")
        content = tomllib.loads(text)
    except RecursionError as error:
        why = "not a readable TOML table: lists or tables nested too deep"
        raise LibraryError(str(path), [Problem(path.name, why)]) from error
    except (OSError, ValueError) as error:  # also of whole numbers with more digits than Python reads
        raise LibraryError(str(path), [Problem(path.name, f"not a readable TOML table: {shown(error)}")]) from error
    problems: list[Problem] = []
    scales = _scales(content.get("units", {}), problems)
    voltage = _number(content, "voltage", "library", problems, above_zero=True)
    frequency = _number(content, "frequency", "library", problems, above_zero=True)
    for key in ("title", "source", "delay_point"):
        if not isinstance(content.get(key), str):
            problems.append(Problem("library", f"no text `{key}`"))
    listed = content.get("cells")
    if not isinstance(listed, dict) or not listed:
        problems.append(Problem("library", "no [cells] table"))
        listed = {}
    cells = {}
    shared = shared_timing(content.get("timing"), scales, problems)
    for name, entry in listed.items():
        cell = _cell(name, entry, scales, problems)
        if cell is not None and "timing" in entry:
            timing = table_timing(cell, entry["timing"], shared, scales, problems)
            cell = replace(cell, timing=timing)
        if cell is not None:
            cells[name] = cell
    tie = content.get("tie", "")
    if tie and tie not in cells:
        problems.append(Problem("library", f"tie cell {shown(tie)} is not in [cells]"))
    memories = memory_table(content.get("memories"), problems)
    if problems:
        raise LibraryError(str(path), problems)
    return CellLibrary(
        path.stem,
        content["title"],
        voltage,
        frequency,
        cells,
        content["delay_point"],
        tie,
        content["source"],
        wires=None if shared is None else shared.wires,
        memories=memories,
    )


def _scales(units: object, problems: list[Problem]) -> dict[str, float]:
    scales = {}
    for quantity, known in _UNITS.items():
        unit = units.get(quantity) if isinstance(units, dict) else None
        if not isinstance(unit, str) or unit not in known:
            problems.append(Problem("units", f"`{quantity}` is not one of {', '.join(known)}"))
        scales[quantity] = known.get(unit, 1.0) if isinstance(unit, str) else 1.0
    return scales


def _number(
    table: Mapping[str, object], key: str, where: str, problems: list[Problem], above_zero: bool = False
) -> float:
    value = table.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        problems.append(Problem(where, f"`{key}` is not a finite number"))
        return 1.0
    if value < 0 or (above_zero and value == 0):
        problems.append(Problem(where, f"`{key}` is {value}, and must be {'above' if above_zero else 'at least'} 0"))
    return float(value)


def _numbers(entry: Mapping[str, object], key: str, where: str, problems: list[Problem]) -> dict[str, float]:
    table = entry.get(key, {})
    if not isinstance(table, dict):
        problems.append(Problem(where, f"`{key}` is not a table"))
        return {}
    return {name: _number(table, name, f"{where} {key}", problems) for name in table}


def _cell(name: str, entry: object, scales: Mapping[str, float], problems: list[Problem]) -> Cell | None:
    where = f"cell {shown(name)}"
    before = len(problems)
    if not isinstance(entry, dict):
        problems.append(Problem(where, "not a table"))
        return None
    area = _number(entry, "area", where, problems) * scales["area"]
    capacitances = {k: v * scales["capacitance"] for k, v in _numbers(entry, "capacitance", where, problems).items()}
    powers = {k: v * scales["power"] for k, v in _numbers(entry, "power", where, problems).items()}
    functions = _functions(entry.get("function"), where, problems)
    delays = {}
    for pin in functions:
        listed = entry.get("delay", {})
        figures = _numbers(listed, pin, where, problems) if isinstance(listed, dict) else {}
        if functions[pin].pins() and "timing" not in entry and set(figures) != {"rise", "fall"}:
            problems.append(Problem(where, f"`delay.{shown(pin)}` does not give rise and fall"))
        delays[pin] = (figures.get("rise", 0.0) * scales["delay"], figures.get("fall", 0.0) * scales["delay"])
    if not isinstance(entry.get("source"), dict) or not set(entry["source"]) >= {"area", "power"}:
        problems.append(Problem(where, "`source` does not name where area and power come from"))
    flop = _flop(entry["flop"], where, problems) if "flop" in entry else None
    cell = Cell(name, area, tuple(capacitances), functions, capacitances, powers, delays, flop)
    if capacitances and "area" in entry and entry["area"] == 0:
        problems.append(Problem(where, "`area` is 0: the cell would cost nothing", "give its area, or leave it out"))
    problems += check_cell(cell)
    return cell if len(problems) == before else None


def _functions(table: object, where: str, problems: list[Problem]) -> dict[str, logic.Expression]:
    functions: dict[str, logic.Expression] = {}
    if not isinstance(table, dict) or not table:
        problems.append(Problem(where, "no table `function` of output pins"))
        return functions
    for pin, text in table.items():
        found = _expression(text, f"{where} function.{shown(pin)}", problems)
        if found is not None:
            functions[pin] = found
    return functions


def _expression(text: object, where: str, problems: list[Problem]) -> logic.Expression | None:
    try:
        return logic.parse_expression(str(text))
    except ValueError as error:
        problems.append(Problem(where, f"not a Boolean expression: {shown(error)}"))
        return None


def _flop(table: object, where: str, problems: list[Problem]) -> FlipFlop | None:
    if (
        not isinstance(table, dict)
        or not {"clock", "data"} <= set(table)
        or table.get("edge") not in ("rising", "falling")
    ):
        problems.append(Problem(where, "`flop` must give clock, data and edge (rising or falling)"))
        return None
    found = {k: _expression(table[k], f"{where} flop.{k}", problems) for k in ("data", "clear", "preset") if k in table}
    data = found["data"]
    if data is None:
        return None
    return FlipFlop(str(table["clock"]), table["edge"] == "rising", data, found.get("clear"), found.get("preset"))
