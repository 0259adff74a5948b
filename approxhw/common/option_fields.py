"""One source for an option: the fields of a frozen dataclass as options, and the object that given values make.

A field is an option where it has a help text (``metadata["help"]``, as :func:`option` writes it) or where its type is
a dataclass itself, whose fields then are options, too. Its name, type, default, choices and help are the option's.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, cast, overload

from .errors import OptionError, Problem, shown
from .options import Keywords

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Choices = Iterable[str] | Callable[[], Iterable[str]] | str
"""What a text may be, a function that finds it, or ``module:function`` of one that is loaded when somebody asks.

Tab and help tell them; whether another text is wrong is for its reader to say, in its own words."""


T = TypeVar("T")
OptionsT = TypeVar("OptionsT", bound="DataclassInstance")

Value = Any
"""A value of the type that a field declares, or the field itself, which stands in a class where such a value would."""


def field_of(maker: type[DataclassInstance], name: str) -> Value:
    """Return a field with the default and the help that it has in *maker*: options that are handed on stand in one place."""
    known = maker.__dataclass_fields__[name]
    return dataclasses.field(default=known.default, metadata=known.metadata)


class _Words(TypedDict, total=False):
    """What may be told of an option besides what it is for; :func:`option` says what each of them means."""

    choices: Choices
    metavar: str
    short: str
    shown_default: str
    least: int
    most: int
    above: bool
    below: bool
    """*most* itself is too great."""
    fewest: int
    """Least integer of all that give the option, not only of a command line."""
    joined: str
    unit: str
    positional: bool
    compile_only: bool
    option: bool
    """False: the field has a help text, and is none."""
    without: str
    """Of a dataclass whose fields are options: the mark of those that stay out."""


class About(_Words, total=False):
    """The metadata of a field that is an option."""

    help: str


@overload
def option(help: str, **about: Unpack[_Words]) -> Value: ...
@overload
def option(help: str, default: T, **about: Unpack[_Words]) -> T: ...
def option(help: str, default: object = MISSING, **about: Unpack[_Words]) -> Value:
    """Return a field that is an option; without *default* it must be given.

    *about*: ``choices`` (see :data:`Choices`), ``metavar``, ``short`` (``-o``), ``shown_default`` (words for a default of
    None), ``least`` and ``most`` (checked as the words are read; ``above``: *least* itself is too small), ``joined`` (the
    option that several integers share, as in 16x16), ``unit`` (``share``: 5% or 0.05), ``compile_only`` (a search decides it).
    """
    return dataclasses.field(default=default, kw_only=True, metadata={"help": help, **about})


def argument(help: str, default: object = MISSING, **about: Unpack[_Words]) -> Value:
    """Return a field that is given by its place instead of its name; without *default* it must be given.

    One of type ``tuple[str, ...]`` takes all that follows.
    """
    about["positional"] = True
    return option(help, default, **about)


def nested(default: T, without: str = "") -> T:
    """Return a field whose dataclass contributes its options; those with the mark *without* in their metadata stay out."""
    return dataclasses.field(default=default, kw_only=True, metadata={"without": without})


@dataclass(frozen=True)
class OptionField:
    """One option: ``name`` as in Python, types without None, default (``MISSING``: must be given), all metadata.

    ``path``: names of the nested dataclasses that hold it. ``parts``: the fields that its text gives, several where one
    option gives them all (``rows`` and ``columns`` of ``array``).
    """

    name: str
    types: tuple[object, ...]
    default: Value
    about: About
    path: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """How the option is written: ``--weight-bits``; what is given by its place is called as help calls it."""
        if self.about.get("positional"):
            return str(self.about.get("metavar", self.name.upper()))
        return f"--{self.name.replace('_', '-')}"

    @property
    def help(self) -> str:
        """What it is for."""
        return str(self.about.get("help", ""))

    @property
    def joined(self) -> bool:
        """Whether one text gives several integers, as 16x16 does."""
        return "joined" in self.about

    @property
    def repeated(self) -> bool:
        """Whether it may be given more than once: texts of which there are any number."""
        texts = any(typing.get_origin(kind) is tuple and typing.get_args(kind)[0] is str for kind in self.types)
        return texts and str not in self.types  # where a text will do, it holds them all

    @property
    def metavar(self) -> str | None:
        """What stands for the value in help; None where the type says it."""
        if self.joined:
            return "x".join(part.upper() for part in self.parts)
        plain = "SHARE" if self.about.get("unit") == "share" else "NUMBER,…" if self.is_numbers else None
        return self.about.get("metavar", plain)

    @property
    def is_numbers(self) -> bool:
        """Whether one text gives any number of numbers, with commas between."""
        return any(typing.get_origin(kind) is tuple and typing.get_args(kind)[0] is not str for kind in self.types)

    def choices(self) -> tuple[str, ...]:
        """Return what the text may be; empty where that cannot be listed."""
        found = self.about.get("choices", ())
        if isinstance(found, str):
            module, _, name = found.partition(":")
            found = getattr(importlib.import_module(module), name)
        return tuple(found() if callable(found) else found)

    def spelled(self) -> str:
        """Return the default as users write it; empty where there is none."""
        if "shown_default" in self.about:
            return str(self.about["shown_default"])
        if self.default in (MISSING, None, False, ()):
            return ""
        if self.joined:
            return "x".join(map(str, self.default))
        if self.about.get("unit") == "share":
            return f"{100 * self.default:g}%"
        if isinstance(self.default, tuple):
            words = (value if isinstance(value, str) else f"{value:g}" for value in self.default)
            return " ".join(words) if self.repeated else ",".join(words)
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


def option_fields(maker: type[DataclassInstance], default: object = None, without: str = "") -> tuple[OptionField, ...]:
    """Return the options of the dataclass *maker*, nested ones in their place; defaults are those of the object *default*."""
    found: dict[str, OptionField] = {}
    for item in dataclasses.fields(maker):
        about = cast("About", item.metadata)
        if (without and about.get(without)) or about.get("option") is False:
            continue
        kinds = _types(maker, item)
        inner = next((kind for kind in kinds if isinstance(kind, type) and dataclasses.is_dataclass(kind)), None)
        value = _default(item) if default is None else getattr(default, item.name)
        if inner is not None and str not in kinds:
            start = None if value is MISSING else value
            for each in option_fields(inner, start, about.get("without") or without):
                found[each.name] = dataclasses.replace(each, path=(item.name, *each.path))
        elif about.get("joined") in found:
            first = found[about["joined"]]
            parts = (*first.parts, item.name)
            found[first.name] = dataclasses.replace(first, parts=parts, default=(*first.default, value))
        elif "joined" in about:
            found[about["joined"]] = OptionField(about["joined"], kinds, (value,), about, (), (item.name,))
        elif "help" in about:
            found[item.name] = OptionField(item.name, kinds, value, about, (), (item.name,))
    return tuple(found.values())


def _default(item: dataclasses.Field[object]) -> Value:
    return item.default if item.default_factory is MISSING else item.default_factory()


def _types(maker: type[object], item: dataclasses.Field[object]) -> tuple[object, ...]:
    """Return the types of a field without None; of one that is no option they may be known to type checkers alone."""
    if not isinstance(item.type, str):
        hint: object = item.type
    else:
        alone = types.SimpleNamespace(__annotations__={item.name: item.type})
        try:
            hint = typing.get_type_hints(alone, vars(sys.modules[maker.__module__]))[item.name]
        except NameError:
            if "help" in item.metadata:
                raise
            return ()
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    return tuple(kind for kind in kinds if kind is not type(None))


def build_options(
    maker: type[OptionsT], given: Mapping[str, object], problems: list[Problem], default: OptionsT | None = None
) -> OptionsT | None:
    """Return *maker*, or *default* with changes, of what was *given* by the names of its options.

    What a text cannot mean, and what the dataclasses refuse, goes to *problems*; such values stay as by default, so that
    everything else can still be looked at. None is returned where nothing can be made at all.
    """
    values: Keywords = {}
    inner: dict[str, dict[str, object]] = {}
    for item in option_fields(maker, default):
        if item.name not in given:
            continue
        if item.path:
            inner.setdefault(item.path[0], {})[item.name] = given[item.name]
            continue
        try:
            made = read_value(item, given[item.name])
            values.update(zip(item.parts, made) if item.joined else {item.name: made})
        except OptionError as error:
            problems += error.problems
    for each in dataclasses.fields(maker):
        if each.name in inner:
            start = _default(each) if default is None else getattr(default, each.name)
            start = None if start is MISSING else start
            kind = next(
                kind for kind in _types(maker, each) if isinstance(kind, type) and dataclasses.is_dataclass(kind)
            )
            made = build_options(kind, inner[each.name], problems, start)
            values.update({} if made is None else {each.name: made})
    try:
        return maker(**values) if default is None else dataclasses.replace(default, **values)
    except OptionError as error:
        problems += error.problems
        return default
    except TypeError:  # what must be given was not, or was refused above
        if not problems:
            raise
        return None


def read_value(item: OptionField, value: object) -> Value:
    """Return *value*, a text or what is of the type already, as the option means it; raise :class:`OptionError`."""
    if item.joined:
        return _read_joined(item, str(value))
    if item.about.get("unit") == "share":
        return share_of(value, item.name)
    if isinstance(value, str) and item.is_numbers:
        return _read_numbers(item, value)
    least = item.about.get("fewest")
    if least is not None and isinstance(value, int) and value < least:
        why = f"{shown(repr(value), 40)} is no integer of {least} or more"
        raise OptionError("options", [Problem(item.name, why)])
    return value


def _read_joined(item: OptionField, text: str) -> tuple[int, ...]:
    numbers = text.replace("×", "x").split("x")
    if len(numbers) != len(item.parts) or not all(n.isascii() and n.isdigit() and len(n) < 5 for n in numbers):
        why = f"{shown(text, 40)!r} is no {item.metavar}"
        raise OptionError("options", [Problem(item.flag, why, f"such as {item.spelled()}")])
    return tuple(map(int, numbers))


def _read_numbers(item: OptionField, text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        why = f"{shown(text)!r} is no finite number, nor such numbers with commas between"
        raise OptionError("options", [Problem(item.flag, why, "such as 0 or 0,0,-1.5")])
    return numbers


def share_of(value: object, option: str, lowest: float = 0.0) -> float:
    """Return ``"5%"``, ``"0.05"`` or 0.05 as a fraction; raise :class:`OptionError` for anything else than 0 to 1."""
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = math.nan
    if isinstance(value, bool) or not lowest <= number <= 1:
        why = f"{shown(text, 40)!r} is no share from 0 to 1"
        raise OptionError("options", [Problem(option, why, "such as 5% or 0.05")])
    return number


def values_of(item: DataclassInstance) -> Keywords:
    """Return the fields of the dataclass object *item* by name, as keywords for a function that takes them."""
    return {each.name: getattr(item, each.name) for each in dataclasses.fields(item)}


def is_path(item: OptionField) -> bool:
    """Whether the option names a file or a folder, and nothing else."""
    return item.types == (Path,)
