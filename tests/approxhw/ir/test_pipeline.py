"""Passes by name, options and their errors, and the runner with its ledger."""

import itertools
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import GraphError, OptionError, PassError
from approxhw.ir.kinds import Type
from approxhw.ir.pass_manager import (
    KINDS,
    PassContext,
    available_passes,
    available_pipelines,
    describe,
    name_of,
    named_pipeline,
    parse_passes,
    pass_named,
    run_passes,
    spell_pass,
)
from approxhw.ir.random_graphs import random_float_graph, random_graph
from approxhw.numerics.formats import Fixed

EXPECTED = {
    "calibrate-weights": "approximating",
    "center-logits": "exact",
    "drop-constant": "exact",
    "fold-affine": "algebraic",
    "narrow-formats": "exact",
    "quantize-inputs": "approximating",
    "quantize-weights": "approximating",
    "requantize-hidden": "approximating",
}


def test_every_pass_is_found_with_kind_contract_and_documented_options():
    infos = {name: describe(pass_named(name)) for name in available_passes()}
    assert {name: infos[name].kind for name in EXPECTED} == EXPECTED
    for name, info in infos.items():
        assert info.name == name
        assert info.kind in KINDS
        assert info.contract.endswith(".")
        assert all(option.help for option in info.options), name
        assert name_of(pass_named(name)()) == name


def test_listing_passes_imports_none_of_them():
    code = (
        "import sys; from approxhw.ir.pass_manager import available_passes; assert len(available_passes()) >= 7; "
        "assert not [m for m in sys.modules if m.startswith('approxhw.passes.')], sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize(
    "text",
    [
        "fold-affine",
        "quantize-inputs{bits=6,low=0.0:0.5,high=1.0}",
        "quantize-inputs{code=floor16}",
        "requantize-hidden{percentile=none,rounding=half-up}",
        "requantize-hidden{percentile=99.0}",
    ],
)
def test_spelling_round_trip(text):
    (item,) = parse_passes(text)
    assert spell_pass(item) == text
    assert parse_passes(spell_pass(item)) == (item,)


def test_lists_pipelines_and_spaces_are_read():
    passes = parse_passes(" fold-affine , printed-exact{input_bits=3, hidden_bits=6} ,narrow-formats")
    names = [name_of(item) for item in passes]
    assert names[:2] == ["fold-affine", "quantize-inputs"]
    assert "requantize-hidden" in names
    assert passes[1].bits == 3
    assert spell_pass(passes[0]) == "fold-affine"
    assert parse_passes(",".join(map(spell_pass, passes))) == passes


def test_named_pipeline_takes_options_by_value():
    assert "printed-exact" in available_pipelines()
    assert named_pipeline("printed-exact", input_bits=6)[0].bits == 6
    assert named_pipeline("printed-exact", input_code="floor16")[0].code == "floor16"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fold-afine", "fold-afine: there is no pass or pipeline of this name; did you mean 'fold-affine'?"),
        ("zzz", "there is no pass or pipeline of this name; there are approximate-"),
        ("quantize-weights{bit=8}", "quantize-weights.bit: quantize-weights has no such option; did you mean 'bits'?"),
        ("fold-affine{bits=8}", "fold-affine.bits: fold-affine has no options"),
        ("quantize-weights{bits=eight}", "quantize-weights.bits: 'eight' is no integer"),
        ("quantize-weights{bits=1}", "quantize-weights.bits: 1 is not in 2…16"),
        ("requantize-hidden{percentile=x}", "requantize-hidden.percentile: 'x' is no number or none"),
        ("requantize-hidden{percentile=nan}", "'nan' is no number or none"),
        ("quantize-inputs{low=a:b}", "quantize-inputs.low: 'a:b' is no numbers a:b:c or none"),
        (
            "quantize-inputs{bits=5,code=floor16}",
            "floor16 makes 4-bit codes, bits is 5\n    do: say bits=4, or code=round",
        ),
        ("quantize-inputs{code=nearest}", "there is no 'nearest'; there are round, floor16"),
        ("fold-affine{", "passes: cannot read 'fold-affine{'"),
        ("quantize-weights{bits}", "quantize-weights: option 'bits' has no value"),
        ("", "passes: no pass is named"),
        ("printed-exact{bits=3}", "printed-exact.bits: printed-exact has no such option"),
    ],
)
def test_bad_lists_are_refused(text, message):
    with pytest.raises(OptionError) as caught:
        parse_passes(text)
    assert message in str(caught.value)


def test_everything_wrong_with_a_list_is_said_at_once():
    with pytest.raises(OptionError) as caught:
        parse_passes("fold-afine,quantize-weights{bits=x,bots=3},quantize-inputs{bits=99},printed-exact{input_bits=q}")
    assert [problem.where for problem in caught.value.problems] == [
        "fold-afine",
        "quantize-weights.bits",
        "quantize-weights.bots",
        "quantize-inputs.bits",
        "printed-exact.input_bits",
    ]


def test_unknown_pipeline_and_option():
    with pytest.raises(OptionError, match=r"there is no pipeline of this name; did you mean 'printed-exact'\?"):
        named_pipeline("printed-exakt")
    with pytest.raises(OptionError, match=r"no such option; did you mean 'input_bits'\?"):
        named_pipeline("printed-exact", input_bit=3)


def data_for(graph, rows=40):
    rng = np.random.default_rng(3)
    n = graph.input.type.elements
    readings = rng.normal(size=(rows, n))
    return Dataset(readings, rng.integers(0, 2, rows), readings[:10], rng.integers(0, 2, 10))


def test_ledger_records_what_each_pass_did():
    graph = random_float_graph(14)
    data, steps = data_for(graph), []
    result, ledger = run_passes(
        graph, parse_passes("printed-exact"), PassContext(data), lambda *step: steps.append(step)
    )
    assert [record.index for record in ledger] == list(range(1, len(ledger) + 1))
    assert [step[0] for step in steps] == [record.index for record in ledger]
    assert steps[-1][2] == result
    assert steps[2][3] is ledger[2]
    for first, second in itertools.pairwise(ledger):
        assert second.train_accuracy_before == first.train_accuracy_after
        assert second.nodes_before == first.nodes_after
    last = ledger[-1]
    assert (last.kind, last.nodes_after) == ("exact", len(result.nodes))
    assert last.checked_rows == 2 + 512 + 40
    assert last.accumulator_bits >= 1
    assert last.seconds >= 0
    assert 0 <= last.test_accuracy_after <= 1
    assert ledger[0].notes[0].endswith("training readings saturate")
    assert ledger[0].options["bits"] == 4


def test_accuracy_is_none_without_rows():
    _, (record,) = run_passes(random_graph(3), parse_passes("narrow-formats"))
    assert record.train_accuracy_before is None
    assert record.test_accuracy_after is None


def test_a_run_can_start_in_the_middle():
    graph, passes = random_float_graph(1), parse_passes("printed-exact{low=-1,high=1}")
    steps = {}
    whole, ledger = run_passes(graph, passes, on_step=lambda index, name, g, record: steps.update({index: g}))
    again, rest = run_passes(steps[2], passes, start=2)
    assert again == whole
    assert [record.index for record in rest] == [record.index for record in ledger[2:]]


def test_a_broken_graph_is_refused_before_any_pass():
    graph = random_graph(3)
    with pytest.raises(GraphError, match=r"\[order\] 'nil' does not exist"):
        run_passes(replace(graph, output="nil"), parse_passes("narrow-formats"))


@dataclass(frozen=True)
class BreakFormats:
    """Break a format, for a test."""

    kind: ClassVar[str] = "exact"

    def __call__(self, graph, context):
        nodes = [replace(n, type=Type(n.type.shape, Fixed(1))) if n.kind == "dense" else n for n in graph.nodes]
        return replace(graph, nodes=tuple(nodes))


@dataclass(frozen=True)
class SwapClasses:
    """Change the answer while claiming to be exact, for a test."""

    kind: ClassVar[str] = "exact"

    def __call__(self, graph, context):
        w = graph[graph[graph.output].inputs[0]].inputs[2]
        nodes = [replace(n, op=replace(n.op, data=np.roll(n.op.data, 1))) if n.name == w else n for n in graph.nodes]
        return replace(graph, nodes=tuple(nodes))


@dataclass(frozen=True)
class Crash:
    """Divide by zero, for a test."""

    kind: ClassVar[str] = "exact"

    def __call__(self, graph, context):
        raise ZeroDivisionError("by zero")


def graph_with_argmax():
    from approxhw.ir.text import parse_graph

    return parse_graph(
        'axir 1\ngraph g\nx : u2[1] = input {"features":["a"],"titles":["a"],"encoding":{"bits":2,"rule":"round",'
        '"low":[0],"high":[1]}}\nw : s2[3,1] = constant {"data":[[1],[0],[-1]]}\n'
        'b : s6[3] = constant {"data":[0,5,-20]}\n'
        'y : s6[3] = dense(x, w, b) {"arithmetic":"exact<2>"}\nc : u2[] = argmax(y)\noutput c\n'
    )


def test_what_a_pass_does_wrong_names_the_pass():
    with pytest.raises(PassError, match=r"pass break-formats made a Graph that breaks rules: \d+ problems?"):
        run_passes(graph_with_argmax(), [BreakFormats()])
    with pytest.raises(PassError, match=r"swap-classes: it is exact, but \d+ of 514 rows differ; the first is"):
        run_passes(graph_with_argmax(), [SwapClasses()])
    run_passes(graph_with_argmax(), [SwapClasses()], check=False)
    with pytest.raises(PassError, match="crash: it failed on Graph g: ZeroDivisionError: by zero"):
        run_passes(graph_with_argmax(), [Crash()])
