"""The safety report as people see it on a terminal: the verdict, the subgroup that loses most, the layer that harms most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from approxhw.common.errors import shown
from approxhw.common.statistics.safety import told_change

if TYPE_CHECKING:
    from approxhw.common.statistics.safety import SafetyReport

    from .terminal import Terminal


def show_safety(terminal: Terminal, safety: SafetyReport | None) -> None:
    """Say what approximating does to the worst class and subgroup; in red where the mean holds and a class does not."""
    if safety is None:
        return
    from rich.markup import escape

    line = f"safety, {safety.judged_by} against {safety.against}: {safety.sentence}"
    if safety.hidden:
        terminal.out.print(f"[bold red]{escape(line)}[/]", soft_wrap=True)
    else:
        terminal.say(line)
    worst = safety.worst
    if worst is not None and worst.told is not None:
        terminal.say(f"class {shown(worst.name, 40)} on {safety.told_by}: {told_change(worst.told)}")
    if safety.groups and safety.groups[0].judged.lost:
        first = safety.groups[0]
        beside = f"; {safety.told_by}: {told_change(first.told)}" if first.told is not None else ""
        terminal.say(
            f"of {safety.groups_seen} subgroups by {safety.groups_by}, the one that most surely loses most is "
            f"{shown(first.name, 80)}: {told_change(first.judged)}{beside}"
        )
    if safety.layers:
        layer = max(safety.layers, key=lambda form: (form.worst.loss, form.whole.loss))
        terminal.say(
            f"alone approximated, layer {shown(layer.name, 60)} harms a class most: {shown(layer.worst_class, 40)} "
            f"{told_change(layer.worst)}"
        )
    for note in safety.notes:
        terminal.warn(note)
