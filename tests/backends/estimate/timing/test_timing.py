"""Static timing: arrivals worked out by hand from little tables, and ABC's own analysis of mapped netlists."""

from __future__ import annotations

import gzip
import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import pytest

from approxhw.backends.estimate import estimate_netlist, load_library, synthesise
from approxhw.backends.estimate.library.as_abc_reads import as_abc_reads
from approxhw.backends.estimate.library.cells import CellLibrary
from approxhw.backends.estimate.library.delay_tables import DelayTable, constant, worst
from approxhw.backends.estimate.netlist.netlist import Instance, Netlist, Port
from approxhw.backends.estimate.netlist.text import netlist_verilog
from approxhw.backends.estimate.timing.analyse import Surroundings, TimingState, analyse, critical_path
from approxhw.common.errors import LibraryError, OptionError
from approxhw.common.tools import Tool, run_tool

SHARED = Path(__file__).resolve().parents[4].parent / "shared"
needs_shared = pytest.mark.skipif(
    not (SHARED / "liberty").is_dir(), reason="work material ../shared/liberty is not here"
)

# Times in ns, loads in fF. Rise and fall of the inverter: delay = 1 + slew + load/10, 2 + slew + load/5;
# its output slews: 0.1 + load/100, 0.2 + load/50.
_AXES = 'index_1 ("0, 1"); index_2 ("0, 10");'
INVERTER = f"""cell (INV) {{ area : 1;
    pin (A) {{ direction : input; capacitance : 2; rise_capacitance : 3; fall_capacitance : 1; max_transition : 0.35; }}
    pin (Y) {{ direction : output; function : "!A"; max_capacitance : 4;
      timing () {{ related_pin : "A"; timing_sense : negative_unate;
        cell_rise (t) {{ {_AXES} values ("1, 2", "2, 3"); }} cell_fall (t) {{ {_AXES} values ("2, 4", "3, 5"); }}
        rise_transition (t) {{ {_AXES} values ("0.1, 0.2", "0.1, 0.2"); }}
        fall_transition (t) {{ {_AXES} values ("0.2, 0.4", "0.2, 0.4"); }} }} }} }}"""
# The buffer's table is written with the load first, and its template says so.
BUFFER = """cell (BUF) { area : 2;
    pin (A) { direction : input; capacitance : 2; }
    pin (Y) { direction : output; function : "A";
      timing () { related_pin : "A"; timing_sense : positive_unate;
        cell_rise (turned) { values ("1, 11", "2, 12"); } cell_fall (turned) { values ("5, 15", "6, 16"); }
        rise_transition (scalar) { values ("0.5"); } fall_transition (scalar) { values ("0.5"); } } } }"""
XOR = """cell (XOR) { area : 3;
    pin (A) { direction : input; capacitance : 2; } pin (B) { direction : input; capacitance : 2; }
    pin (Y) { direction : output; function : "A^B";
      timing () { related_pin : "A"; timing_sense : positive_unate; when : "!B";
        cell_rise (scalar) { values ("1"); } cell_fall (scalar) { values ("1"); }
        rise_transition (scalar) { values ("0"); } fall_transition (scalar) { values ("0"); } }
      timing () { related_pin : "A"; timing_sense : negative_unate; when : "B";
        cell_rise (scalar) { values ("3"); } cell_fall (scalar) { values ("4"); }
        rise_transition (scalar) { values ("0"); } fall_transition (scalar) { values ("0"); } }
      timing () { related_pin : "B";
        cell_rise (scalar) { values ("1"); } cell_fall (scalar) { values ("1"); }
        rise_transition (scalar) { values ("0"); } fall_transition (scalar) { values ("0"); } } } }"""
FLOP = """cell (FF) { area : 9; ff (IQ, IQN) { clocked_on : "C"; next_state : "D"; clear : "!R"; }
    pin (C) { direction : input; capacitance : 1; }
    pin (R) { direction : input; capacitance : 1; }
    pin (D) { direction : input; capacitance : 2;
      timing () { related_pin : "C"; timing_type : setup_rising;
        rise_constraint (setup) { values ("0.1, 0.3", "0.2, 0.4"); } fall_constraint (setup) { values ("1, 1", "1, 1"); } }
      timing () { related_pin : "C"; timing_type : hold_rising;
        rise_constraint (setup) { values ("9, 9", "9, 9"); } } }
    pin (Q) { direction : output; function : "IQ";
      timing () { related_pin : "C"; timing_type : rising_edge; timing_sense : non_unate;
        cell_rise (scalar) { values ("7"); } cell_fall (scalar) { values ("6"); }
        rise_transition (scalar) { values ("0.5"); } fall_transition (scalar) { values ("0.5"); } }
      timing () { related_pin : "R"; timing_type : clear; timing_sense : positive_unate;
        cell_fall (scalar) { values ("50"); } fall_transition (scalar) { values ("0.5"); } } } }"""
LIBERTY = f"""library (tiny) {{ time_unit : "1ns"; leakage_power_unit : "1nW"; capacitive_load_unit (1, ff); nom_voltage : 1;
  default_max_fanout : 2; default_fanout_load : 1;
  lu_table_template (turned) {{ variable_1 : total_output_net_capacitance; variable_2 : input_net_transition;
    index_1 ("0, 10"); index_2 ("0, 1"); }}
  lu_table_template (setup) {{ variable_1 : related_pin_transition; variable_2 : constrained_pin_transition;
    index_1 ("0, 1"); index_2 ("0, 1"); }}
  {INVERTER} {BUFFER} {XOR} {FLOP} }}"""
BARE = Surroundings(input_slew=0.0, output_load=0.0, wires=False)


@pytest.fixture
def tiny(tmp_path: Path) -> CellLibrary:
    path = tmp_path / "tiny.lib"
    path.write_text(LIBERTY)
    return load_library(path)


def netlist(library: CellLibrary, inputs: str, outputs: str, *cells: str) -> Netlist:
    """Return the netlist of cells such as ``INV A=a Y=b``; ports are the words of *inputs* and *outputs*."""
    nets: dict[str, int] = {"0": 0, "1": 1}
    ports = tuple(
        Port(name, direction, (nets.setdefault(name, len(nets)),))
        for direction, names in (("input", inputs), ("output", outputs))
        for name in names.split()
    )
    instances = []
    for number, text in enumerate(cells):
        cell, *pins = text.split()
        pairs = [pin.split("=") for pin in pins]
        instances.append(Instance(f"u{number}", cell, {pin: nets.setdefault(net, len(nets)) for pin, net in pairs}))
    names = {net: name for name, net in nets.items() if net > 1}
    return Netlist("t", ports, tuple(instances), len(nets), names, {}, "", {(): "t"}, library)


def test_two_inverters_by_hand(tiny: CellLibrary) -> None:
    """First: load is the second's pin, 3 fF while it rises and 1 fF while it falls; second: none."""
    found = analyse(netlist(tiny, "a", "y", "INV A=a Y=m", "INV A=m Y=y"), BARE)
    # m rises at 1 + 0 + 3/10 = 1.3, slew 0.13; m falls at 2 + 1/5 = 2.2, slew 0.22
    # y rises after m's fall: 2.2 + 1 + 0.22 = 3.42; y falls after m's rise: 1.3 + 2 + 0.13 = 3.43
    assert found.delay_ps == pytest.approx(3430)
    assert (found.start, found.end, found.setup_ps) == ("a", "y", 0.0)
    assert [(s.instance, s.cell, s.pin, s.output, s.net, s.edge) for s in found.steps] == [
        ("u0", "INV", "A", "Y", "m", "rise"),
        ("u1", "INV", "A", "Y", "y", "fall"),
    ]
    assert [s.arrival_ps for s in found.steps] == pytest.approx([1300, 3430])
    assert [s.slew_ps for s in found.steps] == pytest.approx([130, 200])
    assert [s.load_ff for s in found.steps] == pytest.approx([3, 0])
    assert found.slack_ps(4000) == pytest.approx(570)
    assert found.slack_ps(3000) == pytest.approx(-430)


def test_what_surrounds_the_circuit_counts(tiny: CellLibrary) -> None:
    one = netlist(tiny, "a", "y", "INV A=a Y=y")
    assert analyse(one, BARE).delay_ps == pytest.approx(2000)
    assert analyse(one, Surroundings(input_slew=500, output_load=0)).delay_ps == pytest.approx(2500)
    assert analyse(one, Surroundings(input_slew=0, output_load=5)).delay_ps == pytest.approx(3000)
    # by default: the table's least slew, 0, and one inverter's pin, 2 fF
    assert analyse(one).delay_ps == pytest.approx(2400)
    state = TimingState(one, Surroundings(input_slew=0, output_load=5))
    assert state.loads[one.outputs[0].nets[0]] == pytest.approx([5e-15, 5e-15])
    with pytest.raises(OptionError) as caught:
        Surroundings(input_slew=-1, output_load=float("nan"))
    assert "input_slew: -1 is no size" in str(caught.value)
    assert "output_load: nan is no size" in str(caught.value)


def test_tables_turned_round_and_scalars_are_read(tiny: CellLibrary) -> None:
    """The buffer: delay (rise) = 1 + 10 slew + load/10; its template names the load first."""
    one = netlist(tiny, "a", "y", "BUF A=a Y=y")
    assert analyse(one, Surroundings(100, 10)).delay_ps == pytest.approx(1000 * (5 + 1 + 1))
    assert analyse(one, Surroundings(100, 10)).steps[0].slew_ps == pytest.approx(500)


def test_lookup_at_corners_between_and_beyond() -> None:
    table = DelayTable((1.0, 2.0, 4.0), (10.0, 20.0, 40.0), ((1.0, 2.0, 4.0), (2.0, 3.0, 5.0), (8.0, 9.0, 11.0)))
    for i, slew in enumerate(table.slews):
        for j, load in enumerate(table.loads):
            assert table.at(slew, load) == table.values[i][j]
    assert table.at(1.5, 15) == pytest.approx(2.0)
    assert table.at(3, 30) == pytest.approx((3 + 5 + 9 + 11) / 4)
    assert table.at(0, 10) == pytest.approx(0.0)  # beyond the border the border's own plane goes on
    assert table.at(6, 40) == pytest.approx(17.0)
    assert table.at(1, 80) == pytest.approx(8.0)
    assert table.at(1, 0) == pytest.approx(0.0)
    assert DelayTable((0.0,), (1.0, 3.0), ((5.0, 9.0),)).at(77.0, 2.0) == pytest.approx(7.0)
    assert DelayTable((1.0, 3.0), (0.0,), ((5.0,), (9.0,))).at(2.0, 77.0) == pytest.approx(7.0)
    assert constant(3.0).at(-1.0, 1e9) == 3.0
    other = DelayTable(table.slews, table.loads, ((3.0, 0.0, 0.0),) * 3)
    joined = worst(table, other)
    assert joined is not None
    assert joined.values == ((3.0, 2.0, 4.0), (3.0, 3.0, 5.0), (8.0, 9.0, 11.0))
    assert worst(table, constant(1.0)) is None


def test_senses_stay_apart(tiny: CellLibrary) -> None:
    """An exclusive-or follows its pin in 1 ns and opposes it in 3 or 4: which edge comes late decides."""
    late_rise = netlist(tiny, "a", "y", "INV A=a Y=m", "XOR A=m B=0 Y=y")
    # m rises at 1.2 (2 fF), falls at 2.4: y falls after the rise at 1.2 + 4, rises after the fall at 2.4 + 3
    assert analyse(late_rise, BARE).delay_ps == pytest.approx(5400)
    assert analyse(late_rise, BARE).steps[-1].edge == "rise"
    # as ABC reads it: the first arc's sense and the worst tables, so m's fall at 2.4 makes a fall in 4
    assert analyse(replace(late_rise, library=as_abc_reads(tiny)), BARE).delay_ps == pytest.approx(6400)
    # no sense given: worked out of the function, both
    assert analyse(netlist(tiny, "a", "y", "XOR A=0 B=a Y=y"), BARE).delay_ps == pytest.approx(1000)


def test_constants_never_arrive(tiny: CellLibrary) -> None:
    found = analyse(netlist(tiny, "a", "y z", "INV A=1 Y=y", "XOR A=a B=1 Y=z"), BARE)
    assert found.delay_ps == pytest.approx(4000)
    assert found.end == "z"
    assert analyse(netlist(tiny, "", "y", "INV A=1 Y=y"), BARE).delay_ps == 0.0
    assert analyse(netlist(tiny, "", "y", "INV A=1 Y=y"), BARE).end == ""


def test_registers_start_and_end_paths(tiny: CellLibrary) -> None:
    """Clock to output 7 ns (rise), the inverter, then the set-up at the slew that arrives: D is a falling 0.24 ns."""
    cells = ("FF C=c R=r D=d Q=q", "INV A=q Y=n", "FF C=c R=r D=n Q=y")
    found = analyse(netlist(tiny, "c r d", "y", *cells), BARE)
    # n falls at 7 + 2 + 0.5 + 2/5 and needs 1 ns of set-up; the asynchronous reset's 50 ns are no path
    assert found.delay_ps == pytest.approx(9900 + 1000)
    assert found.setup_ps == pytest.approx(1000)
    assert (found.start, found.end) == ("register u0", "register u2 (FF.D)")
    assert [(s.cell, s.pin) for s in found.steps] == [("FF", "C"), ("INV", "A")]
    # the set-up of a rise: constrained slew 0.12, clock slew 0 → 0.1 + 0.2 · 0.12
    path = analyse(netlist(tiny, "c r d", "y", "INV A=d Y=n", "FF C=c R=r D=n Q=z", "BUF A=d Y=y"), BARE)
    assert path.end == "y"
    steep = replace(tiny, cells={**tiny.cells, "FF": _without_falling_setup(tiny)})
    only = analyse(netlist(steep, "c r d", "", "INV A=d Y=n", "FF C=c R=r D=n Q=z"), BARE)
    assert only.delay_ps == pytest.approx(max(1200 + 100 + 200 * 0.12, 2400))


def _without_falling_setup(library: CellLibrary):
    cell = library.cells["FF"]
    timing = replace(cell.timing, setups={"D": (cell.timing.setups["D"][0], None)})
    return replace(cell, timing=timing)


def test_feedback_through_a_register_is_no_loop_but_gates_are(tiny: CellLibrary) -> None:
    ring = netlist(tiny, "c r", "q", "FF C=c R=r D=n Q=q", "INV A=q Y=n")
    assert analyse(ring, BARE).delay_ps == pytest.approx(9900 + 1000)
    loop = netlist(tiny, "a", "y", "XOR A=a B=y Y=m", "INV A=m Y=y")
    with pytest.raises(LibraryError, match=r"a loop of 2 gates without a register, among them u0, u1"):
        analyse(loop, BARE)


def test_limits_of_the_library_are_watched(tiny: CellLibrary) -> None:
    assert tiny.most_fanout == 2
    cells = ["INV A=a Y=m", *(f"INV A=m Y=y{i}" for i in range(3))]
    found = analyse(netlist(tiny, "a", "y0 y1 y2", *cells), BARE)
    # 9 fF while rising (4 allowed); slew 0.2 + 3/50 = 0.26 falling, 0.19 rising: within 0.35; fan-out 3 of 2
    assert [(e.kind, e.net, e.limit) for e in found.excesses] == [("load", "m", 4.0), ("fan-out", "m", 2)]
    assert [e.value for e in found.excesses] == pytest.approx([9.0, 3])
    assert analyse(netlist(tiny, "a", "y", *cells[:2], "BUF A=y0 Y=y"), BARE).excesses == ()
    steep = analyse(netlist(tiny, "a", "y", "BUF A=a Y=m", "INV A=m Y=y"), BARE)
    assert [(e.kind, e.net) for e in steep.excesses] == [("slew", "m")]
    assert [(e.value, e.limit) for e in steep.excesses] == [pytest.approx((500.0, 350.0))]


def test_libraries_of_one_delay_are_still_analysed() -> None:
    source = "module t(input a, b, c, output y); assign y = ~(~(a & b) & c); endmodule"
    mapped = synthesise(source, "t", "egfet")
    nand = load_library("egfet").cells["NAND2X1"].delays["Y"]
    found = analyse(mapped)
    assert found.delay_ps == pytest.approx((nand[0] + nand[1]) * 1e9)
    assert [step.slew_ps for step in found.steps] == [0.0, 0.0]
    assert found.excesses == ()
    assert critical_path(mapped).delay == estimate_netlist(mapped).delay_ms == pytest.approx(sum(nand))


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('values ("1, 2", "2, 3")', 'values ("1, 2")', "a cell_rise table has 1 rows of 2 entries for 2 × 2 indices"),
        ('values ("1, 2", "2, 3")', 'values ("1, 2", "2, x")', "a table entry is 'x', no number"),
        ('values ("1, 2", "2, 3")', 'values ("1, 2", "2, inf")', "a table entry is 'inf', no finite number"),
        (
            'cell_rise (t) { index_1 ("0, 1")',
            'cell_rise (t) { index_1 ("1, 1")',
            "index_1 of a cell_rise table does not",
        ),
    ],
)
def test_broken_tables_are_named(tmp_path: Path, old: str, new: str, text: str) -> None:
    assert old in LIBERTY
    path = tmp_path / "broken.lib"
    path.write_text(LIBERTY.replace(old, new, 1))
    with pytest.raises(LibraryError, match=r"cell INV") as caught:
        load_library(path)
    assert text in str(caught.value)


def test_a_path_without_tables_leaves_the_cell_one_delay(tmp_path: Path) -> None:
    """Without output slews nothing behind the cell could be looked up."""
    path = tmp_path / "half.lib"
    path.write_text(LIBERTY.replace("rise_transition", "other_group").replace("fall_transition", "other_group"))
    library = load_library(path)
    assert all(cell.timing is None for cell in library.cells.values())
    assert analyse(netlist(library, "a", "y", "INV A=a Y=y"), BARE).delay_ps == pytest.approx(2000)


DESIGNS = {
    "multiplier": "module t(input [7:0] a, b, output [15:0] y); assign y = a * b; endmodule",
    "adder": "module t(input [15:0] a, b, output [15:0] y); assign y = a + b; endmodule",
    "parity": "module t(input [31:0] a, output y); assign y = ^a; endmodule",
    "shifter": "module t(input [15:0] a, input [3:0] s, output [15:0] y); assign y = a << s; endmodule",
    "less": "module t(input [15:0] a, b, output y); assign y = a < b; endmodule",
}


def abc_delay(text: str, liberty: Path, folder: Path) -> float:
    """Return what ABC's ``stime`` says of a mapped netlist, in ps; inputs without slew, outputs without load."""
    (folder / "mapped.v").write_text(text)
    spec = importlib.util.find_spec("pyosys")
    assert spec is not None
    assert spec.origin is not None
    program = Path(spec.origin).parent / "yosys-abc"
    script = f"read_lib {liberty}; read_verilog -m {folder / 'mapped.v'}; topo; stime -p"
    output = run_tool(Tool("yosys-abc", (str(program), "-q")), [script], timeout=60, folder=folder).output
    found = re.search(r"Delay = *([0-9.]+) ps", output)
    assert found is not None, output[-500:]
    return float(found[1])


@needs_shared
@pytest.mark.parametrize("name", ["sky130hd_tt", "sg13g2_typ_1v20"])
def test_same_delays_as_abc(name: str, tmp_path: Path) -> None:
    """Ten netlists, five a library: on equal terms to ABC's last digit, with the senses kept apart near it."""
    packed = SHARED / "liberty" / f"{name}.lib.gz"
    liberty = tmp_path / "library.lib"
    liberty.write_bytes(gzip.decompress(packed.read_bytes()))
    library = load_library(packed)
    merged = as_abc_reads(library)
    compared = 0
    for design in DESIGNS.values():
        mapped = synthesise(design, "t", library)
        theirs = abc_delay(netlist_verilog(mapped), liberty, tmp_path)
        assert analyse(replace(mapped, library=merged), BARE).delay_ps == pytest.approx(theirs, rel=0.001)
        assert analyse(mapped, BARE).delay_ps == pytest.approx(theirs, rel=0.15)
        compared += 1
    assert compared == len(DESIGNS) == 5


def test_netlist_text_says_the_same_circuit() -> None:
    source = """module t(input clk, input [3:0] a, n2, output [4:0] y, output same, output zero, output [1:0] r);
      assign y = a + n2; assign same = y[0]; assign zero = 1'b0;
      reg [1:0] q; always @(posedge clk) q <= {q[0], a[1]}; assign r = q; endmodule"""
    first = synthesise(source, "t", "sky130")
    text = netlist_verilog(first)
    assert "assign same = y[0];" in text
    assert "assign zero = 1'b0;" in text
    models = "\n".join(_model(first.library, name) for name in first.cells_by_type() if name in first.library.cells)
    again = synthesise(text + models, "t", "sky130")
    assert again.cells_by_type() == first.cells_by_type()


def _model(library: CellLibrary, name: str) -> str:
    cell = library.cells[name]
    ports = [f"input {pin}" for pin in cell.inputs] + [f"output {pin}" for pin in cell.functions]
    if cell.flip_flop is not None:
        ports[-1] = "output reg Q"
        return f"module {name}({', '.join(ports)}); always @(posedge CLK) Q <= D; endmodule"
    body = " ".join(
        f"assign {pin} = {text.replace('*', '&').replace('+', '|').replace('CONST', '')};"
        for pin, text in cell.function_text.items()
    )
    return f"module {name}({', '.join(ports)}); {body} endmodule"
