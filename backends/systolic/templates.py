"""A template as a top module: its parameters get other values by default, and all that it instantiates stands before it."""

from __future__ import annotations

import re

from approxhw.rtl_templates import template_closure


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
