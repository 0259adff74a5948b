"""Whether a Verilog module is the multiplier that is stated: its top, ports, signs, widths, state, undefined products."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.errors import LibraryError, Problem, VerilogError, shown
from approxhw.common.verilog_names import delays_in, system_tasks_in
from approxhw.numerics.multipliers.tables import Stated, too_wide, width_problems

if TYPE_CHECKING:
    from approxhw.backends.bespoke.readback import ModuleInfo, ModulePort
    from approxhw.backends.estimate import Netlist

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_ONE_FILE = "put all modules into one file"
_CASTS = {"$signed", "$unsigned", "$clog2", "$bits"}
"""System functions that say how a number is read, or how wide it is, and make no gates."""


def top_module(
    modules: dict[str, ModuleInfo], wanted: str | None, stem: str, problems: list[Problem]
) -> ModuleInfo | None:
    """Return the module that is *wanted*, or stands on top; of several that do, the one that is called as the file, *stem*."""
    inner = {kind for module in modules.values() for kind, _ in module.instances}
    tops = sorted(set(modules) - inner) if wanted is None else [wanted] if wanted in modules else []
    if len(tops) > 1 and stem in tops:  # cells that it defines and does not use, say
        tops = [stem]
    if len(tops) == 1:
        return modules[tops[0]]
    listed = ", ".join(shown(name) for name in sorted(modules)[:20]) or "none"
    if wanted is not None:
        problems.append(
            Problem("top", f"there is no module {shown(wanted)!r}; there are: {listed}", "name one of them")
        )
    else:
        why = f"the file does not tell which module it is; there are: {listed}"
        problems.append(Problem("top", why, "say top=MODULE"))
    return None


def weight_port(module: ModuleInfo, stated: Stated) -> str:
    """Return the input that reads the weight: as stated, else the only one of the stated width, else the first one."""
    inputs = [port for port in module.ports if port.direction == "input"]
    if stated.weight is not None or not inputs:
        return stated.weight or ""
    others = [port for port in inputs[1:] if port.bits == stated.weight_bits]
    wide = inputs[0].bits == stated.weight_bits or stated.weight_bits is None
    return inputs[0].name if wide or len(others) != 1 else others[0].name


def port_problems(module: ModuleInfo, stated: Stated, weight: str) -> list[Problem]:
    """Return what a multiplier's ports would not be: how many, the one that is the *weight*, signs where they are stated."""
    found: list[Problem] = []
    inputs = [port for port in module.ports if port.direction == "input"]
    outputs = [port for port in module.ports if port.direction == "output"]
    for title, ports, count in (("input", inputs, 2), ("output", outputs, 1)):
        if len(ports) != count:
            names = ", ".join(shown(port.name) for port in ports[:20]) or "none"
            several = title if len(ports) == 1 else f"{title}s"
            why = f"it has {len(ports)} {several} ({names}); a multiplier has {count}"
            found.append(Problem(f"{title}s", why, "wrap it in a module that has just those"))
    for port in module.ports:
        if port.direction == "inout":
            found.append(Problem(f"port {shown(port.name)}", "is inout; a multiplier has inputs and an output"))
    if weight not in {port.name for port in inputs}:
        if inputs or stated.weight is not None:
            names = ", ".join(shown(port.name) for port in inputs[:20]) or "none"
            why = f"there is no input {shown(weight)!r}; the inputs are: {names}"
            found.append(Problem("weight", why, "say weight=PORT for the one that reads the weight"))
        return found
    return found + (sign_problems(module, weight, stated.signed) if stated.signed is not None else [])


def sign_problems(module: ModuleInfo, weight: str, signed: str) -> list[Problem]:
    """Return what ports that are declared ``signed`` contradict of *signed*, the operands in two's complement."""
    inputs = [port.signed for port in module.ports if port.direction == "input"]
    return [problem for port in module.ports for problem in _sign_problems(port, weight, signed, all(inputs))]


def is_declared_too_wide(module: ModuleInfo, problems: list[Problem]) -> bool:
    """Say so, and return True, where the inputs are too wide as they are declared: such a module is not synthesised."""
    widths = [port.bits or 1 for port in module.ports if port.direction == "input"]
    why = too_wide(widths[0], widths[1]) if len(widths) == 2 else ""
    if why:
        problems.append(Problem("ports", why, "take a narrower multiplier"))
    return bool(why)


def _sign_problems(port: ModulePort, weight: str, signed: str, all_signed: bool) -> list[Problem]:
    """Return what a port that is declared ``signed`` contradicts: one that is not may still carry two's complement."""
    role = "product" if port.direction == "output" else "weight" if port.name == weight else "x"
    allowed = {"weight": signed in ("weight", "both"), "x": signed == "both"}
    if not port.signed or port.direction == "inout" or allowed.get(role, signed != "none"):
        return []
    wanted = "state signed=weight or signed=both"
    if all_signed:
        wanted = "state signed=both"
    elif role == "x":  # most often it is the weight, behind a port that is not
        wanted = f"say that it is the weight (weight={shown(port.name, 40)}), or signed=both where both carry two's complement"
    why = f"the module declares it signed, but signed={signed} is stated: the {role} would be unsigned"
    return [Problem(f"port {shown(port.name)}", why, wanted)]


def register_problems(netlist: Netlist, modules: dict[str, ModuleInfo]) -> list[Problem]:
    """Return what is wrong where the *netlist* stores something at a clock edge, by the names that do."""
    count = sum(netlist.library.cells[instance.cell].flip_flop is not None for instance in netlist.instances)
    if not count:
        return []
    names = ", ".join(shown(name, 40) for module in modules.values() for name in module.clocked) or "unnamed"
    why = f"{count} bits are stored at a clock edge ({names}): what it says depends on the past"
    return [Problem("registers", why, "give its combinational part")]


def unbuildable(error: LibraryError | VerilogError, modules: dict[str, ModuleInfo]) -> list[Problem]:
    """Return what no cell can stand for, or describes no circuit, latches by the names that could be one."""
    from approxhw.backends.estimate.synthesis.soundness import ALLOW

    if isinstance(error, VerilogError):  # nothing is counted as 0 here
        return [
            replace(p, remedy=_ONE_FILE if "no file defines it" in p.why else p.remedy.removesuffix(f"; {ALLOW}"))
            for p in error.problems
        ]
    if not any("DLATCH" in problem.why or "a latch" in problem.why for problem in error.problems):
        return list(error.problems)
    names = ", ".join(shown(name, 40) for module in modules.values() for name in module.unclocked) or "unnamed"
    why = f"a latch is left where some branch assigns nothing ({names}): what it says depends on the past"
    return [Problem("latches", why, "assign the product in every branch")]


def built_width_problems(netlist: Netlist, stated: Stated, weight: str) -> list[Problem]:
    """Return what is wrong with the widths as they are built: parameters have their defaults there."""
    bits = {port.name: len(port.nets) for port in netlist.inputs}
    weight_bits = bits.pop(weight)
    (x_bits,) = bits.values()  # exactly two: seen before
    found = width_problems(stated, weight_bits, x_bits)
    if why := too_wide(weight_bits, x_bits):
        found.append(Problem("ports", why, "take a narrower multiplier"))
    (output,) = netlist.outputs
    if len(output.nets) > 40:
        found.append(Problem(f"port {shown(output.name)}", f"a product of {len(output.nets)} bits; at most 40"))
    return found


def text_problems(verilog: str) -> list[Problem]:
    """Return what a multiplier's text may not hold: it is simulated, alone and inside an engine, without time and files."""
    found = [
        Problem(shown(word), "an operator has gates and registers alone, no tasks of a simulator", "take it out")
        for word in sorted(system_tasks_in(verilog) - _CASTS)
    ]
    if delays := delays_in(verilog):
        told = ", ".join(shown(each, 20) for each in delays[:5])
        why = f"{told}: an engine reads the product in the clock of its operands, and Verilator knows no time"
        found.append(Problem("delays", why, "take them out"))
    return found


def simulated_problems(
    seen: np.ndarray, undefined: np.ndarray, patterns: np.ndarray, weight: str, x: str
) -> list[Problem]:
    """Return where simulated products are *undefined*, or what was *seen* is not what synthesis makes (*patterns*)."""

    def first(places: np.ndarray) -> str:
        row, column = np.argwhere(places)[0].tolist()
        return f"the first of them at {shown(weight, 40)} = {row}, {shown(x, 40)} = {column}"

    if undefined.any():
        why = f"{int(undefined.sum())} of {patterns.size} products are x or z, {first(undefined)}"
        return [Problem("undefined products", why, "give every product a value")]
    differ = seen != patterns
    if differ.any():
        why = f"simulation and synthesis disagree on {int(differ.sum())} of {patterns.size}, {first(differ)}"
        return [Problem("products", why, "name every input that a block reads in its sensitivity list: always @(*)")]
    return []
