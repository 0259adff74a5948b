"""Every public callable, called with values of the wrong types for each of its parameters, says so as an ``ApproxhwError``."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import shutil
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import approxhw as ax
from approxhw.artifacts.built_files import BuiltFiles, BuiltRecord
from approxhw.artifacts.engine_front import EngineFront, EngineMember
from approxhw.common.errors import ApproxhwError, InvalidDesignError, OptionError, OutputError
from approxhw.dse.settings import SearchSettings
from approxhw.dse.targets import search_target
from approxhw.engine.integers.cost import estimate_integer_engine
from approxhw.engine.integers.simulate import simulate_integer_engine
from approxhw.engine.matrix.cost import estimate_engine
from approxhw.engine.matrix.simulate import simulate_engine
from approxhw.flow.added import CompiledFiles
from approxhw.flow.stages.measure import estimate_design, simulate_design


class Unknown:
    """Of no type that anything takes."""


WRONG: Mapping[str, object] = {
    "None": None,
    "int": 5,
    "list": [1, "a"],
    "str": "no such thing",
    "class": Unknown,
    "object": Unknown(),
    "array": np.zeros((2, 2)),  # == answers with an array
}

FORWARDED: Mapping[str, Callable[..., object]] = {
    "CompiledDesign.simulate": simulate_design,
    "CompiledDesign.estimate": estimate_design,
    "CompiledEngine.simulate": simulate_engine,
    "CompiledEngine.estimate": estimate_engine,
    "CompiledIntegerEngine.simulate": simulate_integer_engine,
    "CompiledIntegerEngine.estimate": estimate_integer_engine,
    "search_engine": search_target,
    "compile_engine": ax.compile,
    "compile_integer_engine": ax.compile,
}
"""Where ``**options`` go to."""

NO_ARGUMENTS = {"available_passes"}
MADE_BY_ONNX = {"proto"}
"""Fields whose type is onnx's, which a lower room does not import to look."""


@pytest.fixture(scope="module")
def engine_folder(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine") / "tiny"
    target = ax.MatrixEngine(rows=2, columns=2)
    ax.compile_engine(str(inputs / "tiny.onnx"), target=target, data=inputs / "tiny.npz", output=folder)
    return folder


@pytest.fixture(scope="module")
def integer_folder(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("integers") / "tiny"
    target = ax.IntegerEngine(rows=2, columns=2, operator="truncated-4")
    ax.compile_integer_engine(str(inputs / "tiny.onnx"), target=target, data=inputs / "tiny.npz", output=folder)
    return folder


@pytest.fixture(scope="module")
def instances(made, engine_folder, integer_folder, plain_front, mlp, inputs, tmp_path_factory) -> dict[str, object]:
    """An object of each public class, and of each class that public functions return."""
    here = tmp_path_factory.mktemp("wrong")
    wide = mlp([(np.ones((20, 20)), np.zeros(20)), (np.ones((20, 3)), np.zeros(3))])
    files = BuiltFiles(here, {"top.v": b"module top; endmodule"}, BuiltRecord(target="toy", spelled="toy"))
    member = EngineMember(0, {"a": "bf16"}, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, ("bf16",), chosen=True)
    found = ax.SearchResult(here, plain_front)
    made_of = {
        "CompiledDesign": ax.open_design(made),
        "CompiledEngine": ax.open_engine_design(engine_folder),
        "CompiledFiles": CompiledFiles(files),
        "CompiledIntegerEngine": ax.open_integer_design(integer_folder),
        "CompressedModel": ax.compress_model(wide),
        "DataSource": ax.DataSource(inputs / "tiny.npz"),
        "Dataset": ax.load_dataset(inputs / "tiny.npz"),
        "EngineFront": EngineFront(here, (member,), {}, {}, {}, 1, 1.0, ""),
        "EngineSearch": ax.EngineSearch(),
        "FloatMac": ax.FloatMac(),
        "FoundMember": found.chosen,
        "Front": plain_front,
        "Graph": ax.read(inputs / "tiny.onnx"),
        "IntegerEngine": ax.IntegerEngine(),
        "IntegerMac": ax.IntegerMac(),
        "MadeActivation": ax.activation_unit("tanh", "s4<2^-2>", "s4<2^-3>"),
        "MatrixEngine": ax.MatrixEngine(),
        "MeasuredMultipliers": ax.MeasuredMultipliers(()),
        "Printed": ax.Printed(),
        "SafetyOptions": ax.SafetyOptions(),
        "SearchResult": found,
    }
    missing = {name for name in ax.__all__ if isinstance(getattr(ax, name), type)} - made_of.keys()
    assert not missing, "a public class without an object here"
    return made_of


def callables(instances: Mapping[str, object]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield the name and the function of everything that users call: functions, classes, methods of their objects."""
    for name in ax.__all__:
        yield name, getattr(ax, name)
    for kind, item in instances.items():
        for name, found in inspect.getmembers(type(item), inspect.isfunction):
            if not name.startswith("_"):
                yield f"{kind}.{name}", types.MethodType(found, item)


def parameters(name: str, function: Callable[..., object]) -> dict[str, inspect.Parameter]:
    """Return what *function* takes by name, options that it hands on among it."""
    found = dict(inspect.signature(function).parameters)
    if any(each.kind is each.VAR_KEYWORD for each in found.values()) and name in FORWARDED:
        found = {**dict(inspect.signature(FORWARDED[name]).parameters), **found}
    if name == "search":
        fields = dataclasses.fields(SearchSettings)
        found |= {f.name: inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, annotation=f.type) for f in fields}
    own = ("folder", "design", "entry") if name in FORWARDED and not name.startswith("compile_") else ()
    return {
        key: each
        for key, each in found.items()
        if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL) and key not in own
    }


def allowed(value: str, annotation: str) -> bool:
    """Whether an annotation, as it is written, lets a value of :data:`WRONG` through."""
    words = set(re.findall(r"\w+", annotation))
    return {
        "None": "None" in words,
        "int": bool(words & {"int", "float"}),
        "list": annotation.startswith("tuple[str | int"),
        "str": bool(words & {"str", "ModelSource", "DataSpec", "PassesSpec", "Result"}),
        "array": bool(words & {"ArrayLike", "ndarray", "DataSpec"}),
    }.get(value, False)


@pytest.fixture(scope="module")
def right(inputs, made, tmp_path_factory) -> dict[str, object]:
    """What is right for the parameters that must be given, by name."""
    return {
        "model": str(inputs / "tiny.onnx"),
        "data": str(inputs / "tiny.npz"),
        "source": str(inputs / "tiny.onnx"),
        "spec": str(inputs / "tiny.npz"),
        "folder": made,
        "graph": ax.read(inputs / "tiny.onnx"),
        "passes": ("fold-affine",),
        "verilog": "module.v",
        "text": "fold-affine",
        "name": "printed-exact",
        "loss": 0.5,
        "readings": np.zeros((1, 3)),
        "x": "s4<2^-2>",
        "y": "s4<2^-3>",
        "design": made,
        "output": tmp_path_factory.mktemp("out") / "exported.onnx",
        "path": tmp_path_factory.mktemp("out") / "out.onnx",
    }  # fmt: skip


def _begun(*given: object, **more: object) -> None:
    raise AssertionError("the work began")


def test_every_public_callable_refuses_wrong_types_in_its_own_words(instances, right, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for begun in ("approxhw.dse.api.make_front", "approxhw.dse.genetic.evolution.evolve", "approxhw.sim.simulate"):
        monkeypatch.setattr(begun, _begun)
    monkeypatch.setattr("approxhw.backends.estimate.synthesise", _begun)
    tried, faults = set(), []
    for name, function in callables(instances):
        for parameter, each in parameters(name, function).items():
            for kind, value in WRONG.items():
                if allowed(kind, str(each.annotation)) or value is each.default or parameter in MADE_BY_ONNX:
                    continue
                known = vars(instances[name]) if name in instances else right
                needed = {
                    key: known[key]
                    for key, other in parameters(name, function).items()
                    if other.default is inspect.Parameter.empty and key in known and key != parameter
                }
                tried.add(name)
                call = f"{name}({parameter}={kind})"
                try:
                    function(**needed, **{parameter: value})
                except ApproxhwError as error:
                    text = str(error)
                    if len(text) > 2000 or "0x" in text:
                        faults.append(f"{call}: {text[:200]}")
                except Exception as error:  # what the test is about
                    faults.append(f"{call}: {type(error).__name__}: {error}")
                else:
                    faults.append(f"{call}: taken")
    assert not faults, "\n".join(faults)
    assert tried >= set(ax.__all__) - NO_ARGUMENTS
    assert tried >= {"CompiledDesign.simulate", "CompiledEngine.estimate", "Front.cheapest", "FoundMember.compile"}
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["x" * 5000, "../../elsewhere"])
def test_names_that_no_file_system_takes_or_that_lead_away_are_refused(instances, tmp_path, name):
    for kind in ("CompiledDesign", "CompiledEngine", "CompiledIntegerEngine"):
        with pytest.raises(OptionError):
            instances[kind].simulate(name)
    if len(name) > 255:
        model = instances["CompressedModel"].proto
        with pytest.raises(OutputError, match=r"File name too long\)\n    do: choose a shorter name"):
            ax.compress_model(model, output=tmp_path / name)


DAMAGE = [
    ("accuracy", {}),
    ("accuracy", []),
    ("ledger", [[[]]]),
    ("ledger", {}),
    ("inputs", [{}]),
    ("inputs", None),
    ("inputs", []),
    ("inputs.0.name", "elsewhere"),
    ("output.bits", 7),
    ("warnings", [5]),
    ("seconds", {"read": "long"}),
    ("model", {}),
    ("latency", 1 << 70),
    ("output", {"name": "y", "bits": "2"}),
]
ENGINE_DAMAGE = [
    ("engine", {}),
    ("engine", []),
    ("engine.rows", 4),
    ("engine.rows", 0),
    ("engine.vectors", 128),
    ("engine.mac", {"format": "bf16"}),
    ("engine.mac.format", "no such"),
    ("engine.mac.alignment", -1),
    ("engine.result", "x"),
    ("ledger", [[[]]]),
    ("accuracy", {"onnx": 1.0}),
    ("layers", [{}]),
    ("layers.0.shifts", [10**30]),
    ("modules", []),
]


@pytest.mark.parametrize(
    ("kind", "place", "value"),
    [("design", *each) for each in DAMAGE] + [("engine", *each) for each in ENGINE_DAMAGE],
    ids=lambda value: str(value)[:40],
)
def test_folders_that_tell_other_types_are_damaged(kind, place, value, made, engine_folder, tmp_path):
    folder = Path(shutil.copytree(made if kind == "design" else engine_folder, tmp_path / "out"))
    told = json.loads((folder / "design.json").read_text())
    *above, last = (int(word) if word.isdigit() else word for word in place.split("."))
    holder = told
    for word in above:
        holder = holder[word]
    assert holder[last] != value
    holder[last] = value
    (folder / "design.json").write_text(json.dumps(told))
    readers = [ax.open_folder, ax.open_design if kind == "design" else ax.open_engine_design]
    for read in readers:
        with pytest.raises(InvalidDesignError, match=r"design\.json: it does not fit its files") as caught:
            read(folder)
        assert caught.value.exit_code == 9


def test_an_engine_without_a_layer_of_that_name_says_so_as_an_option(engine_folder):
    with pytest.raises(OptionError, match="layer: there is no layer 'nope'"):
        ax.open_engine_design(engine_folder).simulate("icarus", layer="nope")


def test_an_engine_tells_the_most_frequent_class_beside_its_accuracy(engine_folder, inputs):
    labels = ax.load_dataset(inputs / "tiny.npz").y_test
    told = ax.open_engine_design(engine_folder)
    assert told.accuracy["majority"] == np.bincount(labels).max() / len(labels)
    assert f"most frequent class {100 * told.accuracy['majority']:.1f} %" in told.report().read_text()
