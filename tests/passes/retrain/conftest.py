"""A digits model of codes with a coarse operator to retrain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from approxhw.common.data.dataset import load_dataset
from approxhw.frontends.products.partition import open_model
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.tensor.run import walk_tensors

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


class Digits:
    """The digits example: opened, its training rows, and what its Graphs answer."""

    def __init__(self):
        data = load_dataset("sklearn:digits", 64)
        self.rows, self.labels = data.X_train.astype(np.float64), data.y_train
        self.model = EXAMPLES / "digits.onnx"
        self.opened = open_model(self.model, {"X": (64, 64)}, integers=True)

    def observe(self, graph, seen):
        walk_tensors(graph, {"X": self.rows[:512]}, self.opened.host, None, seen)

    def answers(self, graph):
        return walk_tensors(graph, {"X": self.rows}, self.opened.host, None)[graph.output]

    def context(self, **given):
        return PassContext(**{"observe": self.observe, "training": ({"X": self.rows}, self.labels), **given})


@pytest.fixture(scope="session")
def digits():
    return Digits()


@pytest.fixture(scope="session")
def coarse(digits):
    """Return the digits' Graph, its products made by an operator that costs a tenth of the answers."""
    passes = "quantize-model,integer-products,approximate-multiplier{operator=leading-2}"
    return run_passes(digits.opened.graph, passes, digits.context())[0]
