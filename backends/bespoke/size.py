"""How large a bespoke circuit will be, told from its Graph before any of it is built: bits that its adders take in."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from approxhw.backends.cells.blocks import width_of
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.ir.graph import Graph, Node, ranges
from approxhw.ir.kinds import Dense, Forest
from approxhw.numerics.formats import Fixed
from approxhw.numerics.mac.arithmetic import ApproximateMultiplier, MaskedPowerOfTwo

SECONDS_A_BIT = 1.2e-3
"""What building, writing and reading back takes on one core, for each bit; ``benchmarks/results/compile_time.md``."""

FEWER_BITS = (8, 6, 4)
"""Hidden bits that are offered, the most first."""


def adder_bits(graph: Graph, hidden_bits: int | None = None) -> dict[str, int]:
    """Return for each ``Dense`` of an integer *graph* the bits that its sums add up, before any are shared.

    A weight counts its signed digits times the width of what it multiplies; so many full adders, roughly, are built.
    ``hidden_bits``: as if what later layers read had no more.
    """
    intervals = ranges(graph)
    found: dict[str, int] = {}
    for node in graph.nodes:
        if isinstance(node.op, Dense) and node.inputs[0] in intervals:  # of real numbers nothing is built
            low, high = (np.ravel(np.asarray(end, dtype=object)) for end in intervals[node.inputs[0]])
            widths = np.array([width_of(int(a), int(b)) for a, b in zip(low, high, strict=True)], dtype=np.int64)
            if found and hidden_bits is not None:
                widths = np.minimum(widths, hidden_bits)
            found[node.name] = int((_summands(graph, node, widths)).sum())
        elif isinstance(node.op, Forest) and node.inputs[0] in intervals:
            found[node.name] = _forest_bits(node.op)
    return found


def _forest_bits(op: Forest) -> int:
    """Return the bits that the sums of *op* add up, and one for each test."""
    sums = np.maximum(np.abs(op.leaves.astype(object)), 0)
    widths = [int(value).bit_length() for value in sums.max(axis=0).tolist()]
    return len(op.feature) + len(op.roots) * sum(widths)


def _summands(graph: Graph, node: Node, widths: np.ndarray) -> np.ndarray:
    """Return bits of the summands of every weight, outputs × inputs (int64)."""
    assert isinstance(node.op, Dense)
    arithmetic = node.op.arithmetic
    weights = graph.constant(node.inputs[1]).astype(object)
    if isinstance(arithmetic, MaskedPowerOfTwo):
        masks = graph.constant(node.inputs[3]).astype(np.int64)
        return np.bitwise_count(masks).astype(np.int64) * (weights != 0)
    if isinstance(arithmetic, ApproximateMultiplier):  # a table's product is one summand
        return (weights != 0) * (widths + arithmetic.weight_bits)[None, :]
    # of a canonical signed-digit number those digits are not 0 in which w and 3w differ
    digits = np.array([[(abs(int(w)) * 3 ^ abs(int(w))).bit_count() for w in row] for row in weights.tolist()])
    return np.asarray(digits.reshape(weights.shape) * widths[None, :], dtype=np.int64)


def check_size(graph: Graph, most: int) -> int:
    """Return the adder bits of *graph*; raise :class:`OptionError`, with what makes it smaller, for more than *most*."""
    layers = adder_bits(graph)
    total = sum(layers.values())
    if total <= most:
        return total
    greatest = max(layers, key=lambda name: layers[name])
    why = (
        f"the circuit would add up about {_count(total)} bits, most of them ({_count(layers[greatest])}) in "
        f"{shown(greatest, 60)}, and take about {duration(total * SECONDS_A_BIT)} to write and read back, and longer to "
        f"synthesise; {_count(most)} are built without asking"
    )
    raise OptionError("compile", [Problem(graph.name, why, "; ".join(_ways(graph, layers, most)))])


def _ways(graph: Graph, layers: Mapping[str, int], most: int) -> list[str]:
    """Return what can be done, of which each does it."""
    total, ways = sum(layers.values()), []
    read = [graph[node.inputs[0]].type.format for node in graph.nodes if isinstance(node.op, Dense)]
    widest = max((fmt.bits for fmt in read[1:] if isinstance(fmt, Fixed)), default=0)
    for bits in FEWER_BITS:
        fewer = sum(adder_bits(graph, bits).values())
        if bits < widest and fewer <= most:
            ways.append(f"--hidden-bits {bits} (hidden_bits={bits} in Python) makes it about {_count(fewer)}")
            break
    else:
        ways.append("a matrix engine takes layers of any size: --target matrix-engine")
    return [*ways, f"--max-adder-bits {_rounded_up(total)} (max_adder_bits in Python) builds it all the same"]


def _count(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _rounded_up(number: int) -> int:
    step = 10 ** max(0, len(str(number)) - 2)
    return -(-number // step) * step


def duration(seconds: float) -> str:
    """Return *seconds* in the unit that people would use."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
