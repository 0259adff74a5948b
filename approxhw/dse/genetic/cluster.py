"""Islands on a Dask cluster: the work goes to every worker once, late comers included, and its tasks survive workers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import cloudpickle
from distributed import Client, Future, WorkerPlugin, get_worker, wait
from distributed.client import ClosedClientError, FutureCancelledError, FuturesCancelledError
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker

from approxhw.common.errors import WorkersError
from approxhw.common.version import __version__

if TYPE_CHECKING:
    from distributed import Worker

_PATIENCE = 5.0
_LOST = (
    OSError,  # among them CommClosedError and TimeoutError
    FutureCancelledError,
    FuturesCancelledError,
    ClosedClientError,
    asyncio.CancelledError,
)


class _Work(WorkerPlugin):  # type: ignore[misc]  # it carries no types
    """The work, as each worker keeps it."""

    def __init__(self, name: str, work: Callable[[object], object]) -> None:
        # One string of bytes: arrays that Dask itself unpacks are read-only, for which kernels would be compiled anew.
        self.name, self.packed, self.version = name, cloudpickle.dumps(work), __version__

    def setup(self, worker: Worker) -> None:
        """Unpack the work, but refuse a worker whose approxhw may count otherwise."""
        if self.version != __version__:
            raise RuntimeError(f"the worker {worker.address} has approxhw {__version__}, the search {self.version}")
        self.work = cloudpickle.loads(self.packed)


def _work(name: str, item: object) -> object:
    return get_worker().plugins[name].work(item)


class DaskExecutor:
    """Works on the cluster of a scheduler; a task whose worker dies is done again by another.

    *timeout*: seconds that the scheduler, and after it the first worker, may take to answer.
    """

    def __init__(self, scheduler: str, timeout: float = 10.0) -> None:
        self.scheduler, self._timeout, self._name = scheduler, timeout, ""
        try:
            self._client = _connected(scheduler, timeout)
        except (OSError, TimeoutError, ValueError, TypeError, RuntimeError) as error:
            raise WorkersError(
                f"no Dask scheduler answers at {scheduler} within {timeout:g} s ({_first_line(error)})",
                "start one with `dask scheduler` and workers with `dask worker ADDRESS`, and give the address that it prints",
            ) from error
        self._need_workers()

    def start(self, work: Callable[[object], object]) -> None:
        """Send *work* to every worker, now and when it joins."""
        self._forget()
        self._name = f"approxhw-{uuid.uuid4().hex}"
        try:
            self._client.register_plugin(_Work(self._name, work), name=self._name)
        except _LOST as error:
            raise self._gone(error) from error
        except Exception as error:  # whatever keeps a worker from unpacking it
            raise WorkersError(
                f"the workers of {self.scheduler} cannot take the work ({type(error).__name__}: {_first_line(error)})",
                f"install approxhw {__version__} and its dependencies on every worker; operators of your own must be in a "
                "module that the workers can import, too",
            ) from error

    def map(self, items: Sequence[object]) -> list[object]:
        """Do the work on the cluster; raise :class:`WorkersError` where scheduler or workers are gone for good."""
        try:
            futures = [self._client.submit(_work, self._name, item, pure=False) for item in items]
            self._wait(futures)
            return list(self._client.gather(futures))
        except KilledWorker as error:
            raise WorkersError(
                f"the workers of {self.scheduler} died again and again over the same task ({_first_line(error)})",
                "look for lack of memory in the workers' logs",
            ) from error
        except _LOST as error:
            raise self._gone(error) from error

    def _wait(self, futures: list[Future]) -> None:
        """Wait for *futures*, and notice where nobody is left to do them."""
        lonely = 0.0
        while True:
            try:
                with self._client.as_current():
                    wait(futures, timeout=_PATIENCE)
                return
            except TimeoutError:
                if self._client.status != "running":
                    raise CommClosedError("the connection is closed") from None
                lonely = 0.0 if self._workers() else lonely + _PATIENCE
                if lonely > 6 * self._timeout:
                    raise WorkersError(
                        f"all workers of {self.scheduler} are gone, and none came within {lonely:g} s", "start workers"
                    ) from None

    def _workers(self) -> int:
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def _need_workers(self) -> None:
        try:
            self._client.wait_for_workers(1, timeout=self._timeout)
        except (TimeoutError, OSError) as error:
            self.close()
            raise WorkersError(
                f"the Dask scheduler {self.scheduler} has no worker, and none came within {self._timeout:g} s",
                f"start some: dask worker {self.scheduler}",
            ) from error
        except BaseException:  # Ctrl-C, say
            self.close()
            raise

    def _gone(self, error: BaseException) -> WorkersError:
        for name in ("distributed.client", "distributed.batched", "distributed.core"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # they would go on telling what this error says
        self.close()
        return WorkersError(
            f"the Dask scheduler {self.scheduler} went away in the middle ({type(error).__name__}: {_first_line(error)})",
            "start it and its workers again",
        )

    def _forget(self) -> None:
        if self._name:
            try:
                self._client.unregister_worker_plugin(self._name)
            except Exception as error:
                logging.getLogger(__name__).debug("workers keep %s: %s", self._name, error)
            self._name = ""

    def close(self) -> None:
        """Leave the cluster; it goes on without us."""
        if self._client.status == "running":
            self._forget()
        _end(self._client)


def _connected(scheduler: str, timeout: float) -> Client:
    """Return a client of *scheduler*; one that cannot connect is closed, and not left to be so when it is collected.

    Its ``__del__`` would wait for its event loop, and for a lock that the client holds which happens to be starting then.
    """
    client = Client.__new__(Client)
    try:
        client.__init__(scheduler, timeout=timeout, set_as_default=False)
    except BaseException:
        _end(client)
        raise
    return client


def _end(client: Client) -> None:
    """Close *client*, whatever state it is in, so that its ``__del__`` has nothing to do."""
    with contextlib.suppress(Exception):
        client.close(timeout=2)
    with contextlib.suppress(Exception):  # it did not answer in time, or never got so far as to have something to close
        client._loop_runner.stop()
    client.status = "closed"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
