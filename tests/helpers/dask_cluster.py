"""A Dask cluster of this machine's own: a scheduler and workers as programs, as a user would start them."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path


class Cluster:
    """A Dask scheduler and workers as programs of their own."""

    def __init__(self, folder):
        self.folder, self.started, self.workers = folder, [], []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port))

    def _start(self, name, *words):
        with (self.folder / f"{name}.log").open("a") as log:
            command = [sys.executable, "-m", "distributed.cli.dask_" + name, *words, "--no-dashboard"]
            self.started.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder))
        return self.started[-1]

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
    made = Cluster(folder)
    try:
        made.wait_for_scheduler()
        yield made
    finally:
        for process in made.started:
            process.kill()
            process.wait()
