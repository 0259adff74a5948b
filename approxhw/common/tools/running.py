"""Run external programs: with a time limit that ends all they started, a log kept, and gone when approxhw is gone.

Every child of approxhw starts here, but for the workers of a search (``dse/genetic/executors.py``). Nothing here goes through
a shell, and no path is taken from a model or data file.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from approxhw.common.errors import ToolFailedError, ToolNotFoundError, ToolTimeoutError
from approxhw.common.files import temporary_folder

from .limits import memory_limit, time_left
from .threads import ENDS

TAIL_LINES = 25
KEEPER = Path(__file__).with_name("keeper.py")
OUT_OF_MEMORY = ("bad_alloc", "out of memory", "MemoryError", "Cannot allocate memory")
"""What C++, Yosys, Python and the system say where there is too little."""
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


@dataclass(frozen=True)
class Running:
    """A program under way, in a process group of its own that ``keeper`` leads; ``socket`` ties both to this process."""

    keeper: subprocess.Popen[bytes]
    socket: socket.socket

    def wait(self, seconds: float = float("inf")) -> int:
        """Return the exit code, negative where a signal ended it.

        Raises :class:`TimeoutError` when time is up, :class:`OSError` where it could not be started, and
        :class:`concurrent.futures.CancelledError` where the caller of :func:`tool_threads` is done with it.
        """
        poller, ends = select.poll(), ENDS.get()
        for descriptor in (self.socket.fileno(), *ends):
            poller.register(descriptor, select.POLLIN)
        ready = [descriptor for descriptor, _ in poller.poll(min(max(seconds, 0) * 1000, MAX_POLL))]
        if not ready:
            raise TimeoutError
        if any(end in ready for end in ends):
            raise CancelledError
        said, _, number = self.socket.recv(100).partition(b" ")
        if said == b"error":
            raise OSError(int(number), os.strerror(int(number)))
        return int(number) if said == b"ended" else self.keeper.wait()  # somebody ended the keeper

    def end(self) -> None:
        """End the program and all that it started; nothing is left behind this."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.keeper.pid, signal.SIGKILL)
        self.keeper.wait()


@contextlib.contextmanager
def started(
    command: Sequence[str],
    sink: IO[bytes],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Start *command*, both of its streams going to *sink*; it ends with the block, or with this process however that ends.

    ``environment``: what it gets besides ours. Raises :class:`OSError` where even its keeper cannot be started.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-S", str(KEEPER)),
                *(str(theirs.fileno()), str(os.getpid()), str(memory_limit())),
                *command,
            ],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            pass_fds=[theirs.fileno()],
        )
        running = Running(process, ours)
        try:
            theirs.close()
            yield running
        finally:  # also after Ctrl-C, and for children that outlive their parent (yosys-abc)
            running.end()


def run_tool(
    tool: Tool,
    arguments: Sequence[str | Path],
    *,
    timeout: float,
    log: Path | None = None,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Run *tool* and wait at most *timeout* seconds for it and everything it started, fewer inside a :func:`deadline`.

    ``log``: file that receives its output (both streams); a temporary one by default. ``folder``: where it runs.
    Raises :class:`ToolFailedError` for an exit code other than 0, :class:`ToolTimeoutError` when time is up, and
    :class:`ToolNotFoundError` when it cannot be started; the first two end with the tail of the log.
    """
    left, limit = time_left(tool.name, timeout)
    with temporary_folder("tool") as own:  # what a compiler keeps there goes with it, also when it is killed
        path, kept = (own / "log", None) if log is None else (log, log)
        path.parent.mkdir(parents=True, exist_ok=True)
        variables = {"TMPDIR": str(own), **tool.environment, **(environment or {})}
        begun = time.perf_counter()
        command = [*tool.command, *map(str, arguments)]
        with path.open("wb") as sink:
            try:
                with started(command, sink, folder=folder, environment=variables) as run:
                    code = run.wait(left)
            except TimeoutError:
                raise ToolTimeoutError(tool.name, limit, _tail(path), kept) from None
            except OSError as error:
                raise ToolNotFoundError(tool.name, f"it could not be started ({error})") from error
        seconds = time.perf_counter() - begun
        if code:
            raise ToolFailedError(tool.name, code, _tail(path) + _about_memory(path), kept)
        return Finished(path.read_text(errors="replace"), seconds)


def _about_memory(log: Path) -> str:
    """Return a line on the limit of memory where the last words of *log* say that there was too little; else nothing."""
    if not any(words in _tail(log) for words in OUT_OF_MEMORY):
        return ""
    return f"\nit asked for more memory than a tool gets here: {memory_limit() / 2**30:.1f} GiB, three quarters of the machine's"


def _tail(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()
    return "\n".join(line[:400] for line in lines[-TAIL_LINES:])
