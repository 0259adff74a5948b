"""Fields of dataclasses as options: what each says of itself, and the objects and problems that given values make."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from approxhw.common.errors import OptionError, Problem
from approxhw.common.option_fields import argument, build_options, nested, option, option_fields
from approxhw.numerics.mac.arithmetic import FloatMac

if TYPE_CHECKING:
    from fractions import Fraction


@dataclass(frozen=True)
class Size:
    """A target of a test: an array with arithmetic of its own, and something that only Python can say."""

    mac: FloatMac = nested(FloatMac())
    rows: int = option("rows and columns", 16, joined="array")
    columns: int = option("columns", 8, joined="array")
    loss: float = option("what may be lost", 0.05, unit="share")
    low: tuple[float, ...] | None = option("ends", None)
    keep: tuple[str, ...] = option("names", ("a", "b"))
    seed: int = option("of draws", 1, fewest=0, compile_only=True)
    inside: Fraction | None = None
    layers: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Whole:
    """A command of a test."""

    model: Path = argument("a file")
    size: Size = nested(Size(rows=4, columns=4), without="compile_only")
    output: str = option("a file", short="-o")


def test_nested_dataclasses_contribute_their_options():
    found = {item.name: item for item in option_fields(Size)}
    mac = ["format", "accumulator_bits", "normalization", "alignment", "exponent_step"]
    assert list(found) == [*mac, "array", "loss", "low", "keep", "seed"]  # what has no help is for Python alone
    assert found["accumulator_bits"].flag == "--accumulator-bits"
    assert found["format"].path == ("mac",)
    assert found["format"].choices() == ("bf16", "fp16", "e4m3", "e5m2")
    assert found["alignment"].types == (int,)
    spelled = {name: item.spelled() for name, item in found.items()}
    assert spelled == {
        "format": "bf16", "accumulator_bits": "20", "normalization": "an-1-2", "alignment": "exact",
        "exponent_step": "products are normalised", "array": "16x8",
        "loss": "5%", "low": "", "keep": "a b", "seed": "1",
    }  # fmt: skip
    assert found["array"].metavar == "ROWSxCOLUMNS"
    assert found["keep"].repeated
    assert found["low"].is_numbers


def test_defaults_are_those_of_the_object_and_marked_fields_stay_out():
    found = {item.name: item for item in option_fields(Whole)}
    assert found["array"].spelled() == "4x4"
    assert "seed" not in found
    assert found["format"].path == ("size", "mac")
    assert found["output"].default is found["model"].default is MISSING


def test_what_is_given_becomes_the_objects():
    problems: list[Problem] = []
    given = {"model": Path("m"), "output": "o", "format": "fp16", "accumulator_bits": 24, "array": "3x2",
             "loss": "3%", "low": "0,-1.5"}  # fmt: skip
    made = build_options(Whole, given, problems)
    assert problems == []
    mac = FloatMac("fp16", 24)
    assert made == Whole(model=Path("m"), output="o", size=Size(mac=mac, rows=3, columns=2, loss=0.03, low=(0, -1.5)))
    assert build_options(Size, {"loss": 0.5}, problems, Size(rows=2)) == Size(rows=2, loss=0.5)


def test_everything_that_is_wrong_is_told_and_the_rest_stands():
    problems: list[Problem] = []
    given = {"accumulator_bits": 99, "array": "3y2", "loss": "300%", "low": "0,,1", "seed": -1, "keep": ("c",)}
    made = build_options(Size, given, problems)
    text = str(OptionError("size", problems))
    for line in (
        "size: 5 problems",
        "--array: '3y2' is no ROWSxCOLUMNS\n    do: such as 16x8",
        "loss: '300%' is no share from 0 to 1",
        "--low: '0,,1' is no finite number, nor such numbers with commas between\n    do: such as 0 or 0,0,-1.5",
        "seed: -1 is no integer of 0 or more",
        "accumulator_bits: 99 does not lie in 16…24",
    ):
        assert line in text
    assert made == Size(keep=("c",))


@pytest.mark.parametrize("text", ["", "16", "16x", "x16", "1x2x3", "axb", "-1x2", "16 x 16", "99999x1"])
def test_sizes_that_are_none(text):
    problems: list[Problem] = []
    assert build_options(Size, {"array": text}, problems) == Size()
    assert [problem.where for problem in problems] == ["--array"]


def test_what_must_be_given_and_was_not():
    with pytest.raises(TypeError):
        build_options(Whole, {"output": "o"}, [])
    problems = [Problem("x", "y")]
    assert build_options(Whole, {"output": "o"}, problems) is None


def test_choices_may_be_found_when_somebody_asks():
    @dataclass(frozen=True)
    class Lazy:
        cells: str = option("a", "egfet", choices="approxhw.backends.estimate.library.load:built_in_libraries")
        words: str = option("b", "x", choices=lambda: ["x", "y"])

    found = [item.choices() for item in option_fields(Lazy)]
    assert found == [("egfet", "egfet_0v6", "sky130"), ("x", "y")]
