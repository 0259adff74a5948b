"""A library's timing as ABC reads it, so that both analyses can be compared on equal terms."""

from __future__ import annotations

from dataclasses import replace

from .cells import CellLibrary
from .delay_tables import Arc, CellTiming, DelayTable, worst


def as_abc_reads(library: CellLibrary) -> CellLibrary:
    """Return *library* with one arc for each input and output: the worst tables of all its arcs, the first one's sense.

    ABC's timing manager keeps no more. For an exclusive-or or a multiplexer's select it so forgets one of both senses,
    and takes the other's delays where they are longer; :func:`~.timing.analyse` otherwise keeps the senses apart.
    """
    cells = {
        name: cell if cell.timing is None else replace(cell, timing=_merged(cell.timing))
        for name, cell in library.cells.items()
    }
    return replace(library, cells=cells)


def _merged(timing: CellTiming) -> CellTiming:
    arcs: dict[tuple[str, str], Arc] = {}
    for arc in timing.arcs:
        first = arcs.setdefault((arc.pin, arc.output), arc)
        if first is not arc:
            arcs[(arc.pin, arc.output)] = replace(
                first, delays=_worse(first.delays, arc.delays), slews=_worse(first.slews, arc.slews)
            )
    return replace(timing, arcs=tuple(arcs.values()))


def _worse(
    first: tuple[DelayTable | None, DelayTable | None], second: tuple[DelayTable | None, DelayTable | None]
) -> tuple[DelayTable | None, DelayTable | None]:
    rise, fall = (worst(a, b) or a if a and b else a or b for a, b in zip(first, second, strict=True))
    return rise, fall
