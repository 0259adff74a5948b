"""``approxhw compile --target matrix-engine``: an array that multiplies any model's matrices."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.cli.targets.engines import compile_and_tell
from approxhw.cli.targets.shared import CompileOptions, OpenSizes, Steps, TargetChoice
from approxhw.common.errors import OptionError, Problem
from approxhw.common.option_fields import nested
from approxhw.engine.matrix.target import MatrixEngine
from approxhw.flow.stages.safety import SafetyOptions
from approxhw.numerics.eight_bit.port_codes import EngineCodes, lane_problems, read_codes
from approxhw.numerics.mac.arithmetic import FloatMac

from .folder import IS_FOR, measured

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class EngineOptions:
    """What ``compile`` takes for a matrix engine."""

    source: TargetChoice = nested(TargetChoice())
    target: MatrixEngine = nested(MatrixEngine())
    steps: Steps = nested(Steps())
    safety: SafetyOptions = nested(SafetyOptions())
    open: OpenSizes = nested(OpenSizes())

    def problems(self, said: Mapping[str, object]) -> list[Problem]:
        """Return what is wrong with the array, with sizes and with passes."""
        arithmetic = {each.name for each in fields(FloatMac)} | {each.name for each in fields(EngineCodes)}
        voided = arithmetic | {"result", "compress"}
        found = [*problems_of(self.target, self.open), *self.steps.problems(said, voided)]
        asked = said.get("format", self.target.mac.format)
        if isinstance(asked, str) and asked != self.target.mac.format:
            # there is no such arithmetic; whether codes would suit its format is told all the same
            with suppress(OptionError):
                found += lane_problems(read_codes(self.target.compress), 1, asked)
        return found


def problems_of(target: MatrixEngine, sizes: OpenSizes) -> list[Problem]:
    """Return what is wrong with the array *target* and with *sizes*."""
    found: list[Problem] = []
    for look in (target.array, sizes.sizes):
        try:
            look()
        except OptionError as error:
            found += error.problems
    return found


def run(terminal: Terminal, asked: CompileOptions, own: EngineOptions) -> Json:
    """Compile a matrix engine, stream a layer through it, measure it, and say what came of it."""
    from approxhw.cli.terminal.engine_view import show_engine
    from approxhw.engine.matrix.compile import compile_engine

    return compile_and_tell(terminal, asked, own, compile_engine, show_engine, measured)


KIND = CommandKind("matrix-engine", "Target matrix-engine", EngineOptions, run, is_for=IS_FOR)
