"""Sizes chosen for a clock, and the smallest circuit for each of several: never wrong, never late, never larger."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from approxhw.backends.estimate import clock_sweep, load_library, simulate_netlist
from approxhw.backends.estimate.clock_sweep import sweep
from approxhw.backends.estimate.library.cells import CellLibrary
from approxhw.backends.estimate.netlist.netlist import Instance, Netlist, Port
from approxhw.backends.estimate.synthesis.timed import ADDERS, UnmappedDesign, front, gates_liberty, mapped, usable
from approxhw.backends.estimate.timing.analyse import Surroundings, analyse
from approxhw.backends.estimate.timing.sizing import cell_sizes, size
from approxhw.common.errors import LibraryError, OptionError, ToolFailedError, ToolTimeoutError

SHARED = Path(__file__).resolve().parents[4].parent / "shared"
needs_shared = pytest.mark.skipif(
    not (SHARED / "liberty").is_dir(), reason="work material ../shared/liberty is not here"
)
GATES = {"INV": ("!A", 10, "negative"), "BUF": ("A", 22, "positive"), "NAND": ("!(A*B)", 14, "negative")}
GATES |= {"NOR": ("!(A+B)", 16, "negative"), "XOR": ("A^B", 30, "non")}


def table(name: str, base: float, resistance: float) -> str:
    """Return a table of base + slew/4 + resistance · load, in ps and fF."""
    rows = ", ".join(
        '"' + ", ".join(f"{base + slew / 4 + resistance * load:g}" for load in (0, 50)) + '"' for slew in (0, 200)
    )
    return f'{name} (t) {{ index_1 ("0, 200"); index_2 ("0, 50"); values ({rows}); }}'


def gate(name: str, strength: int) -> str:
    function, base, sense = GATES[name]
    pins = [pin for pin in "AB" if pin in function]
    inputs = "\n".join(f"pin ({pin}) {{ direction : input; capacitance : {strength}; }}" for pin in pins)
    arcs = "\n".join(
        f"""timing () {{ related_pin : "{pin}"; timing_sense : {sense}_unate;
        {table("cell_rise", base, 10 / strength)} {table("cell_fall", base * 0.8, 8 / strength)}
        {table("rise_transition", base / 2, 12 / strength)} {table("fall_transition", base / 2, 9 / strength)} }}"""
        for pin in pins
    )
    return f"""cell ({name}{strength}) {{ area : {len(pins) * (1 + strength) / 2:g}; {inputs}
      pin (Y) {{ direction : output; function : "{function}"; max_capacitance : {40 * strength}; {arcs} }} }}"""


def flop(strength: int) -> str:
    return f"""cell (FF{strength}) {{ area : {4 + strength}; ff (IQ, IQN) {{ clocked_on : "C"; next_state : "D"; }}
      pin (C) {{ direction : input; capacitance : 1; }}
      pin (D) {{ direction : input; capacitance : 1; timing () {{ related_pin : "C"; timing_type : setup_rising;
        rise_constraint (scalar) {{ values ("20"); }} fall_constraint (scalar) {{ values ("25"); }} }} }}
      pin (Q) {{ direction : output; function : "IQ";
        timing () {{ related_pin : "C"; timing_type : rising_edge; timing_sense : non_unate;
        {table("cell_rise", 60, 10 / strength)} {table("cell_fall", 50, 8 / strength)}
        {table("rise_transition", 10, 12 / strength)} {table("fall_transition", 10, 9 / strength)} }} }} }}"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> CellLibrary:
    """A library of five gates in three sizes and a flop in two, of straight lines."""
    path = tmp_path_factory.mktemp("library") / "plain.lib"
    cells = [gate(name, strength) for name in GATES for strength in (1, 2, 4)] + [flop(1), flop(2)]
    path.write_text(
        'library (plain) { time_unit : "1ps"; leakage_power_unit : "1nW"; capacitive_load_unit (1, ff);\n'
        + " nom_voltage : 1;\n"
        + "\n".join(cells)
        + "}"
    )
    return load_library(path)


ADDER = """module add #(parameter WIDTH = 8, parameter INVERT = 0) (input clk, input [WIDTH-1:0] a, b,
  output reg [WIDTH:0] y); reg [WIDTH-1:0] p, q;
  always @(posedge clk) begin p <= a; q <= b; y <= INVERT ? ~(p + q) : p + q; end endmodule"""
PLAIN_ADDER = "module add(input [7:0] a, b, output [8:0] y); assign y = a + b; endmodule"


def chain(library: CellLibrary, readers: int) -> Netlist:
    """Return a row of three inverters, the second of which *readers* read."""
    instances = [Instance("u0", "INV1", {"A": 2, "Y": 3}), Instance("u1", "INV1", {"A": 3, "Y": 4})]
    instances += [Instance(f"v{i}", "INV1", {"A": 4, "Y": 5 + i}) for i in range(readers)]
    ports = (Port("a", "input", (2,)), Port("y", "output", tuple(range(5, 5 + readers))))
    return Netlist("t", ports, tuple(instances), 5 + readers, {}, {}, "", {(): "t"}, library)


def test_sizes_are_cells_of_one_function(plain: CellLibrary) -> None:
    sizes = cell_sizes(plain)
    assert sizes["NAND2"] == ("NAND1", "NAND2", "NAND4")
    assert sizes["FF1"] == ("FF1", "FF2")
    assert sum(len(names) for names in {id(n): n for n in sizes.values()}.values()) == len(plain.cells) == 17


def test_the_loaded_gate_grows_and_nothing_else_needs_to(plain: CellLibrary) -> None:
    """Of three inverters in a row the one that ten others hang on: by hand it is the first to grow."""
    around = Surroundings(0, 0)
    slow = chain(plain, 10)
    before = analyse(slow, around).delay_ps
    # fall: u0 rises at 10 + 10, slew 5 + 12; u1 falls at 8 + 17/4 + 8 · 10 later, slew 5 + 17/4 + 90; v rises
    assert before == pytest.approx(max(20 + 8 + 17 / 4 + 80 + 10 + (5 + 17 / 4 + 90) / 4, 0), rel=0.2)
    sized = size(slow, 0.85 * before, around)
    assert sized.met
    assert sized.delay_ps == analyse(sized.netlist, around).delay_ps <= 0.85 * before
    cells = {instance.name: instance.cell for instance in sized.netlist.instances}
    assert cells["u1"] in ("INV2", "INV4")
    assert {cells[f"v{i}"] for i in range(10)} == {"INV1"}
    assert f"{cells['u1']} u1 (" in sized.netlist.verilog
    # what is larger than it need be becomes small again
    relaxed = size(sized.netlist, 2 * before, around)
    assert {instance.cell for instance in relaxed.netlist.instances} == {"INV1"}
    assert relaxed.netlist.area() == slow.area()


def test_what_cannot_be_met_is_said(plain: CellLibrary) -> None:
    started = time.monotonic()
    found = size(chain(plain, 10), 1.0, seconds=60)
    assert time.monotonic() - started < 30  # it stops where nothing helps, and not when time is up
    assert not found.met
    assert found.delay_ps == pytest.approx(analyse(found.netlist).delay_ps)
    assert found.delay_ps < analyse(chain(plain, 10)).delay_ps


def test_adders_are_built_as_asked(plain: CellLibrary) -> None:
    """Each kind adds; the carries of 32 bits take longest one after the other and least in Sklansky's tree."""
    source = "module add(input [31:0] a, b, output [31:0] y); assign y = a + b; endmodule"
    rng = np.random.default_rng(1)
    vectors = {name: rng.integers(0, 1 << 32, 1000) for name in "ab"}
    found = {}
    for kind in ADDERS:
        netlist = mapped(front(source, "add", plain, adders=kind), 1.0, "kept")
        assert np.array_equal(simulate_netlist(netlist, vectors)["y"], (vectors["a"] + vectors["b"]) % (1 << 32))
        found[kind] = (netlist.area(), analyse(netlist).delay_ps)
    areas, delays = zip(*(found[kind] for kind in ("ripple", "brent-kung", "sklansky")), strict=True)
    assert list(areas) == sorted(set(areas))
    assert list(delays) == sorted(set(delays), reverse=True)
    assert delays[0] > 1.5 * delays[1]


def test_load_limits_are_kept(plain: CellLibrary) -> None:
    """Sixty readers are above what the two smaller sizes may drive, however much time there is."""
    start = chain(plain, 60)
    large = tuple(replace(i, cell="INV2") if i.name == "u1" else i for i in start.instances)
    found = size(replace(start, instances=large), 1e6)
    assert found.met
    assert next(i.cell for i in found.netlist.instances if i.name == "u1") == "INV2"
    assert analyse(found.netlist).excesses == ()


def test_timing_after_many_exchanges_is_that_of_a_fresh_analysis(plain: CellLibrary) -> None:
    made = front(ADDER, "add", plain, adders="ripple")
    start = mapped(made, 100.0, "balanced")
    reference = analyse(start, Surroundings(clocked_inputs=True)).delay_ps
    compared = 0
    for share in (0.5, 0.8, 0.9, 1.0, 1.2, 2.0):
        around = Surroundings(clocked_inputs=True)
        found = size(start, share * reference, around)
        fresh = analyse(found.netlist, around).delay_ps
        assert found.delay_ps == pytest.approx(fresh, rel=1e-12)
        assert found.met == (fresh <= share * reference * (1 + 1e-12))
        assert found.met or share < 1
        compared += 1
    assert compared == 6


def test_inputs_out_of_registers_arrive_later(plain: CellLibrary) -> None:
    one = chain(plain, 1)
    bare, clocked = analyse(one, Surroundings(0, 0)), analyse(one, Surroundings(0, 0, clocked_inputs=True))
    # the flop's rise into 1 fF: 60 + 10, slew 10 + 12; its fall: 50 + 8, slew 10 + 9. Then u0 falls or rises.
    assert clocked.delay_ps - bare.delay_ps == pytest.approx(70 + 22 / 4, abs=2.0)
    registered = replace(one, library=replace(plain, cells={n: c for n, c in plain.cells.items() if "FF" not in n}))
    assert analyse(registered, Surroundings(0, 0, clocked_inputs=True)).delay_ps == bare.delay_ps


def exhaustive(width: int) -> dict[str, np.ndarray]:
    codes = np.arange(1 << 2 * width)
    return {"a": codes & ((1 << width) - 1), "b": codes >> width}


def test_sweep_gives_the_smallest_circuit_of_each_period(plain: CellLibrary) -> None:
    steps: list[tuple[str, int, int]] = []
    points = sweep(
        PLAIN_ADDER,
        None,
        plain,
        [2000, 60, 450, 450],
        scripts=("levels", "area"),
        on_progress=lambda *step: steps.append(step),
    )
    assert [point.period_ps for point in points] == [60, 450, 2000]
    assert [point.met for point in points] == [False, True, True]
    for earlier, later in itertools.pairwise(points):
        assert later.area_um2 <= earlier.area_um2
    assert points[-1].area_um2 < 0.9 * points[1].area_um2
    vectors = exhaustive(8)
    checked = 0
    for point in points:
        assert point.delay_ps == pytest.approx(analyse(point.netlist).delay_ps, rel=1e-12)
        assert point.met == (point.delay_ps <= point.period_ps)
        assert point.area_um2 == pytest.approx(point.netlist.area() * 1e6)
        seen = simulate_netlist(point.netlist, vectors)["y"]
        assert np.array_equal(seen, vectors["a"] + vectors["b"])
        checked += len(seen)
    assert checked == 3 * (1 << 16)
    assert steps[0] == ("synthesise", 0, 8)
    assert ("synthesise", 8, 8) in steps
    assert steps[-1] == ("size", 3, 3)


def test_sweep_of_variants_and_registers(plain: CellLibrary) -> None:
    """Parameters of the top are variants; registers bring their clock-to-output time and set-up."""
    variants = ({"WIDTH": 4, "INVERT": 1}, {"WIDTH": 4})
    (point,) = sweep(ADDER, "add", plain, [5000], variants=variants, scripts=("area",), adders=("ripple",))
    assert point.met
    assert point.variant in variants
    assert sum(len(port.nets) for port in point.netlist.outputs) == 5
    assert point.netlist.cells_by_type()["FF1"] == 13
    assert analyse(point.netlist, Surroundings(clocked_inputs=True)).delay_ps == pytest.approx(point.delay_ps)
    found = analyse(point.netlist)
    assert found.setup_ps in (pytest.approx(20), pytest.approx(25))


def test_bad_choices_are_all_told_at_once(plain: CellLibrary) -> None:
    with pytest.raises(OptionError) as caught:
        sweep(PLAIN_ADDER, "add", plain, [-1, 5], adders=("fast",), scripts=(), targets=0)
    text = str(caught.value)
    assert "periods: -1.0 is no clock period, give picoseconds above 0" in text.replace(" (", ", ").replace(
        ")", ""
    ) or ("-1.0 is no clock period" in text)
    assert "'fast' is not one of ripple, brent-kung, sklansky" in text
    assert "scripts: there are none" in text
    assert "targets: 0 is too few" in text
    with pytest.raises(OptionError, match="periods: there are none"):
        sweep(PLAIN_ADDER, "add", plain, [])
    with pytest.raises(LibraryError, match=r"cells have no delay tables, \w+ among them"):
        sweep(PLAIN_ADDER, "add", "egfet", [1e9])
    with pytest.raises(OptionError, match="'a b' is not a plain identifier"):
        front(PLAIN_ADDER, "add", plain, parameters={"a b": 1})
    with pytest.raises(OptionError, match="'quick' is not one of area, balanced"):
        mapped(front(PLAIN_ADDER, "add", plain), 100, "quick")
    with pytest.raises(ToolFailedError, match="syntax error"):
        sweep("module t(; endmodule", "t", plain, [100])


def test_syntheses_that_take_too_long_are_left_out(plain: CellLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ToolTimeoutError):
        sweep(PLAIN_ADDER, "add", plain, [100], timeout=0.05)
    large = "module m(input [31:0] a, b, output [63:0] y); assign y = a * b; endmodule"
    made = front(large, "m", plain)
    with pytest.raises(ToolTimeoutError):
        mapped(made, 100.0, "kept", timeout=0.4)

    def slow(design: UnmappedDesign, target: float, script: str, **options: Any) -> Netlist:
        if script == "area":
            raise ToolTimeoutError("yosys", 1.0, "")
        return mapped(design, target, script, **options)

    monkeypatch.setattr(clock_sweep, "mapped", slow)
    (point,) = sweep(PLAIN_ADDER, "add", plain, [2000], scripts=("area", "flow"), adders=("ripple",))
    assert point.script == "flow"
    with pytest.raises(ToolTimeoutError):
        sweep(PLAIN_ADDER, "add", plain, [2000], scripts=("area",), adders=("ripple",))


def test_cells_that_are_not_to_be_used_are_not(plain: CellLibrary) -> None:
    kept = usable(plain, ("XOR*", "*4"))
    assert set(plain.cells) - set(kept.cells) == {"XOR1", "XOR2", "XOR4", "INV4", "BUF4", "NAND4", "NOR4"}
    (point,) = sweep(PLAIN_ADDER, "add", plain, [300], scripts=("area",), adders=("ripple",), dont_use=("XOR*", "*4"))
    assert point.netlist.cells_by_type()
    assert not [name for name in point.netlist.cells_by_type() if name.startswith("XOR") or name.endswith("4")]


def test_library_for_abc_says_the_same(plain: CellLibrary, tmp_path: Path) -> None:
    """Written for ABC and read back, every gate has the tables it had."""
    path = tmp_path / "gates.lib"
    path.write_text(gates_liberty(plain))
    again = load_library(path)
    assert set(again.cells) == {name for name, cell in plain.cells.items() if cell.flip_flop is None}
    compared = 0
    for name, cell in again.cells.items():
        for arc, other in zip(cell.timing.arcs, plain.cells[name].timing.arcs, strict=True):
            assert (arc.pin, arc.follows, arc.opposes) == (other.pin, other.follows, other.opposes)
            for ours, theirs in zip((*arc.delays, *arc.slews), (*other.delays, *other.slews), strict=True):
                assert ours.at(30e-9, 7e-15) == pytest.approx(theirs.at(30e-9, 7e-15), rel=1e-6)
                compared += 1
    assert compared == 3 * (2 * 1 + 3 * 2) * 4


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize("name", ["sky130hd_tt", "sg13g2_typ_1v20"])
def test_curve_of_a_multiplier_on_silicon(name: str) -> None:
    """Area falls as the clock slows; every circuit multiplies, whatever its clock."""
    source = """module t(input clk, input [4:0] a, b, output reg [9:0] y); reg [4:0] p, q;
      always @(posedge clk) begin p <= a; q <= b; y <= p * q; end endmodule"""
    points = sweep(source, "t", SHARED / "liberty" / f"{name}.lib.gz", [1200, 1800, 6000])
    assert [point.met for point in points][1:] == [True, True]
    areas = [point.area_um2 for point in points]
    assert areas == sorted(areas, reverse=True)
    assert areas[1] > 1.03 * areas[2]
    vectors = exhaustive(5)
    product = vectors["a"] * vectors["b"]
    for point in points:
        assert not [cell for cell in point.netlist.cells_by_type() if "lpflow" in cell or "probe" in cell]
        seen = simulate_netlist(point.netlist, vectors)["y"]
        assert np.array_equal(seen[2:], product[:-2])
    assert json.dumps([point.variant for point in points]) == "[{}, {}, {}]"


def test_copies_of_a_circuit_leave_room_for_others(plain: CellLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five targets that gave one small and slow circuit count as one; what nearly meets the period is sized in any case."""
    slow, near, fast, hopeless = (chain(plain, readers) for readers in (1, 2, 3, 4))
    made = ({}, "ripple", "area")
    pool = [clock_sweep._Candidate(slow, 1.0, 120.0, made) for _ in range(5)]
    pool += [clock_sweep._Candidate(net, area, delay, made) for net, area, delay in ((near, 2, 102), (fast, 3, 90))]
    pool += [clock_sweep._Candidate(hopeless, 0.5, 126.0, made)]
    seen = []

    def size(netlist, period, around):
        seen.append(netlist)
        return SimpleNamespace(netlist=netlist, delay_ps=100.0)

    monkeypatch.setattr(clock_sweep, "size", size)
    (point,) = clock_sweep._choose(pool, [100.0], Surroundings(), 2, lambda *step: None)
    assert point.met
    assert [sum(other is net for other in seen) for net in (slow, near, fast, hopeless)] == [1, 1, 1, 0]
