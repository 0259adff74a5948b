"""Signals while a command runs: SIGTERM and SIGHUP end it in order, with exit code 128 + signal; no Ctrl-C is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
GRACE = 10.0
"""Seconds after which an end that is not over yet, in the midst of a long computation, say, is no longer waited for."""


class EndedError(BaseException):
    """The program is to end because of the signal ``number``; like ``KeyboardInterrupt``, nothing else catches it."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)

    @property
    def exit_code(self) -> int:
        """What shells expect of a program that a signal ended."""
        return 128 + self.number


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Raise :class:`EndedError` where SIGTERM or SIGHUP comes in the block; later ones change nothing.

    Signals that are ignored (``nohup``) or that somebody else heeds stay theirs. Children need no word: they end with this
    process. Where it does not come to its end in :data:`GRACE` seconds it is left at once: temporary folders then go with
    the next run.
    """
    mine = [number for number in SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    if not mine or threading.current_thread() is not threading.main_thread():
        yield
        return
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(told, mine, done), daemon=True)
    before = signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    watch.start()
    try:
        for number in mine:
            signal.signal(number, _heard)
        yield
    finally:
        done.set()
        for number in mine:
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(before)
        os.close(tell)
        watch.join()
        os.close(told)


def _heard(number: int, frame: FrameType | None) -> None:
    for each in SIGNALS:
        if signal.getsignal(each) is _heard:
            signal.signal(each, signal.SIG_IGN)  # `timeout` sends its signal twice
    raise EndedError(number)


def _watch(told: int, mine: list[signal.Signals], done: threading.Event) -> None:
    """Leave the program where it does not end in time: the system tells of a signal here before Python can heed it."""
    while numbers := os.read(told, 64):
        for number in numbers:
            if number in mine:
                if not done.wait(GRACE):
                    os._exit(128 + number)
                return


AGAIN = 0.2
"""Seconds after which a Ctrl-C that a callback swallowed comes again."""


@dataclass
class LostInterrupts:
    """Whether a Ctrl-C came where nobody could raise it: what fails then, fails because of it."""

    any: bool = False


@contextlib.contextmanager
def interrupts_kept() -> Iterator[LostInterrupts]:
    """Note a Ctrl-C that comes inside a callback of a library, where Python can but print it, and let it come again.

    LLVM asks for compiled code through one, and what it was to hold is missing afterwards: an error that is nobody's fault.
    """
    lost, before = LostInterrupts(), sys.unraisablehook

    def come_again() -> None:
        if sys.unraisablehook is heard:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # it ends what waits, too

    def heard(raised: sys.UnraisableHookArgs) -> None:
        if not issubclass(raised.exc_type, KeyboardInterrupt):
            before(raised)
            return
        lost.any = True
        again = threading.Timer(AGAIN, come_again)
        again.daemon = True
        again.start()

    sys.unraisablehook = heard
    try:
        yield lost
    finally:
        sys.unraisablehook = before
