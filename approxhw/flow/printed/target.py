"""The target ``printed``: a bespoke circuit of a classifier or regressor; its options and its passes."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from approxhw.common.arguments import settle_fields
from approxhw.common.data.dataset import TASKS
from approxhw.common.errors import OptionError, Problem
from approxhw.common.options import read_options, suggestion
from approxhw.ir.pass_manager import Pass, available_pipelines, named_pipeline, pass_named, placed
from approxhw.numerics.eight_bit.choose import compress_options

APART = frozenset(("task", "registers", "pipeline", "library", "compress", "max_adder_bits"))
"""Options of the target that are none of its pipeline."""

LOOKUP_BITS = 8
"""Of tables; only another number is handed to a pipeline, as those without tables know no such option."""

EXACT, TREES = "printed-exact", "printed-tree"
"""The pipeline of networks where none is asked for, and that of trees."""

LIBRARIES = "approxhw.backends.estimate.library.load:built_in_libraries"
"""What lists the built-in cell libraries; it is loaded when somebody asks."""


def printed_pipelines() -> tuple[str, ...]:
    """Return the names of the pipelines that make circuits."""
    return tuple(name for name in available_pipelines() if name.startswith("printed-"))


@dataclass(frozen=True)
class Printed:
    """Target: a bespoke printed classifier. The fields above ``task`` are options of ``pipeline``."""

    flow: ClassVar[str] = "approxhw.flow.printed.serve:FLOW"
    """How the flow serves it, as ``module:NAME``."""

    input_bits: int = field(default=4, metadata={"help": "bits of an input code, 1 to 16"})
    input_code: str = field(
        default="round",
        metadata={
            "help": "round, floor16 (the papers' code), or of trees thermometer; those count their borders where it is round",
            "choices": ("round", "floor16", "thermometer"),
        },
    )
    weight_bits: int = field(default=8, metadata={"help": "bits of a weight, 2 to 16"})
    hidden_bits: int | None = field(
        default=None, metadata={"help": "bits of hidden activations", "shown_default": "full width"}
    )
    lookup_bits: int = field(
        default=LOOKUP_BITS,
        metadata={"help": "bits of codes on both sides of a tabulated function, 2 to 10", "compile_only": True},
    )
    ranges: str = field(
        default="mse",
        metadata={"help": "how training rows give low and high", "choices": ("mse", "extremes")},
    )
    low: tuple[float, ...] | None = field(
        default=None, metadata={"help": "lower end of the readings, one or one a feature"}
    )
    high: tuple[float, ...] | None = field(
        default=None, metadata={"help": "upper end of the readings, one or one a feature"}
    )
    task: str | None = field(
        default=None,
        metadata={
            "help": "what the model is for",
            "choices": TASKS,
            "shown_default": "as the model and the data say",
            "compile_only": True,
        },
    )
    registers: bool = field(default=False, metadata={"help": "registered inputs and output", "compile_only": True})
    pipeline: str = field(
        default=EXACT,
        metadata={
            "help": "named list of passes; of trees printed-tree, where it is left as it is",
            "choices": printed_pipelines,
            "metavar": "PIPELINE",
        },
    )
    library: str = field(
        default="egfet",
        metadata={"help": "cell library of estimates, or a Liberty file", "choices": LIBRARIES, "metavar": "LIBRARY"},
    )
    compress: str | None = field(
        default=None,
        metadata={
            "help": "8-bit codes, such as dynamic8,block=256, or auto",
            "choices": ("dynamic8", "static8", "mantissa8", "linear8", "auto"),
            "metavar": "CODE",
            "compile_only": True,
        },
    )
    max_adder_bits: int = field(
        default=60_000,
        metadata={
            "help": "largest circuit that is built, in bits that are added up",
            "fewest": 1,
            "compile_only": True,
        },
    )

    def __post_init__(self) -> None:
        """Refuse values that are not of the types of their fields."""
        settle_fields(self, "printed")

    def passes(self) -> tuple[Pass, ...]:
        """Return the passes of this target."""
        options = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in APART}
        if self.lookup_bits == LOOKUP_BITS:
            del options["lookup_bits"]
        if self.pipeline in available_pipelines() and self.pipeline not in printed_pipelines():
            why = f"{self.pipeline!r} makes no circuit{suggestion(self.pipeline, printed_pipelines())}"
            raise OptionError("printed", [Problem("pipeline", why)])
        passes = named_pipeline(self.pipeline, **(self._tree_options(options) if self.pipeline == TREES else options))
        if self.compress is None:
            return passes
        # behind all that changes weights, in front of what fits formats to them
        return placed(passes, compress_pass(self.compress), before="narrow-formats")

    def _tree_options(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options of trees among *options*, and those that are not as usual, which the pipeline then refuses."""
        usual = {f.name: f.default for f in fields(self)}
        changed = {name: value for name, value in options.items() if value != usual[name]}
        if "input_bits" in changed:
            why = "a code of a tree has as many bits as its thresholds need"
            raise OptionError("printed", [Problem("input_bits", why, "leave --input-bits out for models of trees")])
        if "weight_bits" in changed:
            changed["leaf_bits"] = changed.pop("weight_bits")
        return changed


def compress_pass(text: str) -> Pass:
    """Return the pass ``compress`` that *text* asks for: a code or ``auto``, then its options, with commas between.

    Such as ``dynamic8,block=256``, ``linear8,max=pow2,activations=true`` or ``auto,budget=8.5``.
    """
    given = compress_options(text)
    made = pass_named("compress")
    values, found = read_options(made, given, "compress")
    try:
        chosen: Pass = made(**values)
    except OptionError as error:
        found += error.problems
    if found:
        raise OptionError("compress", found)
    return chosen
