"""Multipliers measured: files, tables and our own side by side, errors and costs, what is broken, what beats what."""

from __future__ import annotations

import numpy as np
import pytest

import approxhw as ax
from approxhw.backends.integer_engine.operator_modules import operator_verilog
from approxhw.common.errors import InvalidDataError, OptionError
from approxhw.flow.multipliers.measure import told_figures
from approxhw.numerics.multipliers.tables import ProductTable, error_figures


def test_a_module_nobody_says_anything_of(written):
    """Ports A and B, no port signed: the first is the weight, and all products say that both are signed."""
    (found,) = ax.measure_multipliers(written()).operators
    values = np.where(np.arange(16) > 7, np.arange(16) - 16, np.arange(16))
    exact = values[:, None] * values[None, :]
    assert (found.table.products == exact - (exact & 3)).all()
    assert (found.name, found.kind, found.table.signed, found.alike) == ("mul4s", "module", "both", ("both",))
    assert (found.cost.library, found.cost.frequency_hz, found.cost.vectors) == ("sky130", 1e8, 256)
    assert found.cost.states_from == "all 256 pairs of operands, once each"
    assert found.cost.area_mm2 > 0
    assert found.notes == ()


def test_errors_as_libraries_tell_them():
    table = ProductTable("by hand", np.array([[0, 1], [0, 3]]), "none")
    # exact: 0 0 / 0 1; errors 0, 1, 0, 2
    assert told_figures(error_figures(table)) == {
        "mae": 0.75, "mae%": 18.75, "wce": 2, "wce%": 50, "mre%": 200, "wcre%": 200, "ep%": 50, "mse": 1.25, "bias": 0.75,
    }  # fmt: skip


def test_a_folder_with_broken_files_goes_on(library):
    """Ours are as wide and signed as most of its files; each file that is none is told with why, and so is what is left out."""
    found = ax.measure_multipliers(library, "exact", "truncated-2", weight_bits=4)
    assert [(each.name, each.kind, each.table.signed) for each in found.operators] == [
        ("mul4s_A", "module", "both"), ("mul4s_B", "module", "both"), ("exact", "ours", "both"), ("truncated-2", "ours", "both"),
    ]  # fmt: skip
    assert {each.table.products.shape for each in found.operators} == {(16, 16)}
    assert found.notes == ("1 files are left out: earlier ones of their names say the same",)
    why = {problem.where.rpartition("/")[2]: str(problem) for problem in found.broken}
    assert set(why) == {"broken.v", "clocked.v", "narrow.v"}
    assert "cannot read it" in why["broken.v"]
    assert "it has 3 inputs (c, A, B); a multiplier has 2" in why["clocked.v"]
    assert "8 bits are stored at a clock edge (O): what it says depends on the past" in why["clocked.v"]
    assert "weight_bits: 4 bits are stated, the multiplier has 3" in why["narrow.v"]
    told = found.as_json()
    assert told["front"]["area_mm2"] == [each.name for each in found.front("area_mm2")]
    assert len(told["broken"]) == 3


def test_nothing_that_is_good_is_an_error(library):
    with pytest.raises(OptionError) as caught:
        ax.measure_multipliers(library / "broken.v", library / "clocked.v", "truncted-4", library / "*.sv")
    said = str(caught.value)
    assert said.startswith("multiplier: 4 problems\n")
    assert "truncted-4: it is no operator, and no file that ends in .npz, .v, .sv; did you mean 'truncated-4'?" in said
    assert "*.sv: no file, and none of our own operators, is called so" in said
    assert "broken.v: pyverilog: cannot read it" in said


def test_the_front_is_what_none_beats():
    found = ax.measure_multipliers("truncated-0", "truncated-3", "truncated-5", "rounded", weight_bits=5, x_bits=5)
    by_name = {each.name: each for each in found.operators}
    for cost in ("power_mw", "area_mm2"):
        front = found.front(cost)
        assert front[0].figures.mean_distance == 0
        for each in found.operators:
            beaten = [
                other.name
                for other in found.operators
                if other.figures.mean_share <= each.figures.mean_share
                and getattr(other.cost, cost) < getattr(each.cost, cost)
            ]
            assert (each in front) == (not beaten), (each.name, beaten)
    assert by_name["truncated-5"] in found.front()


def test_a_table_has_errors_and_no_cost(tmp_path, written):
    ax.measure_multipliers(written()).operators[0].table.save(tmp_path / "t.npz")
    (found,) = ax.measure_multipliers(tmp_path / "t.npz").operators
    assert (found.kind, found.cost, found.table.signed) == ("table", None, "both")
    assert found.figures == ax.measure_multipliers(written()).operators[0].figures
    assert ax.measure_multipliers(tmp_path / "t.npz").front() == ()


def test_operands_that_are_given(tmp_path):
    """Power and errors of those products alone; a weight that stays needs less than one that changes."""
    x = np.random.default_rng(1).integers(-8, 8, 400)
    np.savez(tmp_path / "o.npz", weight=np.full(400, 3), x=x)
    stays = ax.measure_multipliers("truncated-2", weight_bits=4, x_bits=4, operands=tmp_path / "o.npz").operators[0]
    changes = ax.measure_multipliers(
        "truncated-2", weight_bits=4, x_bits=4, operands={"weight": np.roll(x, 7), "x": x}
    ).operators[0]
    products = stays.table.products[3, x % 16]
    assert stays.in_use.mean_distance == pytest.approx(np.abs(products - 3 * x).mean())
    assert stays.cost.states_from == "400 given pairs of operands"
    assert stays.cost.dynamic_power_mw < changes.cost.dynamic_power_mw
    with pytest.raises(OptionError, match="operands, weight: 3…90 are given, its operand takes -8…7"):
        ax.measure_multipliers(
            "truncated-2", weight_bits=4, x_bits=4, operands={"weight": np.array([3, 90]), "x": x[:2]}
        )


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"weight": [1]}, "x: there is no array 'x'; there are weight\n    do: give weight and x, one number of each"),
        ({"weight": [1, 2], "x": [1]}, "operands: there are 2 weights and 1 of x"),
        ({"weight": [0.5], "x": [[1]]}, "weight: it is float64 of shape [1]\n    do: give whole numbers in one row"),
    ],
)
def test_operands_that_are_none(tmp_path, arrays, said):
    np.savez(tmp_path / "o.npz", **arrays)
    with pytest.raises(InvalidDataError) as caught:
        ax.measure_multipliers("exact", operands=tmp_path / "o.npz")
    assert said in str(caught.value)


def test_all_that_is_wrong_with_what_is_stated_is_said_at_once():
    with pytest.raises(OptionError) as caught:
        ax.measure_multipliers(signed="x", weight_bits=0)
    assert str(caught.value) == (
        "multiplier: 3 problems\n"
        "  sources: there are none\n    do: name a file, a folder, or one of our own multipliers\n"
        "  signed: 'x' is not one of weight, none, both\n"
        "  weight_bits: 0 is less than 1"
    )
    with pytest.raises(OptionError, match="16 by 16 bits: the table of its products would be too large"):
        ax.measure_multipliers("exact", weight_bits=16, x_bits=16)


def test_figures_of_an_unsigned_description_are_contradicted(written):
    """As of three signed modules of EvoApproxLib, which their C code describes as unsigned."""
    path = written(mul4s={"mae": "1.0", "mae%": "0.39", "wce": "3", "ep%": "75.00", "mre%": "70.1"})
    (found,) = ax.measure_multipliers(path).operators
    assert found.published.origin == "mul4s.json"
    assert found.published.values["mae"] == 1
    assert [note.split(",")[0] for note in found.notes] == ["mul4s.json says EP% 75", "mul4s.json says MRE% 70.1"]


def test_our_own_come_back_from_files_as_what_they_are(tmp_path):
    (tmp_path / "mine.v").write_text(operator_verilog("leading-3", 6, 4, "none", "mine"))
    own, module = ax.measure_multipliers("leading-3", tmp_path / "mine.v").operators
    assert (own.kind, module.kind) == ("ours", "module")
    assert (own.table.products == module.table.products).all()
    assert own.cost.area_mm2 == module.cost.area_mm2


def test_patterns_of_our_own_and_of_files(library):
    found = ax.measure_multipliers("leading-*", library / "signed" / "mul4s_*.v", weight_bits=4, x_bits=4)
    assert [each.name for each in found.operators] == ["leading-2", "leading-3", "mul4s_A", "mul4s_B"]
    assert found.broken == ()
