"""Options of passes and pipelines: read from text or Python values by their types, described, and spelled back."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from .errors import Problem, shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Tried = Any
"""What somebody gave for an option: whether it can be turned into a number is found out by trying."""

Keywords = dict[str, Any]
"""Values by name, each of the type that one certain dataclass or function declares for it: they are keywords for that."""


@dataclass(frozen=True)
class OptionInfo:
    """One option: its type as users read it, its default as users spell it, and what it is for."""

    name: str
    type: str
    default: str
    help: str


def suggestion(word: str, known: Sequence[str]) -> str:
    """Return ``; did you mean 'x'?``, or the list of what is known where nothing is near."""
    near = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}"


def options_of(maker: Callable[..., object]) -> tuple[OptionInfo, ...]:
    """Return the options of a dataclass (its fields, ``metadata['help']``) or of a function (its parameters)."""
    helps = {}
    if dataclasses.is_dataclass(maker):
        helps = {f.name: f.metadata.get("help", "") for f in dataclasses.fields(maker)}
    return tuple(
        OptionInfo(name, _type_name(hint), _spell_value(default), helps.get(name, ""))
        for name, (hint, default) in _declared(maker).items()
    )


def option_class_problem(cls: object) -> str | None:
    """Return why *cls* cannot be a class whose fields are options; None where it can.

    It is a frozen dataclass, and each field has a default and a type that texts can be read as.
    """
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls) and vars(cls)["__dataclass_params__"].frozen):
        return "it is no frozen dataclass"
    for f in dataclasses.fields(cls):
        if f.default is dataclasses.MISSING:
            return f"its field {f.name} has no default"
        hint = typing.get_type_hints(cls)[f.name]
        if not all(_is_numbers(variant) or variant in _READERS for variant in _variants(hint)):
            return f"its field {f.name} has a type that is no option: int, float, bool, str, None or tuple[float, ...]"
    return None


def _declared(maker: Callable[..., object]) -> dict[str, tuple[object, object]]:
    """Return type and default of each option."""
    hints = typing.get_type_hints(maker)
    if dataclasses.is_dataclass(maker):
        return {f.name: (hints[f.name], f.default) for f in dataclasses.fields(maker)}
    return {p.name: (hints[p.name], p.default) for p in inspect.signature(maker).parameters.values()}


def read_options(
    maker: Callable[..., object], given: Mapping[str, object], subject: str
) -> tuple[Keywords, list[Problem]]:
    """Return *given* (texts or Python values) as the types that *maker* declares, and every problem with them."""
    declared, values, problems = _declared(maker), {}, []
    for name, value in given.items():
        key = name.replace("-", "_")
        if key not in declared:
            why = (
                f"{subject} has no such option{suggestion(key, list(declared))}"
                if declared
                else f"{subject} has no options"
            )
            problems.append(Problem(f"{subject}.{name}", why))
            continue
        try:
            values[key] = _read(value, declared[key][0])
        except ValueError:
            why = f"{shown(value)!r} is no {_type_name(declared[key][0])}"
            problems.append(Problem(f"{subject}.{name}", why))
    return values, problems


def _variants(hint: object) -> tuple[object, ...]:
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def _is_numbers(hint: object) -> bool:
    return typing.get_origin(hint) is tuple


def _read(value: object, hint: object) -> object:
    """Return *value* as one of the types of *hint*; raise ``ValueError`` where it is none."""
    for variant in sorted(_variants(hint), key=lambda v: v is str):  # a text is anything: it comes last
        reader = _read_numbers if _is_numbers(variant) else _READERS[variant]
        try:
            return reader(value)
        except (ValueError, TypeError):
            continue
    raise ValueError(str(value))


def _read_int(value: object) -> int:
    if isinstance(value, bool) or not (isinstance(value, int) or re.fullmatch(r"[+-]?\d{1,9}", str(value))):
        raise ValueError
    return int(value) if isinstance(value, int) else int(str(value))


def _read_float(value: Tried) -> float:
    """Read a number; a text such as 0.5% is a hundredth of it."""
    share = isinstance(value, str) and value.endswith("%")
    number = float(str(value).removesuffix("%")) / 100 if share else float(value)
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError
    return number


def _read_numbers(value: Tried) -> tuple[float, ...]:
    parts = value.split(":") if isinstance(value, str) else [value] if isinstance(value, int | float) else list(value)
    return tuple(_read_float(part) for part in parts)


def _read_bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "yes": True, "false": False, "no": False}.get(str(value).lower()) or _false(value)


def _false(value: object) -> bool:
    if str(value).lower() not in ("false", "no"):
        raise ValueError
    return False


def _read_none(value: object) -> None:
    if value is not None and str(value).lower() != "none":
        raise ValueError


def _read_str(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


_READERS: dict[object, Callable[[object], object]] = {
    int: _read_int,
    float: _read_float,
    bool: _read_bool,
    str: _read_str,
    type(None): _read_none,
}


def _type_name(hint: object) -> str:
    names: dict[object, str] = {int: "integer", float: "number", bool: "true/false", str: "text", type(None): "none"}
    return " or ".join("numbers a:b:c" if _is_numbers(variant) else names[variant] for variant in _variants(hint))


def _spell_value(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, tuple):
        return ":".join(map(_spell_value, value))
    return repr(value) if isinstance(value, float) else str(value)


def spell_call(name: str, item: object) -> str:
    """Return ``name{option=value,…}`` for a dataclass object; options at their default are left out."""
    parts = [
        f"{f.name}={_spell_value(getattr(item, f.name))}"
        for f in dataclasses.fields(cast("DataclassInstance", item))
        if getattr(item, f.name) != f.default
    ]
    return f"{name}{{{','.join(parts)}}}" if parts else name


_CALL = re.compile(r"\s*([A-Za-z0-9_-]{1,60})\s*(?:\{([^{}]{0,4000})\})?\s*(?:,|\Z)")


def parse_calls(text: str) -> tuple[list[tuple[str, dict[str, str]]], list[Problem]]:
    """Split ``a,b{x=1,y=2}`` into names with their options as texts; what does not fit comes back as problems."""
    calls: list[tuple[str, dict[str, str]]] = []
    at = 0
    while at < len(text):
        match = _CALL.match(text, at)
        if not match:
            why = f"cannot read {shown(text[at:], 40)!r}"
            return calls, [Problem("passes", why, "write name{option=value,option=value},name,…")]
        options = {}
        for part in (match[2] or "").split(","):
            key, equals, value = part.partition("=")
            if not equals and part.strip():
                return calls, [Problem(match[1], f"option {shown(part.strip())!r} has no value", "write option=value")]
            if equals:
                options[key.strip()] = value.strip()
        calls.append((match[1], options))
        at = match.end()
    if not calls:
        return calls, [Problem("passes", "no pass is named", "write at least one, such as narrow-formats")]
    return calls, []


def integer_problems(options: object, least: Mapping[str, int]) -> list[Problem]:
    """Return what is wrong with the fields of *options* that must be integers, each of at least so much (bools are none)."""
    given = {name: getattr(options, name) for name in least}
    return [
        Problem(name, f"{value!r} is no integer of {least[name]} or more")
        for name, value in given.items()
        if isinstance(value, bool) or not isinstance(value, int) or value < least[name]
    ]
