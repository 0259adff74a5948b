"""Cell tables and Liberty files: figures, functions, and what is said about broken ones."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from approxhw.backends.estimate import built_in_libraries, load_library
from approxhw.backends.estimate.library import liberty_syntax, logic
from approxhw.backends.estimate.library.cells import check_cell
from approxhw.backends.estimate.library.load import TABLES
from approxhw.common.errors import LibraryError, OptionError

SHARED = Path(__file__).resolve().parents[3].parent / "shared"
needs_shared = pytest.mark.skipif(
    not (SHARED / "liberty").is_dir(), reason="work material ../shared/liberty is not here"
)

LIBERTY = """
library (tiny) {
  /* a comment with a brace { */
  time_unit : "1ns"; leakage_power_unit : "1nW"; capacitive_load_unit (1, pf);
  nom_voltage : 1.5;
  cell (INV) { area : 2.0;
    leakage_power () { value : 7; when : "A"; }
    leakage_power () { value : 3; when : "!A"; }
    pin (A) { direction : input; capacitance : 0.002; }
    pin (Y) { direction : output; function : "!A";
      timing () { related_pin : "A";
        cell_rise (t) { index_1 ("1, 2"); index_2 ("0.001, 0.002, 0.004"); values ("1.0, 2.0, 3.0", \\
          "4, 5, 6"); }
        cell_fall (t) { index_1 ("1, 2"); index_2 ("0.001, 0.002, 0.004"); values ("0.5, 0.75, 1", "4, 5, 6"); }
      }
    }
  }
  cell (NAND) { area : 3.0;
    leakage_power () { value : 1; when : "A*B"; }
    pin (A) { direction : input; capacitance : 0.002; }
    pin (B) { direction : input; capacitance : 0.003; }
    pin (Y) { direction : output; function : "(A B)'"; }
  }
}
"""


def write(folder: Path, text: str, name: str = "tiny.lib") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_built_in_libraries_load_and_are_whole() -> None:
    assert built_in_libraries() == ("egfet", "egfet_0v6", "sky130")
    for name in built_in_libraries():
        library = load_library(name)
        assert len(library.cells) >= 9
        assert library.inverter.area > 0
        for cell in library.cells.values():
            assert check_cell(cell) == []
            if cell.flip_flop is None:  # every input state has its figure
                assert len(cell.powers) == 1 << len(cell.inputs), cell.name


def test_alias_names_the_same_library() -> None:
    assert load_library("egfet_1v0") is load_library("egfet")
    assert load_library(load_library("egfet")) is load_library("egfet")


def test_egfet_figures_of_the_published_characterisation() -> None:
    cells = load_library("egfet").cells
    assert cells["NAND2X1"].area == 0.24786
    assert cells["NAND2X1"].powers == {"00": 0.248054, "01": 0.490604, "10": 0.391073, "11": 18.5691}
    assert cells["INVX1"].delays["Y"] == (0.932, 0.0779154)
    assert 9 * cells["NAND2X1"].area == pytest.approx(2.231, abs=5e-4)  # the cheapest full adder
    assert 4 * cells["NAND2X1"].area + cells["INVX1"].area == pytest.approx(1.220, abs=5e-4)  # half adder
    assert load_library("egfet_0v6").voltage == 0.6
    assert load_library("egfet").buffer is None
    assert load_library("sky130").buffer.name == "buf_1"


@needs_shared
@pytest.mark.parametrize(("table", "file", "prefix"), [
    ("egfet", "egfet_1v0.lib.gz", ""),
    ("egfet_0v6", "egfet_0v6.lib.gz", ""),
    ("sky130", "sky130hd_tt.lib.gz", "sky130_fd_sc_hd__"),
])  # fmt: skip
def test_table_agrees_with_its_source(table: str, file: str, prefix: str) -> None:
    ours, theirs = load_library(table), load_library(SHARED / "liberty" / file)
    assert ours.voltage == theirs.voltage
    assert ours.frequency == theirs.frequency
    for name, cell in ours.cells.items():
        if name == "DFFX1":  # modelled as a latch there; the table says so
            assert "latch" in theirs.left_out[name]
            continue
        source = theirs.cells[prefix + name]
        assert cell.area == pytest.approx(source.area, rel=1e-9)
        assert cell.inputs == source.inputs
        # states that no `when` names, which a flop held by its reset is never in, have the cell's mean there
        assert cell.powers == pytest.approx({state: source.powers[state] for state in cell.powers}, rel=1e-6), name
        assert len(set(source.powers.values()) - {source.powers[state] for state in cell.powers}) <= 1, name
        assert cell.capacitances == pytest.approx(source.capacitances, rel=1e-9)
        for pin, function in cell.functions.items():
            assert cell.delays[pin] == pytest.approx(source.delays[pin], rel=1e-6), name
            if cell.flip_flop is None:
                assert logic.table(function, cell.inputs) == logic.table(source.functions[pin], cell.inputs)


@needs_shared
def test_all_four_liberty_files_are_read() -> None:
    counts = {path.name: len(load_library(path).cells) for path in sorted((SHARED / "liberty").glob("*.lib.gz"))}
    assert len(counts) == 4
    assert counts["egfet_1v0.lib.gz"] == 9  # all but DFFX1 (a latch there) and the tristate buffer
    assert counts["sg13g2_typ_1v20.lib.gz"] > 50
    assert counts["sky130hd_tt.lib.gz"] > 250
    ihp = load_library(SHARED / "liberty" / "sg13g2_typ_1v20.lib.gz")
    assert ihp.left_out["sg13g2_ebufn_2"] == "tristate output"
    assert ihp.voltage == 1.2


def test_liberty_figures_and_units(tmp_path: Path) -> None:
    library = load_library(write(tmp_path, LIBERTY))
    inverter = library.cells["INV"]
    assert library.voltage == 1.5
    assert inverter.area == pytest.approx(2e-6)  # µm² → mm²
    assert inverter.powers == pytest.approx({"0": 0.003, "1": 0.007})  # nW → µW
    assert inverter.capacitances["A"] == pytest.approx(2e-15)
    assert inverter.delays["Y"] == pytest.approx((2e-6, 0.75e-6))  # load 0.002: that of one inverter input
    assert library.cells["NAND"].powers == pytest.approx({"11": 0.001})  # the other states are not made up
    assert library.cells["NAND"].function_text == {"Y": "!(A*B)"}


def test_liberty_flop_rests_with_its_clock_low(tmp_path: Path) -> None:
    flop = """cell (FF) { area : 9; ff (IQ, IQN) { clocked_on : "C"; next_state : "D"; clear : "!R"; }
      leakage_power () { value : 1; when : "!C * D * R * Q"; } leakage_power () { value : 2; when : "C * D * R * Q"; }
      leakage_power () { value : 4; when : "!C !D R !Q"; }
      pin (C) { direction : input; } pin (D) { direction : input; } pin (R) { direction : input; }
      pin (Q) { direction : output; function : "IQ"; } }"""
    text = LIBERTY.replace("cell (NAND)", f"{flop}\n  cell (NAND)")
    cell = load_library(write(tmp_path, text)).cells["FF"]
    assert cell.state_pins == ("D", "R", "IQ")
    assert cell.powers == pytest.approx({"111": 0.001, "010": 0.004})
    assert cell.flip_flop.rising
    falling = load_library(write(tmp_path, text.replace('clocked_on : "C"', 'clocked_on : "C\'"'))).cells["FF"]
    assert not falling.flip_flop.rising
    assert falling.powers == pytest.approx({"111": 0.002})  # its clock rests high


def test_gzip_is_read_whatever_the_file_is_called(tmp_path: Path) -> None:
    path = tmp_path / "tiny.lib"
    path.write_bytes(gzip.compress(LIBERTY.encode()))
    assert set(load_library(path).cells) == {"INV", "NAND"}


def test_cut_off_liberty_names_the_line_that_stays_open(tmp_path: Path) -> None:
    text = LIBERTY[: LIBERTY.index("cell_fall")]
    with pytest.raises(LibraryError, match=r"line 11: the file ends \(line 13\) inside the group that line 11 opens"):
        load_library(write(tmp_path, text))


def test_cut_off_gzip(tmp_path: Path) -> None:
    path = tmp_path / "tiny.lib.gz"
    path.write_bytes(gzip.compress(LIBERTY.encode())[:200])
    with pytest.raises(LibraryError, match="cannot be read whole"):
        load_library(path)


def test_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liberty_syntax, "MAX_BYTES", 2_000_000)
    path = tmp_path / "bomb.lib.gz"
    path.write_bytes(gzip.compress(b" " * 3_000_000))
    assert path.stat().st_size < 10_000
    with pytest.raises(LibraryError, match="larger than 2 MB"):
        load_library(path)


@pytest.mark.parametrize(("old", "new", "says"), [
    ("library (tiny)", "liberty (tiny)", "it has no library group"),
    ("area : 2.0", "area : big", "line 6, cell INV: area is 'big', no finite number"),
    ("value : 7", "value : nan", "leakage value is 'nan', no finite number"),
    ('when : "A"', 'when : "A & & "', "unexpected '&'"),
    ('when : "A"', 'when : "Z"', "a leakage group speaks of 'Z', which is no pin"),
    ("nom_voltage : 1.5", "nom_voltage : high", "nom_voltage is 'high', no finite number"),
    ('"1nW"', '"a lot"', "leakage_power_unit is 'a lot', not a number and a unit"),
    ('"1nW"', '"1nF"', "leakage_power_unit is '1nF', not a number and a unit such as 1nW"),
    ('"1nW"', '"1MW"', "leakage_power_unit is '1MW', not a number and a unit such as 1nW"),
    ('"1ns"', '"0ns"', "time_unit is '0', not above 0: all figures would be 0"),
    ('"1ns"', '"1xs"', "time_unit is '1xs', not a number and a unit such as 1ns"),
    ("(1, pf)", "(-1, pf)", "capacitive_load_unit is '-1pf', not a number and a unit such as 1pf"),
    ("(1, pf)", "(1, nW)", "capacitive_load_unit is '1nW', not a number and a unit such as 1pf"),
    ("nom_voltage : 1.5", "nom_voltage : 0", "nom_voltage is '0', not above 0"),
    ("pin (A) {", "pin (A) } {", "line 9: not Liberty syntax"),
])  # fmt: skip
def test_broken_liberty(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in LIBERTY
    with pytest.raises(LibraryError) as caught:
        load_library(write(tmp_path, LIBERTY.replace(old, new, 1)))
    assert says in str(caught.value)


def test_units_in_letters_of_any_size(tmp_path: Path) -> None:
    small = LIBERTY.replace("(1, pf)", '(1000, "FF")').replace('"1ns"', '"1000PS"').replace('"1nW"', '"1000 pw"')
    assert small.count("1000") == 3
    assert load_library(write(tmp_path, small)).cells == load_library(write(tmp_path, LIBERTY)).cells


def test_all_units_that_are_wrong_are_told_at_once(tmp_path: Path) -> None:
    wrong = LIBERTY.replace("(1, pf)", "(0, pf)").replace('"1ns"', '"ns"').replace("nom_voltage : 1.5", "")
    with pytest.raises(LibraryError) as caught:
        load_library(write(tmp_path, wrong))
    assert [problem.why.partition(" ")[0] for problem in caught.value.problems] == [
        "time_unit",
        "capacitive_load_unit",
        "nom_voltage",
    ]


def test_cells_that_cannot_be_used_are_left_out_with_the_reason(tmp_path: Path) -> None:
    odd = LIBERTY.replace(
        "cell (NAND)",
        'cell ("N; exec rm") { area : 1; pin (Y) { direction : output; function : "1"; } }\n  cell (NAND)',
    )
    assert load_library(write(tmp_path, odd)).left_out == {
        "N; exec rm": "N; exec rm is not an identifier of letters, digits and _"
    }


def test_unknown_library_lists_what_there_is() -> None:
    with pytest.raises(OptionError, match="built in are: egfet, egfet_0v6, sky130, egfet_1v0, sky130_hd"):
        load_library("egfat")


@pytest.mark.parametrize(("old", "new", "says"), [
    ("area = 0.22842", "area = -1", "cell INVX1: `area` is -1, and must be at least 0"),
    ("area = 0.22842", 'area = "small"', "cell INVX1: `area` is not a finite number"),
    ('{ "0" = 0.491103', '{ "2" = 0.491103', "cell INVX1: power state '2' is not 1 digits of 0 and 1"),
    ('Y = "!A"', 'Y = "!B"', "cell INVX1: reads B, which is no input pin with a capacitance"),
    ('Y = "!A"', 'Y = "!(A"', "cell INVX1 function.Y: not a Boolean expression: a bracket is not closed"),
    ('area = "mm2"', 'area = "acre"', "units: `area` is not one of mm2, um2"),
    ("voltage = 1.0", "voltage = 0", "library: `voltage` is 0, and must be above 0"),
    ("[cells.INVX1.source]", "[cells.INVX1.origin]", "INVX1: `source` does not name where area and power come from"),
    ('title = "', "title = ", "not a readable TOML table"),
    ('edge = "rising"', 'edge = "both"', "cell DFFX1: `flop` must give clock, data and edge (rising or falling)"),
])  # fmt: skip
def test_broken_table(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = (TABLES / "egfet.toml").read_text()
    assert old in text
    with pytest.raises(LibraryError) as caught:
        load_library(write(tmp_path, text.replace(old, new, 1), "mine.toml"))
    assert says in str(caught.value)


def test_all_problems_of_a_table_at_once(tmp_path: Path) -> None:
    text = (
        (TABLES / "egfet.toml")
        .read_text()
        .replace("area = 0.22842", "area = -1")
        .replace("voltage = 1.0", "voltage = 0")
    )
    with pytest.raises(LibraryError, match="2 problems"):
        load_library(write(tmp_path, text, "mine.toml"))


@pytest.mark.parametrize(("text", "table"), [
    ("A+B*C", 0b11111000),
    ("A B", 0b11000000),
    ("!A'", 0b11110000),
    ("A^B*C", 0b00101000),  # xor binds tighter than and
    ("(A + B)' C", 0b00000010),
    ("!(!A | 0) & 1", 0b11110000),
])  # fmt: skip
def test_liberty_precedence(text: str, table: int) -> None:
    assert logic.table(logic.parse_expression(text), ("A", "B", "C")) == table


@pytest.mark.parametrize("text", ["", "A+", "(A", "A)", "A + ?", "!" * 5, "(" * 100 + "A" + ")" * 100])
def test_expressions_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        logic.parse_expression(text)


def test_unateness() -> None:
    function = logic.parse_expression("(A0*!S)+(A1*S)")
    assert logic.unateness(function, ("A0", "A1", "S"), "A0") == (True, False)
    assert logic.unateness(function, ("A0", "A1", "S"), "S") == (True, True)
    assert logic.unateness(logic.parse_expression("!A"), ("A",), "A") == (False, True)
