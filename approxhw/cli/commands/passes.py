"""``approxhw passes``: all passes with their contracts and options, and the named pipelines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import Command

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class PassesOptions:
    """What ``passes`` takes: nothing."""


def run(terminal: Terminal, options: PassesOptions) -> dict[str, object]:
    """List passes with their contracts and options, and the named pipelines."""
    from approxhw.ir.pass_manager import (
        available_passes,
        available_pipelines,
        describe,
        named_pipeline,
        pass_named,
        spell_pass,
    )

    infos = [describe(pass_named(name)) for name in available_passes()]
    pipelines = {name: [spell_pass(item) for item in named_pipeline(name)] for name in available_pipelines()}
    terminal.passes(infos, pipelines)
    told = [
        {
            "name": info.name,
            "kind": info.kind,
            "contract": info.contract,
            "package": info.package,
            "options": [asdict(option) for option in info.options],
        }
        for info in infos
    ]
    return {"passes": told, "pipelines": pipelines}


COMMAND = Command("passes", run, PassesOptions)
