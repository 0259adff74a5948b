"""The module of the activation units at a column's end: which of them a code goes through is a constant of the column."""

from __future__ import annotations

from collections.abc import Sequence

from approxhw.backends.activation.unit_module import unit_module
from approxhw.backends.systolic.templates import modules_of
from approxhw.common.errors import Problem, shown
from approxhw.numerics.functions.units import ActivationUnit, unit_faults

UNITS = "column_units"
"""The module that depends on the units."""
MOST_UNITS = 255


def column_unit_problems(units: object) -> list[Problem]:
    """Return why *units* cannot stand at the end of a column of 8-bit codes; empty where they can."""
    if not isinstance(units, tuple) or not all(isinstance(each, ActivationUnit) for each in units):
        why = f"{shown(repr(units), 60)} is no tuple of ActivationUnits"
        return [Problem("units", why, "fit them by ax.activation_unit(…).unit")]
    found = []
    if len(units) > MOST_UNITS:
        why = f"{len(units)} of them, and a column chooses among {MOST_UNITS} at most"
        found.append(Problem("units", why, "leave activations to the host: --activation none"))
    for number, unit in enumerate(units, 1):
        where = f"unit {number}"
        found += [Problem(where, why) for why in unit_faults(unit)]
        if (unit.bits, unit.out_bits) != (8, 8):
            why = f"it reads {unit.bits} bits and makes {unit.out_bits}, and codes at the end of a column have 8"
            found.append(Problem(where, why, "fit it for formats of 8 bits, such as s8<2^-4>"))
    return found


def column_unit_modules(units: Sequence[ActivationUnit]) -> dict[str, str]:
    """Return ``column_units`` around *units*, number 1 first, and what it instantiates, by module.

    Units that are not chosen read 0, and do not switch.
    """
    bits, inner = len(units).bit_length(), dict[str, str]()
    lines, chosen = list[str](), "code"
    for number, unit in enumerate(units, 1):
        emitted = unit_module(unit, f"activation_{number}")
        inner |= modules_of(emitted.verilog)
        read = [(port, f"read_{number}[{{}}]", places) for port, places in emitted.input_bits]
        ports = [
            f".{port}({{{', '.join(text.format(place) for place in reversed(places))}}})" for port, text, places in read
        ]
        left = [place for place in range(8) if all(place not in places for _, _, places in read)]
        lines += [
            f"  // unit {number}: {unit.kind}",
            f"  wire       on_{number};",
            f"  wire [7:0] read_{number};",
            f"  wire [7:0] made_{number};",
            f"  assign on_{number}   = unit == {bits}'d{number};",
            f"  assign read_{number} = code & {{8{{on_{number}}}}};",
            f"  activation_{number} make_{number} ({', '.join([*ports, f'.y(made_{number})'])});",
        ]
        if left:
            unused = ", ".join(f"read_{number}[{place}]" for place in left)
            lines += [f"  wire unused_{number};", f"  assign unused_{number} = |{{{unused}}};"]
        chosen = f"on_{number} ? made_{number} :\n                 {chosen}"
    text = "\n".join(
        [
            "// Activation units at the end of a column: value is code where unit is 0, else what the unit of that number makes.",
            f"module {UNITS} #(",
            f"  parameter UNIT_BITS = {bits}",
            ") (",
            "  input  wire [UNIT_BITS-1:0] unit,",
            "  input  wire [7:0]           code,",
            "  output wire [7:0]           value",
            ");",
            "  generate  // what the module is not made for stops elaboration",
            f"    if (UNIT_BITS != {bits}) begin : refuse_others",
            f"      {UNITS}_needs_the_parameter_that_it_was_made_for stop ();",
            "    end",
            "  endgenerate",
            *lines,
            f"  assign value = {chosen};",
            "endmodule",
            "",
        ]
    )
    return {UNITS: text, **inner}
