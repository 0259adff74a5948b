"""``approxhw search``: the smallest circuits, or the cheapest arithmetic, that still do a model's job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import Command
from approxhw.cli.parameters.kinds import Given
from approxhw.cli.targets.registry import check_searched, kinds_of
from approxhw.cli.targets.shared import SearchOptions

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


def run(terminal: Terminal, given: Given) -> dict[str, object]:
    """Search the smallest circuits that still do MODEL's job: a front of designs, and an interactive page.

    With --target matrix-engine: the cheapest arithmetic of every matrix product.
    """
    target = given.glance(SearchOptions).target
    check_searched(target)
    return given.run(target, terminal)


COMMAND = Command("search", run, SearchOptions, lambda: kinds_of("search"), "target")
