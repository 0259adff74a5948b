"""The words of a Verilog text: what is code and what is not, and identifiers under other names."""

from __future__ import annotations

from approxhw.common.verilog_names import (
    defined_modules,
    directives_in,
    rename_identifiers,
    system_tasks_in,
    words_in,
)

TEXT = """`timescale 1ns/1ps
module one(input a, output y); // module two, $comment
  assign y = a ^ 1'b0; initial $display("module three `x");
endmodule
module \\two+ (input one_b); one one(.a(one_b)); endmodule
"""


def test_what_a_text_defines_and_uses():
    assert defined_modules(TEXT) == ("one", "two+")
    assert directives_in(TEXT) == {"`timescale"}
    assert system_tasks_in(TEXT) == {"$display"}
    assert {"one", "one_b", "a", "y", "two+", "assign"} <= words_in(TEXT)
    assert not {"b0", "two", "three"} & words_in(TEXT)


def test_identifiers_get_other_names_and_comments_keep_theirs():
    renamed = rename_identifiers(TEXT, {"one": "p_one", "two+": "two", "three": "four"})
    assert "module p_one(" in renamed
    assert "p_one p_one(.a(one_b))" in renamed
    assert "module \\two (" in renamed
    assert '"module three `x"' in renamed
