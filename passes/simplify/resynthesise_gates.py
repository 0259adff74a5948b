"""The pass that uses codes which cannot occur as don't-cares of a classifier's gates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from approxhw.common.errors import OptionError, PassError, Problem
from approxhw.ir.evaluation import care_set_of
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext
from approxhw.networks.gate_level import (
    gate_problems,
    graph_of_gates,
    mapped_circuit,
    option_problems,
    resynthesised_gates,
)
from approxhw.numerics.logic.care_set import count_words
from approxhw.numerics.logic.gates import GateList, bits_that_count
from approxhw.numerics.logic.resynthesis import most_occurring

_NAME = "resynthesise-gates"


@dataclass(frozen=True)
class ResynthesiseGates:
    """Make the gates of a classifier fewer, exactly: codes that cannot occur are don't-cares.

    Of a thermometer's bits those of one reading are sorted, codes that count borders end with the last border, and a feature that
    was constant has one code. Every code that can occur is simulated. Each signal is tried as a constant, as one of the
    *candidates* earlier signals that agree with it most, inverted or not, as an AND, OR, NAND or NOR of two others, and as a
    cheaper gate; what leaves every output as it was and frees most area is taken, and the rest is synthesised anew. What
    has more codes than can all be looked at is refused. What is left is a Graph of one `Gates`.
    """

    kind: ClassVar[str] = "exact"
    occurring_alone: ClassVar[bool] = True
    """Equal on codes that can occur; on others it may differ."""

    candidates: int = field(default=4, metadata={"help": "earlier signals tried in the place of each"})
    seed: int = field(default=1, metadata={"help": "same seed, same gates"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        if found := option_problems(_NAME, self):
            raise OptionError(_NAME, found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* as one `Gates` that is equal on all codes that can occur, or as it is where none is smaller."""
        found, mapped_gates = gate_problems(graph), context.mapped_gates
        if mapped_gates is None:
            remedy = "run it by approxhw compile or opt, or give PassContext(mapped_gates=…)"
            found.append(Problem(_NAME, "it works on synthesised gates, and nothing here synthesises", remedy))
        if found or mapped_gates is None:
            raise PassError(f"pass {_NAME}", found)
        mapped = mapped_circuit(_NAME, graph, mapped_gates)
        made = resynthesised_gates(graph, mapped, mapped_gates, self.candidates, self.seed)
        if made is None:
            raise PassError(f"pass {_NAME}", [_too_many(graph, mapped.gates)])
        before, after = mapped, made.mapped
        if after is before:
            context.note("nothing went: no smaller netlist is equal on every code that can occur")
        context.note(
            f"{len(before.gates.functions)} gates, now {len(after.gates.functions)}; "
            f"{before.area_mm2:.4g} mm², now {after.area_mm2:.4g} mm²"
        )
        bits = int(bits_that_count(before.gates).sum())
        context.note(
            f"equal on all {made.words} patterns of its {bits} bits that can occur; "
            f"{(1 << bits) - made.words} others cannot, and are excluded"
        )
        context.note(f"{made.moves} moves, {made.mappings} mappings")
        return graph if after is before else graph_of_gates(graph, after.gates)


def _too_many(graph: Graph, gates: GateList) -> Problem:
    care = care_set_of(graph)
    reads = bits_that_count(gates).reshape(care.elements, care.bits)
    why = (
        f"its circuit reads {int(reads.sum())} bits, of which {count_words(care, reads)} patterns can occur; "
        f"with {len(gates.functions)} gates {most_occurring(gates)} are the most that are all looked at"
    )
    return Problem(graph.name, why, "put approximate-gates in front of it, or use fewer inputs or bits")
