"""The pass that simplifies the gates of a synthesised classifier with training rows as the care set."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem
from approxhw.ir.chain import is_decision
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Gates
from approxhw.ir.pass_manager import PassContext
from approxhw.numerics.formats import Fixed
from approxhw.numerics.logic.gates import MOST_GATES, GateList, MappedGates

from ._removal import CareRows, Removed, care_rows, remove_gates

_NAME = "approximate-gates"
MOST_BITS = 62
"""Bits of an input code that gates may look at."""


@dataclass(frozen=True)
class ApproximateGates:
    """Simplify the synthesised gates: what training rows do not need goes, while rows set aside lose at most *max-loss*.

    The circuit is synthesised; each signal is tried as a constant, as one of the *candidates* earlier signals that agree with it
    most on rows, inverted or not, and as a cheaper gate. What frees most area is taken, never what wins rows: at most *max-loss*
    of the rows that moves see, and of noisy copies of them, may be lost, where those count that were right before. Now and then
    the rest is synthesised anew. A share of the training rows is set *aside*: no move sees them, and it ends when their accuracy
    is more than *max-loss* lower. What is left is a Graph of one `Gates`, which is the meaning itself.
    """

    kind: ClassVar[str] = "approximating"

    max_loss: float = field(default=0.005, metadata={"help": "accuracy on rows set aside that may be lost, 0 to 1"})
    aside: float = field(default=0.3, metadata={"help": "share of training rows that no move sees"})
    copies: int = field(default=4, metadata={"help": "noisy copies of each row that moves see"})
    noise: float = field(default=0.2, metadata={"help": "chance of each code of a copy to be one off"})
    candidates: int = field(default=4, metadata={"help": "earlier signals tried in the place of each"})
    rows: int = field(default=10_000, metadata={"help": "training rows that are looked at, at most"})
    seed: int = field(default=1, metadata={"help": "which rows are set aside, and the noise; same seed, same gates"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        found = []
        if not 0 <= self.max_loss <= 1:
            found.append(Problem(f"{_NAME}.max_loss", f"{self.max_loss:g} is not in 0…1", "write 0.5% or 0.005"))
        if not 0 < self.aside < 1:
            found.append(Problem(f"{_NAME}.aside", f"{self.aside:g} is not between 0 and 1"))
        if not 0 <= self.noise <= 1:
            found.append(Problem(f"{_NAME}.noise", f"{self.noise:g} is not in 0…1"))
        for name, least in (("copies", 0), ("candidates", 0), ("rows", 2), ("seed", 0)):
            if getattr(self, name) < least:
                found.append(Problem(f"{_NAME}.{name}", f"{getattr(self, name)} is less than {least}"))
        if found:
            raise OptionError(_NAME, found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* as one `Gates` of fewer gates, or as it is where none may go."""
        data = context.data
        self._refuse(graph, context)
        assert data is not None
        assert context.mapped_gates is not None
        codes = codes_of(graph, data.X_train)
        rng = np.random.default_rng([self.seed, 13])
        fmt = graph.input.type.format
        assert isinstance(fmt, Fixed)
        rows = care_rows(
            codes,
            data.y_train,
            aside=self.aside,
            copies=self.copies,
            noise=self.noise,
            high=fmt.high,
            most=self.rows,
            rng=rng,
        )
        if not len(rows.codes) or not len(rows.aside_codes):
            why = f"{len(codes)} training rows, of which {len(rows.aside_codes)} can be set aside: too few to judge by"
            raise PassError(f"pass {_NAME}", [Problem("rows", why, "give more rows, or another share aside=…")])
        mapped_gates = context.mapped_gates

        def remap(gates: GateList) -> MappedGates:
            return mapped_gates(graph_of_gates(graph, gates))

        mapped = mapped_gates(graph)
        if len(mapped.gates.functions) > MOST_GATES:
            why = f"its circuit has {len(mapped.gates.functions)} gates; {MOST_GATES} are the most"
            raise PassError(f"pass {_NAME}", [Problem(graph.name, why, "use narrower inputs or weights")])
        found = remove_gates(mapped, rows, fmt.bits, remap, max_loss=self.max_loss, candidates=self.candidates, rng=rng)
        self._tell(mapped, found, rows, context)
        return graph if found.mapped is mapped else graph_of_gates(graph, found.mapped.gates)

    def _refuse(self, graph: Graph, context: PassContext) -> None:
        """Raise :class:`PassError` with everything that keeps the pass from working on *graph*."""
        found = []
        fmt, data = graph.input.type.format, context.data
        if not graph.is_integer:
            found.append(Problem(graph.name, "only an integer Graph has gates", "run quantize-weights before"))
        elif not is_decision(graph[graph.output]):
            why = f"it ends with {graph[graph.output].kind}, and wrong rows are counted by classes"
            found.append(Problem(graph.output, why, "it is for classifiers of one class a row"))
        if isinstance(fmt, Fixed) and fmt.bits > MOST_BITS:
            found.append(Problem(graph.input.name, f"its codes have {fmt.bits} bits; {MOST_BITS} are the most"))
        if data is None or not len(data.X_train):
            why = "what may go is found on training rows, and there are none"
            found.append(Problem(graph.name, why, "give data: --data FILE"))
        if context.mapped_gates is None:
            remedy = "run it by approxhw compile or opt, or give PassContext(mapped_gates=…)"
            found.append(Problem(_NAME, "it works on synthesised gates, and nothing here synthesises", remedy))
        if found:
            raise PassError(f"pass {_NAME}", found)

    def _tell(self, mapped: MappedGates, found: Removed, rows: CareRows, context: PassContext) -> None:
        before, after = len(mapped.gates.functions), len(found.mapped.gates.functions)
        aside, aside_now = found.aside_wrong
        if found.mapped is mapped:
            context.note(f"nothing went: no smaller netlist loses at most {self.max_loss:.2%} of the rows set aside")
        context.note(f"{before} gates, now {after}; {mapped.area_mm2:.4g} mm², now {found.mapped.area_mm2:.4g} mm²")
        context.note(
            f"{found.lost} of {found.right} rows and noisy copies lost that were right; "
            f"of {len(rows.aside_codes)} rows set aside {aside_now} are wrong, {aside} before"
        )
        context.note(f"{found.moves} moves, {found.mappings} mappings")


def graph_of_gates(graph: Graph, gates: GateList) -> Graph:
    """Return the classifier *graph* with *gates* between its Input and its output, and nothing else."""
    x, head = graph.input, graph[graph.output]
    fmt = x.type.format
    assert isinstance(fmt, Fixed)
    node = Node(head.name, Gates(gates, fmt.bits, graph.classes), (x.name,), head.type, head.origin)
    return replace(graph, nodes=(x, node))
