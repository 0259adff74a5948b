"""Render the page of an engine by its template: what the pages of all engines show. Every text in it is untrusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from approxhw.report.data import drawn_ledger_row
from approxhw.report.page import environment

if TYPE_CHECKING:
    from approxhw.artifacts.engine import EngineDesign
    from approxhw.artifacts.folder import Plain
    from approxhw.artifacts.integer_engine import IntegerDesign


def fill_engine_page(
    template: str,
    design: EngineDesign | IntegerDesign,
    runs: Sequence[Mapping[str, Plain]],
    cost: Mapping[str, object] | None,
    folder: str,
    commands: Sequence[str],
    **more: object,
) -> str:
    """Return the page of *design* by *template*; ``runs``: verdicts, ``cost``: an estimate; *more*: what it alone shows."""
    page: str = (
        environment()
        .get_template(template)
        .render(
            design=design,
            safety=design.safety,
            runs=runs,
            mismatches=sum(run["mismatches"] for run in runs),
            cost=cost,
            multiplies=sum(layer.count * layer.m * layer.k * layer.n for layer in design.layers),
            folder=folder,
            data={
                "ledger": tuple(map(drawn_ledger_row, design.ledger)),
                "commands": commands,
                "seconds": tuple(design.seconds.items()),
                "folder": folder,
            },
            **more,
        )
    )
    return page
