"""The pass that simplifies the gates of a synthesised classifier with training rows as the care set."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from approxhw.common.errors import OptionError
from approxhw.common.option_fields import field_of
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext
from approxhw.networks.gate_level import (
    GateOptions,
    Simplified,
    graph_of_gates,
    option_problems,
    simplified_gates,
)

from ._gates import refuse_without_gates

_NAME = "approximate-gates"


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

    max_loss: float = field_of(GateOptions, "max_loss")
    aside: float = field_of(GateOptions, "aside")
    copies: int = field_of(GateOptions, "copies")
    noise: float = field_of(GateOptions, "noise")
    candidates: int = field_of(GateOptions, "candidates")
    rows: int = field_of(GateOptions, "rows")
    seed: int = field(default=1, metadata={"help": "which rows are set aside, and the noise; same seed, same gates"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        if found := option_problems(_NAME, self):
            raise OptionError(_NAME, found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* as one `Gates` of fewer gates, or as it is where none may go."""
        data, mapped_gates = refuse_without_gates(_NAME, graph, context)
        options = GateOptions(self.max_loss, self.aside, self.copies, self.noise, self.candidates, self.rows)
        codes = codes_of(graph, data.X_train)
        tell = None if context.on_progress is None else partial(context.on_progress, "approximate gates")
        made = simplified_gates(_NAME, graph, codes, data.y_train, mapped_gates, options, self.seed, tell)
        self._tell(made, context)
        return graph_of_gates(graph, made.found.mapped.gates) if made.changed else graph

    def _tell(self, made: Simplified, context: PassContext) -> None:
        found, before = made.found, made.before
        aside, aside_now = found.aside_wrong
        if not made.changed:
            context.note(f"nothing went: no smaller netlist loses at most {self.max_loss:.2%} of the rows set aside")
        context.note(
            f"{len(before.gates.functions)} gates, now {len(found.mapped.gates.functions)}; "
            f"{before.area_mm2:.4g} mm², now {found.mapped.area_mm2:.4g} mm²"
        )
        context.note(
            f"{found.lost} of {found.right} rows and noisy copies lost that were right; "
            f"of {len(made.rows.aside_codes)} rows set aside {aside_now} are wrong, {aside} before"
        )
        context.note(f"{found.moves} moves, {found.mappings} mappings")
