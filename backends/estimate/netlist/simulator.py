"""Simulate a mapped netlist on whole data sets, 64 vectors a word; count toggles and the state every cell is in.

Meaning: registers start at 0 (or at the value the source gives them); vector t is applied, the logic settles, outputs
are read, then every register takes its data: one vector a clock. Outputs are what a zero-delay simulation shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from approxhw.backends.estimate.library import logic
from approxhw.backends.estimate.library.cells import FlipFlop
from approxhw.common.errors import InvalidDataError, LibraryError, Problem, shown

from .netlist import CONSTANT_1, Instance, Netlist, Port

CHUNK = 1 << 16  # vectors packed at a time: a chunk of rows stays in the cache
NOT, AND, OR, XOR, NAND, NOR, XNOR, COPY, DELAY, ZERO, ONE = range(11)
_INVERSE = {AND: NAND, OR: NOR, XOR: XNOR, NAND: AND, NOR: OR, XNOR: XOR}
_BINARY = {"and": AND, "or": OR, "xor": XOR}


@dataclass(frozen=True)
class Activity:
    """What the vectors did to the netlist.

    ``vectors``: how many. ``toggles``: net → changes from one vector to the next. ``states``: for each instance, in
    order, state (text, see ``Cell.powers``) → how many vectors found the cell in it; states never met are absent.
    """

    vectors: int
    toggles: Mapping[int, int]
    states: tuple[Mapping[str, int], ...]


@dataclass
class _Program:
    """Straight-line code: rows (operation, out, a, b) over nets and, above them, temporaries."""

    rows: list[tuple[int, int, int, int]] = field(default_factory=list)
    count: int = 0
    carries: list[int] = field(default_factory=list)  # initial values
    registers: list[tuple[int, int]] = field(default_factory=list)  # state value, next value
    state_values: dict[int, int] = field(default_factory=dict)  # instance index → its stored value

    def new(self) -> int:
        self.count += 1
        return self.count - 1

    def emit(self, operation: int, a: int, b: int = 0, out: int | None = None) -> int:
        out = self.new() if out is None else out
        self.rows.append((operation, out, a, a if operation in (NOT, COPY, ZERO, ONE) else b))
        return out

    def expression(self, expression: logic.Expression, values: Mapping[str, int], out: int | None = None) -> int:
        """Emit *expression* over the given pin values and return where its value is."""
        kind = expression.kind
        if kind == "pin":
            value = values[expression.name]
            return value if out is None else self.emit(COPY, value, out=out)
        if kind in ("zero", "one"):
            return self.emit(ONE if kind == "one" else ZERO, 0, out=out)
        if kind == "not":
            inner = expression.operands[0]
            if inner.kind in _BINARY:
                left, right = (self.expression(operand, values) for operand in inner.operands)
                return self.emit(_INVERSE[_BINARY[inner.kind]], left, right, out)
            return self.emit(NOT, self.expression(inner, values), out=out)
        left, right = (self.expression(operand, values) for operand in expression.operands)
        return self.emit(_BINARY[kind], left, right, out)


def simulate_netlist(netlist: Netlist, vectors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the outputs for *vectors*: port → codes, one an entry.

    ``vectors``: input port → 1-D integers 0 … 2^bits − 1 (two's complement patterns), all of one length; clocks are not
    among them. Outputs are int64, or object (Python integers) for ports of more than 63 bits. Raises
    :class:`InvalidDataError` listing every port that is missing, unknown, or holds what its width cannot.
    """
    return _Machine(netlist).run(vectors, None)[0]


def simulate_activity(netlist: Netlist, vectors: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], Activity]:
    """Return the outputs as :func:`simulate_netlist` does, and the toggles and states that the vectors bring about."""
    counts = _Counts(netlist)
    outputs, number = _Machine(netlist, keep=True).run(vectors, counts)
    return outputs, counts.activity(number)


def evaluation_order(netlist: Netlist) -> tuple[list[int], bool]:
    """Return the instances in an order in which every input is known, and whether registers feed back to themselves.

    Without feedback a register follows what it stores; with it registers come first. Raises :class:`LibraryError` for a
    loop of gates and for a net that two cells drive.
    """
    drivers: dict[int, int] = {}
    twice = []
    for index, instance in enumerate(netlist.instances):
        for pin in netlist.library.cells[instance.cell].functions:
            if pin in instance.pins:
                if instance.pins[pin] in drivers or instance.pins[pin] <= CONSTANT_1:
                    twice.append(Problem(f"cell {shown(instance.name)}", "drives a net that something else drives too"))
                drivers[instance.pins[pin]] = index
    if twice:
        raise LibraryError(f"netlist of {shown(netlist.top)}", twice[:20])
    if not any(_reads_itself(netlist, instance) for instance in netlist.instances):
        order, stuck = _sorted(netlist, drivers, through_registers=True)
        if not stuck:
            return order, False
    order, stuck = _sorted(netlist, drivers, through_registers=False)
    if stuck:
        named = ", ".join(shown(netlist.instances[index].name, 40) for index in stuck[:5])
        why = f"a loop of {len(stuck)} gates without a register, among them {named}"
        raise LibraryError(f"netlist of {shown(netlist.top)}", [Problem("loop", why, "break it with a register")])
    return order, True


def _reads_itself(netlist: Netlist, instance: Instance) -> bool:
    """Whether *instance* is a register that may keep what it has, one with an enable."""
    flop = netlist.library.cells[instance.cell].flip_flop
    return flop is not None and not {flop.state, flop.inverse}.isdisjoint(flop.data.pins())


def _sorted(netlist: Netlist, drivers: Mapping[int, int], through_registers: bool) -> tuple[list[int], list[int]]:
    """Depth-first order over the drivers of each instance's inputs, and the instances on a cycle (empty: none)."""
    sources: list[list[int]] = []
    for instance in netlist.instances:
        cell = netlist.library.cells[instance.cell]
        if cell.flip_flop is not None:
            read = (
                [p for p in cell.inputs if p != cell.flip_flop.clock]
                if through_registers
                else _asynchronous(instance, netlist)
            )
        else:
            read = list(cell.inputs)
        sources.append([drivers[instance.pins[p]] for p in read if instance.pins[p] in drivers])
    order: list[int] = []
    mark = [0] * len(sources)  # 1 on the way, 2 done
    for root in range(len(sources)):
        if mark[root]:
            continue
        mark[root] = 1
        stack = [(root, iter(sources[root]))]
        while stack:
            here, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                stack.pop()
                mark[here] = 2
                order.append(here)
            elif mark[following] == 1:
                return [], [index for index, _ in stack[[i for i, _ in stack].index(following) :]]
            elif mark[following] == 0:
                mark[following] = 1
                stack.append((following, iter(sources[following])))
    return order, []


def _asynchronous(instance: Instance, netlist: Netlist) -> list[str]:
    flop = netlist.library.cells[instance.cell].flip_flop
    held = [e for e in (flop.clear, flop.preset) if e is not None] if flop else []
    return sorted(frozenset().union(*(e.pins() for e in held)))


def compile_netlist(netlist: Netlist) -> tuple[_Program, bool]:
    """Return the netlist as straight-line code over its nets, and whether it must run one clock at a time."""
    order, feedback = evaluation_order(netlist)
    program = _Program(count=netlist.net_count)
    program.emit(ZERO, 0, out=0)
    program.emit(ONE, 1, out=1)
    late: list[tuple[int, int, FlipFlop]] = []
    for index in order:
        instance = netlist.instances[index]
        cell = netlist.library.cells[instance.cell]
        values: dict[str, int] = dict(instance.pins)
        flop = cell.flip_flop
        if flop is not None:
            start = _initial(netlist, instance)
            state = program.new()
            program.state_values[index] = state
            if feedback:
                stored = program.new()
                late.append((index, stored, flop))
                program.rows.append((COPY, state, stored, stored))
                program.carries.append(start)
            else:
                program.rows.append((DELAY, state, _next(program, flop, values), len(program.carries)))
                program.carries.append(start)
            held = _held(program, flop, values, state)
            if held != state:
                program.rows.append((COPY, state, held, held))
            values |= {flop.state: state, flop.inverse: program.emit(NOT, state)}
        for pin, function in cell.functions.items():
            if pin in instance.pins:
                program.expression(function, values, out=instance.pins[pin])
    for index, stored, flop in late:
        state = program.state_values[index]
        values = {**netlist.instances[index].pins, flop.state: state, flop.inverse: program.emit(NOT, state)}
        program.registers.append((stored, _next(program, flop, values)))
    return program, feedback


def _next(program: _Program, flop: FlipFlop, values: Mapping[str, int]) -> int:
    return _held(program, flop, values, program.expression(flop.data, values))


def _held(program: _Program, flop: FlipFlop, values: Mapping[str, int], value: int) -> int:
    """Emit the asynchronous set and reset (reset wins) on *value*."""
    if flop.preset is not None:
        value = program.emit(OR, value, program.expression(flop.preset, values))
    if flop.clear is not None:
        value = program.emit(AND, value, program.emit(NOT, program.expression(flop.clear, values)))
    return value


def _initial(netlist: Netlist, instance: Instance) -> int:
    cell = netlist.library.cells[instance.cell]
    flop = cell.flip_flop
    for pin, function in cell.functions.items():
        if flop is not None and pin in instance.pins and instance.pins[pin] in netlist.initial:
            return netlist.initial[instance.pins[pin]] ^ (function != logic.Expression("pin", flop.state))
    return 0


class _Machine:
    """A compiled netlist with its slots: which net or temporary lives in which row of words."""

    def __init__(self, netlist: Netlist, keep: bool = False) -> None:
        self.netlist = netlist
        self.program, self.feedback = compile_netlist(netlist)
        self.inputs, self.outputs = netlist.data_inputs, netlist.outputs
        self.keep = keep or self.feedback
        slots = list(range(self.program.count))
        if not self.keep:
            slots = self._share_slots()
        self.slot_count = max(slots, default=0) + 1
        rows = [(op, slots[out], slots[a], b if op == DELAY else slots[b]) for op, out, a, b in self.program.rows]
        self.rows = np.array(rows, dtype=np.int64).reshape(-1, 4)
        self.slots_of = slots
        self.input_slots = self._layout(self.inputs, reading=True)
        self.output_slots = self._layout(self.outputs, reading=False)
        words = int(np.clip((1 << 14) // self.slot_count // 8 * 8, 8, 256))
        self.slots = np.zeros((self.slot_count, words), dtype=np.uint64)
        self.carries = np.array([*self.program.carries, 0], dtype=np.uint64)

    def _share_slots(self) -> list[int]:
        """Give values that are never alive together one slot; what ports read and write stays apart."""
        last = {}
        for position, (op, _, a, b) in enumerate(self.program.rows):
            last[a] = position
            if op != DELAY:
                last[b] = position
        pinned = {net for port in (*self.inputs, *self.outputs) for net in port.nets} | {0, 1}
        slots = [-1] * self.program.count
        for number, net in enumerate(sorted(pinned)):
            slots[net] = number
        used = len(pinned)
        free: list[int] = []
        for position, (op, out, a, b) in enumerate(self.program.rows):
            if slots[out] < 0:
                if free:
                    slots[out] = free.pop()
                else:
                    slots[out] = used
                    used += 1
            for value in {a} if op == DELAY else {a, b}:
                if slots[value] < 0:  # undriven: reads as 0
                    slots[value] = slots[0]
                elif value not in pinned and last[value] == position:
                    free.append(slots[value])
            if out not in last and out not in pinned:
                free.append(slots[out])
        return [slots[0] if slot < 0 else slot for slot in slots]

    def _layout(self, ports: Sequence[Port], reading: bool) -> np.ndarray:
        nets = [net for port in ports for net in port.nets]
        groups = max((len(nets) + 63) // 64, 1)
        layout = np.full((groups, 64), -1, dtype=np.int64)
        for number, net in enumerate(nets):
            if not (reading and net <= CONSTANT_1):
                layout[number // 64, number % 64] = self.slots_of[net]
        return layout

    def run(self, vectors: Mapping[str, np.ndarray], counts: _Counts | None) -> tuple[dict[str, np.ndarray], int]:
        from . import _kernel as kernel

        columns, number = _columns(self.inputs, vectors)
        outputs = {
            port.name: np.zeros(number, dtype=np.int64 if len(port.nets) <= 63 else object) for port in self.outputs
        }
        registers = np.array(self.program.registers, dtype=np.int64).reshape(-1, 2)
        wide: dict[str, int] = {}
        for first in range(0, number, CHUNK):
            here = min(CHUNK, number - first)
            rows = np.zeros((self.input_slots.shape[0], here), dtype=np.uint64)
            self._pack(columns, first, here, rows, wide)
            results = np.empty((self.output_slots.shape[0], here), dtype=np.uint64)
            if self.keep:
                block = 64 * self.slots.shape[1]
                for start in range(0, here, block):
                    width = min(block, here - start)
                    if self.feedback:
                        kernel.run_steps(
                            self.rows, registers, rows, start, width, self.input_slots, self.slots, self.carries
                        )
                    else:
                        kernel.run_stream_block(
                            self.rows, rows, start, width, self.input_slots, self.slots, self.carries
                        )
                    kernel.store(self.output_slots, self.slots, start, width, results)
                    if counts is not None:
                        counts.add(self, width)
            else:
                kernel.run_stream(
                    self.rows, rows, here, self.input_slots, self.output_slots, self.slots, self.carries, results
                )
            self._unpack(results, first, here, outputs)
        if wide:
            raise InvalidDataError(
                f"vectors of {shown(self.netlist.top)}",
                [
                    Problem(
                        f"port {shown(name)}",
                        f"holds a code outside 0 … 2^{bits} − 1",
                        "give two's complement patterns",
                    )
                    for name, bits in wide.items()
                ],
            )
        return outputs, number

    def _pack(
        self, columns: Mapping[str, np.ndarray], first: int, here: int, rows: np.ndarray, wide: dict[str, int]
    ) -> None:
        from . import _kernel as kernel

        position = 0
        for port in self.inputs:
            bits = len(port.nets)
            for drop, part in _parts(columns[port.name][first : first + here], bits):
                left = min(64, bits - drop)
                done = 0
                while done < left:
                    group, shift = divmod(position, 64)
                    take = min(64 - shift, left - done)
                    seen = int(kernel.pack_port(part, done, shift, take, rows[group]))
                    position += take
                    done += take
                    if seen >> left:
                        wide[port.name] = bits

    def _unpack(self, results: np.ndarray, first: int, here: int, outputs: Mapping[str, np.ndarray]) -> None:
        from . import _kernel as kernel

        position = 0
        for port in self.outputs:
            bits, done = len(port.nets), 0
            values = outputs[port.name][first : first + here]
            while done < bits:
                group, shift = divmod(position, 64)
                take = min(64 - shift, bits - done, 63)
                if values.dtype == object:
                    part = np.zeros(here, dtype=np.int64)
                    kernel.unpack_port(results[group], shift, take, 0, part)
                    values |= part.astype(object) << done
                else:
                    kernel.unpack_port(results[group], shift, take, done, values)
                position += take
                done += take


def _parts(values: np.ndarray, bits: int) -> list[tuple[int, np.ndarray]]:
    """Split codes into 64-bit parts: (how many bits are below, the part)."""
    if values.dtype != object:
        return [(0, values)]
    mask = (1 << 64) - 1
    drops = range(0, max(bits, 1), 64)
    return [(d, np.array([(int(v) >> d) & mask for v in values], dtype=np.uint64)) for d in drops]


def _columns(inputs: Sequence[Port], vectors: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int]:
    """Return the vectors of each port as integer arrays of one length; all problems at once."""
    problems, columns, lengths = [], {}, set()
    known = {port.name for port in inputs}
    for name in vectors:
        if name not in known:
            listed = ", ".join(shown(port.name) for port in inputs[:20]) or "none"
            problems.append(Problem(f"port {shown(name)}", f"is no data input; there are: {listed}"))
    for port in inputs:
        if port.name not in vectors:
            problems.append(Problem(f"port {shown(port.name)}", "has no vectors"))
            continue
        values = np.asarray(vectors[port.name])
        bits = len(port.nets)
        if values.ndim != 1 or not (values.dtype == object or values.dtype.kind in "iub"):
            problems.append(
                Problem(f"port {shown(port.name)}", f"needs a 1-D array of integers, not {values.dtype}{values.shape}")
            )
            continue
        lengths.add(len(values))
        if values.dtype == object:
            if not all(isinstance(value, (int, np.integer)) and 0 <= value < 1 << bits for value in values):
                problems.append(Problem(f"port {shown(port.name)}", f"holds a code outside 0 … 2^{bits} − 1"))
                continue
            values = values.astype(np.uint64) if bits <= 64 else values
        elif values.dtype.kind == "b":
            values = values.astype(np.uint8)
        elif values.size and values.dtype.kind == "i" and bits >= 64 and values.min() < 0:
            problems.append(Problem(f"port {shown(port.name)}", f"holds a code outside 0 … 2^{bits} − 1"))
            continue
        if bits > 64 and values.dtype != object:
            values = values.astype(object)
        columns[port.name] = values
    if len(lengths) > 1:
        problems.append(Problem("vectors", f"ports have different numbers of them: {sorted(lengths)}"))
    if problems:
        raise InvalidDataError("vectors", problems)
    return columns, lengths.pop() if lengths else 1


class _Counts:
    """Running totals of toggles and states."""

    def __init__(self, netlist: Netlist) -> None:
        self.netlist = netlist
        self.first = True

    def _begin(self, machine: _Machine) -> None:
        self.toggles = np.zeros(machine.slot_count, dtype=np.int64)
        self.last = np.zeros(machine.slot_count, dtype=np.uint64)
        listed = []
        for index, instance in enumerate(self.netlist.instances):
            cell = self.netlist.library.cells[instance.cell]
            places = {**instance.pins}
            if cell.flip_flop is not None:
                places[cell.flip_flop.state] = machine.program.state_values[index]
            listed.append([machine.slots_of[places[pin]] for pin in cell.state_pins])
        most = max((len(pins) for pins in listed), default=1) or 1
        self.pins = np.zeros((len(listed), most), dtype=np.int64)
        self.numbers = np.array([len(pins) for pins in listed], dtype=np.int64)
        for row, pins in enumerate(listed):
            self.pins[row, : len(pins)] = pins
        self.states = np.zeros((len(listed), 1 << most), dtype=np.int64)

    def add(self, machine: _Machine, width: int) -> None:
        from . import _kernel as kernel

        if self.first:
            self._begin(machine)
        kernel.count_toggles(machine.slots, width, self.first, self.last, self.toggles)
        kernel.count_states(machine.slots, width, self.pins, self.numbers, self.states)
        self.first = False

    def activity(self, number: int) -> Activity:
        if self.first:
            return Activity(0, {}, tuple({} for _ in self.netlist.instances))
        toggles = {net: int(self.toggles[net]) for net in range(self.netlist.net_count)}
        states = tuple(
            {format(state, f"0{pins}b") if pins else "": int(row[state]) for state in range(1 << pins) if row[state]}
            for row, pins in zip(self.states, self.numbers.tolist(), strict=True)
        )
        return Activity(number, toggles, states)
