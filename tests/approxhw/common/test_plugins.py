"""Plug-ins: found by entry points, loaded on use; names that are taken and packages that are broken are refused with a word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from toy_packages import make_package

from approxhw.common.errors import PluginError
from approxhw.common.plugins import GROUPS, failed, load_plugin, package_of, plugins
from approxhw.flow.stages.targets import target_named
from approxhw.frontends.registry import added_frontend
from approxhw.ir.pass_manager import available_passes, parse_passes, pass_named
from approxhw.numerics.multipliers.plugins import added_multiplier
from approxhw.sim.simulators.registry import simulator_named

ENTRIES = {
    "passes": {"drop-small-weights"},
    "targets": {"toy"},
    "frontends": {"toy"},
    "simulators": {"toy-icarus"},
    "cell_libraries": {"toy"},
    "multipliers": {"toy-module", "toy-table"},
}


def nothing_is_ours(name: str) -> bool:
    return False


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_what_the_toy_package_adds_is_found_and_nothing_of_it_is_loaded(toy):
    code = (
        "import sys\nfrom approxhw.common.plugins import *\n"
        "print({g: {*plugins(g, lambda n: False)} for g in GROUPS} == " + repr(ENTRIES) + ")\n"
        "print(package_of(plugins('targets', lambda n: False)['toy']))\n"
        "print([m for m in sys.modules if m.startswith('toy')])\n"
    )
    assert toy("-c", code) == "True\napproxhw-toy 1.0\n[]\n"
    assert set(ENTRIES) == set(GROUPS)


def test_without_packages_there_is_nothing():
    assert all(plugins(group, nothing_is_ours) == {} for group in GROUPS)


def test_entry_points_are_not_looked_for_on_import():
    code = "import sys, approxhw, approxhw.common.plugins, approxhw.sim; print('importlib.metadata' in sys.modules, end='')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False"


def test_the_names_of_ours_cannot_be_taken(site):
    make_package(site, "grabbing", {"passes": {"mask": "x:Y", "printed-po2": "x:Y"}, "targets": {"printed": "x:Y"}})
    with pytest.raises(PluginError) as error:
        available_passes()
    assert str(error.value) == (
        "plug-ins, passes: 2 problems\n"
        "  grabbing 2.0, approxhw.passes mask: approxhw itself has one of this name\n"
        "    do: pip uninstall grabbing\n"
        "  grabbing 2.0, approxhw.passes printed-po2: approxhw itself has one of this name\n"
        "    do: pip uninstall grabbing"
    )
    with pytest.raises(PluginError, match=r"approxhw\.targets printed: approxhw itself has one of this name"):
        target_named("toy")


@pytest.mark.parametrize(
    ("group", "name", "use"),
    [
        ("simulators", "verilator", simulator_named),
        ("multipliers", "exact", added_multiplier),
        ("multipliers", "truncated-4", added_multiplier),
        ("frontends", "onnx", added_frontend),
    ],
)
def test_nor_in_any_other_group(site, group, name, use):
    make_package(site, "grabbing", {group: {name: "x:Y"}})
    with pytest.raises(PluginError, match="approxhw itself has one of this name\n    do: pip uninstall grabbing"):
        use("toy.txt")


def test_two_packages_cannot_give_one_name(site):
    make_package(site, "first", {"passes": {"cut": "first_module:Cut"}})
    make_package(site, "second", {"passes": {"cut": "second_module:Cut"}})
    with pytest.raises(PluginError) as error:
        parse_passes("fold-affine,cut")
    assert "second 2.0, approxhw.passes cut: first 2.0 gives one of this name, too" in str(error.value)
    assert "do: keep one of the two packages: pip uninstall second" in str(error.value)


@pytest.mark.parametrize("name", ["../up", "Cut", "a b", "9", "x" * 65])
def test_names_that_could_become_paths_or_text_are_refused(site, name):
    make_package(site, "naming", {"simulators": {name: "x:Y"}})
    with pytest.raises(PluginError, match="its name is not made of small letters, digits, - and _ behind"):
        simulator_named("icarus-2")


def test_what_cannot_be_imported_names_its_package_and_what_to_do(site):
    make_package(site, "broken", {"passes": {"cut": "broken_module:Cut"}}, "import no_such_module\n")
    assert "cut" in available_passes(), "listing loads nothing"
    with pytest.raises(PluginError) as error:
        pass_named("cut")
    assert str(error.value) == (
        "plug-in cut: 1 problem\n"
        "  broken 2.0, approxhw.passes cut: broken_module:Cut cannot be loaded: ModuleNotFoundError: No module named "
        "'no_such_module'\n"
        "    do: install a version of broken 2.0 that fits approxhw, or pip uninstall broken"
    )
    assert error.value.exit_code == 17


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("Cut = 3", "it is no frozen dataclass"),
        ("@dataclass\nclass Cut:\n    kind = 'exact'", "it is no frozen dataclass"),
        ("@dataclass(frozen=True)\nclass Cut:\n    bits: int\n", "its field bits has no default"),
        ("@dataclass(frozen=True)\nclass Cut:\n    bits: bytes = b''\n", "its field bits has a type that is no option"),
        ("@dataclass(frozen=True)\nclass Cut:\n    kind = 'exact'", "it cannot be called with a Graph"),
        (
            "@dataclass(frozen=True)\nclass Cut:\n    kind = 'good'\n    def __call__(self, g, c): return g",
            "its kind is not one of algebraic, exact, approximating",
        ),
        (
            "@dataclass(frozen=True)\nclass Cut2:\n    kind = 'exact'\n    def __call__(self, g, c): return g\nCut = Cut2",
            "the pass of class Cut2 is called cut2, the entry point cut",
        ),
    ],
)
def test_what_is_no_pass_is_refused(site, monkeypatch, code, why):
    monkeypatch.delitem(sys.modules, "odd_module", raising=False)
    make_package(site, "odd", {"passes": {"cut": "odd_module:Cut"}}, f"from dataclasses import dataclass\n{code}\n")
    with pytest.raises(PluginError, match=why):
        pass_named("cut")


def test_a_failure_names_its_package(site):
    make_package(site, "failing", {"passes": {"cut": "failing_module:Cut"}})
    entry = plugins("passes", nothing_is_ours)["cut"]
    assert package_of(entry) == "failing 2.0"
    text = str(failed(entry, "on Graph g", ValueError("no\nsuch")))
    assert "failing 2.0, approxhw.passes cut: it failed on Graph g: ValueError: no\N{REPLACEMENT CHARACTER}such" in text


def test_an_object_that_cannot_be_looked_at_is_refused(site):
    make_package(site, "odd", {"targets": {"cut": "math:pi"}})

    def fits(found):
        raise AttributeError("no such thing")

    with pytest.raises(PluginError, match="math:pi is not a target: AttributeError: no such thing"):
        load_plugin(plugins("targets", nothing_is_ours)["cut"], "a target", fits)
