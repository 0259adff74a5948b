"""Named pipelines: functions whose parameters are the options, and that return lists of pass objects."""

from __future__ import annotations

from collections.abc import Callable

from approxhw.passes.calibrate_weights import CalibrateWeights
from approxhw.passes.center_logits import CenterLogits
from approxhw.passes.drop_constant import DropConstant
from approxhw.passes.fold_affine import FoldAffine
from approxhw.passes.narrow_formats import NarrowFormats
from approxhw.passes.quantize_inputs import QuantizeInputs
from approxhw.passes.quantize_weights import QuantizeWeights
from approxhw.passes.requantize_hidden import RequantizeHidden
from approxhw.pipeline import Pass


def printed_exact(
    input_bits: int = 4,
    input_code: str = "round",
    weight_bits: int = 8,
    hidden_bits: int | None = None,
    calibrate: bool = True,
    digit_cost: float = 0.02,
    ranges: str = "mse",
    low: tuple[float, ...] | None = None,
    high: tuple[float, ...] | None = None,
) -> tuple[Pass, ...]:
    """Exact bespoke circuits: quantised inputs and weights, full-width sums, or hidden values of *hidden_bits*.

    With *calibrate*, codes of weights and biases are then moved on training rows, where there are any; *digit_cost* is
    what one signed digit is worth, in nats over all rows: above 0, circuits get smaller.
    """
    hidden: tuple[Pass, ...] = () if hidden_bits is None else (RequantizeHidden(bits=hidden_bits),)
    moved: tuple[Pass, ...] = (CalibrateWeights(digit_cost=digit_cost),) if calibrate else ()
    return (
        QuantizeInputs(bits=input_bits, code=input_code, ranges=ranges, low=low, high=high),
        FoldAffine(),
        QuantizeWeights(bits=weight_bits),
        *hidden,
        *moved,
        DropConstant(),
        CenterLogits(),
        NarrowFormats(),
    )


PIPELINES: dict[str, Callable[..., tuple[Pass, ...]]] = {"printed-exact": printed_exact}
"""Name → maker."""
