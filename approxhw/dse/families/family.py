"""What a family of circuits is: recipes, what fits circuits of many of them at once, and the Graph of a circuit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from approxhw.dse.rules.recipe_study import Fit, RecipeLike
from approxhw.ir.graph import Graph
from approxhw.numerics.formats import Fixed


@dataclass(frozen=True, eq=False)
class Facts:
    """What families may know of a task, beside the rows that they are fitted on."""

    graph: Graph
    """The classifier, whose Input has codes; what stands behind the Input is looked at by nobody."""
    rows: int
    """Training rows, those of all folds."""
    system: bool = False
    """Whether the converters in front of a circuit count."""
    library: str = "egfet"
    timeout: float = 600.0
    """Seconds that a tool may take."""

    @property
    def classes(self) -> int:
        """How many there are."""
        return self.graph.classes

    @property
    def features(self) -> int:
        """Elements of a row of codes."""
        return self.graph.input.type.elements

    @property
    def bits(self) -> int:
        """Of a code."""
        fmt = self.graph.input.type.format
        assert isinstance(fmt, Fixed)
        return fmt.bits


Made = Any
"""What a family's fitter made: each family knows its own."""


@dataclass(frozen=True, eq=False)
class Family:
    """One family. All three functions are of plain data: the same arguments give the same circuits.

    ``fit`` tells costs as estimated, or known, areas in mm²; with converters where these count.
    """

    name: str
    recipes: Callable[[Facts], Sequence[RecipeLike]]
    fit: Callable[[Facts], Fit]
    graph: Callable[[Facts, Made], Graph]
    """An integer Graph that compiles."""
    fits: int = 1
    """Of a recipe on all rows, by as many seeds: the one that answers most like the others is taken."""


def input_area(facts: Facts, features: np.ndarray) -> float:
    """Return the area in mm² of converters to codes for *features* (numbers, maybe twice), where converters count; else 0."""
    from approxhw.artifacts.converters import converters

    return converters(len(np.unique(features)), facts.bits).area_mm2 if facts.system else 0.0
