"""Circuits with registers that nobody gave vectors for: clock and resets are found, let go, and told."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw.backends.estimate import Netlist, estimate_netlist, synthesise
from approxhw.backends.estimate.netlist.driving import HELD, drive, find_resets

SOURCE = """module t(input clk, arst_n, init, srst, soft_reset_n, pixel_rst, en, input [3:0] d, output reg [3:0] q, r, s, u, v);
  always @(posedge clk or negedge arst_n) if (!arst_n) q <= 0; else q <= q + d;
  always @(posedge clk or posedge init) if (init) r <= 4'd5; else if (en) r <= r ^ d;
  always @(posedge clk) if (srst) s <= 0; else s <= s + d;
  always @(posedge clk) if (!soft_reset_n) u <= 0; else u <= u + d;
  always @(posedge clk) v <= d ^ {4{pixel_rst}};
endmodule
"""


@pytest.fixture(scope="module")
def netlist() -> Netlist:
    return synthesise(SOURCE, "t", "sky130")


def test_resets_are_found_by_use_and_by_name(netlist: Netlist) -> None:
    found = {reset.port: (reset.level, reset.asynchronous) for reset in find_resets(netlist)}
    found.pop("pixel_rst", None)  # data by another name: either level holds as much
    assert found == {"arst_n": (0, True), "init": (1, True), "srst": (1, False), "soft_reset_n": (0, False)}


def test_resets_are_let_go_and_told(netlist: Netlist) -> None:
    driving = drive(netlist, 100, seed=1)
    for port, level in (("arst_n", 0), ("init", 1), ("srst", 1), ("soft_reset_n", 0)):
        assert np.array_equal(driving.vectors[port], np.where(np.arange(100) < HELD, level, 1 - level))
    assert set(driving.vectors["en"].tolist()) == {0, 1}
    assert driving.by_port["clk"] == "clock: one vector a cycle"
    assert driving.by_port["arst_n"] == "asynchronous reset, active low: held for the first 2 vectors, then let go"
    assert driving.by_port["srst"] == "synchronous reset, active high: held for the first 2 vectors, then let go"
    assert driving.by_port["d"] == "uniform at random"
    assert "; clock clk; held for 2 vectors, then let go: arst_n (asynchronous reset, active low), " in driving.words
    found = estimate_netlist(netlist)
    assert found.as_json()["driven"] == dict(found.driven)
    assert found.driven["init"].startswith("asynchronous reset, active high")


def test_without_a_reset_that_is_told() -> None:
    source = "module t(input ck, en, d, output reg q); always @(posedge ck) if (en) q <= d; endmodule"
    found = estimate_netlist(synthesise(source, "t"))
    assert found.states_from == (
        "10000 seeded uniform vectors; clock ck; no reset was found: every other input at random, enables too"
    )
    plain = estimate_netlist(synthesise("module t(input a, output y); assign y = ~a; endmodule", "t"))
    assert (plain.states_from, plain.driven) == ("10000 seeded uniform vectors", {})


def test_given_vectors_stay_as_they_are(netlist: Netlist) -> None:
    vectors = {port.name: np.zeros(4, dtype=np.int64) for port in netlist.data_inputs}
    found = estimate_netlist(netlist, vectors=vectors)
    assert (found.states_from, found.driven) == ("4 given vectors", {})
