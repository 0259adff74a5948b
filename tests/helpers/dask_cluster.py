"""A Dask cluster of this machine's own: a scheduler and workers as programs, as a user would start them."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from approxhw.common import tools


class Cluster:
    """A Dask scheduler and workers as programs of their own."""

    def __init__(self, folder, stack):
        self.folder, self.stack, self.workers = folder, stack, []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port))

    def _start(self, name, *words):
        log = self.stack.enter_context((self.folder / f"{name}.log").open("ab"))
        command = [sys.executable, "-m", "distributed.cli.dask_" + name, *words, "--no-dashboard"]
        return self.stack.enter_context(tools.started(command, log, folder=self.folder))

    def add_worker(self):
        options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder))
        self.workers.append(self._start("worker", self.address, *options))

    def wait_for_scheduler(self):
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        raise AssertionError((self.folder / "scheduler.log").read_text())


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Cluster]:
    """Give a scheduler that answers; all its programs end with the block."""
    with contextlib.ExitStack() as stack:
        made = Cluster(folder, stack)
        made.wait_for_scheduler()
        yield made
