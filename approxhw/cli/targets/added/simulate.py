"""``approxhw simulate`` for what a target of another package built: its own proof."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.cli.targets.shared import SimulateOptions

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class NoOptions:
    """What ``simulate`` takes for it beside what it takes of everybody."""


def run(terminal: Terminal, asked: SimulateOptions, own: NoOptions) -> Json:
    """Let the target prove its files, and say what came of it."""
    from approxhw.flow.compile import open_folder

    compiled = open_folder(asked.design)
    verdict = compiled.simulate(asked.simulator, timeout=asked.timeout)
    terminal.say(f"{verdict.simulator}: {verdict.vectors} vectors, {verdict.mismatches} mismatches")
    return compiled.summary()


KIND = CommandKind(
    "added",
    "Targets of other packages",
    NoOptions,
    run,
    is_for="is for targets of other packages",
    refuses="is not for targets of other packages: give --simulator and --timeout",
    listed=False,
)
