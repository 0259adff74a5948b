"""The link model: an exchange carried out message by message, limits, bad input, the published figures."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

import approxhw as ax
from approxhw.cli.main import main
from approxhw.common.errors import InvalidModelError, OptionError, UnsupportedModelError
from approxhw.distributed import link_model as lm
from approxhw.distributed.published_speedups import FOUR_GPUS, NINETY_SIX_GPUS, Terms, exchanges
from approxhw.numerics.eight_bit.codes import dynamic8, linear8

FAST, SLOW = lm.Link(50.0, 2.0), lm.Link(5.0, 30.0)


class Exchange:
    """Gradients of all GPUs, summed by messages that are really sent; what a GPU sends, encodes and decodes is counted."""

    def __init__(self, gpus, per_node, parameters):
        self.g, self.m = min(gpus, per_node), -(-gpus // per_node)
        self.held = np.random.default_rng(0).integers(-99, 99, size=(self.m, self.g, parameters))
        self.wanted = self.held.sum(axis=(0, 1))
        self.sent, self.encoded, self.decoded, self.inside, self.between = 0, 0, 0, 0, 0

    def run(self):
        """Count for one GPU (all do the same): its node's shards first, then those of other nodes, then back."""
        g, m, p = self.g, self.m, self.held.shape[2]
        shard, piece = p // g, p // (g * m)
        # every GPU sends each other one of its node that one's shard, encoded; and sums up what it gets
        local = self.held.sum(axis=1).reshape(m, g, shard)
        self.inside += g - 1
        self.sent, self.encoded, self.decoded = self.sent + p - shard, p - shard, p - shard
        # of its shard it sends each other node a piece; and sums up
        pieces = local.reshape(m, g, m, piece).sum(axis=0)
        self.between += m - 1
        self.sent, self.encoded = self.sent + shard - piece, self.encoded + shard - piece
        self.decoded += shard - piece
        # it encodes its sum, sends it to every other node, and those of the shard on to its own node
        self.encoded += piece
        self.between += m - 1
        self.sent += (m - 1) * piece
        self.inside += g - 1
        self.sent += (g - 1) * shard
        self.decoded += p
        return pieces.reshape(-1)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 40), st.sampled_from([8.0, 8.125, 32.0]))
def test_data_parallel_is_an_exchange_that_sums(per_node, nodes, factor, bits):
    gpus, parameters = per_node * nodes, per_node * nodes * factor
    done = Exchange(gpus, per_node, parameters)
    assert np.array_equal(done.run(), done.wanted)
    code = lm.Code("code", bits, 3.0, 2.0)
    found = lm.data_parallel(lm.Network("n", 10.0, parameters), lm.Cluster(gpus, per_node, FAST, SLOW), code)
    if gpus == 1:
        assert (found.exchange_ms, found.sent_bytes, found.speedup) == (0, 0, 1)
        return
    assert found.sent_bytes == pytest.approx(done.sent * bits / 8)
    waits = done.inside * 0.002 + done.between * 0.030
    shard, node_piece = parameters / per_node, parameters / nodes
    wires = done.inside * shard * bits / 8 / 50e6 + done.between * node_piece * bits / 8 / 5e6
    codes = (3.0 * done.encoded + 2.0 * done.decoded) / 1e6
    assert found.exchange_ms == pytest.approx(waits + wires + codes)


@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_one_node_sends_what_a_ring_sends(gpus):
    cluster = lm.Cluster(gpus, gpus, FAST, SLOW)
    plain = lm.data_parallel(lm.Network("n", 10.0, 1000), cluster)
    assert plain.sent_bytes == pytest.approx(8 * (gpus - 1) / gpus * 1000)
    packed = lm.data_parallel(lm.Network("n", 10.0, 1000), cluster, lm.code_of(dynamic8(block=256)))
    assert plain.sent_bytes / packed.sent_bytes == pytest.approx(32 / 8.125)
    assert plain.sent_bytes / packed.sent_bytes > 3.9


def test_model_parallel_gathers_slices():
    """Three GPUs a node, two nodes, worked out by hand."""
    cluster = lm.Cluster(6, 3, lm.Link(10.0, 1.0), lm.Link(2.0, 50.0))
    network = lm.Network("n", 60.0, 0, 30, (1000, 10))
    code = lm.Code("c", 8.0, 100.0, 10.0)
    slices = [30 * 1000 / 6, 30 * 10 / 6]
    times = [
        2 * (0.001 + part / 10e6) + (0.05 + 3 * part / 2e6) + (100.0 * part + 10.0 * 5 * part) / 1e6 for part in slices
    ]
    found = lm.model_parallel(network, cluster, code)
    assert found.compute_ms == 10.0
    assert found.exchange_ms == pytest.approx(2 * sum(times))
    assert found.speedup == pytest.approx(60 / (10 + 2 * sum(times)))
    assert found.sent_bytes == pytest.approx(2 * sum(slices) * (2 + 1))
    hidden = lm.model_parallel(network, cluster, code, hidden_ms=0.1)
    assert hidden.exposed_ms == pytest.approx(2 * sum(max(0, time - 0.1) for time in times))
    assert times[1] < 0.1 < times[0]
    alone = lm.model_parallel(network, lm.Cluster(1, 3, FAST, SLOW), code)
    assert (alone.speedup, alone.sent_bytes, alone.exposed_ms) == (1, 0, 0)


def test_links_that_cost_nothing_give_the_ideal():
    free = lm.Link(1e12)
    network = lm.Network("n", 10.0, 10**6, 8, (100,))
    for predict in (lm.data_parallel, lm.model_parallel):
        for gpus in (1, 4, 16):
            found = predict(network, lm.Cluster(gpus, 4, free, free), lm.FLOAT32, 0.0)
            assert found.speedup == pytest.approx(gpus, rel=1e-6)
    slow = lm.Cluster(16, 4, lm.Link(1.0), lm.Link(1.0))
    before = lm.data_parallel(network, slow)
    hidden = lm.data_parallel(network, slow, hidden_ms=1.0)
    assert before.exposed_ms - hidden.exposed_ms == pytest.approx(1.0)
    assert lm.data_parallel(network, slow, hidden_ms=1e9).speedup == 16
    assert lm.data_parallel(network, slow, lm.Code("free", 8.0)).speedup > before.speedup


def test_curves_show_nodes_that_are_full():
    assert lm.counts_of(lm.Cluster(96, 3, FAST, SLOW)) == (1, 2, 3, 6, 12, 24, 48, 96)
    assert lm.counts_of(lm.Cluster(8, 8, FAST, SLOW)) == (1, 2, 4, 8)
    assert lm.counts_of(lm.Cluster(1, 1, FAST, SLOW)) == (1,)
    assert lm.counts_of(lm.Cluster(12, 4, FAST, SLOW)) == (1, 2, 4, 8, 12)
    assert lm.counts_of(lm.Cluster(3, 8, FAST, SLOW)) == (1, 2, 3)
    codes = (lm.FLOAT32, lm.code_of(linear8()))
    found = lm.curve(lm.data_parallel, lm.Network("n", 5.0, 10**6), lm.Cluster(12, 4, FAST, SLOW), codes)
    assert list(found) == ["float32", "linear8"]
    assert [[point.gpus for point in points] for points in found.values()] == [[1, 2, 4, 8, 12]] * 2
    assert found["linear8"][-1].code.bits == 8


def test_published_speedups():
    assert [f"{row.terms.speedup:.2f}" for row in FOUR_GPUS] == ["3.53", "3.67"]
    assert f"{Terms(4, 4, 3.34, 0.05, 7.01).speedup:.2f}" == "3.53", "what the printed terms add up to"
    assert len(NINETY_SIX_GPUS) == 12
    for row in NINETY_SIX_GPUS:
        forward, exchange = row.terms.dense_parallel_ms, row.terms.exchange_ms
        closed = 96 * 104.1 / (97.6 + forward + exchange)
        assert row.terms.speedup == pytest.approx(closed, rel=1e-12)
        printed, half = float(row.printed), 0.5 * 10.0 ** -len(row.printed.split(".")[1])
        assert abs(closed - printed) <= half + 1e-12 or abs(closed / printed - 1) <= 0.003, row
        assert row.is_near
        assert forward == pytest.approx(6.5 * 12288 / row.sub_batch)


def test_far_speedups_are_told():
    far = NINETY_SIX_GPUS[0]
    wrong = type(far)("float32", 128, "13.6", far.terms)
    assert not wrong.is_near
    assert wrong.deviation == pytest.approx(far.terms.speedup / 13.6 - 1)


def test_own_exchanges_are_worked_out_from_links():
    found = {(row.code, row.sub_batch): row for row in exchanges()}
    assert len(found) == 12
    widths = (9216, 4096, 4096, 1000, 4096, 4096, 9216)
    for (code, size), row in found.items():
        wide = 4 if code == "float32" else 1
        slices = free = whole = 0.0
        for width in widths:
            part = size * width / 96
            time = 2 * part * wide / 7e6 + 31 * 3 * part * wide / 6e6
            cost = 0 if wide == 4 else (part + 0.5 * 95 * part) / 1e6
            free += max(0.0, time - 1.3)
            slices += max(0.0, time + cost - 1.3)
            size_ms = size * width * wide / 1e6
            whole += 2 * max(0.0, size_ms / 7 - 1.3) + 31 * max(0.0, size_ms / 6 - 1.3)
            whole += 0 if wide == 4 else 1.5 * size * width / 1e6
        assert row.slices == pytest.approx(12288 / size * slices)
        assert row.free == pytest.approx(12288 / size * free)
        assert row.whole == pytest.approx(whole)
    assert found["float32", 12288].published == 7750
    assert found["dynamic8", 128].published == 0.35


def mlp(dtype=np.float32):
    rng = np.random.default_rng(0)
    shapes = {"w0": (100, 6), "b0": (100,), "w1": (100, 5), "one": ()}
    tensors = [numpy_helper.from_array(rng.normal(size=shape).astype(dtype), name) for name, shape in shapes.items()]
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["h"], transB=1),
        helper.make_node("MatMul", ["h", "w1"], ["s"]),
        helper.make_node("Mul", ["s", "one"], ["y"]),
    ]
    kind = int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    ports = [helper.make_tensor_value_info(name, kind, [None, size]) for name, size in (("x", 6), ("y", 5))]
    graph = helper.make_graph(nodes, "graph", ports[:1], ports[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_networks_from_onnx(tmp_path):
    found = lm.network_of(mlp(), 12.5, batch=32)
    assert found == lm.Network("graph", 12.5, 600 + 100 + 500, 32, (100, 5))
    onnx.save(mlp(), tmp_path / "file.onnx")
    assert lm.network_of(tmp_path / "file.onnx", 1.0).name == "file"
    with pytest.raises(UnsupportedModelError, match="it holds no float tensors"):
        lm.network_of(mlp(np.int32), 1.0)
    small = ax.compress_model(mlp(), minimum_elements=1).proto
    with pytest.raises(
        UnsupportedModelError, match=r"its weights are dynamic8 codes\n    do: give the model that it was"
    ):
        lm.network_of(small, 1.0)
    with pytest.raises(InvalidModelError, match="there is no such file"):
        lm.network_of(tmp_path / "none.onnx", 1.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: lm.Link(0), ["bandwidth: 0 GB/s is no bandwidth"]),
        (lambda: lm.Link(math.nan, -1), ["bandwidth: nan GB/s", "latency: -1 µs is no latency"]),
        (lambda: lm.Cluster(0, -2, FAST, SLOW), ["GPUs: 0 is no number", "GPUs a node: -2 is no number"]),
        (lambda: lm.Cluster(10, 4, FAST, SLOW), ["GPUs: 10 GPUs do not fill nodes of 4\n    do: such as 8"]),
        (lambda: lm.Cluster(True, 1.5, FAST, SLOW), ["GPUs: True is no number", "GPUs a node: 1.5 is no number"]),
        (lambda: lm.Code("c", 0, -1, math.inf), ["bits: 0 bits", "compression: -1 ns", "decompression: inf ns"]),
        (
            lambda: lm.Network("n", 0, -1, 0, (3, 0)),
            ["step: 0 ms is no time", "parameters: -1 is too few", "batch: 0 is too few", "widths: 0 is too few"],
        ),
        (
            lambda: lm.data_parallel(lm.Network("n", 1.0), lm.Cluster(2, 2, FAST, SLOW), hidden_ms=-1),
            ["overlap: -1 ms"],
        ),
    ],
)
def test_bad_numbers_are_refused_all_at_once(make, words):
    with pytest.raises(OptionError) as caught:
        make()
    assert len(caught.value.problems) == len(words)
    for word in words:
        assert word in str(caught.value)


def test_the_picture_shows_every_line():
    curves = lm.curve(
        lm.data_parallel,
        lm.Network("n", 5.0, 10**8),
        lm.Cluster(16, 4, FAST, SLOW),
        (lm.FLOAT32, lm.code_of(dynamic8(block=256), 0.01, 0.01)),
    )
    text = lm.plot(curves, "<script>&")
    root = ET.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    captions = [entry.text for entry in root.iter(f"{space}text") if "caption" in (entry.get("class") or "")]
    ends = {name: points[-1].speedup for name, points in curves.items()}
    assert ends["float32"] < ends["dynamic8<block=256>"]
    assert captions == ["16× ideal", *(f"{ends[name]:.3g}× {name}" for name in curves)]
    assert len(list(root.iter(f"{space}circle"))) == 2 * 5
    titles = [entry.text for entry in root.iter(f"{space}title")]
    assert f"float32, 16 GPUs: {ends['float32']:.3g} times" in titles
    assert root.findall(f"{space}text")[0].text == "<script>&"
    heights = {entry.get("cy") for entry in root.iter(f"{space}circle")}
    assert len(heights) > 5
    for entry in root.iter(f"{space}circle"):
        assert 0 < float(entry.get("cx")) < 760
        assert 0 < float(entry.get("cy")) < 420
    ET.fromstring(lm.plot({"one": curves["float32"][:1]}))  # a single GPU
    ET.fromstring(lm.plot({}))


def run(*words):
    return CliRunner().invoke(main, ["link-model", *words])


def test_the_command_line(tmp_path):
    onnx.save(mlp(), tmp_path / "m.onnx")
    plot = tmp_path / "deep" / "plot.svg"
    words = [
        *("--gpus", "8", "--per-node", "4", "--inside", "50", "--link", "12", "--latency-us", "5"),
        *("--model", str(tmp_path / "m.onnx"), "--batch", "64", "--step-ms", "0.5"),
    ]
    told = run(*words, "--plot", str(plot))
    assert told.exit_code == 0, told.output
    assert "m: 1200 parameters, 2 dense layers, 0.5 ms a step of 64 examples on one GPU" in told.stdout
    assert f"plot: {plot}" in told.stdout
    assert plot.read_text(encoding="utf-8").startswith("<svg")
    found = json.loads(run(*words, "--json").stdout)
    assert found["plot"] is None
    assert found["network"]["parameters"] == 1200
    cluster = lm.Cluster(8, 4, lm.Link(50.0, 5.0), lm.Link(12.0, 5.0))
    for name, code in (("float32", lm.FLOAT32), ("dynamic8<block=256>", lm.code_of(dynamic8(block=256)))):
        wanted = lm.data_parallel(lm.Network("m", 0.5, 1200), cluster, code)
        last = found["predictions"][name][-1]
        assert [point["gpus"] for point in found["predictions"][name]] == [1, 2, 4, 8]
        assert last["speedup"] == pytest.approx(wanted.speedup)
        assert last["sent_bytes"] == pytest.approx(wanted.sent_bytes)
        assert last["code"] == name
    found = json.loads(run(*words, "--parallel", "model", "--overlap-ms", "0.01", "--json").stdout)
    wanted = lm.model_parallel(lm.Network("m", 0.5, 1200, 64, (100, 5)), cluster, lm.FLOAT32, 0.01)
    assert found["predictions"]["float32"][-1]["speedup"] == pytest.approx(wanted.speedup)


def test_published_figures_on_the_command_line():
    found = json.loads(run("--published", "--json").stdout)
    assert len(found["published"]) == 14
    assert all(row["within"] for row in found["published"])
    assert len(found["exchanges"]) == 12
    told = run("--published").stdout
    assert "nothing is fitted" in told
    assert "+4%" in told


def test_wrong_options_are_told_all_at_once(tmp_path):
    told = run(
        *(
            "--gpus",
            "0",
            "--per-node",
            "-1",
            "--inside",
            "-3",
            "--link",
            "0",
            "--latency-us",
            "-2",
            "--format",
            "dynamic9",
        ),
        *("--step-ms", "0", "--batch", "0", "--parallel", "both", "--overlap-ms", "-1", "--encode-ns", "-1"),
        *("--decode-ns", "-1", "--widths", "a,b"),
    )
    assert told.exit_code == 2
    for word in (
        "link model: 13 problems",
        "--gpus: 0 is no number of GPUs",
        "--per-node: -1 is no number of GPUs",
        "--inside: -3.0 GB/s is no bandwidth",
        "--link: 0.0 GB/s is no bandwidth",
        "--latency-us: -2.0 µs is no latency",
        "--format: 'dynamic9' spells none",
        "--encode-ns: -1.0 ns a number is no time",
        "--decode-ns: -1.0 ns a number is no time",
        "--step-ms: 0.0 ms is no time of a step",
        "--batch: 0 is too few",
        "--parallel: 'both' is none",
        "--overlap-ms: -1 ms is no time",
        "--widths: 'a,b' are no whole numbers with commas between",
    ):
        assert word in told.stderr
    empty = run()
    assert empty.exit_code == 2
    for word in ("--gpus: is missing", "--step-ms: is missing", "--model: no network is given"):
        assert word in empty.stderr
    base = ["--gpus", "4", "--step-ms", "1"]
    lacking = run(*base, "--parameters", "9", "--parallel", "model")
    assert "--widths: model parallelism exchanges nothing of this network: it has no widths" in lacking.stderr
    assert "--model: the network is given twice" in run(*base, "--parameters", "9", "--model", "m.onnx").stderr
    missing = run(*base, "--model", str(tmp_path / "none.onnx"))
    assert missing.exit_code == 2
    assert "there is no such file" in missing.stderr
