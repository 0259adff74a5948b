"""The pass that turns real-valued readings into unsigned input codes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem, shown
from approxhw.ir.graph import Graph, Node, renamed_inputs
from approxhw.ir.interpreter import as_fractions
from approxhw.ir.kinds import Affine, Constant, Input, Type
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import fresh_name
from approxhw.numerics.formats import Encoding, Fixed, Rational

from ._borders import as_thermometer, by_thresholds, counts_thresholds, with_borders

CODES = ("round", "floor16", "borders", "thermometer")
RANGES = ("mse", "extremes")

CLIPPED = (0.0, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05)
"""Shares of the training readings that an end of the range may leave outside (``mse``)."""

MOST_ROWS = 4000
"""Training rows that ranges are looked for on: enough for the quantiles above."""


@dataclass(frozen=True)
class QuantizeInputs:
    """Turn readings into unsigned codes, and put the map from code to reading in front of the network.

    ``round``: nearest of 2^bits levels from *low* to *high*; ``floor16``: floor(16·x), 4 bits. *low* and *high*, one
    for all features or one each, come from the training rows where they are not given: *ranges* ``extremes`` takes the least
    and the greatest reading, ``mse`` the quantiles (of at most 5 % at either end) whose codes have the least mean squared
    error, so that a few outliers do not coarsen the steps of all others. What lies outside saturates, and is counted.
    ``borders`` is for trees, and loses nothing: a code counts how many of the thresholds that the trees ask of a feature its
    reading reaches; ``thermometer`` has an input of one bit for each of these instead. Bits and ends are not asked for there.
    The map is an ``Affine``; ``fold-affine`` folds it into the first layer. An Input that has codes already is
    left alone, but where trees alone compare codes of ``round`` with thresholds: these become borders, or a thermometer.
    """

    kind: ClassVar[str] = "approximating"

    bits: int = field(default=4, metadata={"help": "width of an input code, 1 to 16"})
    code: str = field(
        default="round",
        metadata={"help": "round, floor16 (the papers' code; 4 bits), or of trees borders or thermometer"},
    )
    ranges: str = field(default="mse", metadata={"help": "mse or extremes: how training rows give low and high"})
    low: tuple[float, ...] | None = field(default=None, metadata={"help": "reading of code 0, one or one a feature"})
    high: tuple[float, ...] | None = field(default=None, metadata={"help": "reading of the top code, likewise"})

    def __post_init__(self) -> None:
        """Refuse options that cannot go together."""
        found = []
        if not 1 <= self.bits <= 16:
            found.append(Problem("quantize-inputs.bits", f"{self.bits} does not lie in 1…16"))
        if self.code not in CODES:
            found.append(Problem("quantize-inputs.code", f"there is no {self.code!r}; there are {', '.join(CODES)}"))
        if self.ranges not in RANGES:
            why = f"there is no {shown(self.ranges)!r}; there are {', '.join(RANGES)}"
            found.append(Problem("quantize-inputs.ranges", why))
        if self.code == "floor16" and self.bits != 4:
            why = f"floor16 makes 4-bit codes, bits is {self.bits}"
            found.append(Problem("quantize-inputs.bits", why, "say bits=4, or code=round"))
        if self.code == "floor16" and (self.low or self.high):
            found.append(Problem("quantize-inputs.low", "floor16 reads 0…1; low and high cannot be given with it"))
        if found:
            raise OptionError("quantize-inputs", found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with a ``Fixed`` Input; saturated readings are counted in the notes."""
        node = graph.input
        counted = self.code in ("borders", "thermometer")
        coded = isinstance(node.type.format, Fixed)
        if coded and not (counted and counts_thresholds(graph)):
            context.note("the Input has codes already")
            return graph
        if counted:
            found = by_thresholds(graph, context) if coded else with_borders(graph, context)
            return found if self.code == "borders" else as_thermometer(found)
        encoding = self._encoding(node, context)
        self._count(encoding, context)
        name = fresh_name(graph, f"{node.name}_reading")
        scale = self._constant(graph, f"{name}_step", encoding.steps(), node)
        shift = self._constant(graph, f"{name}_low", encoding.offsets(), node)
        assert isinstance(node.op, Input)
        codes = replace(
            node, op=replace(node.op, encoding=encoding), type=Type(node.type.shape, Fixed(encoding.bits, signed=False))
        )
        reading = Node(name, Affine(), (node.name, scale.name, shift.name), node.type)
        rest = [renamed_inputs(other, {node.name: name}) for other in graph.nodes if other is not node]
        output = name if graph.output == node.name else graph.output
        return replace(graph, nodes=(codes, scale, shift, reading, *rest), output=output)

    @staticmethod
    def _constant(graph: Graph, base: str, values: np.ndarray, node: Node) -> Node:
        data = values.reshape(node.type.shape)
        if isinstance(node.type.format, Rational):
            data = as_fractions(data)
        return Node(fresh_name(graph, base), Constant(data), (), node.type)

    def _encoding(self, node: Node, context: PassContext) -> Encoding:
        n = node.type.elements
        if self.code == "floor16":
            return Encoding(4, "floor16", (0.0,) * n, (1.0,) * n)
        rows = context.data.X_train if context.data is not None else np.empty((0, n))
        found = []
        if not len(rows) and (self.low is None or self.high is None):
            remedy = "give data with training rows (--data, data= in Python), or the options low and high"
            found.append(Problem("low, high", "no training rows to take the range of each feature from", remedy))
        elif len(rows) and rows.shape[1] != n:
            found.append(Problem("data", f"the model reads {n} features, the data has {rows.shape[1]}"))
        ends = {}
        learnt = self._learnt(rows, n) if not found else (np.zeros(n), np.zeros(n))
        for title, given, of_rows in (("low", self.low, learnt[0]), ("high", self.high, learnt[1])):
            if given is not None and len(given) not in (1, n):
                found.append(Problem(title, f"{len(given)} numbers for {n} features", "give one, or one a feature"))
            elif given is not None:
                ends[title] = tuple(float(v) for v in (given * n if len(given) == 1 else given))
            elif not found:
                ends[title] = tuple(of_rows.tolist())
        if not found and any(low > high for low, high in zip(ends["low"], ends["high"])):
            found.append(Problem("low, high", "low is greater than high for some feature"))
        if found:
            raise PassError("pass quantize-inputs", found)
        return Encoding(self.bits, "round", ends["low"], ends["high"])

    def _learnt(self, rows: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return low and high of each feature (float64) from training rows; zeros without rows."""
        if not len(rows):
            return np.zeros(n), np.zeros(n)
        if self.ranges == "extremes":
            return rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
        chosen = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_ROWS).astype(np.int64))].astype(np.float64)
        lows, highs = (np.quantile(chosen, shares, axis=0) for shares in (CLIPPED, [1 - share for share in CLIPPED]))
        # the extremes are those of all rows; the first candidates, so that ties keep them
        lows[0], highs[0] = rows.min(axis=0), rows.max(axis=0)
        low, high = lows[0].copy(), highs[0].copy()
        least = self._errors(chosen, low, high)
        for _ in range(2):  # one end after the other, twice
            for low_changes, candidates in ((True, lows), (False, highs)):
                for candidate in candidates:
                    a, b = (candidate, high) if low_changes else (low, candidate)
                    error = np.where(a < b, self._errors(chosen, a, b), np.inf)
                    better = error < least * (1 - 1e-9)
                    least = np.where(better, error, least)
                    low, high = np.where(better, a, low), np.where(better, b, high)
        return low, high

    def _errors(self, rows: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Return the mean squared error that codes from *low* to *high* leave, per feature."""
        step = np.where(high > low, high - low, 1.0) / ((1 << self.bits) - 1)
        codes = np.clip(np.floor((rows - low) / step + 0.5), 0, (1 << self.bits) - 1)
        errors: np.ndarray = ((low + codes * step - rows) ** 2).mean(axis=0)
        return errors

    @staticmethod
    def _count(encoding: Encoding, context: PassContext) -> None:
        if context.data is None:
            return
        for title, rows in (("training", context.data.X_train), ("test", context.data.X_test)):
            if len(rows):
                saturated = int(encoding.encode(rows)[1].sum())
                context.note(f"{saturated} of {rows.size} {title} readings saturate")
