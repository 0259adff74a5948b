"""A template as a top module: its parameters get other values by default; and a Verilog text module by module."""

from __future__ import annotations

import re

from approxhw.rtl_templates import template_closure, template_text


def configured(name: str, parameters: dict[str, int]) -> str:
    """Return the template *name* with all that it instantiates; its own *parameters* have these values by default."""
    text = template_closure(name)
    at = re.search(rf"^module {name} #\(\n(.*?)\n\) \(\n", text, re.MULTILINE | re.DOTALL)
    if at is None:
        raise ValueError(f"template {name} has no parameters")
    head = at[1]
    for key, value in parameters.items():
        head, count = re.subn(rf"^(  parameter {key} += )\d+\b", rf"\g<1>{value}", head, flags=re.MULTILINE)
        if count != 1:
            raise ValueError(f"template {name} has no parameter {key}")
    return text[: at.start(1)] + head + text[at.end(1) :]


def template_parameters(name: str) -> tuple[str, ...]:
    """Return the names of the parameters of the template *name*, in order."""
    return tuple(re.findall(r"^  parameter (?:\[.*?\] )?(\w+) ", template_text(name), re.MULTILINE))


def modules_of(verilog: str) -> dict[str, str]:
    """Return the text of every module in *verilog* by its name, in order; comments before a module are its own."""
    found: dict[str, str] = {}
    for part in re.split(r"(?<=^endmodule\n)", verilog, flags=re.MULTILINE):
        if match := re.search(r"^module (\w+)", part, re.MULTILINE):
            found[match[1]] = f"{part.strip()}\n"
    return found
