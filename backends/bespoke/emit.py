"""Circuit → readable Verilog-2005: Amaranth modules, out through RTLIL and Yosys' Verilog writer, templates appended."""

from __future__ import annotations

import gc
import re
import textwrap
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from amaranth.back import rtlil
from amaranth.hdl import Cat, ClockDomain, Const, Instance, Module, Mux, Signal, Value

from approxhw.backends.cells.blocks import (
    LOCAL,
    Bit,
    Block,
    Cell,
    Dot,
    Lane,
    Whole,
    bits_made,
    bits_read,
    is_gate,
    uninverted,
)
from approxhw.common.errors import ToolFailedError
from approxhw.common.files import is_full, no_room, working_folder
from approxhw.common.tools import find_yosys, run_tool
from approxhw.rtl_templates import template_closure

from .circuit import Circuit
from .trees import AND, ANY, SELECT

WRITE_TIMEOUT = 120.0


@dataclass(frozen=True)
class Emitted:
    """Verilog of a circuit and its ports.

    ``input_bits``: port → positions of the code's bits that it carries, lowest first. ``outputs``: port, bits. ``clock``,
    ``latency`` (rising edges): of a registered circuit, else None and 0.
    """

    verilog: str
    top: str
    input_bits: tuple[tuple[str, tuple[int, ...]], ...]
    outputs: tuple[tuple[str, int], ...]
    clock: str | None
    latency: int

    @property
    def output(self) -> tuple[str, int]:
        """The first output: the only one of a classifier."""
        return self.outputs[0]


_EMITTING = threading.Lock()


def emit(
    circuit: Circuit,
    *,
    registers: bool = False,
    header: Sequence[str] = (),
    on_block: Callable[[int, int], None] | None = None,
) -> Emitted:
    """Return *circuit* as Verilog-2005. ``registers``: registered input and output. ``header``: comment lines on top.

    ``on_block`` hears after each block how many are done, and of how many. Threads wait for one another: the parser of what is
    emitted is one for all of them.
    """
    with _EMITTING:
        return _emitted(circuit, registers, header, on_block)


def _emitted(
    circuit: Circuit, registers: bool, header: Sequence[str], on_block: Callable[[int, int], None] | None
) -> Emitted:
    parts: list[str] = []
    templates: set[str] = set()
    comments: dict[str, list[str]] = {}
    with _no_collection():
        for number, block in enumerate(circuit.blocks):
            parts.append(_block_rtlil(block, circuit))
            if on_block is not None:
                on_block(number + 1, len(circuit.blocks))
            templates.update(
                cell.template for cell in block.cells if not is_gate(cell) and cell.template not in OPERATORS
            )
            comments[block.name] = [*block.comment, *_carried(block, circuit)]
    comments[circuit.name] = [
        f"{port.name} carries {_bits(port.positions)} of its code"
        for port in circuit.inputs
        if port.positions != tuple(range(len(port.positions)))
    ]
    with _no_collection():
        top_text, clock = _top_rtlil(circuit, registers)
    verilog = _written("\n".join([*parts, top_text]), [circuit.name, *(block.name for block in circuit.blocks)])
    body = _commented(verilog, comments)
    library = template_closure(*sorted(templates))
    head = "".join(f"// {line}\n" for line in header)
    inputs = tuple((port.name, port.positions) for port in circuit.inputs)
    outputs = tuple((name, len(bits)) for name, bits in circuit.outputs)
    text = "\n".join(part for part in (head, body, library) if part)  # an empty line ends the header
    return Emitted(text, circuit.name, inputs, outputs, clock, 2 if registers else 0)


def _carried(block: Block, circuit: Circuit) -> list[str]:
    """Return a comment line for every port of *block* that carries some bits of a value only."""
    made = [
        f"  {name} carries {_bits(circuit.read[name])} of it: the others are constant, or nothing reads them"
        for name, bits in block.outputs.items()
        if circuit.read[name] != tuple(range(len(bits)))
    ]
    widths = {name: len(bits) for other in circuit.blocks for name, bits in other.outputs.items()}
    read = [
        f"  {name} comes as {_bits(circuit.read[name])} of it"
        for name in dict.fromkeys(bit[0] for cell in block.cells for bit in bits_read(cell) if not isinstance(bit, int))
        if name in widths and name not in block.outputs and circuit.read[name] != tuple(range(widths[name]))
    ]
    return [*made, *read]


def _bits(positions: Sequence[int]) -> str:
    """Return bit positions in words."""
    return f"{'bit' if len(positions) == 1 else 'bits'} {_spelled(positions)}" if positions else "no bit"


def _spelled(positions: Sequence[int]) -> str:
    """Return bit positions as Verilog writes them, highest first, such as ``7:3,1``."""
    runs: list[list[int]] = []
    for position in positions:
        if runs and runs[-1][0] == position - 1:
            runs[-1][0] = position
        else:
            runs.append([position, position])
    return ",".join(f"{top}:{bottom}" if top > bottom else f"{top}" for top, bottom in reversed(runs))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector out: Amaranth makes millions of small objects, and collecting them took a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@dataclass
class _Scope:
    """Signals of one module under construction: bit → Amaranth value."""

    taken: set[str]
    module: Module = field(default_factory=Module)
    bits: dict[Dot, tuple[Signal, int]] = field(default_factory=dict)

    def signal(self, name: str, width: int) -> Signal:
        return Signal(width, name=self.fresh(name))

    def fresh(self, name: str) -> str:
        base = name.removeprefix(LOCAL)
        chosen, count = base, 1
        while chosen in self.taken:
            count += 1
            chosen = f"{base}_{count}"
        self.taken.add(chosen)
        return chosen

    def value(self, bits: Sequence[Bit]) -> Value:
        """Return *bits* as one Amaranth value; runs of one signal become one slice, a whole signal stays itself."""
        # runs: of constants (None, value, bits), of one signal (signal, start, end)
        runs: list[tuple[Signal | None, int, int]] = []
        for bit in bits:
            last = runs[-1] if runs else None
            if isinstance(bit, int):
                known = last if last is not None and last[0] is None else None
                value, width = known[1:] if known is not None else (0, 0)
                runs[len(runs) - (known is not None) :] = [(None, value | bit << width, width + 1)]
                continue
            signal, position = self.bits[bit]
            if last is not None and last[0] is signal and last[2] == position:
                runs[-1] = (signal, last[1], position + 1)
            else:
                runs.append((signal, position, position + 1))
        parts: list[Value] = [Const(start, end) if signal is None else signal[start:end] for signal, start, end in runs]
        if len(runs) == 1 and runs[0][0] is not None and runs[0][1:] == (0, len(runs[0][0])):
            return runs[0][0]
        return Cat(*parts)


def _block_rtlil(block: Block, circuit: Circuit) -> str:
    leaving = _leaving(block, circuit)
    incoming = _incoming(block, circuit)
    scope = _Scope({*incoming, *block.outputs})
    ports = []
    for name, positions in incoming.items():
        port = Signal(len(positions), name=name)
        ports.append(port)
        scope.bits.update({(name, position): (port, i) for i, position in enumerate(positions)})
    groups: dict[str, list[Cell]] = {}
    for cell in block.cells:
        groups.setdefault(cell.group, []).append(cell)
    outputs = {name: Signal(len(bits), name=name) for name, bits in leaving.items()}
    ports.extend(outputs.values())
    direct = _declare(scope, groups, leaving, outputs)
    direct |= _declare_inverted(scope, block, leaving, outputs)
    for group, cells in groups.items():
        _instance(scope, group, cells)
    for name, bits in leaving.items():
        if name not in direct:
            scope.module.d.comb += outputs[name].eq(scope.value(bits))
    return _converted(scope.module, block.name, ports)


def _converted(module: Module, name: str, ports: list[Signal]) -> str:
    """Return *module* as RTLIL, its ports numbered in the order of *ports*: Amaranth has an order of its own."""
    text = rtlil.convert(module, name=name, ports=ports, emit_src=False)
    numbers = {port.name: number for number, port in enumerate(ports, 1)}  # Yosys takes 0 for no number
    text = text.replace("cell \\$_", "cell $_")  # Yosys' own gates, not modules of such names
    return re.sub(r"\b(input|output) \d+ +\\(\w+)", lambda m: f"{m[1]} {numbers[m[2]]} \\{m[2]}", text)


def _leaving(block: Block, circuit: Circuit) -> dict[str, list[Bit]]:
    """Return, per word that leaves *block*, those of its bits that somebody reads."""
    return {name: [bits[i] for i in circuit.read[name]] for name, bits in block.outputs.items()}


def _incoming(block: Block, circuit: Circuit) -> dict[str, tuple[int, ...]]:
    """Return, per word that *block* reads from outside, the positions of the bits that it reads; in order of data flow."""
    leaving = _leaving(block, circuit)
    made = {dot for cell in block.cells for dot in bits_made(cell)}
    bits = [bit for cell in block.cells for bit in bits_read(cell)]
    bits += [bit for output in leaving.values() for bit in output]
    incoming: dict[str, set[int]] = {}
    for bit in bits:
        if not isinstance(bit, int) and uninverted(bit) not in made:
            name, position = uninverted(bit)
            incoming.setdefault(name, set()).add(position)
    order = [*(port.name for port in circuit.inputs), *(name for other in circuit.blocks for name in other.outputs)]
    return {name: tuple(sorted(incoming[name])) for name in order if name in incoming}


def _declare(
    scope: _Scope,
    groups: dict[str, list[Cell]],
    leaving: dict[str, list[Bit]],
    outputs: dict[str, Signal],
) -> set[str]:
    """Make one signal a group and output port: its bits are the group's lanes.

    Where a signal would only be copied to a port of the module it *is* that port; returns the names of such ports.
    """
    direct: set[str] = set()
    by_bits = {tuple(bits): name for name, bits in leaving.items()}
    for group, cells in groups.items():
        for port, dots in _group_outputs(cells).items():
            name = by_bits.get(dots)
            if name is not None:
                signal = outputs[name]
                direct.add(name)
            else:
                plain_name = port in ("y", "Y") or (cells[0].template == "ripple_adder" and port == "sum")
                base = group if plain_name else f"{group}_{port}"
                signal = scope.signal(base, len(dots))
            scope.bits.update({dot: (signal, number) for number, dot in enumerate(dots)})
    return direct


def _group_outputs(cells: list[Cell]) -> dict[str, tuple[Dot, ...]]:
    """Return output port → its bits, lane by lane."""
    first = cells[0]
    if isinstance(first, Whole):
        return dict(first.outputs)
    lanes = [dict(cell.outputs) for cell in cells if isinstance(cell, Lane)]
    return {port: tuple(lane[port] for lane in lanes) for port, _ in first.outputs}


def _declare_inverted(
    scope: _Scope, block: Block, leaving: dict[str, list[Bit]], outputs: dict[str, Signal]
) -> set[str]:
    """Make one signal a value for those of its bits that are read inverted; returns ports that are such a signal."""
    direct: set[str] = set()
    by_bits = {tuple(bits): name for name, bits in leaving.items()}
    wanted: dict[str, dict[int, Dot]] = {}
    bits = [bit for cell in block.cells for bit in bits_read(cell)]
    bits += [bit for output in leaving.values() for bit in output]
    for bit in bits:
        if not isinstance(bit, int) and bit[0].endswith("~"):
            signal, position = scope.bits[uninverted(bit)]
            wanted.setdefault(signal.name, {})[position] = bit
    for name, positions in wanted.items():
        ordered = sorted(positions)
        port = by_bits.get(tuple(positions[position] for position in ordered))
        inverse = scope.signal(f"{name}_inverted", len(positions)) if port is None else outputs[port]
        direct |= set() if port is None else {port}
        for number, position in enumerate(ordered):
            scope.bits[positions[position]] = (inverse, number)
        scope.module.d.comb += inverse.eq(~scope.value([uninverted(positions[position]) for position in ordered]))
    return direct


def _written_out(scope: _Scope, cell: Whole) -> None:
    """Write a cell of trees as an expression."""
    read = {port: scope.value(bits) for port, bits in cell.inputs}
    made = scope.value(cell.outputs[0][1])
    scope.module.d.comb += made.eq(OPERATORS[cell.template](read))


OPERATORS: dict[str, Callable[[dict[str, Value]], Value]] = {
    SELECT: lambda read: Mux(read["take"], read["high"], read["low"]),
    AND: lambda read: read["a"] & read["b"],
    ANY: lambda read: read["x"].any(),
}
"""Cells that are expressions, not instances of a template."""


def _instance(scope: _Scope, group: str, cells: list[Cell]) -> None:
    first = cells[0]
    if isinstance(first, Whole) and first.template in OPERATORS:
        _written_out(scope, first)
        return
    arguments: dict[str, Value | int] = {}
    if isinstance(first, Whole):
        for port, bits in first.inputs:
            arguments[f"i_{port}"] = scope.value(bits)
        usual = () if is_gate(first) else (("WIDTH", len(first.inputs[0][1]), 32),)
        for parameter, value, width in first.parameters or usual:
            arguments[f"p_{parameter}"] = value if width == 32 else Const(value, width)
    else:
        lanes = [cell for cell in cells if isinstance(cell, Lane)]
        for index, (port, bit) in enumerate(first.inputs):
            column = [bit] if port in first.shared else [lane.inputs[index][1] for lane in lanes]
            arguments[f"i_{port}"] = scope.value(column)
        arguments["p_WIDTH"] = len(lanes)
    for port, dots in _group_outputs(cells).items():
        arguments[f"o_{port}"] = scope.value(dots)
    name = scope.fresh(f"{group}_cells")
    scope.module.submodules[name] = Instance(first.template, **arguments)


def _top_rtlil(circuit: Circuit, registers: bool) -> tuple[str, str | None]:
    scope = _Scope({*(name for name, _ in circuit.outputs), *(port.name for port in circuit.inputs)})
    ports: list[Signal] = []
    clock_name = None
    if registers:
        clock_name = scope.fresh("clock")
        domain = ClockDomain("sync", reset_less=True)
        domain.clk = Signal(name=clock_name)
        scope.module.domains += domain
        ports.append(domain.clk)
    for port in circuit.inputs:
        signal = Signal(len(port.positions), name=port.name)
        ports.append(signal)
        if registers:
            held = Signal(len(port.positions), name=scope.fresh(f"{port.name}_held"), reset_less=True)
            scope.module.d.sync += held.eq(signal)
            signal = held
        scope.bits.update({(port.name, position): (signal, i) for i, position in enumerate(port.positions)})
    leaving = {name: Signal(len(bits), name=name, reset_less=True) for name, bits in circuit.outputs}
    ports.extend(leaving.values())
    direct = {
        name for name, bits in circuit.outputs if list(bits) == [(name, i) for i in range(len(bits))] and not registers
    }
    for block in circuit.blocks:
        arguments: dict[str, Value | int] = {}
        for name in block.outputs:
            positions = circuit.read[name]
            next_output = f"{name}_next" if name in leaving else name
            signal = leaving[name] if name in direct else scope.signal(next_output, len(positions))
            scope.bits.update({(name, position): (signal, i) for i, position in enumerate(positions)})
            arguments[f"o_{name}"] = signal
        for name, positions in _incoming(block, circuit).items():
            arguments[f"i_{name}"] = scope.value([(name, position) for position in positions])
        scope.module.submodules[scope.fresh(f"{block.name}_instance")] = Instance(block.name, **arguments)
    for name, bits in circuit.outputs:
        if registers:
            scope.module.d.sync += leaving[name].eq(scope.value(bits))
        elif name not in direct:
            scope.module.d.comb += leaving[name].eq(scope.value(bits))
    return _converted(scope.module, circuit.name, ports), clock_name


def _written(text: str, modules: Sequence[str]) -> str:
    """Return RTLIL *text* as Verilog, modules in the given order, by Yosys in a process of its own."""
    with working_folder("emit") as folder:
        (folder / "design.il").write_text(text, encoding="utf-8")
        # no initial values: printed and silicon flip-flops have none
        script = [f"read_rtlil {folder / 'design.il'}", "setattr -unset init w:*"]
        script += [f"write_verilog -noattr -selected {folder / 'design.v'}"]
        (folder / "script.ys").write_text("\n".join(script) + "\n", encoding="utf-8")
        try:
            run_tool(find_yosys(), [folder / "script.ys"], timeout=WRITE_TIMEOUT)
        except ToolFailedError as error:
            raise (no_room("emit", "they cannot be written") if is_full(folder) else error) from error.__cause__
        written = (folder / "design.v").read_text(encoding="utf-8")
    written = re.sub(r"\A/\*.*?\*/\n", "", written)  # Yosys' own header; ours says more
    # Amaranth drops the names of wires that nothing reads; "unused" tells linters, and readers, that this is meant
    prefix = "unused"
    while f"{prefix}_" in written:
        prefix += "_wire"
    written = re.sub(r"\b_(\d+)_(?!\w)", rf"{prefix}_\1", written)
    written = _DECLARED_TWICE.sub(r"  \1 \4 \2\3;\n", written)
    written = re.sub(r"^module (\w+)\((.*?)\);", _ports_wrapped, written, flags=re.S | re.M)
    found = {match[1]: match[0] for match in re.finditer(r"^module (\w+)\b.*?^endmodule$", written, re.S | re.M)}
    sources = {match[1]: match[0] for match in re.finditer(r"^module \\(\w+)$.*?^end$", text, re.S | re.M)}
    if any(
        module not in found for module in modules
    ):  # on a full disk Yosys leaves half a file behind, and calls it done
        raise no_room("emit", "Yosys could not write them whole")
    return "\n\n".join(_in_order(found[module], sources[module]) for module in modules) + "\n"


_DECLARED_TWICE = re.compile(r"^  (input|output) (\[\d+:\d+\] )?(\w+);\n  (wire|reg) (?:\[\d+:\d+\] )?\3;\n", re.M)


def _ports_wrapped(match: re.Match[str]) -> str:
    """Return a module's head with its ports in lines of their own where they do not fit in one: Yosys breaks anywhere."""
    ports = ", ".join(port.strip() for port in match[2].split(","))
    one = f"module {match[1]}({ports});"
    if len(one) <= 110:
        return one
    return "\n".join(
        [f"module {match[1]}(", *textwrap.wrap(ports, 110, initial_indent="  ", subsequent_indent="  "), ");"]
    )


_INSTANCE = re.compile(r"^  \w+ (?:#\(\n.*?\n  \) )?(\w+) \(\n.*?\n  \);\n", re.S | re.M)


def _in_order(module: str, text: str) -> str:
    """Return a module's Verilog with instances and gates in the order of its RTLIL *text*, the data flow: Yosys sorts by name."""
    gates = re.findall(r"^\s*cell \$_\w+_ \\\w+$.*?^\s*connect \\Y \\(\w+)$", text, re.M | re.S)
    if gates:
        module = _sorted_lines(_sorted_lines(module, "wire", gates), "assign", gates)
    names = re.findall(r"^\s*cell \\\w+ \\(\w+)$", text, re.M)
    place = {name: number for number, name in enumerate(names)}
    items = sorted(_INSTANCE.finditer(module), key=lambda item: place[item[1]])
    ordered = iter([item[0] for item in items])
    return _INSTANCE.sub(lambda _: next(ordered), module)


def _sorted_lines(module: str, word: str, names: Sequence[str]) -> str:
    """Return a module's Verilog with its lines that declare, or assign, one of *names* in the order of these."""
    place = {name: number for number, name in enumerate(names)}
    line = re.compile(rf"^  {word} (\w+)(?: = .*)?;\n", re.M)
    ordered = iter(
        sorted((item for item in line.finditer(module) if item[1] in place), key=lambda item: place[item[1]])
    )
    return line.sub(lambda item: next(ordered)[0] if item[1] in place else item[0], module)


def _commented(verilog: str, comments: dict[str, list[str]]) -> str:
    """Put every block's comment in front of its module."""

    def with_comment(match: re.Match[str]) -> str:
        lines = comments.get(match[1], [])
        wrapped = [part for line in lines for part in textwrap.wrap(line, 110, subsequent_indent="    ") or [""]]
        return "".join(f"// {line}\n" for line in wrapped) + match[0]

    return re.sub(r"^module (\w+)\b", with_comment, verilog, flags=re.M)
