"""Tabulate a multiplier: read a Verilog module, check it against what is said of it, and look at every product it makes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.arguments import checked
from approxhw.common.errors import LibraryError, OptionError, Problem, ToolNotFoundError, shown
from approxhw.common.files import read_text, temporary_folder
from approxhw.common.tools import find_icarus, run_tool
from approxhw.numerics.multipliers.families import own_operator
from approxhw.numerics.multipliers.plugins import added_multiplier
from approxhw.numerics.multipliers.tables import (
    SIGNS,
    ProductTable,
    Stated,
    as_signed,
    check_signs,
    read_table,
    too_wide,
    width_problems,
)

if TYPE_CHECKING:
    from approxhw.backends.bespoke.readback import ModuleInfo, ModulePort
    from approxhw.backends.estimate import Netlist

MAXIMUM_BYTES = 4 << 20
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_INCLUDE = re.compile(r"`\s*include\b[^\n]*")


@checked("tabulate")
def tabulate(
    source: str | Path,
    *,
    weight: str = "a",
    signed: str = "weight",
    weight_bits: int | None = None,
    x_bits: int | None = None,
    top: str | None = None,
    timeout: float = 300.0,
) -> ProductTable:
    """Return all products of the multiplier *source*: a Verilog file, an ``.npz`` table, or an operator by its name.

    A module has two inputs and one output, no registers and no latches. ``weight``: the input that is the weight (``a``
    or ``b`` for an axis of a table). ``signed``: which operands are two's complement, ``weight``, ``none`` or ``both``; the
    product is where one of them is. ``weight_bits``, ``x_bits``: widths, checked where given; our own operators have to be
    told theirs. ``top``: the module, found where only one stands on top. ``timeout``: seconds for synthesis.
    Raises :class:`OptionError` listing everything in which the module is not what is stated.
    """
    stated = Stated(weight, signed, weight_bits, x_bits, top)
    operator = own_operator(str(source))
    if operator is not None:
        if weight_bits is None or x_bits is None:
            why = "its widths are not stated"
            raise OptionError("multiplier", [Problem(str(source), why, "give weight_bits and x_bits")])
        return operator.table(weight_bits, x_bits)
    added = added_multiplier(str(source))
    if isinstance(added, ProductTable):
        if found := width_problems(stated, added.weight_bits, added.x_bits):
            raise OptionError(f"multiplier {shown(source)}", found)
        return added
    if added is not None:
        source, stated = added.path, added.checked(weight_bits, x_bits)
    if Path(source).suffix == ".npz":
        return read_table(Path(source), stated)
    return tabulate_verilog(Path(source), stated, timeout)


def tabulate_verilog(path: Path, stated: Stated, timeout: float = 300.0) -> ProductTable:
    """Return all products of the module in the Verilog file *path*; as :func:`tabulate`."""
    from approxhw.backends.bespoke.readback import read_modules
    from approxhw.backends.estimate.synthesis.synthesise import synthesise

    text = _plain(_text(path), path, timeout)
    modules = read_modules(text, str(path))
    problems: list[Problem] = []
    if stated.signed not in SIGNS:
        problems.append(Problem("signed", f"{shown(stated.signed)!r} is not one of {', '.join(SIGNS)}"))
    module = _top(modules, stated.top, problems)
    if module is None or problems:
        raise OptionError(f"multiplier {shown(path.name)}", problems)
    problems += _port_problems(module, stated)
    netlist = None
    if not any(port.direction == "inout" for port in module.ports) and not _declared_too_wide(module, problems):
        try:
            netlist = synthesise(text, module.name, "egfet", timeout=timeout)
            problems += _register_problems(netlist, modules)
        except LibraryError as error:
            problems += _unbuildable(error, modules)
    if netlist is not None and not problems:
        problems += _width_problems(netlist, stated)
    subject = f"multiplier {shown(path.name)}, module {shown(module.name)}"
    if problems or netlist is None:
        raise OptionError(subject, problems)
    try:
        products, bits = _products(netlist, stated)
    except LibraryError as error:
        feedback = [Problem(p.where, p.why, "give a circuit without feedback") for p in error.problems]
        raise OptionError(subject, feedback) from error
    table = ProductTable(f"{path.name}, module {module.name}", products, stated.signed)
    check_signs(table, bits)
    return table


def _text(path: Path) -> str:
    try:
        return read_text(path, MAXIMUM_BYTES)
    except FileNotFoundError:
        raise OptionError("multiplier", [Problem(str(path), "there is no such file", "check the path")]) from None
    except (OSError, UnicodeDecodeError) as error:
        why = f"it cannot be read as text ({shown(error)})"
        raise OptionError(
            "multiplier", [Problem(str(path), why, "give a Verilog file, an .npz or an operator")]
        ) from error


def _plain(text: str, path: Path, timeout: float) -> str:
    """Return *text* without compiler directives: ``iverilog -E`` where there are any. Both readers then see the same."""
    bare = _COMMENT.sub(" ", text)
    if "`" not in bare:
        return text
    included = _INCLUDE.findall(bare)
    if included:
        problems = [
            Problem(shown(line), "other files are not read", "put all modules into one file") for line in included
        ]
        raise OptionError(f"multiplier {shown(path.name)}", problems)
    try:
        icarus = find_icarus()
    except ToolNotFoundError as error:
        raise ToolNotFoundError(error.tool, f"{error.hint}; {path.name} has directives, which it resolves") from error
    with temporary_folder("preprocess") as folder:
        (folder / "source.v").write_text(text, encoding="utf-8")
        run_tool(icarus, ["-E", "-o", "plain.v", "source.v"], timeout=timeout, folder=folder)
        plain = (folder / "plain.v").read_text(encoding="utf-8")
    # what it leaves (`timescale, `line, `default_nettype) says nothing about logic
    return re.sub(r"^\s*`[^\n]*$", "", plain, flags=re.M)


def _top(modules: dict[str, ModuleInfo], wanted: str | None, problems: list[Problem]) -> ModuleInfo | None:
    inner = {kind for module in modules.values() for kind, _ in module.instances}
    tops = sorted(set(modules) - inner) if wanted is None else [wanted] if wanted in modules else []
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


def _port_problems(module: ModuleInfo, stated: Stated) -> list[Problem]:
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
    if stated.weight not in {port.name for port in inputs}:
        names = ", ".join(shown(port.name) for port in inputs[:20]) or "none"
        why = f"there is no input {shown(stated.weight)!r}; the inputs are: {names}"
        found.append(Problem("weight", why, "say weight=PORT for the one that reads the weight"))
        return found
    for port in [*inputs, *outputs]:
        found += _sign_problems(port, stated)
    return found


def _declared_too_wide(module: ModuleInfo, problems: list[Problem]) -> bool:
    """Say so, and return True, where the inputs are too wide as they are declared: such a module is not synthesised."""
    widths = [port.bits or 1 for port in module.ports if port.direction == "input"]
    why = too_wide(widths[0], widths[1]) if len(widths) == 2 else ""
    if why:
        problems.append(Problem("ports", why, "take a narrower multiplier"))
    return bool(why)


def _sign_problems(port: ModulePort, stated: Stated) -> list[Problem]:
    """Return what a port that is declared ``signed`` contradicts: one that is not may still carry two's complement."""
    role = "product" if port.direction == "output" else "weight" if port.name == stated.weight else "x"
    signed = {"weight": stated.signed in ("weight", "both"), "x": stated.signed == "both"}
    if not port.signed or signed.get(role, stated.signed != "none"):
        return []
    wanted = "signed=both, or weight= for the other port" if role == "x" else "signed=weight or signed=both"
    why = f"the module declares it signed, but signed={stated.signed} is stated: the {role} would be unsigned"
    return [Problem(f"port {shown(port.name)}", why, f"state {wanted}")]


def _register_problems(netlist: Netlist, modules: dict[str, ModuleInfo]) -> list[Problem]:
    count = sum(netlist.library.cells[instance.cell].flip_flop is not None for instance in netlist.instances)
    if not count:
        return []
    names = ", ".join(shown(name, 40) for module in modules.values() for name in module.clocked) or "unnamed"
    why = f"{count} bits are stored at a clock edge ({names}): what it says depends on the past"
    return [Problem("registers", why, "give its combinational part")]


def _unbuildable(error: LibraryError, modules: dict[str, ModuleInfo]) -> list[Problem]:
    """Return what no cell can stand for, latches by the names that could be one."""
    if not any("DLATCH" in problem.why or "a latch" in problem.why for problem in error.problems):
        return list(error.problems)
    names = ", ".join(shown(name, 40) for module in modules.values() for name in module.unclocked) or "unnamed"
    why = f"a latch is left where some branch assigns nothing ({names}): what it says depends on the past"
    return [Problem("latches", why, "assign the product in every branch")]


def _width_problems(netlist: Netlist, stated: Stated) -> list[Problem]:
    """Return what is wrong with the widths as they are built: parameters have their defaults there."""
    bits = {port.name: len(port.nets) for port in netlist.inputs}
    weight_bits = bits.pop(stated.weight)
    (x_bits,) = bits.values()  # exactly two: seen before
    found = width_problems(stated, weight_bits, x_bits)
    if why := too_wide(weight_bits, x_bits):
        found.append(Problem("ports", why, "take a narrower multiplier"))
    (output,) = netlist.outputs
    if len(output.nets) > 40:
        found.append(Problem(f"port {shown(output.name)}", f"a product of {len(output.nets)} bits; at most 40"))
    return found


def _products(netlist: Netlist, stated: Stated) -> tuple[np.ndarray, int]:
    """Return the product of every pair of bit patterns, weight × x, by simulation of the netlist, and its width in bits."""
    from approxhw.backends.estimate.netlist.simulator import simulate_netlist

    bits = {port.name: len(port.nets) for port in netlist.inputs}
    (x,) = bits.keys() - {stated.weight}
    rows, columns = 1 << bits[stated.weight], 1 << bits[x]
    patterns = np.divmod(np.arange(rows * columns), columns)
    (output,) = netlist.outputs
    seen = simulate_netlist(netlist, {stated.weight: patterns[0], x: patterns[1]})[output.name]
    return as_signed(seen, len(output.nets), stated.signed).reshape(rows, columns), len(output.nets)
