"""Limits of the tools that a command runs: one of time for all together, of which each has what is left, and one of memory."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextvars import ContextVar

from approxhw.common.errors import ToolTimeoutError

_LIMIT: ContextVar[tuple[float, float] | None] = ContextVar("_LIMIT", default=None)
"""When time is up, by the monotonic clock, and how many seconds there were."""


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Give all that the block runs *seconds* together, or what is left of a shorter limit around it."""
    end, around = time.monotonic() + seconds, _LIMIT.get()
    token = _LIMIT.set((end, seconds) if around is None or end < around[0] else around)
    try:
        yield
    finally:
        _LIMIT.reset(token)


def time_left(what: str, timeout: float | None = None) -> tuple[float, float]:
    """Return the seconds that *what* may take, *timeout* at most, and the whole limit that they are of, to be told.

    Raises :class:`ToolTimeoutError` naming *what* where none are left.
    """
    limit = _LIMIT.get()
    if limit is None:
        return (float("inf"),) * 2 if timeout is None else (timeout, timeout)
    left = limit[0] - time.monotonic()
    if left <= 0:
        raise ToolTimeoutError(what, limit[1], "")
    return (timeout, timeout) if timeout is not None and timeout < left else (left, limit[1])


def memory_limit() -> int:
    """Return how many bytes a tool may have: three quarters of the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4 * 3
