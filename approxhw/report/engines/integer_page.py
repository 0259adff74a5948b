"""Render the page of an integer engine: layers and their operators, simulations, cost. Every text in it is untrusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from approxhw.report.data import drawn_ledger_row
from approxhw.report.page import environment

if TYPE_CHECKING:
    from approxhw.artifacts.folder import Plain
    from approxhw.artifacts.integer_engine import IntegerDesign


def render_integer_engine(
    design: IntegerDesign,
    runs: Sequence[Mapping[str, Plain]],
    cost: Mapping[str, object] | None,
    folder: str,
    commands: Sequence[str],
) -> str:
    """Return the page of *design*; ``runs``: verdicts, ``cost``: an estimate, as ``--json`` tells them."""
    page: str = (
        environment()
        .get_template("integer_engine.html")
        .render(
            design=design,
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
        )
    )
    return page
