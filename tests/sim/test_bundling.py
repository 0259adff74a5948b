"""Designs under one top: renaming touches names only, and what cannot share a top is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from approxhw import sim
from approxhw.common.errors import OptionError
from approxhw.sim.bundling import defined_modules, rename_identifiers
from approxhw.sim.packing import split_row, write_rows

TRICKY = r"""// module ghost: a comment
/* adder
   module ghost2 */
module adder (input a, output s); /* adder */ assign s = 8'hadd == a; endmodule
macromodule \odd+name (input a, output s);
  adder adder (.a(a), .s(s)); // an instance that bears the module's name
  wire add, adders, my_adder; initial $display("adder \" adder", $adder);
  add_er#(4) \adder (1'b0);
endmodule
"""


def test_modules_are_found_outside_comments_only():
    assert defined_modules(TRICKY) == ("adder", r"odd+name")


def test_only_whole_identifiers_are_renamed():
    renamed = rename_identifiers(TRICKY, {"adder": "p_adder", "odd+name": "p_odd+name", "add": "p_add"})
    expected = TRICKY.replace("module adder (", "module p_adder (").replace(r"\odd+name", r"\p_odd+name")
    expected = expected.replace("  adder adder (", "  p_adder p_adder (").replace(r"\adder (", r"\p_adder (")
    expected = expected.replace("wire add,", "wire p_add,")
    assert renamed == expected


def test_bundle_pads_and_maps_back(designs):
    bundled = sim.bundle([designs["adder"](), designs["inverter"](), designs["constant"]()], name="three")
    assert bundled.name == "three"
    assert bundled.inputs == (("design0_a", 4), ("design0_b", 4), ("design1_x", 1))
    assert bundled.outputs == (("design0_s", 5), ("design1_y", 1), ("design2_y", 3))
    assert {len(column) for column in [*bundled.vectors.values(), *bundled.expected.values()]} == {256}
    assert bundled.vectors["design1_x"].tolist() == [0] + [1] * 255
    assert bundled.expected["design1_y"].tolist() == [1] + [0] * 255
    assert sim.bundle_ports(bundled)["design1_x"] == (1, "x")
    assert sim.bundle_ports(bundled)["design2_y"] == (2, "y")
    modules = defined_modules(bundled.verilog)
    assert len(set(modules)) == len(modules) == 5


def test_prefix_avoids_names_that_are_taken(designs):
    job = designs["inverter"]()
    taken = replace(job, verilog=job.verilog.replace("inner", "design0_adder"))
    bundled = sim.bundle([taken, taken])
    assert bundled.inputs == (("design_0_x", 1), ("design_1_x", 1))
    assert sim.bundle_ports(bundled)["design_1_y"] == (1, "y")


def test_registered_designs_share_one_clock_and_port_named_like_a_module(designs, icarus, tmp_path):
    job = designs["registered"]()
    # the port s becomes one that bears the module's name: it is renamed with it
    named = replace(
        job,
        verilog=job.verilog.replace("reg [4:0] s", "reg [4:0] adder").replace("s <=", "adder <="),
        outputs=(("adder", 5),),
        expected={"adder": job.expected["s"]},
    )
    result = sim.simulate(sim.bundle([job, named]), "icarus", tmp_path / "out")
    assert (result.vectors, result.mismatches) == (256, 0)


def test_designs_that_cannot_share_a_top_are_refused_with_every_reason(designs):
    adder = designs["adder"]()
    jobs = [
        adder,
        designs["registered"](),
        replace(adder, verilog="`define x 1\n" + adder.verilog),
        replace(adder, top="subtractor"),
        replace(adder, expected={"s": np.full(256, 32)}),
    ]
    with pytest.raises(OptionError) as error:
        sim.bundle(jobs)
    text = str(error.value)
    assert "design 1 (registered adder): has latency 2, the first one 0" in text
    assert "design 2 (adder): has compiler directives (`define)" in text
    assert "design 3 (adder): its text defines no module subtractor" in text
    assert "design 4 (adder), expected[s]: holds values from 32 to 32, but 5 bits hold" in text
    with pytest.raises(OptionError, match="jobs: there are none"):
        sim.bundle([])


def test_rows_of_bits_and_back(tmp_path):
    ports = [("a", 3), ("wide", 70), ("b", 1)]
    columns = {"a": np.array([5, 2]), "wide": np.array([1 << 69, 3], dtype=object), "b": np.array([1, 0])}
    write_rows(tmp_path / "rows.npy", ports, columns, 2)
    bits = np.unpackbits(np.load(tmp_path / "rows.npy", allow_pickle=False), axis=1, count=74)
    rows = ["".join(map(str, row)) for row in bits]
    assert split_row(rows[0], ports) == {"a": 5, "wide": 1 << 69, "b": 1}
    assert split_row(rows[1], ports) == {"a": 2, "wide": 3, "b": 0}
    assert split_row("1X" + "0" * 72, ports)["a"] == "0b1x0"
