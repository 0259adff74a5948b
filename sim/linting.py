"""Ask Verilator and Icarus for everything they dislike about a Verilog text."""

from __future__ import annotations

from approxhw.common import tools
from approxhw.common.errors import OptionError, Problem, ToolFailedError, shown
from approxhw.common.files import temporary_folder

from .job import IDENTIFIER


def lint(verilog: str, top: str, *, timeout: float = 300.0) -> None:
    """Check *verilog* with ``verilator --lint-only -Wall`` and ``iverilog -g2005 -Wall``; a warning is an error.

    Raises :class:`ToolFailedError` with what the first dissatisfied one of them says.
    """
    if not IDENTIFIER.fullmatch(top):
        raise OptionError("lint", [Problem("top", f"{shown(top)} is no plain Verilog identifier")])
    verilator, icarus = tools.find_verilator(), tools.find_icarus()
    with temporary_folder("lint") as folder:
        file = f"{top}.v"
        (folder / file).write_text(verilog)
        # one text may hold many modules, so that no file name could be right for all of them
        options = ["--default-language", "1364-2005", "-Wno-fatal", "-Wno-DECLFILENAME"]
        arguments = ["--lint-only", "-Wall", "--quiet", *options, "--top-module", top, file]
        said = tools.run_tool(verilator, arguments, timeout=timeout, folder=folder).output
        _refuse("verilator -Wall", said)
        arguments = ["-g2005", "-Wall", "-t", "null", "-s", top, file]
        _refuse("iverilog -Wall", tools.run_tool(icarus, arguments, timeout=timeout, folder=folder).output)


def _refuse(tool: str, said: str) -> None:
    if said.strip():
        raise ToolFailedError(f"{tool}, warnings count as errors", 0, "\n".join(said.splitlines()[: tools.TAIL_LINES]))
