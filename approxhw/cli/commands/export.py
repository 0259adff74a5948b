"""``approxhw export``: the model of an engine's folder as its passes left it, as an ONNX file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import Command
from approxhw.common.option_fields import argument, option

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class ExportOptions:
    """What ``export`` takes."""

    design: Path = argument("folder of an engine, compiled with passes that change shapes, or with --steps")
    output: Path = option("the model, .onnx", short="-o")


def run(terminal: Terminal, options: ExportOptions) -> dict[str, object]:
    """Write the model of the engine in folder DESIGN as its passes left it, for any ONNX runtime."""
    from approxhw.flow.exporting import export_onnx

    path = export_onnx(options.design, options.output)
    terminal.say(f"model: {path}")
    return {"model": str(path)}


COMMAND = Command("export", run, ExportOptions)
