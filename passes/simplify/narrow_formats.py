"""The pass that makes every format as narrow as its exact range allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import fit_formats


@dataclass(frozen=True)
class NarrowFormats:
    """Make every Fixed format the narrowest that holds the exact range of its value; codes stay."""

    kind: ClassVar[str] = "exact"

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with other formats; scales, zero points and codes are what they were."""
        return fit_formats(graph)
