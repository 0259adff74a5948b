"""The simulation of one element of a matrix engine: a stream of codes, each multiplied by the one before it, and states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.float_mac import from_word, step, to_word
from approxhw.sim.job import SimulationJob

LATENCY = 6
"""Clocks from a vector to its result, whatever the element's depth: the bench makes up the difference."""


def element_job(
    verilog: str,
    decode_parameters: dict[str, int],
    mac: FloatMac,
    depth: int,
    codes: Sequence[int],
    states: Sequence[int],
    expected: Sequence[int] | None = None,
) -> SimulationJob:
    """Return the simulation of ``mac_element`` with its default parameters, and ``float_decode``, in *verilog*.

    Vector t is: the weight ``codes[t]``, the operand ``codes[t + 1]`` (the last one: itself), the state word ``states[t]``.
    ``expected``: the state words that come out, from the reference by default; what means nothing beside nan and infinity
    is zero in them, and set so in what is seen.
    """
    bits = mac.accumulator_bits
    if expected is None:
        operands = [*codes[1:], codes[-1]]
        expected = [
            to_word(step(mac, from_word(state, bits), operand, weight), bits)
            for operand, weight, state in zip(operands, codes, states, strict=True)
        ]
    width = bits + 13
    columns = {"code": np.array(codes, dtype=np.int64), "state": np.array(states, dtype=np.int64)}
    return SimulationJob(
        f"{mac} in {depth} stages",
        verilog + _bench(decode_parameters, mac, depth),
        "element_bench",
        (("code", mac.code.bits), ("state", width)),
        (("result", width),),
        clock="clock",
        latency=LATENCY,
        vectors=columns,
        expected={"result": np.array(expected, dtype=np.int64)},
    )


def _bench(decode_parameters: dict[str, int], mac: FloatMac, depth: int) -> str:
    """Return the module between bench and element: it decodes, loads every operand as the next one's weight, and waits."""
    w, early = mac.accumulator_bits, int(depth > 2)
    before, after = 2 + early, LATENCY - depth - 2
    parameters = ", ".join(f".{name}({value})" for name, value in decode_parameters.items())
    operand = decode_parameters["OPERAND_EXPONENT_BITS"] + decode_parameters["FRACTION_BITS"] + 2
    return f"""
module element_bench(input clock, input [{mac.code.bits - 1}:0] code, input [{w + 12}:0] state, output [{w + 12}:0] result);
  wire [{operand - 1}:0] operand;
  float_decode #({parameters}) decode (.code(code), .operand(operand));
  reg [{(w + 13) * before - 1}:0] waiting;  // the state until its operand, one clock later, is in the element
  wire [{operand - 1}:0] unused_operand;
  wire [{w + 12}:0] out;
  mac_element element (.clock(clock), .load(1'b1), .operand_in(operand), .operand_out(unused_operand),
                       .state_in(waiting[{(w + 13) * before - 1}:{(w + 13) * (before - 1)}]), .state_out(out));
  always @(posedge clock) waiting <= {{waiting[{(w + 13) * (before - 1) - 1}:0], state}};
  // beside nan and infinity the other fields mean nothing
  wire [{w + 12}:0] plain;
  assign plain = out[{w + 12}] ? {{2'b10, 1'b0, 10'h200, {w}'d0}} :
                 out[{w + 11}] ? {{2'b01, out[{w + 10}], 10'h200, {w}'d0}} : out;
  {_delayed(w + 13, after)}
endmodule
"""


def _delayed(bits: int, clocks: int) -> str:
    if clocks == 0:
        return "assign result = plain;"
    shifted = "plain" if clocks == 1 else f"{{late[{bits * (clocks - 1) - 1}:0], plain}}"
    return (
        f"reg [{bits * clocks - 1}:0] late;\n  always @(posedge clock) late <= {shifted};\n"
        f"  assign result = late[{bits * clocks - 1}:{bits * (clocks - 1)}];"
    )
