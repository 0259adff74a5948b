"""Rows and labels: what a data set is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows of readings (float64, rows × features) and class indices (int64, rows); either split may have no rows."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    features: tuple[str, ...] = ()
    """Titles of the features, or none."""
    name: str = "data"
