"""Render the page of what a target of another package built: its files, passes, verdicts, cost. Every text in it is untrusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .data import ledger_row
from .page import environment, write_page


def render_files(
    record: Mapping[str, Any],
    files: Mapping[str, int],
    runs: Sequence[Mapping[str, Any]],
    cost: Mapping[str, Any] | None,
    folder: str,
    commands: Sequence[str],
) -> str:
    """Return the page of a *record* (``target.json``); ``files``: bytes by name; ``runs``: verdicts; ``cost``: an estimate."""
    data = {
        "ledger": tuple(map(ledger_row, record["ledger"])),
        "commands": commands,
        "seconds": (),
        "folder": folder,
    }
    page: str = (
        environment().get_template("files.html").render(record=record, files=files, runs=runs, cost=cost, data=data)
    )
    return page


def write_files_page(path: Path, *given: Any) -> None:
    """Write the page of :func:`render_files` to the file *path*, whole or not at all."""
    write_page(path, render_files(*given))
