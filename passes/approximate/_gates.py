"""What passes on the level of gates need of a Graph and of whoever runs them, refused at once where it is not there."""

from __future__ import annotations

from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import PassError, Problem
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext
from approxhw.networks.gate_level import Mapper, gate_problems


def refuse_without_gates(name: str, graph: Graph, context: PassContext) -> tuple[Dataset, Mapper]:
    """Return the rows and what synthesises; raise :class:`PassError` with all that keeps the pass *name* from its work."""
    data, found = context.data, gate_problems(graph)
    if data is None or not len(data.X_train):
        why = "what may go is found on training rows, and there are none"
        found.append(Problem(graph.name, why, "give data: --data FILE"))
    if context.mapped_gates is None:
        remedy = "run it by approxhw compile or opt, or give PassContext(mapped_gates=…)"
        found.append(Problem(name, "it works on synthesised gates, and nothing here synthesises", remedy))
    if found or data is None or context.mapped_gates is None:
        raise PassError(f"pass {name}", found)
    return data, context.mapped_gates
