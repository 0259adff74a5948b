"""Genomes become circuits: decoded, trimmed, synthesised, and remembered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.design import Design
from approxhw.artifacts.objectives import CIRCUIT, Objective
from approxhw.ir.graph import Graph

from .circuits import Measured, Origin, Progress, circuit_design, cleaned_up, each_of, measured_circuit
from .synthesised import Synthesised

if TYPE_CHECKING:
    from approxhw.dse.rows.thin_inputs import Thinned
    from approxhw.networks.space import Space

TRIMS = 5
"""Syntheses at most until a member reads no input bit that decides nothing."""


@dataclass(frozen=True, eq=False)
class Masked:
    """The masked network ``graph`` whose constants the genomes are, and their ``space``."""

    graph: Graph
    space: Space
    thinned: Thinned | None = None
    """Which inputs are searched with, where they are not all: ``graph`` and ``space`` have these alone."""

    def decoded(self, genome: np.ndarray) -> Graph:
        """Return the Graph of *genome*, of all inputs."""
        from approxhw.networks.space import decode_genome

        found = decode_genome(self.space, genome, self.graph)
        return found if self.thinned is None else self.thinned.restored(found)


class Workshop:
    """Makes circuits of genomes, up to ``jobs`` at a time, and remembers what each it was asked for costs."""

    def __init__(
        self, origin: Origin, masked: Masked, jobs: int, costs: tuple[Objective, ...] = (CIRCUIT["area"],)
    ) -> None:
        self.origin, self.masked, self.jobs, self.costs = origin, masked, max(1, jobs), costs
        self.known: dict[bytes, Measured] = {}

    def measured(self, genomes: np.ndarray, on_progress: Progress | None = None) -> np.ndarray:
        """Return what each of *genomes* (P × G) has of each of ``costs`` when it is synthesised: float64, P × costs."""
        figures = self._figures(genomes, on_progress)
        return np.array([[cost.value(one) for cost in self.costs] for one in figures]).reshape(len(genomes), -1)

    def _figures(self, genomes: np.ndarray, on_progress: Progress | None = None) -> list[Measured]:
        keys = [self._key(genome) for genome in genomes]
        todo = {key: genome for key, genome in zip(keys, genomes) if key not in self.known}
        made = each_of(self._synthesised, todo.values(), self.jobs, "synthesise", on_progress)
        self.known.update(zip(todo, made, strict=True))
        return [self.known[key] for key in keys]

    def made(self, genome: np.ndarray) -> Synthesised | None:
        """Return the circuit of *genome*, where it was measured already."""
        known = self.known.get(self._key(genome))
        return None if known is None else known.made

    def without_unread(self, genomes: np.ndarray) -> np.ndarray:
        """Return *genomes* (P × G) without the mask bits of input bits that their netlists do not read.

        A masked bit is a bit that is 0: what no cell reads may be that, and the circuit stays the same for every input.
        Synthesis may see more then, so it is asked again until nothing changes.
        """
        trimmed, thinned = np.array(genomes, dtype=np.int32), self.masked.thinned
        for _ in range(TRIMS):
            before = trimmed.copy()
            self._figures(before)
            for genome, layer in zip(before, self.masked.space.layer_genes(trimmed, 0).masks):
                bits = self.known[self._key(genome)].bits.astype(np.int32)
                layer &= (bits if thinned is None else bits[thinned.kept])[None, :]
            if np.array_equal(before, trimmed):
                break
        return trimmed

    def _key(self, genome: np.ndarray) -> bytes:
        from approxhw.networks.space import canonical

        return canonical(self.masked.space, np.asarray(genome)[None])[0].tobytes()

    def _synthesised(self, genome: np.ndarray) -> Measured:
        graph, _ = cleaned_up(self.masked.decoded(genome), self.origin.data)
        return measured_circuit(graph, self.origin, self.costs)

    def design(self, genome: np.ndarray, number: str) -> Design:
        """Return the Design of *genome*, with the whole ledger from the model to the circuit; *number* goes into its name."""
        notes = (f"member {number} of the front",)
        return circuit_design(self.origin, self.masked.decoded(genome), number, notes, made=self.made(genome))
