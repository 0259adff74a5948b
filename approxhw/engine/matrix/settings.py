"""How the arithmetic of an engine's products is searched: what a layer may have, what is made least, how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

from approxhw.artifacts.objectives import DEFAULT, ENGINE, Objective, chosen_objectives
from approxhw.common.arguments import settle_fields
from approxhw.common.errors import OptionError, Problem
from approxhw.common.options import integer_problems
from approxhw.numerics.mac.arithmetic import FloatMac

from ..composing.asked import ARITHMETIC, HELP, approximation_problems, read_approximations

OBJECTIVES = ("area", "energy")
"""What ``objective`` may be, the one word for both objectives."""


@dataclass(frozen=True)
class EngineSearch:
    """How to search.

    ``formats``, ``accumulator_bits``, ``normalizations``, ``alignments``, ``exponent_steps``: what a layer may have.
    ``objectives``: two or three of :data:`approxhw.artifacts.objectives.ENGINE`: errors, ``area``, ``power`` or ``delay`` of the
    elements (one array for each arithmetic that is used), ``energy`` of one run's multiply-adds. ``objective``: short for
    the errors and this one. ``approximations``: what else is chosen beside the arithmetic.
    ``max_accuracy_loss``: absolute, against the model in float32 on the same rows;
    ``max_class_loss``: the same of any class.
    """

    population: int = field(default=32, metadata={"help": "individuals"})
    generations: int = field(default=10, metadata={"help": "generations after the start population"})
    max_accuracy_loss: float = field(
        default=0.01, metadata={"help": "absolute, against the model in float32", "unit": "share"}
    )
    max_class_loss: float | None = field(
        default=None,
        metadata={
            "help": "absolute, of any class, against the same model on the same rows",
            "unit": "share",
            "shown_default": "no bound",
        },
    )
    objective: str | None = field(
        default=None, metadata={"help": "area or energy, beside the errors", "choices": OBJECTIVES}
    )
    objectives: str | tuple[str, ...] = field(
        default=DEFAULT, metadata={"help": "what is made least: errors, and one or two more", "choices": tuple(ENGINE)}
    )
    approximations: str = field(default=ARITHMETIC, metadata={"help": f"what is chosen layer by layer: {HELP}"})
    compositions: int = field(default=12, metadata={"help": "smaller forms of the whole model that are tried at most"})
    islands: int = field(default=1, metadata={"help": "populations that meet by migration only"})
    formats: tuple[str, ...] = ("bf16", "e4m3", "e5m2")
    accumulator_bits: tuple[int, ...] = (16, 18, 20, 22, 24)
    normalizations: tuple[str, ...] = ("exact", "an-1-1", "an-1-2", "an-2-2", "an-2-3")
    alignments: tuple[int | None, ...] = (None,)
    exponent_steps: tuple[int | None, ...] = (None,)
    rows: int = field(default=512, metadata={"help": "most rows that a configuration is judged on"})
    members: int = field(default=12, metadata={"help": "members of the front at most"})
    seed: int = field(default=1, metadata={"help": "seed of every random draw"})

    def __post_init__(self) -> None:
        """Refuse what cannot be, all at once."""
        settle_fields(self, "search")
        least = {"population": 4, "generations": 0, "rows": 1, "members": 1, "seed": 0, "islands": 1, "compositions": 1}
        found = integer_problems(self, least) + approximation_problems(self.approximations)
        found += [
            Problem(name, f"{value!r} is not in 0…1")
            for name, value in (("max_accuracy_loss", self.max_accuracy_loss), ("max_class_loss", self.max_class_loss))
            if value is not None and not 0 <= value <= 1
        ]
        if self.objective is not None and self.objective not in OBJECTIVES:
            found.append(Problem("objective", f"{self.objective!r} is not one of {', '.join(OBJECTIVES)}"))
        elif self.objective is not None and self.objectives != DEFAULT:
            found.append(Problem("objective", "objectives are given, too", "give one of the two"))
        try:
            self.chosen()
        except OptionError as error:
            found += error.problems
        if not found and self.population < 4 * self.islands:
            why = f"{self.population} individuals on {self.islands} islands; an island needs 4"
            found.append(Problem("population", why, "take more individuals or fewer islands"))
        if not found and not self.choices():
            found.append(Problem("choices", "no format fits any accumulator and normalization that is given"))
        if found:
            raise OptionError("search", found)

    def chosen(self) -> tuple[Objective, ...]:
        """Return the objectives, the errors first: by default the elements' area, or energy and clocks where shapes change."""
        if self.objective is None and self.objectives == DEFAULT and read_approximations(self.approximations):
            return chosen_objectives(("errors", "energy", "clocks"), ENGINE)
        return chosen_objectives(self.objectives if self.objective is None else ("errors", self.objective), ENGINE)

    def choices(self) -> tuple[FloatMac, ...]:
        """Return every arithmetic that a layer may have."""
        made = []
        for code in self.formats:
            for bits in self.accumulator_bits:
                for further in product(self.normalizations, self.alignments, self.exponent_steps):
                    try:
                        made.append(FloatMac(code, bits, *further))
                    except OptionError:
                        continue  # they do not fit together
        return tuple(made)
