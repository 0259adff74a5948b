"""``approxhw estimate`` for what a target of another package built: its Verilog files, by the ruler of our own designs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.cli.targets.shared import EstimateOptions
from approxhw.cli.targets.verilog import VerilogOptions
from approxhw.common.option_fields import values_of

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


def run(terminal: Terminal, asked: EstimateOptions, own: VerilogOptions) -> Json:
    """Measure the Verilog files, and say what they cost."""
    from approxhw.flow.compile import open_folder

    compiled = open_folder(asked.design)
    terminal.step("synthesise", 0.0)
    options = {"top": own.top, "vectors": own.vectors, "timeout": asked.timeout, **values_of(own.measure)}
    terminal.estimated(compiled.estimate(asked.cells, **options))
    return compiled.summary()


KIND = CommandKind(
    "added",
    "Targets of other packages",
    VerilogOptions,
    run,
    is_for="is for Verilog files of targets of other packages",
    listed=False,
)
