"""Designs on both simulators: right ones agree, wrong ones are found, and nothing that fails looks like a result."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from approxhw import sim
from approxhw.common.errors import (
    MismatchError,
    OptionError,
    OutputError,
    ToolFailedError,
    ToolNotFoundError,
    ToolTimeoutError,
)
from approxhw.sim.harness import make_harness


def _left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_combinational_designs_agree(designs, simulator, tmp_path):
    jobs = [designs[name]() for name in ("adder", "wide", "inverter", "constant")]
    steps = []
    result = sim.simulate(
        sim.bundle(jobs), simulator, tmp_path / "out", on_progress=lambda step, done, total: steps.append((step, done))
    )
    assert (result.vectors, result.mismatches, result.failing) == (256, 0, {})
    assert result.mismatch_file is None
    assert result.raise_on_mismatch() is result
    assert set(result.seconds) == {"build", "run"}
    assert all(seconds > 0 for seconds in result.seconds.values())
    assert steps[0] == ("build", 0)
    assert steps[-1] == ("run", 256)
    assert _left_in(tmp_path) == ["out"]
    assert _left_in(tmp_path / "out") == ["build.log", "design.v", "harness.v", "run.log", "simulation.json"]
    assert json.loads((tmp_path / "out" / "simulation.json").read_text())["vectors"] == 256


def test_nothing_of_pytest_is_loaded_beside_a_bench(designs, icarus, tmp_path, monkeypatch):
    """cocotb imports it: a module that stands in for it says as much as a bench needs."""
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    assert sim.simulate(designs["inverter"](), "icarus", tmp_path / "out").mismatches == 0
    imported = {
        step: {line.rpartition("|")[2].strip() for line in (tmp_path / "out" / f"{step}.log").read_text().splitlines()}
        for step in ("build", "run")
    }
    assert all("cocotb_tools.runner" in names for names in imported.values())
    assert {"cocotb.handle", "pytest"} <= imported["run"]
    assert not {"_pytest.fixtures", "_pytest.assertion.rewrite"} & imported["run"]
    assert not {"cocotb.handle", "asyncio", "pytest"} & imported["build"], "cocotb's runner does without cocotb itself"


def test_registered_design_agrees_and_folder_may_have_spaces(designs, simulator, tmp_path):
    result = sim.simulate(designs["registered"](), simulator, tmp_path / "two words" / "out")
    assert (result.vectors, result.mismatches) == (256, 0)


def test_wrong_latency_is_found(designs, icarus, tmp_path):
    result = sim.simulate(replace(designs["registered"](), latency=1), "icarus", tmp_path / "out")
    assert result.mismatches > 200


def test_design_without_inputs_is_run(designs, simulator, tmp_path):
    job = designs["constant"]()
    wrong = replace(job, expected={"y": np.array([5, 4, 5])})
    result = sim.simulate(wrong, simulator, tmp_path / "out")
    assert (result.vectors, result.mismatches) == (3, 1)
    row = json.loads(result.mismatch_file.read_text())["rows"][0]
    assert row == {"index": 1, "inputs": {}, "expected": {"y": 4}, "seen": {"y": 5}}


def test_injected_bug_is_found_with_vector_expected_and_seen(designs, simulator, tmp_path):
    # a bug in one vector of 256, in one design of two; the other one is right
    bug = designs["adder"]("(a == 4'd9 && b == 4'd13) ? 5'd3 : a + b")
    bundled = sim.bundle([designs["wide"](), bug])
    result = sim.simulate(bundled, simulator, tmp_path / "out")
    assert (result.vectors, result.mismatches) == (256, 1)
    (port,) = result.failing
    assert sim.bundle_ports(bundled)[port] == (1, "s")
    found = json.loads(result.mismatch_file.read_text())
    assert (found["simulator"], found["mismatches"], found["rows_kept"]) == (simulator, 1, 1)
    (row,) = found["rows"]
    assert row["index"] == 9 * 16 + 13
    assert (row["inputs"]["design1_a"], row["inputs"]["design1_b"]) == (9, 13)
    assert (row["expected"]["design1_s"], row["seen"]["design1_s"]) == (22, 3)
    assert row["inputs"]["design0_x"] == int(bundled.vectors["design0_x"][row["index"]])
    with pytest.raises(MismatchError) as error:
        result.raise_on_mismatch()
    assert f"bundle on {simulator}: 1 of 256 vectors differ" in str(error.value)
    assert str(tmp_path / "out" / "mismatches.json") in str(error.value)


def test_unknown_bits_are_mismatches(designs, icarus, tmp_path):
    job = designs["adder"]("{1'bz, 1'bx, 3'd1}")
    job = replace(job, vectors={k: v[:1] for k, v in job.vectors.items()}, expected={"s": np.array([1])})
    result = sim.simulate(job, "icarus", tmp_path / "out")
    assert (result.vectors, result.mismatches) == (1, 1)
    assert json.loads(result.mismatch_file.read_text())["rows"][0]["seen"] == {"s": "0bzx001"}


def test_all_mismatches_are_counted_and_some_are_kept(designs, icarus, tmp_path):
    job = designs["adder"]("~(a + b)")
    tiled = {name: np.tile(column, 5) for name, column in job.vectors.items()}
    result = sim.simulate(
        replace(job, vectors=tiled, expected={"s": np.tile(job.expected["s"], 5)}), "icarus", tmp_path / "out"
    )
    assert (result.vectors, result.mismatches, result.failing) == (1280, 1280, {"s": 1280})
    found = json.loads(result.mismatch_file.read_text())
    assert found["mismatches"] == 1280
    assert [row["index"] for row in found["rows"]] == list(range(1000))


def test_earlier_result_is_replaced_and_other_folders_are_not(designs, icarus, tmp_path):
    out = tmp_path / "out"
    sim.simulate(designs["adder"]("a - b"), "icarus", out)
    assert (out / "mismatches.json").is_file()
    sim.simulate(designs["adder"](), "icarus", out)
    assert not (out / "mismatches.json").exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="it exists and holds something else than a simulation"):
        sim.simulate(designs["adder"](), "icarus", other)
    assert (other / "thesis.tex").read_text() == "years of work"
    with pytest.raises(OutputError, match="it cannot be used"):
        sim.simulate(designs["adder"](), "icarus", other / "thesis.tex" / "out")
    with pytest.raises(OutputError, match="it exists and is no folder"):
        sim.simulate(designs["adder"](), "icarus", other / "thesis.tex")


def test_broken_verilog_ends_with_the_simulators_words(designs, simulator, tmp_path):
    job = designs["adder"]("a + * b")
    with pytest.raises(ToolFailedError) as error:
        sim.simulate(job, simulator, tmp_path / "out")
    text = str(error.value)
    assert f"{simulator} (build): exit code 1" in text
    assert "syntax error" in text
    assert "Traceback" not in text
    assert error.value.log == tmp_path / "out-failed" / "build.log"
    assert "syntax error" in error.value.log.read_text()
    assert _left_in(tmp_path) == ["out-failed"]


def test_missing_port_is_an_error_with_its_name(designs, simulator, tmp_path):
    job = designs["adder"]()
    job = replace(job, inputs=(*job.inputs, ("carry", 1)), vectors={**job.vectors, "carry": np.zeros(256, int)})
    with pytest.raises(ToolFailedError, match="carry"):
        sim.simulate(job, simulator, tmp_path / "out")


def test_bench_that_ends_early_is_an_error(designs, icarus, tmp_path):
    job = designs["adder"]()
    early = job.verilog.replace("endmodule", "  initial #100 $finish;\nendmodule")
    with pytest.raises(ToolFailedError) as error:
        sim.simulate(replace(job, verilog=early), "icarus", tmp_path / "out")
    assert "icarus (run): exit code 1" in str(error.value)
    assert "the bench did not run to its end: it wrote no results" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_simulation_that_hangs_is_ended(designs, icarus, tmp_path):
    job = designs["adder"]()
    endless = job.verilog.replace("endmodule", "  reg r;\n  initial while (1) r = 1'b1;\nendmodule")
    with pytest.raises(ToolTimeoutError) as error:
        sim.simulate(replace(job, verilog=endless), "icarus", tmp_path / "out", timeout=4)
    assert "icarus (run): not done after 4 s, ended" in str(error.value)
    assert error.value.log == tmp_path / "out-failed" / "run.log"
    assert _left_in(tmp_path) == ["out-failed"]


def test_no_time_at_all_is_a_timeout(designs, simulator, tmp_path):
    with pytest.raises(ToolTimeoutError, match="not done after 0 s"):
        sim.simulate(designs["adder"](), simulator, tmp_path / "out", timeout=0)


def test_interrupt_leaves_nothing(designs, icarus, tmp_path):
    def stop(step: str, done: int, total: int) -> None:
        if step == "run":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sim.simulate(designs["adder"](), "icarus", tmp_path / "out", on_progress=stop)
    assert _left_in(tmp_path) == []


def test_nothing_of_the_callers_environment_reaches_the_bench(designs, icarus, tmp_path, monkeypatch):
    for name, value in {"COCOTB_TEST_FILTER": "nothing", "WAVES": "1", "GUI": "1", "MAKEFLAGS": "-n"}.items():
        monkeypatch.setenv(name, value)
    assert sim.simulate(designs["adder"](), "icarus", tmp_path / "out").vectors == 256


def test_impossible_jobs_are_refused_with_every_reason(designs, tmp_path):
    job = designs["adder"]()
    with pytest.raises(OptionError) as error:
        sim.simulate(
            replace(
                job,
                top="adder; initial $system(0)",
                inputs=(("a", 4), ("b", 2), ("c", 0), ("s", 1)),
                latency=1,
                vectors={"a": np.zeros(3), "b": np.arange(256), "other": np.zeros(256, int)},
            ),
            "icarus",
            tmp_path / "out",
        )
    text = str(error.value)
    for why in (
        "adder; initial $system(0): is no plain Verilog identifier",
        "s: is the name of two ports",
        "c: has 0 bits",
        "latency: is 1 with no clock",
        "vectors[other]: there is no such port",
        "vectors[a]: has 3 values where other ports have 256",
        "vectors[b]: holds values from 0 to 255, but 2 bits hold 0 to 2^2 - 1",
        "vectors[c]: is missing",
    ):
        assert why in text, why
    nothing = {name: np.zeros(0, int) for name in ("a", "b")}
    with pytest.raises(OptionError, match="vectors: there are none, so nothing would be simulated"):
        sim.simulate(replace(job, vectors=nothing, expected={"s": np.zeros(0, int)}), "icarus", tmp_path / "out")
    with pytest.raises(OptionError, match="outputs: there are none, so nothing could be compared"):
        sim.simulate(replace(job, outputs=(), expected={}), "icarus", tmp_path / "out")
    with pytest.raises(OptionError, match="holds values that are no integers"):
        sim.simulate(replace(job, expected={"s": np.full(256, 0.5)}), "icarus", tmp_path / "out")
    with pytest.raises(OptionError, match="modelsim is unknown"):
        sim.simulate(job, "modelsim", tmp_path / "out")
    assert _left_in(tmp_path) == []


def test_full_disk_is_named_and_leaves_nothing(designs, icarus, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("approxhw.sim.running.write_rows", full)
        with pytest.raises(OutputError, match=r"it cannot be written \(No space left on device\)"):
            sim.simulate(designs["adder"](), "icarus", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr("approxhw.sim.running.shutil.copyfile", full)
        with pytest.raises(OutputError, match=f"{tmp_path}/out: it cannot be written"):
            sim.simulate(designs["adder"](), "icarus", tmp_path / "out")
    assert _left_in(tmp_path) == []


def test_verilator_refuses_paths_that_make_cannot_build_under(designs, verilator, tmp_path, monkeypatch):
    (tmp_path / "my temp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "my temp"))
    with pytest.raises(ToolNotFoundError, match=r"GNU make cannot build with a space in a path; move .*my temp"):
        sim.simulate(designs["adder"](), "verilator", tmp_path / "out")


@pytest.mark.parametrize("bits", [1, 31, 33, 64, 65, 200])
def test_harness_cuts_ports_into_chunks_of_whole_ports(bits):
    ports = tuple((f"x{i}", bits) for i in range(20))
    job = sim.SimulationJob("n", "module n; endmodule", "n", ports, (("y", 3), ("z", bits)))
    harness = make_harness(job)
    assert sum(harness.stimulus) == 20 * bits
    assert max(harness.stimulus) <= max(bits, 64)
    assert len(harness.stimulus) == -(-20 // max(64 // bits, 1))
    assert harness.verilog.count("input [") == len(harness.stimulus)
    if bits == 33:
        assert ".x1(stimulus1[32:0])" in harness.verilog
    if bits == 1:
        assert ".x0(stimulus0[19:19])" in harness.verilog


def test_importing_sim_is_light():
    code = "import sys, approxhw.sim; print([m for m in ('cocotb', 'numba', 'amaranth', 'onnx') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_release_of_cocotb_that_asks_for_more_is_loaded_whole():
    code = (
        "import sys\n"
        "from approxhw.sim import worker\n"
        "stand_in = worker._do_without_cocotb\n"
        "def less():\n"
        "    stand_in()\n"
        "    del sys.modules['cocotb.types._logic'].Logic\n"
        "worker._do_without_cocotb = less\n"
        "print(type(worker._runner('icarus')).__name__, hasattr(sys.modules['cocotb'], '__version__'))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "Icarus True\n"
    )
