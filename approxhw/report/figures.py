"""Figures as people read them: three significant digits, the unit of the field, a dash for what is not known."""

from __future__ import annotations

import math

DASH = "–"
SPACE = "\N{NARROW NO-BREAK SPACE}"


def significant(value: float | None, digits: int = 3) -> str:
    """Return *value* with *digits* significant digits; with an exponent only where it is below 1e-6 or 1e9 and more."""
    if value is None or not math.isfinite(value):
        return DASH
    if value == 0:
        return "0"
    if not 1e-6 <= abs(value) < 1e9:
        return f"{value:.{digits - 1}e}"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return grouped(round(value)) if places == 0 else f"{value:.{places}f}"


def given_figure(value: float | None) -> str:
    """Return a figure that was given, not measured: up to six digits, no trailing zeros."""
    return DASH if value is None or not math.isfinite(value) else f"{value:.6g}"


def grouped(value: int | None) -> str:
    """Return a whole number with narrow spaces between groups of three digits; four digits stand together."""
    if value is None:
        return DASH
    return f"{value:_}".replace("_", SPACE) if abs(value) >= 10_000 else str(value)


def percent(fraction: float | None, places: int = 1) -> str:
    """Return a fraction of 1 in per cent."""
    return DASH if fraction is None or not math.isfinite(fraction) else f"{100 * fraction:.{places}f} %"


def saving(share: float, word: str = "") -> str:
    """Return a *share* that is saved in per cent, behind it *word*; what is lost is so much ``more``."""
    told = f"{100 * abs(share):.1f} %"
    return f"{told} more" if share <= -0.0005 else f"{told} {word}".rstrip()


def points(before: float | None, after: float | None) -> str:
    """Return *after* − *before* in percentage points, with its sign."""
    if before is None or after is None:
        return DASH
    difference = 100 * (after - before)
    return "±0.0" if abs(difference) < 0.05 else f"{difference:+.1f}".replace("-", "−")


PLAIN = "R²"
"""The measure whose scores are no shares of rows: it may be negative, and is told as the number that it is."""


def scored(value: float | None, measure: str) -> str:
    """Return a score by *measure* (``ir.evaluation.MEASURES``): in per cent, R² as a number."""
    if measure != PLAIN:
        return percent(value)
    return DASH if value is None or not math.isfinite(value) else f"{value:.3f}".replace("-", "−")


def score_change(before: float | None, after: float | None, measure: str) -> str:
    """Return *after* − *before*, scores by *measure*, with its sign: in percentage points, of R² as a number."""
    if measure != PLAIN:
        return points(before, after)
    if before is None or after is None:
        return DASH
    difference = after - before
    return "±0.000" if abs(difference) < 0.0005 else f"{difference:+.3f}".replace("-", "−")


Scale = tuple[float, str]
"""What to multiply a figure by, and the unit that it then has."""


def area_scale(mm2: float | None) -> Scale:
    """Return the scale for areas in mm² of about this size: cm² for printed circuits, µm² below 0.05 mm²."""
    return (1e6, "µm²") if mm2 is not None and 0 < mm2 < 0.05 else (0.01, "cm²")


def power_scale(mw: float | None) -> Scale:
    """Return the scale for powers in mW of about this size: mW, or µW below 0.01 mW."""
    return (1e3, "µW") if mw is not None and 0 < mw < 0.01 else (1.0, "mW")


def delay_scale(ms: float | None) -> Scale:
    """Return the scale for delays in ms of about this size: ms, or ns below 0.001 ms."""
    return (1e6, "ns") if ms is not None and 0 < ms < 0.001 else (1.0, "ms")


def scaled(value: float | None, scale: Scale) -> str:
    """Return *value* in the unit of *scale*, without the unit."""
    return significant(None if value is None else value * scale[0])


def seconds(value: float | None) -> str:
    """Return a time in seconds, or in ms below one tenth."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"{significant(value * 1e3)} ms" if 0 < value < 0.1 else f"{significant(value)} s"
