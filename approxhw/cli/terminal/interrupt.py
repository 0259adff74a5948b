"""Ctrl-C in the middle of a search: the first ends it after its generation, the second ends the program."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType

from .terminal import Terminal


class Interrupt:
    """Ctrl-C while a search runs: the first finishes the generation, the second ends the program as ever."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal, self.asked = terminal, False
        self.before: signal.Handlers | int | Callable[[int, FrameType | None], object] | None = None

    def __call__(self) -> bool:
        """Whether the search shall end."""
        return self.asked

    def enter(self) -> None:
        """Take Ctrl-C over; only the main thread may."""
        if self.before is None and threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, self._heard)

    def leave(self) -> None:
        """Give Ctrl-C back."""
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
            self.before = None

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        self.leave()
        self.terminal.warn("finishing what has begun, then the front is made; Ctrl-C again ends at once")
