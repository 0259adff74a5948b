"""A pass: weights near zero become zero."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem
from approxhw.ir.graph import Graph, Node, rewrite
from approxhw.ir.kinds import Constant, Dense
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import code_constant, fit_formats


@dataclass(frozen=True)
class DropSmallWeights:
    """Make weights whose code is below *least* zero."""

    kind: ClassVar[str] = "approximating"

    least: int = field(default=2, metadata={"help": "least code of a weight that stays, at least 1"})

    def __post_init__(self) -> None:
        """Refuse an option out of reach."""
        if self.least < 1:
            raise OptionError(
                "drop-small-weights", [Problem("drop-small-weights.least", f"{self.least} is less than 1")]
            )

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with fewer weights; what was done is noted in the ledger."""
        if not graph.is_integer:
            why = "only an integer Graph has codes"
            raise PassError("pass drop-small-weights", [Problem(graph.name, why, "run quantize-weights before")])
        weights = {node.inputs[1] for node in graph.nodes if isinstance(node.op, Dense)}

        def change(node: Node) -> list[Node] | None:
            if node.name not in weights or not isinstance(node.op, Constant):
                return None
            data = np.where(abs(node.op.data) < self.least, 0, node.op.data)
            context.note(f"{node.name}: {int(np.sum(data != node.op.data))} weights dropped")
            return [code_constant(node.name, data, node.type.format.scale, origin=node.origin)]

        return fit_formats(rewrite(graph, change))
