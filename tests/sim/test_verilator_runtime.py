"""Verilator's runtime is compiled once: any further design reuses its objects, with ccache and without."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from approxhw import sim
from approxhw.common import tools
from approxhw.common.errors import OutputError, ToolNotFoundError
from approxhw.sim.simulators import verilator_runtime as runtime


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache folder, empty at first, that both of the next two tests use: compiling the runtime takes half a minute."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.slow
@pytest.mark.parametrize("use_ccache", [True, False], ids=["ccache", "plain"])
def test_further_designs_reuse_the_runtime(designs, verilator, cache, tmp_path, monkeypatch, use_ccache):
    if use_ccache and tools.find_ccache() is None:
        pytest.skip("ccache is not here; Debian: apt-get install ccache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(runtime, "_OBJECT", ("-O0", *runtime._FLAGS))  # sooner compiled
    sim.simulate(designs["inverter"](), "verilator", tmp_path / "first", use_ccache=use_ccache)
    assert ("ccache" in (tmp_path / "first" / "build.log").read_text()) == use_ccache
    objects = sorted(cache.rglob("*.o"))
    assert [path.stem for path in objects] == sorted(runtime.UNITS)
    times = {path: path.stat().st_mtime_ns for path in objects}
    for name in ("adder", "wide"):  # another one each time
        assert sim.simulate(designs[name](), "verilator", tmp_path / name, use_ccache=use_ccache).mismatches == 0
        built = (tmp_path / name / "build.log").read_text()
        assert built
        assert not [unit for unit in runtime.UNITS if f"{unit}.cpp" in built]
        assert built.count(f"-include {objects[0].parent / runtime.AHEAD} ") == 2, (
            "the design, and cocotb's main program"
        )
        assert "not used because" not in built, "the compiler says why it reads the headers' text after all"
    assert {path: path.stat().st_mtime_ns for path in objects} == times


def test_a_design_of_before_is_not_compiled_again(designs, verilator, tmp_path, monkeypatch):
    """No file that is compiled names the temporary folder that it lies in."""
    if tools.find_ccache() is None:
        pytest.skip("ccache is not here; Debian: apt-get install ccache")
    monkeypatch.setenv("CCACHE_DIR", str(tmp_path / "ccache"))
    hits = []
    for name in ("first", "again"):
        log = tmp_path / f"{name}.log"
        monkeypatch.setenv("CCACHE_STATSLOG", str(log))
        assert sim.simulate(designs["adder"](), "verilator", tmp_path / name).mismatches == 0
        hits.append(log.read_text().count("cache_hit\n"))
    assert hits == [0, 2], "the design, and cocotb's main program"


@pytest.fixture
def quick_runtime(tmp_path, monkeypatch):
    """A runtime of one small file under an own cache folder, and the tool that has it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime, "UNITS", ("unit",))
    include = tmp_path / "root" / "include"
    include.mkdir(parents=True)
    (include / "unit.cpp").write_text("int unit;\n")
    return tools.Tool("verilator", ("true",), {"VERILATOR_ROOT": str(tmp_path / "root")})


@pytest.mark.parametrize("use_ccache", [True, False], ids=["ccache", "plain"])
def test_many_at_once_get_the_same_objects_and_leave_no_litter(quick_runtime, verilator, tmp_path, use_ccache):
    def objects(_: int) -> tuple[Path, ...]:
        return runtime.runtime_objects(quick_runtime, timeout=60, use_ccache=use_ccache)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(objects, range(4)))
    assert len(set(found)) == 1
    assert found[0][0].is_file()
    assert [path.name for path in (tmp_path / "cache" / "approxhw").iterdir()] == [found[0][0].parent.name]
    assert runtime.header_ahead(found[0]) == found[0][0].parent / "ahead.h"


def test_changed_runtime_gets_other_objects_and_damaged_ones_are_made_again(quick_runtime, verilator, tmp_path):
    (first,) = runtime.runtime_objects(quick_runtime, timeout=60)
    first.unlink()
    assert runtime.runtime_objects(quick_runtime, timeout=60) == (first,)
    assert first.is_file()
    (tmp_path / "root" / "include" / "unit.cpp").write_text("int other_unit;\n")
    assert runtime.runtime_objects(quick_runtime, timeout=60) != (first,)


def test_a_clang_gets_no_header(quick_runtime, verilator, tmp_path, monkeypatch):
    """It refuses what is precompiled and does not fit, where GCC reads the text."""
    program = tmp_path / "bin" / "c++"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo clang version 19 || exec {shutil.which("c++")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    (unit,) = objects = runtime.runtime_objects(quick_runtime, timeout=60)
    assert unit.is_file()
    assert runtime.header_ahead(objects) is None


def test_missing_compiler_is_named(quick_runtime, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(os.devnull)))
    with pytest.raises(ToolNotFoundError, match=r"c\+\+: not usable here\n    do: install a C\+\+ compiler"):
        runtime.runtime_objects(quick_runtime, timeout=60)


def test_cache_that_cannot_be_written_is_named(quick_runtime, verilator, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OutputError) as error:
        runtime.runtime_objects(quick_runtime, timeout=60)
    assert f"{tmp_path}/file/approxhw: the cache folder for Verilator's runtime cannot be used" in str(error.value)
    assert "do: set XDG_CACHE_HOME to a folder that can be written" in str(error.value)
