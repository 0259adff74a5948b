"""Write a mapped netlist as structural Verilog: library cells by name, ports as they are, one flat module."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .netlist import CONSTANT_1, Netlist


def netlist_verilog(netlist: Netlist) -> str:
    """Return *netlist* as one flat Verilog module of cells; inner wires are called ``n<net>``, instances ``u<index>``."""
    taken = {port.name for port in netlist.ports} | {netlist.top}
    wire, cell = _unused("n", taken), _unused("u", taken)
    names = {0: "1'b0", 1: "1'b1"}
    aliases = []
    for port in (*netlist.inputs, *netlist.outputs):
        for position, net in enumerate(port.nets):
            name = port.name if len(port.nets) == 1 else f"{port.name}[{position}]"
            if port.direction == "input":
                names[net] = name
            elif net in names:
                aliases.append(f"  assign {name} = {names[net]};")
            else:
                names[net] = name
    inner = sorted({net for i in netlist.instances for net in i.pins.values() if net not in names and net > CONSTANT_1})
    names |= {net: f"{wire}{net}" for net in inner}
    lines = [f"module {netlist.top} ({', '.join(port.name for port in netlist.ports)});"]
    for port in netlist.ports:
        span = f"[{len(port.nets) - 1}:0] " if len(port.nets) > 1 else ""
        lines.append(f"  {port.direction} {span}{port.name};")
    lines += [f"  wire {names[net]};" for net in inner]
    for index, instance in enumerate(netlist.instances):
        pins = ", ".join(f".{pin}({names[net]})" for pin, net in instance.pins.items())
        lines.append(f"  {instance.cell} {cell}{index} ({pins});")
    return "\n".join([*lines, *aliases, "endmodule"]) + "\n"


def _unused(prefix: str, taken: set[str]) -> str:
    while any(name.startswith(prefix) and name[len(prefix) :].isdigit() for name in taken):
        prefix += "_"
    return prefix


def verilog_of_titles(netlist: Netlist) -> str:
    """Return the text of *netlist* with cells called as their library calls them: escaped names, where they are no plain ones."""
    titles = {name: cell.title for name, cell in netlist.library.cells.items() if cell.title not in ("", name)}
    if not titles:
        return netlist.verilog
    return re.sub(r"(?m)^( *)(\w+)(?= )", lambda m: f"{m[1]}{_escaped(titles, m[2])}", netlist.verilog)


def _escaped(titles: Mapping[str, str], name: str) -> str:
    return f"\\{titles[name]}" if name in titles else name
