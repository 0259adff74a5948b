"""Designs of printed circuits, finished as far as was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from approxhw.cli.parameters.kinds import Json
from approxhw.cli.targets.shared import CompileOptions
from approxhw.common.errors import ToolNotFoundError
from approxhw.sim.simulators.registry import SIMULATORS

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal
    from approxhw.flow.printed.compiled import CompiledDesign

IS_FOR = "is for printed circuits"


def finish_design(terminal: Terminal, compiled: CompiledDesign, asked: CompileOptions) -> Json:
    """Simulate, measure and report a compiled design as far as it was asked for."""
    from approxhw.cli.terminal.safety_view import show_safety

    terminal.compiled(compiled)
    show_safety(terminal, compiled.safety)
    for simulator in () if asked.no_simulate else SIMULATORS:
        try:
            terminal.simulated(compiled.simulate(simulator, on_progress=terminal.progress))
        except ToolNotFoundError as error:
            if asked.require_tools:
                raise
            terminal.warn(f"not simulated on {simulator}: {error}")
    if not asked.no_estimate:
        terminal.estimated(compiled.estimate(on_progress=terminal.progress))
        told = compiled.summary()
        terminal.system(told["system"])
        terminal.offer(str(told["offer"]))
    terminal.say(f"report: {compiled.report()}")
    return dict(compiled.summary())
