"""What ranks exchange in the tests of gradient exchange: formats, lengths, and gradients that every process makes alike."""

from __future__ import annotations

import numpy as np

FORMATS = (
    "dynamic8,block=64",
    "dynamic8,block=256",
    "dynamic8,block=256,max=pow2",
    "dynamic8",
    "static8",
    "static8,block=256",
    "mantissa8",
    "mantissa8,block=128",
    "linear8,block=256",
)
LENGTHS = (1, 3, 37, 1000, 5000, 40_003)
STEPS = 3


def gradients(seed: int, rank: int, step: int, length: int) -> np.ndarray:
    """Return gradients as they come: mostly small, some zero, one layer far larger than the rest."""
    random = np.random.default_rng([seed, rank, step, length])
    values = random.standard_normal(length) * np.exp(random.normal(0, 2, length))
    values[random.random(length) < 0.1] = 0
    values[length // 2 :] *= 1e-4
    return values.astype(np.float32)
