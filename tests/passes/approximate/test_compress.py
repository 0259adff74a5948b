"""compress: weights and activations as 8-bit codes: what is held, what is told, what stays, and what it refuses."""

import numpy as np
import pytest

import approxhw as ax
from approxhw.common.errors import GraphError, OptionError, PassError
from approxhw.ir.evaluation import codes_of
from approxhw.ir.interpreter import run, run_all
from approxhw.ir.kinds import Decode, Dense, Encode
from approxhw.ir.pass_manager import PassContext, parse_passes
from approxhw.ir.random_graphs import random_float_graph, random_graph
from approxhw.ir.text import parse_graph, print_graph
from approxhw.ir.verifier import problems, verify
from approxhw.numerics.eight_bit.codes import make
from approxhw.numerics.formats import EightBit, Fixed


def compressed(graph, text="compress", data=None):
    context = PassContext(data=data)
    (item,) = parse_passes(text)
    after = item(graph, context)
    verify(after)
    return after, context.notes


def rows_for(graph, count=50):
    fmt, n = graph.input.type.format, graph.input.type.elements
    rng = np.random.default_rng(1)
    if isinstance(fmt, Fixed):
        return rng.integers(fmt.low, fmt.high + 1, (count, n))
    return rng.standard_normal((count, n))


def test_weights_of_random_networks_decode_to_what_the_format_says():
    seen = 0
    for seed in range(60):
        graph = random_float_graph(seed)
        after, _ = compressed(graph, "compress{code=linear8,max=pow2}")
        code = make("linear8", None, "pow2")
        for node in after.nodes:
            if isinstance(node.op, Dense):
                wanted = code.decode(code.encode(graph.constant(node.inputs[1])))
                assert isinstance(after[node.inputs[1]].op, Decode)
                assert np.array_equal(after.constant(node.inputs[1]), wanted)
                seen += 1
        assert run(after, rows_for(after)).shape == run(graph, rows_for(graph)).shape
        assert parse_graph(print_graph(after)) == after
    assert seen > 60


def test_integer_weights_stay_within_half_a_step_of_the_decoded_value():
    seen = 0
    for seed in range(80):
        graph = random_graph(seed)
        after, notes = compressed(graph)
        for node in graph.nodes:
            if not isinstance(node.op, Dense) or not isinstance(after[node.inputs[1]].op, Decode):
                continue
            name, fmt = node.inputs[1], node.type.format
            if isinstance(graph[name].op, Decode):
                continue
            scale = float(graph[name].type.format.scale)
            real = make("dynamic8").decode(make("dynamic8").encode(graph.constant(name) * scale))
            assert np.abs(after.constant(name) * scale - real).max() <= scale * 0.5000001
            assert isinstance(fmt, Fixed)
            seen += 1
        assert notes
    assert seen > 40


def example():
    digits = ax.read("examples/breast_cancer.onnx")
    return digits, ax.load_dataset("sklearn:breast_cancer")


def test_activations_are_encoded_between_layers_and_told_about():
    graph, data = example()
    after, notes = compressed(graph, "compress{activations=true,weights=false,code=static8}", data)
    kinds = [node.kind for node in after.nodes]
    assert (kinds.count("encode"), kinds.count("decode")) == (1, 1)
    (encode,) = [node for node in after.nodes if isinstance(node.op, Encode)]
    values = run_all(after, data.X_train)
    assert values[encode.name].min() >= 0
    assert values[encode.name].max() <= 127
    assert encode.op.maxima[0] == np.float32(np.abs(values[encode.inputs[0]]).max())
    assert len(notes) == 1
    assert "wires became" in notes[0]
    assert "mean relative error" in notes[0]


def test_accuracy_and_bits_are_in_the_ledger():
    from approxhw.ir.pass_manager import run_passes

    graph, data = example()
    _, (record,) = run_passes(graph, parse_passes("compress{block=64}"), PassContext(data=data))
    assert record.kind == "approximating"
    assert abs(record.test_accuracy_after - record.test_accuracy_before) <= 0.02
    total = [note for note in record.notes if note.startswith("weights: ")]
    assert len(total) == 1
    assert total[0].endswith("saved")


def test_auto_picks_a_format_for_every_weight_within_the_budget():
    graph = random_float_graph(2)
    node = next(node for node in graph.nodes if isinstance(node.op, Dense))
    after, notes = compressed(graph, "compress{code=auto,budget=20}")
    assert isinstance(after[after[node.inputs[1]].inputs[0]].type.format, EightBit)
    assert any(note.startswith(f"{node.inputs[1]}: ") for note in notes)
    with pytest.raises(OptionError, match="fewer than the smallest formats take"):
        compressed(graph, "compress{code=auto,budget=8}")


def test_masked_and_tabulated_layers_stay():
    stayed = 0
    for seed in range(40):
        graph = random_graph(seed)
        left = {
            node.inputs[1]
            for node in graph.nodes
            if isinstance(node.op, Dense) and str(node.op.arithmetic).split("<")[0] != "exact"
        }
        after, notes = compressed(graph)
        for name in left:
            assert np.array_equal(after.constant(name), graph.constant(name))
            assert any(note.startswith("left as they are: ") and name in note for note in notes)
            stayed += 1
    assert stayed > 10


@pytest.mark.parametrize("passes", ["", "quantize-inputs,fold-affine,quantize-weights{bits=12}"])
def test_corrected_sums_keep_their_means_on_training_rows(passes):
    graph, data = example()
    for item in parse_passes(passes) if passes else ():
        graph = item(graph, PassContext(data=data))
    plain, _ = compressed(graph, "compress{code=mantissa8,max=pow2}", data)
    after, _ = compressed(graph, "compress{code=mantissa8,max=pow2,correct=true}", data)
    rows = codes_of(graph, data.X_train)
    wanted, without, seen = (run_all(each, rows) for each in (graph, plain, after))
    sums = [node for node in graph.nodes if isinstance(node.op, Dense)]
    assert len(sums) == 2
    for node in sums:
        mean = wanted[node.name].mean(axis=0)
        step = 0.5000001 if graph.is_integer else 1e-9 * np.abs(mean).max()
        assert np.abs(seen[node.name].mean(axis=0) - mean).max() <= step
        assert np.abs(without[node.name].mean(axis=0) - mean).max() > step
    with pytest.raises(
        PassError, match=r"means of sums come from training rows, and there are none\n    do: give --data"
    ):
        compressed(graph, "compress{correct=true}")


def test_without_rows_maxima_come_from_ranges_or_are_asked_for():
    graph, _ = example()
    with pytest.raises(PassError, match=r"come from training rows, and there are none\n    do: give --data"):
        compressed(graph, "compress{activations=true}")
    with pytest.raises(PassError, match="8-bit codes stand for floating or fixed point, not for fractions"):
        compressed(random_float_graph(1, rational=True))


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ("code=dynamic9", ["compress.kind: 'dynamic9' is no 8-bit code"]),
        ("block=63", ["compress.block: a block has 64 to 4096 values, not 63"]),
        (
            "max=no,block=5000",
            ["compress.max: 'no' is none", "compress.block: a block has 64 to 4096 values, not 5000"],
        ),
        ("code=auto,block=64", ["auto picks the block of every weight"]),
        ("budget=7,weights=false", ["7 is not in 8…64 bits", "neither weights nor activations"]),
    ],
)
def test_options_out_of_reach_are_refused_all_at_once(options, texts):
    with pytest.raises(OptionError) as error:
        parse_passes(f"compress{{{options}}}")
    for text in texts:
        assert text in str(error.value)


@pytest.mark.parametrize("text", ["dynamic8,block", "dynamic8,block=64,block=65"])
def test_a_misspelt_option_of_the_command_line_is_named(text):
    from approxhw.flow.printed.target import compress_pass

    with pytest.raises(OptionError, match=r"is no NAME=VALUE of its own\n    do: such as dynamic8,block=256"):
        compress_pass(text)


def test_everything_wrong_with_the_option_is_told_at_once():
    from approxhw.flow.printed.target import compress_pass

    with pytest.raises(OptionError) as error:
        compress_pass("dynamic9,block=10,foo=1")
    for text in ("compress has no such option", "'dynamic9' is no 8-bit code", "not 10"):
        assert text in str(error.value)


def test_the_printed_target_compresses_behind_all_that_changes_weights(tmp_path):
    design = ax.compile(
        "examples/breast_cancer.onnx",
        data="sklearn:breast_cancer",
        target=ax.Printed(compress="dynamic8,block=256,activations=true"),
        output=tmp_path / "d",
    )
    assert [row["name"] for row in design.design.ledger][-2:] == ["compress", "narrow-formats"]
    assert any(isinstance(node.op, Encode) for node in design.design.graph.nodes)
    assert "dynamic8(" in design.verilog


BROKEN = {
    "maxima of another number": (
        '{"maxima":[1.0]}',
        '{"maxima":[1.0,2.0]}',
        "4 values of dynamic8 have 1 maxima, it has 2",
    ),
    "a negative maximum": ('{"maxima":[1.0]}', '{"maxima":[-1.0]}', "maxima are finite numbers of float32"),
    "more than float32 holds": ('{"maxima":[1.0]}', '{"maxima":[0.1]}', "maxima are finite numbers of float32"),
    "codes out of reach": ("[5,6]", "[5,256]", "codes of dynamic8 are integers in 0…255"),
    "a power of two": ("dynamic8", "dynamic8<max=pow2>", "its format has powers of two as maxima"),
    "fixed maxima": ("dynamic8", "dynamic8<max=fixed>", "its format keeps no maxima: they are 1"),
    "codes that are read": ("= dense(x, w, b)", "= dense(x, c, b)", "only decode reads 8-bit codes"),
}
TEXT = """axir 1
graph g
x : u2[2] = input {"features":["f0","f1"],"titles":["a","b"],"encoding":{"bits":2,"rule":"round","low":[0,0],"high":[3,3]}}
c : dynamic8[2,2] = constant {"data":[[3,4],[5,6]]}
w : s40<2^-30>[2,2] = decode(c) {"maxima":[1.0]}
b : s40<2^-30>[2] = constant {"data":[0,0]}
y : s80<2^-30>[2] = dense(x, w, b) {"arithmetic":"exact<40>"}
k : u1[] = argmax(y)
output k
"""


def test_a_graph_that_holds_codes_verifies():
    assert problems(parse_graph(TEXT)) == []


@pytest.mark.parametrize("name", list(BROKEN))
def test_rules_of_codes_are_checked(name):
    old, new, expected = BROKEN[name]
    text = TEXT.replace('{"maxima":[1.0]}', '{"maxima":[3.0]}') if "fixed" in new or "pow2" in new else TEXT
    assert old in text
    with pytest.raises(GraphError) as error:
        verify(parse_graph(text.replace(old, new)))
    assert expected in str(error.value)


def test_compress_keeps_its_argument():
    graph = random_graph(4)
    before = print_graph(graph)
    compressed(graph)
    assert print_graph(graph) == before
