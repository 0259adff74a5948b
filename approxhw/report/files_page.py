"""Render the page of what a target of another package built: its files, passes, verdicts, cost. Every text in it is untrusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .data import drawn_ledger_row
from .page import environment

if TYPE_CHECKING:
    from approxhw.artifacts.folder import Plain


def render_files(
    record: Mapping[str, Plain],
    files: Mapping[str, int],
    runs: Sequence[Mapping[str, object]],
    cost: Mapping[str, object] | None,
    folder: str,
    commands: Sequence[str],
) -> str:
    """Return the page of a *record* (``target.json``); ``files``: bytes by name; ``runs``: verdicts; ``cost``: an estimate."""
    data = {
        "ledger": tuple(map(drawn_ledger_row, record["ledger"])),
        "commands": commands,
        "seconds": (),
        "folder": folder,
    }
    page: str = (
        environment().get_template("files.html").render(record=record, files=files, runs=runs, cost=cost, data=data)
    )
    return page
