"""Activation units as plain data for texts, and back: what is read is checked, field by field."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from approxhw.common.errors import shown

from .units import ActivationUnit, Core, Differences, Entries, Fold, Level, Pieces, Ratios, unit_faults

_CORES: dict[str, type[Any]] = {"table": Entries, "differences": Differences, "pieces": Pieces, "ratios": Ratios}
"""Word → core. Any: each has fields of its own, by which it is called."""


def unit_words(unit: ActivationUnit) -> dict[str, object]:
    """Return *unit* as words, numbers and lists; fields at their default are left out."""
    word = next(word for word, core in _CORES.items() if isinstance(unit.core, core))
    made: dict[str, object] = {
        "x": f"{'s' if unit.signed else 'u'}{unit.bits}",
        "y": f"{'s' if unit.out_signed else 'u'}{unit.out_bits}",
    }
    if unit.fold is not None:
        made["fold"] = {
            field.name: value for field in fields(Fold) if (value := getattr(unit.fold, field.name)) != field.default
        }
    return made | {word: {field.name: _listed(getattr(unit.core, field.name)) for field in fields(unit.core)}}


def unit_of_words(value: object) -> ActivationUnit:
    """Return the unit that *value* is the words of; raise ``ValueError`` that says why it is none."""
    given = _mapping(value, "a unit")
    words = [word for word in given if word in _CORES]
    unknown = sorted(set(given) - {"x", "y", "fold", *_CORES})
    if unknown or len(words) != 1:
        said = f"not {shown(', '.join(unknown), 60)}" if unknown else f"and one of {', '.join(_CORES)}"
        raise ValueError(f"a unit has x, y, perhaps fold, {said}")
    unit = ActivationUnit(
        *_code(given.get("x")), *_code(given.get("y")), _core(words[0], given), _fold(given.get("fold"))
    )
    if faults := unit_faults(unit):
        raise ValueError("; ".join(faults))
    return unit


def _core(word: str, given: dict[str, object]) -> Core:
    kind, inside = _CORES[word], _mapping(given[word], f"a unit's {word}")
    names = [field.name for field in fields(kind)]
    if sorted(inside) != sorted(names):
        raise ValueError(f"a unit's {word} has {', '.join(names)}")
    core: Core = kind(**{name: _tupled(inside[name], _DEPTHS[kind, name]) for name in names})
    return core


_DEPTHS: dict[tuple[type[Any], str], str] = {
    (Entries, "values"): "row",
    (Differences, "coarse"): "row",
    (Differences, "levels"): "levels",
    (Pieces, "starts"): "row",
    (Pieces, "rows"): "rows",
    (Pieces, "shifts"): "row",
    (Ratios, "starts"): "row",
    (Ratios, "numerators"): "rows",
    (Ratios, "denominators"): "rows",
    (Ratios, "low"): "one",
}
"""Core and field → what it holds: one integer, a row of them, rows, or levels."""


def _tupled(value: object, depth: str) -> Any:
    """Return lists of integers as tuples. Any: what *depth* says."""
    if depth == "one":
        if type(value) is not int or abs(value) >= 1 << 62:
            raise ValueError(f"an integer is needed, not {shown(value)!r}")
        return value
    if not isinstance(value, list):
        raise ValueError(f"a list is needed, not {shown(value)!r}")
    if depth == "levels":
        if not all(isinstance(each, list) and len(each) == 4 for each in value):
            raise ValueError("a level is a list: bits, fine, low, and the list of its differences")
        return tuple(
            Level(_tupled(bits, "one"), _tupled(fine, "one"), _tupled(low, "one"), _tupled(entries, "row"))
            for bits, fine, low, entries in value
        )
    return tuple(_tupled(each, "one" if depth == "row" else "row") for each in value)


def _listed(value: object) -> object:
    if isinstance(value, Level):
        return [value.bits, value.fine, value.low, list(value.differences)]
    return [_listed(each) for each in value] if isinstance(value, tuple) else value


def _mapping(value: object, said: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError(f"{said} is a mapping, not {shown(value)!r}")
    return value


def _code(value: object) -> tuple[int, bool]:
    """Read a spelling such as ``s8``: bits, and whether it is signed."""
    if not isinstance(value, str) or not value[1:].isdigit() or value[0] not in "su" or len(value) > 3:
        raise ValueError(f"a unit's code is spelled as s8 or u8, not {shown(value)!r}")
    return int(value[1:]), value[0] == "s"


def _fold(value: object) -> Fold | None:
    if value is None:
        return None
    given = _mapping(value, "a unit's fold")
    kinds = {"inverted": bool, "subtract": bool, "slope": int, "offset": int, "shift": int, "most": int}
    wrong = [name for name, each in given.items() if type(each) is not kinds.get(name)]
    if wrong:
        known = "truth values inverted and subtract, integers slope, offset, shift and most"
        raise ValueError(f"a unit's fold has {known}, not {shown(wrong[0])}")
    numbers = [each for each in given.values() if isinstance(each, int)]
    if any(abs(each) >= 1 << 40 for each in numbers):
        raise ValueError("the numbers of a unit's fold have at most 40 bits")
    return Fold(**{"inverted": False, "subtract": False, **given})  # type: ignore[arg-type]  # looked at above
