"""Tabulate a multiplier: read a Verilog module, check it against what is said of it, and look at every product it makes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.backends.integer_engine.module_checks import (
    COMMENT,
    built_width_problems,
    is_declared_too_wide,
    port_problems,
    register_problems,
    sign_problems,
    simulated_problems,
    text_problems,
    top_module,
    unbuildable,
    weight_port,
)
from approxhw.common.arguments import checked
from approxhw.common.errors import LibraryError, OptionError, Problem, ToolNotFoundError, VerilogError, shown
from approxhw.common.files import read_text, temporary_folder
from approxhw.common.tools import find_icarus, run_tool
from approxhw.numerics.multipliers.families import own_operator
from approxhw.numerics.multipliers.plugins import added_multiplier
from approxhw.numerics.multipliers.signs import SIGNS, as_signed, fitting_signs, read_signs
from approxhw.numerics.multipliers.tables import ProductTable, Stated, check_signs, read_table, width_problems
from approxhw.sim.simulators.icarus_products import simulated_products

if TYPE_CHECKING:
    from approxhw.backends.bespoke.readback import ModuleInfo
    from approxhw.backends.estimate import CellLibrary, Netlist

MAXIMUM_BYTES = 4 << 20
READ_AS = "source.v"
"""What synthesis calls a text."""
_INCLUDE = re.compile(r"`\s*include\b[^\n]*")


@checked("tabulate")
def tabulate(
    source: str | Path,
    *,
    weight: str | None = None,
    signed: str | None = None,
    weight_bits: int | None = None,
    x_bits: int | None = None,
    top: str | None = None,
    timeout: float = 300.0,
) -> ProductTable:
    """Return all products of the multiplier *source*: a Verilog file, an ``.npz`` table, or an operator by its name.

    A module has two inputs and one output, no registers, latches, delays or products that are x; Icarus simulates all
    products, which must be those of the gates. ``weight``: the input that is the weight (``a`` or ``b`` for an axis of a
    table); None: the one of ``weight_bits`` where only one is so wide, else the first. ``signed``: which operands are two's
    complement, ``weight``, ``none`` or ``both``; the product is where one of them is; None: what the file says, else the
    reading that fits all products best, signed weights of our own. ``weight_bits``, ``x_bits``: widths, checked where given;
    our own operators have to be told theirs. ``top``: the module, found where only one stands on top, or one that is called
    as the file. ``timeout``: seconds for synthesis.
    Raises :class:`OptionError` listing everything in which the module is not what is stated.
    """
    stated = Stated(weight, signed, weight_bits, x_bits, top)
    operator = own_operator(str(source))
    if operator is not None:
        if weight_bits is None or x_bits is None:
            why = "its widths are not stated"
            raise OptionError("multiplier", [Problem(str(source), why, "give weight_bits and x_bits")])
        return operator.table(weight_bits, x_bits, signed or "weight")
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


@dataclass(frozen=True, eq=False)
class TabulatedModule:
    """The products of a module, and the gates that they were read from.

    ``weight``, ``x``, ``product``: its ports. ``verilog``: its text, without directives. ``alike``: signs that fit its
    products best, and those that fit alike; empty where signs were stated.
    """

    table: ProductTable
    netlist: Netlist
    weight: str
    x: str
    product: str
    verilog: str
    alike: tuple[str, ...] = ()


def tabulate_verilog(path: Path, stated: Stated, timeout: float = 300.0) -> ProductTable:
    """Return all products of the module in the Verilog file *path*; as :func:`tabulate`."""
    return tabulate_module(path, stated, timeout=timeout).table


def tabulate_module(
    path: Path, stated: Stated, library: str | Path | CellLibrary = "egfet", timeout: float = 300.0
) -> TabulatedModule:
    """Return all products of the module in the Verilog file *path*, and its netlist in cells of *library*.

    Errors as of :func:`tabulate`; *stated* may leave weight and signs open.
    """
    from approxhw.backends.bespoke.readback import read_modules

    text = without_directives(operator_text(path), path, timeout)
    if problems := text_problems(text):
        raise OptionError(f"multiplier {shown(path.name)}", problems)
    modules = read_modules(text, str(path))
    problems = []
    if stated.signed is not None and stated.signed not in SIGNS:
        problems.append(Problem("signed", f"{shown(stated.signed)!r} is not one of {', '.join(SIGNS)}"))
    module = top_module(modules, stated.top, path.stem, problems)
    if module is None or problems:
        raise OptionError(f"multiplier {shown(path.name)}", problems)
    weight = weight_port(module, stated)
    problems += port_problems(module, stated, weight)
    netlist = None
    if not any(port.direction == "inout" for port in module.ports) and not is_declared_too_wide(module, problems):
        netlist = _netlist(text, module.name, library, timeout, modules, problems)
        problems = [_of_file(problem, path.name) for problem in problems]
    if netlist is not None and not problems:
        problems += built_width_problems(netlist, stated, weight)
    subject = f"multiplier {shown(path.name)}, module {shown(module.name)}"
    if problems or netlist is None:
        raise OptionError(subject, problems)
    try:
        patterns, bits = _patterns(netlist, weight)
    except LibraryError as error:
        feedback = [Problem(p.where, p.why, "give a circuit without feedback") for p in error.problems]
        raise OptionError(subject, feedback) from error
    (x,) = {port.name for port in netlist.inputs} - {weight}
    # the netlist has a value where the text has none, and none of what a block forgets to read
    ports = (weight, x, netlist.outputs[0].name)
    widths = (len(patterns).bit_length() - 1, patterns.shape[1].bit_length() - 1, bits)
    seen = simulated_products(text, module.name, ports, widths, timeout)
    if problems := simulated_problems(seen.patterns, seen.undefined, patterns, weight, x):
        raise OptionError(subject, problems)
    name = f"{path.name}, module {module.name}"
    alike: tuple[str, ...] = ()
    if stated.signed is None:
        declared = [signed for signed in SIGNS if not sign_problems(module, weight, signed)]
        alike = fitting_signs(name, read_signs(patterns, bits), declared)
    signed = stated.signed or alike[0]
    table = ProductTable(name, as_signed(patterns, bits, signed), signed)
    if stated.signed is not None:
        check_signs(table, bits)
    return TabulatedModule(table, netlist, weight, x, netlist.outputs[0].name, text, alike)


def _netlist(
    text: str,
    top: str,
    library: str | Path | CellLibrary,
    timeout: float,
    modules: dict[str, ModuleInfo],
    problems: list[Problem],
) -> Netlist | None:
    """Return the netlist of module *top*; None where it cannot be a multiplier's: what is wrong with it goes to *problems*."""
    from approxhw.backends.estimate.synthesis.synthesise import synthesise

    try:
        netlist = synthesise(text, top, library, timeout=timeout)
    except (LibraryError, VerilogError) as error:
        problems += unbuildable(error, modules)
        return None
    problems += register_problems(netlist, modules)
    return netlist


def _of_file(problem: Problem, name: str) -> Problem:
    """Return *problem* with the file called *name*, in place of the copy that synthesis read."""
    where, why = (text.replace(READ_AS, shown(name, 80)) for text in (problem.where, problem.why))
    return replace(problem, where=where, why=why)


def operator_text(path: Path) -> str:
    """Return what stands in the Verilog file *path*; raise :class:`OptionError` where that cannot be read."""
    try:
        return read_text(path, MAXIMUM_BYTES)
    except FileNotFoundError:
        raise OptionError("multiplier", [Problem(str(path), "there is no such file", "check the path")]) from None
    except (OSError, UnicodeDecodeError) as error:
        why = f"it cannot be read as text ({shown(error)})"
        raise OptionError(
            "multiplier", [Problem(str(path), why, "give a Verilog file, an .npz or an operator")]
        ) from error


def without_directives(text: str, path: Path, timeout: float = 300.0) -> str:
    """Return *text* without compiler directives: ``iverilog -E`` where there are any. Both readers then see the same."""
    bare = COMMENT.sub(" ", text)
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


def _patterns(netlist: Netlist, weight: str) -> tuple[np.ndarray, int]:
    """Return the product of every pair of bit patterns, weight × x, as the pattern that the netlist gives, and its width."""
    from approxhw.backends.estimate.netlist.simulator import simulate_netlist

    bits = {port.name: len(port.nets) for port in netlist.inputs}
    (x,) = bits.keys() - {weight}
    rows, columns = 1 << bits[weight], 1 << bits[x]
    patterns = np.divmod(np.arange(rows * columns), columns)
    (output,) = netlist.outputs
    seen = simulate_netlist(netlist, {weight: patterns[0], x: patterns[1]})[output.name]
    return np.asarray(seen, dtype=np.int64).reshape(rows, columns), len(output.nets)
