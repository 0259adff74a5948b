"""Render the page of a matrix engine: layers, needed shifts, simulations, cost. Every text in it is untrusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .page_of_engine import fill_engine_page
from .shifts import draw_shifts

if TYPE_CHECKING:
    from approxhw.artifacts.engine import EngineDesign
    from approxhw.artifacts.folder import Plain


def render_engine(
    design: EngineDesign,
    runs: Sequence[Mapping[str, Plain]],
    cost: Mapping[str, object] | None,
    folder: str,
    commands: Sequence[str],
    beats: Mapping[str, Mapping[str, int]] | None = None,
) -> str:
    """Return the page of *design* (``EngineDesign``); ``runs``: verdicts, ``cost``: an estimate, as ``--json`` tells them.

    ``beats``: bits of a beat by port, where ports carry 8-bit codes.
    """
    from markupsafe import Markup

    histograms = {layer.name: np.array(layer.shifts, np.int64) for layer in design.layers if layer.shifts}
    # the drawing is a template's work, in which every name is escaped already
    shifts = Markup(_inline(draw_shifts(histograms))) if histograms else ""
    return fill_engine_page("engine.html", design, runs, cost, folder, commands, shifts=shifts, beats=beats)


def _inline(svg: str) -> str:
    """Return the drawing without an XML declaration, which only a file of its own may have."""
    return svg[svg.index("<svg") :]
