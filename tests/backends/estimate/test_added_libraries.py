"""Cell libraries of other packages: a name stands for a file of the package, and estimates are kept under it."""

from __future__ import annotations

import json

import pytest
from toy_packages import make_package

from approxhw.backends.estimate import load_library
from approxhw.common.errors import OptionError, PluginError


def test_a_library_of_another_package_measures(toy, tmp_path):
    (tmp_path / "xor.v").write_text("module xor2(input a, input b, output y); assign y = a ^ b; endmodule\n")
    found = json.loads(toy("estimate", "xor.v", "--library", "toy", "--json"))["estimate"]
    assert found["library"] == "toy"
    assert found["area_mm2"] == 8, "three NAND of 2 mm², two inverters of 1 mm²"
    assert found["cells"] == 5
    said = toy("estimate", "xor.v", "--library", "tooy", code=2)
    assert "did you mean 'toy'? built in are: egfet, egfet_0v6, sky130, egfet_1v0, sky130_hd, toy" in said


def test_what_is_no_library_names_its_package(tmp_path, monkeypatch):
    entries = {"gone": "cells_module:GONE", "number": "cells_module:NUMBER", "same": "cells_module:SAME"}
    code = (
        "from approxhw.backends.estimate import load_library\n"
        "GONE, NUMBER, SAME = '/nowhere/cells.lib', 3, load_library('egfet')\n"
    )
    make_package(tmp_path, "cells", {"cell_libraries": entries}, code)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        PluginError, match=r"cells 2\.0, .*gone: .* the path of a file: there is no file /nowhere/cells"
    ):
        load_library("gone")
    with pytest.raises(PluginError, match=r"number: cells_module:NUMBER is not a CellLibrary .*: it is of type int"):
        load_library("number")
    same = load_library("same")
    assert (same.name, same.cells) == ("same", load_library("egfet").cells)


def test_a_name_of_ours_is_refused(tmp_path, monkeypatch):
    make_package(tmp_path, "cells", {"cell_libraries": {"sky130": "x:Y"}})
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PluginError, match="cell_libraries sky130: approxhw itself has one of this name"):
        load_library("mine")
    with pytest.raises(PluginError, match="cell_libraries sky130: approxhw itself has one of this name"):
        load_library("sky130")


def test_a_name_that_nobody_has_is_told_as_ever():
    with pytest.raises(OptionError, match="built in are: egfet, egfet_0v6, sky130, egfet_1v0, sky130_hd\n"):
        load_library("nothing")
