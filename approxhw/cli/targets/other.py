"""Targets of others: a frozen dataclass whose fields are the options of ``approxhw compile``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from approxhw.cli.parameters.command import command_line
from approxhw.cli.parameters.kinds import Kind
from approxhw.common.option_fields import nested

from .shared import CompileOptions, TargetChoice

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


def compile_kind(name: str, target: type) -> Kind:
    """Return what ``compile`` takes and does for the dataclass *target*, which compiles models itself."""
    fields = [("source", TargetChoice, nested(TargetChoice())), ("target", target, nested(target()))]
    options = dataclasses.make_dataclass(f"{target.__name__}Options", fields, frozen=True)
    return Kind(name, f"Target {name}", options, _run, is_for=f"is for --target {name}")


def _run(terminal: Terminal, asked: CompileOptions, own: Any) -> dict[str, Any]:
    """Compile a model; simulation, measurement and report are the design's own."""
    from approxhw.flow.compile import compile

    compiled = compile(
        asked.model,
        target=own.target,
        data=own.source.data,
        output=asked.output,
        command=command_line(),
        on_progress=terminal.step,
    )
    terminal.say(f"design: {compiled.folder}")
    return {"design": str(compiled.folder)}
