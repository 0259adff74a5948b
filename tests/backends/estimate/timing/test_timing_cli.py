"""A clock period on the command line and in Python: delay, slack, vectors a second, and what contradicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from approxhw.backends.estimate import estimate, load_library
from approxhw.backends.estimate.library.cells import CellLibrary
from approxhw.cli.main import main
from approxhw.common.errors import OptionError
from approxhw.flow.stages.measure import estimate as measure

REGISTERED = """module t(input clk, input [3:0] a, b, output reg [4:0] y); reg [3:0] p, q;
  always @(posedge clk) begin p <= a; q <= b; y <= p + q; end endmodule"""
GATE = """cell (NAME) { area : 1; leakage_power () { value : 1; when : "!A"; } leakage_power () { value : 1; when : "A"; }
  pin (A) { direction : input; capacitance : 1; }
  pin (Y) { direction : output; function : "FUNCTION"; timing () { related_pin : "A";
    cell_rise (flat) { values ("100, 100"); } cell_fall (flat) { values ("90, 90"); }
    rise_transition (scalar) { values ("1"); } fall_transition (scalar) { values ("1"); } } } }"""
NAND = """cell (NAND) { area : 2; leakage_power () { value : 1; when : "A+!A"; }
  pin (A) { direction : input; capacitance : 1; } pin (B) { direction : input; capacitance : 1; }
  pin (Y) { direction : output; function : "!(A*B)"; max_capacitance : 0.5; timing () { related_pin : "A B";
    cell_rise (flat) { values ("150, 150"); } cell_fall (flat) { values ("120, 120"); }
    rise_transition (scalar) { values ("1"); } fall_transition (scalar) { values ("1"); } } } }"""
AND = "module t(input a, b, output y); assign y = a & b; endmodule"


@pytest.fixture
def liberty(tmp_path: Path) -> Path:
    gates = [GATE.replace("NAME", name).replace("FUNCTION", f) for name, f in (("INV", "!A"), ("BUF", "A"))]
    head = 'library (plain) { time_unit : "1ps"; leakage_power_unit : "1nW"; capacitive_load_unit (1, ff); nom_voltage : 1;'
    head += ' lu_table_template (flat) { variable_1 : total_output_net_capacitance; index_1 ("0, 9"); }'
    path = tmp_path / "plain.lib"
    path.write_text("\n".join([head, *gates, NAND, "}"]))
    return path


def run(*words: object) -> dict[str, object]:
    result = CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def test_command_line_tells_delay_and_slack(tmp_path: Path, liberty: Path) -> None:
    source = tmp_path / "and.v"
    source.write_text(AND)
    found = run("estimate", source, "--liberty", liberty, "--clock-ns", 0.2, "--json")["estimate"]
    assert isinstance(found, dict)
    # NAND then INV, the same for every load: fall 120 then rise 100, or rise 150 then fall 90
    assert found["delay_ns"] == pytest.approx(0.240)
    assert found["delay_ms"] == pytest.approx(0.240e-6)
    assert found["clock_ns"] == 0.2
    assert found["slack_ns"] == pytest.approx(-0.040)
    assert found["frequency_hz"] == pytest.approx(5e9)
    assert found["limits_exceeded"] == 1  # the inverter's 1 fF behind a NAND that may drive 0.5
    assert found["delay_point"] == "tables, at the slew and the load of each net"
    unclocked = run("estimate", source, "--liberty", liberty, "--json")["estimate"]
    assert isinstance(unclocked, dict)
    assert (unclocked["clock_ns"], unclocked["slack_ns"], unclocked["frequency_hz"]) == (None, None, 100e6)
    assert unclocked["delay_ns"] == found["delay_ns"]
    assert found["dynamic_power_mw"] == pytest.approx(50 * unclocked["dynamic_power_mw"])
    assert found["static_power_mw"] == unclocked["static_power_mw"]


def test_people_read_the_verdict(tmp_path: Path, liberty: Path) -> None:
    source = tmp_path / "and.v"
    source.write_text(AND)
    words = ["estimate", str(source), "--liberty", str(liberty), "--clock-ns"]
    missed = CliRunner().invoke(main, [*words, "0.2"], catch_exceptions=False).output
    assert "0.24 ns" in missed
    assert "clock of 0.2 ns: missed, slack -0.04 ns" in missed
    assert "nets above a limit of the library (load, slew or fan-out): 1" in missed
    assert "clock of 1 ns: met, slack 0.76 ns" in CliRunner().invoke(main, [*words, "1"], catch_exceptions=False).output


def test_printed_circuits_have_clocks_and_no_verdict() -> None:
    """Their library has one delay a cell: it says how long a path is about, and no clock is kept or missed by that."""
    cost = estimate(REGISTERED, "t", "egfet", clock_ns=2e8)
    assert cost.frequency_hz == pytest.approx(5.0)
    assert 0 < cost.delay_ms < 200
    assert (cost.slack_ns, cost.met, cost.timed_by) == (None, None, "one delay a cell")
    assert cost.power_mw == pytest.approx(estimate(REGISTERED, "t", "egfet", frequency=5.0).power_mw)


def test_recipe_timed_meets_the_clock(liberty: Path) -> None:
    library: CellLibrary = load_library(liberty)
    ripple = "module t(input [7:0] a, output y); assign y = &a; endmodule"
    relaxed = estimate(ripple, "t", library, clock_ns=10.0, recipe="timed")
    tight = estimate(ripple, "t", library, clock_ns=0.73, recipe="timed")
    assert relaxed.slack_ns is not None
    assert relaxed.slack_ns >= 0
    assert tight.slack_ns is not None
    assert tight.slack_ns >= 0
    assert tight.area_mm2 >= relaxed.area_mm2
    assert tight.recipe == "timed"


def test_what_contradicts_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(OptionError) as caught:
        estimate(AND, "t", clock_ns=-1.0, frequency=-2.0, recipe="best")
    text = str(caught.value)
    assert "frequency: -2.0 is no rate" in text
    assert "clock_ns: -1.0 is no clock period" in text
    assert "frequency: there is one vector a clock, and clock_ns is given too" in text
    assert "recipe: 'best' is not one of reference, smallest, timed" in text
    source = tmp_path / "and.v"
    source.write_text(AND)
    with pytest.raises(OptionError, match="clock_ns: recipe timed needs a clock period to meet"):
        measure(source, recipe="timed")
    with pytest.raises(OptionError, match="clock_ns: nan is no clock period"):
        measure(source, clock_ns=float("nan"))
