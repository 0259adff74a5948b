"""Table look-ups, a template with parameters of its own: every input there is."""

import numpy as np
import pytest

from approxhw.backends.bespoke.readback import read_modules
from approxhw.backends.estimate import simulate_netlist, synthesise
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
