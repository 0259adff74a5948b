"""The words of an integer engine by hand, what refuses them, zero points as constants, and operators of one's own."""

from __future__ import annotations

import numpy as np
import pytest
from integer_streams import products_of, random_constants

from approxhw.backends.integer_engine.constants import column_constants, zero_point_constants
from approxhw.backends.integer_engine.engine import IntegerArray, integer_engine_modules, integer_engine_verilog
from approxhw.backends.integer_engine.foreign_operators import read_operator_module, renamed_operator
from approxhw.backends.integer_engine.words import (
    gather_integer_results,
    integer_activation_words,
    integer_result_words,
    integer_results,
    integer_weight_words,
    padding_of,
)
from approxhw.backends.systolic.schedule import make_schedule
from approxhw.common.errors import InvalidDesignError, OptionError
from approxhw.numerics.mac.integer_mac import IntegerMac, patterns
from approxhw.numerics.mac.kernels.integer_gemm import matmul_integer
from approxhw.sim import lint

RNG = np.random.default_rng(3)


def whole(octets) -> int:
    return int.from_bytes(octets.tobytes(), "little")


def test_words_by_hand():
    """Three rows of 4-bit weights, two columns: the last one comes first, constants above the weights."""
    engine = IntegerArray(3, 2, IntegerMac(weight_bits=4, signed="both"), variate=8, vectors=4)
    assert engine.weight_word_bits == 12 + 32 + 16 + 31 + 6 + 27 == 124
    schedule = make_schedule(engine, 2, 3, 2)
    weights = np.array([[1, 2], [3, 4], [15, 8]], np.uint8)
    constants = column_constants(2, bias=[-1, 7], coefficient=-2, multiplier=[5, 6], shift=33, zero=-3, low=-4, high=5)
    words, ends = integer_weight_words(engine, schedule, weights, constants)
    assert ends.tolist() == [False, True]
    for word, (w, bias, multiplier) in zip(words, [(0x842, 7, 6), (0xF31, 0xFFFFFFFF, 5)], strict=True):
        upper = multiplier | 33 << 31 | (-3 & 511) << 37 | (-4 & 511) << 46 | 5 << 55
        assert whole(word) == w | bias << 12 | 0xFFFE << 44 | upper << 60
    words, ends, user = integer_activation_words(engine, schedule, np.array([[1, 2, 3], [255, 0, 128]], np.uint8))
    assert [whole(word) for word in words] == [0x030201, 0x8000FF]
    assert (ends.tolist(), user.tolist()) == ([False, True], [3, 3])


@pytest.mark.parametrize("result", ["codes", "sums"])
def test_results_are_gathered_again(result):
    engine = IntegerArray(3, 4, IntegerMac("truncated-3", accumulator_bits=24), vectors=4, result=result)
    schedule = make_schedule(engine, 9, 7, 6)
    x = RNG.integers(0, 256, (9, 7)).astype(np.uint8)
    weights = RNG.integers(0, 256, (7, 6)).astype(np.uint8)
    constants, table = random_constants(engine, 7, 6, RNG), products_of(engine.mac)
    words, ends = integer_result_words(engine, schedule, x, weights, constants, table)
    assert len(ends) == 9 * 2
    expected = integer_results(engine, x, weights, constants, table)
    assert np.array_equal(gather_integer_results(engine, schedule, words), expected & ((1 << engine.result_bits) - 1))


@pytest.mark.parametrize(("x_type", "w_type"), [(np.uint8, np.int8), (np.int8, np.uint8), (np.uint8, np.uint8)])
def test_zero_points_become_constants(x_type, w_type):
    mac = IntegerMac("exact", "both", accumulator_bits=32)
    engine = IntegerArray(4, 4, mac, result="sums", variate=8)
    x = RNG.integers(*((0, 256) if x_type is np.uint8 else (-128, 128)), (5, 6)).astype(x_type)
    weights = RNG.integers(*((0, 256) if w_type is np.uint8 else (-128, 128)), (6, 3)).astype(w_type)
    x_zero, w_zero = (131, 7) if x_type is np.uint8 else (-5, 140)
    bias, coefficient = zero_point_constants(mac, weights, x.dtype, x_zero, w_zero)
    constants = column_constants(3, bias=bias, coefficient=coefficient)
    left, right = patterns(x, 8, True)[0], patterns(weights, 8, True)[0]
    table = products_of(mac)
    found = integer_results(engine, left, right, constants, table)
    assert np.array_equal(found, (x.astype(int) - x_zero) @ (weights.astype(int) - w_zero))
    assert np.array_equal(found, matmul_integer(x.T, weights, mac, table, x_zero=x_zero, weight_zero=w_zero))


def test_padding_has_a_product_of_0_where_there_is_one():
    table = np.ones((4, 4), int)
    assert padding_of(IntegerMac(), table).product == 1
    with pytest.raises(OptionError, match="no product of exact is 0, and or-2 cannot take a constant off again"):
        padding_of(IntegerMac(adder="or-2"), table)
    table[2, 3] = 0
    assert (padding_of(IntegerMac(), table).weight, padding_of(IntegerMac(), table).x) == (2, 3)
    table[3, 0] = 0
    assert (padding_of(IntegerMac(), table).weight, padding_of(IntegerMac(), table).x) == (3, 0)


def test_everything_wrong_with_an_engine_is_told_at_once():
    with pytest.raises(OptionError) as error:
        IntegerArray(0, "4", IntegerMac("mine"), 3, 5, "float", 9, 40, 3, ("exact", "exact"))
    assert str(error.value).splitlines() == [
        "integer engine: 10 problems",
        "  rows: 0 is no number of rows from 1 to 256",
        "    do: choose 1 to 256",
        "  columns: '4' is no number of columns from 1 to 256",
        "    do: choose 1 to 256",
        "  variate_bits: 40 is no number of variate_bits from 9 to 32",
        "    do: choose 9 to 32",
        "  depth: 3 is not one of 1, 2",
        "    do: choose 1",
        "  banks: 3 is not one of 2, 4, 8, 16",
        "    do: choose 2",
        "  vectors: 5 is no power of two from 2 to 65536",
        "    do: choose 256, say",
        "  result: 'float' is no result",
        "    do: choose codes or sums",
        "  variate: 9 is no number of bits of x from 0 to 8",
        "    do: choose 0 for no row sums",
        "  operators: mine of the multiply-add is not among exact, exact",
        "    do: add it, or leave operators out",
        "  operators: 2 names, 1 of them different",
        "    do: name each once, 16 at most",
    ]


@pytest.mark.parametrize(("given", "words"), [
    ({"mac": 3}, "mac: 3 is no IntegerMac"),
    ({"mac": IntegerMac("mine")}, "operator mine: is none of our own, and its Verilog is not given"),
    ({"mac": IntegerMac("leading-9")}, "operator leading-9: 8 bits are too few for it: at least 10"),
    ({"operators": ["exact"]}, r"operators: \['exact'\] is no tuple of names"),
    ({"foreign": "mine"}, "foreign: 'mine' is no tuple of OperatorModules"),
])  # fmt: skip
def test_engines_that_cannot_be(given, words):
    with pytest.raises(OptionError, match=words):
        IntegerArray(**given)


def test_what_is_no_engine_or_no_operator_of_it():
    with pytest.raises(OptionError, match="engine: NoneType is no integer engine"):
        integer_engine_verilog(None)
    with pytest.raises(OptionError, match="operator: 'rounded' is not in this engine"):
        IntegerArray().select("rounded")


@pytest.mark.parametrize(("change", "words"), [
    ({"weights": np.zeros((3, 2), np.int8)}, "weights: are int8, not uint8"),
    ({"weights": np.zeros((2, 2), np.uint8)}, r"weights: have shape \[2, 2\], not \[3, 2\]"),
    ({"weights": np.full((3, 2), 16, np.uint8)}, "weights: have more than 4 bits"),
    ({"bias": 1 << 31}, "bias: 2147483648 to 2147483648 are not from -2147483648 to 2147483647"),
    ({"multiplier": -1, "shift": 64}, "(?s)multiplier: -1 to -1 are not from 0 to .*shift: 64 to 64"),
    ({"coefficient": 1}, "coefficient: is not 0, and the engine sums no rows"),
    ({"low": 9, "high": 8}, "low: is above high"),
])  # fmt: skip
def test_words_that_cannot_be(change, words):
    engine = IntegerArray(3, 2, IntegerMac(weight_bits=4))
    weights = change.pop("weights", np.zeros((3, 2), np.uint8))
    with pytest.raises(OptionError, match=words):
        integer_weight_words(engine, make_schedule(engine, 2, 3, 2), weights, column_constants(2, **change))


def test_sums_that_do_not_fit_are_refused():
    full, table = np.full((1, 200), 127, np.uint8), products_of(IntegerMac())
    engine = IntegerArray(mac=IntegerMac(accumulator_bits=20), result="sums")
    with pytest.raises(ValueError, match="a sum leaves 20 bits"):
        integer_results(engine, full, full.T, column_constants(1), table)
    engine = IntegerArray(variate=8, variate_bits=12)
    with pytest.raises(OptionError, match="variate_bits: 12 bits may not hold 200 times 8 bits of x"):
        integer_results(engine, full, full.T, column_constants(1), table)


MINE = """
module part(input [7:0] a, output [15:0] wide); assign wide = {{8{a[7]}}, a}; endmodule
module mine(B, operator_product, A);
  input [7:0] A; input [7:0] B; output [15:0] operator_product;
  wire [15:0] a, b;
  part part_a(.a(A), .wide(a)); part part_b(.a(B), .wide(b));
  assign operator_product = a * b;
endmodule
"""
TWO = MINE + MINE.replace("mine", "other").replace("part", "bit")


def test_names_of_a_foreign_operator_collide_with_none(icarus, verilator):
    found = read_operator_module("mine.v", MINE, weight_bits=8, x_bits=8, weight="A")
    assert (
        read_operator_module("mine.v", TWO, weight_bits=8, x_bits=8).top == "mine"
    )  # of two, it is called as the file
    assert (found.top, found.weight, found.x, found.product) == ("mine", "A", "B", "operator_product")
    assert read_operator_module("mine.v", MINE, weight_bits=8, x_bits=8).weight == "B"  # the first of that width
    assert renamed_operator(found, "p_").top == "p_mine"
    engine = IntegerArray(2, 2, IntegerMac("mine.v"), operators=("exact", "mine.v", "truncated-2"), foreign=(found,))
    modules = integer_engine_modules(engine)
    assert {"operator_product", "foreign_1_mine", "operator_0", "operator_2", "truncated_multiplier"} < modules.keys()
    assert "module foreign_1_part(" in modules["foreign_1_mine"]  # its text stays whole
    lint(integer_engine_verilog(engine), "integer_engine")


@pytest.mark.parametrize(("text", "given", "words"), [
    ("module m(input [7:0] a, output [7:0] y); assign y = a; endmodule", {}, r"it has 1 input \(a\); a multiplier has 2"),
    ("module m(input [7:0] a, b, input c, output [7:0] y); assign y = a; endmodule", {}, r"inputs: it has 3 inputs \(a, b, c\)"),
    ("module m(input [6:0] a, input [7:0] b, output [7:0] y); assign y = b; endmodule", {},
     "its operands have 8 and 7 bits, the engine's 8 and 8"),
    (MINE, {"weight": "C"}, "weight: there is no input 'C'; the inputs are: B, A"),
    (MINE, {"top": "yours"}, "top: there is no module 'yours'; there are: mine, part"),
    (TWO.replace("mine", "yours"), {}, "top: the file does not tell which module it is; there are: bit, other, part, yours"),
    ("module m(input c, input [7:0] b, output reg [7:0] y); always @(posedge c) y <= b; endmodule", {}, "has registers"),
    (MINE.replace("assign wide", "initial $display; assign wide"), {}, r"\$display: an operator has gates"),
    ("`define x 1\n" + MINE, {}, "`define: a directive would reach into the engine's modules"),
])  # fmt: skip
def test_foreign_operators_that_cannot_be(text, given, words):
    with pytest.raises(OptionError, match=words):
        read_operator_module("mine.v", text, weight_bits=8, x_bits=8, **given)


def test_a_foreign_operator_that_is_not_whole():
    with pytest.raises(InvalidDesignError, match="part: is instantiated, but not defined"):
        read_operator_module("mine.v", MINE[MINE.index("module mine") :], weight_bits=8, x_bits=8)
