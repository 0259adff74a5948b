"""What 8-bit codes on the ports of a matrix engine do to the operands of every product of a model: bits and errors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from approxhw.artifacts.engine import Summary
from approxhw.ir.kinds.tensor.blocks import Matrix
from approxhw.ir.kinds.tensor.products import LoweredProduct
from approxhw.ir.tensor.emulate import EmulatedEngine
from approxhw.numerics.eight_bit.port_codes import summary_of
from approxhw.numerics.mac.arithmetic import FloatMac

_Pairs = list[tuple[np.ndarray, np.ndarray]]


def code_losses(
    engine: EmulatedEngine, inputs: Mapping[str, ArrayLike], rows: int | None = None
) -> dict[str, dict[str, Summary]]:
    """Return per layer what codes do to its ``weights`` (what stays) and ``activations``, as ``summary_of`` tells it.

    Constant weights are looked at in whole, of other operands those of the first product; *rows*: at most so many that
    stream. Empty where *engine* has no codes.
    """
    found: dict[str, dict[str, Summary]] = {}
    codes = engine.codes
    if codes is None:
        return found

    def seen(lowered: LoweredProduct, mac: FloatMac) -> None:
        name, sizes = lowered.product.name, lowered.sizes
        told: dict[str, Summary] = {}
        if codes.stays is not None:
            pairs = _stays(engine, lowered)
            told["weights"] = summary_of(pairs, codes.stays, sizes.n, sizes.k, count=sizes.count, whole=True)
        if codes.streams is not None:
            pairs = _streams(engine, lowered, rows)
            told["activations"] = summary_of(pairs, codes.streams, sizes.m, sizes.k, count=sizes.count, whole=False)
        found[name] = told

    engine.watched(inputs, seen)
    return {layer.name: found[layer.name] for layer in engine.layers if layer.name in found}


def _stays(engine: EmulatedEngine, lowered: LoweredProduct) -> _Pairs:
    pairs: _Pairs = []
    for gemm in lowered.gemms:
        side = gemm.left if gemm.streams_right else gemm.right
        if isinstance(side, Matrix) and (side.key is not None or not pairs):
            taken = engine.taken(gemm, slice(None), across=not gemm.streams_right, name=lowered.product.name)
            pairs.append((side.array, taken))
    return pairs


def _streams(engine: EmulatedEngine, lowered: LoweredProduct, rows: int | None) -> _Pairs:
    gemm = lowered.gemms[0]
    across = gemm.streams_right
    count = gemm.into.shape[1 if across else 0]
    pick = slice(0, count if rows is None else min(count, rows))
    plain = gemm.right.columns(pick) if across else gemm.left.rows(pick)
    return [(plain, engine.taken(gemm, pick, across=across, name=lowered.product.name))]
