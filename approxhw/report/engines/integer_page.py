"""Render the page of an integer engine: layers and their operators, simulations, cost. Every text in it is untrusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .page_of_engine import fill_engine_page

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
    return fill_engine_page("integer_engine.html", design, runs, cost, folder, commands)
