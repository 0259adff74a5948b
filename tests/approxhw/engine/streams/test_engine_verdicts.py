"""Engines: kept, missed and GMAC/s are told from delay tables alone, in folders of before, too."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from approxhw.cli.terminal.engine_view import show_cost
from approxhw.cli.terminal.terminal import Terminal
from approxhw.engine.matrix.cost import engine_estimates

PE = {
    "arithmetic": "float-mac<bf16,20,an-1-2>",
    "depth": 2,
    "library": "made",
    "clock_ns": 4.0,
    "met": True,
    "area_um2": 1000.0,
    "delay_ns": 3.5,
    "power_mw": 1.0,
    "static_power_mw": 0.1,
    "dynamic_power_mw": 0.9,
    "cells": 9,
    "vectors": 5,
    "checked": 5,
    "states_from": "a tile",
    "made": "reference recipe",
}
WHOLE = {
    "area_mm2": 1.0,
    "power_mw": 2.0,
    "clock_ns": 4.0,
    "met": True,
    "kept_clock_ns": 4.0,
    "parts": [],
    "memory_bits": 7,
    "memories": {},
    "memory_area_um2": None,
    "memory_areas_um2": None,
    "memory_source": None,
    "peak_gmac_per_s": 2.0,
}


def told(**changes: object) -> dict[str, object]:
    pe = {key: changes.get(f"pe_{key}", value) for key, value in PE.items()}
    whole = {key: changes.get(key, value) for key, value in WHOLE.items()}
    return {"library": "made", "clock_ns": 4.0, "estimate_pe": pe, "estimate": whole, "seconds": 1.0}


def said(found: dict[str, object]) -> str:
    terminal = Terminal(quiet=False)
    terminal.out = Console(file=StringIO(), width=400)
    show_cost(terminal, found)
    return str(terminal.out.file.getvalue())


def test_people_read_the_verdict_or_that_there_is_none() -> None:
    assert "clock of 4 ns kept" in said(told())
    assert "2 billion multiply-adds a second at most\n" in said(told())
    late = said(told(pe_met=False, met=False, kept_clock_ns=5.5, peak_gmac_per_s=1.45))
    assert "clock of 4 ns missed" in late
    assert "1.45 billion multiply-adds a second at most, at the 5.5 ns that it keeps" in late
    unknown = said(told(pe_met=None, met=None, kept_clock_ns=None, peak_gmac_per_s=None))
    assert "clock of 4 ns not known to be kept" in unknown
    assert "this library has no delay tables, one delay a cell at most: give --liberty FILE" in unknown
    assert "billion" not in unknown


@pytest.mark.parametrize("timed_by", [None, "one delay a cell", "delay tables"])
def test_kept_estimates_of_before_give_no_verdict(timed_by: str | None, tmp_path: Path) -> None:
    found = told()
    if timed_by is not None:
        found["estimate_pe"]["timed_by"] = timed_by
    (tmp_path / "estimate").mkdir()
    (tmp_path / "estimate" / "made.json").write_text(json.dumps(found))
    (read,) = engine_estimates(tmp_path)
    known = timed_by == "delay tables"
    assert read["estimate_pe"]["met"] is (True if known else None)
    assert read["estimate"]["met"] is (True if known else None)
    assert read["estimate"]["peak_gmac_per_s"] == (2.0 if known else None)
