"""What always giving one answer is worth, and whether something is any better than that."""

from __future__ import annotations

import numpy as np


def majority_share(labels: np.ndarray) -> float | None:
    """Return the share of the most frequent one of *labels* (rows): what always answering it is worth; None without labels."""
    return float(np.unique(labels, axis=0, return_counts=True)[1].max() / len(labels)) if len(labels) else None


def no_better(
    what: str, accuracy: float | None, majority: float | None, rows: str, answer: str = "the most frequent class"
) -> list[str]:
    """Return a line where *what*, of this *accuracy*, is no better on *rows* than always giving *answer*, of *majority*."""
    if accuracy is None or majority is None or accuracy > majority:
        return []
    return [
        f"{what} is no better than always answering {answer}: {100 * accuracy:.2f} % of {rows} against "
        f"{100 * majority:.2f} %"
    ]


def no_better_than_mean(what: str, determination: float | None, rows: str) -> list[str]:
    """Return a line where *what*, a regressor of this R², is no better on *rows* than their mean."""
    if determination is None or determination > 0:
        return []
    return [f"{what} is no better than always answering the mean of the targets: R² {determination:.4f} on {rows}"]
