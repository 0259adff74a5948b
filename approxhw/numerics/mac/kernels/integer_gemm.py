"""Whole integer products, bit for bit those of ``approxhw.numerics.mac.integer_mac``: codes, zero points, any adder."""

from __future__ import annotations

import numpy as np
from numba import njit

from approxhw.numerics.mac.integer_mac import IntegerMac, patterns

from .table_sums import sum_products

_OR, _CUT = 1, 2


def matmul_integer(
    x: np.ndarray,
    weights: np.ndarray,
    mac: IntegerMac,
    products: np.ndarray,
    *,
    x_zero: int = 0,
    weight_zero: int | np.ndarray = 0,
    threads: int = 1,
) -> np.ndarray:
    """Return Σ_k (x[k, m] − x_zero)(weights[k, n] − weight_zero[n]) as int32, M × N, its products made by the operator.

    *x*: K × M, *weights*: K × N, int8 or uint8 codes. *products*: the operator's table. What zero points add is exact:
    Σ T − x_zero Σ w − weight_zero Σ x + K x_zero weight_zero, of the numbers that the operator reads. Raises ``ValueError``
    where shapes do not fit or a sum may leave 32 bits.
    """
    left, moved_w = patterns(weights, mac.weight_bits, mac.weight_signed)
    right, moved_x = patterns(x, mac.x_bits, mac.x_signed)
    if mac.low_bits:
        total = _folded(left, right, products, mac)
    else:
        total = sum_products(left, right, products, threads=threads).astype(np.int64)
    z_x = int(x_zero) + moved_x
    z_w = np.broadcast_to(np.asarray(weight_zero, np.int64) + moved_w, weights.shape[1:])
    if z_x:
        total -= z_x * (weights.astype(np.int64).sum(axis=0) + moved_w * len(weights))
    if z_w.any():
        along = x.astype(np.int64).sum(axis=0) + moved_x * len(x)
        total -= along[:, None] * z_w[None, :]
        total += len(weights) * z_x * z_w[None, :]
    if total.size and (int(total.min()) < -(1 << 31) or int(total.max()) >= 1 << 31):
        raise ValueError("a sum leaves 32 bits")
    return total.astype(np.int32)


def _folded(weights: np.ndarray, x: np.ndarray, products: np.ndarray, mac: IntegerMac) -> np.ndarray:
    """Return the sums (int64, M × N) that the adder of *mac* makes of the products in the order of K."""
    sums = np.zeros((x.shape[1], weights.shape[1]), np.int64)
    kind = _OR if mac.adder.startswith("or-") else _CUT
    _fold(weights, x, np.ascontiguousarray(products, dtype=np.int64), kind, mac.low_bits, sums)
    bits = mac.accumulator_bits
    sums &= (1 << bits) - 1
    wrapped: np.ndarray = sums - ((sums >> (bits - 1)) << bits)
    return wrapped


@njit(cache=True, nogil=True)
def _fold(weights: np.ndarray, x: np.ndarray, products: np.ndarray, kind: int, low: int, sums: np.ndarray) -> None:
    """Fill *sums* (M × N) modulo 2^64: what leaves an accumulator above does not come back into it."""
    mask = (np.int64(1) << low) - 1
    for m in range(x.shape[1]):
        for n in range(weights.shape[1]):
            total = np.int64(0)
            for k in range(weights.shape[0]):
                product = products[weights[k, n], x[k, m]]
                above = (total >> low) + (product >> low)
                if kind == 1:
                    above += (total >> (low - 1)) & (product >> (low - 1)) & 1
                    total = (above << low) | ((total | product) & mask)
                else:
                    total = (above << low) | ((total + product) & mask)
            sums[m, n] = total
