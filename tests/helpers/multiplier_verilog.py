"""Our own approximate multipliers as Verilog: a module of fixed widths around the template."""

from __future__ import annotations

from approxhw.numerics.multipliers.families import Operator, correction, spell_operator
from approxhw.rtl_templates import template_text


def multiplier_verilog(operator: Operator, weight_bits: int, x_bits: int, name: str = "multiplier") -> str:
    """Return module *name* and the template it instantiates: ``y`` = *operator* of ``a``, signed, and ``b``, unsigned.

    ``a`` has *weight_bits* (2 or more), ``b`` *x_bits*, ``y`` both together, two's complement.
    """
    total = weight_bits + x_bits
    values = [("A_BITS", f"{weight_bits}"), ("B_BITS", f"{x_bits}")]
    if operator.kind == "truncated":
        constant = correction(weight_bits, x_bits, operator.columns) if operator.corrected else 0
        values += [("COLUMNS", f"{operator.columns}"), ("CORRECTION", f"{total}'d{constant}")]
    elif operator.kind == "broken-array":
        values += [("VERTICAL", f"{operator.columns}"), ("HORIZONTAL", f"{operator.horizontal}")]
    template = f"{operator.kind.replace('-', '_')}_multiplier"
    given = ", ".join(f".{key}({value})" for key, value in values)
    return (
        f"// {spell_operator(operator)}: {weight_bits}-bit signed a by {x_bits}-bit unsigned b\n"
        f"module {name} (\n"
        f"  input  wire signed [{weight_bits - 1}:0] a,\n"
        f"  input  wire [{x_bits - 1}:0] b,\n"
        f"  output wire signed [{total - 1}:0] y\n"
        ");\n"
        f"  {template} #({given}) approximate (.a(a), .b(b), .y(y));\n"
        "endmodule\n\n"
        f"{template_text(template)}"
    )
