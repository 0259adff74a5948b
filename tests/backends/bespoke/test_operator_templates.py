"""Templates with parameters of their own: table look-ups and the three approximate multipliers, every input there is."""

import numpy as np
import pytest
from multiplier_verilog import multiplier_verilog

from approxhw.backends.bespoke.readback import read_modules
from approxhw.backends.estimate import simulate_netlist, synthesise
from approxhw.numerics.multipliers.families import own_operator
from approxhw.rtl_templates import template_text
from approxhw.sim import SimulationJob, bundle, lint, simulate


def looked_up(table, bits, wide):
    """Return a module ``top`` that looks *table* up: 2^bits entries of *wide* bits."""
    value = sum(int(entry) << (wide * x) for x, entry in enumerate(table))
    return (
        f"module top(\n  input  wire [{bits - 1}:0] x,\n  output wire [{wide - 1}:0] y\n);\n"
        f"  table_lookup #(.IN({bits}), .OUT({wide}), .TABLE({wide << bits}'h{value:x})) only (.x(x), .y(y));\n"
        f"endmodule\n{template_text('table_lookup')}"
    )


SIZES = ((1, 1), (1, 3), (2, 1), (4, 7), (6, 12))


def random_table(bits, wide):
    return np.random.default_rng(bits * 100 + wide).integers(0, 1 << wide, 1 << bits)


def test_look_ups_equal_their_tables_on_simulators(simulator, tmp_path):
    jobs = [
        SimulationJob(
            f"lookup_{bits}_{wide}",
            looked_up(random_table(bits, wide), bits, wide),
            "top",
            (("x", bits),),
            (("y", wide),),
            vectors={"x": np.arange(1 << bits)},
            expected={"y": random_table(bits, wide)},
        )
        for bits, wide in SIZES
    ]
    result = simulate(bundle(jobs), simulator, tmp_path / simulator)
    assert result.failing == {}
    assert result.vectors == 64


@pytest.mark.parametrize(("bits", "wide"), [*SIZES, (8, 16)])
def test_look_ups_equal_their_tables_after_synthesis(bits, wide):
    table = random_table(bits, wide)
    netlist = synthesise(looked_up(table, bits, wide), "top", "egfet")
    assert simulate_netlist(netlist, {"x": np.arange(1 << bits)})["y"].tolist() == table.tolist()


@pytest.mark.parametrize(("bits", "wide"), SIZES)
def test_look_ups_are_clean_of_every_size(bits, wide, icarus, verilator):
    text = looked_up(random_table(bits, wide), bits, wide)
    lint(text, "top")
    assert read_modules(text)["top"].instances == (("table_lookup", "only"),)


def test_a_table_of_wires_costs_nothing():
    table = [(x << 1) & 15 for x in range(8)]
    assert synthesise(looked_up(table, 3, 4), "top", "egfet").area() == 0


OPERATORS = (
    "truncated-0",
    "truncated-4",
    "truncated-4-corrected",
    "broken-array-4-1",
    "broken-array-6-2",
    "logarithmic",
)


def netlist_products(text, weight_bits, x_bits):
    """Return the products of module ``multiplier`` in *text* for every pair of patterns, by its synthesised netlist."""
    a, b = np.divmod(np.arange(1 << (weight_bits + x_bits)), 1 << x_bits)
    seen = simulate_netlist(synthesise(text, "multiplier", "egfet"), {"a": a, "b": b})["y"]
    top = 1 << (weight_bits + x_bits)
    return np.where(seen >= top // 2, seen - top, seen).reshape(1 << weight_bits, 1 << x_bits)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize(("weight_bits", "x_bits"), [(8, 4), (8, 8), (2, 1)])
def test_multipliers_are_their_reference_for_every_pair(name, weight_bits, x_bits):
    operator = own_operator(name)
    text = multiplier_verilog(operator, weight_bits, x_bits)
    expected = [
        [operator.product(w if w < 1 << (weight_bits - 1) else w - (1 << weight_bits), x, weight_bits, x_bits)
         for x in range(1 << x_bits)]
        for w in range(1 << weight_bits)
    ]  # fmt: skip
    assert netlist_products(text, weight_bits, x_bits).tolist() == expected
    assert operator.table(weight_bits, x_bits).products.tolist() == expected


@pytest.mark.parametrize("name", OPERATORS)
def test_multipliers_are_clean_and_say_what_they_are(name, icarus, verilator):
    for weight_bits, x_bits in ((2, 1), (4, 3), (8, 8)):
        text = multiplier_verilog(own_operator(name), weight_bits, x_bits)
        lint(text, "multiplier")
        ports = read_modules(text)["multiplier"].ports
        wanted = [("a", weight_bits, True), ("b", x_bits, False), ("y", weight_bits + x_bits, True)]
        assert [(port.name, port.bits, port.signed) for port in ports] == wanted


def test_multipliers_on_simulators(simulator, tmp_path):
    a, b = np.divmod(np.arange(1 << 9), 1 << 4)
    jobs = [
        SimulationJob(
            name.replace("-", "_"),
            multiplier_verilog(own_operator(name), 5, 4),
            "multiplier",
            (("a", 5), ("b", 4)),
            (("y", 9),),
            vectors={"a": a, "b": b},
            expected={"y": own_operator(name).table(5, 4).products.reshape(-1) % (1 << 9)},
        )
        for name in OPERATORS
    ]
    result = simulate(bundle(jobs), simulator, tmp_path / simulator)
    assert result.failing == {}
    assert result.vectors == 512


def test_a_multiplier_that_is_wrong_is_seen():
    text = multiplier_verilog(own_operator("broken-array-4-1"), 4, 4)
    broken = text.replace("row[i-1].sum & row[i-1].carry", "row[i-1].sum | row[i-1].carry")
    assert broken != text
    reference = own_operator("broken-array-4-1").table(4, 4).products
    assert (netlist_products(text, 4, 4) == reference).all()
    assert (netlist_products(broken, 4, 4) != reference).any()


def test_cheaper_multipliers_are_smaller():
    def area(name):
        return synthesise(multiplier_verilog(own_operator(name), 8, 4), "multiplier", "egfet").area()

    assert area("broken-array-4-1") < area("truncated-4") < area("truncated-0")
