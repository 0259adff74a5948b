"""Builders of ONNX models and the comparison with onnxruntime, for the tests of the frontends."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from approxhw.frontends import read_model
from approxhw.frontends.runtime.reference import open_reference
from approxhw.ir.interpreter import run_all

_DOMAINS = ("", "ai.onnx.ml")


@pytest.fixture(scope="session")
def build():
    """A model of nodes, constants by name, inputs and outputs as (name, shape[, type])."""

    def make(
        nodes, constants=None, inputs=(("x", ("N", 4)),), outputs=(("y", None),), opset=17, ir=8, domains=_DOMAINS, **kw
    ):
        def info(entry):
            name, shape, *kind = entry
            return helper.make_tensor_value_info(name, kind[0] if kind else TensorProto.FLOAT, shape)

        tensors = [
            value if isinstance(value, TensorProto) else numpy_helper.from_array(np.asarray(value), name)
            for name, value in (constants or {}).items()
        ]
        graph = helper.make_graph(
            nodes, kw.pop("title", "graph"), [info(e) for e in inputs], [info(e) for e in outputs], tensors
        )
        imports = [helper.make_opsetid(domain, opset if domain == "" else 3) for domain in domains]
        return helper.make_model(graph, opset_imports=imports, ir_version=ir, **kw)

    return make


@pytest.fixture(scope="session")
def agrees():
    """Read a model, run it on random rows, and hold it against onnxruntime: classes equal, logits within 1e-4.

    Where a function that rises was dropped at the end, logits are others, and are not compared.
    """

    def check(source, rows=None, seed=0, count=200, scale=3.0, compare_logits=True):
        graph = read_model(source)
        reference = open_reference(source)
        features = graph.input.type.elements
        if rows is None:
            rows = np.random.default_rng(seed).normal(scale=scale, size=(count, features))
        rows = np.asarray(rows, dtype=np.float32)
        values = run_all(graph, rows.astype(np.float64))
        expected, seen = reference.predict(rows), values[graph.output]
        assert len(seen) == len(rows) > 0
        np.testing.assert_array_equal(seen, expected)
        logits, before = reference.scores(rows), values[graph[graph.output].inputs[0]].reshape(len(rows), -1)
        if compare_logits and logits is not None and logits.shape == before.shape:
            np.testing.assert_allclose(before, logits, rtol=1e-4, atol=1e-4 * max(1.0, float(np.abs(logits).max())))
        return graph

    return check
