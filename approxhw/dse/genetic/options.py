"""The options of the genetic search and of its starts: whatever is searched, each but ``generations`` decides what is found."""

from __future__ import annotations

from dataclasses import dataclass, field

from approxhw.common.arguments import field_problems, settle_fields
from approxhw.common.errors import OptionError, Problem
from approxhw.common.options import integer_problems

from .operators import KINDS


@dataclass(frozen=True)
class GeneticOptions:
    """How to search; every field but ``generations`` decides what the front is, and is kept with a checkpoint."""

    population: int = field(default=1000, metadata={"help": "individuals, of all islands together"})
    generations: int = field(default=300, metadata={"help": "generations after the start population"})
    max_accuracy_loss: float = field(
        default=0.05, metadata={"help": "absolute, against the reference, training rows", "unit": "share"}
    )
    max_class_loss: float | None = field(
        default=None,
        metadata={
            "help": "absolute, of any class, against the reference, on the rows that judge",
            "unit": "share",
            "shown_default": "no bound",
        },
    )
    seed: int = field(default=1, metadata={"help": "seed of every random draw"})
    islands: int = field(default=4, metadata={"help": "populations that meet by migration only"})
    migration_every: int = field(default=5, metadata={"help": "generations between migrations; 0: none"})
    migrants: int = field(default=10, metadata={"help": "individuals that each island hands on to the next"})
    crossover: float = field(default=0.8, metadata={"help": "share of children that have two parents"})
    crossover_shares: tuple[float, ...] = field(
        default=(1.0, 1.0, 1.0), metadata={"help": "how often children inherit by weight, by neuron, by feature"}
    )
    mutation: float = field(default=1.5, metadata={"help": "mean number of changed genes of a child"})
    mutation_weights: tuple[float, ...] = field(
        default=(8.0, 1.0, 2.0, 4.0, 4.0, 2.0),
        metadata={"help": f"how often a gene is drawn: {', '.join(KINDS)}"},
    )
    prune: float = field(default=0.02, metadata={"help": "share of children that lose a whole neuron or feature"})
    archive: int = field(default=256, metadata={"help": "best trade-offs that each island remembers"})

    def __post_init__(self) -> None:
        """Refuse what cannot be, all at once."""
        found = field_problems(self)
        odd = {problem.where for problem in found}  # of another type: nothing more is said of them
        least = {"population": 1, "generations": 0, "seed": 0, "islands": 1, "migration_every": 0, "migrants": 0}
        bounds = {name: low for name, low in {**least, "archive": 2}.items() if name not in odd}
        found += integer_problems(self, bounds)
        found += [
            Problem(name, f"{getattr(self, name)!r} is not in 0…1")
            for name in ("max_accuracy_loss", "max_class_loss", "crossover", "prune")
            if name not in odd and getattr(self, name) is not None and not 0 <= getattr(self, name) <= 1
        ]
        if "mutation" not in odd and not 1 <= self.mutation <= 1000:
            found.append(Problem("mutation", f"{self.mutation!r} is not in 1…1000"))
        for name, count in (("crossover_shares", 3), ("mutation_weights", len(KINDS))):
            given = getattr(self, name)
            if name in odd:
                continue
            if len(given) != count or not all(0 <= value < 1e9 for value in given) or not sum(given):
                found.append(Problem(name, f"{given!r} is not {count} numbers of 0 or more, one of them above 0"))
        if not found and self.population < 4 * self.islands:
            why = f"{self.population} individuals on {self.islands} islands; an island needs 4"
            found.append(Problem("population", why, "take more individuals or fewer islands"))
        if found:
            raise OptionError("search", found)
        settle_fields(self, "search")


@dataclass(frozen=True)
class Seeding:
    """How the starts of a search are made; every field decides what the front is."""

    starts: int = field(default=8, metadata={"help": "annealed starts; 0: only the retrained network"})
    levels: int = field(default=14, metadata={"help": "prices of area that each start is annealed at"})
    moves: int = field(default=20_000, metadata={"help": "moves tried at each price"})
    rows: int = field(default=4000, metadata={"help": "most rows looked at by a move, drawn anew at each price"})
    copies: int = field(default=2, metadata={"help": "noisy copies of every row"})
    noise: float = field(default=0.2, metadata={"help": "probability that a code of a copy is off by one"})
    far_noise: float = field(default=0.0, metadata={"help": "probability that a code of a copy is off by two"})
    averaged: int = field(default=1, metadata={"help": "retrained networks averaged into what a start begins with"})
    teachers: int = field(
        default=0, metadata={"help": "retrained networks that teach in place of the model, as their mean; 0: none"}
    )
    thin_starts: float = field(default=0.0, metadata={"help": "share of the starts that see few inputs alone"})
    thin_inputs: float = field(
        default=0.5, metadata={"help": "share of the inputs that those see: what tells classes apart best alone"}
    )
    first_price: float = field(
        default=0.02, metadata={"help": "share of the rows that the whole start is worth at first"}
    )
    early_starts: float = field(
        default=0.0, metadata={"help": "share of the starts whose first price is the early one, which leaves less"}
    )
    early_price: float = field(
        default=0.5, metadata={"help": "share of the rows that the whole of such a start is worth at first"}
    )
    last_price: float = field(default=0.06, metadata={"help": "share of the rows that one mm² is worth in the end"})

    def __post_init__(self) -> None:
        """Refuse what cannot be, all at once."""
        found = field_problems(self)
        odd = {problem.where for problem in found}
        least = {"starts": 0, "levels": 1, "moves": 1, "rows": 1, "copies": 0, "averaged": 1, "teachers": 0}
        found += integer_problems(self, {name: low for name, low in least.items() if name not in odd})
        shares = ("noise", "far_noise", "thin_starts", "early_starts")
        found += [
            Problem(name, f"{getattr(self, name)!r} is not in 0…1")
            for name in shares
            if name not in odd and not 0 <= getattr(self, name) <= 1
        ]
        if not found and self.noise + self.far_noise > 1:
            why = (
                f"codes off by one with probability {self.noise:g} and by two with {self.far_noise:g} are more than all"
            )
            found.append(Problem("far_noise", why, f"at most {1 - self.noise:g}"))
        found += [
            Problem(name, f"{getattr(self, name)!r} is not above 0 and at most 1")
            for name in ("thin_inputs", "first_price", "early_price", "last_price")
            if name not in odd and not 0 < getattr(self, name) <= 1
        ]
        if found:
            raise OptionError("seeding", found)
        settle_fields(self, "seeding")
