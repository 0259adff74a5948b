"""A mapped netlist: library cells, the nets between them, and the ports; read from what Yosys writes as JSON."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from approxhw.backends.estimate.library import logic
from approxhw.backends.estimate.library.cells import CellLibrary
from approxhw.common.errors import LibraryError, Problem, shown

from .yosys_json import NetBit, YosysDesign, YosysModule, is_black_box

CONSTANT_0, CONSTANT_1 = 0, 1
_CONSTANTS: dict[NetBit, int] = {"0": CONSTANT_0, "1": CONSTANT_1, "x": CONSTANT_0, "z": CONSTANT_0}
BUFFER = "approxhw_buffer"  # stands for a buffer where the library has none; becomes two inverters
_LATCH, _TRISTATE = "a latch", "a tristate driver"
_HINTS = {"$_DLATCH": _LATCH, "$dlatch": _LATCH, "$_TBUF": _TRISTATE, "$tribuf": _TRISTATE, "$mem": "a memory"}


@dataclass(frozen=True)
class Port:
    """A port: ``direction`` is ``input`` or ``output``; ``nets`` its bits, least significant first."""

    name: str
    direction: str
    nets: tuple[int, ...]


@dataclass(frozen=True)
class Instance:
    """A placed cell: which one, its net at every pin, and the instances around it, outermost first."""

    name: str
    cell: str
    pins: Mapping[str, int]
    path: tuple[str, ...] = ()


@dataclass(frozen=True)
class BlackBox:
    """A part without contents whose ``area`` (mm²) the library knows, and no more: its pins are ports called ``name.pin``."""

    name: str
    module: str
    area: float


@dataclass(frozen=True)
class Netlist:
    """A circuit of library cells. Net 0 is constant 0, net 1 constant 1; the others are 2 … ``net_count`` − 1.

    ``initial``: nets of registers whose first value the source gave. ``names``: a name for nets that have one.
    ``verilog``: the same circuit as text. ``modules``: path of instances → name of the module there. ``notes``: what those
    who read its figures must know. ``black_boxes``: parts of which nothing but the area is known.
    """

    top: str
    ports: tuple[Port, ...]
    instances: tuple[Instance, ...]
    net_count: int
    names: Mapping[int, str]
    initial: Mapping[int, int]
    verilog: str
    modules: Mapping[tuple[str, ...], str]
    library: CellLibrary
    notes: tuple[str, ...] = ()
    black_boxes: tuple[BlackBox, ...] = ()

    @property
    def inputs(self) -> tuple[Port, ...]:
        """Return the input ports."""
        return tuple(port for port in self.ports if port.direction == "input")

    @property
    def outputs(self) -> tuple[Port, ...]:
        """Return the output ports."""
        return tuple(port for port in self.ports if port.direction == "output")

    @functools.cached_property
    def clocks(self) -> frozenset[int]:
        """Return the nets between the clock port and the registers, inverters and buffers on the way included.

        Raises :class:`LibraryError` for a clock that logic makes or gates, and for registers on several clocks or both
        edges of one: then "one vector a clock" has no meaning.
        """
        drivers, ports = self.single_input_drivers(), {net: p.name for p in self.inputs for net in p.nets}
        found: set[int] = set()
        edges: dict[tuple[str, bool], str] = {}
        problems: list[Problem] = []
        for instance in self.instances:
            flop = self.library.cells[instance.cell].flip_flop
            if flop is None:
                continue
            net, rising = instance.pins[flop.clock], flop.rising
            found.add(net)
            while net in drivers and net not in ports:
                net, inverts = drivers[net]
                rising ^= inverts
                found.add(net)
            if net in ports:
                edges.setdefault((ports[net], rising), instance.name)
            else:
                problems.append(Problem(f"register {shown(instance.name)}", "has a clock that is no input port"))
        if len(edges) > 1:
            listed = ", ".join(
                f"{'rising' if rising else 'falling'} edge of {shown(name)}" for name, rising in sorted(edges)
            )
            problems.append(
                Problem("registers", f"are on several clocks: {listed}", "measure one clock domain at a time")
            )
        if problems:
            raise LibraryError(f"netlist of {shown(self.top)}", problems[:20])
        return frozenset(found)

    def single_input_drivers(self) -> dict[int, tuple[int, bool]]:
        """Return the output net of every inverter and buffer → its input net, and whether it inverts."""
        drivers = {}
        for instance in self.instances:
            cell = self.library.cells[instance.cell]
            if cell.flip_flop is None and len(cell.inputs) == 1:
                for pin, function in cell.functions.items():
                    table = logic.table(function, cell.inputs)
                    if pin in instance.pins and table in (0b01, 0b10):
                        drivers[instance.pins[pin]] = (instance.pins[cell.inputs[0]], table == 0b01)
        return drivers

    @property
    def data_inputs(self) -> tuple[Port, ...]:
        """Return the input ports that take vectors: all but the clock."""
        clocks = self.clocks
        return tuple(port for port in self.inputs if not (len(port.nets) == 1 and port.nets[0] in clocks))

    def needs_tie(self) -> bool:
        """Return whether a constant is needed at an output or a cell pin."""
        at_ports = any(net <= CONSTANT_1 for port in self.outputs for net in port.nets)
        return at_ports or any(net <= CONSTANT_1 for instance in self.instances for net in instance.pins.values())

    def cells_by_type(self) -> dict[str, int]:
        """Return how many of each cell there are, tie cell included, most frequent first."""
        counts = Counter(instance.cell for instance in self.instances)
        counts.update(box.module for box in self.black_boxes)
        if self.library.tie and self.needs_tie():
            counts[self.library.tie] += 1
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def bits_read(self) -> dict[str, tuple[int, ...]]:
        """Return, by input port, the positions of its bits that a cell or an output reads; the others decide nothing."""
        read = {net for port in self.outputs for net in port.nets}
        for instance in self.instances:
            outputs = self.library.cells[instance.cell].functions
            read.update(net for pin, net in instance.pins.items() if pin not in outputs)
        return {port.name: tuple(i for i, net in enumerate(port.nets) if net in read) for port in self.inputs}

    def area(self) -> float:
        """Return the area in mm²: the sum over its cells and black boxes, without routing."""
        boxes = {box.module: box.area for box in self.black_boxes}
        listed = self.cells_by_type().items()
        return float(sum((boxes[n] if n in boxes else self.library.cells[n].area) * count for n, count in listed))


def netlist_from_json(
    content: YosysDesign, top: str, library: CellLibrary, verilog: str = "", latches: Sequence[str] = ()
) -> Netlist:
    """Return the netlist of module *top* in *content* (Yosys ``write_json``), its hierarchy walked down.

    ``latches``: what is known of signals that latches keep, for the error about them. Raises :class:`LibraryError` listing
    what the library cannot build: latches, tristate drivers, inout ports, and parts without contents or an area.
    """
    modules = {name: m for name, m in content["modules"].items() if name not in library.cells and name != BUFFER}
    walker = _Walker(modules, library)
    nets = walker.enter(top, (), {})
    problems = list(walker.problems.values())
    if latches and any(problem.why == f"needs {_LATCH}, which no cell of the library provides" for problem in problems):
        problems.append(latch_problem(latches))
    for name, port in modules[top]["ports"].items():
        if port["direction"] == "inout":
            problems.append(Problem(f"port {shown(name)}", "is inout, and no cell drives both ways", "split it in two"))
    if problems:
        raise LibraryError(f"{shown(top)} on library {library.name}", problems)
    number: dict[int, int] = {walker.find(0): CONSTANT_0, walker.find(1): CONSTANT_1}

    def net(raw: int) -> int:
        return number.setdefault(walker.find(raw), len(number))

    ports = tuple(
        Port(name, port["direction"], tuple(net(nets[bit]) for bit in port["bits"]))
        for name, port in modules[top]["ports"].items()
    ) + tuple(Port(name, way, tuple(map(net, raws))) for name, way, raws in walker.pins)
    instances = tuple(
        Instance(name, cell, {pin: net(raw) for pin, raw in pins.items()}, path)
        for name, cell, pins, path in walker.instances
    )
    names = {net(raw): name for raw, name in walker.names.items()}
    initial = {net(raw): value for raw, value in walker.initial.items()}
    notes = [
        f"part {shown(box.name)} ({shown(box.module)}) has no contents: its area is counted, its power and delay are not, "
        "and what it drives changes at random"
        for box in walker.boxes[:20]
    ]
    return Netlist(
        top,
        ports,
        instances,
        len(number),
        names,
        initial,
        verilog,
        walker.modules,
        library,
        tuple(notes),
        tuple(walker.boxes),
    )


def latch_problem(signals: Sequence[str]) -> Problem:
    """Return what to say of *signals* that latches keep."""
    named = ", ".join(shown(name, 60) for name in signals[:10]) + (", …" if len(signals) > 10 else "")
    return Problem(
        f"latches of {named or 'the source'}",
        "a value is kept wherever the always block gives none, and no cell of the library is a latch",
        "assign it on every path, or store it on a clock edge",
    )


class _Walker:
    """Number the nets of all instances of all modules; nets that hierarchy joins are merged (union-find)."""

    def __init__(self, modules: Mapping[str, YosysModule], library: CellLibrary) -> None:
        self.source, self.library = modules, library
        self.parents = [0, 1]
        self.instances: list[tuple[str, str, dict[str, int], tuple[str, ...]]] = []
        self.modules: dict[tuple[str, ...], str] = {}
        self.names: dict[int, str] = {}
        self.initial: dict[int, int] = {}
        self.problems: dict[str, Problem] = {}
        self.boxes: list[BlackBox] = []
        self.pins: list[tuple[str, str, list[int]]] = []

    def find(self, net: int) -> int:
        while self.parents[net] != net:
            self.parents[net] = self.parents[self.parents[net]]
            net = self.parents[net]
        return net

    def join(self, a: int, b: int) -> None:
        a, b = sorted((self.find(a), self.find(b)))
        self.parents[b] = a

    def fresh(self) -> int:
        self.parents.append(len(self.parents))
        return self.parents[-1]

    def enter(self, module: str, path: tuple[str, ...], bound: dict[NetBit, int]) -> dict[NetBit, int]:
        """Walk through *module* as the instance at *path*, whose bits *bound* are nets outside; return all its nets."""
        content = self.source[module]
        self.modules[path] = module
        nets: dict[NetBit, int] = {**_CONSTANTS, **bound}
        for name, named in content["netnames"].items():
            init = named.get("attributes", {}).get("init", "")
            for position, bit in enumerate(named["bits"]):
                raw = self._net(nets, bit)
                if raw > 1 and (raw not in self.names or not named.get("hide_name", 0)):
                    label = ".".join((*path, name)) + (f"[{position}]" if len(named["bits"]) > 1 else "")
                    self.names[raw] = label
                if isinstance(init, str) and init[::-1][position : position + 1] == "1":
                    self.initial[raw] = 1
        for name, cell in content["cells"].items():
            kind = cell["type"]
            pins = {pin: [self._net(nets, bit) for bit in bits] for pin, bits in cell["connections"].items()}
            if kind in self.source and is_black_box(self.source[kind]):
                self._enclose(kind, ".".join((*path, name)), module, pins)
            elif kind in self.source:
                self._enter_child(kind, (*path, name), pins)
            elif kind == BUFFER:
                inverter, between = self.library.inverter, self.fresh()
                (source,), (target,) = inverter.inputs, inverter.functions
                self.instances.append((name, inverter.name, {source: pins["A"][0], target: between}, path))
                self.instances.append((name, inverter.name, {source: between, target: pins["Y"][0]}, path))
            elif kind in self.library.cells:
                wanted = self.library.cells[kind]
                known = {pin: bits[0] for pin, bits in pins.items() if bits}
                for pin in wanted.inputs:
                    known.setdefault(pin, 0)
                self.instances.append((name, kind, known, path))
            elif kind not in ("$scopeinfo",):
                what = next(
                    (text for start, text in _HINTS.items() if kind.startswith(start)), f"cell type {shown(kind)}"
                )
                made = [raw for pin in ("Y", "Q", "RD_DATA") for raw in pins.get(pin, ())]
                called = next((self.names[raw] for raw in made if raw in self.names), name)
                self.problems.setdefault(
                    kind,
                    Problem(
                        f"{shown(called)} in module {shown(module)}",
                        f"needs {what}, which no cell of the library provides",
                        "describe the circuit with gates and edge-triggered registers only",
                    ),
                )
        return nets

    def _enter_child(self, kind: str, path: tuple[str, ...], pins: dict[str, list[int]]) -> None:
        bound: dict[NetBit, int] = {}
        for port, description in self.source[kind]["ports"].items():
            for bit, raw in zip(description["bits"], pins.get(port, []), strict=False):
                inner = _CONSTANTS.get(bit, bound.get(bit))
                if inner is None:
                    bound[bit] = raw
                else:
                    self.join(inner, raw)
        self.enter(kind, path, bound)

    def _enclose(self, kind: str, name: str, module: str, pins: dict[str, list[int]]) -> None:
        """Take the instance *name* of the empty module *kind* for a black box: what it drives comes from outside."""
        area = self.library.left_out_areas.get(kind)
        if area is None:
            remedy = "write a module of that name that does the same, or give a Liberty file that has it as a cell"
            why = f"has no contents (instance {shown(name)} in module {shown(module)}), and is no cell of the library"
            self.problems.setdefault(kind, Problem(f"module {shown(kind)}", why, remedy))
            return
        self.boxes.append(BlackBox(name, kind, area))
        for port, description in self.source[kind]["ports"].items():
            way = {"input": "output", "output": "input"}.get(description["direction"], "inout")
            if pins.get(port):
                self.pins.append((f"{name}.{port}", way, pins[port]))

    def _net(self, nets: dict[NetBit, int], bit: NetBit) -> int:
        if bit not in nets:
            nets[bit] = self.fresh()
        return nets[bit]
