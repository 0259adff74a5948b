"""Functions become tables, hard swish stays exact, branches meet on one scale: real Graphs against their integer ones."""

from fractions import Fraction

import numpy as np
import pytest

from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import OptionError, PassError
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph, Node, ranges
from approxhw.ir.interpreter import run, run_all
from approxhw.ir.kinds import (
    Add,
    ArgMax,
    Concat,
    Constant,
    Dense,
    HardSwish,
    Input,
    Lookup,
    PRelu,
    Relu,
    ThresholdedRelu,
    Type,
)
from approxhw.ir.pass_manager import PassContext, parse_passes, run_passes
from approxhw.numerics.formats import FLOAT64, Fixed
from approxhw.numerics.functions.formulas import formula_values

ROWS = np.random.default_rng(3).uniform(-1, 1, (300, 2))


def made(*steps, classes=True):
    """A real Graph of two features: *steps* are (name, op, inputs), a Dense where the op is a pair of weights and biases."""
    nodes = [Node("x", Input(("a", "b"), ("a", "b")), (), Type((2,), FLOAT64))]
    for name, op, inputs in steps:
        shapes = {node.name: node.type.shape for node in nodes}
        if isinstance(op, tuple):
            weights, bias = (np.array(part, dtype=np.float64) for part in op)
            nodes.append(Node(f"{name}_w", Constant(weights), (), Type(weights.shape, FLOAT64)))
            nodes.append(Node(f"{name}_b", Constant(bias), (), Type(bias.shape, FLOAT64)))
            nodes.append(Node(name, Dense(), (inputs, f"{name}_w", f"{name}_b"), Type(bias.shape, FLOAT64)))
            continue
        read = tuple(inputs.split())
        shape = (sum(shapes[r][0] for r in read),) if isinstance(op, Concat) else shapes[read[0]]
        nodes.append(Node(name, op, read, Type(shape, FLOAT64)))
    if classes:
        nodes.append(
            Node(
                "class_index",
                ArgMax(),
                (nodes[-1].name,),
                Type((), Fixed(max(1, (nodes[-1].type.shape[0] - 1).bit_length()))),
            )
        )
    return Graph("tiny", tuple(nodes), nodes[-1].name)


def lowered(graph, passes="quantize-inputs{bits=8},fold-affine,quantize-weights", rows=ROWS):
    empty = np.zeros(len(rows), dtype=np.int64)
    data = Dataset(rows, empty, rows[:0], empty[:0]) if len(rows) else None
    notes = []
    found, ledger = run_passes(graph, parse_passes(passes), PassContext(data))
    for record in ledger:
        notes += record.notes
    return found, notes


FIRST = ([[1.5, -2.0], [0.5, 0.25], [-1.0, 2.5]], [0.25, -0.5, 0.125])
LAST = ([[1.0, -0.5, 0.25], [-0.75, 0.5, 1.0], [0.25, 0.25, -1.0]], [0.0, 0.25, -0.5])


@pytest.mark.parametrize("function", ["tanh", "sigmoid", "softplus", "exp", "abs", "sin"])
@pytest.mark.parametrize("bits", [6, 8, 10])
def test_an_entry_is_the_value_in_the_middle_of_its_step(function, bits):
    graph = made(("z", FIRST, "x"), ("h", Lookup(("x", function)), "z"), ("y", LAST, "h"))
    found, notes = lowered(graph, f"quantize-inputs{{bits=8}},fold-affine,quantize-weights{{lookup_bits={bits}}}")
    table = found["h"]
    read = found[table.inputs[0]]
    assert len(table.op.table) <= 1 << bits
    assert max(table.type.format.bits, read.type.format.bits) <= bits
    scale = found["z"].type.format.scale
    shift = (read.type.format.scale / scale).numerator.bit_length() - 1
    low, high = (int(end[0]) for end in ranges(found)[read.name])
    for code in range(low, high + 1):
        middle = (code * 2**shift + (2**shift - 1) / 2) * float(scale)
        wanted = formula_values(("x", function), np.array([middle]))[0] / float(table.type.format.scale)
        entry = table.op.table[code % len(table.op.table)]
        assert entry == np.clip(np.floor(wanted + 0.5), table.type.format.low, table.type.format.high)
    assert any(f"h: {'|x|' if function == 'abs' else function + '(x)'} by a table of" in note for note in notes)


def test_ten_bits_are_nearer_than_six():
    graph = made(("z", FIRST, "x"), ("h", Lookup(("x", "tanh")), "z"), ("y", LAST, "h"))
    wanted = run_all(graph, ROWS)["h"]
    errors = []
    for bits in (4, 6, 8, 10):
        found, _ = lowered(
            graph, f"quantize-inputs{{bits=12}},fold-affine,quantize-weights{{bits=12,lookup_bits={bits}}}"
        )
        seen = run_all(found, codes_of(found, ROWS))["h"] * float(found["h"].type.format.scale)
        errors.append(float(np.abs(seen - wanted).max()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.007


def test_without_rows_a_table_covers_the_exact_range():
    graph = made(("z", FIRST, "x"), ("h", Lookup(("x", "tanh")), "z"), ("y", LAST, "h"))
    found, _ = lowered(graph, "quantize-inputs{low=-1,high=1},fold-affine,quantize-weights", rows=ROWS[:0])
    values = run_all(found, np.random.default_rng(1).integers(0, 16, (500, 2)))
    steps = np.abs(
        values["h"] * float(found["h"].type.format.scale) - np.tanh(values["z"] * float(found["z"].type.format.scale))
    )
    assert steps.max() < 0.05


def test_a_function_that_is_defined_nowhere_is_refused():
    graph = made(("z", ([[0.1, 0.1]], [-9.0]), "x"), ("h", Lookup(("x", "log")), "z"), ("y", ([[1.0]], [0.0]), "h"))
    with pytest.raises(PassError, match=r"h: log\(x\) is not defined where its values lie"):
        lowered(graph)


def test_tables_of_more_than_ten_bits_are_refused():
    with pytest.raises(OptionError, match=r"quantize-weights\.lookup_bits: 11 is not in 2…10"):
        parse_passes("quantize-weights{lookup_bits=11}")


@pytest.mark.parametrize(
    ("op", "meaning"),
    [
        (HardSwish(3.0, 0.0, 6.0), lambda z: z * np.clip(z + 3, 0, 6)),
        (PRelu((Fraction(1, 4), Fraction(-1, 2), Fraction(2))), None),
        (ThresholdedRelu(0.375), lambda z: np.where(z > 0.375, z, 0)),
        (Relu(), lambda z: np.maximum(z, 0)),
    ],
)
def test_exact_activations_are_the_real_ones_of_the_sums(op, meaning):
    graph = made(("z", FIRST, "x"), ("h", op, "z"), ("y", LAST, "h"))
    found, _ = lowered(graph)
    values = run_all(found, codes_of(found, ROWS))
    z, h = (values[name] * float(found[name].type.format.scale) for name in "zh")
    if meaning is not None:
        assert np.array_equal(h, meaning(z)), "to the last bit"
        return
    slopes = np.array([0.25, -0.5, 2.0])
    wanted = np.where(z < 0, z * slopes, z)
    assert ((wanted - h >= 0) & (wanted - h < float(found["z"].type.format.scale))).all()


def residual(join=None, **more):
    join = join or Add()
    last = (np.ones((2, 6)).tolist(), [0.0, 1.0]) if isinstance(join, Concat) else LAST
    return made(
        *(("z", FIRST, "x"), ("r", Relu(), "z"), ("q", ([[0.001, 0.002, -0.003]] * 3, [0.5, 0.25, 0.125]), "r")),
        *(("t", Lookup(("x", "tanh")), "q"), ("s", join, "r t"), ("y", last, "s")),
        **more,
    )


@pytest.mark.parametrize("join", [Add(), Concat((3, 3))])
def test_branches_meet_on_one_scale_and_nothing_is_lost(join):
    found, _ = lowered(residual(join))
    values = run_all(found, codes_of(found, ROWS))
    real = {name: values[name] * float(found[name].type.format.scale) for name in "rts"}
    wanted = real["r"] + real["t"] if isinstance(join, Add) else np.hstack([real["r"], real["t"]])
    assert np.array_equal(real["s"], wanted)
    assert {found[name].type.format.scale for name in found["s"].inputs} == {found["s"].type.format.scale}


@pytest.mark.parametrize("join", [Add(), Concat((3, 3))])
def test_hidden_values_of_few_bits_in_branches(join):
    plain = "quantize-inputs{bits=8},fold-affine,quantize-weights"
    found, _ = lowered(residual(join), f"{plain},requantize-hidden{{bits=7}},drop-constant,narrow-formats")
    real, cut = residual(join), found["s"]
    seen = run_all(found, codes_of(found, ROWS))["s"] * float(cut.type.format.scale)
    assert np.abs(seen - run_all(real, ROWS)["s"]).max() < 0.2


def test_exact_passes_leave_branches_as_they_are():
    found, _ = lowered(residual())
    after, _ = run_passes(found, parse_passes("drop-constant,center-logits,narrow-formats"))  # compared on rows
    codes = codes_of(found, ROWS)
    assert np.array_equal(run(found, codes), run(after, codes))


def test_training_refuses_what_is_no_chain_by_name():
    graph = residual()
    with pytest.raises(PassError) as refused:
        lowered(graph, "quantize-inputs,fold-affine,power-of-two")
    assert "s: add has no place between layers" in str(refused.value)
    table = made(("z", FIRST, "x"), ("h", Lookup(("x", "tanh")), "z"), ("y", LAST, "h"))
    with pytest.raises(PassError, match=r"h: it is a table of tanh\(x\), and training makes QReLU of every activation"):
        lowered(table, "quantize-inputs,fold-affine,power-of-two")
    with pytest.raises(PassError, match=r"h: it is a hard swish.*QReLU lets nothing below 0 through"):
        lowered(
            made(("z", FIRST, "x"), ("h", HardSwish(3.0, 0.0, 6.0), "z"), ("y", LAST, "h")),
            "quantize-inputs,fold-affine,quantize-weights,qrelu",
        )


def test_calibration_says_that_branches_are_no_chain():
    _, notes = lowered(residual(), "quantize-inputs{bits=8},fold-affine,quantize-weights,calibrate-weights")
    assert "no chain of layers: nothing changed" in notes


def test_calibration_moves_weights_in_front_of_tables():
    graph = made(("z", FIRST, "x"), ("h", Lookup(("x", "tanh")), "z"), ("y", LAST, "h"))
    _, notes = lowered(graph, "quantize-inputs{bits=3},fold-affine,quantize-weights{bits=3},calibrate-weights")
    assert any("moves; loss on 300 training rows" in note for note in notes)
