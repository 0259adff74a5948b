"""A small residual network, rows that it labels itself, and an engine compiled of both."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from small_networks import ROWS, network

import approxhw as ax
from approxhw.frontends.products.partition import open_model
from approxhw.ir.tensor.run import walk_tensors


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Return a folder with ``net.onnx`` and ``rows.npz``, whose labels are the network's own answers."""
    folder = tmp_path_factory.mktemp("network")
    model = network()
    onnx.save(model, folder / "net.onnx")
    opened = open_model(model, {"x": ROWS.shape})
    answers = walk_tensors(opened.graph, {"x": ROWS}, opened.host, None)[opened.graph.output].argmax(axis=1)
    np.savez(folder / "rows.npz", x=ROWS, labels=answers)
    return folder


@pytest.fixture(scope="session")
def compile_net(files):
    """Return what compiles the network for a target of these options into a folder of this name."""

    def compiled(name, **options):
        target = ax.IntegerEngine(**{"rows": 4, "columns": 4, "vectors": 16, "library": "egfet", **options})
        return ax.compile(files / "net.onnx", target=target, data=files / "rows.npz", output=files / name)

    return compiled


@pytest.fixture(scope="session")
def engine(compile_net):
    return compile_net("engine", operator="truncated-6")
