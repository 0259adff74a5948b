"""The pass that turns the leaves of trees into integers: votes, or fixed point that decides as the model does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph, Node
from approxhw.ir.interpreter import run_all
from approxhw.ir.kinds import ArgMax, Binarize, Forest, Threshold, Type, leaves_reached
from approxhw.ir.kinds.forest import real_sums
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import fit_formats
from approxhw.numerics.formats import Fixed

from ._borders import without_unused
from ._leaves import (
    BLIND_BITS,
    GUARD_BITS,
    clear,
    common_denominator,
    fixed_points,
    in_steps_of,
    lowered,
    neighbours,
    votes_round_up,
    voting,
    without_equal_ways,
)

SUBJECT = "pass quantize-leaves"
_WIDE = 4000
_FINE = 2.0**-10
"""Share of the spread of a regressor's values that rounded leaves may be off by together."""


@dataclass(frozen=True)
class QuantizeLeaves:
    """Turn leaves into integers, so that trees become a Graph of codes; every training row is decided as before.

    One tree votes for a class. Leaves of several trees are whole multiples of what is common to them, as votes of a forest
    are; else fixed point, with as many bits as it takes for every training row to be decided alike, and rows like them whose
    codes are one off, and a few more for rows that nobody saw. *bits* says how many the largest leaf gets instead. Tests
    whose two ways end alike are left out, and borders of the input that nothing asks for any more.
    """

    kind: ClassVar[str] = "approximating"

    bits: int | None = field(
        default=None, metadata={"help": "bits of the largest leaf, 1 to 32", "shown_default": "as many as decide alike"}
    )

    def __post_init__(self) -> None:
        """Refuse widths that cannot be."""
        if self.bits is not None and not 1 <= self.bits <= 32:
            why = f"{self.bits} does not lie in 1…32"
            raise OptionError("quantize-leaves", [Problem("quantize-leaves.bits", why)])

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with Forests of integers."""
        forests = [node for node in graph.nodes if isinstance(node.op, Forest) and node.is_float]
        if not forests:
            context.note("there are no real-valued trees")
            return graph
        _check(graph, forests)
        for node in forests:
            graph = self._weighed(graph, graph[node.name], context)
        return fit_formats(without_unused(graph))

    def _weighed(self, graph: Graph, node: Node, context: PassContext) -> Graph:
        """Return *graph* with the Forest *node*, and what decides of it, on integers."""
        op, readers = node.op, graph.readers(node.name)
        assert isinstance(op, Forest)
        head = readers[0] if readers else None
        if len(op.roots) == 1 and head is not None and isinstance(head.op, ArgMax | Threshold):
            return _replaced(graph, node, Weighed(_vote(op, head), Fraction(1)), head)
        reached = leaves_reached(op, codes := _codes_read(graph, node, context))
        rows = len(reached)
        if head is not None and self.bits is None:
            reached = np.concatenate([reached, _unseen(op, head, codes)])
        wanted = _decided(head, real_sums(op, reached))
        exceeds = head is not None and isinstance(head.op, Threshold) and votes_round_up(op, head.op.threshold)
        if head is not None and isinstance(head.op, ArgMax) and op.classes == 2:
            op, head = _difference(op), replace(head, op=Threshold(0), type=Type((), Fixed(1)))
            wanted = wanted.astype(bool)
        found = self._scaled(
            lowered(op, head is not None and isinstance(head.op, ArgMax)), head, (reached, rows), wanted, exceeds
        )
        if found.wrong:
            told = f"{found.wrong} of {rows} training rows are decided otherwise than by the real leaves"
            context.note(f"{node.name}: {told}")
        context.note(f"{node.name}: leaves from 0 to {int(found.op.leaves.max())}")
        return _replaced(graph, node, found, head)

    def _scaled(
        self, op: Forest, head: Node | None, looked_at: tuple[np.ndarray, int], wanted: np.ndarray, exceeds: bool
    ) -> Weighed:
        """Return *op* in integers: the coarsest that decide *wanted* of the leaves reached, by so many training rows first."""
        reached, rows = looked_at
        if head is None and self.bits is None:
            spread = float(np.ptp(wanted, axis=0).max()) if len(wanted) else 0.0
            error = _FINE * (spread or float(op.leaves.max()) or 1.0)
            scale = next(s for s in fixed_points(op, None) if float(s) * len(op.roots) / 2 <= error)
            return Weighed(in_steps_of(op, scale), scale)
        best: Weighed | None = None
        good: Weighed | None = None
        left = GUARD_BITS if len(reached) else BLIND_BITS
        common = common_denominator(np.append(op.leaves.reshape(-1), op.base)) if self.bits is None else None
        for scale in (*([Fraction(1, common)] if common is not None else []), *fixed_points(op, self.bits)):
            made = in_steps_of(op, scale)
            sums = _sums(made, reached)
            for bound in _bounds(head, scale, exceeds):
                wrong = (
                    (_decided(head, sums, bound) != wanted).any(axis=1) if head is not None else np.zeros(rows, bool)
                )
                tried = Weighed(made, scale, bound, int(wrong[:rows].sum()), int(wrong[rows:].sum()))
                best = tried if best is None or tried.failures < best.failures else best
                if not wrong.any():
                    if common is not None and scale == Fraction(1, common):
                        return tried  # exact: nothing finer says more
                    good = tried
                    break
            left -= good is not None
            if left < 0:
                break
        assert best is not None
        return good or best


@dataclass(frozen=True, eq=False)
class Weighed:
    """A Forest of integers, what 1 is worth, what a ``Threshold`` compares with, and how many rows are decided otherwise."""

    op: Forest
    scale: Fraction
    bound: int = 0
    wrong: int = 0
    unlike: int = 0
    """Rows that nobody saw and that are decided otherwise."""

    @property
    def failures(self) -> tuple[int, int]:
        """What is to be least: training rows first."""
        return self.wrong, self.unlike


def _check(graph: Graph, forests: list[Node]) -> None:
    problems = []
    for node in forests:
        fmt, op = graph[node.inputs[0]].type.format, node.op
        assert isinstance(op, Forest)
        counts = isinstance(fmt, Fixed) and fmt.scale == 1 and fmt.zero == 0 and not op.missing.any()
        if not counts or any(mode != "gte" for mode in op.mode) or (op.threshold != np.rint(op.threshold)).any():
            why = "its trees compare readings, not codes"
            problems.append(Problem(node.name, why, "run quantize-inputs{code=borders} before"))
        readers = graph.readers(node.name)
        others = [reader for reader in readers if not isinstance(reader.op, ArgMax | Threshold | Binarize)]
        if others:
            why = f"{others[0].kind} reads its sums; only a decision may, or the output"
            problems.append(Problem(node.name, why, "end the model with the trees' own class or values"))
        elif len(readers) > 1:
            problems.append(Problem(node.name, f"{len(readers)} values are made of its sums", "keep one output"))
    if problems:
        raise PassError(SUBJECT, problems)


def _codes_read(graph: Graph, node: Node, context: PassContext) -> np.ndarray:
    """Return what *node* reads of every training row: float64, rows × elements."""
    elements = graph[node.inputs[0]].type.elements
    if context.data is None or not len(context.data.X_train):
        return np.zeros((0, elements))
    codes = codes_of(graph, context.data.X_train)
    if node.inputs[0] == graph.input.name:
        return codes.reshape(len(codes), elements).astype(np.float64)
    return run_all(graph, codes)[node.inputs[0]].reshape(len(codes), elements).astype(np.float64)


def _unseen(op: Forest, head: Node, codes: np.ndarray) -> np.ndarray:
    """Return the leaves that rows like *codes* end in, those left out that are ties but for how float32 rounds."""
    reached = leaves_reached(op, neighbours(op, codes))
    bound = head.op.threshold if isinstance(head.op, Threshold | Binarize) else None
    return reached[clear(real_sums(op, reached), bound)]


def _decided(head: Node | None, sums: np.ndarray, bound: int | None = None) -> np.ndarray:
    """Return what *head* makes of *sums*, rows × what it decides; the sums themselves where nothing decides."""
    if head is None:
        return sums
    if isinstance(head.op, ArgMax):
        return sums.argmax(axis=1)[:, None]
    assert isinstance(head.op, Threshold | Binarize)
    found: np.ndarray = sums > (head.op.threshold if bound is None else bound)
    return found


def _sums(op: Forest, reached: np.ndarray) -> np.ndarray:
    total = np.tile(op.base, (len(reached), 1))
    for tree in range(len(op.roots)):
        total = total + op.leaves[reached[:, tree]]
    return total


def _bounds(head: Node | None, scale: Fraction, exceeds: bool) -> tuple[int, ...]:
    """Return what integers may be compared with: the bound, and one less, as float32 may round ties up; the likelier first."""
    if head is None or not isinstance(head.op, Threshold | Binarize):
        return (0,)
    exact = Fraction(head.op.threshold) / scale
    floor = exact.numerator // exact.denominator
    if exact.denominator != 1:
        return (floor,)
    return (floor - 1, floor) if exceeds else (floor, floor - 1)


def _vote(op: Forest, head: Node) -> Forest:
    """Return the one tree *op* as a vote of 1 for what *head* says of each of its leaves."""
    sums = real_sums(op, np.arange(len(op.leaves))[:, None])
    decided = _decided(head, sums)[:, 0].astype(np.int64)
    if isinstance(head.op, ArgMax):
        return voting(op, decided, op.classes)
    made = voting(op, decided, 2)
    return replace(made, leaves=made.leaves[:, 1:], base=made.base[1:])


def _difference(op: Forest) -> Forest:
    """Return *op* of two sums with how much the second exceeds the first."""
    return replace(op, leaves=op.leaves[:, 1:] - op.leaves[:, :1], base=op.base[1:] - op.base[:1])


def _replaced(graph: Graph, node: Node, found: Weighed, head: Node | None) -> Graph:
    """Return *graph* with integers in the place of *node*, which *head* reads; what is always added goes into a threshold."""
    op, bound = found.op, found.bound
    if head is not None and isinstance(head.op, Threshold):
        op, bound = replace(op, base=np.zeros_like(op.base)), bound - int(op.base[0])
    changed = {
        node.name: replace(node, op=without_equal_ways(op), type=Type((op.classes,), Fixed(_WIDE, True, found.scale)))
    }
    if head is not None:
        decides = head.op
        if isinstance(decides, Threshold | Binarize):
            decides = replace(decides, threshold=bound)
        changed[head.name] = replace(head, op=decides)
    return replace(graph, nodes=tuple(changed.get(other.name, other) for other in graph.nodes))
