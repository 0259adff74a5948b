"""Which modules Verilog holds, what instantiates what, and which module stands on top."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from approxhw.common.errors import OptionError, Problem, ToolFailedError, VerilogError, shown
from approxhw.common.files import working_folder

from .run import read_text_of_yosys, run_yosys
from .source import VerilogSource
from .source_files import source_of

MAX_NAMED = 40
_UNKNOWN = re.compile(
    r"ERROR: Module `\\(\S+)' referenced in module `\\?(\S+)' in cell `\\?(\S+)' is not part of the design"
    r"|ERROR: unknown module '([^']+)'"
)


@dataclass(frozen=True)
class ModuleOutline:
    """A module as it was read: how many ports it has, what it instantiates, and whether it has no contents."""

    ports: int
    instances: frozenset[str]
    empty: bool


def outline_modules(verilog: str | VerilogSource, timeout: float = 60.0) -> dict[str, ModuleOutline]:
    """Return the modules that *verilog* defines, in alphabetical order; of SystemVerilog only those that may be on top.

    Raises :class:`ToolFailedError` for what is no Verilog, :class:`VerilogError` for files that it cannot read.
    """
    source = source_of(verilog)
    try:
        outlines = _read_outlines(source, timeout)
    except ToolFailedError:
        if source.system_verilog:
            raise
        try:  # what one front end refuses, the other may read
            outlines = _read_outlines(replace(source, system_verilog=True), timeout)
        except (ToolFailedError, VerilogError):
            outlines = {}
        if not outlines:
            raise
    return dict(sorted(outlines.items()))


def _read_outlines(source: VerilogSource, timeout: float) -> dict[str, ModuleOutline]:
    with working_folder("synthesis") as folder:
        source.write(folder)
        try:
            run_yosys(folder, [*source.commands(folder, None), "write_rtlil modules.il"], timeout)
        except ToolFailedError as error:
            log = read_text_of_yosys(folder / "yosys.log")
            unknown = unknown_modules(log) if source.system_verilog else {}
            raise unknown_error(unknown) if unknown else source.explained(error) from None
        return _outlines(read_text_of_yosys(folder / "modules.il"))


def _outlines(text: str) -> dict[str, ModuleOutline]:
    """Return what RTLIL *text* says of its modules; it is Yosys' own, one thing a line."""
    found: dict[str, ModuleOutline] = {}
    name, ports, instances, empty, attributes = "", 0, set[str](), False, ""
    for line in text.splitlines():
        words = line.split(maxsplit=2)
        if line.startswith("attribute "):
            attributes += line + "\n"
        elif line.startswith("module "):
            name, ports, instances = words[1].removeprefix("\\"), 0, set()
            empty = "attribute \\blackbox 1" in attributes
            attributes = ""
        elif line == "end":
            if not name.startswith("$"):
                found[name] = ModuleOutline(ports, frozenset(instances), empty)
        elif line.startswith("  wire ") and re.search(r" (?:input|output|inout) \d", line):
            ports += 1
        elif line.startswith("  cell \\"):
            instances.add(words[1].removeprefix("\\"))
    return found


def find_top(verilog: str | VerilogSource, timeout: float) -> str:
    """Return the module that no other one instantiates; raise :class:`OptionError` unless there is exactly one."""
    modules = outline_modules(verilog, timeout)
    if all(outline.empty for outline in modules.values()):
        raise OptionError("top", [Problem("top", "the source has no module", "give the file that defines one")])
    below = {inner for module, outline in modules.items() for inner in outline.instances if inner != module}
    tops = sorted(name for name, outline in modules.items() if name not in below and not outline.empty)
    if len(tops) > 1:  # a test bench in the same file stands above everything, and is no circuit
        tops = [name for name in tops if modules[name].ports] or tops
    if len(tops) != 1:
        why = f"no other module instantiates {listed(tops)}" if tops else f"none stands on top of {listed(modules)}"
        raise OptionError("top", [Problem("top", f"the source does not tell it: {why}", "name one of them")])
    if not modules[tops[0]].ports:
        why = f"{shown(tops[0])} stands on top, but has no port, as test benches do"
        raise OptionError("top", [Problem("top", why, "name the module to measure")])
    return tops[0]


def listed(modules: Iterable[str]) -> str:
    """Return names for an error, at most 40 of them."""
    names = sorted(modules)
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return (", ".join(shown(module) for module in names[:MAX_NAMED]) or "none") + more


def check_top(verilog: str | VerilogSource, top: str, timeout: float) -> None:
    """Raise :class:`OptionError` listing the modules where *top* is none of them."""
    modules = outline_modules(verilog, timeout)
    if top not in modules:
        why = f"no module {shown(top)!r} in the source; there are: {listed(modules)}"
        raise OptionError("top", [Problem("top", why, "name one of them")])


def unknown_modules(log: str) -> dict[str, str]:
    """Return module → where it is instantiated, for modules that *log* says nobody defines."""
    return {
        found[1] or found[4]: f"instance {shown(found[3])} in module {shown(found[2])}" if found[1] else "an instance"
        for found in _UNKNOWN.finditer(log)
    }


def unknown_error(unknown: Mapping[str, str]) -> VerilogError:
    """Return what to say of modules that are instantiated, and defined nowhere."""
    remedy = (
        "give the file that defines it; for a part of a tool or foundry (DW01_…, a memory), write a module of that name "
        "that does the same, or, where a Liberty file has it as a cell, an empty module with its ports and --liberty"
    )
    problems = [
        Problem(f"module {shown(name)}", f"is instantiated ({where}), but no file defines it", remedy)
        for name, where in sorted(unknown.items())[:MAX_NAMED]
    ]
    return VerilogError("Verilog", problems)
