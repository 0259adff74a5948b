"""The pass that masks summands: approximate accumulation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem, shown
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext
from approxhw.networks.area_model import model_of
from approxhw.networks.space import Space, decode_genome, encode_genome, space_of

STAGES = 8
"""Parts in which the allowed loss is given away: what costs least goes first."""


@dataclass(frozen=True)
class Mask:
    """Drop bits of summands, greatest saving of area first, while training accuracy stays within *max-loss*.

    Every weight of a masked layer has a bit mask; bits, whole summands, hidden neurons and inputs are dropped one at a
    time, and the mean of what a mask drops may go into the bias. Moves that cost nothing come first; the loss is given away
    in eight stages. Ends when nothing more drops.
    """

    kind: ClassVar[str] = "approximating"

    max_loss: float = field(default=0.01, metadata={"help": "accuracy on training rows that may be lost, 0 to 1"})
    seed: int = field(default=1, metadata={"help": "order of moves that save the same"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        if not 0 <= self.max_loss <= 1:
            raise OptionError("mask", [Problem("mask.max_loss", f"{self.max_loss} is not in 0…1")])

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph*, of masked powers of two, with fewer mask bits."""
        from approxhw.networks.kernels.masked_network import pack_rows
        from approxhw.networks.refine import refine

        space = space_of(graph)
        data = context.data
        if data is None or not len(data.X_train):
            why = "which bits are needed is found on training rows, and there are none"
            raise PassError("pass mask", [Problem(graph.name, why, "give data: --data FILE")])
        rows = pack_rows(codes_of(graph, data.X_train), data.y_train)
        model = model_of(context.library, context.cell_area)

        def area(genomes: np.ndarray) -> np.ndarray:
            return model.area_mm2(space.layout, space.head, genomes)

        start = encode_genome(space, graph)
        first = refine(space, start, rows, area, kinds=())
        genome = start
        kinds = ("input", "neuron", "summand", "bit")
        for stage in range(STAGES + 1):
            allowed = first.errors + int(self.max_loss * len(data.X_train) * stage / STAGES)
            genome = refine(space, genome, rows, area, kinds=kinds, allowed=allowed, seed=self.seed).genome
        last = refine(space, genome, rows, area, kinds=())
        before, after = mask_bits(space, start), mask_bits(space, genome)
        used = np.count_nonzero(space.layer_genes(genome[None], 0).masks[0].any(axis=0))
        context.note(f"{before - after} of {before} summand bits dropped, {used} of {space.features} inputs are read")
        context.note(
            f"estimated area {first.area_mm2:.1f} mm², now {last.area_mm2:.1f} mm² ({shown(model.library, 40)})"
        )
        context.note(f"{last.errors} of {len(data.X_train)} training rows wrong, {first.errors} before")
        return decode_genome(space, genome, graph)


def mask_bits(space: Space, genome: np.ndarray) -> int:
    """Return how many bits of summands *genome* leaves."""
    masks = (space.layer_genes(genome[None], index).masks for index in range(len(space.layers)))
    return sum(int(np.bitwise_count(mask).sum()) for mask in masks)
