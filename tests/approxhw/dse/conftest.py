"""Fronts made by hand, a small trained classifier, and one front that was really searched."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

import approxhw as ax
from approxhw.artifacts.front import Front, Member
from approxhw.artifacts.results import AskedAccuracy, FamilySummary, Promise
from approxhw.cli.main import main
from approxhw.dse.genetic.options import Seeding


def make_member(index: int, accuracy: float, area: float, **more: Any) -> Member:
    told: dict[str, Any] = {
        "train_accuracy": min(1.0, accuracy + 0.01),
        "validation_accuracy": accuracy,
        "test_accuracy": accuracy - 0.015,
        "area_mm2": area,
        "estimated_area_mm2": area * 1.1,
        "power_mw": area * 0.035,
        "delay_ms": 3.0 + area / 20,
        "cells": round(area * 2.2),
        "inputs": min(21, 2 + index),
        "converters_area_mm2": 16.5 * min(21, 2 + index),
        "converters_power_mw": 1.25 * min(21, 2 + index),
        "design": f"members/{index:02d}",
        "simulated": {"icarus": 1638, "verilator": 1638},
    }
    return Member(index=index, **{**told, **more})


def make_front(members: list[Member], **more: Any) -> Front:
    told: dict[str, Any] = {
        "name": "cardio",
        "members": tuple(members),
        "genomes": np.arange(3 * len(members), dtype=np.int32).reshape(len(members), 3),
        "version": "0.1.0",
        "model": {"title": "cardio.onnx", "sha256": "0" * 64},
        "data": {"name": "cardio", "rows": {"train": 1190, "validation": 298, "test": 638}, "features": 21},
        "onnx": {"train": 0.921, "validation": 0.906, "test": 0.904},
        "options": {"population": 1000, "generations": 300, "seed": 1, "max_accuracy_loss": 0.05},
        "rule": "the smallest member within 5 % of the model on validation rows.",
        "evaluations": 300_000,
        "generations": 300,
        "seconds": {"passes": 4.2, "search": 181.0, "synthesise": 44.0, "compile": 30.0},
    }
    return Front(**{**told, **more})


@pytest.fixture(scope="session")
def member() -> Callable[..., Member]:
    return make_member


@pytest.fixture(scope="session")
def front_of() -> Callable[..., Front]:
    return make_front


@pytest.fixture(scope="session")
def plain_front() -> Front:
    """Twelve members from wires alone to 1.3 cm²."""
    areas = [0.43, 1.1, 2.6, 4.9, 9.3, 14, 21, 33, 48, 70, 98, 131]
    rates = [0.772, 0.781, 0.806, 0.825, 0.848, 0.857, 0.869, 0.876, 0.883, 0.889, 0.893, 0.896]
    members = [make_member(i, rate, area, chosen=i == 5) for i, (rate, area) in enumerate(zip(rates, areas))]
    return make_front(members)


@pytest.fixture(scope="session")
def hostile_front() -> Front:
    """Names that try to become markup, in every text that comes from a model, from data or from a command."""
    bad = (
        "\"><img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>" + "w" * 5000
    )
    members = [make_member(0, 0.8, 0.0, test_accuracy=None, chosen=True, simulated={bad: 3})]
    return make_front(
        members, name=bad, model={"title": bad, "sha256": None}, data={"name": bad, "rows": {bad: 3}, "features": 2},
        onnx={"train": None, "validation": None, "test": None}, options={bad: bad}, rule=bad, library=bad, command=bad,
        warnings=(bad,), seconds={bad: 1.0}, promise=PROMISE, families=(FamilySummary(bad, 3, 1, 1, 0.8, 0.1),),
        asked=tuple(AskedAccuracy(target, True, bad, bad, 0.1, PROMISE) for target in (0.5, 0.8)),
    )  # fmt: skip


PROMISE = Promise(0.853, 0.829, 0.876, 1488)


@pytest.fixture(scope="session")
def front_of_families(plain_front: Front) -> Front:
    """The plain front, every second member a tree, with a promise and what else might be asked for."""
    members = [
        replace(
            each,
            expected_accuracy=each.accuracy - 0.004,
            family=name,
            recipe="" if name == "mlp" else f"tree, {i} leaves",
        )
        for i, (each, name) in enumerate(zip(plain_front.members, ("mlp", "tree") * 6, strict=True))
    ]
    asked = tuple(
        AskedAccuracy(each.accuracy, i < 11, each.family, each.recipe, each.area_mm2, replace(PROMISE, rows=100 + i))
        for i, each in enumerate(members)
    )
    summaries = (FamilySummary("mlp", 0, 9, 6, 0.89, 0.43), FamilySummary("tree", 60, 12, 6, 0.9, 1.1))
    return replace(plain_front, members=tuple(members), promise=PROMISE, families=summaries, asked=asked)


@dataclass(frozen=True)
class Iris:
    """A trained classifier of irises on disk: ``model`` (ONNX, 4-3-3) and ``data`` (npz, both splits)."""

    model: Path
    data: Path


@pytest.fixture(scope="session")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Iris:
    """Nothing writes into its folder."""
    from sklearn.datasets import load_iris
    from sklearn.neural_network import MLPClassifier

    folder = tmp_path_factory.mktemp("iris")
    rows, labels = load_iris(return_X_y=True)
    order = np.random.default_rng(5).permutation(len(rows))
    rows, labels = rows[order] / 8, labels[order]
    net = MLPClassifier((3,), alpha=1e-3, max_iter=4000, random_state=3).fit(rows[:105], labels[:105])
    assert net.score(rows[105:], labels[105:]) > 0.9
    onnx.save(_mlp(net.coefs_, net.intercepts_), folder / "iris.onnx")
    np.savez(folder / "iris.npz", X_train=rows[:105], y_train=labels[:105], X_test=rows[105:], y_test=labels[105:])
    return Iris(folder / "iris.onnx", folder / "iris.npz")


def _mlp(weights: list[np.ndarray], biases: list[np.ndarray]) -> onnx.ModelProto:
    nodes, constants, value = [], [], "x"
    for i, (w, b) in enumerate(zip(weights, biases)):
        constants += [numpy_helper.from_array(a.astype(np.float32), f"{key}{i}") for key, a in (("w", w), ("b", b))]
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"sum{i}"], name=f"gemm{i}"))
        value = f"sum{i}"
        if i + 1 < len(weights):
            nodes.append(helper.make_node("Relu", [value], [f"relu{i}"], name=f"relu{i}"))
            value = f"relu{i}"
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])
        for name, width in (("x", len(weights[0])), (value, len(biases[-1])))
    ]
    graph = helper.make_graph(nodes, "iris", ports[:1], ports[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line in an empty folder; a traceback is a failure."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*words: object) -> Result:
        arguments = [str(word) for word in words]
        monkeypatch.setattr("sys.argv", ["approxhw", *arguments])
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert "Traceback" not in result.output
        return result

    return run


PASSES = "quantize-inputs,fold-affine,power-of-two{epochs=60,starts=1}"
"""From a float model to the masked network, in about a second."""


@pytest.fixture(scope="session")
def passes() -> str:
    return PASSES


@pytest.fixture(scope="session")
def found(iris: Iris, tmp_path_factory: pytest.TempPathFactory) -> ax.SearchResult:
    """A front of the iris classifier, simulated on neither simulator: nothing writes into it."""
    folder = tmp_path_factory.mktemp("found") / "front"
    return ax.search(
        iris.model,
        data=iris.data,
        output=folder,
        passes=ax.parse_passes(PASSES),
        seeding=Seeding(starts=2, moves=300),
        folds=1,
        population=16,
        generations=5,
        synthesise_every=2,
        members=3,
        synthesised=4,
        jobs=1,
        simulate=(),
    )


@pytest.fixture
def front(found: ax.SearchResult, tmp_path: Path) -> Path:
    """A copy of that front to play with."""
    return Path(shutil.copytree(found.folder, tmp_path / "front"))
