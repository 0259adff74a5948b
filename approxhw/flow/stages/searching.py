"""What carries out the passes that search: functions of the room above, known by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import Pass, PassContext, name_of

from .targets import loaded

SEARCHES: Mapping[str, str] = {
    "genetic-retraining": "approxhw.dse.as_pass.masked_network:retrained",
    "evolve-gates": "approxhw.dse.as_pass.gates:evolved",
}
"""Pass → what it asks to search."""


def searching(library: str) -> Callable[[Graph, Pass, PassContext], Graph]:
    """Return what finds the Graph that a pass of ``SEARCHES`` asks for, with areas of *library*."""

    def search(graph: Graph, item: Pass, context: PassContext) -> Graph:
        found: Graph = loaded(SEARCHES[name_of(item)])(graph, item, context, library)
        return found

    return search
