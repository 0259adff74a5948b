"""The lint check: silent on clean text, and loud with the tool's own words on the rest."""

from __future__ import annotations

import pytest

from approxhw import sim
from approxhw.common.errors import OptionError, ToolFailedError

CLEAN = """module top(input [3:0] a, output [4:0] s);
  sub part(.a(a), .s(s));
endmodule
module sub(input [3:0] a, output [4:0] s);
  assign s = {1'b0, a} + 5'd1;
endmodule
"""


@pytest.fixture(autouse=True)
def _both_tools(icarus, verilator):
    pass


def test_clean_text_passes():
    sim.lint(CLEAN, "top")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("[3:0] a, output [4:0] s);\n  sub", "[4:0] a, output [4:0] s);\n  sub"), "WIDTHTRUNC"),
        ((".a(a), ", ""), "PINMISSING"),
        (("{1'b0, a} + 5'd1", "5'd1"), "UNUSEDSIGNAL"),
        (("endmodule\nmodule", "endmodul\nmodule"), "syntax error"),
        (("assign s", "logic t; assign s"), "Can.t find typedef"),
    ],
)
def test_everything_disliked_is_an_error(change, words):
    text = CLEAN.replace(*change)
    assert text != CLEAN
    with pytest.raises(ToolFailedError, match=words):
        sim.lint(text, "top")


def test_icarus_is_asked_too(monkeypatch):
    from approxhw.common import tools
    from approxhw.sim import linting

    monkeypatch.setattr(linting.tools, "find_verilator", lambda: tools.Tool("nothing", ("true",)))
    sim.lint(CLEAN, "top")
    with pytest.raises(ToolFailedError, match="iverilog -Wall, warnings count as errors"):
        sim.lint(CLEAN.replace("sub part(.a(a),", "sub part(.a(),"), "top")


def test_top_must_be_an_identifier():
    with pytest.raises(OptionError, match="is no plain Verilog identifier"):
        sim.lint(CLEAN, "../top")
