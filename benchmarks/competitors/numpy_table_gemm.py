"""Table products as users of NumPy and of PyTorch emulate an approximate multiplier: a gather for every product, then a sum."""

from __future__ import annotations

import numpy as np


def numpy_gather(weights: np.ndarray, x: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return Σ_k table[weights[k, n], x[k, m]] (M × N, int32), K steps of one gather over the whole result each."""
    flat, rows = table.astype(np.int32).reshape(-1), weights.astype(np.int32) * table.shape[1]
    sums = np.zeros((x.shape[1], weights.shape[1]), np.int32)
    for k in range(len(weights)):
        sums += flat.take(rows[k][None, :] + x[k][:, None].astype(np.int32))
    return sums


def torch_gather(weights: np.ndarray, x: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return the same by torch: an embedding of the products of each pair, added up step by step."""
    import torch

    flat = torch.from_numpy(table.astype(np.int32).reshape(-1))
    rows = torch.from_numpy(weights.astype(np.int64) * table.shape[1])
    codes = torch.from_numpy(x.astype(np.int64))
    sums = torch.zeros((x.shape[1], weights.shape[1]), dtype=torch.int32)
    for k in range(len(weights)):
        sums += flat[rows[k][None, :] + codes[k][:, None]]
    return sums.numpy()
