"""``approxhw compile`` for targets of other packages: their options stand in ``--target name{option=value}``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import command_line
from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.cli.targets.shared import CompileOptions, Steps, TargetChoice
from approxhw.common.errors import Problem
from approxhw.common.option_fields import nested

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class AddedOptions:
    """What ``compile`` takes for a target of another package."""

    source: TargetChoice = nested(TargetChoice())
    steps: Steps = nested(Steps())

    def problems(self, said: Mapping[str, object]) -> list[Problem]:
        """Return what is wrong with the passes."""
        return self.steps.problems()


def added_kind(text: str) -> CommandKind:
    """Return what ``compile`` takes and does for the target that *text* spells; raise errors of the target's options."""
    from approxhw.flow.stages.targets import name_of_target, parse_target

    target = parse_target(text)
    name = name_of_target(target)

    def run(terminal: Terminal, asked: CompileOptions, own: AddedOptions) -> Json:
        from approxhw.flow.compile import compile

        built = compile(
            asked.model,
            target=target,
            data=own.source.rows,
            output=asked.output,
            command=command_line(),
            on_progress=terminal.step,
            **own.steps.asked(),
        )
        terminal.ledger(built.record["ledger"])
        terminal.say(f"{name}: {built.folder / 'files'}: {', '.join(built.files)}")
        terminal.say(f"report: {built.report()}")
        return dict(built.summary())

    return CommandKind(
        name,
        f"Target {name}",
        AddedOptions,
        run,
        is_for=f"is for --target {name}",
        refuses=f"target {name} has its options in braces",
        remedy=f"leave it out, or write --target '{name}{{option=value}}'",
    )
