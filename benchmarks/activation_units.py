"""Compare activation units by one ruler: tables, lines, parabolas and ratios of every function, at 8 and 10 bits.

Errors are counted against float64 over every code, in steps of the result; a unit may be one step off, tables and compressed
tables are the nearest code everywhere. Of the few that may be the smallest of a kind, synthesis chooses. Area and delay in
cells of sky130, mapped for area by the reference recipe; every netlist is held to the plain reference at every code on the
way. Areas beside the whole table's, which stores every code.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from common import clock, machine, met, note, table, write

from approxhw.backends.activation.unit_module import unit_module, unit_vectors
from approxhw.backends.estimate import analyse, simulate_netlist, synthesise
from approxhw.common.errors import OptionError
from approxhw.numerics.formats import Fixed
from approxhw.numerics.functions.activations import activation_formula
from approxhw.numerics.functions.bounds import ulp_error, wanted_values
from approxhw.numerics.functions.fit import fit_activation
from approxhw.numerics.functions.units import UNIT_KINDS, ActivationUnit, Entries, unit_codes, unit_value, unit_values

LIBRARY = "sky130"


def signed(bits: int, reach: int) -> Fixed:
    """Return the format of *bits* from −2^reach to 2^reach."""
    return Fixed(bits, True, Fraction(2) ** (reach + 1 - bits))


def unsigned(bits: int, reach: int, zero: int = 0) -> Fixed:
    """Return the format of *bits* from 0 to 2^reach; *zero*: the code that stands for 0."""
    return Fixed(bits, False, Fraction(2) ** (reach - bits), zero)


CASES = {
    "sigmoid": (lambda n: (signed(n, 3), unsigned(n, 0)), {}),
    "tanh": (lambda n: (signed(n, 2), signed(n, 0)), {}),
    "erf": (lambda n: (signed(n, 2), signed(n, 0)), {}),
    "softsign": (lambda n: (signed(n, 3), signed(n, 0)), {}),
    "exp": (lambda n: (unsigned(n, 3, (1 << n) - 1), unsigned(n, 0)), {}),
    "log": (lambda n: (unsigned(n, 2), signed(n, 2)), {}),
    "sqrt": (lambda n: (unsigned(n, 0), unsigned(n, 0)), {}),
    "reciprocal": (lambda n: (unsigned(n, 2), unsigned(n, 2)), {}),
    "gelu": (lambda n: (signed(n, 2), signed(n, 2)), {}),
    "silu": (lambda n: (signed(n, 2), signed(n, 2)), {}),
    "mish": (lambda n: (signed(n, 2), signed(n, 2)), {}),
    "softplus": (lambda n: (signed(n, 2), signed(n, 2)), {}),
    "elu": (lambda n: (signed(n, 2), signed(n, 2)), {}),
    "selu": (lambda n: (signed(n, 2), signed(n, 3)), {}),
    "celu": (lambda n: (signed(n, 2), signed(n, 2)), {"alpha": 0.5}),
    "leaky-relu": (lambda n: (signed(n, 2), signed(n, 2)), {"alpha": 0.1}),
    "hard-sigmoid": (lambda n: (signed(n, 2), unsigned(n, 0)), {}),
    "hard-swish": (lambda n: (signed(n, 2), signed(n, 2)), {}),
    "thresholded-relu": (lambda n: (signed(n, 2), signed(n, 2)), {}),
    "sau": (lambda n: (signed(n, 2), signed(n, 2)), {"alpha": 0.25, "b": 1.0}),
    "smu": (lambda n: (signed(n, 2), signed(n, 2)), {"alpha": 0.25, "mu": 1.0}),
    "pade": (lambda n: (signed(n, 2), signed(n, 1)), {"numerator": (0.0, 1.0, 0.5), "denominator": (0.3, 0.4)}),
}
"""Name → formats of x and y of n bits, and parameters."""

WHOLE = "whole table"


@dataclass(frozen=True)
class Measured:
    """One unit: error, area in µm² and delay in ns; what it is made of."""

    name: str
    bits: int
    kind: str
    ulp: float
    area: float
    delay: float
    folded: bool


def area_of(unit: ActivationUnit) -> float:
    """Return the area in µm² of *unit*, by which the smallest of a kind is chosen, as ``approximate-activation`` does."""
    emitted = unit_module(unit)
    return synthesise(emitted.verilog, emitted.top, LIBRARY).area() * 1e6


def measured(name: str, bits: int, kind: str) -> Measured | None:
    """Return what a unit costs, its netlist held to its reference; None where there is no unit within a step."""
    formats, parameters = CASES[name]
    x, y = formats(bits)
    formula = activation_formula(name, **parameters)
    values = wanted_values(formula, x, y)
    if kind == WHOLE:
        nearest = np.clip(np.floor(values + 0.5), y.low, y.high).astype(np.int64)
        unit = ActivationUnit(x.bits, x.signed, y.bits, y.signed, Entries(tuple(nearest.tolist())))
    else:
        try:
            unit = fit_activation(formula, x, y, kind, 1.0, area_of).unit
        except OptionError:
            return None
    emitted = unit_module(unit)
    netlist = synthesise(emitted.verilog, emitted.top, LIBRARY)
    codes = unit_codes(unit)
    seen = np.asarray(simulate_netlist(netlist, unit_vectors(emitted, codes))["y"], dtype=np.int64)
    wanted = np.array([unit_value(unit, code) for code in codes.tolist()]) % (1 << unit.out_bits)
    if (seen != wanted).any():
        raise SystemExit(f"{kind} of {name}: the netlist makes other codes than the reference: a defect")
    ulp = ulp_error(unit_values(unit), values)
    return Measured(
        name, bits, kind, ulp, netlist.area() * 1e6, analyse(netlist).delay_ps / 1000, unit.fold is not None
    )


def section(bits: int, found: list[Measured]) -> list[str]:
    """Return the table of one width, a function a row."""
    kinds = (WHOLE, *UNIT_KINDS)
    cells = {(each.name, each.kind): each for each in found}
    names = list(dict.fromkeys(each.name for each in found))
    rows = []
    for name in names:
        whole = cells[name, WHOLE]
        formats, _ = CASES[name]
        x, y = formats(bits)
        row = [name, f"{x} → {y}"]
        for kind in kinds:
            each = cells.get((name, kind))
            if each is None:
                row.append("none")
            else:
                share = "" if kind == WHOLE else f" ({each.area / whole.area:.0%})"
                row.append(f"{each.ulp:.2f}, {each.area:.0f}{share}, {each.delay:.2f}")
        rows.append(row)
    return [
        f"## {bits} bits\n",
        "Each: worst error in steps of y, area in µm² (beside the whole table's), delay in ns.\n",
        table(("function", "codes", *kinds), rows),
    ]


def targets(found: list[Measured]) -> list[str]:
    """Return what was asked, and what came."""
    eight = [each for each in found if each.bits == 8]
    worst = max((each.ulp for each in eight), default=0.0)
    rows: list[list[object]] = [
        ["worst error at 8 bits, all functions and kinds, in steps", "≤ 1", f"{worst:.3f}", met(worst <= 1)]
    ]
    wholes = {each.name: each for each in found if each.bits == 10 and each.kind == WHOLE}
    packed = [each for each in found if each.bits == 10 and each.kind == "compressed-table" and each.name in wholes]
    for title, chosen in (
        ("with a symmetry", [each for each in packed if each.folded]),
        ("without one", [each for each in packed if not each.folded]),
        ("of all", packed),
    ):
        if chosen:
            shares = [each.area / wholes[each.name].area for each in chosen]
            told = f"{np.mean(shares):.0%} in the mean, {min(shares):.0%} to {max(shares):.0%}"
            good = met(max(shares) <= 0.6)
            rows.append(
                [f"compressed beside whole tables at 10 bits, {len(chosen)} functions {title}", "≤ 60 %", told, good]
            )
    return ["## Targets\n", table(("what", "asked", "measured", ""), rows)]


def least(found: list[Measured]) -> list[str]:
    """Return which kind is the smallest, how often."""
    rows = []
    for bits in sorted({each.bits for each in found}):
        wins: dict[str, list[str]] = {}
        for name in dict.fromkeys(each.name for each in found if each.bits == bits):
            best = min((each for each in found if (each.name, each.bits) == (name, bits)), key=lambda each: each.area)
            wins.setdefault(best.kind, []).append(name)
        rows += [
            [bits, kind, len(names), ", ".join(names)] for kind, names in sorted(wins.items(), key=lambda w: -len(w[1]))
        ]
    return ["## The smallest\n", table(("bits", "kind", "functions", "which"), rows)]


def main() -> None:
    """Measure, print, and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--functions", nargs="*", default=list(CASES), choices=list(CASES), help="which ones")
    parser.add_argument("--bits", nargs="*", type=int, default=[8, 10], help="widths of codes, of x and of y")
    given = parser.parse_args()
    found: list[Measured] = []
    with clock() as seconds:
        for bits in given.bits:
            for name in given.functions:
                note(f"{name} at {bits} bits")
                for kind in (WHOLE, *UNIT_KINDS):
                    each = measured(name, bits, kind)
                    if each is not None:
                        found.append(each)
                        note(f"  {kind}: {each.ulp:.2f} steps, {each.area:.0f} µm², {each.delay:.2f} ns")
    about = (__doc__ or "").split("\n\n")[1].strip()
    parts = ["# Activation units by one ruler\n", "    python benchmarks/activation_units.py\n"]
    parts.append(f"{about} {machine()} {len(found)} units in {seconds.cpu:.0f} s of CPU time.\n")
    parts += targets(found) + least(found)
    for bits in given.bits:
        parts += section(bits, [each for each in found if each.bits == bits])
    write("activation_units", parts)


if __name__ == "__main__":
    main()
