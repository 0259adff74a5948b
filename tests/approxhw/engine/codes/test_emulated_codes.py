"""Operands as 8-bit codes on the emulated engine: what packing means, which blocks each operator gets, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from approxhw.common.errors import InvalidDataError, OptionError
from approxhw.engine.matrix.api import open_engine
from approxhw.engine.matrix.code_losses import code_losses
from approxhw.numerics.eight_bit.choose import loss_of
from approxhw.numerics.eight_bit.codes import make
from approxhw.numerics.eight_bit.port_codes import (
    EngineCodes,
    lane_problems,
    largest_of,
    pack,
    packed_bits,
    read_codes,
    summary_of,
    through,
    unpack,
)
from approxhw.numerics.eight_bit.tables import KINDS
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.kernels.gemm import matmul

MAC = FloatMac("bf16", 20, "an-1-2")


def normal(seed, *shape, scale=1.0):
    return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


def bits(array):
    return np.ascontiguousarray(array, np.float32).view(np.uint32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1.0, 3e-39, 1e-30, 1e37])
def test_packing_is_the_format_block_by_block(plainly, kind, scale):
    x = normal(1, 7, 300) * np.float32(scale)
    x[2], x[3, :64] = 0, 0
    x[4] *= np.float32(2.0) ** np.arange(-150, 150).clip(-20, 0).astype(np.float32)
    for block in (None, 64, 300, 256, 4096):
        seen = through(x, make(kind, block, "pow2"))
        np.testing.assert_array_equal(bits(seen), bits(plainly(x, kind, block)))
    shared = through(x, make(kind, None, "pow2"), largest=largest_of(x))
    np.testing.assert_array_equal(bits(shared), bits(plainly(x, kind, whole=True)))


def test_blocks_that_divide_give_the_codes_of_the_flattened_tensor():
    """What ``Compressed`` holds of a tensor is what goes over the port; its maxima are the exponents."""
    x = normal(2, 12, 256)
    for kind in KINDS:
        code = make(kind, 128, "pow2")
        whole, packed = code.encode(x), pack(x, code)
        np.testing.assert_array_equal(packed.codes, whole.codes)
        np.testing.assert_array_equal(np.ldexp(1.0, packed.exponents.reshape(-1).astype(int)), whole.maxima)
        np.testing.assert_array_equal(bits(unpack(packed)), bits(code.decode(whole)))
    assert packed.elements == x.size
    assert packed_bits(12, 256, code) == 8 * x.size + 8 * 24


def test_zeros_have_exponent_0_and_stay_zeros():
    packed = pack(np.zeros((3, 70), np.float32), make("dynamic8", 64, "pow2"))
    assert packed.exponents.shape == (3, 2)
    assert not packed.exponents.any()
    assert not packed.codes.any()
    assert not bits(unpack(packed)).any()


def test_least_and_greatest_powers():
    x = np.array([[2.0**127, 1.0], [2.0**-149, 0.0], [2.0**-96, 2.0**-97]], np.float32)
    packed = pack(x, make("dynamic8", None, "pow2"))
    assert packed.exponents.reshape(-1).tolist() == [127, -96, -96]
    assert packed.codes[:, 0].tolist() == [1, 0, 1]  # 1.0 of the maximum, nothing, 1.0
    with pytest.raises(
        InvalidDataError, match=r"weights: float32 has no power of two above its maximum\n +do: scale the tensor"
    ):
        pack(x * np.float32(1.5), make("dynamic8", None, "pow2"), name="weights")


def single(model_of, node, constants, **inputs):
    """Return what an engine of one product makes of *inputs*, by compression."""
    model = model_of([node], {name: list(x.shape) for name, x in inputs.items()}, constants)
    engine = open_engine(model, MAC)

    def run(compress):
        return engine.coded(compress).run(inputs)["y"]

    return run


CASES = [
    ("dynamic8,block=64", "dynamic8", 64, True, False),
    ("linear8,block=64,activations=true", "linear8", 64, True, True),
    ("static8,activations=true,weights=false", "static8", None, False, True),
    ("mantissa8,max=pow2,activations=yes", "mantissa8", None, True, True),
]


@pytest.mark.parametrize(("compress", "kind", "block", "weights", "activations"), CASES, ids=lambda v: str(v)[:12])
def test_each_operator_packs_what_its_ports_carry(model_of, plainly, compress, kind, block, weights, activations):
    """The product of the operands that a plain packing along K gives, bit for bit; by the kernel, which has tests of its own."""
    op, compared = helper.make_node, 0

    def stays(columns):  # K × N
        return plainly(np.ascontiguousarray(columns.T), kind, block, whole=True).T if weights else columns

    def streams(rows):  # M × K
        return plainly(np.ascontiguousarray(rows), kind, block) if activations else rows

    x, w = normal(3, 5, 150), normal(4, 150, 7, scale=0.1)
    for node, held, expected in (
        (op("MatMul", ["x", "w"], ["y"]), w, matmul(streams(x), stays(w), MAC)),
        (op("Gemm", ["x", "w"], ["y"], transB=1), np.ascontiguousarray(w.T), matmul(streams(x), stays(w), MAC)),
        (op("MatMul", ["w", "x"], ["y"]), normal(5, 4, 5), None),
    ):
        run = single(model_of, node, {"w": held}, x=x)
        if expected is None:  # a constant at the left stays: rows of it are columns of the array
            expected = matmul(streams(x.T), stays(held.T), MAC).T
        np.testing.assert_array_equal(bits(run(compress)), bits(expected))
        compared += expected.size
    a, b = normal(6, 2, 3, 6, 80), normal(7, 2, 3, 80, 4)  # two activations, as in attention: b stays
    model = model_of([op("MatMul", ["a", "b"], ["y"])], {"a": list(a.shape), "b": list(b.shape)}, {})
    seen = open_engine(model, MAC, compress=compress, threads=2).run({"a": a, "b": b})["y"]
    for at in np.ndindex(2, 3):
        expected = matmul(streams(a[at]), stays(b[at]), MAC)
        np.testing.assert_array_equal(bits(seen[at]), bits(expected))
        compared += expected.size
    image, filters = normal(8, 2, 4, 6, 6), normal(9, 6, 2, 3, 3)
    run = single(model_of, op("Conv", ["x", "w"], ["y"], group=2, pads=[1, 1, 1, 1]), {"w": filters}, x=image)
    padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)))
    seen = run(compress)
    for group in range(2):
        held = filters[3 * group : 3 * group + 3].reshape(3, 18).T
        part = padded[:, 2 * group : 2 * group + 2]
        patches = [part[i, :, r : r + 3, c : c + 3].reshape(-1) for i in range(2) for r in range(6) for c in range(6)]
        expected = matmul(streams(np.array(patches)), stays(held), MAC).reshape(2, 6, 6, 3).transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(bits(seen[:, 3 * group : 3 * group + 3]), bits(expected))
        compared += expected.size
    assert compared == 2 * 35 + 4 * 150 + 6 * 24 + 2 * 216


def test_tiles_threads_and_kept_weights_change_nothing(model_of, monkeypatch):
    from approxhw.ir.tensor import emulate as module

    x, w = normal(1, 40, 130), normal(2, 130, 50) * np.float32(2.0) ** (np.arange(50) % 9).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["w", "h2"], ["y"])]
    nodes.insert(1, helper.make_node("Transpose", ["h"], ["h2"], perm=[1, 0]))
    model = model_of(nodes, {"x": [40, 130]}, {"w": w})  # one constant at the right and at the left
    for compress in ("dynamic8,block=64,activations=true", "dynamic8,activations=true"):
        whole = open_engine(model, MAC, compress=compress).run({"x": x})["y"]
        assert np.array_equal(
            bits(whole), bits(open_engine(model, MAC, compress=compress, threads=2).run({"x": x})["y"])
        )
        with monkeypatch.context() as patched:
            patched.setattr(module, "TILE", 700)
            patched.setattr(module, "KEPT", 0)
            small = open_engine(model, MAC, compress=compress).run({"x": x})["y"]
        assert whole.size == 130 * 40
        np.testing.assert_array_equal(bits(whole), bits(small))


def test_rows_of_a_batch_do_not_change_one_another(model_of):
    x = normal(1, 6, 90) * np.float32(2.0) ** np.arange(-12, 12, 4)[:, None].astype(np.float32)
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": ["rows", 90]}, {"w": normal(2, 90, 4)})
    engine = open_engine(model, MAC, shape={"x": (1, 90)}, compress="dynamic8,activations=true")
    whole = engine.run({"x": x})["y"]
    for row in range(6):
        np.testing.assert_array_equal(bits(engine.run({"x": x[row : row + 1]})["y"]), bits(whole[row : row + 1]))


def test_shifts_are_those_of_decoded_operands(model_of, plainly):
    from approxhw.numerics.mac.kernels.gemm import shift_histogram

    x, w = normal(1, 9, 70), normal(2, 70, 5)
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"], name="p")], {"x": [9, 70]}, {"w": w})
    seen = open_engine(model, MAC, compress="linear8,activations=true").shift_histograms({"x": x})["p"]
    operands = plainly(x, "linear8"), plainly(np.ascontiguousarray(w.T), "linear8", whole=True).T
    assert seen.tolist() == shift_histogram(*operands, MAC).tolist()
    assert seen.tolist() != shift_histogram(x, w, MAC).tolist()


def test_the_same_model_with_and_without_codes(model_of):
    x, w = normal(1, 3, 20), normal(2, 20, 4)
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [3, 20]}, {"w": w})
    plain = open_engine(model, MAC)
    coded = plain.coded("dynamic8")
    assert coded.codes == EngineCodes()
    assert coded.configured(FloatMac("bf16", 24, "exact")).codes == coded.codes
    before, after = plain.run({"x": x})["y"], coded.run({"x": x})["y"]
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(bits(coded.coded(None).run({"x": x})["y"]), bits(before))


def test_what_is_no_number_has_no_code(model_of):
    x = normal(1, 3, 20)
    x[1, 2], x[2, 3:5] = np.nan, np.inf
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"], name="p")], {"x": [3, 20]}, {"w": normal(2, 20, 4)})
    open_engine(model, MAC, compress="dynamic8").run({"x": x})  # activations are numbers: they are carried on
    with pytest.raises(
        InvalidDataError,
        match=r"activations of layer p: 1 NaN and 2 infinite of 60 values: no 8-bit code stands for them\n +do: "
        r"keep its layer in float32, or let it stream as numbers",
    ):
        open_engine(model, MAC, compress="dynamic8,activations=true").run({"x": x})


REFUSED = [
    (
        "auto,budget=8.5",
        r"compress.code: auto would choose a code for every tensor, and an engine has decoders for one",
    ),
    ("auto,budget=8.5", r"compress.budget: it is for auto, which an engine has not"),
    (
        "dynamic8,max=exact",
        r"compress.max: max=exact would need a multiplier a lane; with powers of two a decoder adds",
    ),
    ("dynamic8,max=fixed", r"compress.max: max=fixed would need"),
    ("dynamic8,block=63", r"compress.block: a block has 64 to 4096 values, not 63"),
    ("dynamic8,block=x", r"compress.block: 'x' is no integer or none"),
    ("octal8", r"compress.kind: 'octal8' is no 8-bit code\n +do: choose one of dynamic8"),
    ("dynamic8,colour=red", r"compress.colour: compress has no such option; there are activations, block"),
    ("dynamic8,block", r"--compress: 'block' is no NAME=VALUE of its own"),
    ("dynamic8,weights=false", r"compress: neither weights nor activations\n +do: leave one of them on"),
]


@pytest.mark.parametrize(("text", "why"), REFUSED)
def test_refused(text, why):
    with pytest.raises(OptionError, match=why):
        read_codes(text)


def test_all_problems_at_once():
    with pytest.raises(OptionError) as caught:
        read_codes("auto,max=exact,block=7,colour=red")
    assert len(caught.value.problems) == 4


def test_only_bf16(model_of):
    model = model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [3, 20]}, {"w": normal(2, 20, 4)})
    why = r"compress: decoders make bf16 of 8-bit codes, and the operands are e4m3\n +do: choose format bf16"
    with pytest.raises(OptionError, match=why):
        open_engine(model, FloatMac("e4m3", 16, "exact"), compress="dynamic8")
    with pytest.raises(OptionError, match=why):
        open_engine(model, MAC, compress="dynamic8").configured(FloatMac("e4m3", 16, "exact"))


def test_lanes_and_blocks():
    assert lane_problems(EngineCodes(block=256), 16, "bf16") == []
    assert lane_problems(EngineCodes(), 12, "bf16") == []
    (found,) = lane_problems(EngineCodes(block=256), 12, "bf16")
    assert str(found) == (
        "compress.block: a beat carries 12 codes, one a row, with one exponent; blocks of 256 would end within beats\n"
        "    do: choose block=252 or 264, 8 rows, or no block"
    )


def test_summary_counts_bits_and_tells_errors():
    x, code = normal(3, 4, 300), make("dynamic8", 256, "pow2")
    told = summary_of([(x, through(x, code))], code, 4, 300, count=2, whole=True)
    assert (told["elements"], told["bits_before"], told["bits_after"]) == (2400, 38400, 2 * (9600 + 8 * 8))
    assert told["looked_at"] == 1200
    exact = loss_of(x, through(x, code))
    assert (told["mse"], told["mae"], told["relative"]) == (exact.mse, exact.mae, exact.relative)
    shared = summary_of([(x, x)], make("dynamic8", None, "pow2"), 4, 300, count=1, whole=True)
    assert (shared["bits_after"], shared["mse"]) == (9600 + 8, 0)


def test_losses_of_two_activations(model_of):
    """Of several products of what comes and goes, those of the first are looked at."""
    a, b = normal(6, 3, 6, 80), normal(7, 3, 80, 4)
    model = model_of([helper.make_node("MatMul", ["a", "b"], ["y"], name="p")], {"a": [3, 6, 80], "b": [3, 80, 4]}, {})
    told = code_losses(open_engine(model, MAC, compress="dynamic8"), {"a": a, "b": b})["p"]["weights"]
    first = np.ascontiguousarray(b[0].T)
    assert told["mse"] == loss_of(first, through(first, make("dynamic8", None, "pow2"), largest=largest_of(first))).mse
    assert (told["looked_at"], told["elements"], told["bits_after"]) == (320, 960, 8 * 960 + 3 * 8)


def test_losses_of_every_product(model_of):
    """Whole constant weights, the first rows of what streams; of grouped filters all groups; nothing without codes."""
    image, filters = normal(8, 2, 4, 6, 6), normal(9, 6, 2, 3, 3)
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="c", group=2)
    engine = open_engine(model_of([node], {"x": list(image.shape)}, {"w": filters}), MAC)
    assert code_losses(engine, {"x": image}) == {}
    told = code_losses(engine.coded("linear8,activations=true"), {"x": image}, rows=5)["c"]
    halves = [
        pack(half.reshape(3, 18), make("linear8", None, "pow2"), largest=largest_of(half))
        for half in np.split(filters, 2)
    ]
    exact = loss_of(filters, np.concatenate([unpack(half).reshape(-1) for half in halves]).reshape(filters.shape))
    assert told["weights"]["mse"] == exact.mse
    assert (told["weights"]["looked_at"], told["weights"]["elements"]) == (108, 108)
    assert (told["activations"]["looked_at"], told["activations"]["elements"]) == (5 * 18, 2 * 32 * 18)
