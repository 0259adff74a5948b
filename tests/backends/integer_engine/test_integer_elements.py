"""The integer element: its RTL and its netlist equal ``IntegerMac.accumulate`` for every product, adder and depth."""

from __future__ import annotations

import numpy as np
import pytest
from engine_elements import every_pair
from integer_streams import products_of

from approxhw.backends.estimate import simulate_netlist, synthesise
from approxhw.backends.integer_engine.engine import IntegerArray, integer_engine_verilog
from approxhw.backends.systolic.templates import configured
from approxhw.numerics.mac.integer_mac import IntegerMac, accumulate_integer, add_integer
from approxhw.sim import SimulationJob, bundle, bundle_ports, lint, simulate

LATENCY = 4
"""Clocks from a vector to its sum, whatever the depth: the bench makes up the difference."""
NARROW = [
    IntegerArray(1, 1, IntegerMac(operator, signed, weight_bits, x_bits, bits, adder), depth)
    for operator, signed, weight_bits, x_bits, bits, adder, depth in [
        ("exact", "both", 4, 4, 12, "exact", 1),
        ("exact", "none", 4, 4, 10, "or-3", 2),
        ("truncated-3-corrected", "weight", 4, 4, 9, "cut-8", 1),
        ("leading-2", "both", 4, 4, 13, "or-1", 2),
        ("rounded", "none", 3, 4, 32, "cut-2", 1),
        ("broken-array-3-1", "both", 4, 4, 6, "exact", 2),  # a sum narrower than the product
    ]
]
WIDE = [
    IntegerArray(1, 1, IntegerMac("exact", "both", 8, 8, 24), 1),
    IntegerArray(1, 1, IntegerMac("truncated-5", "both", 8, 8, 24, "or-5"), 2),
    IntegerArray(1, 1, IntegerMac("leading-4", "none", 8, 8, 20, "cut-4"), 1),
]


def stream(engine: IntegerArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return codes, of which each is multiplied by the one before it, sums, and what comes out: every pair of codes once."""
    mac = engine.mac
    bits = max(mac.weight_bits, mac.x_bits)
    codes = np.array(every_pair(bits))
    assert len(set(zip(codes[:-1].tolist(), codes[1:].tolist()))) == 1 << 2 * bits
    source = np.random.default_rng(mac.accumulator_bits)
    sums = source.integers(0, 1 << mac.accumulator_bits, len(codes))
    sums[::7] = source.choice([0, 1, -1, 1 << (mac.accumulator_bits - 1)], len(sums[::7])) % (1 << mac.accumulator_bits)
    table, weights = products_of(mac).tolist(), np.concatenate([codes[:1] * 0, codes[:-1]])
    expected = [
        accumulate_integer(mac, total, weight, x, table) % (1 << mac.accumulator_bits)
        for total, weight, x in zip(sums.tolist(), weights.tolist(), codes.tolist(), strict=True)
    ]
    return codes, sums, np.array(expected)


def element_text(engine: IntegerArray) -> str:
    return integer_engine_verilog(engine, top="integer_element")


def element_job(engine: IntegerArray, text: str = "") -> SimulationJob:
    """Return every pair of codes through one element behind a bench that delays sums until their operand is there."""
    codes, sums, expected = stream(engine)
    code_bits, bits = max(engine.mac.weight_bits, engine.mac.x_bits), engine.mac.accumulator_bits
    before, after = engine.depth, LATENCY - engine.depth - 1
    first = np.arange(len(codes)) == 0
    late = f"{{late[{bits * (after - 1) - 1}:0], out}}" if after > 1 else "out"
    shifted = f"{{waiting[{bits * (before - 1) - 1}:0], sum}}" if before > 1 else "sum"
    bench = f"""
module element_bench(input clock, input first, input [{code_bits - 1}:0] code, input [{bits - 1}:0] sum,
                     output [{bits - 1}:0] result);
  reg [{LATENCY - 1}:0] unknown;  // the first code has no weight before it
  reg [{bits * before - 1}:0] waiting;
  reg [{bits * after - 1}:0] late;
  wire [{bits - 1}:0] out;
  wire [{code_bits - 1}:0] unused;
  integer_element element (.clock(clock), .load(1'b1), .select(1'b0), .operand_in(code), .operand_out(unused),
                           .sum_in(waiting[{bits * before - 1}:{bits * (before - 1)}]), .sum_out(out));
  always @(posedge clock) begin waiting <= {shifted}; late <= {late}; unknown <= {{unknown[{LATENCY - 2}:0], first}}; end
  assign result = unknown[{LATENCY - 1}] ? {bits}'d0 : late[{bits * after - 1}:{bits * (after - 1)}];
endmodule
"""
    return SimulationJob(
        str(engine.mac),
        (text or element_text(engine)) + bench,
        "element_bench",
        (("first", 1), ("code", code_bits), ("sum", bits)),
        (("result", bits),),
        clock="clock",
        latency=LATENCY,
        vectors={"first": first.astype(np.int64), "code": codes, "sum": sums},
        expected={"result": np.where(first, 0, expected)},
    )


def failing(jobs, simulator, folder) -> dict[str, int]:
    """Return the mismatches of each element by its name, and check that every vector was compared."""
    together = bundle(jobs)
    result = simulate(together, simulator, folder)
    assert result.vectors == max(job.count for job in jobs) > 0
    return {jobs[bundle_ports(together)[port][0]].name: number for port, number in result.failing.items()}


def test_narrow_elements_equal_the_reference(simulator, tmp_path):
    jobs = [element_job(engine) for engine in NARROW]
    assert [job.count for job in jobs] == [257] * 6
    assert failing(jobs, simulator, tmp_path / simulator) == {}


@pytest.mark.parametrize(("old", "new"), [
    ("{a[WIDTH-1:LOW], a[LOW-1]} + {b", "{a[WIDTH-1:LOW], 1'b0} + {b"),
    ("a[LOW-1:0] | b[LOW-1:0]", "a[LOW-1:0] ^ b[LOW-1:0]"),
    ("(WEIGHT_SIGNED != 0) & to_add[PRODUCT_BITS-1]", "to_add[PRODUCT_BITS-1]"),
])  # fmt: skip
def test_a_defect_is_found(icarus, tmp_path, old, new):
    engine = NARROW[1]
    text = element_text(engine)
    assert text.count(old) == 1
    assert failing([element_job(engine, text.replace(old, new))], "icarus", tmp_path / "icarus")


@pytest.mark.slow
def test_every_product_of_eight_bits_on_verilator(verilator, tmp_path):
    jobs = [element_job(engine) for engine in WIDE]
    assert [job.count for job in jobs] == [(1 << 16) + 1] * 3
    assert failing(jobs, "verilator", tmp_path / "verilator") == {}


@pytest.mark.parametrize("engine", WIDE, ids=lambda engine: engine.mac.operator)
def test_every_product_of_eight_bits_through_the_netlist(engine):
    codes, sums, expected = stream(engine)
    netlist = synthesise(element_text(engine), "integer_element", "egfet")
    count, lag = len(codes), 1 + engine.depth
    made = simulate_netlist(netlist, {
        "operand_in": np.concatenate([codes, np.zeros(lag, np.int64)]),
        "sum_in": np.concatenate([np.zeros(engine.depth, np.int64), sums, [0]]),
        "load": np.ones(count + lag, np.int64),
        "select": np.zeros(count + lag, np.int64),
    })  # fmt: skip
    assert np.array_equal(made["sum_out"][lag:], expected)
    assert count == (1 << 16) + 1


ADDERS = [(kind, width, low) for width in (2, 3, 4, 5) for low in range(1, width) for kind in ("or", "cut")]


def test_adders_equal_the_reference_for_all_sums(icarus, tmp_path):
    """Every pair of summands of every narrow adder; IntegerMac has none below 4 bits, so its sums are cut to the width."""
    jobs = []
    for kind, width, low in [*ADDERS, ("exact", 4, 1)]:
        a, b = (each.ravel() for each in np.meshgrid(np.arange(1 << width), np.arange(1 << width)))
        mac = IntegerMac(accumulator_bits=8, adder="exact" if kind == "exact" else f"{kind}-{low}")
        y = np.array([add_integer(mac, *pair) for pair in zip(a.tolist(), b.tolist(), strict=True)]) % (1 << width)
        parameters = {"WIDTH": width, "ADDER": ("exact", "or", "cut").index(kind), "LOW": low}
        text = configured("integer_adder", parameters)
        ports = (("a", width), ("b", width))
        job = SimulationJob(f"{kind} {width} {low}", text, "integer_adder", ports, (("y", width),))
        jobs.append(SimulationJob(**{**vars(job), "vectors": {"a": a, "b": b}, "expected": {"y": y}}))
    assert len(jobs) == 21
    assert failing(jobs, "icarus", tmp_path / "icarus") == {}


@pytest.mark.parametrize("engine", [*NARROW[:5], WIDE[2]], ids=lambda engine: engine.mac.operator)
def test_elements_are_lint_clean(icarus, verilator, engine):
    lint(element_text(engine), "integer_element")
