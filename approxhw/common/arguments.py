"""Arguments and fields held to the types that they are annotated with: what does not fit is told before anything runs."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import numbers
import os
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from .errors import OptionError, Problem, shown
from .options import suggestion

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

P = ParamSpec("P")
R = TypeVar("R")

_WORDS: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
    type(None): "None",
    np.ndarray: "an array",
}
_LONGEST_NAME = 255
_DEEP = 100_000
"""Elements of a sequence that are looked at, at most."""


def checked(subject: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that refuses arguments which the annotations of a function do not allow.

    :class:`OptionError` names *subject* and lists every argument that does not fit, that there is not, or that lacks; what
    the function itself raises is not touched. Annotations that only type checkers can resolve are not looked at.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            if problems := argument_problems(function, args, kwargs):
                raise OptionError(subject, problems)
            return function(*args, **kwargs)

        return called

    return decorate


def argument_problems(
    function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]
) -> list[Problem]:
    """Return what is wrong with the arguments of a call of *function*."""
    signature, hints = _declared(function)
    parameters = signature.parameters
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        problems = _unbound(parameters, args, kwargs)
        if not problems:
            raise
        return problems
    found = []
    for name, value in bound.arguments.items():
        parameter = parameters[name]
        if parameter.kind is parameter.VAR_KEYWORD:
            found += _keyword_problems(hints[name], value, parameters)
            continue
        if parameter.kind is parameter.VAR_POSITIONAL or value is parameter.default:
            continue
        if not fits(value, hints[name]):
            found.append(type_problem(name, value, hints[name]))
        elif (
            Path in _variants(hints[name])
            and isinstance(value, str | os.PathLike)
            and (why := _no_path(str(value), name))
        ):
            found.append(Problem(name, f"{shown(repr(str(value)), 60)} {why}", "check the path"))
    return found


def _keyword_problems(
    hint: object, given: Mapping[str, object], parameters: Mapping[str, inspect.Parameter]
) -> list[Problem]:
    """Return what is wrong with the keywords *given* beside the *parameters*, where *hint* unpacks a dictionary of them."""
    if typing.get_origin(hint) is not typing.Unpack:
        return []
    (kind,) = typing.get_args(hint)
    space = vars(sys.modules[kind.__module__])
    known = {name: _resolved(each, space) for name, each in kind.__annotations__.items()}
    named = [*known, *(name for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY)]
    unknown = [
        Problem(name, f"there is no such option{suggestion(name, named)}") for name in given if name not in known
    ]
    return unknown + [
        type_problem(name, value, known[name])
        for name, value in given.items()
        if name in known and not fits(value, known[name])
    ]


def _no_path(text: str, name: str) -> str:
    """Return why *text*, the argument *name*, can be no path on any file system; empty where it can.

    Where something is to be written, whoever writes it says what the file system says of its name.
    """
    if "\0" in text:
        return "holds a null byte, which no path does"
    if name == "output":
        return ""
    longest = max(len(os.fsencode(part)) for part in ("", *Path(text).parts))
    return f"holds a name of {longest} bytes; file systems take {_LONGEST_NAME}" if longest > _LONGEST_NAME else ""


def settle_fields(item: DataclassInstance, subject: str) -> None:
    """Hold the fields of the frozen dataclass object *item* to their types; numbers of NumPy and lists become plain ones.

    Raises :class:`OptionError` with every field that does not fit. Called first in ``__post_init__``.
    """
    if found := field_problems(item):
        raise OptionError(subject, found)
    hints = _field_hints(type(item))
    for each in fields(item):
        value = getattr(item, each.name)
        plain = _plain(value, hints[each.name])
        if plain is not value:
            object.__setattr__(item, each.name, plain)


def field_problems(item: DataclassInstance) -> list[Problem]:
    """Return what is wrong with the types of the fields of the dataclass object *item*; a default is what it is."""
    hints = _field_hints(type(item))
    given = {each.name: getattr(item, each.name) for each in fields(item)}
    defaults = {each.name: each.default for each in fields(item)}
    return [
        type_problem(name, value, hints[name])
        for name, value in given.items()
        if value is not defaults[name] and not fits(_plain(value, hints[name]), hints[name])
    ]


def refuse_below(subject: str, least: float, *, above: bool = False, **given: float | None) -> None:
    """Raise :class:`OptionError` listing what of *given* is less than *least*, or not *above* it, or no number; None is none."""
    word = "above" if above else "of at least"
    found = [
        Problem(name, f"{value!r} is no number {word} {least:g}")
        for name, value in given.items()
        if value is not None and not (value > least if above else value >= least)
    ]
    if found:
        raise OptionError(subject, found)


def type_problem(name: str, value: object, hint: object) -> Problem:
    """Return the problem of *value*, which does not fit *hint*."""
    remedy = ""
    if isinstance(value, type) and any(variant is value for variant in _variants(hint)):
        remedy = f"call it: {value.__name__}(…)"
    return Problem(name, f"{told(value)} is not {wanted(hint)}", remedy)


def told(value: object) -> str:
    """Return *value* in a few words: itself where that is short, else its type."""
    if isinstance(value, type):
        return f"the class {shown(value.__name__, 60)}"
    if value is None or isinstance(value, str | bool | numbers.Number):
        return shown(repr(value), 60)
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} with shape {list(value.shape)}"
    return _with_article(shown(type(value).__name__, 60))


def _with_article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def wanted(hint: object) -> str:
    """Return what *hint* asks for, in words."""
    words = list(dict.fromkeys(_wanted(variant) for variant in _variants(hint)))
    if "None" in words and len(words) > 1:
        words.remove("None")
        words.append("None")
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _wanted(variant: object) -> str:
    if variant in _WORDS:
        return _WORDS[variant]
    origin, inner = typing.get_origin(variant), typing.get_args(variant)
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin is collections.abc.Callable or variant is collections.abc.Callable:
        return "a function"
    kind = origin if isinstance(origin, type) else variant
    if isinstance(kind, type) and issubclass(kind, collections.abc.Mapping):
        return "a mapping"
    if isinstance(kind, type) and issubclass(kind, collections.abc.Sequence):
        some = [item for item in inner if item is not Ellipsis]
        word = "a tuple" if kind is tuple else "a sequence"
        plain = not some or _is_open(some[0]) or some[0] == ArrayLike
        return word if plain else f"{word} of which each is {wanted(some[0])}"
    return _with_article(kind.__name__) if isinstance(kind, type) else "of the type that it is declared with"


def fits(value: object, hint: object) -> bool:
    """Whether *value* is what *hint*, an annotation, allows; what cannot be told from it is allowed."""
    return hint == ArrayLike or any(_fits_one(value, variant) for variant in _variants(hint))


def _fits_one(value: object, variant: object) -> bool:
    if _is_open(variant):
        return True
    if variant in (int, float):
        kind = numbers.Integral if variant is int else numbers.Real
        return isinstance(value, kind) and not isinstance(value, bool | np.bool_)
    if variant is bool:
        return isinstance(value, bool | np.bool_)
    if variant is Path:
        return isinstance(value, os.PathLike)
    origin, inner = typing.get_origin(variant), typing.get_args(variant)
    if origin is typing.Literal:
        return any(value is item or (type(value) is type(item) and value == item) for item in inner)
    if origin is collections.abc.Callable or variant is collections.abc.Callable:
        return callable(value) and not isinstance(value, type)
    if origin is None:
        return isinstance(value, variant) if isinstance(variant, type) else True
    if not isinstance(origin, type) or not isinstance(value, origin) or isinstance(value, str | bytes):
        return False
    if issubclass(origin, collections.abc.Mapping):
        return isinstance(value, Mapping) and all(fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items())
    if issubclass(origin, collections.abc.Sequence) and isinstance(value, Sequence):
        several = [item for item in inner if item is not Ellipsis]
        return len(several) != 1 or all(fits(item, several[0]) for item in value[:_DEEP])
    return True


def _is_open(variant: object) -> bool:
    """Whether nothing can be told from *variant*: any object, a variable, or a protocol that is for type checkers alone."""
    if variant is object or variant is typing.Any or isinstance(variant, TypeVar | ParamSpec | typing.ForwardRef):
        return True
    protocol = isinstance(variant, type) and getattr(variant, "_is_protocol", False)
    return protocol and not getattr(variant, "_is_runtime_protocol", False)


def _plain(value: object, hint: object) -> object:
    """Return *value* without NumPy's types, and as a tuple where *hint* asks for one."""
    if isinstance(value, np.generic):
        return value.item()
    if any(typing.get_origin(variant) is tuple for variant in _variants(hint)):
        if isinstance(value, list | np.ndarray):
            return tuple(item.item() if isinstance(item, np.generic) else item for item in value)
        if isinstance(value, int | float) and not isinstance(value, bool) and not fits(value, hint):
            return (value,)
    return value


def _variants(hint: object) -> tuple[object, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)


def _unbound(
    parameters: Mapping[str, inspect.Parameter], args: Sequence[object], kwargs: Mapping[str, object]
) -> list[Problem]:
    """Return why a call cannot be one of the function with these *parameters*; nothing where Python says it better."""
    named = [name for name, each in parameters.items() if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
    free = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    by_place = [name for name in named if parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY][: len(args)]
    known = [name for name in named if name not in ("self", "folder", "design")] or named
    unknown = [] if free else [name for name in kwargs if name not in named]
    found = [Problem(name, f"there is no such option{suggestion(name, known)}") for name in unknown]
    empty = inspect.Parameter.empty
    lacking = [n for n in named if n not in kwargs and n not in by_place and parameters[n].default is empty]
    return found + [Problem(name, "it must be given") for name in lacking]


@functools.cache
def _declared(function: Callable[..., object]) -> tuple[inspect.Signature, dict[str, object]]:
    signature = inspect.signature(function)
    space: dict[str, object] = getattr(inspect.unwrap(function), "__globals__", {})
    return signature, {name: _resolved(each.annotation, space) for name, each in signature.parameters.items()}


@functools.cache
def _field_hints(kind: type[DataclassInstance]) -> dict[str, object]:
    spaces = {name: vars(sys.modules[base.__module__]) for base in reversed(kind.__mro__) for name in _own(base)}
    return {each.name: _resolved(each.type, spaces[each.name]) for each in fields(kind)}


def _own(kind: type[object]) -> Sequence[str]:
    return tuple(inspect.get_annotations(kind))


def _resolved(annotation: object, space: dict[str, object]) -> object:
    """Return what *annotation* stands for; any object where only a type checker knows."""
    if annotation is inspect.Parameter.empty:
        return object
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if not isinstance(annotation, str):
        return annotation
    alone = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(alone, space)["it"]
    except (NameError, TypeError):
        return object
