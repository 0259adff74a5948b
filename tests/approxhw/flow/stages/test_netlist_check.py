"""The netlist check: it compares every vector there is, and cannot pass for want of results."""

import json

import numpy as np
import pytest

from approxhw.backends.estimate import synthesise
from approxhw.common.errors import MismatchError
from approxhw.flow.stages.measure import check_netlist
from approxhw.sim import SimulationJob

REGISTERED = "module t(input wire clock, output reg [1:0] y);\n  always @(posedge clock) y <= 2'd2;\nendmodule\n"
PASSED = "module t(input wire [1:0] a, output wire [1:0] y);\n  assign y = a;\nendmodule\n"


def job(verilog, expected, *, latency=0, vectors=None):
    return SimulationJob(
        name="t",
        verilog=verilog,
        top="t",
        inputs=(("a", 2),) if vectors is not None else (),
        outputs=(("y", 2),),
        clock="clock" if latency else None,
        latency=latency,
        vectors={"a": np.array(vectors)} if vectors is not None else {},
        expected={"y": np.array(expected)},
    )


def test_a_registered_constant_is_compared(tmp_path):
    """Without inputs there is a single result: cutting the latency off it once left nothing to compare."""
    netlist = synthesise(REGISTERED, "t")
    assert check_netlist(job(REGISTERED, [2], latency=2), netlist, tmp_path / "m.json") == 1
    with pytest.raises(MismatchError, match="t: synthesised netlist: 1 of 1 vectors differ"):
        check_netlist(job(REGISTERED, [1], latency=2), netlist, tmp_path / "m.json")


def test_every_vector_is_compared_and_named(tmp_path):
    netlist = synthesise(PASSED, "t")
    assert check_netlist(job(PASSED, [0, 1, 2, 3], vectors=[0, 1, 2, 3]), netlist, tmp_path / "m.json") == 4
    with pytest.raises(MismatchError, match="2 of 4 vectors differ"):
        check_netlist(job(PASSED, [0, 1, 3, 2], vectors=[0, 1, 2, 3]), netlist, tmp_path / "m.json", {"seed": 7})
    kept = json.loads((tmp_path / "m.json").read_text())
    assert kept["seed"] == 7
    assert [(row["index"], row["expected"], row["seen"]) for row in kept["mismatches"]] == [(2, 3, 2), (3, 2, 3)]
