"""A target: a text file that lists the nodes of the integer Graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from approxhw.common.data.dataset import Dataset
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import Pass, named_pipeline


@dataclass(frozen=True)
class Toy:
    """A list of the nodes, one a line."""

    name: ClassVar[str] = "toy"

    greeting: str = field(default="nodes", metadata={"help": "the first line"})
    weight_bits: int = field(default=8, metadata={"help": "bits of a weight, 2 to 16"})

    def passes(self) -> Sequence[Pass]:
        """Return what makes an integer Graph of a float one."""
        return named_pipeline("printed-exact", weight_bits=self.weight_bits)

    def build(self, graph: Graph, data: Dataset | None) -> Mapping[str, str | bytes]:
        """Return the one file."""
        lines = [f"{node.name} {node.kind} {node.type}" for node in graph.nodes]
        return {"nodes.txt": "\n".join([self.greeting, *lines]) + "\n"}
