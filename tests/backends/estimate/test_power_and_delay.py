"""Estimates against figures worked out by hand from the cell tables."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from approxhw.backends.estimate import estimate, estimate_hierarchy, estimate_netlist, load_library, synthesise
from approxhw.backends.estimate.netlist.simulator import simulate_activity
from approxhw.common.errors import InvalidDataError, LibraryError, OptionError

NAND = "module t(input a, b, output y); assign y = ~(a & b); endmodule"
MULTIPLIER = "module mul(input [5:0] a, b, output [11:0] p); assign p = a * b; endmodule"


def nand_vectors(*pairs: tuple[int, int]) -> dict[str, np.ndarray]:
    return {"a": np.array([a for a, _ in pairs]), "b": np.array([b for _, b in pairs])}


def test_static_power_of_one_nand_by_state() -> None:
    powers = load_library("egfet").cells["NAND2X1"].powers
    vectors = nand_vectors((1, 1), (1, 1), (0, 0), (0, 0))
    cost = estimate(NAND, "t", vectors=vectors, vectors_from="four rows", frequency=0)
    assert cost.static_power_mw == pytest.approx((2 * powers["11"] + 2 * powers["00"]) / 4 * 1e-3)
    assert cost.dynamic_power_mw == 0
    assert cost.power_mw == cost.static_power_mw
    assert (cost.states_from, cost.vectors) == ("four rows", 4)
    lazy = estimate(NAND, "t", vectors=nand_vectors((0, 0)))
    assert lazy.static_power_mw == pytest.approx(powers["00"] * 1e-3)
    assert lazy.states_from == "1 given vectors"


def test_states_keep_the_pins_apart() -> None:
    """Of 01 and 10 the NAND burns different power: which pin a port got is read from the netlist."""
    netlist = synthesise(NAND, "t")
    (instance,) = netlist.instances
    first = next(port.name for port in netlist.inputs if port.nets[0] == instance.pins["A1"])
    vectors = {name: np.array([int(name == first)]) for name in "ab"}
    assert estimate_netlist(netlist, vectors=vectors).static_power_mw == pytest.approx(0.391073e-3)


def test_dynamic_power_is_toggles_times_half_cv_squared() -> None:
    cell = load_library("egfet").cells["NAND2X1"]
    vectors = nand_vectors((0, 0), (1, 0), (1, 0), (0, 1), (0, 1))  # a toggles 2 times, b once, in 4 steps
    netlist = synthesise(NAND, "t")
    (instance,) = netlist.instances
    load = {
        port.name: cell.capacitances[pin]
        for port in netlist.inputs
        for pin in cell.inputs
        if instance.pins[pin] == port.nets[0]
    }
    cost = estimate_netlist(netlist, vectors=vectors, frequency=1000.0)
    expected = (2 / 4 * load["a"] + 1 / 4 * load["b"]) * 0.5 * 1.0**2 * 1000.0 * 1e3
    assert cost.dynamic_power_mw == pytest.approx(expected)
    assert estimate_netlist(netlist, vectors=vectors).frequency_hz == 5.0


def test_clock_toggles_twice_a_vector_and_flops_rest_low() -> None:
    source = "module t(input clk, d, output reg q); always @(posedge clk) q <= d; endmodule"
    cell = load_library("egfet").cells["DFFX1"]
    cost = estimate(source, "t", vectors={"d": np.array([1, 1, 0])}, frequency=5.0)
    # stored value before each clock: 0, 1, 1; so the states D Q are 10, 11, 01
    assert cost.static_power_mw == pytest.approx(sum(cell.powers[s] for s in ("10", "11", "01")) / 3 * 1e-3)
    expected = (2 * cell.capacitances["CP"] + 1 / 2 * cell.capacitances["D"]) * 0.5 * 5.0 * 1e3
    assert cost.dynamic_power_mw == pytest.approx(expected)


def test_state_that_the_library_lacks_leaves_the_power_unknown_never_a_mean() -> None:
    library = load_library("egfet")
    cell = library.cells["NAND2X1"]
    known = {state: power for state, power in cell.powers.items() if state not in ("01", "11")}
    gap = replace(library, cells={**library.cells, "NAND2X1": replace(cell, powers=known)})
    assert estimate(NAND, "t", gap, vectors=nand_vectors((0, 0))).static_power_mw > 0
    one = estimate(NAND, "t", gap, vectors=nand_vectors((1, 1)))
    assert (one.power_mw, one.area_mm2) == (None, cell.area)
    with pytest.raises(LibraryError) as caught:
        one.known_power_mw()
    assert "cell NAND2X1: has no static power for state A1=1 A2=1, which the vectors reach" in str(caught.value)
    assert len(estimate(NAND, "t", gap, vectors=nand_vectors((1, 1), (0, 1), (1, 0))).power_unknown) == 2


def test_delay_follows_rise_and_fall() -> None:
    cells = load_library("egfet").cells
    nand, inverter = cells["NAND2X1"].delays["Y"], cells["INVX1"].delays["Y"]
    cost = estimate(NAND, "t")
    assert cost.delay_ms == max(nand)
    assert cost.critical_path[1:] == ("NAND2X1 -> y",)
    netlist = synthesise("module t(input a, b, output y); assign y = a & b; endmodule", "t")
    assert netlist.cells_by_type() == {"AND2X1": 1}
    chain = synthesise("module t(input a, b, c, output y); assign y = ~(~(a & b) & c); endmodule", "t")
    kinds = chain.cells_by_type()
    assert kinds == {"NAND2X1": 2}
    # a rise at the end needs a fall before it: not twice the slower edge
    assert estimate_netlist(chain).delay_ms == pytest.approx(max(nand[1] + nand[0], nand[0] + nand[1]))
    assert inverter[0] > inverter[1]


def test_delay_of_registers_goes_from_clock_to_data() -> None:
    source = "module t(input clk, d, output reg q); reg p; always @(posedge clk) begin p <= d; q <= ~p; end endmodule"
    cells = load_library("egfet").cells
    flop, inverter = cells["DFFX1"].delays, cells["INVX1"].delays["Y"]
    cost = estimate(source, "t")
    slowest = max(flop[pin][0] + inverter[1] for pin in flop), max(flop[pin][1] + inverter[0] for pin in flop)
    assert flop["Q"][0] <= cost.delay_ms <= max(slowest)
    assert cost.critical_path[0].startswith("DFFX1 -> ")


def test_printed_circuits_burn_three_to_four_milliwatts_per_square_centimetre() -> None:
    cost = estimate(MULTIPLIER, "mul")
    assert 3.0 < cost.power_mw / (cost.area_mm2 / 100) < 4.0
    assert cost.static_power_mw > 0.95 * cost.power_mw
    low = estimate(MULTIPLIER, "mul", "egfet_0v6")
    assert low.power_mw < 0.4 * cost.power_mw
    assert low.delay_ms > cost.delay_ms


def test_states_from_names_the_vectors_and_the_seed_decides_them() -> None:
    first, again, other = (estimate(MULTIPLIER, "mul", seed=seed) for seed in (1, 1, 2))
    assert first.states_from == "10000 seeded uniform vectors"
    assert first.vectors == 10_000
    assert first.power_mw == again.power_mw
    assert first.power_mw != other.power_mw
    assert first.power_mw == pytest.approx(other.power_mw, rel=0.02)


def test_json_is_plain_and_complete() -> None:
    steps: list[str] = []
    cost = estimate(MULTIPLIER, "mul", on_progress=steps.append)
    assert steps == ["synthesise", "simulate the netlist"]
    content = json.loads(json.dumps(cost.as_json()))
    assert {"library", "area_mm2", "power_mw", "delay_ms", "cells", "cells_by_type", "states_from"} <= set(content)
    assert content["cells"] == sum(content["cells_by_type"].values())
    assert content["power_mw"] == content["static_power_mw"] + content["dynamic_power_mw"]


def test_hierarchy_adds_up() -> None:
    source = f"""{MULTIPLIER}
    module t(input [5:0] a, b, c, output [11:0] p, output [12:0] s); wire [11:0] q;
      mul first(a, b, p); mul second(b, c, q); assign s = p + q; endmodule"""
    parts = estimate_hierarchy(source, "t")
    netlist = synthesise(source, "t", flatten=False)
    whole = estimate_netlist(netlist)
    assert parts.area_mm2 == pytest.approx(whole.area_mm2)
    assert parts.power_mw == pytest.approx(whole.power_mw)
    first, second, top = (parts.below(*path) for path in (("first",), ("second",), ()))
    assert first[0] == second[0] > 0
    assert first[1] != second[1]  # other vectors
    assert top[2] == whole.cells
    assert {part.path: part.module for part in parts.parts} == {(): "t", ("first",): "mul", ("second",): "mul"}


def test_vectors_that_do_not_fit() -> None:
    with pytest.raises(InvalidDataError, match="port b: has no vectors"):
        estimate(NAND, "t", vectors={"a": np.array([1])})
    with pytest.raises(OptionError, match="vectors: there are none"):
        estimate(NAND, "t", vectors=nand_vectors())
    with pytest.raises(OptionError, match="frequency: -1 is no rate"):
        estimate(NAND, "t", frequency=-1)


def test_toggles_of_one_vector_are_none() -> None:
    _, activity = simulate_activity(synthesise(NAND, "t"), nand_vectors((1, 1)))
    assert sum(activity.toggles.values()) == 0
