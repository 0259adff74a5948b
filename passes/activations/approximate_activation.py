"""The pass that makes tables of functions by smaller circuits: lines, parabolas, ratios, or differences without any loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from approxhw.common.errors import ApproxhwError, OptionError, PassError, Problem, shown
from approxhw.ir.graph import Graph, Node, ranges
from approxhw.ir.kinds import Input, Lookup, Range, Type
from approxhw.ir.kinds.requantize import table_of_unit
from approxhw.ir.kinds.tensor.integers import Rescale
from approxhw.ir.pass_manager import PassContext
from approxhw.numerics.formats import Fixed
from approxhw.numerics.functions.bounds import WantedCodes
from approxhw.numerics.functions.fit import FittedUnit, fit_within, unit_bound_problems, unit_kind_problems, unit_size
from approxhw.numerics.functions.formulas import formula_text
from approxhw.numerics.functions.units import UNIT_KINDS, ActivationUnit, Differences, Pieces, Ratios, unit_values

from ._columns import column_activations_of, with_tables

SMALLEST = "smallest"


@dataclass(frozen=True)
class ApproximateActivation:
    """Make every table of a function by a circuit of its own kind, at most *max-ulp* codes off at every code that can occur.

    ``table`` keeps tables, and stores the half that the other follows from once; ``compressed-table`` adds small differences to a
    coarse table. Neither changes a code. ``pwl`` are straight lines, ``poly`` parabolas, ``pade`` ratios of polynomials, each of
    the fewest pieces found. ``smallest`` tries them all. Every code that can occur is looked at; the ledger tells how far the
    worst one is off, and the area beside that of the whole table. In a Graph of whole tensors, every function of one value
    between a product of codes and codes becomes a table first, behind integer-products: an engine's columns end in its unit.
    Sums become signed codes for it, their scale by the training rows.
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True

    unit: str = field(
        default=SMALLEST,
        metadata={"help": f"what makes a function: {', '.join(UNIT_KINDS)}, or {SMALLEST}: the one of least area"},
    )
    max_ulp: float = field(default=1.0, metadata={"help": "codes that a result may be off its table; 0: none"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        found = unit_kind_problems("approximate-activation.unit", self.unit, (*UNIT_KINDS, SMALLEST))
        found += unit_bound_problems("approximate-activation.max_ulp", self.max_ulp)
        if found:
            raise OptionError("approximate-activation", found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with units for its tables."""
        if graph.is_tensor:
            graph = self._tabulated(graph, context)
        elif not graph.is_integer:
            why = "tables are those of integer Graphs"
            raise PassError("pass approximate-activation", [Problem(graph.name, why, "run quantize-weights before")])
        tables = [node for node in graph.nodes if isinstance(node.op, Lookup)]
        if not tables:
            context.note("there is no table of a function: nothing changed")
            return graph
        made, found = dict[object, FittedUnit](), list[Problem]()
        intervals = {} if graph.is_tensor else ranges(graph)
        nodes = {node.name: node for node in graph.nodes}
        for number, node in enumerate(tables):
            if context.on_progress is not None:
                context.on_progress("tables", number, len(tables))
            read = graph[node.inputs[0]]
            low, high = _ends(read, intervals)
            goal = wanted_of_table(node, read, low, high, self.max_ulp)
            key = (node.op, read.type.format, node.type.format, low, high)
            try:
                if key not in made:
                    made[key] = self._fitted(node, read, goal, context)
            except OptionError as error:
                found += [replace(problem, where=f"{node.name}: {problem.where}") for problem in error.problems]
                continue
            nodes[node.name] = _with_unit(node, made[key].unit)
            self._tell(node, nodes[node.name], read, made[key], goal, context)
        if found:
            raise PassError("pass approximate-activation", found)
        return replace(graph, nodes=tuple(nodes[node.name] for node in graph.nodes))

    def _tabulated(self, graph: Graph, context: PassContext) -> Graph:
        """Return the tensor *graph* with tables where columns of an engine may end in a unit."""
        whole = graph if context.reshaping is None else context.reshaping.apart(graph)
        found, told = column_activations_of(whole)
        for why in told:
            context.note(why)
        return with_tables(whole, found, context) if found else graph

    def _fitted(self, node: Node, read: Node, goal: WantedCodes, context: PassContext) -> FittedUnit:
        """Return the unit for the table of *node*; of several kinds the one of least area (by size without synthesis)."""
        assert isinstance(node.op, Lookup)
        said = formula_text(node.op.formula) if node.op.formula else "its table"
        cost: Callable[[ActivationUnit], float] = unit_size
        if (area := context.area) is not None:
            cost = lambda unit: area(alone(_with_unit(node, unit), read))  # noqa: E731
        if self.unit != SMALLEST:
            return fit_within(goal, self.unit, said, self.max_ulp, cost if context.area is not None else None)
        found = []
        for kind in UNIT_KINDS:
            try:
                found.append(fit_within(goal, kind, said, self.max_ulp))
            except OptionError:  # a plain table is always found
                continue
        return min(found, key=lambda fitted: cost(fitted.unit))

    def _tell(
        self, before: Node, after: Node, read: Node, fitted: FittedUnit, goal: WantedCodes, context: PassContext
    ) -> None:
        """Note what the unit is, how far it is off its table, and what it costs."""
        assert isinstance(before.op, Lookup)
        text = formula_text(before.op.formula) if before.op.formula else "a table"
        off = np.abs(unit_values(fitted.unit) - goal.values)[_occurring(goal)]
        told = f"{before.name}: {text} by {unit_text(fitted.unit)}, at most {int(off.max())} off, {off.mean():.2g} in the mean"
        if context.area is not None:
            try:
                plain = replace(before, op=replace(before.op, unit=None))
                areas = [context.area(alone(node, read)) for node in (after, plain)]
                told += f"; {areas[0]:.4g} mm² beside {areas[1]:.4g} of the whole table ({shown(context.library, 40)})"
            except ApproxhwError as error:  # a cost is told where it can be; the unit stands without
                told += f"; its area is not known: {shown(error, 60)}"
        context.note(told)


def _ends(read: Node, intervals: Mapping[str, Range]) -> tuple[int, int]:
    """Return the lowest and highest code of *read*: its exact range, or in a tensor Graph the codes of its format."""
    if read.name in intervals:
        low, high = intervals[read.name]
        return int(min(low.tolist())), int(max(high.tolist()))
    assert isinstance(read.type.format, Fixed)
    if isinstance(read.op, Rescale):
        return read.op.low, read.op.high
    return read.type.format.low, read.type.format.high


def wanted_of_table(node: Node, read: Node, low: int, high: int, max_ulp: float) -> WantedCodes:
    """Return what is near enough to the table of *node*, which reads *low* to *high* of *read*: elsewhere anything is.

    Codes that cannot occur have the value of the nearest one that can.
    """
    x, y = read.type.format, node.type.format
    assert isinstance(node.op, Lookup)
    assert isinstance(x, Fixed)
    assert isinstance(y, Fixed)
    codes = np.arange(x.low, x.high + 1)
    size = len(node.op.table)
    values = np.array([node.op.table[code % size] for code in np.clip(codes, low, high).tolist()], dtype=np.int64)
    step = int(np.floor(max_ulp))
    there = (codes >= low) & (codes <= high)
    least = np.where(there, np.maximum(values - step, y.low), y.low)
    most = np.where(there, np.minimum(values + step, y.high), y.high)
    return WantedCodes(x, y, values.astype(np.float64), least, most)


def _occurring(goal: WantedCodes) -> np.ndarray:
    """Return at which codes of *goal* not anything is near enough; at all of them where it is everywhere."""
    bound: np.ndarray = (goal.low > goal.y.low) | (goal.high < goal.y.high)
    return bound if bound.any() else np.ones(len(bound), dtype=bool)


def _with_unit(node: Node, unit: ActivationUnit) -> Node:
    assert isinstance(node.op, Lookup)
    return replace(node, op=replace(node.op, table=table_of_unit(unit), unit=unit))


def alone(node: Node, read: Node) -> Graph:
    """Return *node* for one code of *read* as a Graph of its own: what one unit costs."""
    start = Node("code", Input(("x",), ("x",)), (), Type((1,), read.type.format))
    return Graph(
        "activation", (start, replace(node, name="value", inputs=("code",), type=Type((1,), node.type.format))), "value"
    )


def unit_text(unit: ActivationUnit) -> str:
    """Return what *unit* is, in words."""
    core, folded = unit.core, ", one half stored" if unit.fold is not None else ""
    if isinstance(core, Pieces):
        what = "straight lines" if len(core.shifts) == 1 else "parabolas"
        return f"{len(core.starts)} {what}{folded}"
    if isinstance(core, Ratios):
        degrees = f"degree {len(core.numerators[0]) - 1} over {len(core.denominators[0]) - 1}"
        return f"{len(core.starts)} ratios of {degrees}{folded}"
    if isinstance(core, Differences):
        sizes = [len(core.coarse), *(len(level.differences) for level in core.levels)]
        return f"tables of {', '.join(map(str, sizes))} codes that add up{folded}"
    return f"a table of {len(core.values)} codes{folded}"
