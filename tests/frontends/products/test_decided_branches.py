"""Branches that a constant condition decides: written out, whatever the depth and the names, and their products on the engine."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from approxhw.engine.matrix.api import open_engine
from approxhw.frontends.products.inlining import inline_branches
from approxhw.numerics.mac.arithmetic import FloatMac

op = helper.make_node
MAC = FloatMac("bf16", 20, "an-1-2")
X = np.arange(8, dtype=np.float32).reshape(2, 4) / 4 - 1


def branch(nodes, makes=("y",), **constants):
    """Return a branch; *constants* are its own."""
    tensors = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()]
    return helper.make_graph(list(nodes), "branch", [], [helper.ValueInfoProto(name=name) for name in makes], tensors)


def product(seed, makes="y", reads="x"):
    """Return a branch of one product whose names are those of every other."""
    return branch(
        [op("MatMul", [reads, "w"], ["m"], name="inner"), op("Add", ["m", "m"], [makes])],
        (makes,),
        w=np.random.default_rng(seed).normal(size=(4, 3)),
    )


def equal(model, session, feeds, names):
    """Check that *model* runs on the engine with products called *names*, and gives what onnxruntime gives."""
    engine = open_engine(model, None, shape={"x": X.shape})
    assert [layer.name for layer in engine.layers] == list(names)
    seen, wanted = engine.run(feeds), session(model, feeds)
    assert seen.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(seen[name], array, rtol=1e-6, atol=1e-6)
    open_engine(model, MAC, shape={"x": X.shape}).run(feeds)
    return engine


@pytest.mark.parametrize("chosen", [True, False])
def test_the_branch_that_is_chosen_runs_on_the_engine(make, session, chosen, caplog):
    node = op("If", ["c"], ["z"], then_branch=product(1), else_branch=product(2))
    model = make([node, op("Relu", ["z"], ["y"])], {"c": np.array(chosen)})
    before = model.SerializeToString()
    equal(model, session, {"x": X}, ["inner"])
    assert model.SerializeToString() == before
    assert "branches" not in caplog.text


def test_branches_within_branches_and_the_same_names_in_each(make, session):
    """Names of branches mean nothing outside; what a branch takes from outside keeps its meaning, in a Loop, too."""
    w = np.random.default_rng(3).normal(size=(3, 4)).astype(np.float32)
    deep = branch([op("MatMul", ["h", "w"], ["m"]), op("Relu", ["m"], ["y"])], w=np.eye(4))
    inner = op("If", ["not"], ["y"], then_branch=product(4), else_branch=deep)
    outer = branch([op("MatMul", ["a", "w"], ["h"]), op("Not", ["yes"], ["not"]), inner], w=w)
    nodes = [
        op("If", ["yes"], ["a"], name="first", then_branch=product(5), else_branch=product(6)),
        op("If", ["yes"], ["y"], name="second", then_branch=outer, else_branch=product(7)),
    ]
    engine = equal(make(nodes, {"yes": np.array([True])}), session, {"x": X}, ["inner", "y/h", "y/m"])
    assert len(engine.layers) == 3


def test_conditions_of_constants_and_of_sizes_that_the_model_fixes(make, session):
    nodes = [
        op("Shape", ["x"], ["s"]),
        op("Gather", ["s", "last"], ["n"]),
        op("Equal", ["n", "four"], ["c"]),
        op("If", ["c"], ["y"], then_branch=product(1), else_branch=product(2)),
    ]
    constants = {"last": np.array(1), "four": np.array(4)}
    equal(make(nodes, constants, [("x", (2, 4))]), session, {"x": X}, ["inner"])
    undecided = make(nodes, {**constants, "last": np.array(0)})  # the batch is open
    assert inline_branches(undecided, "m") == undecided


def test_what_a_branch_hands_on_may_be_a_constant_or_twice_the_same_or_of_outside(make):
    names = ("a", "b", "d", "e")
    then = branch([op("MatMul", ["x", "k"], ["m"])], ("m", "x", "k", "m"), k=np.ones((4, 2)))
    other = branch([op("MatMul", ["x", "k"], ["m"])], ("m", "x", "k", "m"), k=np.zeros((4, 2)))
    node = op("If", ["c"], names, then_branch=then, else_branch=other)
    model = make([node], {"c": np.array(True)}, outputs=names)
    seen = open_engine(model, MAC, shape={"x": X.shape}).run({"x": X})
    wanted = {"a": X.sum(1, keepdims=True) + np.zeros(2), "b": X, "d": np.ones((4, 2))}
    for name, array in (wanted | {"e": wanted["a"]}).items():  # onnxruntime itself gives nothing for some of them
        np.testing.assert_array_equal(seen[name], array)


def test_loops_in_a_branch_read_what_it_was_renamed_to(make, session):
    body = helper.make_graph(
        [op("Add", ["s", "m"], ["t"]), op("Identity", ["go"], ["on"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, ()),
            helper.make_tensor_value_info("go", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("s", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, ()),
            helper.make_tensor_value_info("t", TensorProto.FLOAT, None),
        ],
    )
    nodes = [op("MatMul", ["x", "w"], ["m"], name="inner"), op("Loop", ["times", "", "m"], ["y"], body=body)]
    then = branch(nodes, w=np.ones((4, 4)))
    then.initializer.append(numpy_helper.from_array(np.array(3), "times"))
    node = op("If", ["c"], ["y"], then_branch=then, else_branch=product(1))
    equal(make([node], {"c": np.array(True)}), session, {"x": X}, ["inner"])


def test_a_branch_that_data_decide_stays_and_is_told(make, session, caplog):
    nodes = [
        op("ReduceSum", ["x"], ["t"], keepdims=0),
        op("Greater", ["t", "zero"], ["c"]),
        op("MatMul", ["x", "v"], ["g"], name="before"),
        op("If", ["c"], ["z"], name="if", then_branch=product(1), else_branch=product(2)),
        op("Add", ["z", "g"], ["y"]),
    ]
    model = make(nodes, {"zero": np.array(0, np.float32), "v": np.ones((4, 3), np.float32)})
    equal(model, session, {"x": X}, ["before"])
    assert "node 'if' (If) holds 2 matrix products in its branches; they run in onnxruntime" in caplog.text


def test_what_nobody_reads_is_left_out(make, session):
    """Of a condition that decided once nothing is left to do, nor of a node whose value goes nowhere."""
    nodes = [op("MatMul", ["x", "v"], ["y"], name="one"), op("Relu", ["y"], ["unread"]), op("Neg", ["unread"], ["too"])]
    equal(make(nodes, {"v": np.ones((4, 3), np.float32)}), session, {"x": X}, ["one"])


def test_numbers_drawn_anew_in_every_run_are_no_constants(make):
    nodes = [op("RandomNormalLike", ["v"], ["w"]), op("MatMul", ["x", "w"], ["y"])]
    engine = open_engine(make(nodes, {"v": np.ones((4, 3), np.float32)}), None, shape={"x": X.shape})
    assert (engine.run({"x": X})["y"] != engine.run({"x": X})["y"]).any()
