"""``compile`` for a target that another package adds: its options stand in ``--target name{option=value}``."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from approxhw.common.errors import OptionError, Problem

from .terminal import Terminal

_SHARED = {"target", "data", "output", "passes", "steps", "from_step"}


def compile_added_target(terminal: Terminal, model: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Compile *model* for the target that ``--target`` spells, and say which files that gave."""
    from approxhw.flow.compile import compile
    from approxhw.flow.targets import parse_target
    from approxhw.ir.pass_manager import parse_passes

    target = parse_target(given["target"])
    context = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    said = [name for name in given if name not in _SHARED and context.get_parameter_source(name) is not default]
    if said:
        why = f"target {target.name} has its options in braces"
        remedy = f"leave it out, or write --target '{target.name}{{option=value}}'"
        names = [{"number_format": "format"}.get(name, name).replace("_", "-") for name in said]
        raise OptionError("compile", [Problem(f"--{name}", why, remedy) for name in names])
    built = compile(
        model,
        target=target,
        data=given["data"],
        output=given["output"],
        passes=parse_passes(given["passes"]) if given["passes"] else None,
        steps=given["steps"],
        from_step=given["from_step"],
        command=shlex.join(["approxhw", *sys.argv[1:]]),
        on_progress=terminal.step,
    )
    terminal.ledger(built.record["ledger"])
    terminal.say(f"{target.name}: {built.folder / 'files'}: {', '.join(built.files)}")
    return {"design": str(built.folder), **built.record, "files": list(built.files)}
