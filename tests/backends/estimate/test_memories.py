"""Memories as area: the table of SRAM macros that comes with sky130, its rule between them, and tables that are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from approxhw.backends.estimate import load_library, synthesise
from approxhw.backends.estimate.library.load import TABLES
from approxhw.backends.estimate.library.memories import MemoryTable
from approxhw.backends.systolic.templates import configured
from approxhw.common.errors import LibraryError

SKY130 = (TABLES / "sky130.toml").read_text()


@pytest.fixture(scope="module")
def table() -> MemoryTable:
    found = load_library("sky130").memories
    assert found is not None
    return found


def test_every_macro_names_its_outline_and_its_area_is_that(table):
    assert [(macro.words, macro.bits) for macro in table.macros] == [(256, 32), (512, 32), (1024, 32), (2048, 32)]
    for macro in table.macros:
        width, height = map(float, re.search(r"SIZE ([\d.]+) BY ([\d.]+)", macro.source).groups())
        assert macro.area_um2 == pytest.approx(width * height, rel=1e-9)
        assert f"{macro.bits}x{macro.words}_" in macro.source
    assert "VLSIDA/sky130_sram_macros" in table.source


def test_the_rule_between_below_and_beyond(table):
    small, large = table.macros[0].area_um2, table.macros[-1].area_um2
    assert table.area_um2(256, 32) == small
    assert table.area_um2(1024, 8) == small, "whatever the shape"
    assert table.area_um2(256, 48) == pytest.approx((small + table.macros[1].area_um2) / 2)
    assert table.area_um2(256, 24) == small, "6144 flip-flops would take more"
    assert table.area_um2(256, 8) == pytest.approx(2048 * table.flop_bit_um2), "a macro would take more"
    assert table.area_um2(255, 256) == pytest.approx(255 * 256 * table.flop_bit_um2), "no macro has so few words"
    assert table.area_um2(2048, 32) == large
    assert table.area_um2(4096, 32) == 2 * large
    assert table.area_um2(4096, 34) == pytest.approx(2 * large + small)


def test_areas_grow_with_bits(table):
    areas = [table.area_um2(256, bits) for bits in range(1, 600)]
    assert areas == sorted(areas)


@pytest.mark.parametrize(("top", "parameters", "bits"), [("engine_queue", {"WIDTH": 8, "LOG": 5}, 256),
                                                         ("engine_queue", {"WIDTH": 8, "LOG": 6}, 512)])  # fmt: skip
def test_a_bit_of_a_memory_of_flip_flops_is_what_synthesis_gives(table, top, parameters, bits):
    made = synthesise(configured(top, parameters), top, "sky130").area() * 1e6
    assert 0.95 * bits * table.flop_bit_um2 < made <= bits * table.flop_bit_um2 * 1.001


def test_libraries_without_a_table_have_none():
    assert load_library("egfet").memories is None


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("flop_bit_um2 = 41.2", "flop_bit_um2 = 0", "`flop_bit_um2` is not a finite number above 0"),
        ('source = "OpenRAM macros', 'origin = "OpenRAM macros', "no text `source`"),
        ("words = 256\n", "words = 256.5\n", "no whole numbers"),
        ("words = 256\n", "words = true\n", "memories.macros 0: `words` is not a finite number above 0"),
        ("area_um2 = 190712.55", "area_um2 = nan", "`area_um2` is not a finite number above 0"),
        ("area_um2 = 190712.55", "area_um2 = 1e9", "do not stand by bits and area, ascending"),
        (
            'source = "sky130_sram_1kbyte_1rw1r_32x256_8.lef, SIZE 479.78 BY 397.5"',
            "",
            "no text `source` that names where its area comes from",
        ),
    ],
)
def test_tables_that_are_none_are_refused(old: str, new: str, why: str, tmp_path: Path):
    assert old in SKY130
    (tmp_path / "mine.toml").write_text(SKY130.replace(old, new, 1))
    with pytest.raises(LibraryError) as caught:
        load_library(tmp_path / "mine.toml")
    assert why in str(caught.value)
