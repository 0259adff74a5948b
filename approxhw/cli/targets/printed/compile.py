"""``approxhw compile --target printed``: a bespoke circuit of a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import command_line
from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.cli.targets.shared import CompileOptions, Steps, TargetChoice
from approxhw.common.errors import OptionError, Problem
from approxhw.common.option_fields import nested
from approxhw.flow.printed.target import Printed
from approxhw.flow.stages.safety import SafetyOptions

from .folder import IS_FOR, finish_design

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


PIPELINED = frozenset(each.name for each in fields(Printed)) - {"registers", "library"}
"""Options that the passes of the target come from."""


@dataclass(frozen=True)
class PrintedOptions:
    """What ``compile`` takes for a printed circuit."""

    source: TargetChoice = nested(TargetChoice())
    target: Printed = nested(Printed())
    steps: Steps = nested(Steps())
    safety: SafetyOptions = nested(SafetyOptions(), without="engines_only")

    def problems(self, said: Mapping[str, object]) -> list[Problem]:
        """Return what is wrong with the passes."""
        try:
            if self.steps.passes or not self.target.passes():
                return self.steps.problems(said, PIPELINED)
            return []
        except OptionError as error:
            return list(error.problems)


def run(terminal: Terminal, asked: CompileOptions, own: PrintedOptions) -> Json:
    """Compile a model, simulate and measure it, and say what came of it."""
    from approxhw.backends.estimate import load_library
    from approxhw.flow.compile import compile

    if not asked.no_estimate:
        load_library(own.target.library)  # before anything is built for it
    compiled = compile(
        asked.model,
        target=own.target,
        data=own.source.rows,
        output=asked.output,
        command=command_line(),
        **own.steps.asked(),
        safety=own.safety,
        on_progress=terminal.step,
    )
    return finish_design(terminal, compiled, asked)


KIND = CommandKind("printed", "Target printed", PrintedOptions, run, is_for=IS_FOR)
