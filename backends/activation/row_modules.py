"""Softmax and layer norm of a row in integers → Verilog modules of all codes side by side."""

from __future__ import annotations

from approxhw.numerics.functions.rows import IntegerLayerNorm, IntegerSoftmax
from approxhw.rtl_templates import template_closure

from .unit_module import unit_module


def layer_norm_module(norm: IntegerLayerNorm, name: str = "layer_norm") -> str:
    """Return *norm* as module *name*: ``y`` of ``x``, ``count`` codes each, code 0 in the lowest bits."""
    count, out = norm.count, norm.out_bits
    parameters = (
        f".COUNT({count}), .IN({norm.bits}), .ROOT({(norm.square_bits + 1) // 2}), .OUT({out}),\n"
        f"    .FACTOR({out}'d{norm.factor}), .EPSILON(32'd{norm.epsilon})"
    )
    return (
        f"// (x - mean) / deviation of {count} codes of {norm.bits} bits, in steps of 2^-{norm.fraction}\n"
        f"module {name} (\n  input  wire [{count * norm.bits - 1}:0] x,\n  output wire [{count * out - 1}:0] y\n);\n"
        f"  row_normalize #(\n    {parameters}\n  ) row (.x(x), .y(y));\nendmodule\n{template_closure('row_normalize')}"
    )


def softmax_module(softmax: IntegerSoftmax, name: str = "softmax") -> str:
    """Return *softmax* as module *name*: ``y`` of ``x``, ``count`` codes each, code 0 in the lowest bits."""
    count, bits, out, unit = softmax.count, softmax.bits, softmax.out_bits, softmax.exponential
    exponential = unit_module(unit, f"{name}_exponential")
    wide = unit.out_bits
    read = dict(exponential.input_bits).get("x", ())
    lines = []
    for i in range(count):
        # lowest bit last, as Verilog writes them side by side
        picked = ", ".join(f"distances[{bits * i + position}]" for position in reversed(read))
        inputs = f".x({{{picked}}}), " if read else ""
        lines.append(f"  {name}_exponential exponential{i} ({inputs}.y(shares[{wide * i} +: {wide}]));\n")
    total = unit.out_bits + max(1, (count - 1).bit_length())
    unread = sorted(set(range(bits)) - set(read))
    dropped = ", ".join(f"distances[{bits * i + position}]" for i in range(count) for position in unread)
    unused = f"  wire unused_bits;\n  assign unused_bits = ^{{{dropped}}};\n" if unread else ""
    templates = template_closure("row_distances", "row_shares")
    # the unit's text may hold templates that are here, too: each module once
    own = "".join(part for part in _modules(exponential.verilog) if _module_name(part) not in _names(templates))
    return (
        f"// softmax of {count} codes of {bits} bits, in steps of 2^-{out}\n"
        f"module {name} (\n  input  wire [{count * bits - 1}:0] x,\n  output wire [{count * out - 1}:0] y\n);\n"
        f"  wire [{count * bits - 1}:0] distances;\n  wire [{count * wide - 1}:0] shares;\n{unused}"
        f"  row_distances #(.COUNT({count}), .IN({bits})) below (.x(x), .d(distances));\n"
        + "".join(lines)
        + f"  row_shares #(.COUNT({count}), .A_BITS({wide}), .SUM({total}), .OUT({out})) of_all (.e(shares), .y(y));\n"
        f"endmodule\n{own}{templates}"
    )


def _modules(verilog: str) -> list[str]:
    """Return the modules of *verilog*, comments in front with them."""
    return [f"{part}endmodule\n" for part in verilog.split("endmodule\n")[:-1]]


def _module_name(text: str) -> str:
    line = next(line for line in text.splitlines() if line.startswith("module "))
    return line.removeprefix("module ").split("(")[0].split("#")[0].strip()


def _names(verilog: str) -> set[str]:
    return {_module_name(part) for part in _modules(verilog)}
