"""``approxhw compile --target printed``: a bespoke circuit of a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from approxhw.cli.parameters.command import command_line
from approxhw.cli.parameters.kinds import Kind
from approxhw.cli.targets.shared import CompileOptions, TargetChoice
from approxhw.common.errors import OptionError, Problem
from approxhw.common.option_fields import nested, option
from approxhw.flow.compile import Printed

from .folder import IS_FOR, finished

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class PrintedOptions:
    """What ``compile`` takes for a printed circuit."""

    source: TargetChoice = nested(TargetChoice())
    target: Printed = nested(Printed())
    passes: str | None = option(
        "passes instead of the pipeline's, such as fold-affine,quantize-weights{bits=6}", None, metavar="PASSES"
    )
    steps: bool = option("keep the Graph after every pass in steps/", False)
    from_step: int | None = option("start behind this step of the design that is in the folder already", None)

    def problems(self) -> list[Problem]:
        """Return what is wrong with the passes."""
        from approxhw.ir.pass_manager import parse_passes

        try:
            parse_passes(self.passes) if self.passes else self.target.passes()
        except OptionError as error:
            return list(error.problems)
        return []


def run(terminal: Terminal, asked: CompileOptions, own: PrintedOptions) -> dict[str, Any]:
    """Compile a model, simulate and measure it, and say what came of it."""
    from approxhw.backends.estimate import load_library
    from approxhw.flow.compile import compile
    from approxhw.ir.pass_manager import parse_passes

    if not asked.no_estimate:
        load_library(own.target.library)  # before anything is built for it
    compiled = compile(
        asked.model,
        target=own.target,
        data=own.source.data,
        output=asked.output,
        passes=parse_passes(own.passes) if own.passes else None,
        steps=own.steps,
        from_step=own.from_step,
        command=command_line(),
        on_progress=terminal.step,
    )
    return finished(terminal, compiled, asked)


KIND = Kind("printed", "Target printed", PrintedOptions, run, is_for=IS_FOR)
