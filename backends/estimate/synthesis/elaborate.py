"""Read Verilog in Yosys down to its top, with what the library's cells stand for, and refuse what describes no circuit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from approxhw.backends.estimate.library.cells import IDENTIFIER, Cell, CellLibrary
from approxhw.backends.estimate.netlist.netlist import latch_problem
from approxhw.backends.estimate.netlist.yosys_json import YosysModule, is_black_box
from approxhw.common.errors import (
    ApproxhwError,
    LibraryError,
    OptionError,
    Problem,
    ToolFailedError,
    VerilogError,
    shown,
)

from .recipes import FRONT
from .run import read_netlist_json, read_text_of_yosys, run_yosys
from .soundness import (
    CHECK,
    DRIVE,
    LOOPS,
    OUTPUTS,
    PROCESSES,
    conflict_problems,
    implicit_nets,
    latches,
    loop_problems,
    may_be_undefined,
    never_assigned,
    read_check,
    read_loops,
    spelled_net,
    undefined_problems,
    undriven_nets,
    undriven_problem,
)
from .source import WRAPPER, VerilogSource
from .survey import check_top, outline_modules, unknown_error, unknown_modules

_UNSUPPORTED = re.compile(r"ERROR: FF (\S+) \(type (\S+)\) cannot be legalized: (.*)")
_NO_TOP = re.compile(r"Module `\S*' not found|is not a valid top-level module")
_NO_PARAMETER = re.compile(r"Can't find object for defparam `([^`']+)[`']")
_NO_PORT = re.compile(
    r"Module `(\S+)' referenced in module `(\S+)' in cell `(\S+)' does not have a port named '([^']+)'"
)
_MOST = 40


@dataclass(frozen=True)
class Elaborated:
    """What was found on the way: ``notes`` for those who read figures, and the signals that ``latches`` keep."""

    notes: tuple[str, ...]
    latches: tuple[str, ...]


def elaborate(
    folder: Path,
    source: VerilogSource,
    top: str,
    library: CellLibrary,
    script: Sequence[str],
    timeout: float,
    allow_undriven: bool = False,
    variant: Mapping[str, int] | None = None,
) -> Elaborated:
    """Read *source* in *folder* down to the module *top*, run *script*, which starts with a recipe's front, and judge it.

    ``variant``: parameters of *top*, of Verilog of ours. Cells of *library* that the source instantiates by name stay what
    they are. Raises what
    :func:`~approxhw.backends.estimate.synthesis.synthesise.synthesise` raises.
    """
    if allow_undriven:  # now: optimisation would make any value of it, and of what is calculated from it
        script = [step.replace(CHECK, f"{CHECK}\n{DRIVE}") for step in script]
    cells: list[Cell] = []
    dropped: list[str] = []
    refused: ApproxhwError | None = None
    for _ in range(5):
        source.write(folder, cells)
        read = [*source.commands(folder, top, cells, variant), *(f"delete */t:{name}" for name in dropped)]
        try:
            log = run_yosys(folder, [*read, *script], timeout)
        except ToolFailedError as error:
            log = read_text_of_yosys(folder / "yosys.log")
            unknown = unknown_modules(log)
            wanted = [name for name in unknown if name in library.cells]
            if wanted and not cells:
                # Yosys names one at a time; SystemVerilog would take cells that nothing instantiates for tops
                cells = [library.cells[name] for name in wanted] if source.system_verilog else [*library.cells.values()]
                continue
            if refused is not None and not unknown:
                raise refused from None
            found = _explained(error, log, source, top, library, timeout)
            if source.system_verilog or isinstance(found, VerilogError) or "HIERARCHY pass" in log:
                raise found from None
            # what one front end refuses, the other may read
            refused, source = found, replace(source, system_verilog=True)
            continue
        silent = [name for name in _silent(folder / "netlist.json") if name not in dropped]
        if not silent:
            break
        dropped += silent
    notes = ["read as SystemVerilog: Yosys' own reader of Verilog refused it"] if refused is not None else []
    checked = read_check(read_text_of_yosys(folder / "check.log"))
    doubtful = (
        source.system_verilog,  # its variables are never without a driver
        checked.conflicts,
        checked.undriven,
        read_loops(read_text_of_yosys(folder / "loops.log")),
        may_be_undefined(read_text_of_yosys(folder / "outputs.il"), top),
    )
    if any(doubtful):
        notes += _judged(folder, read, source, top, timeout, allow_undriven, log)
    return Elaborated(tuple(notes[:_MOST]), tuple(latches(log)))


def _judged(
    folder: Path,
    read: Sequence[str],
    source: VerilogSource,
    top: str,
    timeout: float,
    allow_undriven: bool,
    log: str,
) -> list[str]:
    """Elaborate once more, to tell what an output depends on of what is amiss; return notes, or raise :class:`VerilogError`."""
    _, _, rest = FRONT.partition(CHECK)
    script = [*read, PROCESSES, "flatten", LOOPS, "write_json raw.json", "opt_expr -keepdc", CHECK]
    script += ["write_json elaborated.json", rest.partition(OUTPUTS)[0]]
    script += ["write_json defined.json"]
    run_yosys(folder, script, timeout)
    checked = read_check(read_text_of_yosys(folder / "check.log"))
    elaborated = read_netlist_json(folder / "elaborated.json")["modules"][top]
    optimised = read_netlist_json(folder / "defined.json")["modules"][top]
    undriven = {**checked.undriven, **never_assigned(elaborated)}
    problems = conflict_problems(checked.conflicts, elaborated, source)
    if loops := read_loops(read_text_of_yosys(folder / "loops.log")):
        # of wide operators Yosys takes every output to depend on every input: only gates tell
        script = [*read, PROCESSES, "flatten", "memory", "techmap", "simplemap", LOOPS]
        run_yosys(folder, script, timeout)
        if read_loops(read_text_of_yosys(folder / "loops.log")):
            problems += loop_problems(loops, read_netlist_json(folder / "raw.json")["modules"][top], source)
    nets = undriven_nets(undriven, elaborated, source)
    implicit = implicit_nets(log)
    unknown = [undriven_problem(net, implicit) for net in nets if net.matters]
    unknown += undefined_problems(optimised, elaborated, undriven)
    if problems or (unknown and not allow_undriven):
        raise VerilogError(f"Verilog of {shown(top)}", [*problems, *unknown][:_MOST])
    notes = [f"counted as 0, as allowed: {problem.where} ({problem.why})" for problem in unknown]
    idle = [spelled_net(net) for net in nets if net.read and not net.matters]
    if idle:
        more = f" and {len(idle) - 5} more" if len(idle) > 5 else ""
        notes.append(f"nothing drives {', '.join(idle[:5])}{more}; no output depends on it")
    return notes


def _silent(netlist: Path) -> list[str]:
    """Return parts without contents and outputs that are still there: they keep alive what they only look at."""
    if not netlist.is_file() or b'"blackbox"' not in netlist.read_bytes():
        return []
    modules = read_netlist_json(netlist)["modules"]
    used = {cell["type"] for module in modules.values() for cell in module["cells"].values()}
    return [
        name
        for name in sorted(used)
        if name in modules
        and IDENTIFIER.fullmatch(name)
        and is_black_box(modules[name])
        and not _outputs(modules[name])
    ]


def _outputs(module: YosysModule) -> list[str]:
    return [name for name, port in module["ports"].items() if port["direction"] != "input"]


def _explained(
    error: ToolFailedError, log: str, source: VerilogSource, top: str, library: CellLibrary, timeout: float
) -> ApproxhwError:
    """Return what to say of the source that Yosys refused with *error* and *log*."""
    unknown = {name: where for name, where in unknown_modules(log).items() if name not in library.cells}
    if parameter := _NO_PARAMETER.search(log):
        why = f"module {shown(top)} has no parameter of that name"
        return OptionError("verilog", [Problem(f"parameter {shown(parameter[1])}", why, "see the head of that module")])
    if port := _NO_PORT.search(log):
        where = f"instance {shown(port[3])} in module {shown(port[2])}"
        why = f"connects port {shown(port[4])}, which module {shown(port[1])} does not have"
        return VerilogError(f"Verilog of {shown(top)}", [Problem(where, why, "see the head of that module")])
    if top in unknown and WRAPPER in unknown[top]:
        check_top(source, top, timeout)
    if unknown:
        if not source.system_verilog and not source.parameters:  # Yosys stops at the first one
            outlines = outline_modules(source, timeout)
            for module, outline in outlines.items():
                for name in sorted(outline.instances - set(outlines) - set(library.cells)):
                    unknown.setdefault(name, f"in module {shown(module)}")
        return unknown_error(unknown)
    if _NO_TOP.search(log):
        check_top(source, top, timeout)
    if found := _UNSUPPORTED.search(error.tail):
        if "DLATCH" in found[2]:
            return LibraryError(f"{shown(top)} on library {library.name}", [latch_problem(latches(log))])
        why = f"is a register of type {found[2]} that no cell of the library can stand for: {shown(found[3])}"
        problem = Problem(shown(found[1]), why, "use plain edge-triggered registers")
        return LibraryError(f"{shown(top)} on library {library.name}", [problem])
    return source.explained(error)
