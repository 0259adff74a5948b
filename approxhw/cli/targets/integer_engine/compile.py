"""``approxhw compile --target integer-engine``: an array that multiplies a model's 8-bit codes by any operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.cli.targets.engines import compile_and_tell
from approxhw.cli.targets.shared import CompileOptions, OpenSizes, Steps, TargetChoice
from approxhw.common.errors import OptionError, Problem
from approxhw.common.option_fields import nested
from approxhw.engine.integers.target import IntegerEngine
from approxhw.flow.stages.safety import SafetyOptions

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal

IS_FOR = "is for --target integer-engine"
_ARRAY = ("rows", "columns", "depth", "vectors", "clock_ns", "library")
"""Fields that passes do not say."""


@dataclass(frozen=True)
class IntegerEngineOptions:
    """What ``compile`` takes for an integer engine."""

    source: TargetChoice = nested(TargetChoice())
    target: IntegerEngine = nested(IntegerEngine())
    steps: Steps = nested(Steps())
    safety: SafetyOptions = nested(SafetyOptions())
    open: OpenSizes = nested(OpenSizes())

    def problems(self, said: Mapping[str, object]) -> list[Problem]:
        """Return what is wrong with the array, with sizes and with passes."""
        voided = {each.name for each in fields(IntegerEngine)} - set(_ARRAY) - {"operator"}
        found = self.steps.problems(said, voided)
        for look in (self.target.check, self.open.sizes):
            try:
                look()
            except OptionError as error:
                found += error.problems
        return found


def run(terminal: Terminal, asked: CompileOptions, own: IntegerEngineOptions) -> Json:
    """Compile an integer engine, stream a layer through it, measure it, and say what came of it."""
    from approxhw.cli.terminal.integer_view import show_integer_cost, show_integer_engine
    from approxhw.engine.integers.compile import CompiledIntegerEngine, compile_integer_engine

    def measured(terminal: Terminal, compiled: CompiledIntegerEngine) -> None:
        show_integer_cost(terminal, compiled.estimate(on_progress=terminal.progress))

    return compile_and_tell(terminal, asked, own, compile_integer_engine, show_integer_engine, measured)


KIND = CommandKind("integer-engine", "Target integer-engine", IntegerEngineOptions, run, is_for=IS_FOR)
