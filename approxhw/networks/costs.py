"""What circuits of genomes cost, estimated without synthesis: area, power, delay, energy, inputs, converters, the system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .area_model import ALONE, FEATURES, AreaModel, features
from .space import Space, canonical

Cost = Callable[[np.ndarray], np.ndarray]
"""Genomes (int32, P × G) → what each costs (float64, P); a pure function that may be sent to workers."""


@dataclass(frozen=True)
class CellFigures:
    """Static and dynamic power in mW and delay in ms of every kind of cell alone, in the order of :data:`FEATURES`."""

    powers: tuple[float, ...]
    delays: tuple[float, ...]
    library: str


def measured_figures(library: str, figures_of: Callable[[str, str], tuple[float, float]]) -> CellFigures:
    """Return the figures of a library: *figures_of* synthesises (Verilog text, top) and returns mW and ms, by uniform vectors."""
    known: dict[str, tuple[float, float]] = {}
    for out, expression in ALONE.values():
        ports = "y, z" if out != "y" else "y"
        text = f"module cell_alone(input a, b, c, output {ports});\n  assign {out} = {expression};\nendmodule\n"
        if expression not in known:
            known[expression] = figures_of(text, "cell_alone")
    found = [known[ALONE[name][1]] for name in FEATURES]
    gate, inverse = known["a & b"], known["~(a & b)"]
    # what a gate read as it is has over its inverse, as for its area
    found[FEATURES.index("gate read as it is")] = (max(gate[0] - inverse[0], 0.0), max(gate[1] - inverse[1], 0.0))
    return CellFigures(tuple(power for power, _ in found), tuple(delay for _, delay in found), library)


@dataclass(frozen=True, eq=False)
class Area:
    """Estimated area in mm²."""

    space: Space
    model: AreaModel

    def __call__(self, genomes: np.ndarray) -> np.ndarray:
        """Return that of each of *genomes*."""
        return self.model.area_mm2(self.space.layout, self.space.head, genomes)


@dataclass(frozen=True, eq=False)
class Power:
    """Estimated power in mW: every cell burns what it burns alone under uniform vectors."""

    space: Space
    figures: CellFigures

    def __call__(self, genomes: np.ndarray) -> np.ndarray:
        """Return that of each of *genomes*."""
        counts = features(self.space.layout, self.space.head, genomes)
        # summed row by row in one order: the same whatever else is in the batch
        return (counts * np.array(self.figures.powers)).sum(axis=1)


@dataclass(frozen=True, eq=False)
class Delay:
    """Estimated delay in ms of the longest path: per layer a tree of full adders and a ripple, then the comparators.

    A neuron's summand bits are compressed by levels of full adders (each leaves two thirds of the tallest column), what is
    left ripples through as many carries as the sum has bits. Comparators form a tree over the classes; each looks at its
    bits one after the other.
    """

    space: Space
    figures: CellFigures

    def __call__(self, genomes: np.ndarray) -> np.ndarray:
        """Return that of each of *genomes*."""
        delay = dict(zip(FEATURES, self.figures.delays, strict=True))
        genomes = canonical(self.space, genomes)
        total = np.zeros(len(genomes))
        for index in range(len(self.space.layers)):
            height, width = _columns(self.space, genomes, index)
            levels = np.ceil(np.log(np.maximum(height, 2) / 2) / np.log(1.5))
            ripple = np.where(height > 1, width, 0)
            own = levels * delay["full adder"] + ripple * delay["full adder, carry alone"]
            total += own.max(axis=1, initial=0.0)
        looked = self.space.comparators(genomes)
        if looked.shape[1]:
            bits = np.array([[int(value).bit_count() for value in row] for row in looked.tolist()])
            depth = self.space.classes.bit_length() - (self.space.classes & (self.space.classes - 1) == 0)
            most = bits.max(axis=1)
            total += np.where(most > 0, depth * delay["multiplexer"], 0.0) + most * delay["comparator step"]
        return total


def _columns(space: Space, genomes: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the height of the tallest column and the bits of the sum of every neuron of layer *index* (int64, P × m)."""
    genes, layer = space.layer_genes(genomes, index), space.layers[index]
    masks, exponents = genes.masks.astype(np.int64), genes.exponents.astype(np.int64)
    columns = np.zeros((*genes.biases.shape, layer.input_bits + layer.exponent), dtype=np.int64)
    population, neuron = np.indices(genes.biases.shape)
    for bit in range(layer.input_bits):
        there = masks >> bit & 1
        for summand in range(layer.inputs):
            np.add.at(columns, (population, neuron, exponents[:, :, summand] + bit), there[:, :, summand])
    reach = (masks << exponents).sum(axis=2) + np.abs(genes.biases.astype(np.int64))
    width = np.ceil(np.log2(reach + 1.0)).astype(np.int64)
    return columns.max(axis=2) + (genes.biases != 0), width


@dataclass(frozen=True, eq=False)
class Energy:
    """Estimated energy of one classification in µJ: power times delay."""

    power: Power
    delay: Delay

    def __call__(self, genomes: np.ndarray) -> np.ndarray:
        """Return that of each of *genomes*."""
        return self.power(genomes) * self.delay(genomes)


@dataclass(frozen=True, eq=False)
class Inputs:
    """Features that a mask bit reads whose neuron is read itself; times ``each``, such as the area of one's converter."""

    space: Space
    each: float = 1.0

    def __call__(self, genomes: np.ndarray) -> np.ndarray:
        """Return that of each of *genomes*."""
        read = (self.space.layer_genes(canonical(self.space, genomes), 0).masks != 0).any(axis=1)
        return read.sum(axis=1) * self.each


@dataclass(frozen=True, eq=False)
class Together:
    """The sum of several costs of one unit, such as the areas of a circuit and of its converters."""

    parts: tuple[Cost, ...]

    def __call__(self, genomes: np.ndarray) -> np.ndarray:
        """Return that of each of *genomes*."""
        return np.sum([part(genomes) for part in self.parts], axis=0)
