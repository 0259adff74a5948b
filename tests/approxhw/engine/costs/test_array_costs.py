"""What both engines' estimates share: elements mapped for a clock, verdicts from the slowest part, memories told apart."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from approxhw.backends.estimate import load_library, synthesise
from approxhw.backends.integer_engine.engine import IntegerArray, integer_engine_verilog
from approxhw.cli.terminal.engine_view import show_whole
from approxhw.cli.terminal.terminal import Terminal
from approxhw.common.errors import InvalidDesignError, OptionError
from approxhw.engine.array_cost import LogicPart, MemoryPart, array_cost, keep_estimate, kept_estimates
from approxhw.engine.integers.array_parts import integer_memories, integer_parts, integer_register_bits
from approxhw.engine.integers.cost import integer_element_cost, map_integer_element
from approxhw.engine.mapped_element import checked_clock
from approxhw.numerics.mac.integer_mac import IntegerMac, exact_products
from approxhw.numerics.multipliers.families import own_operator

SMALL = IntegerMac(weight_bits=3, x_bits=3, accumulator_bits=10)
ADDER = "module add(input [7:0] a, input [7:0] b, output [8:0] y); assign y = a + b; endmodule"
ELEMENTS = {"part": "elements", "count": 4, "area_um2": 400.0, "power_mw": 2.0, "delay_ns": 0.5}


@pytest.mark.parametrize("clock", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_clocks_are_refused(clock):
    with pytest.raises(OptionError, match="is no clock period"):
        checked_clock(clock, 10.0)
    with pytest.raises(OptionError, match="is no clock period"):
        checked_clock(None, clock)


def test_the_smallest_circuit_that_keeps_the_clock_is_looked_for():
    array, cells = IntegerArray(rows=2, columns=2, mac=SMALL), load_library("sky130")
    slow = map_integer_element(array, cells, 20.0)
    assert slow.met is True
    assert slow.made == "reference recipe"
    period = 0.95 * slow.delay_ns
    quick = map_integer_element(array, cells, period, quick=True)
    assert (quick.met, quick.made, quick.delay_ns) == (False, "reference recipe", slow.delay_ns)
    fast = map_integer_element(array, cells, period)
    assert fast.met is True
    assert fast.delay_ns <= period
    assert "script" in fast.made
    rng = np.random.default_rng(5)
    x, weights = rng.integers(0, 8, size=(60, 2)).astype(np.uint8), rng.integers(0, 8, size=(2, 2)).astype(np.uint8)
    tile = ("layer", x, weights, exact_products(SMALL).products)
    found = integer_element_cost(array, "exact", cells, period, tile, mapped=fast)
    assert (found.checked, found.met, found.timed_by) == (2 * 60, True, "delay tables")
    assert found.energy_fj == pytest.approx(found.power_mw * period * 1e3)
    late = map_integer_element(array, cells, 0.2)
    assert late.met is False
    assert late.delay_ns < slow.delay_ns, "the fastest stands where nothing keeps the clock"


def test_an_element_of_several_operators_is_measured_as_it_is_built():
    mac = IntegerMac(weight_bits=4, x_bits=4, accumulator_bits=10)
    names = ("exact", "truncated-3")
    array, cells = IntegerArray(rows=2, columns=2, mac=mac, operators=names), load_library("egfet")
    alone = replace(array, operators=("exact",))
    rng = np.random.default_rng(6)
    tile = ("layer", rng.integers(0, 16, size=(40, 2)).astype(np.uint8),
            rng.integers(0, 16, size=(2, 2)).astype(np.uint8), exact_products(mac).products)  # fmt: skip
    both = integer_element_cost(array, "exact", cells, 1e6, tile)
    one = integer_element_cost(alone, "exact", cells, 1e6, tile)
    assert both.checked == one.checked == 80
    for found, built in ((both, array), (one, alone)):
        netlist = synthesise(integer_engine_verilog(built, top="integer_element"), "integer_element", cells)
        assert found.area_um2 == netlist.area() * 1e6
    assert both.area_um2 > one.area_um2


def test_operators_that_are_not_chosen_do_not_switch():
    """They read 0: an element of three takes little more power than one of the chosen one alone, nowhere near all three."""
    names = ("broken-array-6-2", "broken-array-8-3", "truncated-4")
    mac, cells = IntegerMac(names[0], "weight", accumulator_bits=20), load_library("sky130")
    rng = np.random.default_rng(7)
    x, weights = (rng.integers(0, 256, size=size).astype(np.uint8) for size in ((60, 2), (2, 2)))
    products = own_operator(names[0]).table(8, 8, "weight").products
    array = IntegerArray(rows=2, columns=2, mac=mac, operators=names)
    several, one = (
        integer_element_cost(each, names[0], cells, 20.0, ("layer", x, weights, products), quick=True)
        for each in (array, replace(array, operators=names[:1]))
    )
    assert several.area_um2 > 1.5 * one.area_um2
    assert several.power_mw < 1.5 * one.power_mw


def test_the_slowest_part_decides_and_memories_are_told_apart():
    cells = load_library("sky130")
    memories = [MemoryPart("sums (memory)", 4, 256, 32), MemoryPart("queue (memory)", 1, 16, 8)]
    parts = [LogicPart("adders", 3, ADDER, "add")]

    def whole(clock, library=cells, **more):
        return array_cost(ELEMENTS, parts, {"skew": 10}, memories, library, clock, known=True, timeout=60,
                          on_progress=lambda *_: None, **more)  # fmt: skip

    kept, missed = whole(10.0), whole(0.6)
    assert (kept["met"], kept["kept_clock_ns"], kept["peak_gmac_per_s"]) == (True, 10.0, 0.4)
    slowest = kept["parts"][1]["delay_ns"]
    assert slowest > 0.6
    assert missed["met"] is False
    assert missed["kept_clock_ns"] == slowest
    assert missed["peak_gmac_per_s"] == pytest.approx(4 / slowest)
    assert kept["area_mm2"] == pytest.approx(sum(row["area_um2"] for row in kept["parts"]) * 1e-6)
    register = {row["part"]: row for row in kept["parts"]}["skew"]
    assert (register["count"], register["power_mw"]) == (10, None)
    assert register["area_um2"] == pytest.approx(10 * 20.0192)
    assert kept["memory_bits"] == 4 * 8192 + 128
    assert cells.memories is not None
    assert kept["memory_areas_um2"] == {
        "sums (memory)": 4 * cells.memories.macros[0].area_um2,
        "queue (memory)": pytest.approx(128 * cells.memories.flop_bit_um2),
    }
    assert kept["memory_area_um2"] == pytest.approx(sum(kept["memory_areas_um2"].values()))
    assert kept["memory_area_um2"] > 100 * kept["area_mm2"] * 1e6, "in no sum"
    plain = whole(10.0, load_library("egfet"))
    assert (plain["memory_area_um2"], plain["memory_areas_um2"], plain["memory_source"]) == (None, None, None)
    assert (plain["met"], plain["peak_gmac_per_s"], plain["memory_bits"]) == (None, None, kept["memory_bits"])
    terminal = Terminal(quiet=False)
    terminal.out = Console(file=StringIO(), width=300)
    show_whole(terminal, missed, "products")
    said = terminal.out.file.getvalue()
    assert f"at the {slowest:.4g} ns that it keeps and not 0.6 ns, for adders" in said
    assert "memories besides: 0.7681 mm² by OpenRAM macros" in said


@pytest.mark.parametrize(("depth", "variate"), [(2, 4), (1, 0)])
def test_parts_registers_and_memories_are_those_of_the_verilog(depth: int, variate: int):
    """Flip-flops of the whole engine, memories among them, beside what is counted: all but pointers of queues.

    With depth 1 just eight results are on their way: a queue of results has no more places than that.
    """
    mac = IntegerMac(weight_bits=4, x_bits=4, accumulator_bits=12)
    array = IntegerArray(rows=2, columns=1, vectors=4, result="sums", mac=mac, depth=depth, variate=variate)

    def flops(verilog: str, top: str) -> int:
        by_type = synthesise(verilog, top, "sky130").cells_by_type()
        return sum(count for name, count in by_type.items() if name.startswith("df"))

    whole = flops(integer_engine_verilog(array), "integer_engine")
    counted = 2 * flops(integer_engine_verilog(array, top="integer_element"), "integer_element")
    counted += sum(part.count * flops(part.verilog, part.top) for part in integer_parts(array))
    counted += sum(integer_register_bits(array).values()) + sum(each.bits for each in integer_memories(array))
    assert counted <= whole <= counted + 90


def test_kept_estimates_are_read_by_age_and_broken_ones_named(tmp_path: Path):
    (tmp_path / "estimate").mkdir()
    keep_estimate(tmp_path, "a/b", {"library": "first"})
    keep_estimate(tmp_path, "second", {"library": "second"})
    (tmp_path / "estimate" / "mismatches.json").write_text("{}")
    assert [each["library"] for each in kept_estimates(tmp_path, lambda told: told)] == ["first", "second"]
    assert json.loads((tmp_path / "estimate" / "a_b.json").read_text()) == {"library": "first"}

    def refuse(told: object) -> object:
        raise ValueError("it lacks its parts")

    with pytest.raises(InvalidDesignError, match=r"a_b\.json: no estimate \(it lacks its parts\)"):
        kept_estimates(tmp_path, refuse)
