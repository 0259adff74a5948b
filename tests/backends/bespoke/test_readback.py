"""Emitted Verilog read back: what differs from the circuit is refused, with its name and all at once."""

from dataclasses import replace

import pytest

from approxhw.backends.bespoke.circuit import build_circuit
from approxhw.backends.bespoke.emit import emit
from approxhw.backends.bespoke.readback import ModulePort, check_emitted, read_modules
from approxhw.common.errors import GraphError, InvalidDesignError
from approxhw.ir.random_graphs import random_graph
from approxhw.rtl_templates import template_names, template_text


@pytest.fixture(scope="module")
def emitted(making):
    graph = making(("first", "second"), 3).dense([[3, 5], [2, -7]], [1, 2]).argmax().graph()
    return emit(build_circuit(graph), registers=True)


def refused(emitted, *changes):
    text = emitted.verilog
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(GraphError) as caught:
        check_emitted(replace(emitted, verilog=text))
    return str(caught.value)


def test_what_was_emitted_is_accepted(emitted):
    modules = check_emitted(emitted)
    top = modules["tiny"]
    assert top.ports == (
        ModulePort("clock", "input", 1),
        ModulePort("first", "input", 3),
        ModulePort("second", "input", 3),
        ModulePort("class_index", "output", 1),
    )
    assert ("argmax", "argmax_instance") in top.instances


@pytest.mark.parametrize("seed", range(1, 13))
def test_random_circuits_are_accepted(seed):
    emitted = emit(build_circuit(random_graph(seed)), registers=bool(seed % 2))
    modules = check_emitted(emitted)
    assert emitted.top in modules
    assert all(name in modules for info in modules.values() for name, _ in info.instances)


def test_a_port_that_was_removed(emitted):
    said = refused(emitted, ("module tiny(clock, first,", "module tiny(clock,"))
    assert "tiny as read back: 1 problem" in said
    assert "tiny.first: input of 3 bits is missing in the emitted text" in said


def test_a_port_that_was_renamed(emitted):
    said = refused(emitted, ("first", "fist"))
    assert "2 problems" in said
    assert "tiny.first: input of 3 bits is missing in the emitted text" in said
    assert "tiny.fist: input of 3 bits is not in the Graph" in said


def test_a_port_that_was_widened(emitted):
    said = refused(emitted, ("input wire [2:0] second;", "input wire [3:0] second;"))
    assert "tiny.second: input of 3 bits is missing in the emitted text" in said
    assert "tiny.second: input of 4 bits is not in the Graph" in said


def test_a_port_that_was_turned_round(emitted):
    said = refused(emitted, ("output reg class_index;", "input wire class_index;"))
    assert "tiny.class_index: output of 1 bits is missing in the emitted text" in said


def test_a_clock_that_is_not_there(emitted):
    assert "tiny.clock" in refused(emitted, ("module tiny(clock, ", "module tiny("))


def test_a_top_that_is_not_there(emitted):
    assert "the emitted text lacks its top module" in refused(emitted, ("module tiny(", "module teeny("))


def test_a_module_that_is_not_there(emitted):
    said = refused(emitted, ("module argmax(", "module arg_max("), ("module layer0_neuron1(", "module other("))
    assert "2 problems" in said
    assert "tiny.argmax_instance: module argmax is missing in the emitted text" in said
    assert "tiny.layer0_neuron1_instance: module layer0_neuron1 is missing in the emitted text" in said


def test_what_is_no_verilog_is_refused_and_the_next_text_is_read(emitted):
    for text in ("module a(; endmodule", "nonsense", "module a(input x); assign = ; endmodule\n"):
        with pytest.raises(
            InvalidDesignError, match=r"pyverilog: cannot read it: .*\n.*Verilog-2005 without directives"
        ):
            read_modules(text, "foreign")
    assert list(read_modules("module a(input x, output [3:0] y);\nendmodule\n")) == ["a"]


def test_lines_are_counted_from_the_start_of_every_text():
    for _ in range(2):
        with pytest.raises(InvalidDesignError, match="line:3"):
            read_modules("module a(input x);\n\nassign = ;\nendmodule\n")


def test_widths_that_a_parameter_decides_are_left_open():
    for name in template_names():
        text = template_text(name)
        for port in read_modules(text)[name].ports:  # else it is written down, as for a state's exponent
            assert port.bits in (None, 1) or f" [{port.bits - 1}:0]" in text
    assert [port.bits for port in read_modules(template_text("choose"))["choose"].ports] == [1, None, None, None]


def test_damaged_tables_in_the_cache_are_made_anew(tmp_path, monkeypatch):
    from approxhw.backends.bespoke import readback

    folder = tmp_path / "approxhw" / "pyverilog"
    folder.mkdir(parents=True)
    (folder / "parsetab.py").write_text("_tabversion = [1,")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    readback._parser.cache_clear()
    assert list(read_modules("module a(input x);\nendmodule\n")) == ["a"]
    assert (folder / "parsetab.py").stat().st_size > 10_000
    readback._parser.cache_clear()
    assert list(read_modules("module b(input x);\nendmodule\n")) == ["b"]
