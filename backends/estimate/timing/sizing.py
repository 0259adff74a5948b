"""Choose the size of every cell of a mapped netlist: large enough for the clock, and no larger."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from approxhw.backends.estimate.library.cells import Cell, CellLibrary, timing_of
from approxhw.backends.estimate.library.delay_tables import FALL, RISE, Arc, CellTiming
from approxhw.backends.estimate.netlist.netlist import CONSTANT_1, Netlist
from approxhw.backends.estimate.netlist.text import netlist_verilog
from approxhw.common.errors import LibraryError, Problem

from .analyse import PS, Surroundings, TimingState

_ENOUGH = 0.998  # a round that saves less than this is the last
_LEAST_GAIN = 1e-13  # ms: below it a step is rounding


@dataclass(frozen=True)
class Sized:
    """A netlist with its sizes chosen, its delay (ps), and whether that is within the period that was asked for."""

    netlist: Netlist
    delay_ps: float
    met: bool


def size(netlist: Netlist, period_ps: float, around: Surroundings | None = None, *, seconds: float = 30.0) -> Sized:
    """Return *netlist* with cells exchanged for other sizes of the same function: within *period_ps*, and small.

    First the worst path is made faster, one exchange at a time, where that takes least area for the time it saves; where
    that comes to an end too early, all that has time is made small, which unloads the worst path, and it goes on;
    then every cell is made as small as leaves the period met. An exchange is kept only where the whole analysis says
    that it helps, so the result is never slower than asked for if the circuit was not, and never larger for nothing.
    Deterministic but for the limit of *seconds*, which large circuits alone reach. Raises :class:`LibraryError` for
    cells without delay tables.
    """
    check_tables(netlist.library, {instance.cell for instance in netlist.instances})
    sizer = _Sizer(netlist, period_ps / PS, around or Surroundings(), time.monotonic() + seconds)
    sizer.reach()
    if sizer.worst() <= sizer.period:
        sizer.shrink()
    instances = tuple(
        replace(instance, cell=cell) if instance.cell != cell else instance
        for instance, cell in zip(netlist.instances, sizer.cells, strict=True)
    )
    sized = replace(netlist, instances=instances)
    sized = replace(sized, verilog=netlist_verilog(sized))
    worst = sizer.worst()
    return Sized(sized, worst * PS, worst <= sizer.period * (1 + 1e-12))


def check_tables(library: CellLibrary, names: Iterable[str] | None = None) -> None:
    """Raise :class:`LibraryError` where one of the cells *names* (all, by default) has no delay tables."""
    without = library.without_tables(names)
    if without:
        why = f"{len(without)} cells have no delay tables, {without[0]} among them"
        remedy = "give a Liberty file with tables: from one delay a cell no sizes can be chosen"
        raise LibraryError(library.name, [Problem("timing", why, remedy)])


def cell_sizes(library: CellLibrary) -> dict[str, tuple[str, ...]]:
    """Return each cell → all cells that do the same at the same pins, itself included, by area."""
    classes: dict[object, list[Cell]] = {}
    for cell in library.cells.values():
        key = (cell.inputs, tuple(sorted(cell.function_text.items())), cell.flip_flop)
        classes.setdefault(key, []).append(cell)
    found = {}
    for cells in classes.values():
        names = tuple(cell.name for cell in sorted(cells, key=lambda cell: (cell.area, cell.name)))
        found.update(dict.fromkeys(names, names))
    return found


class _Sizer:
    """A netlist under change: every exchange updates the timing behind it, and can be taken back."""

    def __init__(self, netlist: Netlist, period: float, around: Surroundings, deadline: float) -> None:
        library = netlist.library
        self.netlist, self.period, self.deadline = netlist, period, deadline
        self.cells = [instance.cell for instance in netlist.instances]
        self.sizes = cell_sizes(library)
        self.library = library
        self.state = TimingState(netlist, around)
        self.state.cells = self.cells
        self.timings = self.state.timings
        for name in {other for cell in set(self.cells) for other in self.sizes[cell]}:
            self.timings.setdefault(name, timing_of(library.cells[name]))
        self.position = {index: place for place, index in enumerate(self.state.order)}
        self.drivers: dict[int, int] = {}
        self.readers: dict[int, list[int]] = {}
        for index, instance in enumerate(netlist.instances):
            cell = library.cells[instance.cell]
            for pin, net in instance.pins.items():
                if pin in cell.functions:
                    self.drivers[net] = index
                elif cell.flip_flop is None:
                    self.readers.setdefault(net, []).append(index)
        for index in self.state.order:
            self.state.place(index)
        self.inputs = [self._nets(index, inputs=True) for index in range(len(self.cells))]
        self.outputs = [self._nets(index, inputs=False) for index in range(len(self.cells))]
        self.undo: list[tuple[int, list[float], list[float], list[float]]] = []
        self.touched: set[int] = set()

    def _nets(self, index: int, inputs: bool) -> list[int]:
        cell = self.library.cells[self.cells[index]]
        return [n for pin, n in self.netlist.instances[index].pins.items() if (pin in cell.functions) != inputs]

    def worst(self) -> float:
        """Return the longest path's delay."""
        return max((end[0] for end in self.state.ends()), default=0.0)

    def misses(self) -> tuple[float, float]:
        """Return the longest path's delay, and by how much all ends together are late."""
        worst, late = 0.0, 0.0
        for delay, *_ in self.state.ends():
            worst = max(worst, delay)
            late += max(0.0, delay - self.period)
        return worst, late

    def exchange(self, index: int, name: str) -> None:
        """Put cell *name* at *index* and bring everything behind it up to date; remember how to take it back."""
        self.undo, self.touched = [], set()
        old, new = self.timings[self.cells[index]], self.timings[name]
        pins = self.netlist.instances[index].pins
        waiting = {index}
        for pin, (rise, fall) in new.capacitances.items():
            net = pins[pin]
            self._keep(net)
            before = old.capacitances[pin]
            self.state.loads[net][RISE] += rise - before[RISE]
            self.state.loads[net][FALL] += fall - before[FALL]
            if net in self.drivers:
                waiting.add(self.drivers[net])
            elif self.state.source is not None and net in self.state.input_nets:
                self.state.place_input(net)
                waiting.update(self.readers.get(net, ()))
            if self.state.model is not None and not self.state.model.branches:  # the wire to all others changed, too
                waiting.update(self.readers.get(net, ()))
        self.cells[index] = name
        self._propagate(waiting)

    def _keep(self, net: int) -> None:
        if net not in self.touched:
            self.touched.add(net)
            state = self.state
            self.undo.append((net, list(state.arrivals[net]), list(state.slews[net]), list(state.loads[net])))

    def _propagate(self, waiting: set[int]) -> None:
        state, position = self.state, self.position
        queue = [(position[index], index) for index in waiting]
        heapq.heapify(queue)
        queued = set(waiting)
        while queue:
            _, index = heapq.heappop(queue)
            queued.discard(index)
            before = []
            for net in self.outputs[index]:
                self._keep(net)
                before.append((net, state.arrivals[net][:], state.slews[net][:]))
            state.place(index)
            for net, arrivals, slews in before:
                if state.arrivals[net] != arrivals or state.slews[net] != slews:
                    for reader in self.readers.get(net, ()):
                        if reader not in queued:
                            queued.add(reader)
                            heapq.heappush(queue, (position[reader], reader))

    def take_back(self, index: int, name: str) -> None:
        """Undo the last exchange, before which *index* was *name*; where arrivals came from is not restored."""
        state = self.state
        for net, arrivals, slews, loads in self.undo:
            state.arrivals[net], state.slews[net], state.loads[net] = arrivals, slews, loads
        self.cells[index] = name

    def fits(self, index: int, name: str) -> bool:
        """Return whether cell *name* may drive what is behind *index*."""
        timing, pins = self.timings[name], self.netlist.instances[index].pins
        loads = self.state.loads
        return all(
            max(loads[pins[pin]]) <= limit or max(loads[pins[pin]]) <= self._limit(index, pin)
            for pin, limit in timing.most_load.items()
            if pin in pins
        )

    def _limit(self, index: int, pin: str) -> float:
        """Return 0, or the load limit that the present cell exceeds already."""
        limit = self.timings[self.cells[index]].most_load.get(pin, math.inf)
        load = max(self.state.loads[self.netlist.instances[index].pins[pin]])
        return math.inf if load > limit else 0.0

    # -- faster ------------------------------------------------------------------------------------------------------

    def reach(self, rounds: int = 6) -> None:
        """Make the circuit as fast as the period asks for, or as it gets."""
        wanted = self.period
        for _ in range(rounds):
            before = self.worst()
            if before <= wanted:
                return
            self.speed_up()
            stuck = self.worst()
            if stuck <= wanted:
                return
            self.period = stuck
            self.shrink(passes=1)
            self.period = wanted
            if self.worst() > _ENOUGH * before:
                return

    def speed_up(self) -> None:
        """Exchange cells on the worst path until the period is met or nothing on it helps."""
        refused: set[tuple[int, str]] = set()
        worst, late = self.misses()
        while worst > self.period and time.monotonic() < self.deadline:
            for index, name in self._faster(refused):
                old = self.cells[index]
                self.exchange(index, name)
                new_worst, new_late = self.misses()
                better = new_worst < worst - _LEAST_GAIN
                if better or (new_worst <= worst and new_late < late - _LEAST_GAIN):
                    worst, late = new_worst, new_late
                    refused = {entry for entry in refused if entry[0] != index}
                    break
                self.take_back(index, old)
                refused.add((index, name))
            else:
                return

    def _faster(self, refused: set[tuple[int, str]]) -> list[tuple[int, str]]:
        """Return exchanges along the worst path that seem to help, the most time for the area first."""
        _, net, edge, *_ = max(self.state.ends())
        path = []
        while (found := self._cause(net, edge)) is not None:
            index, arc, before = found
            path.append((index, arc, before, edge, net))
            if self.library.cells[self.cells[index]].flip_flop is not None:
                break
            net, edge = self.netlist.instances[index].pins[arc.pin], before
        moves = []
        for place, (index, arc, before, edge, net) in enumerate(path):
            here = self.library.cells[self.cells[index]]
            source = self.netlist.instances[index].pins[arc.pin]
            slew = self.state.slews[source][before] if here.flip_flop is None else self.state.slew
            load = self.state.loads[net][edge]
            now = _delay(arc, edge, slew, load)
            for name in self.sizes[here.name]:
                if name == here.name or (index, name) in refused or not self.fits(index, name):
                    continue
                other = _like(self.timings[name], arc)
                if other is None:
                    continue
                gain = now - _delay(other, edge, slew, load)
                if place + 1 < len(path) and here.flip_flop is None:
                    gain -= self._driver_loss(path[place + 1], name, here.name, arc.pin)
                area = self.library.cells[name].area - here.area
                if gain > _LEAST_GAIN:
                    moves.append((-gain / max(area, 1e-9), index, name))
        return [(index, name) for _, index, name in sorted(moves)]

    def _driver_loss(self, driver: tuple[int, Arc, int, int, int], name: str, old: str, pin: str) -> float:
        """Return how much slower the driver of the exchanged cell's pin becomes."""
        index, arc, before, edge, net = driver
        more = self.timings[name].capacitances[pin][edge] - self.timings[old].capacitances[pin][edge]
        source = self.netlist.instances[index].pins[arc.pin]
        flop = self.library.cells[self.cells[index]].flip_flop
        slew = self.state.slews[source][before] if flop is None else self.state.slew
        load = self.state.loads[net][edge]
        return _delay(arc, edge, slew, load + more) - _delay(arc, edge, slew, load)

    def _cause(self, net: int, edge: int) -> tuple[int, Arc, int] | None:
        """Return the instance, the arc and the edge before it that *edge* of *net* waits for."""
        index = self.drivers.get(net)
        if index is None or self.state.arrivals[net][edge] == -math.inf:
            return None
        pins = self.netlist.instances[index].pins
        flop = self.library.cells[self.cells[index]].flip_flop
        best: tuple[float, Arc, int] | None = None
        for arc in self.timings[self.cells[index]].arcs:
            if pins.get(arc.output) != net or arc.delays[edge] is None:
                continue
            source = pins[arc.pin]
            for allowed, before in ((arc.follows, edge), (arc.opposes, 1 - edge)):
                start = 0.0 if flop is not None else self.state.arrivals[source][before]
                if not allowed or start == -math.inf:
                    continue
                start += 0.0 if flop is not None else self.state.wire(source, self.cells[index], arc.pin)[before]
                slew = self.state.slew if flop is not None else self.state.slews[source][before]
                arrival = start + _delay(arc, edge, slew, self.state.loads[net][edge])
                if best is None or arrival > best[0]:
                    best = (arrival, arc, before)
        return None if best is None else (index, best[1], best[2])

    # -- smaller -----------------------------------------------------------------------------------------------------

    def shrink(self, passes: int = 3) -> None:
        """Make every cell as small as the period allows, where most is saved first."""
        for _ in range(passes):
            saved = False
            slacks = self._slacks()
            for index in sorted(range(len(self.cells)), key=self._saving, reverse=True):
                old = self.cells[index]
                if time.monotonic() > self.deadline:
                    return
                for name in self._smaller(old):
                    if not self.fits(index, name) or self._slowdown(index, name) > self._slack(index, slacks):
                        continue
                    self.exchange(index, name)
                    if self.worst() <= self.period:
                        saved = True
                        break
                    self.take_back(index, old)
            if not saved:
                return

    def _smaller(self, name: str) -> Sequence[str]:
        area = self.library.cells[name].area
        return [other for other in self.sizes[name] if self.library.cells[other].area < area]

    def _saving(self, index: int) -> float:
        """Return the area that the smallest size would save."""
        cells = self.library.cells
        return cells[self.cells[index]].area - cells[self.sizes[self.cells[index]][0]].area

    def _slack(self, index: int, slacks: dict[int, float]) -> float:
        """Return the least slack behind *index*, as it was when the pass began."""
        return min((slacks.get(net, math.inf) for net in self.outputs[index]), default=math.inf)

    def _slowdown(self, index: int, name: str) -> float:
        """Return how much slower the arcs of *index* get at least if it becomes *name*: what is certain, no more."""
        pins = self.netlist.instances[index].pins
        least = math.inf
        for arc in self.timings[self.cells[index]].arcs:
            net = pins.get(arc.output)
            other = _like(self.timings[name], arc)
            if net is None or other is None or net <= CONSTANT_1:
                continue
            for edge in (RISE, FALL):
                for allowed, before in ((arc.follows, edge), (arc.opposes, 1 - edge)):
                    if allowed and arc.delays[edge] is not None:
                        slew, load = self.state.slews[pins[arc.pin]][before], self.state.loads[net][edge]
                        least = min(least, _delay(other, edge, slew, load) - _delay(arc, edge, slew, load))
        return least if least < math.inf else 0.0

    def _slacks(self) -> dict[int, float]:
        """Return the slack of every net that leads to an end, by going backwards once."""
        state = self.state
        needed: dict[int, list[float]] = {}
        for delay, net, edge, _, _ in state.ends():
            latest = needed.setdefault(net, [math.inf, math.inf])
            latest[edge] = min(latest[edge], state.arrivals[net][edge] + self.period - delay)
        for index in reversed(state.order):
            if self.library.cells[self.cells[index]].flip_flop is not None:
                continue
            pins = self.netlist.instances[index].pins
            for arc in self.timings[self.cells[index]].arcs:
                net = pins.get(arc.output, -1)
                if net not in needed:
                    continue
                source = pins[arc.pin]
                for edge in (RISE, FALL):
                    for allowed, before in ((arc.follows, edge), (arc.opposes, 1 - edge)):
                        if allowed and arc.delays[edge] is not None:
                            delay = _delay(arc, edge, state.slews[source][before], state.loads[net][edge])
                            delay += state.wire(source, self.cells[index], arc.pin)[before]
                            latest = needed.setdefault(source, [math.inf, math.inf])
                            latest[before] = min(latest[before], needed[net][edge] - delay)
        return {
            net: min(latest[edge] - state.arrivals[net][edge] for edge in (RISE, FALL))
            for net, latest in needed.items()
            if max(state.arrivals[net]) > -math.inf
        }


def _delay(arc: Arc, edge: int, slew: float, load: float) -> float:
    table = arc.delays[edge]
    return 0.0 if table is None else table.at(slew, load)


def _like(timing: CellTiming, arc: Arc) -> Arc | None:
    """Return the arc of another size that goes the same way."""
    for other in timing.arcs:
        if (other.pin, other.output, other.follows, other.opposes) == (arc.pin, arc.output, arc.follows, arc.opposes):
            return other
    return None
