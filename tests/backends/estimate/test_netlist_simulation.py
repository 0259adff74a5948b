"""The bit-parallel netlist simulator against a plain one: one cell, one vector, one Python integer at a time."""

from __future__ import annotations

import numpy as np
import pytest

from approxhw.backends.estimate import Netlist, simulate_activity, simulate_netlist, synthesise
from approxhw.backends.estimate.estimator import uniform_vectors
from approxhw.backends.estimate.library import logic
from approxhw.backends.estimate.netlist.netlist import Instance
from approxhw.common.errors import InvalidDataError, LibraryError

Vectors = dict[str, np.ndarray]


def plainly(netlist: Netlist, vectors: Vectors) -> tuple[dict[str, list[int]], list[dict[str, int]], dict[int, int]]:
    """Outputs, states of every instance, toggles of every net: sweep over all cells until nothing moves."""
    cells = [netlist.library.cells[instance.cell] for instance in netlist.instances]
    stored = {}
    for number, (instance, cell) in enumerate(zip(netlist.instances, cells)):
        if cell.flip_flop is not None:
            start = {netlist.initial.get(instance.pins[p]) for p in cell.functions if p in instance.pins} - {None}
            stored[number] = max(start, default=0)
    outputs: dict[str, list[int]] = {port.name: [] for port in netlist.outputs}
    states: list[dict[str, int]] = [{} for _ in cells]
    toggles = dict.fromkeys(range(netlist.net_count), 0)
    before: list[int] | None = None
    for t in range(len(next(iter(vectors.values())))):
        nets = [0] * netlist.net_count
        nets[1] = 1
        for port in netlist.data_inputs:
            for position, net in enumerate(port.nets):
                nets[net] = int(vectors[port.name][t]) >> position & 1
        for _ in range(len(cells) + 2):
            old = list(nets)
            for number, (instance, cell) in enumerate(zip(netlist.instances, cells)):
                seen = {pin: nets[net] for pin, net in instance.pins.items()}
                flop = cell.flip_flop
                if flop is not None:
                    stored[number] = held(flop, seen, stored[number])
                    seen |= {flop.state: stored[number], flop.inverse: 1 - stored[number]}
                for pin, function in cell.functions.items():
                    if pin in instance.pins:
                        nets[instance.pins[pin]] = logic.evaluate_expression(function, seen, 1)
            if nets == old:
                break
        for port in netlist.outputs:
            outputs[port.name].append(sum(nets[net] << position for position, net in enumerate(port.nets)))
        following = {}
        for number, (instance, cell) in enumerate(zip(netlist.instances, cells)):
            seen = {pin: nets[net] for pin, net in instance.pins.items()}
            flop = cell.flip_flop
            if flop is not None:
                seen |= {flop.state: stored[number], flop.inverse: 1 - stored[number]}
                following[number] = held(flop, seen, logic.evaluate_expression(flop.data, seen, 1))
            state = "".join(str(seen[pin]) for pin in cell.state_pins)
            states[number][state] = states[number].get(state, 0) + 1
        stored |= following
        if before is not None:
            for net in toggles:
                toggles[net] += nets[net] != before[net]
        before = nets
    return outputs, states, toggles


def held(flop, seen: dict[str, int], value: int) -> int:
    if flop.preset is not None and logic.evaluate_expression(flop.preset, seen, 1):
        value = 1
    if flop.clear is not None and logic.evaluate_expression(flop.clear, seen, 1):
        value = 0
    return value


CIRCUITS = {
    "adder": "module t(input [3:0] a, b, output [4:0] s); assign s = a + b; endmodule",
    "multiplier": "module t(input [3:0] a, b, output [7:0] s); assign s = a * b; endmodule",
    "signed": "module t(input signed [4:0] a, b, output signed [9:0] s, output l); "
    "assign s = a * b; assign l = a < b; endmodule",
    "wires": "module t(input [2:0] a, output [2:0] b, output c, d, output [1:0] e); "
    "assign b = a; assign c = 1; assign d = 0; assign e = {a[0], a[0]}; endmodule",
    "pipeline": "module t(input clk, input [3:0] a, b, output reg [4:0] s); reg [3:0] x, y; "
    "always @(posedge clk) begin x <= a; y <= b; s <= x + y; end endmodule",
    "counter": "module t(input clk, input [2:0] a, output reg [4:0] n); "
    "initial n = 9; always @(posedge clk) n <= n + a; endmodule",
    "reset": "module t(input clk, rst, input [2:0] a, output reg [2:0] q, output [2:0] z); "
    "assign z = ~q; always @(posedge clk or posedge rst) if (rst) q <= 0; else q <= q ^ a; endmodule",
    "reset pipeline": "module t(input clk, rst, input [2:0] a, output reg [2:0] q, r); "
    "always @(posedge clk or negedge rst) if (!rst) begin q <= 0; r <= 0; end else begin q <= a; r <= q; end endmodule",
    "set": "module t(input clk, set, input a, output reg q); "
    "always @(posedge clk or posedge set) if (set) q <= 1; else q <= a; endmodule",
    "enable": "module t(input clk, en, input [1:0] a, output reg [1:0] q); "
    "always @(posedge clk) if (en) q <= a; endmodule",
    "falling": "module t(input clk, input [2:0] a, output reg [2:0] q); always @(negedge clk) q <= ~a; endmodule",
    "rom": "module t(input [3:0] a, output reg [4:0] q); always @* case (a) 0: q = 3; 1: q = 17; 2: q = 9; 3: q = 30; "
    "4: q = 1; 5: q = 8; 6: q = 22; 7: q = 5; 8: q = 6; 9: q = 7; default: q = 31; endcase endmodule",
    "memory": "module t(input clk, we, input [1:0] w, r, input [2:0] d, output [2:0] q); reg [2:0] m [0:3]; "
    "assign q = m[r]; always @(posedge clk) if (we) m[w] <= d; endmodule",
}  # fmt: skip


@pytest.mark.parametrize("library", ["egfet", "sky130"])
@pytest.mark.parametrize("name", CIRCUITS)
def test_equals_plain_evaluation(name: str, library: str) -> None:
    netlist = synthesise(CIRCUITS[name], "t", library)
    vectors = uniform_vectors(netlist, 150, seed=len(name))  # two words and a part
    outputs, states, toggles = plainly(netlist, vectors)
    fast, activity = simulate_activity(netlist, vectors)
    again = simulate_netlist(netlist, vectors)
    for port, expected in outputs.items():
        assert fast[port].tolist() == expected
        assert again[port].tolist() == expected
    assert list(activity.states) == states
    assert activity.toggles == toggles
    assert activity.vectors == 150


def test_exhaustive_over_eight_bits() -> None:
    netlist = synthesise(CIRCUITS["multiplier"], "t")
    a, b = (part.ravel() for part in np.meshgrid(np.arange(16), np.arange(16)))
    assert np.array_equal(simulate_netlist(netlist, {"a": a, "b": b})["s"], a * b)


def test_registers_hold_across_blocks_and_chunks() -> None:
    netlist = synthesise(CIRCUITS["pipeline"], "t")
    count = (1 << 16) + 64 * 256 + 13
    generator = np.random.default_rng(4)
    a, b = generator.integers(0, 16, (2, count))
    expected = np.concatenate([[0, 0], (a + b)[:-2]])
    for outputs in (simulate_netlist(netlist, {"a": a, "b": b}), simulate_activity(netlist, {"a": a, "b": b})[0]):
        assert np.array_equal(outputs["s"], expected)
    feedback = synthesise(CIRCUITS["counter"], "t")
    small = generator.integers(0, 8, count)
    assert np.array_equal(
        simulate_netlist(feedback, {"a": small})["n"], (9 + np.concatenate([[0], small[:-1].cumsum()])) % 32
    )


def test_wide_ports_in_python_integers() -> None:
    netlist = synthesise("module t(input [99:0] a, input [63:0] b, output [100:0] s, output [63:0] c); "
                         "assign s = a + b; assign c = ~b; endmodule", "t")  # fmt: skip
    vectors = uniform_vectors(netlist, 70)
    assert vectors["a"].dtype == object
    outputs = simulate_netlist(netlist, vectors)
    assert outputs["s"].tolist() == [int(a) + int(b) for a, b in zip(vectors["a"], vectors["b"])]
    assert outputs["c"].tolist() == [(1 << 64) - 1 - int(b) for b in vectors["b"]]
    assert max(outputs["s"]) >> 99


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, object])
def test_integer_types_of_vectors(dtype: type) -> None:
    netlist = synthesise(CIRCUITS["adder"], "t")
    codes = np.arange(16).astype(dtype)
    assert simulate_netlist(netlist, {"a": codes, "b": codes})["s"].tolist() == [2 * i for i in range(16)]


def test_all_problems_of_vectors_at_once() -> None:
    netlist = synthesise(CIRCUITS["adder"], "t")
    with pytest.raises(InvalidDataError) as caught:
        simulate_netlist(netlist, {"a": np.array([0.5]), "c": np.array([1])})
    text = str(caught.value)
    assert "3 problems" in text
    assert "port c: is no data input; there are: a, b" in text
    assert "port a: needs a 1-D array of integers, not float64(1,)" in text
    assert "port b: has no vectors" in text


@pytest.mark.parametrize("bad", [16, -1, 1 << 40])
def test_codes_that_the_port_cannot_hold(bad: int) -> None:
    netlist = synthesise(CIRCUITS["adder"], "t")
    for codes in (np.array([3, bad]), np.array([3, bad], dtype=object)):
        with pytest.raises(InvalidDataError, match=r"port b: holds a code outside 0 … 2\^4 − 1"):
            simulate_netlist(netlist, {"a": np.array([0, 1]), "b": codes})


def test_ports_of_different_lengths() -> None:
    netlist = synthesise(CIRCUITS["adder"], "t")
    with pytest.raises(InvalidDataError, match=r"different numbers of them: \[1, 2\]"):
        simulate_netlist(netlist, {"a": np.array([0]), "b": np.array([1, 2])})


def test_loop_of_gates_is_named() -> None:
    netlist = synthesise("module t(input a, input b, output q); assign q = ~(a & b); endmodule", "t")
    (gate,) = netlist.instances
    output = next(port.nets[0] for port in netlist.outputs)
    pins = {pin: output if net == 2 else net for pin, net in gate.pins.items()}
    looped = Netlist(**{**vars(netlist), "instances": (Instance(gate.name, gate.cell, pins),)})
    with pytest.raises(LibraryError, match="a loop of 1 gates without a register"):
        simulate_netlist(looped, {"a": np.array([0]), "b": np.array([0])})


def test_two_drivers_of_a_net_are_named() -> None:
    netlist = synthesise(CIRCUITS["adder"], "t")
    first = netlist.instances[0]
    doubled = Netlist(**{**vars(netlist), "instances": (*netlist.instances, Instance("twin", first.cell, first.pins))})
    with pytest.raises(LibraryError, match="cell twin: drives a net that something else drives too"):
        simulate_netlist(doubled, {"a": np.array([0]), "b": np.array([0])})


@pytest.mark.parametrize(("body", "says"), [
    ("always @(posedge a) q <= b; always @(negedge a) r <= b;", "are on several clocks: "),
    ("always @(posedge a) q <= c; always @(posedge b) r <= c;", "rising edge of a, rising edge of b"),
    ("wire g = a & b; always @(posedge g) q <= c; always @* r = c;", "has a clock that is no input port"),
])  # fmt: skip
def test_clocks_without_a_meaning_of_one_vector_a_clock(body: str, says: str) -> None:
    netlist = synthesise(f"module t(input a, b, c, output reg q, r); {body} endmodule", "t")
    with pytest.raises(LibraryError) as caught:
        simulate_netlist(netlist, {"c": np.array([0])})
    assert says in str(caught.value)


def test_circuit_without_inputs() -> None:
    netlist = synthesise("module t(output [1:0] y); assign y = 2; endmodule", "t")
    assert simulate_netlist(netlist, {})["y"].tolist() == [2]
    assert simulate_activity(netlist, {})[1].states == ()


ENABLED = """library (enabled) { time_unit : "1ns"; leakage_power_unit : "1nW"; capacitive_load_unit (1, pf); nom_voltage : 1;
  cell (INV) { area : 1; cell_leakage_power : 1;
    pin (A) { direction : input; capacitance : 0.001; } pin (Y) { direction : output; function : "!A"; } }
  cell (NAND) { area : 2; cell_leakage_power : 1; pin (A) { direction : input; capacitance : 0.001; }
    pin (B) { direction : input; capacitance : 0.001; } pin (Y) { direction : output; function : "!(A B)"; } }
  cell (FF) { area : 6; cell_leakage_power : 1; ff (IQ, IQN) { clocked_on : "C"; next_state : "D"; }
    pin (C) { direction : input; capacitance : 0.001; } pin (D) { direction : input; capacitance : 0.001; }
    pin (Q) { direction : output; function : "IQ"; } }
  cell (FFE) { area : 7; cell_leakage_power : 1; ff (IQ, IQN) { clocked_on : "C"; next_state : "(D E) | (IQ !E)"; }
    pin (C) { direction : input; capacitance : 0.001; } pin (D) { direction : input; capacitance : 0.001; }
    pin (E) { direction : input; capacitance : 0.001; } pin (Q) { direction : output; function : "IQ"; } } }
"""


def test_a_register_with_an_enable_keeps_what_it_has(tmp_path) -> None:
    """Its next state reads its own, though no net leads back to it."""
    (tmp_path / "enabled.lib").write_text(ENABLED)
    netlist = synthesise(
        "module t(input clk, e, input [3:0] a, output reg [3:0] q); reg [3:0] p;\n"
        "always @(posedge clk) begin p <= a; if (e) q <= p; end endmodule",
        "t",
        tmp_path / "enabled.lib",
    )
    assert netlist.cells_by_type()["FFE"] == 4
    generator = np.random.default_rng(6)
    vectors = {"e": generator.integers(0, 2, 300), "a": generator.integers(0, 16, 300)}
    expected, p, q = [], 0, 0
    for enable, a in zip(vectors["e"].tolist(), vectors["a"].tolist()):
        expected.append(q)
        p, q = a, p if enable else q
    assert simulate_netlist(netlist, vectors)["q"].tolist() == expected
    outputs, activity = simulate_activity(netlist, vectors)
    _, states, toggles = plainly(netlist, vectors)
    assert outputs["q"].tolist() == expected
    assert (list(activity.states), activity.toggles) == (states, toggles)
