"""Sums as people read them: the formulas in the comments of a circuit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def terms_text(terms: Sequence[tuple[int, int, int]], names: Sequence[str]) -> str:
    """Return (source, shift, sign) of each summand as a formula, by the names of sources."""
    parts = []
    for source, shift, sign in terms:
        product = names[source] if shift == 0 else f"({names[source]} << {shift})"
        parts.append(f"{'+' if sign > 0 else '-'} {product}")
    return " ".join(parts).removeprefix("+ ")


def sum_text(text: str, constant: int) -> str:
    """Return the sum *text* and a constant as one formula."""
    if not text or not constant:
        return text or str(constant)
    return f"{text} {'+' if constant > 0 else '-'} {abs(constant)}"


def weighted_text(weights: np.ndarray, bias: int, names: Sequence[str]) -> str:
    """Return bias + Σ weight · name as a formula."""
    parts = [
        f"{'+' if w > 0 else '-'} {f'{abs(w)}*' if abs(w) > 1 else ''}{names[i]}" for i, w in enumerate(weights) if w
    ]
    if bias or not parts:
        parts.append(f"{'+' if bias >= 0 else '-'} {abs(bias)}")
    return " ".join(parts).removeprefix("+ ")


def summand_lines(terms: Sequence[tuple[int, int, int]], names: Sequence[str]) -> list[str]:
    """Return the summands as comment lines."""
    return [f"  summands: {terms_text(terms, names)}"] if terms else []
