"""Static timing analysis of a mapped netlist: arrivals and slews from the library's tables, rise and fall kept apart."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from approxhw.backends.estimate.library.cells import Cell, CellLibrary, timing_of
from approxhw.backends.estimate.library.delay_tables import FALL, RISE, Arc, CellTiming, DelayTable, WireLoad
from approxhw.backends.estimate.netlist.netlist import CONSTANT_1, Instance, Netlist
from approxhw.backends.estimate.netlist.simulator import evaluation_order
from approxhw.common.errors import OptionError, Problem

PS, FF = 1e9, 1e15  # from ms, from farad
EDGES = ("rise", "fall")
Pair = tuple[float, float]
_NEVER = -math.inf
_NO_WIRE = (0.0, 0.0)


@dataclass(frozen=True)
class CriticalPath:
    """``delay`` in ms, and the path from its start to its end: port or register, then ``cell name -> net``."""

    delay: float
    steps: tuple[str, ...]


@dataclass(frozen=True)
class Surroundings:
    """What the circuit is wired to. None stands for the default.

    ``input_slew`` (ps): how steep inputs and clock are; the least slew of the smallest inverter's table. ``output_load``
    (fF): what each output drives; one input of the smallest inverter. ``clocked_inputs``: inputs do not change with the
    clock but come out of a register each, of the library's smallest kind: they arrive as late, and as steep, as it
    drives them. So a part of a larger clocked circuit is timed as if it were in its place. ``wires``: what the library
    counts for wires is counted, where it says anything.
    """

    input_slew: float | None = None
    output_load: float | None = None
    clocked_inputs: bool = False
    wires: bool = True

    def __post_init__(self) -> None:
        problems = [
            Problem(name, f"{value} is no size", "give a number that is 0 or more")
            for name, value in (("input_slew", self.input_slew), ("output_load", self.output_load))
            if value is not None and not (math.isfinite(value) and value >= 0)
        ]
        if problems:
            raise OptionError("timing", problems)

    def slew_ms(self, library: CellLibrary) -> float:
        """Return the slew of inputs and clock in ms."""
        if self.input_slew is not None:
            return self.input_slew / PS
        tables = [table for arc in timing_of(library.inverter).arcs for table in arc.delays if table is not None]
        return min((table.slews[0] for table in tables), default=0.0)

    def load_farad(self, library: CellLibrary) -> float:
        """Return the load of an output in F."""
        if self.output_load is not None:
            return self.output_load / FF
        return max(library.inverter.capacitances.values())


@dataclass(frozen=True)
class Step:
    """One cell on a path: from which pin to which output, and there the edge, its arrival, slew and load."""

    instance: str
    cell: str
    pin: str
    output: str
    net: str
    edge: str
    arrival_ps: float
    slew_ps: float
    load_ff: float


@dataclass(frozen=True)
class Excess:
    """A library limit that is not kept: ``kind`` (load, fF; slew, ps; fan-out, pins) of the net, and the limit."""

    kind: str
    net: str
    value: float
    limit: float


@dataclass(frozen=True)
class Timing:
    """The longest path of a netlist.

    ``delay_ps``: its length, ``setup_ps`` (of the register it ends in, 0 at an output) included. ``start`` and ``end``:
    port or register. ``steps``: the cells between. ``excesses``: what is above the library's limits, worst first.
    ``without_tables``: cells of the netlist that have one delay whatever the load. With any, the delay compares circuits
    and is no ground for a verdict about a clock.
    """

    delay_ps: float
    setup_ps: float
    start: str
    end: str
    steps: tuple[Step, ...]
    excesses: tuple[Excess, ...] = ()
    without_tables: tuple[str, ...] = ()

    def slack_ps(self, period_ps: float) -> float | None:
        """Return how much shorter than the clock's period the longest path is; None where that cannot be known."""
        return None if self.without_tables else period_ps - self.delay_ps

    def met(self, period_ps: float) -> bool | None:
        """Return whether a clock of *period_ps* is kept; None where that cannot be known."""
        return None if self.without_tables else self.delay_ps <= period_ps * (1 + 1e-12)


def smallest_register(library: CellLibrary) -> Cell | None:
    """Return the register of least area, or None for a library without one."""
    found = [cell for cell in library.cells.values() if cell.flip_flop is not None]
    return min(found, key=lambda cell: (cell.area, cell.name), default=None)


def critical_path(netlist: Netlist, around: Surroundings | None = None) -> CriticalPath:
    """Return the longest path, as :func:`analyse` finds it, as lines of text."""
    return path_of(analyse(netlist, around))


def path_of(found: Timing) -> CriticalPath:
    """Return the path that *found* holds as lines of text."""
    if not found.end:
        return CriticalPath(0.0, ())
    first = (found.start,) if not found.start.startswith("register ") else ()
    steps = tuple(f"{step.cell} -> {step.net}" for step in found.steps)
    return CriticalPath(found.delay_ps / PS, first + steps)


def analyse(netlist: Netlist, around: Surroundings | None = None) -> Timing:
    """Return the longest path from an input or a register's clock to an output or a register's data.

    Inputs change at time 0 (but see :class:`Surroundings`), and so does the clock at every register: it is ideal,
    whatever drives it. An arc is looked
    up at the worst slew that reaches its pin and at the load behind it: capacitances of the pins (those of the edge in
    question), ``around.output_load`` at an output, and the library's wires, which also delay what arrives at a pin. A path
    that ends in a register takes its set-up
    time too. Asynchronous set and reset, hold times and false paths are not looked at: every path counts.
    A library without tables has one delay per output, rise and fall; then no clock is said to be kept.
    Raises :class:`LibraryError` for a loop of gates.
    """
    around = around or Surroundings()
    state = TimingState(netlist, around)
    for index in state.order:
        state.place(index)
    worst = max(state.ends(), default=None)
    single = netlist.library.without_tables({instance.cell for instance in netlist.instances})
    if worst is None:
        return Timing(0.0, 0.0, "", "", (), without_tables=single)
    delay, net, edge, setup, end = worst
    start, steps = state.walk_back(net, edge)
    return Timing(delay * PS, setup * PS, start, end, steps, tuple(state.excesses()), single)


class TimingState:
    """Arrivals, slews and loads of all nets, [rise, fall] each, in ms and F; changed in place, for who tries sizes."""

    def __init__(self, netlist: Netlist, around: Surroundings) -> None:
        slew, output_load = around.slew_ms(netlist.library), around.load_farad(netlist.library)
        self.netlist, self.slew = netlist, slew
        cells = netlist.library.cells
        self.timings: dict[str, CellTiming] = {
            name: timing_of(cells[name]) for name in {instance.cell for instance in netlist.instances}
        }
        self.cells = [instance.cell for instance in netlist.instances]
        order, _ = evaluation_order(netlist)
        self.registers = [i for i in order if cells[netlist.instances[i].cell].flip_flop is not None]
        gates = [i for i in order if cells[netlist.instances[i].cell].flip_flop is None]
        self.order = self.registers + _gates_in_order(netlist, gates)
        count = netlist.net_count
        self.arrivals = [[_NEVER, _NEVER] for _ in range(count)]
        self.slews = [[slew, slew] for _ in range(count)]
        self.loads = [[0.0, 0.0] for _ in range(count)]
        self.came: dict[tuple[int, int], tuple[int, Arc, int]] = {}
        for instance in netlist.instances:
            for pin, (rise, fall) in self.timings[instance.cell].capacitances.items():
                load = self.loads[instance.pins[pin]]
                load[RISE] += rise
                load[FALL] += fall
        self.pins = [0] * count
        for instance in netlist.instances:
            for pin in self.timings[instance.cell].capacitances:
                self.pins[instance.pins[pin]] += 1
        for port in netlist.outputs:
            for net in port.nets:
                self.pins[net] += 1
                self.loads[net][RISE] += output_load
                self.loads[net][FALL] += output_load
        self.output_load = output_load
        self.model = netlist.library.wires if around.wires else None
        self.wires = _wires(self.model, self.pins)
        for net, (_, farad) in enumerate(self.wires):
            self.loads[net][RISE] += farad
            self.loads[net][FALL] += farad
        for port in netlist.inputs:
            for net in port.nets:
                if net > CONSTANT_1:
                    self.arrivals[net] = [0.0, 0.0]
        register = smallest_register(netlist.library) if around.clocked_inputs else None
        self.source = None if register is None else timing_of(register).arcs
        self.input_nets = frozenset(net for port in netlist.inputs for net in port.nets if net > CONSTANT_1)
        for net in self.input_nets if register is not None else ():
            self.place_input(net)

    def place_input(self, net: int) -> None:
        """Work out when an input that a register drives arrives, and how steep."""
        for edge in (RISE, FALL):
            load = self.loads[net][edge]
            for arc in self.source or ():
                delay, slew = arc.delays[edge], arc.slews[edge]
                if arc.output == (self.source or (arc,))[0].output and delay is not None and slew is not None:
                    self.arrivals[net][edge] = delay.at(self.slew, load)
                    self.slews[net][edge] = max(0.0, slew.at(self.slew, load))

    def place(self, index: int) -> None:
        """Work out the outputs of one instance from its inputs."""
        instance = self.netlist.instances[index]
        flop = self.netlist.library.cells[instance.cell].flip_flop
        fresh: set[int] = set()
        for arc in self.timings[self.cells[index]].arcs:
            net = instance.pins.get(arc.output)
            if net is None:
                continue
            source = instance.pins[arc.pin]
            wire = self.wire(source, self.cells[index], arc.pin) if self.model is not None else _NO_WIRE
            if net not in fresh:
                fresh.add(net)
                self.arrivals[net], self.slews[net] = [_NEVER, _NEVER], [0.0, 0.0]
            arrivals = [0.0, 0.0] if flop is not None else self.arrivals[source]
            slews = [self.slew, self.slew] if flop is not None else self.slews[source]
            for edge in (RISE, FALL):
                delay, slew = arc.delays[edge], arc.slews[edge]
                if delay is None or slew is None:
                    continue
                load = self.loads[net][edge]
                for allowed, before in ((arc.follows, edge), (arc.opposes, 1 - edge)):
                    if not allowed or arrivals[before] == _NEVER:
                        continue
                    start = arrivals[before] if flop is not None else arrivals[before] + wire[before]
                    arrival = start + delay.at(slews[before], load)
                    if arrival > self.arrivals[net][edge]:
                        self.arrivals[net][edge] = arrival
                        self.came[(net, edge)] = (index, arc, before)
                    self.slews[net][edge] = max(self.slews[net][edge], slew.at(slews[before], load))

    def wire(self, net: int, cell: str, pin: str) -> Pair:
        """Return what the wire of *net* takes to *pin* of a *cell* there, for a rise and for a fall."""
        return self._delay(net, *self.timings[cell].capacitances[pin])

    def _delay(self, net: int, rise: float, fall: float) -> Pair:
        if self.model is None or not self.wires[net][0]:
            return _NO_WIRE
        ohm, farad = self.wires[net]
        if not self.model.branches:  # all of the wire, and all that hangs on it
            return ohm * self.loads[net][RISE], ohm * self.loads[net][FALL]
        share = self.pins[net]
        return ohm / share * (farad / share + rise), ohm / share * (farad / share + fall)

    def ends(self) -> Iterator[tuple[float, int, int, float, str]]:
        """Yield (delay, net, edge, set-up, name) of every end of a path that something arrives at."""
        for port in self.netlist.outputs:
            for position, net in enumerate(port.nets):
                name = port.name if len(port.nets) == 1 else f"{port.name}[{position}]"
                wire = self._delay(net, self.output_load, self.output_load)
                for edge in (RISE, FALL):
                    if self.arrivals[net][edge] != _NEVER:
                        yield self.arrivals[net][edge] + wire[edge], net, edge, 0.0, name
        for index in self.registers:
            instance = self.netlist.instances[index]
            flop = self.netlist.library.cells[instance.cell].flip_flop
            setups = self.timings[self.cells[index]].setups
            data = flop.data.pins() if flop is not None else frozenset()
            for pin in sorted(data & instance.pins.keys()):  # without the stored value, which data may hold
                net = instance.pins[pin]
                wire = self.wire(net, self.cells[index], pin)
                for edge in (RISE, FALL):
                    arrival = self.arrivals[net][edge] + wire[edge]
                    if arrival != _NEVER:
                        setup = _at(setups.get(pin, (None, None))[edge], self.slews[net][edge], self.slew)
                        yield arrival + setup, net, edge, setup, f"register {_path(instance)} ({instance.cell}.{pin})"

    def walk_back(self, net: int, edge: int) -> tuple[str, tuple[Step, ...]]:
        """Return where the path to *edge* of *net* starts, and its cells, first to last."""
        steps = []
        while (net, edge) in self.came:
            index, arc, before = self.came[(net, edge)]
            instance = self.netlist.instances[index]
            steps.append(
                Step(
                    _path(instance),
                    instance.cell,
                    arc.pin,
                    arc.output,
                    self.name(net),
                    EDGES[edge],
                    self.arrivals[net][edge] * PS,
                    self.slews[net][edge] * PS,
                    self.loads[net][edge] * FF,
                )
            )
            if self.netlist.library.cells[instance.cell].flip_flop is not None:
                return f"register {_path(instance)}", tuple(reversed(steps))
            net, edge = instance.pins[arc.pin], before
        return self.name(net), tuple(reversed(steps))

    def excesses(self) -> list[Excess]:
        """Return what is above the library's limits, the greatest share of the limit first."""
        found = []
        pins: dict[int, int] = {}
        for instance in self.netlist.instances:
            for pin in self.netlist.library.cells[instance.cell].inputs:
                net = instance.pins[pin]
                pins[net] = pins.get(net, 0) + 1
        for instance in self.netlist.instances:
            timing = self.timings[instance.cell]
            for pin, net in instance.pins.items():
                slew, load = max(self.slews[net]), max(self.loads[net])
                if net <= CONSTANT_1 or max(self.arrivals[net]) == _NEVER:
                    continue
                if slew > timing.most_slew.get(pin, math.inf) and pin in timing.capacitances:
                    found.append(Excess("slew", self.name(net), slew * PS, timing.most_slew[pin] * PS))
                if load > timing.most_load.get(pin, math.inf):
                    found.append(Excess("load", self.name(net), load * FF, timing.most_load[pin] * FF))
                limit = self.netlist.library.most_fanout
                if limit is not None and pin not in timing.capacitances and pins.get(net, 0) > limit:
                    found.append(Excess("fan-out", self.name(net), pins[net], limit))
        return sorted(set(found), key=lambda e: (-e.value / e.limit, e.kind, e.net))

    def name(self, net: int) -> str:
        """Return what the source calls *net*, else its number."""
        return self.netlist.names.get(net, f"net {net}")


def _wires(model: WireLoad | None, pins: Sequence[int]) -> list[Pair]:
    """Return (resistance, capacitance) of the wire of every net, by the pins that it leads to."""
    if model is None:
        return [_NO_WIRE] * len(pins)
    lengths = {count: model.length(count) for count in set(pins)}
    made = {count: (model.resistance * length, model.capacitance * length) for count, length in lengths.items()}
    return [made[count] if net > CONSTANT_1 and count else _NO_WIRE for net, count in enumerate(pins)]


def _at(table: DelayTable | None, slew: float, load: float) -> float:
    return 0.0 if table is None else table.at(slew, load)


def _path(instance: Instance) -> str:
    return ".".join((*instance.path, instance.name))


def _gates_in_order(netlist: Netlist, gates: list[int]) -> list[int]:
    """Return *gates* so that drivers come first; with registers cut out the order of evaluation need not be one."""
    drivers = {}
    for index in gates:
        instance = netlist.instances[index]
        for pin in netlist.library.cells[instance.cell].functions:
            if pin in instance.pins:
                drivers[instance.pins[pin]] = index
    waiting = {}
    readers: dict[int, list[int]] = {}
    for index in gates:
        instance = netlist.instances[index]
        cell = netlist.library.cells[instance.cell]
        sources = [drivers[instance.pins[pin]] for pin in cell.inputs if instance.pins[pin] in drivers]
        waiting[index] = len(sources)
        for source in sources:
            readers.setdefault(source, []).append(index)
    ready = [index for index in gates if not waiting[index]]
    for index in ready:  # grows while it is walked
        for reader in readers.get(index, ()):
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    return ready
