"""The target ``integer-engine``: its options, its array, its passes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from approxhw.common.arguments import settle_fields
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.options import Keywords
from approxhw.flow.printed.target import LIBRARIES
from approxhw.ir.pass_manager import Pass, pass_named
from approxhw.numerics.functions.fit import unit_bound_problems
from approxhw.numerics.functions.units import UNIT_KINDS
from approxhw.numerics.mac.integer_mac import is_adder
from approxhw.numerics.multipliers.families import EXACT
from approxhw.numerics.multipliers.signs import FOUND, SIGNS
from approxhw.numerics.multipliers.tables import FIRST

from .plans import layers_by, read_plan

RANGES = ("minmax", "mse", "entropy")
"""What quantize-model knows."""

RECOVERIES = ("none", "bias", "tune", "fit", "variate", "all", "retrain")
"""What is done about an operator's errors: nothing; biases; weights tuned or fitted, then biases; a control variate; tuned
weights and a variate; biases, then weights and biases retrained through PyTorch (``approxhw[retrain]``)."""


ACTIVATION_UNITS = ("none", *UNIT_KINDS, "smallest")
"""Whether columns end in activation units, and of which kind, as approximate-activation has them."""

ONE = "name one, which may be exact; several go into search --operators, or layer by layer into --layers"
"""What to do about an operator that there is not: a list of them, or a folder, are none."""

DEFAULTS = {"recover": "bias", "signed": FOUND, "activation": "none"}
"""What errors advise."""


@dataclass(frozen=True)
class IntegerEngine:
    """Target: a weight-stationary array of integer multiply-adds, their products by any operator.

    A float model is quantised first, by the ranges of training rows; a quantised one keeps its codes. ``recover``: what is
    done about the operator's errors (docs/integer-models.md). ``layers``: what single layers have in place of ``operator``, as
    :func:`.plans.read_plan` reads it.
    """

    flow: ClassVar[str] = "approxhw.engine.integers.compile:FLOW"
    """How the flow serves it, as ``module:NAME``: the flow knows targets by name, never by import."""
    search_problem: ClassVar[str] = "approxhw.engine.integers.operator_search.pose:operator_problem"
    """Who makes the problem that a search of it is, likewise: the rooms dse and engine never import each other."""

    operator: str = field(
        default=EXACT,
        metadata={
            "help": "of products: exact, one of ours such as truncated-4, or a .v module (a table has no gates)",
            "compile_only": True,
        },
    )
    layers: str = field(
        default="",
        metadata={
            "help": "other operators by number of layer, several apart by ':': '1=exact;0:3:4=truncated-8+fit'",
            "compile_only": True,
        },
    )
    signed: str = field(
        default=DEFAULTS["signed"],
        metadata={
            "help": "operands of a file in two's complement",
            "choices": (FOUND, *SIGNS),
            "compile_only": True,
        },
    )
    weight: str = field(default=FIRST, metadata={"help": "port of a .v module that is the weight"})
    adder: str = field(default=EXACT, metadata={"help": "of sums: exact, or-L or cut-L"})
    recover: str = field(
        default=DEFAULTS["recover"],
        metadata={"help": f"what is done about errors: {', '.join(RECOVERIES)}", "choices": RECOVERIES},
    )
    weight_bits: int = field(default=8, metadata={"help": "of a float model's weights, 2 to 8"})
    ranges: str = field(
        default="mse",
        metadata={"help": f"of a float model's activations: {', '.join(RANGES)}", "choices": RANGES},
    )
    bias_correction: bool = field(
        default=False, metadata={"help": "take what codes of a float model do to means into biases"}
    )
    rows: int = field(default=16, metadata={"help": "size of the array, such as 16x16", "joined": "array"})
    columns: int = field(default=16, metadata={"help": "columns of the array", "joined": "array"})
    depth: int = field(default=1, metadata={"help": "2: a register behind each product"})
    vectors: int = field(default=256, metadata={"help": "sums of a column that wait between tiles"})
    activation: str = field(
        default="none",
        metadata={
            "help": f"unit at the end of every column: {', '.join(ACTIVATION_UNITS)}; none: activations stay on the host",
            "choices": ACTIVATION_UNITS,
            "compile_only": True,
        },
    )
    max_ulp: float = field(
        default=1.0, metadata={"help": "codes that a unit may be off the nearest one", "compile_only": True}
    )
    clock_ns: float = field(default=10.0, metadata={"help": "clock period of estimates"})
    library: str = field(
        default="sky130",
        metadata={"help": "cell library of estimates, or a Liberty file", "choices": LIBRARIES, "metavar": "LIBRARY"},
    )

    def __post_init__(self) -> None:
        """Refuse values that are not of the types of their fields."""
        settle_fields(self, "integer engine")

    def check(self) -> None:
        """Raise :class:`OptionError` with everything about it that cannot be built."""
        problems = [
            Problem(name, f"{count} is no number from 1 to 256", "choose 1 to 256")
            for name, count in (("rows", self.rows), ("columns", self.columns))
            if not 1 <= count <= 256
        ]
        problems += unit_bound_problems("max_ulp", self.max_ulp)
        if self.depth not in (1, 2):
            problems.append(Problem("depth", f"{self.depth} is no depth", "choose 1 or 2"))
        if self.vectors not in [1 << n for n in range(1, 17)]:
            why = f"{self.vectors} is no power of two from 2 to 65536"
            problems.append(Problem("vectors", why, "choose 256, say"))
        if not (np.isfinite(self.clock_ns) and self.clock_ns > 0):
            problems.append(Problem("clock_ns", f"{self.clock_ns} is no clock period", "give nanoseconds above 0"))
        if not is_adder(self.adder):
            why = f"{shown(repr(self.adder), 40)} is no adder"
            problems.append(Problem("adder", why, "choose exact, or-L or cut-L, such as or-4"))
        for name, value, known in (
            ("recover", self.recover, RECOVERIES),
            ("signed", self.signed, (FOUND, *SIGNS)),
            ("activation", self.activation, ACTIVATION_UNITS),
        ):
            if value not in known:
                why = f"{shown(repr(value), 40)} is not one of {', '.join(known)}"
                problems.append(Problem(name, why, f"choose {DEFAULTS[name]}, or another of them"))
        try:
            self.passes()
            own = [each for each in read_plan(self.layers).values() if each.bits is not None or each.moved]
            if self.recover == "fit" and own:
                why = "with recover fit all layers are fitted, and some have edits of their own"
                remedy = "take recover bias, and write +fit behind the layers that are to be fitted"
                problems.append(Problem("recover", why, remedy))
        except OptionError as error:
            problems += [
                replace(each, remedy=ONE) if each.where.endswith(".operator") else each for each in error.problems
            ]
        if problems:
            raise OptionError("integer engine", problems)

    def passes(self) -> tuple[Pass, ...]:
        """Return the passes of this target: codes, products of codes, the operator, and what wins its errors back."""
        found: list[Pass] = [
            pass_named("quantize-model")(
                weight_bits=self.weight_bits, ranges=self.ranges, bias_correction=self.bias_correction, again=True
            ),
            pass_named("integer-products")(),
        ]
        plan = read_plan(self.layers)
        if self.operator != EXACT or self.adder != EXACT:
            found.append(self._multiplier(self.operator))
        for operator, numbers in layers_by(plan, lambda each: each.operator).items():
            found.append(self._multiplier(operator, tuple(map(float, numbers))))
        for (bits, moved), numbers in layers_by(plan, lambda each: (each.bits, each.moved)).items():
            layers = tuple(map(float, numbers))
            if moved == "fit":
                found.append(pass_named("fit-weights")(layers=layers, **({} if bits is None else {"bits": bits})))
            elif bits is not None:
                found.append(pass_named("narrow-weights")(bits=bits, layers=layers))
        tuned = tuple(float(number) for number, each in plan.items() if each.moved == "tune")
        if self.recover == "fit" and self.is_approximate:
            found.append(pass_named("fit-weights")())
        if self.recover in ("tune", "all") and self.is_approximate:
            found.append(pass_named("tune-weights")())
        elif tuned:
            found.append(pass_named("tune-weights")(layers=tuned))
        if self.recover in ("variate", "all") and self.is_approximate:
            found.append(pass_named("control-variate")())
        if self.recover != "none" and self.is_approximate:
            found.append(pass_named("correct-bias")())
        if (
            self.recover == "retrain" and self.is_approximate
        ):  # it learns with the errors: behind it nothing is left to correct
            found.append(pass_named("retrain-weights")())
        if self.activation in ACTIVATION_UNITS[1:]:  # last: what is learnt goes through the functions themselves
            found.append(pass_named("approximate-activation")(unit=self.activation, max_ulp=self.max_ulp))
        return tuple(found)

    @property
    def is_approximate(self) -> bool:
        """Whether any product, sum or weight may be another than the model's."""
        plan = read_plan(self.layers).values()
        return (self.operator, self.adder) != (EXACT, EXACT) or any(
            each.operator != EXACT or each.bits is not None for each in plan
        )

    @property
    def operators(self) -> tuple[str, ...]:
        """Every operator that it names, as it is spelled."""
        return tuple(dict.fromkeys((self.operator, *(each.operator for each in read_plan(self.layers).values()))))

    def _multiplier(self, operator: str, layers: tuple[float, ...] | None = None) -> Pass:
        """Return the pass that gives *layers*, None: all, an *operator*."""
        options: Keywords = {"operator": operator, "adder": self.adder, "layers": layers}
        if operator.endswith((".v", ".sv", ".npz")):
            options |= {"signed": self.signed, "weight": self.weight}
        elif operator != EXACT:
            options |= {"signed": self.signed}
        made: Pass = pass_named("approximate-multiplier")(**options)
        return made
