"""Fast analytical cost of masked power-of-two circuits: counts of cells, and the area that a model of them gives.

``kernels/adders.py`` builds every genome's circuit symbolically and counts its cells by kind (:data:`FEATURES`); an
:class:`AreaModel` prices them. ``docs/estimate.md`` tells how good that is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .errors import OptionError, Problem, shown

FEATURES = (
    "full adder",
    "full adder, sum alone",
    "full adder, carry alone",
    "half adder",
    "half adder, sum alone",
    "gate of an adder",
    "mask gate",
    "saturation gate",
    "overflow gate",
    "multiplexer",
    "multiplexer with a constant",
    "comparator step",
    "comparator gate",
    "inverted input bit",
    "gate read as it is",
    "cell read in both phases",
)
"""What is counted. A gate is an AND or OR: one NAND or NOR where only its inverse is read, more where it is read as it is."""

ALONE: dict[str, tuple[str, str]] = {
    "full adder": ("{y, z}", "{(a & b) | (c & (a ^ b)), a ^ b ^ c}"),
    "full adder, sum alone": ("y", "a ^ b ^ c"),
    "full adder, carry alone": ("y", "(a & b) | (c & (a | b))"),
    "half adder": ("{y, z}", "{a & b, a ^ b}"),
    "half adder, sum alone": ("y", "a ^ b"),
    "gate of an adder": ("y", "~(a & b)"),
    "mask gate": ("y", "~(a & b)"),
    "saturation gate": ("y", "~(a & b)"),
    "overflow gate": ("y", "~(a & b)"),
    "multiplexer": ("y", "c ? b : a"),
    "multiplexer with a constant": ("y", "~(a & b)"),
    "comparator step": ("y", "(a & ~b) | (c & (a | ~b))"),
    "comparator gate": ("y", "~(a & b)"),
    "inverted input bit": ("y", "~a"),
    "gate read as it is": ("y", "a & b"),
    "cell read in both phases": ("y", "~a"),
}
"""Each cell by itself: what is assigned in a module of inputs a, b, c. A gate read as it is costs what AND has over NAND."""

_TABLES: dict[str, tuple[float, ...]] = {
    "egfet": (
        2.738,
        2.086,
        1.632,
        1.233,
        1.043,
        0.248,
        0.248,
        0.248,
        0.248,
        0.972,
        0.248,
        1.480,
        0.248,
        0.228,
        0.186,
        0.228,
    ),
}


@dataclass(frozen=True)
class AreaModel:
    """Area as a sum of cells: ``coefficients`` in mm² a cell, in the order of :data:`FEATURES`, for ``library``."""

    coefficients: tuple[float, ...]
    library: str

    def area_mm2(self, layout: np.ndarray, head: np.ndarray, genomes: np.ndarray) -> np.ndarray:
        """Return the estimated area in mm² of each of *genomes* (P × G): float64, P."""
        return features(layout, head, genomes) @ np.array(self.coefficients)


def features(layout: np.ndarray, head: np.ndarray, genomes: np.ndarray, patterns: tuple[int, int] | None = None) -> np.ndarray:
    """Return how many cells of each of :data:`FEATURES` the circuit of every genome has: float64, P × F.

    ``layout`` (L × 9), ``head`` (3) and ``genomes`` (int32, P × G) as ``passes/genetic/space.py`` lays them out.
    """
    from .kernels import adders

    genomes = np.ascontiguousarray(genomes, dtype=np.int32)
    rows = np.zeros((len(genomes), adders.FEATURES))
    adders.count(layout, head, genomes, *adders.scratch(layout, head, *(patterns or ())), rows)
    return rows


def default_model(library: str = "egfet") -> AreaModel:
    """Return the model of a built-in library: every kind of cell costs what it costs synthesised alone.

    Raises :class:`OptionError` for a library that has no table; :func:`measured_model` makes one.
    """
    table = _TABLES.get(library)
    if table is None:
        why = f"{shown(library)!r} has no table of cells; there are {', '.join(_TABLES)}"
        raise OptionError(
            "area model", [Problem("library", why, "measure its cells: measured_model(library, area_of)")]
        )
    return AreaModel(table, library)


def measured_model(library: str, area_of: Callable[[str, str], float]) -> AreaModel:
    """Return the model of any library: *area_of* synthesises (Verilog text, name of the top module) and returns mm²."""
    areas: dict[str, float] = {}
    for out, expression in ALONE.values():
        ports = "y, z" if out != "y" else "y"
        text = f"module cell_alone(input a, b, c, output {ports});\n  assign {out} = {expression};\nendmodule\n"
        if expression not in areas:
            areas[expression] = area_of(text, "cell_alone")
    gate, inverse = areas["a & b"], areas["~(a & b)"]
    found = [areas[ALONE[name][1]] for name in FEATURES]
    found[FEATURES.index("gate read as it is")] = max(gate - inverse, 0.0)
    return AreaModel(tuple(found), library)
