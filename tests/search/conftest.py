"""Fronts made by hand, without a search: what the page shows and what picks choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from approxhw.front import Front, Member


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
    bad = "\"><img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>" + "w" * 5000
    members = [make_member(0, 0.8, 0.0, test_accuracy=None, chosen=True, simulated={bad: 3})]
    return make_front(
        members, name=bad, model={"title": bad, "sha256": None}, data={"name": bad, "rows": {bad: 3}, "features": 2},
        onnx={"train": None, "validation": None, "test": None}, options={bad: bad}, rule=bad, library=bad, command=bad,
        warnings=(bad,), seconds={bad: 1.0},
    )  # fmt: skip
