"""An activation unit from its name: fitted, counted against float64, as Verilog, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.arguments import checked, settle_fields
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.ir.graph import IDENTIFIER, VERILOG_WORDS
from approxhw.numerics.formats import Fixed, parse_format
from approxhw.numerics.functions.activations import activation_formula
from approxhw.numerics.functions.fit import FittedUnit, fit_activation
from approxhw.numerics.functions.formulas import Formula, formula_faults
from approxhw.numerics.functions.units import ActivationUnit, unit_codes, unit_values

if TYPE_CHECKING:
    from approxhw.backends.estimate import Estimate


@dataclass(frozen=True)
class MadeActivation:
    """A function of codes as a circuit: ``unit`` makes ``formula`` of codes of ``x`` as codes of ``y``.

    ``ulp``: how far it is from float64 at most, over every code, in steps of ``y``: units of the last place.
    """

    formula: Formula
    x: Fixed
    y: Fixed
    unit: ActivationUnit
    ulp: float

    def __post_init__(self) -> None:
        """Refuse values that are not of the types of their fields."""
        settle_fields(self, "MadeActivation")
        if faults := formula_faults(self.formula):
            raise OptionError("MadeActivation", [Problem("formula", fault) for fault in faults])

    @checked("MadeActivation.values")
    def values(self, codes: np.ndarray | None = None) -> np.ndarray:
        """Return what it makes of *codes* (int64), of every code of ``x`` from the lowest on by default.

        Raises :class:`OptionError` for codes that ``x`` does not have: fractions, and numbers beyond its ends.
        """
        if codes is not None:
            given = np.asarray(codes)
            if given.dtype.kind not in "iu":
                why = f"codes are integers, and these are {shown(given.dtype)}"
                raise OptionError("MadeActivation.values", [Problem("codes", why, "round them to codes first")])
            if given.size and not (self.x.low <= int(given.min()) and int(given.max()) <= self.x.high):
                why = f"they lie in {given.min()}…{given.max()}, and codes of {self.x} in {self.x.low}…{self.x.high}"
                raise OptionError("MadeActivation.values", [Problem("codes", why, "clip them first")])
        return unit_values(self.unit, codes)

    @checked("MadeActivation.verilog")
    def verilog(self, name: str = "activation") -> str:
        """Return it as a module *name*, ``y`` of ``x``, with the templates in it; raise :class:`OptionError` for no such name."""
        if not IDENTIFIER.match(name) or name in VERILOG_WORDS:
            remedy = "take small letters, digits and _, a letter first, and no word of Verilog"
            raise OptionError("activation", [Problem("name", f"{shown(name, 40)!r} is no name of a module", remedy)])
        from approxhw.backends.activation.unit_module import unit_module

        return unit_module(self.unit, name).verilog

    @checked("MadeActivation.estimate")
    def estimate(self, library: str | Path = "sky130") -> Estimate:
        """Return area, power and delay in cells of *library*; power over every code once, in a seeded order."""
        from approxhw.backends.activation.unit_module import unit_module, unit_vectors
        from approxhw.backends.estimate import estimate

        emitted = unit_module(self.unit)
        codes = np.random.default_rng(1).permutation(unit_codes(self.unit))
        vectors = unit_vectors(emitted, codes)
        return estimate(emitted.verilog, emitted.top, library, vectors=vectors, vectors_from="every code once")


@checked("activation_unit")
def activation_unit(
    name: str,
    x: str | Fixed,
    y: str | Fixed,
    kind: str = "pwl",
    max_ulp: float = 1.0,
    **parameters: float | Sequence[float],
) -> MadeActivation:
    """Return a unit of *kind* for the activation called *name* with *parameters*, such as ``alpha``.

    ``x``, ``y``: formats of at most 16 bits, such as ``s8<2^-4>``. ``kind``: ``table``, ``compressed-table``, ``pwl``,
    ``poly`` or ``pade``. ``max_ulp``: steps of ``y`` that a result may be off at any code. What lies beyond the ends of ``y``
    is the end, infinity too, and where the function is not defined it is as at the nearest code where it is: a logarithm
    below 0 is the lowest code. Raises :class:`OptionError` for what is unknown, too wide or no number, and with the best that
    can be had where nothing is within *max_ulp*.
    """
    formula = activation_formula(name, **parameters)
    formats = {"x": _fixed(x), "y": _fixed(y)}
    wrong = [Problem(where, why, "such as s8<2^-4>") for where, why in formats.items() if isinstance(why, str)]
    if wrong:
        raise OptionError("activation", wrong)
    read, made = (fmt for fmt in formats.values() if isinstance(fmt, Fixed))
    fitted: FittedUnit = fit_activation(formula, read, made, kind, max_ulp)
    return MadeActivation(formula, read, made, fitted.unit, fitted.ulp)


def _fixed(given: str | Fixed) -> Fixed | str:
    """Return the format, or why it is none."""
    if isinstance(given, Fixed):
        return given
    try:
        found = parse_format(given)
    except (OptionError, ValueError):
        return f"{shown(given, 40)!r} is no format"
    return found if isinstance(found, Fixed) else f"{found} is no fixed-point format"
