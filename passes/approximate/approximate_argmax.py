"""The pass that lets every comparator of an argmax look at a few bits only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph, ranges
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import ArgMax, matches
from approxhw.ir.pass_manager import PassContext
from approxhw.numerics.formats import fixed_for

STAGES = 4
"""Parts in which the allowed loss is given away: bits that cost least go first."""


@dataclass(frozen=True)
class ApproximateArgmax:
    """Let every comparator of the argmax look at a chosen subset of bits, while training accuracy stays within *max-loss*.

    From all bits on, those whose loss costs the fewest training rows are dropped first, the lowest of equally good ones;
    the allowed loss is given away in four stages. Ends when no bit more can go. Works on any integer Graph that ends in
    an ``ArgMax``; one that looks at chosen bits already starts from these.
    """

    kind: ClassVar[str] = "approximating"

    max_loss: float = field(default=0.005, metadata={"help": "accuracy on training rows that may be lost, 0 to 1"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        if not 0 <= self.max_loss <= 1:
            why = f"{self.max_loss} is not in 0…1"
            raise OptionError("approximate-argmax", [Problem("approximate-argmax.max_loss", why)])

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with comparators that look at fewer bits."""
        head = graph[graph.output]
        if not graph.is_integer:
            why = "only an integer Graph has bits to look at"
            raise PassError("pass approximate-argmax", [Problem(graph.name, why, "run quantize-weights before")])
        if not isinstance(head.op, ArgMax):
            context.note(f"the output is {head.kind}, not argmax: nothing changed")
            return graph
        data = context.data
        if data is None or not len(data.X_train):
            why = "which bits are needed is found on training rows, and there are none"
            raise PassError("pass approximate-argmax", [Problem(head.name, why, "give data: --data FILE")])
        low, high = ranges(graph)[head.inputs[0]]
        width = head.op.width or fixed_for(min(-1, *low.tolist()), max(high.tolist())).bits
        if width > 62:
            why = f"the values have {width} bits; 62 are the most that are compared here"
            raise PassError("pass approximate-argmax", [Problem(head.name, why, "use narrower weights or activations")])
        full = (1 << width) - 1
        start = [sum(1 << p for p in bits) for bits in head.op.bits] or [full] * (len(low) - 1)
        sums = run(replace(graph, output=head.inputs[0]), codes_of(graph, data.X_train)).astype(np.int64)
        values = np.ascontiguousarray(sums.T) + (1 << (width - 1))  # offset binary
        seen, errors, before = _chosen(values, data.y_train, start, int(self.max_loss * len(sums)))
        if seen == start:
            context.note("every bit is needed: nothing changed")
            return graph
        sizes = [bits.bit_count() for bits in seen]
        context.note(
            f"{len(seen)} comparators look at {sum(sizes)} bits, {sum(bits.bit_count() for bits in start)} before; "
            f"at {min(sizes)} to {max(sizes)} of {width} each"
        )
        context.note(f"{errors} of {len(sums)} training rows wrong, {before} before")
        chosen = tuple(tuple(p for p in range(width) if bits >> p & 1) for bits in seen)
        op = ArgMax(width, chosen)
        return replace(graph, nodes=tuple(replace(node, op=op) if node is head else node for node in graph.nodes))


def _chosen(values: np.ndarray, labels: np.ndarray, seen: list[int], loss: int) -> tuple[list[int], int, int]:
    """Return the bit sets of the comparators, the rows that are wrong with them, and those with *seen*.

    ``values``: classes × rows in offset binary, int64; ``loss``: how many more rows may be wrong.
    """
    seen = list(seen)
    before = now = _errors(values, labels, seen)
    for stage in range(STAGES + 1):
        limit, dropped = before + loss * stage // STAGES, True
        while dropped:
            dropped = False
            tries = []
            for c, bits in enumerate(seen):
                for p in range(bits.bit_length()):
                    if bits >> p & 1:
                        errors = _errors(values, labels, [*seen[:c], bits & ~(1 << p), *seen[c + 1 :]])
                        tries.append((errors, p, c))
            for errors, p, c in sorted(tries):
                if errors > limit:
                    break
                without = [*seen[:c], seen[c] & ~(1 << p), *seen[c + 1 :]]
                errors = _errors(values, labels, without)
                if errors <= limit:
                    seen, now, dropped = without, errors, True
    return seen, now, before


def _errors(values: np.ndarray, labels: np.ndarray, seen: list[int]) -> int:
    """Return how many rows the tree of comparators that look at *seen* gets wrong."""
    entries: list[tuple[np.ndarray, ...]] = [(row, np.array(index)) for index, row in enumerate(values)]
    comparators = iter(seen)
    for pairs in matches(len(entries)):
        odd = entries[-1:] if len(entries) % 2 else []
        winners: list[tuple[np.ndarray, ...]] = []
        for left, right in pairs:
            mask = next(comparators)
            wins = (entries[right][0] & mask) > (entries[left][0] & mask)
            winners.append(tuple(np.where(wins, entries[right][k], entries[left][k]) for k in (0, 1)))
        entries = winners + odd
    return int(np.count_nonzero(entries[0][1] != labels))
