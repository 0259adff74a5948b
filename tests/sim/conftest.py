"""Small hand-written designs and the two simulators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from approxhw.sim import SimulationJob


@pytest.fixture(params=["icarus", "verilator"])
def simulator(request: pytest.FixtureRequest) -> str:
    """Each simulator in turn; one that is missing fails in CI and is a named skip elsewhere."""
    request.getfixturevalue(request.param)
    return request.param


def _adder(operator: str = "a + b") -> SimulationJob:
    """4 + 4 bits, exhaustive."""
    a, b = (axis.ravel() for axis in np.meshgrid(np.arange(16), np.arange(16), indexing="ij"))
    verilog = f"module adder(input [3:0] a, input [3:0] b, output [4:0] s);\n  assign s = {operator};\nendmodule\n"
    ports = (("a", 4), ("b", 4)), (("s", 5),)
    return SimulationJob("adder", verilog, "adder", *ports, vectors={"a": a, "b": b}, expected={"s": a + b})


def _registered_adder() -> SimulationJob:
    """The same with registered inputs and outputs: two edges."""
    plain = _adder()
    verilog = """module adder(input clk, input [3:0] a, input [3:0] b, output reg [4:0] s);
  reg [3:0] x, y;
  always @(posedge clk) begin x <= a; y <= b; s <= x + y; end
endmodule
"""
    ports = plain.inputs, plain.outputs
    columns = {"vectors": plain.vectors, "expected": plain.expected}
    return SimulationJob("registered adder", verilog, "adder", *ports, clock="clk", latency=2, **columns)


def _wide() -> SimulationJob:
    """Two outputs from 100 bits: the halves swapped, and the parity (one bit)."""
    source = np.random.default_rng(7)
    values = np.array([0, (1 << 100) - 1, *(int.from_bytes(source.bytes(12), "big") for _ in range(50))], dtype=object)
    swapped = np.array([(value >> 50) | ((value & ((1 << 50) - 1)) << 50) for value in values], dtype=object)
    verilog = """module wide(input [99:0] x, output [99:0] y, output odd);
  assign y = {x[49:0], x[99:50]};
  assign odd = ^x;
endmodule
"""
    expected = {"y": swapped, "odd": np.array([value.bit_count() % 2 for value in values])}
    ports = (("x", 100),), (("y", 100), ("odd", 1))
    return SimulationJob("wide", verilog, "wide", *ports, vectors={"x": values}, expected=expected)


def _inverter() -> SimulationJob:
    """One bit in, one bit out, through a submodule whose name other designs use too."""
    verilog = """module invert(input x, output y);
  adder inner(.a(x), .s(y)); // not the adder of 4 bits
endmodule
module adder(input a, output s);
  assign s = ~a;
endmodule
"""
    columns = {"vectors": {"x": np.array([0, 1])}, "expected": {"y": np.array([1, 0])}}
    return SimulationJob("inverter", verilog, "invert", (("x", 1),), (("y", 1),), **columns)


def _constant() -> SimulationJob:
    """A design without inputs."""
    verilog = "module constant(output [2:0] y);\n  assign y = 3'd5;\nendmodule\n"
    return SimulationJob("constant", verilog, "constant", (), (("y", 3),), expected={"y": np.array([5])})


@pytest.fixture(scope="session")
def designs() -> dict[str, Callable[..., SimulationJob]]:
    """Makers of small jobs by name."""
    makers = {"adder": _adder, "registered": _registered_adder, "wide": _wide, "inverter": _inverter}
    return {**makers, "constant": _constant}
