"""Simulators by name: ours, one of another package under the same benches, and those that are none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from toy_packages import make_package

from approxhw import sim
from approxhw.common.errors import OptionError, PluginError
from approxhw.sim.simulators.registry import BUILT_IN, Bench, simulator_named, simulator_names
from approxhw.sim.simulators.verilator import control
from approxhw.sim.streams import Stream, StreamJob, simulate_streams

IRIS = Path(__file__).resolve().parents[2] / "examples" / "iris.onnx"


def test_ours_are_known_by_name():
    assert simulator_names() == sim.SIMULATORS == ("icarus", "verilator")
    assert [simulator_named(name).name for name in BUILT_IN] == ["icarus", "verilator"]
    assert [simulator_named(name).compiled for name in BUILT_IN] == [False, True]


def test_one_that_is_not_there_is_told(designs, tmp_path):
    with pytest.raises(OptionError, match="simulator: modelsim is unknown\n    do: icarus or verilator"):
        sim.simulate(designs["adder"](), "modelsim", tmp_path / "out")
    words = np.zeros((1, 1), np.uint8)
    stream = Stream("s", 8, words, np.array([True]))
    with pytest.raises(OptionError, match="simulator: modelsim is unknown\n    do: icarus or verilator"):
        simulate_streams(StreamJob("j", "", "top", (stream,), stream), "modelsim", tmp_path)


def test_one_of_another_package_simulates_a_design(toy, icarus, tmp_path):
    ranges = ("--input-bits", 2, "--low", 0, "--high", 8)
    toy("compile", IRIS, *ranges, "-o", "out", "--no-simulate", "--no-estimate")
    (verdict,) = json.loads(toy("simulate", "out", "--simulator", "toy-icarus", "--json"))["simulation"]
    assert (verdict["simulator"], verdict["mismatches"]) == ("toy-icarus", 0)
    assert verdict["vectors"] == 256
    assert (tmp_path / "out" / "simulation" / "toy-icarus" / "run.log").is_file()
    said = toy("simulate", "out", "--simulator", "toy", code=2)
    assert "simulator: toy is unknown\n    do: icarus or verilator or toy-icarus" in said


CODE = """from approxhw.common.tools import find_icarus
from approxhw.sim.simulators.registry import Simulator
def prepare(bench, tool):
    raise RuntimeError("not today")
SIMULATOR = Simulator("{name}", "icarus", find_icarus, prepare)
"""


def test_one_that_fails_or_is_called_otherwise_names_its_package(designs, icarus, tmp_path, monkeypatch):
    entries = {"lazy": "lazy_module:SIMULATOR", "late": "lazy_module:SIMULATOR", "none": "lazy_module:CODE"}
    make_package(tmp_path / "site", "lazy", {"simulators": entries}, CODE.format(name="lazy") + "CODE = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(PluginError, match=r"lazy 2\.0, .*lazy: it failed preparing a bench: RuntimeError: not today"):
        sim.simulate(designs["adder"](), "lazy", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(PluginError, match="is not a Simulator: it is called lazy, the entry point late"):
        simulator_named("late")
    with pytest.raises(PluginError, match="is not a Simulator: it is of type int"):
        simulator_named("none")


def test_verilator_reaches_the_ports_alone(tmp_path):
    assert control(Bench(tmp_path, ("a.v",), "top", ("clk", "x"), ("y",))) == (
        "`verilator_config\n"
        'public_flat_rw -module "top" -var "clk"\n'
        'public_flat_rw -module "top" -var "x"\n'
        'public_flat_rd -module "top" -var "y"\n'
    )
