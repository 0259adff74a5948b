"""fine-tune: a smaller model answers more like the one it came from, whatever the threads are, and what ends it is told."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from approxhw.common.errors import OptionError, PassError, ToolNotFoundError
from approxhw.frontends.products.partition import open_model
from approxhw.frontends.products.writing import onnx_of
from approxhw.ir.kinds import Constant
from approxhw.ir.kinds.tensor.ops import Host
from approxhw.ir.pass_manager import parse_passes
from approxhw.passes.finetune._torch_model import trainable
from approxhw.passes.finetune._training_rows import parted_rows

from .conftest import Taught

KINDS = ("convolutions", "encoder")
PRUNED = "prune-outputs{keep=0.5,repair=once}"
TUNED = f"{PRUNED},fine-tune{{epochs=4,rate=0.005,batch=32}}"


def _off(net, graph):
    expected = net.run(net.model.graph, 400)["logits"]
    return float(np.mean((net.run(graph, 400)["logits"] - expected) ** 2) / expected.var())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_smaller_model_answers_more_like_the_one_it_came_from(pytorch, network, kind, seed):
    net = network(kind, seed)
    before = net.made(PRUNED)[0]
    graph, (_, line) = net.made(TUNED)
    assert "PyTorch agrees with the Graph on 64 rows" in line.notes[0]
    assert _diverging(net, graph) < _diverging(net, before)
    assert [node.type.shape for node in graph.nodes] == [node.type.shape for node in net.model.apart(before).nodes]


def _diverging(net, graph):
    """Return how far chances are from those of the original, at a temperature of 2, over all rows."""
    made, meant = (net.run(each, 400)["logits"] / 2.0 for each in (graph, net.model.graph))
    made, meant = (
        each - np.log(np.exp(each - each.max(1)[:, None]).sum(1))[:, None] - each.max(1)[:, None]
        for each in (made, meant)
    )
    return float((np.exp(meant) * (meant - made)).sum(1).mean())


def _same_classes(net, graph):
    answers = [net.run(each, 400)["logits"].argmax(axis=1) for each in (graph, net.model.graph)]
    return float(np.mean(answers[0] == answers[1]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_tuned_model_is_its_onnx_model_on_every_row(pytorch, network, kind):
    net = network(kind, 1)
    graph, _ = net.made(TUNED)
    session = onnxruntime.InferenceSession(onnx_of(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    (seen,) = session.run(["logits"], {"x": net.x})
    assert len(seen) == 400
    assert (seen.argmax(axis=1) == net.run(graph, 400)["logits"].argmax(axis=1)).all()


def test_what_is_told_is_what_the_graph_does(pytorch, network):
    """Shares in the ledger are of the rows put aside, which the Graph itself answers just so."""
    net = network("encoder", 2)
    _, (_, line) = net.made(TUNED)
    order = np.random.default_rng(1).permutation(400)[:40]
    before = net.made(PRUNED)[0]
    meant = net.run(net.model.graph, 400)["logits"].argmax(axis=1)[order]
    share = np.mean(net.run(before, 400)["logits"].argmax(axis=1)[order] == meant)
    assert f"of 40 rows put aside {share:.2%} were answered as by the original" in line.notes[0]


def test_threads_and_runs_change_nothing(pytorch, network):
    net = network("convolutions", 2)
    threads = pytorch.get_num_threads()
    one, two, three = (net.made(TUNED, threads=count)[0] for count in (1, 2, 3))
    assert one == two == three
    assert pytorch.get_num_threads() == threads
    other, _ = net.made(TUNED.replace("batch=32", "batch=32,seed=2"))
    assert other != one


def test_only_constants_change_and_only_those_of_floats(pytorch, network):
    net = network("encoder", 1)
    before = net.model.apart(net.made(PRUNED)[0])
    graph, _ = net.made(TUNED)
    assert [node.name for node in graph.nodes] == [node.name for node in before.nodes]
    changed = [a for a, b in zip(graph.nodes, before.nodes, strict=True) if a.op != b.op]
    assert changed
    assert all(isinstance(node.op, Constant) and node.op.data.dtype == np.float32 for node in changed)
    scales = [graph[node.inputs[1]] for node in graph.nodes if _is(node, "LayerNormalization")]
    assert scales
    assert all(scale in changed for scale in scales)


def _is(node, kind):
    return isinstance(node.op, Host) and node.op.operators == (kind,)


def test_the_original_teaches_behind_a_kept_step_too(pytorch, network):
    """A compile that starts behind a step has the model as it was opened in its context."""
    net = network("encoder", 1)
    pruned = net.made(PRUNED)[0]
    whole, _ = net.made(TUNED)
    from approxhw.ir.pass_manager import run_passes

    context = replace(net.context, model=net.model.graph)
    assert run_passes(pruned, TUNED, context, check=False, start=1)[0] == whole


def test_features_of_both_models_are_held_together(pytorch, network):
    net = network("encoder", 2)
    passes = TUNED.replace("batch=32", "batch=32,features=1")
    assert net.made(passes)[0] != net.made(TUNED)[0]


def test_values_are_held_as_they_are(pytorch, network):
    net = network("convolutions", 1)
    graph, _ = net.made(TUNED.replace("batch=32", "batch=32,held_to=values"))
    assert _off(net, graph) < _off(net, net.made(PRUNED)[0])


def test_labels_are_learnt_where_they_are_asked_for(pytorch, network):
    """Labels that say the opposite of the model: who learns from them alone answers them more often."""
    net = network("convolutions", 0)
    labels = (net.run(net.model.graph, 400)["logits"].argmax(axis=1) + 1) % 4
    passes = "fine-tune{epochs=6,rate=0.01,batch=32,labels=1}"
    graph, _ = net.made(passes, training=({"x": net.x}, labels))
    plain, made = (net.run(each, 400)["logits"].argmax(axis=1) for each in (net.model.graph, graph))
    assert np.mean(made == labels) > np.mean(plain == labels) + 0.2


def test_a_model_that_answers_as_it_did_stays(pytorch, network):
    net = network("convolutions", 1)
    graph, (line,) = net.made("fine-tune{epochs=1}")
    assert graph is net.model.graph
    assert line.notes[-1] == "no epoch did better: nothing changed"


def test_a_limit_of_time_keeps_the_best_so_far(pytorch, network):
    net = network("encoder", 1)
    graph, (_, line) = net.made(f"{PRUNED},fine-tune{{epochs=100000,rate=0.01,batch=32,seconds=2}}")
    assert "its 2 s were over: what was best by then is kept" in line.notes[1]
    assert _same_classes(net, graph) >= _same_classes(net, net.made(PRUNED)[0])


def test_an_interrupt_keeps_the_best_so_far(pytorch, network):
    net = network("encoder", 1)

    def heard(what, done, total):
        if what == "fine-tune" and done == 25:  # 11 steps an epoch
            raise KeyboardInterrupt

    graph, (_, line) = net.made(TUNED, on_progress=heard)
    assert line.notes[1] == "it was interrupted after 25 of 44 steps: what was best by then is kept"
    assert "after epoch 2 of 4" in line.notes[0] or "after epoch 1 of 4" in line.notes[0]
    assert graph.nodes


def _multiplied(kind="Relu", second=(), **attributes):
    """Return a dense network whose hidden layer goes through an operator, with a second output where one is asked for."""
    rng = np.random.default_rng(1)
    held = {
        "w": rng.standard_normal((6, 32)),
        "v": rng.standard_normal((32, 4)),
        "u": rng.standard_normal((32, 3)),
    }
    made = [("MatMul", ["x", "w"], "h"), (kind, ["h"], "r"), ("MatMul", ["r", "v"], "first")]
    made += [("MatMul", ["r", "u"], "second")] if second else []
    nodes = [helper.make_node(op, given, [to], name=to, **(attributes if to == "r" else {})) for op, given, to in made]
    outputs = ["first", *second]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 6])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", None]) for name in outputs],
        [numpy_helper.from_array(held[n].astype(np.float32), n) for n in ("w", "v", *("u" for _ in second))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_loss_that_is_no_number_keeps_the_best_so_far(pytorch, network, monkeypatch):
    from approxhw.passes.finetune import _loop

    calls, plain = [], _loop.apart_in_classes

    def broken(made, meant, temperature):
        calls.append(made)  # 11 steps of 4 runs an epoch, and 1 run of rows that choose: the second epoch's second half
        return plain(made, meant, temperature) * (float("nan") if len(calls) > 66 else 1)

    monkeypatch.setattr(_loop, "apart_in_classes", broken)
    net = network("encoder", 1)
    graph, (_, line) = net.made(TUNED)
    assert "after epoch 1 of" in line.notes[0]
    assert line.notes[1] == "in epoch 2 the loss became NaN or infinite: what was best by then is kept"
    assert _diverging(net, graph) < _diverging(net, net.made(PRUNED)[0])


def test_every_output_of_a_model_of_two_tasks_is_taught(pytorch):
    net = Taught(_multiplied(second=("second",)))
    before = net.made("prune-outputs{keep=0.3}")[0]
    graph, _ = net.made("prune-outputs{keep=0.3},fine-tune{epochs=10,rate=0.02,batch=32}")
    for title in ("first", "second"):
        meant, less, more = (net.run(each, 400)[title].argmax(axis=1) for each in (net.model.graph, before, graph))
        assert np.mean(more == meant) > np.mean(less == meant)


def test_channels_leave_as_every_output_allows(network):
    """Tasks are the outputs of a model of several: the second head, which reads the hidden layer too, has a bound of its own."""
    net = Taught(_multiplied(second=("second",)))
    graph, (line,) = net.made("prune-channels{bound=30%,whole=3}")
    assert "loss of output 'first'" in line.notes[0] or "loss of output 'second'" in line.notes[0]
    assert graph is not net.model.graph
    _, (line,) = Taught(_multiplied()).made("prune-channels{bound=30%,whole=3}")
    assert "loss of class " in line.notes[0]


def test_batches_of_a_fixed_size_are_kept(pytorch):
    proto = _multiplied()
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 8
    net = Taught(proto, fixed=8)
    _, (_, line) = net.made("prune-outputs{keep=0.5},fine-tune{epochs=2,batch=32}")
    assert "360 training rows" in line.notes[0]


@pytest.mark.parametrize(("count", "fixed", "used"), [(403, 8, 400), (21, 8, 16), (21, None, 21), (24, 8, 24)])
def test_rows_that_fill_no_run_of_a_fixed_size_are_left_out(count, fixed, used):
    proto = _multiplied()
    if fixed is not None:
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = fixed
    net = Taught(proto, fixed=fixed or 8)
    rows = np.zeros((count, *net.x.shape[1:]), np.float32)
    parted = parted_rows(net.model.apart(net.model.graph), {"x": rows}, None, 0.1, 1, "pass fine-tune")
    every = np.concatenate([parted.training, parted.choosing])
    assert sorted(every.tolist()) == list(range(used))


def test_masks_and_tables_that_rows_are_picked_from_are_not_trained():
    held = {
        "w": np.ones((3, 3), np.float32) / 2,
        "mask": np.array([[0, -1e9, 0]], np.float32),
        "keep": np.array([[1, 0, 1]], np.float32),
        "bias": np.array([0.5, 1, 2], np.float32),
        "table": np.ones((3, 3), np.float32) / 3,
    }
    nodes = [
        helper.make_node("ArgMax", ["x"], ["first"], axis=1, keepdims=0),
        helper.make_node("Gather", ["table", "first"], ["row"]),
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Add", ["a", "mask"], ["b"]),
        helper.make_node("Mul", ["b", "keep"], ["c"]),
        helper.make_node("Add", ["c", "bias"], ["d"]),
        helper.make_node("Add", ["d", "row"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "masked",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 3])],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    model = open_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), {"x": (3, 3)}
    )
    apart = model.apart(model.graph)
    chosen = trainable(apart, apart.nodes)
    values = {name: apart[name].op.data.reshape(-1).tolist() for name in chosen}
    assert sorted(values.values()) == sorted([held["w"].reshape(-1).tolist(), held["bias"].tolist()])


def test_outputs_without_an_entry_for_each_row_are_told_and_left(pytorch):
    proto = _multiplied()
    output = proto.graph.output[0].name
    proto.graph.node.append(helper.make_node("ReduceMean", [output], ["mean"], axes=[0], keepdims=0))
    proto.graph.output.append(helper.make_tensor_value_info("mean", TensorProto.FLOAT, None))
    _, (line,) = Taught(proto).made("fine-tune{epochs=1}")
    assert not any("nothing holds" in note for note in line.notes), "it comes of what is held"
    proto = _multiplied()
    proto.graph.node.append(helper.make_node("Transpose", [output], ["turned"], perm=[1, 0]))
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info("turned", TensorProto.FLOAT, None))
    with pytest.raises(PassError, match="no output of it comes of scores that are real numbers, an entry for each row"):
        Taught(proto, fixed=5).made("fine-tune{epochs=1}")


def test_yes_or_no_of_several_things_is_no_class(pytorch):
    proto = _multiplied()
    output = proto.graph.output[0].name
    proto.graph.node.append(helper.make_node("Sigmoid", [output], ["several"]))
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info("several", TensorProto.FLOAT, None))
    net = Taught(proto)
    with pytest.raises(PassError, match="says yes or no to several things at once"):
        net.made("fine-tune{epochs=1}")
    _, (line,) = net.made("fine-tune{epochs=1,held_to=values}")
    assert "training rows" in line.notes[0]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("epochs=0", "0 is not in 1…100000"),
        ("batch=0", "0 is not in 1…4096"),
        ("rate=0", "0 is not above 0 and at most 1"),
        ("temperature=0", "0 is not in 0.1…100"),
        ("labels=2", "2 is not in 0…1"),
        ("aside=1", "1 is not in 0.01…0.9"),
        ("seconds=-1", "-1 is no time"),
        ("held_to=nothing", "'nothing' is nothing to hold to"),
    ],
)
def test_options_out_of_reach_are_refused(options, told):
    with pytest.raises(OptionError) as error:
        parse_passes(f"fine-tune{{{options}}}")
    assert told in str(error.value)


def test_without_pytorch_the_extra_is_named(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ToolNotFoundError) as error:
        network("encoder", 1).made("fine-tune")
    assert "pip install 'approxhw[retrain]'" in str(error.value)


def _refused(net, passes="fine-tune", **changed):
    with pytest.raises(PassError) as error:
        net.made(passes, **changed)
    return str(error.value)


def test_rows_that_are_not_there_are_asked_for(pytorch, network):
    net = network("encoder", 1)
    assert "give --data with training rows" in _refused(net, training=None)
    assert "give --data with training rows" in _refused(net, observe=None)
    assert "input 'x': the training rows have none" in _refused(net, training=({}, None))
    assert "are infinite or no numbers" in _refused(net, training=({"x": np.full_like(net.x, np.nan)}, None))
    assert "1 training rows are too few" in _refused(net, training=({"x": net.x[:1]}, None))
    assert "give --data with labels, or labels=0" in _refused(net, "fine-tune{labels=0.5}")
    wrong = {"x": net.x}, np.full(400, 9)
    assert "labels 9…9, the model scores classes 0…3" in _refused(net, "fine-tune{labels=0.5}", training=wrong)


def test_an_operator_without_a_translation_is_named(pytorch):
    told = _refused(Taught(_multiplied("Hardmax")))
    assert "Hardmax has no translation to PyTorch here" in told
    assert "leave fine-tune out" in told


def test_a_way_of_an_operator_without_a_translation_is_named(pytorch):
    proto = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("MaxPool", ["x"], ["p"], name="pool", kernel_shape=[2], strides=[2], ceil_mode=1),
                helper.make_node("Flatten", ["p"], ["f"]),
                helper.make_node("MatMul", ["f", "w"], ["y"], name="dense"),
            ],
            "pooled",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 1, 5])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 2])],
            [numpy_helper.from_array(np.ones((3, 2), np.float32), "w")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    assert "p: MaxPool with auto_pad or ceil_mode has no translation to PyTorch here" in _refused(Taught(proto))


def test_a_translation_that_means_something_else_is_found(pytorch, network, monkeypatch):
    from approxhw.passes.finetune import _torch_model

    wrong = {**_torch_model.TRANSLATED, "LayerNormalization": lambda x, given: x[0]}
    monkeypatch.setattr(_torch_model, "TRANSLATED", wrong)
    told = _refused(network("encoder", 1))
    assert "layernorm" in told.lower()
    assert "PyTorch makes another value of it" in told


def test_a_model_of_codes_is_sent_elsewhere(pytorch, network):
    told = _refused(network("encoder", 1), "quantize-model,fine-tune")
    assert "put fine-tune before quantize-model; retrain-weights behind it" in told


def test_a_compile_tunes_and_what_it_exports_answers_alike(pytorch, tmp_path):
    import approxhw as ax
    from approxhw.artifacts.steps import read_graph

    net = Taught(_multiplied())
    model, data = tmp_path / "net.onnx", tmp_path / "rows.npz"
    model.write_bytes(_multiplied().SerializeToString())
    labels = net.run(net.model.graph, 400)["first"].argmax(axis=1)
    np.savez(data, x=net.x, labels=labels)
    passes = "prune-outputs{keep=0.5},fine-tune{epochs=2,rate=0.01,batch=32}"
    target = ax.MatrixEngine(rows=2, columns=2)
    given = {"data": data, "target": target, "passes": passes, "output": tmp_path / "built"}
    built = ax.compile(model, **given)
    told = [note for line in built.design.ledger for note in line["notes"]]
    assert any("were answered as by the original" in note for note in told)
    (step,) = (tmp_path / "built" / "steps").glob("02_*.axir")
    whole = read_graph(step)
    exported = ax.export_onnx(tmp_path / "built", tmp_path / "tuned.onnx")
    (seen,) = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"]).run(["first"], {"x": net.x})
    assert len(seen) == 400
    assert (seen.argmax(axis=1) == net.run(whole, 400)["first"].argmax(axis=1)).all()
    ax.compile(model, **given, from_step=1)  # the model as it was opened teaches here, too
    assert read_graph(step) == whole
