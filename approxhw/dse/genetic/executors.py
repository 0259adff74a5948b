"""Who does the work of a search: this process, worker processes, or a Dask cluster; the outcome is the same."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from approxhw.common.errors import WorkersError
from approxhw.common.files import temporary_folder

Item = Any
"""What the work takes or makes: which types these are depends on the work that was started last."""

Work = Callable[[Item], Item]

ATTEMPTS = 3
"""How often work is begun where worker processes die over it."""


class Executor(Protocol):
    """Does the same work on many items. The work is a pure function: it may be done anywhere, and twice."""

    def start(self, work: Work) -> None:
        """Send *work* to every worker, once; it takes the place of earlier work."""

    def map(self, items: Sequence[Item]) -> list[Item]:
        """Return what the work makes of *items*, in their order."""

    def close(self) -> None:
        """Let the workers go."""


class SerialExecutor:
    """Works in this process."""

    def start(self, work: Work) -> None:
        """Keep *work*."""
        self._work = work

    def map(self, items: Sequence[Item]) -> list[Item]:
        """Do the work, one item after the other."""
        return [self._work(item) for item in items]

    def close(self) -> None:
        """Do nothing."""


class ProcessExecutor:
    """Works in *jobs* processes of this machine. One that dies is replaced, and its work done again."""

    def __init__(self, jobs: int) -> None:
        self._jobs, self._pool, self._hidden = jobs, None, True  # type: int, ProcessPoolExecutor | None, bool
        self._alive: tuple[Connection, Connection] | None = None
        self._path, self._number = Path(), 0
        stack = contextlib.ExitStack()
        self._folder = stack.enter_context(temporary_folder("work"))  # ours alone: nobody else may write there
        self._forget = weakref.finalize(self, stack.close)  # also for whoever never closes this

    def start(self, work: Work) -> None:
        """Put *work* where the workers find it; raise :class:`WorkersError` where it cannot be sent."""
        data = packed(work)
        # workers stay: each is a Python with compiled kernels, which takes seconds to begin
        self._number += 1
        self._path = self._folder / str(self._number)
        self._path.write_bytes(data)
        hidden = b"__main__" not in data
        if self._pool is None or (self._hidden and not hidden):
            self._hidden = hidden
            self._shut()
            self._open()

    def _open(self) -> None:
        # spawn: a fork would copy the threads' locks of whatever runs beside.
        context = multiprocessing.get_context("spawn")
        self._alive = context.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(self._jobs, context, _begin, (os.getpid(), self._alive[0]))

    def map(self, items: Sequence[Item]) -> list[Item]:
        """Do the work in the processes; raise :class:`WorkersError` where they die again and again.

        Where an error or Ctrl-C ends this, the processes end, too, in the midst of whatever they do.
        """
        for _ in range(ATTEMPTS):
            if self._pool is None:
                self._open()
            assert self._pool is not None
            try:
                with _main_module(hidden=self._hidden):
                    futures = [self._pool.submit(_work, self._path, item) for item in items]
                return [future.result() for future in futures]
            except BrokenProcessPool:
                self._shut()
            except BaseException:
                self._shut(at_once=True)
                raise
        raise WorkersError(
            f"worker processes ended {ATTEMPTS} times before they were done",
            "look for lack of memory; or use --jobs 1; a script that registers operators of its own must start its search "
            'under `if __name__ == "__main__":`',
        )

    def _shut(self, *, at_once: bool = False) -> None:
        theirs, ours = self._alive or (None, None)
        if ours is not None and at_once:
            ours.close()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        for end in (theirs, ours):
            if end is not None:
                end.close()
        self._pool = self._alive = None

    def close(self) -> None:
        """End the processes."""
        self._shut()
        self._forget()


def _begin(parent: int, alive: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_follow, args=(parent, alive), daemon=True).start()


def _follow(parent: int, alive: Connection) -> None:
    """End this process once *parent* closes the other end of *alive*, as it does when it dies, by a kill -9, too.

    The parent itself is looked at, too: a fork of it may hold that end.
    """
    with contextlib.suppress(EOFError, OSError):
        while os.getppid() == parent:
            if alive.poll(1.0):
                alive.recv_bytes()
    os._exit(1)


@functools.lru_cache(maxsize=1)  # a worker does one kind of work at a time
def _work_in(path: Path) -> Work:
    work: Work = pickle.loads(path.read_bytes())
    return work


def _work(path: Path, item: Item) -> Item:
    return _work_in(path)(item)


@contextlib.contextmanager
def _main_module(*, hidden: bool) -> Iterator[None]:
    """Keep fresh workers from importing the user's script, which would run it again, unless the work needs it."""
    main = sys.modules["__main__"]
    saved: dict[str, object] = {
        name: main.__dict__[name] for name in ("__file__", "__spec__") if hidden and name in main.__dict__
    }
    if hidden:
        main.__dict__.pop("__file__", None)
        main.__dict__["__spec__"] = None
    try:
        yield
    finally:
        main.__dict__.update(saved)


def packed(work: Work) -> bytes:
    """Return *work* for sending; raise :class:`WorkersError` that names every operator which cannot be sent."""
    try:
        return pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        bad = [name for name, value in vars(getattr(work, "toolbox", None) or object).items() if not _sendable(value)]
        named = (
            f"operators of the toolbox cannot be sent to workers: {', '.join(bad)}"
            if bad
            else "the work cannot be sent"
        )
        raise WorkersError(
            f"{named} ({error})",
            "define them with `def` at the top of a module, not as lambda or inside a function; or search with --jobs 1",
        ) from error


def _sendable(value: object) -> bool:
    try:
        pickle.dumps(value)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


def executor_for(jobs: int = 1, scheduler: str | None = None, timeout: float = 10.0) -> Executor:
    """Return who works: a Dask cluster where *scheduler* (``tcp://host:port``) is given, else *jobs* processes.

    *timeout*: seconds that a cluster may take to answer. Raises :class:`WorkersError` where it does not.
    """
    if scheduler is not None:
        from .cluster import DaskExecutor

        return DaskExecutor(scheduler, timeout)
    return SerialExecutor() if jobs == 1 else ProcessExecutor(jobs)
