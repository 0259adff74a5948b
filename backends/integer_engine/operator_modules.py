"""Multipliers as Verilog modules ``y = a * b``: our own by their templates, exact ones, any other by its table."""

from __future__ import annotations

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.numerics.multipliers.families import EXACT, Operator, correction, own_operator, spell_operator
from approxhw.numerics.multipliers.tables import SIGNS
from approxhw.rtl_templates import template_closure

_TEMPLATES = {
    "truncated": "truncated_multiplier",
    "broken-array": "broken_array_multiplier",
    "logarithmic": "logarithmic_multiplier",
    "leading": "leading_multiplier",
    "rounded": "rounding_multiplier",
}


def product_bits(operator: Operator | None, weight_bits: int, x_bits: int) -> int:
    """Return the width of the product: that of both operands, a bit more of operators whose products may be too large."""
    larger = operator is not None and (
        operator.kind == "leading" or (operator.kind == "logarithmic" and operator.corrected)
    )
    return weight_bits + x_bits + int(larger)


def operator_verilog(
    operator: Operator | str, weight_bits: int, x_bits: int, signed: str = "weight", name: str = "multiplier"
) -> str:
    """Return module *name*, y = *operator* of the weight ``a`` and ``b``, with the templates that it instantiates.

    *operator*: one of our own, or its spelling, or ``exact``. ``a`` has *weight_bits*, ``b`` *x_bits*, ``y`` what
    :func:`product_bits` says; *signed*: which operands are two's complement (``weight``, ``none``, ``both``); ``y`` is where
    one of them is. Raises :class:`OptionError` for what is no operator, or cannot be so narrow.
    """
    found = own_operator(operator) if isinstance(operator, str) else operator
    _check(operator, found, weight_bits, x_bits, signed)
    total = product_bits(found, weight_bits, x_bits)
    of_a, of_b, of_y = (
        " signed" if is_signed else "" for is_signed in (signed != "none", signed == "both", signed != "none")
    )
    title = EXACT if found is None else spell_operator(found)
    words = {False: "unsigned", True: "signed"}
    head = (
        f"// {title}: {weight_bits}-bit {words[signed != 'none']} a by {x_bits}-bit {words[signed == 'both']} b\n"
        f"module {name} (\n"
        f"  input  wire{of_a} [{weight_bits - 1}:0] a,\n"
        f"  input  wire{of_b} [{x_bits - 1}:0] b,\n"
        f"  output wire{of_y} [{total - 1}:0] y\n"
        ");\n"
    )
    if found is None:
        return f"{head}{_exact_body(weight_bits, x_bits, signed)}endmodule\n"
    values = {"A_BITS": f"{weight_bits}", "B_BITS": f"{x_bits}"}
    values |= {"A_SIGNED": f"{int(signed != 'none')}", "B_SIGNED": f"{int(signed == 'both')}"}
    if found.kind == "truncated":
        constant = correction(weight_bits, x_bits, found.columns, signed) if found.corrected else 0
        values |= {"COLUMNS": f"{found.columns}", "CORRECTION": f"{total}'d{constant % (1 << total)}"}
    elif found.kind == "broken-array":
        values |= {"VERTICAL": f"{found.columns}", "HORIZONTAL": f"{found.horizontal}"}
    elif found.kind == "logarithmic":
        values |= {"BALANCED": f"{int(found.corrected)}"}
    elif found.kind == "leading":
        values |= {"DIGITS": f"{found.columns}"}
    template = _TEMPLATES[found.kind]
    given = ", ".join(f".{key}({value})" for key, value in values.items())
    body = f"  {template} #({given}) approximate (.a(a), .b(b), .y(y));\nendmodule\n\n"
    return f"{head}{body}{template_closure(template)}"


def _exact_body(weight_bits: int, x_bits: int, signed: str) -> str:
    """Return y = a * b, both operands as wide as the product, so that nothing depends on rules of signs."""
    sign_a = f"a[{weight_bits - 1}]" if signed != "none" else "1'b0"
    sign_b = f"b[{x_bits - 1}]" if signed == "both" else "1'b0"
    return f"  assign y = {{{{{x_bits}{{{sign_a}}}}}, a}} * {{{{{weight_bits}{{{sign_b}}}}}, b}};\n"


def _check(operator: Operator | str, found: Operator | None, weight_bits: int, x_bits: int, signed: str) -> None:
    problems = []
    if found is None and operator != EXACT:
        problems.append(
            Problem("operator", f"{shown(operator)!r} is none of our own", "choose one of SPELLED, or exact")
        )
    if signed not in SIGNS:
        problems.append(Problem("signed", f"{shown(signed)!r} is not one of {', '.join(SIGNS)}"))
    least = 2
    if found is not None and found.kind == "leading":
        least = found.columns + 1
    for title, bits in (("weight_bits", weight_bits), ("x_bits", x_bits)):
        if bits < least and (found is None or found.kind in ("leading", "rounded")):
            problems.append(Problem(title, f"{bits} bits are too few for it: at least {least}", "take wider operands"))
    if problems:
        raise OptionError("multiplier", problems)
