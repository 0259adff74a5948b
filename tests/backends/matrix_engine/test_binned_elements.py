"""Binned sums in Verilog: an element fed back to itself, behind a column's end, against the reference, prefix by prefix."""

from __future__ import annotations

import random

import numpy as np
import pytest

from approxhw.backends.matrix_engine.templates import binned_element, bins_parameters, decode_parameters, operand_bits
from approxhw.backends.systolic.templates import configured, modules_of
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.binned_mac import BinnedMac, binned_finish, binned_start, binned_step
from approxhw.sim import SimulationJob, bundle, bundle_ports, lint, simulate

CASES = [
    (BinnedMac("e4m3", 3, 12), 3, "float32"),
    (BinnedMac("e4m3", 6, 8), 2, "bf16"),
    (BinnedMac("e4m3", 2, 12), 1, "float32"),
    (BinnedMac("e5m2", 3, 9), 3, "bf16"),
    (BinnedMac("e5m2", 6, 12), 1, "float32"),
    (BinnedMac("e5m2", 4, 5), 2, "float32"),
]


def bench(mac: BinnedMac, depth: int, bits: int) -> str:
    """Return a module that multiplies each code by the one before and adds up; ``first`` begins a sum with this product."""
    wide, state = operand_bits(FloatMac(mac.format)), mac.state_bits
    parameters = ", ".join(f".{name}({value})" for name, value in decode_parameters(mac).items())
    late = bits * (3 - depth)  # so that all depths answer in the same clock
    later = "assign result = code_out;"
    if late:
        kept = "code_out" if late == bits else f"{{late[{late - bits - 1}:0], code_out}}"
        shift = f"always @(posedge clock) late <= {kept};"
        later = f"reg [{late - 1}:0] late; {shift} assign result = late[{late - 1}:{late - bits}];"
    waiting = depth + 1  # clocks from a code's word to the one in which its product meets the state
    return f"""
module binned_bench(input clock, input [{mac.code.bits - 1}:0] code, input first, output [{bits - 1}:0] result);
  wire [{wide - 1}:0] operand, unused_east;
  wire [{state - 1}:0] sum;
  reg [{waiting - 1}:0] begins;
  float_decode #({parameters}) decode (.code(code), .operand(operand));
  mac_bins element (.clock(clock), .load(1'b1), .operand_in(operand), .operand_out(unused_east),
                    .state_in(sum & ~{{{state}{{begins[{waiting - 1}]}}}}), .state_out(sum));
  always @(posedge clock) begins <= {{begins[{waiting - 2}:0], first}};
  wire [{bits - 1}:0] code_out;
  bins_end finish (.clock(clock), .state(sum), .code(code_out));
  {later}
endmodule
"""


def binned_job(mac: BinnedMac, depth: int, result: str, count: int, fast: int = 0) -> SimulationJob:
    source, bits = random.Random(f"{mac} {depth}"), {"bf16": 16, "float32": 32}[result]
    special = [(1 << (mac.code.bits - 1)) - 1, 0x7C, 0xFC] if mac.format == "e5m2" else [0x7F]
    codes, firsts, expected, state = [], [], [], binned_start(mac)
    for n in range(count):
        kind = source.random()
        codes.append(
            source.choice(special)
            if kind < 0.004
            else source.choice((0, 0x80))
            if kind < 0.1
            else source.getrandbits(8)
        )
        if kind > 0.9 and n:
            codes[-1] = codes[-2] ^ 0x80  # a product and its negative may cancel
        firsts.append(int(n == 0 or source.random() < 0.06))
    for n, (weight, operand) in enumerate(zip(codes, [*codes[1:], codes[-1]], strict=True)):
        state = binned_step(mac, binned_start(mac) if firsts[n] else state, operand, weight)
        expected.append(binned_finish(mac, state, result))
    verilog = modules_of(binned_element(mac, depth, fast=fast)) | modules_of(
        configured("float_decode", decode_parameters(mac))
    )
    verilog |= modules_of(configured("bins_end", bins_parameters(mac) | {"RESULT_BITS": bits}))
    return SimulationJob(
        f"{mac} in {depth} stages", "\n".join(verilog.values()) + bench(mac, depth, bits), "binned_bench",
        (("code", 8), ("first", 1)), (("result", bits),), clock="clock", latency=6,
        vectors={"code": np.array(codes), "first": np.array(firsts)}, expected={"result": np.array(expected)},
    )  # fmt: skip


def test_binned_sums_equal_the_reference(simulator, tmp_path):
    count = 4000 if simulator == "verilator" else 400
    jobs = [binned_job(mac, depth, result, count, n % 3) for n, (mac, depth, result) in enumerate(CASES)]
    together = bundle(jobs)
    result = simulate(together, simulator, tmp_path / simulator)
    assert result.vectors == count
    assert {jobs[bundle_ports(together)[port][0]].name: number for port, number in result.failing.items()} == {}
    assert all(len(set(job.expected["result"].tolist())) > count // 8 for job in jobs)


@pytest.mark.parametrize(("old", "new"), [
    (".carry_in(to_add[2] & to_add[3+i]),", ".carry_in(1'b0),"),
    ("<< to_place[4+:LOG]", "<< 0"),
    ("assign up      = v[N-2-F] &", "assign up      = 1'b0 &"),
    ("(state_infinity & to_add[0] & (state_sign ^ to_add[2]))", "1'b0"),
])  # fmt: skip
def test_a_defect_of_binned_sums_is_found(icarus, old, new, tmp_path):
    job = binned_job(BinnedMac("e5m2", 3, 12), 2, "float32", 1500)
    assert simulate(job, "icarus", tmp_path / "whole").mismatches == 0
    assert job.verilog.count(old) == 1
    broken = SimulationJob(**{**vars(job), "verilog": job.verilog.replace(old, new)})
    assert simulate(broken, "icarus", tmp_path / "broken").mismatches > 0


def test_binned_elements_are_lint_clean(icarus, verilator):
    for n, (mac, depth, result) in enumerate(CASES):
        lint(binned_element(mac, depth, fast=n % 3), "mac_bins")
        bits = {"bf16": 16, "float32": 32}[result]
        lint(configured("bins_end", bins_parameters(mac) | {"RESULT_BITS": bits}), "bins_end")
