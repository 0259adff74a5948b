"""Workers: any number of them finds the same front, dead ones are replaced, and what cannot work is said at once."""

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from dask_cluster import started
from programs import wait_until

from approxhw.common.errors import WorkersError
from approxhw.dse.genetic import executors as distribution
from approxhw.dse.genetic.evolution import evolve
from approxhw.dse.genetic.executors import ProcessExecutor, SerialExecutor, executor_for
from approxhw.dse.genetic.options import GeneticOptions
from approxhw.dse.genetic.problem import default_toolbox

OPTIONS = GeneticOptions(population=60, generations=12, islands=3, migration_every=3, migrants=2)


@pytest.fixture
def problem(make_problem):
    return make_problem()


def same(found, expected):
    """Whether two searches found the same, byte for byte."""
    return (
        found.genomes.tobytes() == expected.genomes.tobytes()
        and found.areas_mm2.tobytes() == expected.areas_mm2.tobytes()
        and found.logbook == expected.logbook
        and all(a.genomes.tobytes() == b.genomes.tobytes() for a, b in zip(found.islands, expected.islands))
    )


@contextlib.contextmanager
def workers(executor):
    try:
        yield executor
    finally:
        executor.close()


def test_any_number_of_jobs_finds_the_same_front(problem):
    expected = evolve(problem, OPTIONS)
    assert same(evolve(problem, OPTIONS, executor=SerialExecutor()), expected)
    for jobs in (2, 3):
        with workers(ProcessExecutor(jobs)) as executor:
            assert same(evolve(problem, OPTIONS, executor=executor), expected)


def test_a_worker_process_that_is_killed_is_replaced(problem):
    expected, killed = evolve(problem, OPTIONS), []

    def told(record):
        if record.generation == 4:
            killed.append(next(iter(executor._pool._processes)))
            os.kill(killed[0], signal.SIGKILL)

    with workers(ProcessExecutor(2)) as executor:
        assert same(evolve(problem, OPTIONS, executor=executor, on_generation=told), expected)
        assert killed
        assert killed[0] not in executor._pool._processes


def test_workers_end_with_a_search_that_was_killed(tmp_path):
    script = tmp_path / "search.py"
    script.write_text(
        "import os, sys, time\n"
        "from approxhw.dse.genetic.executors import ProcessExecutor\n"
        "if __name__ == '__main__':\n"
        "    executor = ProcessExecutor(2)\n"
        "    executor.start(time.sleep)\n"
        "    executor.map([0.1, 0.1])\n"
        "    print(*executor._pool._processes, flush=True)\n"
        "    time.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as process:
        workers_of_it = list(map(int, process.stdout.readline().split()))
        assert workers_of_it
        process.kill()
        limit = time.monotonic() + 60
        while any(_alive(number) for number in workers_of_it):
            assert time.monotonic() < limit, "workers outlived the search"
            time.sleep(0.1)


def _alive(number: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{number}/status").read_text()
    except OSError:
        return False


def test_work_that_kills_every_worker_is_given_up_and_the_checkpoint_kept(problem, tmp_path, monkeypatch):
    path = tmp_path / "search.npz"
    evolve(problem, replace(OPTIONS, generations=5), checkpoint=path)
    plain = ProcessExecutor.map

    def dying(self, items):
        self.start(os._exit)  # in place of the search: ends the process that it runs in
        return plain(self, [3 for _ in items])

    with monkeypatch.context() as patched, workers(ProcessExecutor(1)) as executor:
        patched.setattr(ProcessExecutor, "map", dying)
        with pytest.raises(WorkersError) as caught:
            evolve(problem, OPTIONS, executor=executor, checkpoint=path, resume=True)
    text = str(caught.value)
    assert "worker processes ended 3 times before they were done" in text
    assert "look for lack of memory; or use --jobs 1" in text
    assert f"the checkpoint {path} holds generation 5: the same command with --resume goes on from there" in text
    assert same(evolve(problem, OPTIONS, checkpoint=path, resume=True), evolve(problem, OPTIONS))


def test_operators_that_cannot_be_sent_are_named(problem):
    toolbox = default_toolbox(problem, OPTIONS)
    toolbox.register("mutate", lambda genomes, generator: genomes)
    toolbox.register("mate", lambda first, second, generator: first)
    with workers(ProcessExecutor(2)) as executor, pytest.raises(WorkersError) as caught:
        evolve(problem, OPTIONS, toolbox, executor=executor)
    assert "operators of the toolbox cannot be sent to workers: mate, mutate" in str(caught.value)
    assert "define them with `def` at the top of a module" in str(caught.value)
    assert caught.value.exit_code == 16


def test_an_error_of_an_operator_comes_back_as_it_is(problem):
    toolbox = default_toolbox(problem, OPTIONS)
    toolbox.register("parents", divmod, 1, 0)
    with workers(ProcessExecutor(1)) as executor, pytest.raises(TypeError):
        evolve(problem, OPTIONS, toolbox, executor=executor)


def test_a_script_without_a_main_guard_may_use_processes(tmp_path, problem):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            print("running", flush=True)
            from math import factorial
            from approxhw.dse.genetic.executors import ProcessExecutor
            executor = ProcessExecutor(2)
            executor.start(factorial)
            print(executor.map([3, 4, 5]), __file__.endswith("script.py"), flush=True)
            executor.close()
            """
        )
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split("\n")[:2] == ["running", "[6, 24, 120] True"]
    assert done.stdout.count("running") == 1


def test_ctrl_c_does_not_reach_worker_processes():
    with workers(ProcessExecutor(1)) as executor:
        executor.start(abs)
        assert executor.map([-1]) == [1]
        (pid,) = executor._pool._processes
        os.kill(pid, signal.SIGINT)
        assert executor.map([-2, -3]) == [2, 3]
        assert list(executor._pool._processes) == [pid]


def test_jobs_and_scheduler_choose_who_works():
    assert isinstance(executor_for(), SerialExecutor)
    assert isinstance(executor_for(3), ProcessExecutor)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(WorkersError) as caught:
            distribution.executor_for(1, address, timeout=1.0)
    assert f"no Dask scheduler answers at {address} within 1 s" in str(caught.value)
    assert "start one with `dask scheduler`" in str(caught.value)
    with pytest.raises(WorkersError, match="no Dask scheduler answers at nonsense://x"):
        executor_for(1, "nonsense://x", timeout=1.0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_search_ends_its_workers_in_the_midst_of_their_work(error):
    def raising(number, frame):
        raise error

    with workers(ProcessExecutor(2)) as executor:
        executor.start(time.sleep)
        assert executor.map([0.1, 0.1]) == [None, None]
        pids, folder = list(executor._pool._processes), executor._folder
        before = signal.signal(signal.SIGUSR1, raising)
        try:
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            with pytest.raises(error):
                executor.map([1000, 1000])
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert not any(_alive(pid) for pid in pids)
        assert executor.map([0]) == [None]  # it can be asked again
    assert not folder.exists()


def test_processes_that_nobody_closes_go_with_their_executor():
    executor = ProcessExecutor(1)
    executor.start(abs)
    assert executor.map([-1]) == [1]
    folder, (pid,) = executor._folder, executor._pool._processes
    del executor
    gc.collect()
    wait_until(lambda: not _alive(pid), "the worker is still there")
    assert not folder.exists()


def not_closed():
    """Return the Dask clients of this process that are still open: collecting one waits for a lock of all of them."""
    from distributed import Client

    return [thing.status for thing in gc.get_objects() if type(thing) is Client and thing.status != "closed"]


def test_no_client_is_left_open_whatever_goes_wrong(monkeypatch):
    from distributed import Client

    assert not_closed() == []
    for address in ("tcp://127.0.0.1:9", "nonsense://x", "nothing", "tcp://127.0.0.1"):
        with pytest.raises(WorkersError, match="no Dask scheduler answers at"):
            executor_for(1, address, timeout=0.5)
        assert not_closed() == []
    plain = Client.start
    for error in (KeyboardInterrupt, RuntimeError):

        def interrupted(client, error=error, **options):
            client._loop_runner.start()
            raise error

        monkeypatch.setattr(Client, "start", interrupted)
        with pytest.raises((error, WorkersError)):
            executor_for(1, "tcp://127.0.0.1:9", timeout=0.5)
        assert not_closed() == []
    monkeypatch.setattr(Client, "start", plain)
    assert not any(thread.name == "IO loop" for thread in threading.enumerate())


@pytest.mark.slow
def test_a_second_search_in_one_session_uses_a_cluster_that_the_first_did_not_reach(problem, cluster):
    with pytest.raises(WorkersError, match="no Dask scheduler answers"):
        executor_for(1, "tcp://127.0.0.1:9", timeout=0.5)
    with pytest.raises(WorkersError, match="has no worker"):
        executor_for(1, cluster.address, timeout=1)
    cluster.add_worker()
    gc.collect()
    for _ in range(2):
        with workers(executor_for(1, cluster.address, timeout=60)) as executor:
            executor.start(abs)
            assert executor.map([-1, -2]) == [1, 2]
        assert not_closed() == []


@pytest.fixture
def cluster(tmp_path):
    """A Dask scheduler that has started."""
    with started(tmp_path) as made:
        yield made


@pytest.mark.slow
def test_dask_workers_killed_on_the_way_and_one_that_joins_late_do_not_change_the_front(problem, cluster):
    expected, told = evolve(problem, OPTIONS), []
    toolbox = default_toolbox(problem, OPTIONS)
    mutate = toolbox.mutate
    toolbox.register("mutate", lambda genomes, generator: mutate(genomes, generator))  # Dask can send this one
    cluster.add_worker()
    cluster.add_worker()
    with workers(executor_for(1, cluster.address, timeout=60)) as executor:
        executor._client.wait_for_workers(2, timeout=60)

        def on_generation(record):
            told.append(record.generation)
            if record.generation == 8:
                cluster.add_worker()
                for _ in range(600):
                    if executor._client.scheduler_info()["n_workers"] == 2:
                        break
                    time.sleep(0.1)
            if record.generation in (4, 8):
                victim = cluster.workers[record.generation // 4 - 1]
                victim.end()
                assert victim.keeper.returncode == -signal.SIGKILL

        found = evolve(problem, OPTIONS, toolbox, executor=executor, on_generation=on_generation)
    assert told == list(range(13))
    assert [worker.keeper.poll() for worker in cluster.workers] == [-signal.SIGKILL, -signal.SIGKILL, None]
    assert same(found, expected)


@pytest.mark.slow
def test_a_dask_scheduler_that_goes_away_is_one_clear_error_and_nothing_is_lost(problem, cluster, tmp_path):
    path = tmp_path / "search.npz"
    cluster.add_worker()

    def on_generation(record):
        if record.generation == 3:
            cluster.scheduler.end()

    with workers(executor_for(1, cluster.address, timeout=60)) as executor, pytest.raises(WorkersError) as caught:
        evolve(problem, OPTIONS, executor=executor, on_generation=on_generation, checkpoint=path)
    text = str(caught.value)
    assert f"the Dask scheduler {cluster.address} went away in the middle" in text
    assert f"the checkpoint {path} holds generation 3: the same command with --resume goes on from there" in text
    assert caught.value.exit_code == 16
    assert same(evolve(problem, OPTIONS, checkpoint=path, resume=True), evolve(problem, OPTIONS))


@pytest.mark.slow
def test_a_cluster_without_workers_is_one_clear_error(cluster):
    with pytest.raises(WorkersError) as caught:
        executor_for(1, cluster.address, timeout=3)
    assert f"the Dask scheduler {cluster.address} has no worker, and none came within 3 s" in str(caught.value)
    assert f"start some: dask worker {cluster.address}" in str(caught.value)


@pytest.mark.slow
def test_workers_that_cannot_unpack_the_work_are_one_clear_error(cluster, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "only_here.py").write_text("def work(item):\n    return item\n")
    cluster.add_worker()
    monkeypatch.syspath_prepend(tmp_path / "here")
    from only_here import work

    with workers(executor_for(1, cluster.address, timeout=60)) as executor, pytest.raises(WorkersError) as caught:
        executor.start(work)
    assert "cannot take the work (ModuleNotFoundError: No module named 'only_here')" in str(caught.value)
    assert "operators of your own must be in a module that the workers can import, too" in str(caught.value)
