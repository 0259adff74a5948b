"""Fast analytical cost of masked power-of-two circuits: counts of cells, and the area that a model of them gives.

``kernels/adders.py`` builds every genome's circuit symbolically and counts its cells by kind (:data:`FEATURES`); an
:class:`AreaModel` prices them. ``docs/estimate.md`` tells how good that is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import OptionError, Problem, shown

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

_PRINTED = (
    *(2.73764, 2.0856, 1.632, 1.2325, 1.0428, 0.24786, 0.24786, 0.24786, 0.24786),
    *(0.972, 0.24786, 1.48036, 0.24786, 0.22842, 0.18564, 0.22842),
)
_SILICON = (
    *(2.75264e-5, 1.75168e-5, 1.00096e-5, 1.37632e-5, 8.7584e-6, 3.7536e-6, 3.7536e-6, 3.7536e-6, 3.7536e-6),
    *(1.12608e-5, 3.7536e-6, 1.2512e-5, 3.7536e-6, 3.7536e-6, 2.5024e-6, 3.7536e-6),
)
_TABLES = {"egfet": _PRINTED, "egfet_1v0": _PRINTED, "egfet_0v6": _PRINTED, "sky130": _SILICON}
"""mm² of each cell alone: ``measured_model(library, lambda text, top: synthesise(text, top, library).area())``."""

MOST_BITS, MOST_EXPONENT, MOST_WIDTH = 16, 31, 31
"""Bits of a code, exponent, and width of a comparator that can be counted."""

PULL = 0.1
"""How much a calibrated price is held to that of the cell alone (times the scale that fits best)."""


@dataclass(frozen=True)
class AreaModel:
    """Area as a sum of cells: ``coefficients`` in mm² a cell, in the order of :data:`FEATURES`, for ``library``."""

    coefficients: tuple[float, ...]
    library: str

    def area_mm2(self, layout: np.ndarray, head: np.ndarray, genomes: np.ndarray) -> np.ndarray:
        """Return the estimated area in mm² of each of *genomes* (P × G): float64, P.

        Bits are taken as equal only where they are, never where a sample of inputs says so: a search would find the
        circuits that the sample misjudges.
        """
        return features(layout, head, genomes) @ np.array(self.coefficients)


def features(layout: np.ndarray, head: np.ndarray, genomes: np.ndarray, *, by_name: bool = False) -> np.ndarray:
    """Return how many cells of each of :data:`FEATURES` the circuit of every genome has: float64, P × F.

    ``layout`` (L × 9), ``head`` (3) and ``genomes`` (int32, P × G) as ``approxhw/networks/space.py`` lays them out.
    ``by_name``: count what the builder makes, constants folded; by default, small parts are also taken apart as synthesis does.
    """
    from approxhw.networks.kernels.area import adders

    # copies of the small ones, so that arrays that may not be written compile nothing anew
    layout, head = np.array(layout, dtype=np.int64), np.array(head, dtype=np.int64)
    genomes = np.require(genomes, dtype=np.int32, requirements=["C", "W"])
    _check(layout, head, genomes)
    rows = np.zeros((len(genomes), len(FEATURES)))
    scratch = adders.scratch(layout, head, 0 if by_name else adders.MOST)
    adders.count(layout, head, genomes, *scratch, rows)
    return rows


def _check(layout: np.ndarray, head: np.ndarray, genomes: np.ndarray) -> None:
    """Refuse genes that the kernel has no room for: it indexes with them, unchecked."""
    found = []
    outputs, offset, width = int(layout[-1, 1]), int(head[1]), int(head[2])
    end = max(int(layout[:, 6:8].max()) + outputs, offset + outputs - 1 if head[0] == 0 else 0)
    if genomes.ndim != 2 or genomes.shape[1] < end or outputs < 1 or (head[0] == 0 and not 1 <= width <= MOST_WIDTH):
        why = f"an array of shape {genomes.shape}, comparators of {width} bits; the layout needs {end} genes a row"
        raise OptionError("area model", [Problem("genomes", why)])
    for number, (n, m, bits, masks, _, exponents, _, shift, hidden) in enumerate(layout.tolist()):
        where = f"genomes, layer {number}"
        if n * m == 0 or not 1 <= bits <= MOST_BITS or hidden > MOST_BITS:
            found.append(
                Problem(where, f"{n} inputs, {m} neurons, codes of {bits} and {hidden} bits cannot be counted")
            )
        for what, genes, most in (
            ("masks", genomes[:, masks : masks + n * m], (1 << bits) - 1),
            ("exponents", genomes[:, exponents : exponents + n * m], MOST_EXPONENT),
            ("shifts", genomes[:, shift : shift + 1] if shift >= 0 else genomes[:, :0], 62),
        ):
            if genes.size and (genes.min() < 0 or genes.max() > most):
                found.append(Problem(where, f"{what} from {genes.min()} to {genes.max()} do not lie in 0…{most}"))
    if found:
        raise OptionError("area model", found)


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


def model_of(library: str, cell_area: Callable[[str, str], float] | None = None) -> AreaModel:
    """Return the model of *library*; one that has no table gets its cells synthesised one by one by *cell_area*.

    Raises :class:`OptionError` where there is neither.
    """
    if library in _TABLES or cell_area is None:
        return default_model(library)
    return measured_model(library, cell_area)


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


def calibrate(
    layout: np.ndarray, head: np.ndarray, genomes: np.ndarray, areas: np.ndarray, start: AreaModel, pull: float = PULL
) -> AreaModel:
    """Return *start* with prices that fit the synthesised *areas* (mm², P) of *genomes* (P × G) better.

    Least squares of the errors, relative to the mean of both areas, over prices ≥ 0; *pull* holds each price to that of
    *start*, all of them first scaled alike, so that kinds of cells that the genomes hardly have stay sensible. Circuits of
    no cells say nothing and are left out; where there are no others, *start* comes back. The same input gives the same
    prices on every machine, but for rounding at the seventh digit.
    """
    counts, areas = features(layout, head, genomes), np.asarray(areas, dtype=np.float64)
    if areas.shape != (len(counts),) or not np.isfinite(areas).all() or (areas < 0).any():
        why = f"{len(counts)} genomes, and areas of shape {areas.shape}; one finite area ≥ 0 a genome is needed"
        raise OptionError("area model", [Problem("areas", why)])
    prices = np.array(start.coefficients)
    estimates = counts @ prices
    used = (estimates > 0) & (areas > 0)
    if not used.any():
        return start
    counts, areas = counts[used], areas[used]
    target = prices * np.median(areas / estimates[used])
    # relative to the mean of both, so that a circuit of which synthesis leaves hardly anything does not decide alone; and
    # what is below a quarter of a full adder does not count for more than that
    weights = 2 / (areas + counts @ target + target[0] / 2)
    scaled = counts * weights[:, None] * target
    matrix = scaled.T @ scaled / len(scaled) + pull * np.eye(len(prices))
    right = scaled.T @ (areas * weights) / len(scaled) + pull
    factors = np.ones(len(prices))
    for _ in range(1000):  # coordinate descent: convex, and the pull keeps it well conditioned
        before = factors.copy()
        for k in range(len(factors)):
            factors[k] = max(0.0, factors[k] + (right[k] - matrix[k] @ factors) / matrix[k, k])
        if np.abs(factors - before).max() < 1e-9:
            break
    return AreaModel(tuple(float(f"{price:.6g}") for price in factors * target), start.library)


def full_adders_date24(layout: np.ndarray, genomes: np.ndarray) -> np.ndarray:
    """Return the full adders of each of *genomes* (P × G) as DATE 2024 counts area: int64, P. For comparison.

    Positive and negative summands of a neuron are two trees, the bias in the tree of its sign. Of every column the bits are
    counted that can be 1; from the lowest column up, while three are left, they become one there and one in the next.
    Source: Afentaki et al., DATE 2024, section 3.
    """
    from approxhw.networks.kernels.area import date24

    layout = np.array(layout, dtype=np.int64)
    return np.asarray(date24.full_adders(layout, np.require(genomes, dtype=np.int32, requirements=["C", "W"])))
