"""Liberty and TOML libraries as anybody may write them: odd, broken, deep, huge, and without what an estimate would like."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest

from approxhw.backends.estimate import estimate, estimate_hierarchy, load_library
from approxhw.backends.estimate.library import liberty_syntax, logic
from approxhw.backends.estimate.library.cells import IDENTIFIER, KEYWORDS, plain_cell_name
from approxhw.backends.estimate.library.liberty_syntax import parse_library
from approxhw.backends.estimate.library.load import TABLES
from approxhw.backends.estimate.netlist.text import verilog_of_titles
from approxhw.backends.estimate.synthesis.synthesise import genlib, synthesise
from approxhw.common.errors import LibraryError

HEAD = 'time_unit : "1ns"; leakage_power_unit : "1nW"; capacitive_load_unit (1, pf); nom_voltage : 1.0;'
ARC = (
    'timing () {{ related_pin : "{pin}"; cell_rise (scalar) {{ values ("0.1"); }} cell_fall (scalar) {{ values ("0.1"); }}'
    ' rise_transition (scalar) {{ values ("0.1"); }} fall_transition (scalar) {{ values ("0.1"); }} }}'
)


def gate(name: str, area: str, function: str, more: str = "") -> str:
    pins = sorted(set(re.findall("[AB]", function)))
    inputs = "".join(f"pin ({pin}) {{ direction : input; capacitance : 0.002; }} " for pin in pins)
    arcs = "".join(ARC.format(pin=pin) for pin in pins)
    output = f'pin (Y) {{ direction : output; function : "{function}"; {arcs} }}'
    return f"cell ({name}) {{ {area} {more} {inputs} {output} }}\n"


def library(*cells: str, head: str = "") -> str:
    return f"library (t) {{ {HEAD} {head}\n{''.join(cells)}}}\n"


INV, NAND = gate("INV", "area : 1;", "!A"), gate("ND", "area : 2;", "!(A B)")
LEAKS = "cell_leakage_power : 3;"


@pytest.fixture
def load(tmp_path):
    def loaded(text: str | bytes, name: str = "t.lib"):
        path: Path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_library(path)

    return loaded


@pytest.fixture
def refusal(load):
    def refused(text: str | bytes, name: str = "t.lib") -> str:
        with pytest.raises(LibraryError) as caught:
            load(text, name)
        return str(caught.value)

    return refused


def statements(text: str) -> int:
    """Return how many steps the reader takes: characters that its patterns look at, counted by their matches."""
    reader, steps = liberty_syntax._Reader(text, Path("t.lib")), 0
    past = reader.past

    def counting(what: re.Pattern[str]) -> re.Match[str] | None:
        nonlocal steps
        before = reader.at
        found = past(what)
        steps += 1 + reader.at - before
        return found

    reader.past = counting  # type: ignore[method-assign]
    with contextlib.suppress(LibraryError):
        while reader.at < len(text):
            reader.statement()
            reader.past(liberty_syntax._BLANKS)
    return steps


@pytest.mark.parametrize("filling", [" ", "\t", "a", "a ", "(", '"', "/", "\\\n", "\n", "}"])
def test_time_grows_with_the_text_and_not_faster(filling):
    """`library (x) { a : ` and 2000 blanks took minutes: a pattern tried every way to part them."""
    few, many = (statements(f"library (x) {{ a : {filling * count}{{") for count in (1000, 2000))
    assert many < 2.5 * few + 100


@pytest.mark.parametrize(
    "name", ["_BLANKS", "_NAME", "_SPACES", "_VALUE", "_ENDED", "_INSIDE", "_COMMENT", "_ARGUMENT"]
)
def test_patterns_give_nothing_back(name):
    """Every repetition is possessive, but for one that ends where the whole pattern does."""
    pattern = getattr(liberty_syntax, name).pattern
    greedy = re.findall(
        r"(?<![\\(])[*+](?![+])", re.sub(r"\[[^\]]*\]", "x", pattern.replace("*+", "").replace("++", ""))
    )
    assert len(greedy) <= (name in ("_COMMENT", "_ARGUMENT")), pattern


def test_two_thousand_blanks(refusal):
    assert "line 1: not Liberty syntax: 'a :'" in refusal("library (x) { a : " + " " * 2000 + "{")


def test_reading_is_under_a_limit_of_time(refusal, monkeypatch):
    monkeypatch.setattr(liberty_syntax, "MAX_SECONDS", -1)
    assert "not read within -1 s\n    do: keep only the cells you need" in refusal(library(INV))


def test_groups_nested_without_end(refusal):
    assert "groups nested deeper than 40" in refusal("library (x) {" + "a () {" * 100_000)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("A" + "'" * 1999, "1"),
        ("!" * 1999 + "A", "1"),
        ("+".join("AB"[i % 2] for i in range(1000)), "111"),
        ("A" + "^A" * 999, "0"),
        ("(" * 60 + "A" + ")" * 60, "0"),
    ],
)
def test_deep_expressions_are_read(text, says):
    """A chain of a thousand is a tree of ten: what walks it never goes deep."""
    expression = logic.parse_expression(text)
    pins = tuple(sorted(expression.pins()))
    assert logic.table(expression, pins) in range(1 << (1 << len(pins)))
    depth = 0
    level = [expression]
    while level:
        depth, level = depth + 1, [each for item in level for each in item.operands]
    assert depth < 100


@pytest.mark.parametrize("text", ["A" + "'" * 100_000, "!" * 100_000 + "A", "(" * 100_000, "A+" * 100_000 + "A"])
def test_endless_expressions_are_refused(text, refusal):
    assert "longer than 2000 symbols" in refusal(library(INV, gate("X", "area : 1;", text.replace("A", "A B"))))


def test_complements_of_complements_fall_out():
    assert logic.parse_expression("A''") == logic.parse_expression("!!A") == logic.parse_expression("A")
    assert logic.parse_expression("!A''") == logic.parse_expression("A'")


@pytest.mark.parametrize(
    "text", ["x = " + "[" * 100_000, "x = " + "{a=" * 100_000, "[a" + ".a" * 100_000 + "]", "x = " + "9" * 9999]
)
def test_deep_toml_is_refused(text, refusal):
    said = refusal(text, "t.toml")
    assert "not a readable TOML table: " in said
    assert ("keys of too many parts" in said) == ("." in text)


def test_a_library_in_toml_is_read_anew_when_it_has_changed(load):
    text = (TABLES / "egfet.toml").read_text()
    assert load(text, "t.toml").cells["INVX1"].area == 0.22842
    assert load(text.replace("area = 0.22842", "area = 0.5"), "t.toml").cells["INVX1"].area == 0.5


def test_marks_comments_continued_lines_and_capitals(load):
    text = library(INV, NAND).replace("area : 2", "AREA : \\\n 2").replace("direction : input", "Direction : INPUT")
    text = '\ufeff/* one { " */ // two }\n' + text.replace("cell (ND)", "define (a, cell, string);\ncell\n (ND)\n")
    found = load(text.replace("\n", "\r\n"))
    assert {name: cell.area for name, cell in found.cells.items()} == pytest.approx({"INV": 1e-6, "ND": 2e-6})


def test_other_files_are_not_read(refusal):
    assert "line 2: other files are not read: include_file\n    do: put the contents" in (
        refusal(library("include_file (/etc/passwd);", INV))
    )


def test_cells_that_share_a_name(refusal):
    text = library(INV, NAND, gate("INV", "area : 7;", "!A"))
    assert "line 4, cell INV: line 2 describes a cell of that name already\n    do: keep one of them" in refusal(text)


@pytest.mark.parametrize(
    ("area", "says"),
    [
        ("area : -1;", "area is '-1', below 0"),
        ("area : nan;", "area is 'nan', no finite number"),
        ("area : inf;", "area is 'inf', no finite number"),
        ("area : 1e999;", "area is '1e999', no finite number"),
    ],
)
def test_areas_that_are_none(area, says, refusal):
    assert says in refusal(library(INV, gate("ND", area, "!(A B)")))


@pytest.mark.parametrize("area", ["area : 0;", "area : 0.0;", ""])
def test_cells_that_would_cost_nothing_are_left_out(area, load):
    """Mapping would take them for everything; an inverter of no area was a division by zero."""
    found = load(library(gate("INV", area, "!A"), NAND))
    assert found.left_out == {"INV": "it has no area, and would cost nothing"}
    with pytest.raises(LibraryError, match="no inverter; left out is INV: it has no area, and would cost nothing"):
        genlib(found)
    with pytest.raises(LibraryError, match=r"no cell of two inputs .*; left out are ND: it has no"):
        genlib(load(library(INV, gate("ND", area, "!(A B)"))))
    table = (TABLES / "egfet.toml").read_text().replace("area = 0.22842", "area = 0")
    with pytest.raises(LibraryError, match="cell INVX1: `area` is 0: the cell would cost nothing"):
        load(table, "t.toml")


@pytest.mark.parametrize(
    ("said", "default", "powers"),
    [
        ("", "", {}),
        (LEAKS, "", {"0": 3, "1": 3}),
        ("", "default_cell_leakage_power : 5;", {"0": 5, "1": 5}),
        (LEAKS, "default_cell_leakage_power : 5;", {"0": 3, "1": 3}),
        ("leakage_power () { value : 2; }", "", {"0": 2, "1": 2}),
        ('leakage_power () { value : 2; } leakage_power () { value : 7; when : "A"; }', "", {"0": 2, "1": 7}),
        (f'{LEAKS} leakage_power () {{ value : 7; when : "A"; }}', "", {"0": 3, "1": 7}),
        ('leakage_power () { value : 7; when : "A"; }', "default_cell_leakage_power : 5;", {"0": 5, "1": 7}),
        (
            'leakage_power () { related_pg_pin : "V"; value : 1; } '
            'leakage_power () { related_pg_pin : "G"; value : 4; when : "A"; }',
            "",
            {"0": 1, "1": 5},
        ),
    ],
)
def test_leakage_without_states_is_that_of_every_state_not_named(said, default, powers, load):
    found = load(library(gate("INV", "area : 1;", "!A", said), NAND, head=default)).cells["INV"].powers
    assert found == pytest.approx({state: value * 1e-3 for state, value in powers.items()})


AND = "module top (input [1:0] a, output y); assign y = &a; endmodule"


def test_area_and_delay_are_told_where_the_power_is_not_known(load):
    found = load(library(INV, NAND))
    cost = estimate(AND, "top", found)
    assert (cost.area_mm2, cost.delay_ns) == (pytest.approx(3e-6), pytest.approx(0.2))
    assert (cost.power_mw, cost.static_power_mw) == (None, None)
    assert cost.dynamic_power_mw > 0
    assert "cell ND: has no static power for state A=0 B=0, which the vectors reach" in "".join(
        map(str, cost.power_unknown)
    )
    assert cost.as_json()["power_mw"] is None
    with pytest.raises(LibraryError, match="has no static power for state"):
        cost.known_power_mw()
    parts = estimate_hierarchy(AND, "top", found)
    assert (parts.area_mm2, parts.power_mw, parts.below()[1]) == (pytest.approx(3e-6), None, None)


def test_odd_names_are_plain_for_tools_and_their_own_for_people(load):
    """A name that is none for ABC lost its cell, and with the last NAND gone ABC gave up."""
    odd = library(INV.replace("(INV)", '("INV.1")'), NAND.replace("(ND)", "(2ND-x)"), gate("and", "area : 9;", "A B"))
    cells = load(odd).cells
    assert {name: cell.title for name, cell in cells.items()} == {
        "cell_INV_1": "INV.1",
        "cell_2ND_x": "2ND-x",
        "cell_and": "and",
    }
    plain = load(odd[: odd.index("cell (and)")] + "}")
    netlist, cost = synthesise(AND, "top", plain), estimate(AND, "top", plain)
    assert cost.cells_by_type == {"2ND-x": 1, "INV.1": 1}
    assert any(step.startswith("2ND-x -> ") for step in cost.critical_path)
    text = verilog_of_titles(netlist)
    assert re.search(r"^ +\\2ND-x \w+ \(", text, re.MULTILINE)
    assert "cell_2ND_x" not in text


@pytest.mark.parametrize("title", [*sorted(KEYWORDS)[:3], "a-b", "1", "_const0_", "é", "x" * 150, "a[0]", "a;b"])
def test_plain_names_are_identifiers_and_differ(title):
    first = plain_cell_name(title, ())
    second = plain_cell_name(title, {first})
    assert first != second
    for name in (first, second):
        assert IDENTIFIER.fullmatch(name)
        assert name not in KEYWORDS
    assert plain_cell_name("NAND2_X1", ()) == "NAND2_X1"


@pytest.mark.parametrize("title", ["", "a b", "a\nb", "x" * 500])
def test_names_that_are_none_stay_to_be_refused(title):
    assert plain_cell_name(title, ()) == title


def test_pins_that_share_a_description(load):
    text = NAND.replace("pin (A) { direction : input; capacitance : 0.002; } pin (B) ", "pin (A, B) ")
    assert text != NAND
    assert load(library(INV, text)).cells["ND"].inputs == ("A", "B")


def test_groups_that_nobody_needs_are_walked_over():
    top = parse_library("library (x) { odd (1) { cell (no) { } } cell (yes) { } }", Path("t.lib"))
    assert top is not None
    assert [group.label for group in top.inside("cell")] == ["yes"]
