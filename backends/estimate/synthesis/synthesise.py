"""Synthesise Verilog to library cells with Yosys and ABC, by one fixed recipe: all circuits meet the same ruler."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from approxhw.backends.estimate.library.cells import IDENTIFIER, Cell, CellLibrary, spell_expression
from approxhw.backends.estimate.library.load import load_library
from approxhw.backends.estimate.netlist.netlist import BUFFER, Netlist, netlist_from_json
from approxhw.backends.estimate.netlist.yosys_json import YosysDesign
from approxhw.common.errors import (
    LibraryError,
    OptionError,
    OutputError,
    Problem,
    ToolFailedError,
    ToolTimeoutError,
    shown,
)
from approxhw.common.files import temporary_folder
from approxhw.common.tools import TAIL_LINES, find_yosys, run_tool

from .recipes import RECIPES, Recipe, SharedGates, shared_gates

MAX_SOURCE_BYTES = 64_000_000
_UNSUPPORTED = re.compile(r"ERROR: FF (\S+) \(type (\S+)\) cannot be legalized: (.*)")


def synthesise(
    verilog: str,
    top: str | None,
    library: str | Path | CellLibrary = "egfet",
    *,
    flatten: bool = True,
    keep: Sequence[str] = (),
    timeout: float = 600.0,
    recipe: str | Recipe = "reference",
) -> Netlist:
    """Return *verilog* (source text) mapped to the cells of *library*.

    ``top``: name of the top module, None for the only one that no other
    instantiates. ``flatten``: dissolve the hierarchy before optimisation,
    but for the modules in ``keep``.
    ``timeout``: seconds for all of it, ABC included. ``recipe``: ``reference``, the ruler, or ``smallest``, which also
    tries others (three times the work) and keeps the smallest circuit, so it is never larger; or one of one's own. Raises
    :class:`OptionError` for a top module that is not there (the text lists those that are), :class:`ToolFailedError`
    with the tail of the log for Verilog that Yosys refuses, :class:`LibraryError` for what the library has no cell for.
    """
    cells = load_library(library)
    _check(verilog, top, keep, recipe)
    deadline = time.monotonic() + timeout
    if top is None:
        top = find_top(verilog, timeout)
        _check(verilog, top, keep, recipe)
    netlists = []
    for chosen in (recipe,) if isinstance(recipe, Recipe) else RECIPES[recipe]:
        left = max(deadline - time.monotonic(), 0.01)
        netlists.append(_synthesise(verilog, top, cells, _hierarchy(flatten, keep), left, chosen))
    return min(netlists, key=Netlist.area)


def _hierarchy(flatten: bool, keep: Sequence[str]) -> str:
    """Return the commands that dissolve the hierarchy as far as it is wanted."""
    if not flatten:
        return ""
    return f"setattr -mod -set keep_hierarchy 1 {' '.join(keep)}; flatten" if keep else "flatten"


def _check(verilog: str, top: str | None, keep: Sequence[str], recipe: str | Recipe) -> None:
    problems = [
        Problem("keep", f"{shown(name)!r} is not a plain identifier", "rename the module")
        for name in keep
        if not IDENTIFIER.fullmatch(name)
    ]
    if top is not None and not IDENTIFIER.fullmatch(top):
        problems.append(Problem("top", f"{shown(top)!r} is not a plain identifier", "rename the module"))
    if not isinstance(recipe, Recipe) and recipe not in RECIPES:
        problems.append(Problem("recipe", f"{shown(recipe)!r} is not one of {', '.join(RECIPES)}"))
    if len(verilog) > MAX_SOURCE_BYTES:
        problems.append(Problem("verilog", f"longer than {MAX_SOURCE_BYTES // 1_000_000} MB"))
    if not verilog.strip():
        problems.append(Problem("verilog", "is empty", "give a file that defines a module"))
    if problems:
        raise OptionError("synthesis", problems)


def _synthesise(
    verilog: str, top: str, library: CellLibrary, hierarchy: str, timeout: float, recipe: Recipe
) -> Netlist:
    flops = [cell for cell in library.cells.values() if cell.flip_flop is not None]
    shared = shared_gates(library) if recipe.share_nands else None
    script = [
        "read_verilog source.v",
        f"hierarchy -check -top {top}",
        recipe.front.format(flatten=hierarchy),
        "dfflibmap -liberty flops.lib; opt_merge; opt_clean" if flops else "",
        f"abc -genlib gates.genlib -script +{recipe.abc}",
        "techmap -map expand.v; opt_merge; opt_clean; techmap -map restore.v" if shared else "",
        "opt_clean -purge",
        "write_json netlist.json",
        "write_verilog -noattr netlist.v",
    ]
    with temporary_folder("synthesis") as folder:
        (folder / "source.v").write_text(verilog, encoding="utf-8")
        (folder / "gates.genlib").write_text(genlib(library, shared))
        if shared is not None:
            (folder / "expand.v").write_text(shared.expand)
            (folder / "restore.v").write_text(shared.restore)
        (folder / "flops.lib").write_text(flop_liberty(flops))
        try:
            run_yosys(folder, script, timeout)
        except ToolFailedError as error:
            if "not found" in error.tail:
                check_top(verilog, top, timeout)
            if found := _UNSUPPORTED.search(error.tail):
                why = f"is a register of type {found[2]} that no cell of the library can stand for: {shown(found[3])}"
                problem = Problem(shown(found[1]), why, "use plain edge-triggered registers")
                raise LibraryError(f"{shown(top)} on library {library.name}", [problem]) from None
            raise
        content = read_netlist_json(folder / "netlist.json")
        mapped = (folder / "netlist.v").read_text()
    return netlist_from_json(content, top, library, mapped)


def run_yosys(folder: Path, script: Sequence[str], timeout: float) -> str:
    """Run the lines of *script* in *folder*, where its files are, and return the log; ABC's files stay there too."""
    (folder / "script.ys").write_text("\n".join(line for line in script if line) + "\n")
    log = folder / "yosys.log"
    try:
        finished = run_tool(
            find_yosys(), ["script.ys"], timeout=timeout, folder=folder, log=log, environment={"TMPDIR": str(folder)}
        )
    except ToolFailedError as error:  # the folder goes, so the error must not point to the log in it
        raise ToolFailedError(error.tool, error.code, _tail_of(log)) from None
    except ToolTimeoutError as error:
        raise ToolTimeoutError(error.tool, error.seconds, _tail_of(log)) from None
    return finished.output


def read_netlist_json(path: Path) -> YosysDesign:
    """Return what Yosys wrote: on a full disk it leaves half a file behind and calls it done."""
    try:
        content: YosysDesign = json.loads(path.read_text())
    except ValueError as error:
        remedy = "free some space, or set TMPDIR to another folder"
        why = "Yosys could not write them whole"
        raise OutputError("synthesis", [Problem("temporary files", why, remedy)]) from error
    return content


def _tail_of(log: Path) -> str:
    return "\n".join(line[:400] for line in log.read_text(errors="replace").splitlines()[-TAIL_LINES:])


def instantiated_modules(verilog: str, timeout: float = 60.0) -> dict[str, frozenset[str]]:
    """Return module → the modules it instantiates, for all that *verilog* defines.

    Raises :class:`ToolFailedError` for what is no Verilog.
    """
    with temporary_folder("synthesis") as folder:
        (folder / "source.v").write_text(verilog, encoding="utf-8")
        run_yosys(folder, ["read_verilog source.v", "write_json modules.json"], timeout)
        modules = read_netlist_json(folder / "modules.json")["modules"]
    return {
        module: frozenset(cell["type"] for cell in modules[module].get("cells", {}).values())
        for module in sorted(modules)
    }


def find_top(verilog: str, timeout: float) -> str:
    """Return the module that no other one instantiates; raise :class:`OptionError` unless there is exactly one."""
    modules = instantiated_modules(verilog, timeout)
    tops = sorted(set(modules) - {inner for module, inners in modules.items() for inner in inners if inner != module})
    if len(tops) != 1:
        why = f"no other module instantiates {_listed(tops)}" if tops else f"none stands on top of {_listed(modules)}"
        raise OptionError("top", [Problem("top", f"the source does not tell it: {why}", "name one of them")])
    return tops[0]


def _listed(modules: Iterable[str]) -> str:
    names = list(modules)
    return ", ".join(shown(module) for module in names[:40]) or "none"


def check_top(verilog: str, top: str, timeout: float) -> None:
    """Raise :class:`OptionError` listing the modules where *top* is none of them."""
    modules = instantiated_modules(verilog, timeout)
    if top not in modules:
        why = f"no module {shown(top)!r} in the source; there are: {_listed(modules)}"
        raise OptionError("top", [Problem("top", why, "name one of them")])


def gates_of(library: CellLibrary) -> list[Cell]:
    """Return the cells that logic can be mapped to: combinational, with inputs and one output."""
    found = [c for c in library.cells.values() if c.flip_flop is None and c.inputs and len(c.functions) == 1]
    masks = {pin for cell in found for pin in cell.inputs}
    if not masks:
        raise LibraryError(library.name, [Problem("cells", "no combinational cell with one output")])
    return found


def genlib(library: CellLibrary, shared: SharedGates | None = None) -> str:
    """Return the gates of *library* as an area-only genlib for ABC: areas in inverters, every pin one unit of delay.

    ABC wants a buffer; a library without one gets a stand-in that costs two inverters and is built of two.
    """
    unit = library.inverter.area
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
