"""Which approximations of shapes a search is asked for, beside the arithmetic: their names, read and checked."""

from __future__ import annotations

from collections.abc import Mapping

from approxhw.common.errors import Problem, shown
from approxhw.common.options import suggestion

ARITHMETIC, ALL = "arithmetic", "all"

SHAPES: Mapping[str, str] = {
    "low-rank": "ranks of weights",
    "tucker": "core shapes of filters",
    "prune-outputs": "channels, neurons and heads that stay",
}
"""Passes whose strength is chosen layer by layer, in the order in which they run."""

HELP = f"arithmetic alone, all, or with it some of {', '.join(SHAPES)}, apart by commas"


def read_approximations(text: str) -> tuple[str, ...]:
    """Return which of :data:`SHAPES` *text* asks for, in their order; names that there are not are left to the problems."""
    named = [each.strip() for each in text.split(",")]
    return tuple(name for name in SHAPES if ALL in named or name in named)


def approximation_problems(text: str) -> list[Problem]:
    """Return what is wrong with *text*: names that there are not, or none at all."""
    known = [ARITHMETIC, ALL, *SHAPES]
    named = [each.strip() for each in text.split(",")]
    return [
        Problem("approximations", f"there is no approximation {shown(each, 40)!r}{suggestion(each, known)}")
        for each in dict.fromkeys(named)
        if each not in known
    ]
