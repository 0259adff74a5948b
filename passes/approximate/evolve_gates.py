"""The pass that evolves the gates of a synthesised classifier: Cartesian genetic programming, errors against area."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from approxhw.common.errors import OptionError, PassError, Problem
from approxhw.common.option_fields import field_of
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext
from approxhw.networks.gate_level import GateOptions, option_problems

from ._gates import refuse_without_gates

_NAME = "evolve-gates"


@dataclass(frozen=True)
class EvolveGates:
    """Evolve the synthesised gates by Cartesian genetic programming; rows set aside lose at most *max-loss*.

    A genome is the whole netlist: moves change a gate's function, rewire its operands, make it a copy of a signal above or a
    constant, and replace outputs; gates that nothing reads drift. NSGA-II keeps the fronts of rows lost and area on rows that it
    sees and noisy copies of them; a share of the training rows is set *aside*, and the smallest netlist whose accuracy on those
    is at most *max-loss* lower is synthesised, and evolved further. With the seed and the rows of ``approximate-gates`` the same
    rows are set aside. Ctrl-C ends it with the best so far. What is left is a Graph of one `Gates`.
    """

    kind: ClassVar[str] = "approximating"

    generations: int = field(default=900, metadata={"help": "generations, of all rounds together"})
    max_loss: float = field_of(GateOptions, "max_loss")
    population: int = field(default=256, metadata={"help": "netlists of a generation"})
    islands: int = field(default=2, metadata={"help": "populations that meet by migration only"})
    aside: float = field(default=0.3, metadata={"help": "share of training rows that no genome sees"})
    copies: int = field(default=4, metadata={"help": "noisy copies of each row that genomes see"})
    noise: float = field_of(GateOptions, "noise")
    rows: int = field_of(GateOptions, "rows")
    seed: int = field(default=1, metadata={"help": "which rows are set aside, and every draw; same seed, same gates"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        if found := option_problems(_NAME, self):
            raise OptionError(_NAME, found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* as the smallest `Gates` that evolved, or as it is where none is smaller."""
        refuse_without_gates(_NAME, graph, context)
        if context.search is None:
            why = "whoever runs the passes hands in no search"
            raise PassError(f"pass {_NAME}", [Problem(graph.name, why, "use approxhw compile or opt, or ax.compile")])
        return context.search(graph, self, context)
