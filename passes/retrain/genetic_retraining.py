"""The pass that searches masked networks genetically and goes on with the one that its rule chooses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from approxhw.common.errors import OptionError, PassError, Problem
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext


@dataclass(frozen=True)
class GeneticRetraining:
    """Retrain a network of powers of two genetically: weights, masks and shifts by NSGA-II, errors against area.

    It starts from what stands in front of it, a Graph of ``printed-po2``, say, reads training rows alone, and goes on with
    the smallest network that is expected to hold *target_accuracy*, or to lose at most *max_accuracy_loss*. It is
    ``approxhw search`` as a pass, and as long. Source: Afentaki et al., DATE 2024.
    """

    kind: ClassVar[str] = "approximating"

    target_accuracy: float | None = field(default=None, metadata={"help": "what the network is to hold, 0 to 1"})
    max_accuracy_loss: float = field(default=0.05, metadata={"help": "against the model, where there is no target"})
    max_class_loss: float | None = field(default=None, metadata={"help": "of any class, against the model"})
    population: int = field(default=100, metadata={"help": "networks of a generation"})
    generations: int = field(default=100, metadata={"help": "generations"})
    starts: int = field(default=8, metadata={"help": "retrained and annealed networks that the search starts from"})
    moves: int = field(default=20000, metadata={"help": "moves of annealing for each start"})
    folds: int = field(default=1, metadata={"help": "searches that put other validation rows aside each"})
    seed: int = field(default=1, metadata={"help": "same seed, same network"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        found = []
        for name in ("target_accuracy", "max_accuracy_loss", "max_class_loss"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                why = f"{value:g} is not between 0 and 1"
                found.append(Problem(f"genetic-retraining.{name}", why, "write 0.9 for 90 %"))
        for name in ("population", "generations", "starts", "folds"):
            least = {"population": 4}.get(name, 1)
            if getattr(self, name) < least:
                found.append(Problem(f"genetic-retraining.{name}", f"{getattr(self, name)} is less than {least}"))
        if self.moves < 0:
            found.append(Problem("genetic-retraining.moves", f"{self.moves} is less than 0"))
        if found:
            raise OptionError("genetic-retraining", found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return the chosen network."""
        if context.data is None or not len(context.data.X_train):
            why = "it learns from training rows, and there are none"
            raise PassError("pass genetic-retraining", [Problem(graph.name, why, "give them with --data")])
        if context.search is None:
            why = "whoever runs the passes hands in no search"
            raise PassError(
                "pass genetic-retraining", [Problem(graph.name, why, "use approxhw compile, or ax.compile")]
            )
        return context.search(graph, self, context)
