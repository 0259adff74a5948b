"""The pass that gives tables units: bounds hold at every code that can occur, the ledger tells them, and circuits are equal."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from approxhw.common.errors import OptionError, PassError
from approxhw.ir.graph import Graph, Node, ranges
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import ArgMax, Clip, Dense, Input, Lookup, Relu, Type
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.ir.rewriting import code_constant
from approxhw.ir.text import parse_graph, print_graph
from approxhw.ir.verifier import problems
from approxhw.numerics.formats import Encoding, Fixed
from approxhw.numerics.functions.bounds import wanted_values
from approxhw.numerics.functions.units import UNIT_KINDS, ActivationUnit, Entries, Pieces, unit_values
from approxhw.numerics.mac.arithmetic import Exact
from approxhw.passes.activations.approximate_activation import ApproximateActivation

READ = Fixed(7, True, Fraction(1, 16))
MADE = Fixed(7, True, Fraction(1, 64))


def table_of(values):
    """Codes from the lowest on → entries by pattern."""
    return tuple(np.roll(values, len(values) // 2).tolist())


TANH = table_of(np.floor(wanted_values(("x", "tanh"), READ, MADE) + 0.5).astype(int))
NOISE = table_of(np.random.default_rng(2).integers(-60, 60, 128))


def graph_of(*tables, low=-50, high=60):
    """A row of four codes, sums of them that reach *low* to *high*, a table for each of two of them, and a class."""
    encoding, step = Encoding(4, "round", (0.0,) * 4, (1.0,) * 4), READ.scale
    names = ("a", "b", "c", "d")
    bias = code_constant("b", np.array([2, -3], dtype=object))
    nodes = [
        Node("x", Input(names, names, encoding), (), Type((4,), Fixed(4, False, step))),
        code_constant("w", np.array([[3, -2, 1, -1], [-2, 2, -1, 3]], dtype=object)),
        replace(bias, type=Type((2,), replace(bias.type.format, scale=step))),
        Node("z", Dense(Exact(3)), ("x", "w", "b"), Type((2,), Fixed(8, True, step))),
        Node("cut", Clip(low, high), ("z",), Type((2,), READ)),
    ]
    for number, table in enumerate(tables):
        op = Lookup(("x", "tanh") if table is TANH else (), table)
        nodes.append(Node(f"h{number}", op, (nodes[-1].name if number else "cut",), Type((2,), MADE)))
    nodes.append(Node("class_index", ArgMax(), (nodes[-1].name,), Type((), Fixed(1))))
    return Graph("tabled", tuple(nodes), "class_index")


def passed(graph, text, **context):
    made, ledger = run_passes(graph, parse_passes(text), PassContext(**context))
    return made, [note for record in ledger for note in record.notes]


@pytest.mark.parametrize("unit", UNIT_KINDS)
@pytest.mark.parametrize("bound", [0, 1, 2])
def test_every_code_that_can_occur_is_within_the_bound(unit, bound):
    graph = graph_of(TANH)
    made, notes = passed(graph, f"approximate-activation{{unit={unit},max_ulp={bound}}}")
    op = made["h0"].op
    off = np.abs(np.array(op.table) - np.array(TANH))
    codes = np.arange(-50, 61) % 128
    assert op.unit.kind == unit
    assert off[codes].max() <= (0 if "table" in unit else bound)
    assert np.roll(unit_values(op.unit), -64).tolist() == list(op.table)
    assert f"at most {off[codes].max()} off" in notes[0]
    assert notes[0].startswith("h0: tanh(x) by ")


def test_tables_keep_every_output():
    graph = graph_of(TANH)
    rows = np.random.default_rng(1).integers(0, 16, (500, 4))
    for unit in ("table", "compressed-table"):
        made, _ = passed(graph, f"approximate-activation{{unit={unit}}}")
        for value in ("h0", "class_index"):
            assert (run(replace(made, output=value), rows) == run(replace(graph, output=value), rows)).all()


def test_codes_that_cannot_occur_cost_nothing():
    few, _ = passed(graph_of(TANH, low=-3, high=3), "approximate-activation{unit=pwl,max_ulp=0}")
    all_of_them, _ = passed(graph_of(TANH, low=-64, high=63), "approximate-activation{unit=pwl,max_ulp=0}")
    assert len(few["h0"].op.unit.core.starts) < len(all_of_them["h0"].op.unit.core.starts)
    low, high = ranges(few)["h0"]
    assert (min(low), max(high)) == (min(TANH[c % 128] for c in range(-3, 4)), max(TANH[c] for c in range(4)))


def test_the_smallest_is_the_one_of_least_area():
    seen = []

    def area(graph: Graph) -> float:
        unit = graph["value"].op.unit
        seen.append("whole" if unit is None else unit.kind)
        return {"whole": 9.0, "poly": 1.0}.get(seen[-1], 5.0)

    made, notes = passed(graph_of(TANH), "approximate-activation", area=area)
    assert made["h0"].op.unit.kind == "poly"
    assert set(UNIT_KINDS) < set(seen)
    assert "1 mm² beside 9 of the whole table (egfet)" in notes[0]


def test_every_table_has_a_unit_of_its_own():
    graph = graph_of(TANH, NOISE)
    made, notes = passed(graph, "approximate-activation{unit=pwl,max_ulp=30}")
    assert [note.split(":")[0] for note in notes] == ["h0", "h1"]
    assert made["h0"].op.unit != made["h1"].op.unit


def test_a_graph_without_tables_stays_as_it_is():
    graph = graph_of()
    made, notes = passed(graph, "approximate-activation")
    assert made is graph
    assert notes == ["there is no table of a function: nothing changed"]


def test_what_nothing_meets_is_told_of_every_table():
    with pytest.raises(PassError) as caught:
        passed(graph_of(NOISE, NOISE), "approximate-activation{unit=pade,max_ulp=0}")
    said = str(caught.value)
    assert "h0: its table: no pade unit makes it within 0 steps of s7<2^-6> from s7<2^-4>" in said
    assert "h1: its table" in said
    assert "or take a table" in said


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            "unit=pvl",
            "approximate-activation.unit: 'pvl' is not one of table, compressed-table, pwl, poly, pade, smallest",
        ),
        ("max_ulp=-1", "approximate-activation.max_ulp: -1.0 is not a number from 0 on"),
        ("max_ulp=nan", "approximate-activation.max_ulp: 'nan' is no number"),
    ],
)
def test_options_out_of_reach_are_refused(options, told):
    with pytest.raises(OptionError) as caught:
        parse_passes(f"approximate-activation{{{options}}}")
    assert told in str(caught.value)


def test_no_number_is_no_bound():
    with pytest.raises(OptionError, match="max_ulp: nan is not a number from 0 on"):
        ApproximateActivation(max_ulp=float("nan"))


def test_real_graphs_are_refused():
    from approxhw.numerics.formats import FLOAT64

    nodes = (
        Node("x", Input(("a",), ("a",)), (), Type((1,), FLOAT64)),
        Node("y", Relu(), ("x",), Type((1,), FLOAT64)),
    )
    with pytest.raises(PassError, match="run quantize-weights before"):
        passed(Graph("of_reals", nodes, "y"), "approximate-activation")


def test_texts_hold_units_and_the_verifier_holds_them_to_their_tables():
    made, _ = passed(graph_of(TANH), "approximate-activation{unit=pwl}")
    text = print_graph(made)
    assert '"unit":{"x":"s7","y":"s7",' in text.replace(" ", "")
    assert parse_graph(text) == made
    op = made["h0"].op
    for unit, told in (
        (replace(op.unit, core=Entries((9,) * 64)), "its unit makes 9 of entry 0, its table says"),
        (
            ActivationUnit(6, True, 7, True, Pieces((0,), ((0, 1),), (0,))),
            "its unit reads 6 bits, its table has 128 codes",
        ),
        (replace(op.unit, bits=17), "codes of 1 to 16 bits"),
    ):
        nodes = tuple(replace(n, op=replace(op, unit=unit)) if n.name == "h0" else n for n in made.nodes)
        assert any(told in problem.why for problem in problems(replace(made, nodes=nodes))), told
