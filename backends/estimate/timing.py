"""The longest path through a mapped netlist, from the library's one delay per cell, rise and fall kept apart."""

from __future__ import annotations

from dataclasses import dataclass

from . import logic
from .netlist import Netlist
from .netlist_simulator import evaluation_order


@dataclass(frozen=True)
class CriticalPath:
    """``delay`` in ms, and the path from its start to its end: port or register, then ``cell name -> net``."""

    delay: float
    steps: tuple[str, ...]


def critical_path(netlist: Netlist) -> CriticalPath:
    """Return the longest path from an input or a register's clock to an output or a register's data.

    A cell adds its rise (fall) delay when its output rises (falls); an input that can only lower the output passes its
    fall to the output's rise. Delays are the library's at one slew and load (``CellLibrary.delay_point``), whatever the
    fan-out; wires and set-up times add nothing.
    """
    order, _ = evaluation_order(netlist)
    registers = [i for i in order if netlist.library.cells[netlist.instances[i].cell].flip_flop is not None]
    gates = [i for i in order if netlist.library.cells[netlist.instances[i].cell].flip_flop is None]
    arrivals: dict[int, tuple[float, float]] = {}
    came: dict[tuple[int, int], tuple[tuple[int, int] | None, str]] = {}
    senses: dict[tuple[str, str, str], tuple[bool, bool]] = {}
    for index in registers + _gates_in_order(netlist, gates):
        instance = netlist.instances[index]
        cell = netlist.library.cells[instance.cell]
        for output, function in cell.functions.items():
            net = instance.pins.get(output)
            if net is None:
                continue
            latest: list[tuple[float, tuple[int, int] | None]] = [(0.0, None), (0.0, None)]
            for pin in cell.inputs if cell.flip_flop is None else ():
                key = (cell.name, output, pin)
                if key not in senses:
                    senses[key] = logic.unateness(function, cell.inputs, pin)
                raises, lowers = senses[key]
                source = instance.pins[pin]
                rise, fall = arrivals.get(source, (0.0, 0.0))
                same, other = ((0, rise), (1, fall)), ((1, fall), (0, rise))
                for edge in (0, 1):
                    for allowed, (from_edge, at) in ((raises, same[edge]), (lowers, other[edge])):
                        if allowed and (at > latest[edge][0] or latest[edge][1] is None):
                            latest[edge] = (at, (source, from_edge))
            delays = cell.delays[output]
            arrivals[net] = (latest[0][0] + delays[0], latest[1][0] + delays[1])
            for edge in (0, 1):
                came[(net, edge)] = (latest[edge][1], cell.name)
    ends = [net for port in netlist.outputs for net in port.nets]
    for index in registers:
        instance = netlist.instances[index]
        flop = netlist.library.cells[instance.cell].flip_flop
        ends += [net for pin, net in instance.pins.items() if flop and pin in flop.data.pins()]
    worst = max(((arrivals.get(net, (0.0, 0.0))[edge], net, edge) for net in ends for edge in (0, 1)), default=None)
    if worst is None:
        return CriticalPath(0.0, ())
    return CriticalPath(worst[0], _walk_back(netlist, came, (worst[1], worst[2])))


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


def _walk_back(netlist: Netlist, came: dict, end: tuple[int, int]) -> tuple[str, ...]:  # type: ignore[type-arg]
    steps = []
    here: tuple[int, int] | None = end
    while here is not None:
        name = netlist.names.get(here[0], f"net {here[0]}")
        before, cell = came.get(here, (None, ""))
        steps.append(f"{cell} -> {name}" if cell else name)
        here = before
    return tuple(reversed(steps))
