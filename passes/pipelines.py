"""Named pipelines: functions whose parameters are the options, and that return lists of pass objects."""

from __future__ import annotations

from collections.abc import Callable

from approxhw.ir.pass_manager import Pass, placed
from approxhw.passes.approximate.approximate_argmax import ApproximateArgmax
from approxhw.passes.approximate.approximate_normalization import ApproximateNormalization
from approxhw.passes.approximate.mask import Mask
from approxhw.passes.quantize.calibrate_weights import CalibrateWeights
from approxhw.passes.quantize.quantize_inputs import QuantizeInputs
from approxhw.passes.quantize.quantize_leaves import QuantizeLeaves
from approxhw.passes.quantize.quantize_weights import QuantizeWeights
from approxhw.passes.quantize.requantize_hidden import RequantizeHidden
from approxhw.passes.retrain.power_of_two import PowerOfTwo
from approxhw.passes.simplify.center_logits import CenterLogits
from approxhw.passes.simplify.drop_constant import DropConstant
from approxhw.passes.simplify.fold_affine import FoldAffine
from approxhw.passes.simplify.narrow_formats import NarrowFormats


def printed_exact(
    input_bits: int = 4,
    input_code: str = "round",
    weight_bits: int = 8,
    hidden_bits: int | None = None,
    ranges: str = "mse",
    low: tuple[float, ...] | None = None,
    high: tuple[float, ...] | None = None,
    lookup_bits: int = 8,
) -> tuple[Pass, ...]:
    """Exact bespoke circuits: quantised inputs and weights, full-width sums, or hidden values of *hidden_bits*.

    What is built is the quantised model, bit for bit: each weight is the nearest code, a model's own integers stay as they
    are, and no row but those that give the inputs their ranges is looked at.
    """
    hidden: tuple[Pass, ...] = () if hidden_bits is None else (RequantizeHidden(bits=hidden_bits),)
    return (
        QuantizeInputs(bits=input_bits, code=input_code, ranges=ranges, low=low, high=high),
        FoldAffine(),
        QuantizeWeights(bits=weight_bits, lookup_bits=lookup_bits),
        *hidden,
        DropConstant(),
        CenterLogits(),
        NarrowFormats(),
    )


def printed_calibrated(
    input_bits: int = 4,
    input_code: str = "round",
    weight_bits: int = 8,
    hidden_bits: int | None = None,
    ranges: str = "mse",
    low: tuple[float, ...] | None = None,
    high: tuple[float, ...] | None = None,
    digit_cost: float = 0.02,
    lookup_bits: int = 8,
) -> tuple[Pass, ...]:
    """As printed-exact, then with other codes: moved on training rows towards the float model, with fewer signed digits.

    *digit_cost* is what one signed digit is worth, in nats over all rows: above 0 circuits get smaller, and say a little
    less well what the model says. A model's own integers are moved, too.
    """
    exact = printed_exact(input_bits, input_code, weight_bits, hidden_bits, ranges, low, high, lookup_bits)
    return placed(exact, CalibrateWeights(digit_cost=digit_cost), before="drop-constant")


def printed_po2(
    input_bits: int = 4,
    input_code: str = "round",
    weight_bits: int = 8,
    hidden_bits: int | None = None,
    ranges: str = "mse",
    low: tuple[float, ...] | None = None,
    high: tuple[float, ...] | None = None,
    seed: int = 1,
) -> tuple[Pass, ...]:
    """Retrained circuits without a multiplier: weights are 0 or ±2^k, k below *weight_bits*, hidden values are QReLU.

    QReLU keeps *hidden_bits* bits, 8 where none is said. This is what a search starts from.
    """
    return (
        QuantizeInputs(bits=input_bits, code=input_code, ranges=ranges, low=low, high=high),
        FoldAffine(),
        PowerOfTwo(exponents=weight_bits, hidden_bits=8 if hidden_bits is None else hidden_bits, seed=seed),
        DropConstant(),
        NarrowFormats(),
    )


def printed_masked(
    input_bits: int = 4,
    input_code: str = "round",
    weight_bits: int = 8,
    hidden_bits: int | None = None,
    ranges: str = "mse",
    low: tuple[float, ...] | None = None,
    high: tuple[float, ...] | None = None,
    max_loss: float = 0.01,
    seed: int = 1,
) -> tuple[Pass, ...]:
    """As printed-po2, then with masked summands: bits go while training accuracy stays within *max_loss*."""
    before = printed_po2(input_bits, input_code, weight_bits, hidden_bits, ranges, low, high, seed)
    return placed(before, Mask(max_loss=max_loss, seed=seed), before="drop-constant")


def printed_holistic(
    input_bits: int = 4,
    input_code: str = "round",
    weight_bits: int = 8,
    hidden_bits: int | None = None,
    ranges: str = "mse",
    low: tuple[float, ...] | None = None,
    high: tuple[float, ...] | None = None,
    max_loss: float = 0.02,
    seed: int = 1,
) -> tuple[Pass, ...]:
    """As printed-masked, and with an argmax that looks at a few bits: each of the two may cost half of *max_loss*."""
    masked = printed_masked(input_bits, input_code, weight_bits, hidden_bits, ranges, low, high, max_loss / 2, seed)
    return placed(masked, ApproximateArgmax(max_loss=max_loss / 2), before="drop-constant")


def printed_tree(input_code: str = "borders", leaf_bits: int | None = None) -> tuple[Pass, ...]:
    """Trees, forests and boosted trees as they are: input codes whose borders are their thresholds, and integer leaves.

    Nothing is lost where *leaf_bits* is not given: every training row is decided as the model does. *input_code*
    thermometer has an input of one bit for each threshold.
    """
    return (QuantizeInputs(code=input_code), QuantizeLeaves(bits=leaf_bits), DropConstant(), NarrowFormats())


def matrix_engine(
    format: str = "bf16",
    accumulator: int = 20,
    normalization: str = "an-1-2",
    alignment: int | None = None,
    result: str = "float32",
    exponent_step: int | None = None,
) -> tuple[Pass, ...]:
    """Every product on an engine of floating-point multiply-adds, with one arithmetic for all."""
    return (
        ApproximateNormalization(
            format, accumulator, normalization, alignment, result=result, exponent_step=exponent_step
        ),
    )


PIPELINES: dict[str, Callable[..., tuple[Pass, ...]]] = {
    "printed-exact": printed_exact,
    "printed-calibrated": printed_calibrated,
    "printed-po2": printed_po2,
    "printed-masked": printed_masked,
    "printed-holistic": printed_holistic,
    "printed-tree": printed_tree,
    "matrix-engine": matrix_engine,
}
"""Name → maker."""
