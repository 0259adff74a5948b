"""Synthesise Verilog to library cells with Yosys and ABC, by one fixed recipe: all circuits meet the same ruler."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from approxhw.backends.estimate.library import logic
from approxhw.backends.estimate.library.cells import IDENTIFIER, Cell, CellLibrary, spell_expression
from approxhw.backends.estimate.library.load import load_library
from approxhw.backends.estimate.netlist.netlist import BUFFER, Netlist, netlist_from_json
from approxhw.common.errors import LibraryError, OptionError, Problem, VerilogError, shown
from approxhw.common.files import working_folder

from .elaborate import elaborate
from .recipes import RECIPES, Recipe, SharedGates, shared_gates
from .run import read_netlist_json, read_text_of_yosys
from .source import VerilogSource, check_source
from .source_files import source_of
from .survey import find_top


def synthesise(
    verilog: str | VerilogSource,
    top: str | None,
    library: str | Path | CellLibrary = "egfet",
    *,
    flatten: bool = True,
    keep: Sequence[str] = (),
    timeout: float = 600.0,
    recipe: str | Recipe = "reference",
    allow_undriven: bool = False,
) -> Netlist:
    """Return *verilog* (a text, or files with what they include) mapped to the cells of *library*.

    ``top``: name of the top module, None for the only one that no other
    instantiates. ``flatten``: dissolve the hierarchy before optimisation,
    but for the modules in ``keep``.
    ``timeout``: seconds for all of it, ABC included. ``recipe``: ``reference``, the ruler, or ``smallest``, which also
    tries others (three times the work) and keeps the smallest circuit, so it is never larger; or one of one's own.
    ``allow_undriven``: nets that nothing drives count as 0, and the netlist's notes name them. Raises
    :class:`VerilogError` naming every net that nothing drives although an output depends on it, every net that several
    things drive, and every part without contents; :class:`OptionError` for a top module that is not there (the text lists
    those that are), :class:`ToolFailedError` with the tail of the log for Verilog that Yosys refuses,
    :class:`LibraryError` for what the library has no cell for.
    """
    cells, source = load_library(library), source_of(verilog)
    _check(source, top, keep, recipe)
    deadline = time.monotonic() + timeout
    if top is None:
        top = find_top(source, timeout)
        _check(source, top, keep, recipe)
    hierarchy = _hierarchy(flatten, keep)
    netlists = []
    for chosen in (recipe,) if isinstance(recipe, Recipe) else RECIPES[recipe]:
        left = max(deadline - time.monotonic(), 0.01)
        netlists.append(_synthesise(source, top, cells, hierarchy, left, chosen, allow_undriven))
    return min(netlists, key=Netlist.area)


def _hierarchy(flatten: bool, keep: Sequence[str]) -> str:
    """Return the commands that dissolve the hierarchy as far as it is wanted."""
    if not flatten:
        return ""
    return f"setattr -mod -set keep_hierarchy 1 {' '.join(keep)}; flatten" if keep else "flatten"


def _check(source: VerilogSource, top: str | None, keep: Sequence[str], recipe: str | Recipe) -> None:
    problems = [
        Problem("keep", f"{shown(name)!r} is not a plain identifier", "rename the module")
        for name in keep
        if not IDENTIFIER.fullmatch(name)
    ]
    if top is not None and not IDENTIFIER.fullmatch(top):
        problems.append(Problem("top", f"{shown(top)!r} is not a plain identifier", "rename the module"))
    if not isinstance(recipe, Recipe) and recipe not in RECIPES:
        problems.append(Problem("recipe", f"{shown(recipe)!r} is not one of {', '.join(RECIPES)}"))
    if problems := [*problems, *check_source(source)]:
        raise OptionError("synthesis", problems)


def _synthesise(
    source: VerilogSource,
    top: str,
    library: CellLibrary,
    hierarchy: str,
    timeout: float,
    recipe: Recipe,
    allow_undriven: bool,
) -> Netlist:
    flops = [cell for cell in library.cells.values() if cell.flip_flop is not None]
    shared = shared_gates(library) if recipe.share_nands else None
    script = [
        "dfflibmap -liberty flops.lib; opt_merge; opt_clean" if flops else "",
        f"abc -genlib gates.genlib -script +{recipe.abc}",
        "techmap -map expand.v; opt_merge; opt_clean; techmap -map restore.v" if shared else "",
        "opt_clean -purge",
        "write_json netlist.json",
        "write_verilog -noattr netlist.v",
    ]
    with working_folder("synthesis") as folder:
        (folder / "gates.genlib").write_text(genlib(library, shared))
        if shared is not None:
            (folder / "expand.v").write_text(shared.expand)
            (folder / "restore.v").write_text(shared.restore)
        (folder / "flops.lib").write_text(flop_liberty(flops))
        front = recipe.front.format(flatten=hierarchy)
        elaborated = elaborate(folder, source, top, library, [front, *script], timeout, allow_undriven)
        content = read_netlist_json(folder / "netlist.json")
        mapped = read_text_of_yosys(folder / "netlist.v")
    netlist = netlist_from_json(content, top, library, mapped, elaborated.latches)
    if not netlist.outputs:
        why = "has no output, so nothing of it would be left"
        raise VerilogError(
            f"Verilog of {shown(top)}", [Problem(f"module {shown(top)}", why, "name another top module")]
        )
    notes = [*elaborated.notes, *netlist.notes]
    if source.names and not netlist.instances:  # files of others, where nobody expects it
        notes.append("nothing is left of it: each output is a constant, or an input as it comes")
    return replace(netlist, notes=tuple(notes))


def gates_of(library: CellLibrary) -> list[Cell]:
    """Return the cells that logic can be mapped to: combinational, with inputs and one output."""
    found = [c for c in library.cells.values() if c.flip_flop is None and c.inputs and len(c.functions) == 1]
    problems = []
    if not found:
        problems.append(Problem("cells", "no combinational cell with one output"))
    elif not any(_is_product(cell) for cell in found):
        why = "no cell of two inputs makes a product or a sum (NAND, NOR, AND, OR): nothing can be built of the others"
        problems.append(Problem("cells", f"{why}{_left_out(library)}"))
    if problems:
        raise LibraryError(library.name, problems)
    return found


def _is_product(cell: Cell) -> bool:
    """Whether *cell* has two inputs, and an output that is 1, or 0, in one state alone."""
    (function,) = cell.functions.values()
    return len(cell.inputs) == 2 and logic.table(function, cell.inputs).bit_count() in (1, 3)


def _left_out(library: CellLibrary) -> str:
    told = [f"{shown(name, 40)}: {why}" for name, why in list(library.left_out.items())[:3]]
    return f"; left out are {'; '.join(told)}{'; …' if len(library.left_out) > 3 else ''}" if told else ""


def genlib(library: CellLibrary, shared: SharedGates | None = None) -> str:
    """Return the gates of *library* as an area-only genlib for ABC: areas in inverters, every pin one unit of delay.

    ABC wants a buffer; a library without one gets a stand-in that costs two inverters and is built of two.
    """
    unit = library.inverter.area or 1.0
    lines = ["GATE _const0_ 0 Y=CONST0;", "GATE _const1_ 0 Y=CONST1;"]
    for cell in gates_of(library):
        ((output, function),) = cell.functions.items()
        lines.append(
            f"GATE {cell.name} {cell.area / unit:.9g} {output}={spell_expression(function)}; PIN * UNKNOWN 1 999 1 0 1 0"
        )
    if library.buffer is None:
        lines.append(f"GATE {BUFFER} 2 Y=A; PIN * NONINV 1 999 1 0 1 0")
    lines += shared.genlib if shared is not None else ()
    return "\n".join(lines) + "\n"


def flop_liberty(flops: Sequence[Cell]) -> str:
    """Return the flops as a Liberty text that holds only what ``dfflibmap`` reads."""
    lines = ["library (flops) {"]
    for cell in flops:
        flop = cell.flip_flop
        if flop is None:
            continue
        lines.append(f"  cell ({cell.name}) {{ area : {cell.area:.9g};")
        lines.append(f"    ff ({flop.state}, {flop.inverse}) {{")
        lines.append(
            f'      clocked_on : "{"" if flop.rising else "!"}{flop.clock}"; next_state : "{spell_expression(flop.data)}";'
        )
        for name, condition in (("clear", flop.clear), ("preset", flop.preset)):
            if condition is not None:
                lines.append(f'      {name} : "{spell_expression(condition)}";')
        lines.append("    }")
        lines += [f"    pin ({pin}) {{ direction : input; }}" for pin in cell.inputs]
        lines += [
            f'    pin ({p}) {{ direction : output; function : "{spell_expression(f)}"; }}'
            for p, f in cell.functions.items()
        ]
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"
