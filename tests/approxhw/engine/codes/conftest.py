"""Plain 8-bit operands for the tests of coded engines: block by block, value by value where it matters."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from approxhw.numerics.eight_bit.codes import make


def decoded_plainly(x, kind, block=None, *, whole=False):
    """Return *x* (vectors × K) behind 8-bit codes with powers of two, one block after the other, each by itself."""
    code = make(kind, None, "pow2")
    if block is None and whole:
        return code.decode_plainly(*code.encode_plainly(x.reshape(-1))).reshape(x.shape)
    made = np.empty_like(x)
    for vector in range(len(x)):
        for first in range(0, x.shape[1], block or x.shape[1]):
            at = (vector, slice(first, first + (block or x.shape[1])))
            made[at] = code.decode_plainly(*code.encode_plainly(np.ascontiguousarray(x[at])))
    return made


@pytest.fixture(scope="session")
def plainly():
    """The function above."""
    return decoded_plainly


@pytest.fixture
def simulator_name(request):
    """Each simulator in turn; one that is missing fails in CI and is a named skip elsewhere."""
    request.getfixturevalue(request.param)
    return str(request.param)


@pytest.fixture(scope="session")
def model_of():
    """A maker of ONNX models: nodes, inputs by name with shapes, constants by name."""

    def make_model(nodes, inputs, constants, outputs=("y",)):
        def value(name, shape):
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        graph = helper.make_graph(
            nodes,
            "net",
            [value(name, shape) for name, shape in inputs.items()],
            [value(name, None) for name in outputs],
            [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in constants.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    return make_model


@pytest.fixture(scope="session")
def small_net(tmp_path_factory, model_of):
    """Two Gemms of 70 × 9 and 9 × 3 with a ReLU, as a file, and labelled rows for it."""
    folder, source = tmp_path_factory.mktemp("net"), np.random.default_rng(5)
    constants = {
        "w0": source.normal(size=(70, 9)),
        "b0": source.normal(size=9),
        "w1": source.normal(size=(3, 9)) * 0.01,
        "b1": source.normal(size=3),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["sum"], name="first"),
        helper.make_node("Relu", ["sum"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "w1", "b1"], ["y"], name="second", transB=1),
    ]
    onnx.save(model_of(nodes, {"x": ["rows", 70]}, constants), folder / "net.onnx")
    x = source.normal(size=(24, 70)).astype(np.float32)
    labels = source.integers(0, 3, 24)
    np.savez(folder / "rows.npz", X_train=x, y_train=labels, X_test=x, y_test=labels)
    return folder / "net.onnx", folder / "rows.npz"
