"""A network whose classes are near each other, and rows in two splits that it labels itself."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from small_networks import network

from approxhw.frontends.products.partition import open_model
from approxhw.ir.tensor.run import walk_tensors

RANDOM = np.random.default_rng(7)
TRAIN, TEST = (RANDOM.normal(size=(rows, 1, 8, 8)).astype(np.float32) for rows in (150, 90))


def answers_of(model, rows):
    """Return the scores (rows × 6) of the network in float32."""
    opened = open_model(model, {"x": rows.shape})
    return walk_tensors(opened.graph, {"x": rows}, opened.host, None)[opened.graph.output]


@pytest.fixture(scope="session")
def net(tmp_path_factory):
    """A file of the network, and rows in two splits that it labels itself; every seventh label is another one.

    Its last bias is moved so that all classes are near each other, and small errors change answers.
    """
    path = tmp_path_factory.mktemp("safety") / "net.onnx"
    model = network()
    (last,) = (array for array in model.graph.initializer if array.name == "b4")
    moved = numpy_helper.to_array(last) - answers_of(model, TRAIN).mean(axis=0)
    last.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), "b4"))
    onnx.save(model, path)
    data = {}
    for split, rows in (("train", TRAIN), ("test", TEST)):
        answers = answers_of(model, rows).argmax(axis=1)
        answers[::7] = (answers[::7] + 1) % 6
        bright = np.where(rows.mean(axis=(1, 2, 3)) > 0, "yes", "no")
        data |= {f"X_{split}": rows, f"y_{split}": answers, f"bright_{split}": bright}
    assert len(np.unique(data["y_train"])) == 6
    return path, data
