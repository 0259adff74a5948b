"""Annotations as they are held against values: what fits, what is told, what is turned into plain types."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypedDict, Unpack, runtime_checkable

import numpy as np
import pytest
from numpy.typing import ArrayLike

from approxhw.common.arguments import checked, field_problems, fits, refuse_below, settle_fields, told, wanted
from approxhw.common.errors import OptionError


class Plain:
    """A class of nobody."""


class OnlyTyped(Protocol):
    def go(self) -> None: ...


@runtime_checkable
class Going(Protocol):
    def go(self) -> None: ...


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (int, [0, -5, np.int64(3)], [True, np.True_, 1.0, "1", None, int]),
        (float, [1, 2.5, np.float32(1), np.int8(1)], [False, "1.0", None, 1j]),
        (bool, [True, np.False_], [0, 1, "true", None]),
        (str, ["", "a"], [b"a", 1, None, str]),
        (Path, [Path("a")], ["a", 1, None]),
        (str | Path | None, ["a", Path("a"), None], [1, b"a", str]),
        (Literal["a", 3], ["a", 3], ["b", 3.0, True, None]),
        (tuple[int, ...], [(), (1, 2)], [[1], (1, "a"), 1, "12"]),
        (Sequence[str], [[], ("a",)], ["ab", [1], None, {"a"}]),
        (Mapping[str, int], [{}, {"a": 1}], [{"a": "b"}, {1: 1}, [("a", 1)], None]),
        (Callable[[int], int], [abs, lambda x: x], [int, 5, "abs", None]),
        (Plain, [Plain()], [Plain, 5, None]),
        (np.ndarray, [np.zeros(2)], [[0.0], None]),
        (object, [None, 5, Plain], []),
        (Any, [None, 5, Plain], []),
        (OnlyTyped, [None, 5], []),
        (Going, [], [5, None]),
        (str | tuple[ArrayLike, ...], ["a", ([1], np.zeros(1))], [[1], 5, None]),
    ],
)
def test_what_fits_an_annotation(hint, good, bad):
    assert all(fits(value, hint) for value in good)
    assert not any(fits(value, hint) for value in bad)


def test_values_and_wishes_are_told_in_few_words():
    assert told(Plain()) == "a Plain"
    assert told(Plain) == "the class Plain"
    assert told(np.zeros((2, 3), np.float32)) == "an array of float32 with shape [2, 3]"
    assert told("x" * 500) == "'" + "x" * 58 + "…"
    assert told([1] * 500) == "a list"
    assert wanted(int | str | None) == "a whole number, a text or None"
    assert wanted(tuple[float, ...]) == "a tuple of which each is a number"
    assert wanted(Mapping[str, int]) == "a mapping"
    assert wanted(Literal["a", "b"]) == "one of a, b"


@checked("do it")
def do(
    what: str, *, times: int = 1, deep: tuple[float, ...] = (), path: str | Path | None = None, **more: object
) -> str:
    if what == "fail":
        raise KeyError(what)
    return f"{what} {times}"


@checked("strict")
def strict(what: str, *, times: int = 1) -> str:
    return what * times


def test_a_checked_function_lists_every_argument_that_does_not_fit():
    assert do("a", times=2, path=Path("b"), anything=object()) == "a 2"
    with pytest.raises(OptionError) as caught:
        do(5, times="many", deep=["a"], path=1.5)
    assert str(caught.value) == (
        "do it: 4 problems\n"
        "  what: 5 is not a text\n"
        "  times: 'many' is not a whole number\n"
        "  deep: a list is not a tuple of which each is a number\n"
        "  path: 1.5 is not a text, a path or None"
    )


def test_options_that_there_are_not_and_those_that_lack_are_told():
    with pytest.raises(
        OptionError, match=r"strict: 2 problems\n  tines: there is no such option; did you mean 'times'\?"
    ):
        strict(tines=3)
    with pytest.raises(OptionError, match="what: it must be given"):
        do()
    with pytest.raises(TypeError, match="too many positional arguments"):
        strict("a", 2)


def test_what_the_function_itself_raises_goes_through():
    with pytest.raises(KeyError, match="fail"):
        do("fail")


@pytest.mark.parametrize("path", ["a\0b", "x" * 300, f"deep/{'é' * 128}/b"])
def test_texts_that_no_file_system_takes_are_no_paths(path):
    with pytest.raises(OptionError, match=r"path: .* holds a (null byte|name of (300|256) bytes)"):
        do("a", path=path)
    assert do("a", path=Path("d" * 255, "e")) == "a 1"


@dataclass(frozen=True)
class Options:
    count: int = 3
    share: float = 0.5
    several: tuple[float, ...] = ()
    name: str | None = None
    about: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settle_fields(self, "options")


def test_fields_are_held_to_their_types_and_become_plain():
    made = Options(np.int64(4), np.float64(0.25), [1, np.float32(2)])
    assert made == Options(4, 0.25, (1, 2.0))
    assert [type(value) for value in (made.count, made.share, made.several)] == [int, float, tuple]
    assert Options(several=0.5).several == (0.5,)
    with pytest.raises(OptionError) as caught:
        Options("4", None, "1:2", 5, {1: 2})
    assert [problem.where for problem in caught.value.problems] == ["count", "share", "several", "name", "about"]
    assert field_problems(made) == []


def test_numbers_out_of_reach_are_listed():
    refuse_below("it", 0, seed=0, random=None)
    with pytest.raises(OptionError, match=r"it: 2 problems\n  seed: -1 is no number of at least 0\n  wait: nan"):
        refuse_below("it", 0, seed=-1, wait=float("nan"))
    with pytest.raises(OptionError, match="timeout: 0 is no number above 0"):
        refuse_below("it", 0, above=True, timeout=0)


class More(TypedDict, total=False):
    wait: float | None
    word: str


@checked("go")
def go(what: str, *, times: int = 1, **how: Unpack[More]) -> str:
    return f"{what} {times} {how}"


def test_keywords_of_an_unpacked_dictionary_are_looked_at():
    assert go("a", wait=2, word="b") == "a 1 {'wait': 2, 'word': 'b'}"
    with pytest.raises(OptionError) as caught:
        go("a", wait="long", wort="b")
    assert str(caught.value) == (
        "go: 2 problems\n  wort: there is no such option; did you mean 'word'?\n  wait: 'long' is not a number or None"
    )
