"""Threads that wait for tools: an error or Ctrl-C in who started them ends their tools at once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, ContextVar, copy_context

ENDS: ContextVar[tuple[int, ...]] = ContextVar("ENDS", default=())
"""Descriptors of pipes: tools that are run here end when the other end of one is closed."""


@contextlib.contextmanager
def tool_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Give *count* threads in which tools run under the caller's time limit and locks.

    Where the block ends by an error or by Ctrl-C, what has not begun never does, and tools that run are ended; what was
    submitted then raises :class:`concurrent.futures.CancelledError`. In any case all threads are gone behind it.
    """
    ends, other = os.pipe()
    pool = ThreadPoolExecutor(count, initializer=_begin, initargs=(copy_context(), ends))
    try:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # first: a thread whose tool is ended takes the next one
            os.close(other)
            other = -1
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    finally:
        os.close(ends)
        if other >= 0:
            os.close(other)


def _begin(context: Context, ends: int) -> None:
    """Make the thread's context that of who started it: each has an empty one of its own."""
    for variable, value in context.items():
        variable.set(value)
    ENDS.set((*ENDS.get(), ends))
