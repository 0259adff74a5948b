"""Every kind of Node as a circuit: equal to the interpreter for every input, on both simulators, many under one top."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from approxhw.backends.bespoke.circuit import BUILDERS, build_circuit
from approxhw.backends.bespoke.compression import adder_counts
from approxhw.backends.bespoke.elements import ELEMENTS
from approxhw.common.errors import PassError
from approxhw.ir.graph import KINDS
from approxhw.ir.kinds import (
    Add,
    Binarize,
    Clip,
    Concat,
    Constant,
    HardSwish,
    Input,
    LeakyRelu,
    Lookup,
    PRelu,
    Relu,
    Requantize,
    Reshape,
    ThresholdedRelu,
)
from approxhw.numerics.exact.rounding import SHIFTED
from approxhw.sim import SimulationJob, bundle, bundle_ports, simulate

SPREAD = [[3, -5], [-2, 7], [4, 4], [-1, -1]]
BIAS = [-9, 2, -20, 11]


def element_cases(making):
    """Yield (name, Graph) of elementwise Nodes after a Dense, after nothing, and in chains.

    Where no head reads them their codes are outputs: every bit of each is seen, and a circuit is half as large.
    """
    bounds = [(0, 7), (0, 6), (0, 0), (5, 5), (-3, 10), (-8, 7), (-9, -2), (3, 12), (0, 1 << 70), (-(1 << 70), 4)]
    bounds += [
        (None, 6),
        (None, 7),
        (None, -4),
        (2, None),
        (-5, None),
        (0, None),
        (None, None),
        (300, 400),
        (-400, -300),
    ]
    for low, high in bounds:
        name = f"clip_{low}_{high}".replace("-", "m")
        yield name, making(2, 3).dense(SPREAD, BIAS).then(Clip(low, high)).graph()
        yield f"{name}_unsigned", making(3, 3).then(Clip(low, high)).graph()
    yield "relu", making(2, 3).dense(SPREAD, BIAS).then(Relu()).argmax().graph()
    yield "relu_of_unsigned", making(2, 3).then(Relu()).argmax().graph()
    yield "relu_of_negative", making(2, 3).dense([[-1, -2], [-2, -1]], [-1, 0]).then(Relu()).argmax().graph()
    for alpha in ("0", "1/2", "1/8", "1/4096", "3/8", "41/4096", "1", "5/4", "3"):
        name = f"leaky_{alpha}".replace("/", "_")
        yield name, making(2, 3).dense(SPREAD, BIAS).then(LeakyRelu(Fraction(alpha))).graph()
        deeper = making(2, 3).dense(SPREAD, BIAS).then(LeakyRelu(Fraction(alpha))).then(Clip(-9, 30))
        yield f"{name}_and_more", deeper.dense([[1, -1, 2, 1], [3, 1, -1, 0]], [1, 2]).argmax().graph()
    leak = LeakyRelu(Fraction(3, 8))
    yield "leaky_of_unsigned", making(3, 3).then(leak).argmax().graph()
    yield "leaky_of_negative", making(2, 3).dense([[-1, -2], [-2, -1]], [-1, 0]).then(leak).argmax().graph()
    for number, slopes in enumerate((["-1"], ["-3/8"], ["1/4", "-1/2", "0", "1"], ["5/4", "-2", "3/8", "-1/16"])):
        op = PRelu(tuple(map(Fraction, slopes)))
        yield f"prelu_{number}", making(2, 3).dense(SPREAD, BIAS).then(op).graph()
        deeper = making(2, 3).dense(SPREAD, BIAS).then(op).then(Clip(-9, 30))
        yield f"prelu_{number}_and_more", deeper.dense([[1, -1, 2, 1], [3, 1, -1, 0]], [1, 2]).argmax().graph()
    negative = making(2, 3).dense([[-1, -2], [-2, -1]], [-1, 0])
    yield "prelu_of_negative", negative.then(PRelu((Fraction(-3, 4), Fraction(1, 2)))).argmax().graph()
    for threshold in (-100, -9, -1, 0, 1, 8, 31, 32, 100):
        op = ThresholdedRelu(threshold)
        name = f"thresholded_{threshold}".replace("-", "m")
        yield name, making(2, 3).dense(SPREAD, BIAS).then(op).graph()
        yield f"{name}_unsigned", making(3, 3).then(op).graph()
    for number, op in enumerate(
        (HardSwish(12, 0, 24), HardSwish(3, 0, 6), HardSwish(-7, -5, 9), HardSwish(0, 4, 4), HardSwish(100, 0, 7))
    ):
        yield f"hardswish_{number}", making(2, 3).dense(SPREAD, BIAS).then(op).graph()
        yield f"hardswish_{number}_of_unsigned", making(3, 3).then(op).graph()
        deeper = making(2, 3).dense(SPREAD, BIAS).then(op).then(Requantize((1,), 4, (8,), -16, 31))
        yield f"hardswish_{number}_and_more", deeper.dense([[1, -1, 2, 1], [3, 1, -1, 0]], [1, 2]).argmax().graph()
    requantized = {
        "shift": Requantize((1,), 2, (0,), 0, 15),
        "round": Requantize((1,), 2, (2,), -128, 127),
        "multiplier": Requantize((13,), 4, (8,), -16, 15),
        "negative": Requantize((-7,), 3, (4,), -31, 31),
        "negative_unsigned_result": Requantize((-7,), 1, (-30,), 0, 255),
        "nothing": Requantize((0,), 3, (-17,), -9, 9),
        "one_a_element": Requantize((1, -3, 0, 17), 2, (0, 5, -9, 100), -100, 100),
        "offsets": Requantize((5,), 1, (-40, 0, 40, 7), 0, 31),
        "wide_shift": Requantize((3,), 40, (1,), -5, 5),
        "shift_of_all": Requantize((1,), 7, (0,), -5, 5),
        "no_shift": Requantize((2,), 0, (1,), -20, 20),
        "odd_bounds": Requantize((3,), 2, (1,), -11, 13),
        "high_below_zero": Requantize((3,), 2, (1,), -11, -3),
        "low_above_zero": Requantize((3,), 2, (1,), 3, 13),
        "one_code": Requantize((3,), 2, (1,), 6, 6),
    }
    for name, op in requantized.items():
        yield f"requantize_{name}", making(2, 3).dense(SPREAD, BIAS).then(op).graph()
        yield f"requantize_{name}_of_inputs", making(4, 2).then(op).graph()
    scalings = ((1, 1, 0), (1, 2, 1), (3, 2, -1), (-3, 3, 2), (6, 4, 0), (1, 9, 0), (2, 0, 3))
    for number, (rounding, (multiplier, shift, offset)) in enumerate(itertools.product(SHIFTED, scalings)):
        op = Requantize((multiplier,), shift, (offset,), -8, 7, rounding)
        name = f"requantize_{rounding.replace('-', '_')}_{multiplier}_{shift}_{offset}".replace("-", "m")
        yield name, making(1, 5).dense([[1]], [-16]).then(op).graph()
        # codes of one sign in turn: seven is odd, so that every rounding and every scaling meets both
        if number % 2:
            yield f"{name}_of_inputs", making(1, 4).then(op).graph()
        else:
            yield f"{name}_of_negative", making(1, 4).dense([[-1]], [-1]).then(op).graph()
    chain = making(2, 3).dense(SPREAD, BIAS).then(Clip(-20, None)).then(Requantize((3,), 1, (1,), -99, 99))
    yield "chain", chain.then(Relu()).then(Clip(2, 30)).then(Requantize((-1,), 0, (0,), -50, 0)).argmax().graph()
    yield (
        "two_requantize",
        making(2, 3)
        .dense(SPREAD, BIAS)
        .then(Requantize((3,), 1, (1,), -99, 99))
        .then(Requantize((-5,), 2, (3,), -30, 30))
        .then(Requantize((7,), 3, (0,), -9, 20))
        .argmax()
        .graph(),
    )


def head_cases(making):
    """Yield (name, Graph) of heads: ArgMax of 1 to 9 classes with ties, Threshold wherever it may stand."""
    rng = np.random.default_rng(3)
    for classes in range(1, 10):
        graph = making(3, 2).dense(rng.integers(-2, 3, (classes, 3)), rng.integers(-2, 3, classes))
        yield f"argmax_{classes}", graph.argmax().graph()
        yield f"argmax_of_{classes}_inputs", making(classes, 1).argmax().graph()
        yield f"argmax_all_equal_{classes}", making(2, 2).dense([[1, 2]] * classes).argmax().graph()
        rising = making(2, 2).dense([[1, 1]] * classes, list(range(classes)))
        yield f"argmax_known_{classes}", rising.argmax().graph()
        apart = making(2, 2).dense(rng.integers(-2, 3, (classes, 2)), [0, 40, -40, 3, 0, 0, 41, 40, 2][:classes])
        yield f"argmax_partly_known_{classes}", apart.argmax().graph()
    yield "argmax_of_powers", making(2, 3).dense([[1, 0], [0, 1], [0, 0]], [0, 1, 8]).argmax().graph()
    yield "argmax_of_signs", making(1, 2).dense([[1], [-1], [1], [-1]], [-4, 0, -1, 3]).argmax().graph()
    for threshold in (-100, -8, -7, -1, 0, 1, 5, 6, 7, 100):
        yield (
            f"threshold_{threshold}".replace("-", "m"),
            making(2, 2).dense([[3, -2]], [1]).threshold(threshold).graph(),
        )
        after = making(2, 2).dense([[3, -2]], [1]).then(Relu()).threshold(threshold)
        yield f"threshold_after_relu_{threshold}".replace("-", "m"), after.graph()
        yield f"threshold_of_input_{threshold}".replace("-", "m"), making(1, 3).threshold(threshold).graph()
    middle = making(3, 2).argmax("winner").then(Reshape(), shape=(1,)).dense([[2], [-1], [0]], [-1, 1, 1])
    yield "argmax_in_the_middle", middle.argmax().graph()
    chosen = making(1, 3).threshold(3, "chosen").then(Reshape(), shape=(1,)).dense([[-5], [2]], [1, -2]).argmax()
    yield "threshold_in_the_middle", chosen.graph()
    direct = making(2, 2).dense([[3, -2]], [1]).threshold(2, "layer0_neuron0_y").then(Reshape(), shape=(1,))
    yield "threshold_named_like_a_wire", direct.dense([[-5], [2]], [1, -2]).argmax().graph()


def value_cases(making):
    """Yield (name, Graph) of what ranges and readers can be: constants, several readers, unread and wide values."""
    yield (
        "reshape",
        making(4, 2).then(Reshape(), shape=(2, 2)).then(Relu()).then(Reshape(), shape=(4,)).argmax().graph(),
    )
    yield "constant_to_argmax", making(2, 2).constant([3, 7, 7]).argmax().graph()
    yield "constant_to_dense", making(2, 2).constant([3, -7]).dense([[1, 2], [-3, -4]], [0, 1]).argmax().graph()
    mixed = making(3, 2).dense([[0, 0, 0], [1, 0, 0], [0, 0, 0]], [3, 1, -2]).then(Relu())
    yield "dead_neurons", mixed.dense([[1, 2, 3], [2, -1, 7]], [0, -1]).argmax().graph()
    yield "unread_feature", making(3, 2).dense([[1, 0, 2], [2, 0, 1]]).argmax().graph()
    yield "unread_bits", making(2, 4).then(Requantize((1,), 2, (0,), 0, 3)).dense([[1, -1], [2, 1]]).argmax().graph()
    yield "multiples_of_eight", making(2, 3).dense([[8, -16], [-8, 24]], [8, 16]).argmax().graph()
    both = making(2, 3).dense(SPREAD, BIAS)
    both.then(Relu(), name="positive").dense([[1, -1, 2, -2]], [1], reads="sum0").then(Relu(), name="other")
    both.dense([[1, 1, -1, -1]], reads="positive").argmax()
    yield "several_readers", both.graph()
    twice = making(2, 3).dense(SPREAD, BIAS).then(Relu(), name="hidden").then(Clip(0, 5), name="low")
    twice.dense([[1, 1, 1, 1], [2, 0, 0, 1]], reads="hidden").then(Clip(3, 40)).argmax()
    yield "element_with_an_unread_reader", twice.graph()
    big = 1 << 70
    yield "wide", making(2, 3).dense([[big + 1, -big], [3 - big, big // 3], [5, 1]], [-7, big, 0]).argmax().graph()
    deep = making(2, 2).dense([[big, 3 - big], [1 - big, big // 7]], [5, -3]).then(Relu())
    deep.dense([[253, -255], [-201, 249]], [1 << 77, 0]).then(Relu()).then(Clip(None, 1 << 76))
    yield "wide_and_deep", deep.argmax().graph()
    for bias in (-8, -7, -1, 0, 1, 7, 8):
        graph = making(1, 3).dense([[1], [-1], [0]], [bias, -bias, 0]).then(Relu()).argmax().graph()
        yield f"ranges_at_powers_of_two_{bias}".replace("-", "m"), graph
    shared = making(2, 3).dense([[-3, 0], [-3, 0], [45, 45], [90, 90], [-45, -45]], [0, 1, 2, 3, 4])
    yield "shared_sums", shared.then(Relu()).dense([[11, 13, 11, 13, 11]] * 2, [0, 1]).argmax().graph()
    fixed = making(2, 2).then(Requantize((0, 1), 0, (5, 0), 0, 7)).dense([[11, 3], [11, -3], [22, 5]], [0, 0, -9])
    yield "constant_among_inputs", fixed.argmax().graph()


def joined_cases(making):
    """Yield (name, Graph) of tables, branches that meet, and outputs that are no class."""
    rng = np.random.default_rng(8)
    tables = {
        "random": rng.integers(-9, 10, 64),
        "wide": rng.integers(-(1 << 40), 1 << 40, 64),
        "rising": np.arange(-32, 32),
        "unsigned": rng.integers(0, 8, 64),
        "one_code": np.full(64, -3),
        "sigmoid": np.floor(255 / (1 + np.exp(-np.arange(-32, 32) / 6)) + 0.5).astype(int),
    }
    for name, table in tables.items():
        op = Lookup(("x", "tanh"), tuple(int(code) for code in np.roll(table, 32)))
        yield f"table_{name}", making(2, 3).dense(SPREAD, BIAS).then(Clip(-31, 31)).then(op).argmax().graph()
        yield f"table_{name}_of_inputs", making(3, 3).then(op).argmax().graph()
        yield f"table_{name}_leaves", making(2, 3).dense(SPREAD, BIAS).then(Clip(-20, 9)).then(op).graph()
    residual = making(2, 3).dense(SPREAD, BIAS).then(Relu(), name="first")
    residual.dense([[1, -1, 2, 1], [3, 1, -1, 0], [0, 0, 0, 0], [-1, 2, 0, 1]], [1, 2, 3, 4]).then(
        Relu(), name="second"
    )
    residual.join(Add(), "first", "second").then(Clip(None, 50)).dense([[1, 2, -1, 0], [0, 1, 1, -2]])
    yield "residual", residual.argmax().graph()
    yield (
        "added_twice",
        making(2, 3)
        .dense(
            SPREAD,
            BIAS,
        )
        .join(Add(), "sum0", "sum0")
        .argmax()
        .graph(),
    )
    yield (
        "added_to_the_input",
        making(3, 2).dense([[1, -2, 0], [0, 1, 1], [2, 0, -1]]).join(Add(), "x", "sum0").argmax().graph(),
    )
    sides = making(2, 3).dense(SPREAD, BIAS).then(Relu(), name="first").dense([[1, 1], [-2, 3]], [0, 1], reads="x")
    sides.join(Concat((4, 2, 2)), "first", "sum1", "x").dense([[1, -1, 2, 0, 1, 3, 1, -1], [0, 2, -1, 1, 1, -1, 2, 2]])
    yield "side_by_side", sides.argmax().graph()
    constant = making(2, 2).constant([3, -7], name="fixed").dense([[1, 2], [-3, 1]], reads="x")
    yield "added_to_a_constant", constant.join(Add(), "fixed", "sum0").argmax().graph()
    for threshold in (-40, -5, 0, 7, 40):
        yield f"bits_{threshold}".replace("-", "m"), making(2, 3).dense(SPREAD, BIAS).bits(threshold).graph()
    yield "values", making(2, 3).dense(SPREAD, BIAS).graph()
    yield "one_value", making(2, 3).dense(SPREAD[:1], BIAS[:1]).graph()
    yield "values_of_a_relu", making(2, 3).dense(SPREAD, BIAS).then(Relu()).graph()
    yield "the_input_itself", making(2, 2).then(Reshape(), shape=(2,)).graph()
    yield "constant_values", making(2, 2).dense([[0, 0], [1, 0]], [-5, 3]).graph()


CASES = {"elements": element_cases, "heads": head_cases, "values": value_cases, "joined": joined_cases}


@pytest.fixture(scope="module", params=CASES)
def built(request, making, jobs):
    """Names of the cases of a kind, and their simulations."""
    cases = dict(CASES[request.param](making))
    assert len(cases) >= 18
    return list(cases), [jobs(graph, limit=8, random=300) for graph in cases.values()]


def test_circuits_equal_the_interpreter(built, simulator, tmp_path):
    names, made = built
    together = bundle(made)
    result = simulate(together, simulator, tmp_path / simulator)
    assert sorted({names[bundle_ports(together)[port][0]] for port in result.failing}) == []
    assert result.vectors == max(job.count for job in made) >= 64


@pytest.mark.parametrize("kind", CASES)
def test_registered_circuits_equal_the_interpreter(kind, making, jobs, icarus, tmp_path):
    cases = dict(list(CASES[kind](making))[::4])
    together = bundle([jobs(graph, registers=True, limit=8, random=60) for graph in cases.values()])
    assert together.latency == 2
    result = simulate(together, "icarus", tmp_path / "icarus")
    names = list(cases)
    assert sorted({names[bundle_ports(together)[port][0]] for port in result.failing}) == []


def test_every_kind_of_codes_has_a_builder_or_is_none_of_the_circuit():
    built = {*BUILDERS, Input, Constant}
    assert [kind.keyword for kind in KINDS.values() if not kind.tensor and kind.op not in built] == ["affine"]
    assert [kind.op for kind in KINDS.values() if kind.activation] == [op for op in ELEMENTS if op is not Binarize]


def test_a_kind_without_a_builder_is_refused_by_name(making, monkeypatch):
    graph = making(2, 3).dense(SPREAD, BIAS).then(LeakyRelu(Fraction(1, 8)), name="leak").argmax().graph()
    monkeypatch.delitem(BUILDERS, LeakyRelu)
    with pytest.raises(PassError, match="leak: no circuit is known for leakyrelu"):
        build_circuit(graph)


def test_a_power_of_two_leaks_without_an_adder(making):
    def adders(alpha):
        graph = making(2, 3).then(Clip(-5, 3)).dense(SPREAD, BIAS).then(LeakyRelu(Fraction(alpha))).argmax().graph()
        cells = [cell for block in build_circuit(graph).blocks for cell in block.cells if "adder" in cell.template]
        return sum(sum(adder_counts([cell])) for cell in cells)

    assert adders("1") == adders("1/8") < adders("3/8") < adders("41/64")


def test_every_class_of_nine_wins_somewhere(making, jobs):
    job = jobs(making(9, 1).argmax().graph())
    assert set(job.expected["class_index"].tolist()) == set(range(9))
    assert job.outputs == (("class_index", 4),)


def test_a_wrong_circuit_is_found(making, jobs, icarus, tmp_path):
    job = jobs(making(2, 3).dense(SPREAD, BIAS).then(Relu()).argmax().graph())
    broken = SimulationJob(**{**vars(job), "verilog": job.verilog.replace("take_b}})", "take_b}}) ^ a")})
    assert broken.verilog != job.verilog
    assert simulate(job, "icarus", tmp_path / "right").mismatches == 0
    assert simulate(broken, "icarus", tmp_path / "wrong").mismatches > 0
