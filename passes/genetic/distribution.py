"""Who does the work of a search: this process, worker processes, or a Dask cluster; the outcome is the same."""

from __future__ import annotations

import contextlib
import multiprocessing
import pickle
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, TypeVar

from approxhw.errors import WorkersError

Item = TypeVar("Item")

ATTEMPTS = 3
"""How often work is begun where worker processes die over it."""


class Executor(Protocol):
    """Does the same work on many items. The work is a pure function: it may be done anywhere, and twice."""

    def start(self, work: Callable[[Any], Any]) -> None:
        """Send *work* to every worker, once; it takes the place of earlier work."""

    def map(self, items: Sequence[Item]) -> list[Item]:
        """Return what the work makes of *items*, in their order."""

    def close(self) -> None:
        """Let the workers go."""


class SerialExecutor:
    """Works in this process."""

    def start(self, work: Callable[[Any], Any]) -> None:
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
        self._jobs, self._pool, self._packed = jobs, None, b""  # type: tuple[int, ProcessPoolExecutor | None, bytes]

    def start(self, work: Callable[[Any], Any]) -> None:
        """Make workers that have *work*; raise :class:`WorkersError` where it cannot be sent."""
        self.close()
        self._packed = packed(work)
        self._open()

    def _open(self) -> None:
        # spawn: a fork would copy the threads' locks of whatever runs beside.
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(self._jobs, context, _receive, (self._packed,))

    def map(self, items: Sequence[Item]) -> list[Item]:
        """Do the work in the processes; raise :class:`WorkersError` where they die again and again."""
        for _ in range(ATTEMPTS):
            assert self._pool is not None
            try:
                with _main_module(hidden=b"__main__" not in self._packed):
                    futures = [self._pool.submit(_work, item) for item in items]
                return [future.result() for future in futures]
            except BrokenProcessPool:
                self.close()
                self._open()
        raise WorkersError(
            f"worker processes ended {ATTEMPTS} times before they were done",
            "look for lack of memory; or use --jobs 1; a script that registers operators of its own must start its search "
            'under `if __name__ == "__main__":`',
        )

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


_work_of_this_process: Callable[[Any], Any] | None = None  # a worker does one kind of work in its life


def _receive(packed_work: bytes) -> None:
    global _work_of_this_process
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    _work_of_this_process = pickle.loads(packed_work)


def _work(item: Any) -> Any:
    assert _work_of_this_process is not None
    return _work_of_this_process(item)


@contextlib.contextmanager
def _main_module(*, hidden: bool) -> Iterator[None]:
    """Keep fresh workers from importing the user's script, which would run it again, unless the work needs it."""
    main = sys.modules["__main__"]
    saved: dict[str, Any] = {
        name: main.__dict__[name] for name in ("__file__", "__spec__") if hidden and name in main.__dict__
    }
    if hidden:
        main.__dict__.pop("__file__", None)
        main.__dict__["__spec__"] = None
    try:
        yield
    finally:
        main.__dict__.update(saved)


def packed(work: Any) -> bytes:
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


def _sendable(value: Any) -> bool:
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
