"""What commands do for engines, whatever they multiply: compiled, streamed through, measured, and shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from approxhw.cli.parameters.command import command_line
from approxhw.cli.parameters.kinds import Json
from approxhw.cli.targets.shared import CompileOptions, OpenSizes, Steps, TargetChoice
from approxhw.common.errors import ToolNotFoundError
from approxhw.sim.simulators.registry import SIMULATORS

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal
    from approxhw.engine.integers.compile import CompiledIntegerEngine
    from approxhw.engine.integers.target import IntegerEngine
    from approxhw.engine.matrix.compile import CompiledEngine
    from approxhw.engine.matrix.target import MatrixEngine
    from approxhw.flow.stages.protocol import Compiled, Option
    from approxhw.flow.stages.safety import SafetyOptions

E = TypeVar("E", "CompiledEngine", "CompiledIntegerEngine")


class _Own(Protocol):
    @property
    def source(self) -> TargetChoice: ...
    @property
    def target(self) -> MatrixEngine | IntegerEngine: ...
    @property
    def steps(self) -> Steps: ...
    @property
    def safety(self) -> SafetyOptions: ...
    @property
    def open(self) -> OpenSizes: ...


def compile_and_tell(
    terminal: Terminal,
    asked: CompileOptions,
    own: _Own,
    build: Callable[..., E],
    show: Callable[[Terminal, E], None],
    measure: Callable[[Terminal, E], None],
) -> Json:
    """Compile an engine by *build*, *show* it, stream a layer through it, *measure* it, and say what came of it."""
    from approxhw.backends.estimate import load_library
    from approxhw.cli.terminal.safety_view import show_safety

    if not asked.no_estimate:
        load_library(own.target.library)  # before anything is built for it
    compiled = build(
        asked.model,
        target=own.target,
        data=own.source.rows,
        output=asked.output,
        shape=own.open.sizes(),
        **own.steps.asked(),
        safety=own.safety,
        command=command_line(),
        on_progress=terminal.step,
    )
    show(terminal, compiled)
    show_safety(terminal, compiled.safety)
    for simulator in () if asked.no_simulate or not compiled.design.operands else SIMULATORS:
        try:
            streamed(terminal, compiled, simulator)
        except ToolNotFoundError as error:
            if asked.require_tools:
                raise
            terminal.warn(f"not simulated on {simulator}: {error}")
    if not asked.no_estimate and compiled.design.operands:
        measure(terminal, compiled)
    terminal.say(f"report: {compiled.report()}")
    return dict(compiled.summary())


def streamed(terminal: Terminal, compiled: Compiled, simulator: str, **options: Option) -> None:
    """Stream a layer through the engine, and say what came of it."""
    from approxhw.cli.terminal.engine_view import show_stream

    terminal.step(f"simulate on {simulator}", 0.0)
    found = compiled.simulate(simulator, **options)
    terminal.step(f"simulate on {simulator}", 1.0)
    show_stream(terminal, found)
