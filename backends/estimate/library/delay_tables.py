"""Delay tables: what a cell's arc takes, how steep its output is, for the slew that comes in and the load; and wires."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

RISE, FALL = 0, 1


@dataclass(frozen=True)
class DelayTable:
    """A surface: ``values[i][j]`` (ms) at slew ``slews[i]`` (ms) and load ``loads[j]`` (F; the clock's slew for set-ups).

    An axis of one entry is one that the value does not depend on. Entries of an axis ascend.
    """

    slews: tuple[float, ...]
    loads: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    @property
    def varies(self) -> bool:
        """Whether there is more than one entry."""
        return len(self.slews) > 1 or len(self.loads) > 1

    def at(self, slew: float, load: float) -> float:
        """Return the value at *slew* and *load*: bilinear inside, the border's own plane beyond it (as ABC has it)."""
        i, j, slews, loads, values = 0, 0, self.slews, self.loads, self.values
        if len(slews) > 2:
            i = min(max(bisect_right(slews, slew) - 1, 0), len(slews) - 2)
        if len(loads) > 2:
            j = min(max(bisect_right(loads, load) - 1, 0), len(loads) - 2)
        row = values[i]
        low = row[j]
        if len(loads) > 1:
            part = (load - loads[j]) / (loads[j + 1] - loads[j])
            low += part * (row[j + 1] - low)
        if len(slews) == 1:
            return low
        row = values[i + 1]
        high = row[j]
        if len(loads) > 1:
            high += part * (row[j + 1] - high)
        return low + (slew - slews[i]) / (slews[i + 1] - slews[i]) * (high - low)


def constant(value: float) -> DelayTable:
    """Return a table that says *value* everywhere."""
    return DelayTable((0.0,), (0.0,), ((value,),))


def worst(first: DelayTable, second: DelayTable) -> DelayTable | None:
    """Return the greater of both tables entry by entry, or None where their axes differ."""
    if (first.slews, first.loads) != (second.slews, second.loads):
        return None
    rows = zip(first.values, second.values, strict=True)
    return DelayTable(first.slews, first.loads, tuple(tuple(map(max, a, b)) for a, b in rows))


@dataclass(frozen=True)
class Arc:
    """How input ``pin`` moves ``output``: ``delays`` and ``slews`` for its rise and its fall, None where it has none.

    ``follows``: a rise of the pin can make a rise of the output; ``opposes``: it can make a fall.
    """

    pin: str
    output: str
    follows: bool
    opposes: bool
    delays: tuple[DelayTable | None, DelayTable | None]
    slews: tuple[DelayTable | None, DelayTable | None]


@dataclass(frozen=True)
class CellTiming:
    """The timing of a cell. ``arcs``: from inputs, or from a flop's clock. ``setups``: data pin → (rise, fall).

    ``capacitances``: input pin → farad while it rises, and while it falls. ``most_load`` (F) by output pin and
    ``most_slew`` (ms) by pin are the library's limits, where it sets any.
    """

    arcs: tuple[Arc, ...]
    setups: Mapping[str, tuple[DelayTable | None, DelayTable | None]] = field(default_factory=dict)
    capacitances: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    most_load: Mapping[str, float] = field(default_factory=dict)
    most_slew: Mapping[str, float] = field(default_factory=dict)

    @property
    def tabulated(self) -> bool:
        """Whether the arcs have tables, of more than one entry: one figure whatever the load is no ground for a verdict."""
        return bool(self.arcs) and all(
            any(table is not None and table.varies for table in arc.delays) for arc in self.arcs
        )


@dataclass(frozen=True)
class WireLoad:
    """What a library counts for wires that nobody has drawn yet: by the pins a net leads to, as Liberty's ``wire_load``.

    ``capacitance`` (F) and ``resistance`` (ms/F) of a unit of length. ``lengths``: (pins, length), ascending; between them
    the length is interpolated, beyond the last each pin adds ``slope``. ``branches``: the wire is a balanced tree, a
    branch for each pin; else (``worst_case_tree``) all of it lies before the first pin. Resistance 0: no wire delays.
    """

    name: str
    capacitance: float
    resistance: float
    lengths: tuple[tuple[float, float], ...]
    slope: float = 0.0
    branches: bool = True

    def length(self, pins: int) -> float:
        """Return the length of a net that leads to *pins* pins."""
        if pins <= 0 or not self.lengths:
            return max(0.0, self.slope * pins)
        first, last = self.lengths[0], self.lengths[-1]
        if pins >= last[0]:
            return last[1] + (pins - last[0]) * self.slope
        if pins <= first[0]:
            return max(0.0, first[1] - (first[0] - pins) * self.slope)
        place = bisect_right(self.lengths, (float(pins), float("inf")))
        (low, short), (high, long) = self.lengths[place - 1 : place + 1]
        return short + (pins - low) / (high - low) * (long - short)
