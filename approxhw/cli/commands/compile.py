"""``approxhw compile``: a model, or a member of a front, into a design folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import Command
from approxhw.cli.parameters.kinds import Given
from approxhw.cli.targets.registry import is_ours, kinds_of
from approxhw.cli.targets.shared import CompileOptions, TargetChoice

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


def run(terminal: Terminal, given: Given) -> dict[str, object]:
    """Compile MODEL into a design folder: Verilog, simulated on both simulators, measured, with a report.

    Targets: printed, a bespoke circuit of a classifier; matrix-engine, an array that multiplies any model's matrices;
    integer-engine, one that multiplies 8-bit codes by any operator.

    MODEL may be the folder of a front, too: one of its members is compiled.
    """
    asked, target = given.glance(CompileOptions), given.read(TargetChoice).target
    if asked.pick is not None or (asked.model / "front.json").is_file():
        return given.run("front", terminal)
    if is_ours(target):
        return given.run(target, terminal)
    from approxhw.cli.targets.added.compile import added_kind

    return given.run_as(added_kind(target), terminal)


COMMAND = Command("compile", run, CompileOptions, lambda: kinds_of("compile"), "target")
