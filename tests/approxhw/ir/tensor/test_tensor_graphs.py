"""Tensor Graphs: text and rules on random ones, what each broken rule says, what stands beside the text, their meaning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from approxhw.artifacts.steps import read_graph, write_graph
from approxhw.common.errors import GraphError, InvalidDataError, OptionError, PassError
from approxhw.ir.graph import Node
from approxhw.ir.kinds import TENSOR_KINDS, Constant, Relu, Type
from approxhw.ir.kinds.tensor.ops import Add, Feed, Host, MatMul, Part, Transpose, is_product
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.ir.tensor.emulate import EmulatedEngine
from approxhw.ir.tensor.layers import codes_of_ports, macs_of, product_layers
from approxhw.ir.tensor.random_tensors import random_feeds, random_tensor_graph
from approxhw.ir.text import parse_graph, print_graph
from approxhw.ir.verifier import problems
from approxhw.numerics.formats import FLOAT32, FLOAT64, Fixed, Text
from approxhw.numerics.mac.arithmetic import FloatMac, parse_float_mac

SEEDS = range(60)
F32 = np.float32


class NumpyHost:
    """A host for Graphs without Host Nodes: products in float32."""

    def run(self, node, operands):
        raise AssertionError("there is no Host Node")

    def plain(self, node, operands):
        assert isinstance(node.op, MatMul)
        return np.asarray(operands[0] @ operands[1])


def graph_of(*nodes, results=None):
    last = nodes[-1].name
    from approxhw.ir.graph import Graph

    return Graph("tiny", nodes, last, results=results or (("y", last),))


def node(name, op, inputs=(), shape=(2, 3), fmt=FLOAT32):
    return Node(name, op, tuple(inputs), Type(shape, fmt))


X = node("x", Feed("x", ("rows", 3)))
W = node("w", Constant(np.ones((3, 4), F32)), shape=(3, 4))
PRODUCT = node("y", MatMul("product", FloatMac()), ["x", "w"], (2, 4))


@pytest.mark.parametrize("seed", SEEDS)
def test_random_graphs_keep_the_rules_and_survive_printing(seed):
    graph = random_tensor_graph(seed)
    assert graph.is_tensor
    assert not graph.is_integer
    assert problems(graph) == []
    assert parse_graph(print_graph(graph)) == graph
    beside = {}
    assert parse_graph(print_graph(graph, beside), fetch=beside.__getitem__) == graph


def test_random_graphs_hold_every_kind_but_those_of_a_host():
    kinds = {node.kind for seed in SEEDS for node in random_tensor_graph(seed).nodes}
    assert kinds == {kind.keyword for kind in TENSOR_KINDS} - {"host", "part"} | {"add", "constant", "lookup", "relu"}


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([X, node("y", Relu(), ["z"])], "[order] it reads 'z', which does not exist"),
        ([X, replace(PRODUCT, inputs=("x",))], "[arity] matmul has 2 inputs, this one has 1"),
        ([X, W, replace(PRODUCT, type=Type((2, 5), FLOAT32))], "[shapes] its operands make [2,4], its type says [2,5]"),
        ([X, W, replace(PRODUCT, inputs=("w", "w"))], "[shapes] 3 × 4 by 3 × 4 is no matrix product"),
        ([X, node("y", Transpose((0, 0)), ["x"])], "[shapes] axes [0, 0] of [2,3] do not go together"),
        ([X, W, node("y", Add(), ["x", "w"])], "[shapes] [2,3] + [3,4] do not go together"),
        ([X, node("y", Relu(), ["x"], fmt=FLOAT64)], "[formats] it reads float<8,23> and makes float<11,52>"),
        ([node("x", Feed("x"), fmt=Fixed(7))], "[formats] no array of a tensor Graph holds u7"),
        ([X, node("x2", Feed("x"))], "[names] two feeds are called 'x'"),
        ([X, node("y", Part(1), ["x"])], "[constants] x makes no value 1"),
        ([X, node("y", Host(b""), ["x"])], "[attributes] its program is empty"),
        ([X, node("w", Constant(np.ones(3, F32)), shape=(4,))], "[constants] its data has shape [3], its type [4]"),
        ([X, node("w", Constant(np.array([300])), shape=(1,), fmt=Fixed(8))], "[constants] codes of u8 lie in 0…255"),
        ([X, node("w", Constant(np.array([1])), shape=(1,), fmt=Text())], "[constants] its data holds something else"),
        ([X, W, replace(PRODUCT, op=MatMul("p", FloatMac(), "fp16"))], "[arithmetic] result 'fp16' is neither"),
        ([node("x", Feed("x", (2, 4)))], "[shapes] 2 × 3: 3 where the model has 4"),
    ],
)
def test_every_broken_rule_is_told(nodes, said):
    found = problems(graph_of(*nodes))
    assert any(said in problem.why for problem in found), [problem.why for problem in found]


def test_kinds_of_one_row_and_of_tensors_do_not_mix():
    from approxhw.ir.graph import Graph
    from approxhw.ir.kinds import ArgMax

    found = problems(graph_of(X, node("y", ArgMax(), ["x"], (), Fixed(2))))
    assert [p.why for p in found] == ["[kinds] argmax works on one row; a tensor Graph has none"]
    found = problems(Graph("row", (W, node("y", Transpose((1, 0)), ["w"], (4, 3))), "y"))
    assert any("transpose is for tensor Graphs only" in problem.why for problem in found)


def test_large_arrays_stand_beside_the_text_and_are_shared(tmp_path):
    big = np.random.default_rng(1).standard_normal((80, 70)).astype(F32)
    graph = graph_of(node("x", Feed("x"), shape=(2, 80)), node("w", Constant(big), shape=(80, 70)),
                     node("y", MatMul("p"), ["x", "w"], (2, 70)))  # fmt: skip
    names = write_graph(graph, tmp_path / "a.axir")
    assert names == write_graph(graph, tmp_path / "b.axir")
    assert len(list((tmp_path / "weights").iterdir())) == len(names) == 1
    assert len((tmp_path / "a.axir").read_text()) < 1000
    assert read_graph(tmp_path / "a.axir") == graph
    altered = big.copy()
    altered[3, 4] += 1
    np.save(tmp_path / names[0], altered)
    with pytest.raises(GraphError, match=r"line 4: array [0-9a-f]{32} was changed since the text was written"):
        read_graph(tmp_path / "a.axir")
    (tmp_path / names[0]).unlink()
    with pytest.raises(GraphError, match=r"array [0-9a-f]{32} is not in weights/ beside the text"):
        read_graph(tmp_path / "a.axir")
    with pytest.raises(GraphError, match="stands beside the text, and nobody says where"):
        parse_graph((tmp_path / "a.axir").read_text())


@pytest.mark.parametrize("name", ["../../etc/passwd", "0" * 31, "G" * 32])
def test_no_name_leads_out_of_the_folder(name):
    text = f'axir 1\ngraph g\nw : float<8,23>[1] = constant {{"data":{{"beside":"{name}"}}}}\noutput w\n'
    with pytest.raises(GraphError, match="no name of an array beside the text"):
        parse_graph(text, fetch=lambda digest: np.ones(1, F32))


def test_numbers_that_json_lacks_survive():
    data = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-40], F32)
    graph = graph_of(node("x", Feed("x"), shape=(5,)), node("w", Constant(data), shape=(5,)),
                     node("y", Add(), ["x", "w"], (5,)))  # fmt: skip
    back = parse_graph(print_graph(graph))
    assert back["w"].op.data.astype(F32).tobytes() == data.tobytes()
    assert problems(back) == []


@pytest.mark.parametrize("mac", [FloatMac(), FloatMac("e4m3", 16, "exact", 3), FloatMac("fp16", 24, "an-2-3")])
def test_arithmetic_reads_back(mac):
    assert parse_float_mac(str(mac)) == mac


@pytest.mark.parametrize(
    "text", ["float-mac<bf16,20>", "float-mac<bf17,20,exact>", "exact<8>", "float-mac<bf16,2,exact>"]
)
def test_what_is_no_arithmetic_is_refused(text):
    with pytest.raises(
        ValueError, match=r"no floating-point multiply-add|is no input format|does not lie in|has 16 bits"
    ):
        parse_float_mac(text)


def test_simple_kinds_mean_what_numpy_says():
    w = np.array([[-0.0, 1, -2]], F32)
    graph = graph_of(X, node("w", Constant(w), shape=(1, 3)), node("s", Add(), ["x", "w"]), node("r", Relu(), ["s"]),
                     node("t", Transpose((1, 0)), ["r"], (3, 2)), results=(("t", "t"), ("s", "s")))  # fmt: skip
    graph = replace(graph, output="t")
    assert problems(graph) == []
    x = np.array([[-0.0, -5, 9], [np.nan, 1, 2]], F32)
    made = EmulatedEngine(graph, NumpyHost()).run({"x": x})
    assert made["s"].tobytes() == (x + w).tobytes()
    expected = np.where(x + w < 0, F32(0), x + w).T
    assert made["t"].tobytes() == np.ascontiguousarray(expected).tobytes()
    with pytest.raises(InvalidDataError, match="the model has no such input"):
        EmulatedEngine(graph, NumpyHost()).run({"x": x, "z": x})


def test_passes_set_the_arithmetic_of_products_and_the_ledger_tells_it():
    graph = graph_of(X, W, PRODUCT, node("v", Constant(np.ones((4, 4), F32)), shape=(4, 4)),
                     node("z", MatMul("other"), ["y", "v"], (2, 4)))  # fmt: skip
    todo = parse_passes(
        "approximate-normalization{accumulator=24,normalization=exact},"
        "approximate-normalization{format=float32,layers=oth*},compress{block=64,activations=true}"
    )
    result, records = run_passes(graph, todo, PassContext())
    assert macs_of(result) == {"product": FloatMac("bf16", 24, "exact"), "other": None}
    codes = codes_of_ports(result)
    assert codes is not None
    assert (codes.code, codes.block, codes.activations) == ("dynamic8", 64, True)
    assert [record.accumulator_bits for record in records] == [24, 24, 24]
    assert records[1].notes == ("1 of 2 products: on the host",)
    assert parse_graph(print_graph(result)) == result
    assert [layer.name for layer in product_layers(result)] == ["product", "other"]
    assert sum(is_product(entry.op) for entry in result.nodes) == 2


def test_passes_refuse_graphs_of_the_other_world():
    graph = graph_of(X, W, PRODUCT)
    with pytest.raises(
        PassError, match="fold-affine works on one row of a classifier; tiny is a Graph of whole tensors"
    ):
        run_passes(graph, parse_passes("fold-affine"), PassContext())
    with pytest.raises(
        OptionError, match="layer 'produkt': the model has no such product\n    do: did you mean 'product'"
    ):
        run_passes(graph, parse_passes("approximate-normalization{layers=produkt}"), PassContext())
    with pytest.raises(OptionError, match=r"approximate-normalization\.accumulator: '?40'? does not lie in 16…24"):
        parse_passes("approximate-normalization{accumulator=40}")
    with pytest.raises(OptionError, match="auto would choose a code for every tensor"):
        run_passes(graph, parse_passes("compress{code=auto}"), PassContext())


@pytest.mark.parametrize("seed", range(6))
def test_what_was_printed_gives_the_same_bits(seed):
    from approxhw.ir.tensor.layers import with_macs

    graph = with_macs(random_tensor_graph(seed), FloatMac("bf16", 20, "an-1-2"))
    feeds = random_feeds(graph, seed)
    before = EmulatedEngine(graph, NumpyHost()).run(feeds)
    after = EmulatedEngine(parse_graph(print_graph(graph)), NumpyHost()).run(feeds)
    assert {name: value.tobytes() for name, value in before.items()} == {n: v.tobytes() for n, v in after.items()}
    assert before
