"""How operators of an integer engine are searched layer by layer: which there are, what else a layer may have, how long."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from approxhw.artifacts.objectives import ENGINE, Objective, chosen_objectives
from approxhw.common.arguments import settle_fields
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.options import integer_problems
from approxhw.engine.composing.asked import ARITHMETIC, HELP, approximation_problems

OBJECTIVES: Mapping[str, Objective] = {name: ENGINE[name] for name in ("errors", "area", "energy")}
DEFAULT = ("errors", "energy")
OPERATORS = "exact,truncated-*,broken-array-*,leading-*"
PLAIN, TUNE, FIT = "none", "tune", "fit"
_EDIT = re.compile(r"(?:(?P<bits>[2-7])bits(?P<then>\+fit)?|tune|fit|none)\Z")


@dataclass(frozen=True)
class IntegerSearch:
    """How to search. ``operators``: what a layer's products may be made by; ``edits``: what else is done to its weights.

    ``operators``: names of ours, patterns of them, files, patterns of files, folders, apart by commas; exact products are
    always among them. ``edits``: ``none``, ``fit`` (sums of training rows follow the exact ones), ``5bits`` (weights keep so
    many bits), ``5bits+fit``, ``tune`` (weights become those that the operator multiplies best). ``objectives``: errors
    with ``energy`` (of one inference's products, by toggles of real tiles), ``area`` (of one element that holds all operators
    that are used), or both. ``max_accuracy_loss``: absolute, against the model as it is given; ``max_class_loss``: of
    any class. ``rows``: those that a
    configuration is judged on; ``validation_rows``: those that choose. Both are training rows.
    """

    operators: str = field(
        default=OPERATORS, metadata={"help": "names, patterns, files and folders of multipliers, apart by commas"}
    )
    edits: str | tuple[str, ...] = field(
        default=(PLAIN, FIT, "5bits+fit", "4bits+fit"),
        metadata={"help": "of a layer's weights, apart by commas: none, fit, Nbits, Nbits+fit, tune"},
    )
    population: int = field(default=16, metadata={"help": "individuals"})
    generations: int = field(default=8, metadata={"help": "generations after the start population"})
    max_accuracy_loss: float = field(
        default=0.005, metadata={"help": "absolute, against the model as it is given", "unit": "share"}
    )
    max_class_loss: float | None = field(
        default=None,
        metadata={
            "help": "absolute, of any class, against the same model on the same rows",
            "unit": "share",
            "shown_default": "no bound",
        },
    )
    objectives: str | tuple[str, ...] = field(
        default=DEFAULT,
        metadata={"help": "what is made least: errors, and one or two more", "choices": tuple(OBJECTIVES)},
    )
    approximations: str = field(default=ARITHMETIC, metadata={"help": f"what is chosen layer by layer: {HELP}"})
    compositions: int = field(default=12, metadata={"help": "smaller forms of the whole model that are tried at most"})
    islands: int = field(default=1, metadata={"help": "populations that meet by migration only"})
    rows: int = field(default=2048, metadata={"help": "most rows that a configuration is judged on"})
    validation_rows: int = field(default=4096, metadata={"help": "most rows that members are chosen by"})
    members: int = field(default=12, metadata={"help": "members of the front at most"})
    seed: int = field(default=1, metadata={"help": "seed of every random draw"})

    def __post_init__(self) -> None:
        """Refuse what cannot be, all at once."""
        settle_fields(self, "search")
        least = {
            "population": 4,
            "generations": 0,
            "rows": 1,
            "validation_rows": 1,
            "members": 1,
            "seed": 0,
            "islands": 1,
            "compositions": 1,
        }
        found = integer_problems(self, least) + approximation_problems(self.approximations)
        found += [
            Problem(name, f"{value!r} is not in 0…1")
            for name, value in (("max_accuracy_loss", self.max_accuracy_loss), ("max_class_loss", self.max_class_loss))
            if value is not None and not 0 <= value <= 1
        ]
        if not self.named:
            found.append(Problem("operators", "none is named", f"name some, such as {OPERATORS}"))
        known = "choose none, tune, fit, 2bits to 7bits, 2bits+fit to 7bits+fit"
        wrong = [each for each in self.tried if not _EDIT.match(each)]
        found += [Problem("edits", f"{shown(repr(each), 40)} is none", known) for each in wrong]
        if not self.tried:
            found.append(Problem("edits", "there are none", "give none, to leave weights as they are"))
        try:
            self.chosen()
        except OptionError as error:
            found += error.problems
        if not found and self.population < 4 * self.islands:
            why = f"{self.population} individuals on {self.islands} islands; an island needs 4"
            found.append(Problem("population", why, "take more individuals or fewer islands"))
        if found:
            raise OptionError("search", found)

    @property
    def tried(self) -> tuple[str, ...]:
        """The edits, each by itself."""
        given = self.edits.split(",") if isinstance(self.edits, str) else self.edits
        return tuple(dict.fromkeys(filter(None, (each.strip() for each in given))))

    @property
    def named(self) -> tuple[str, ...]:
        """What is named as operators, each by itself."""
        return tuple(dict.fromkeys(filter(None, (each.strip() for each in self.operators.split(",")))))

    def chosen(self) -> tuple[Objective, ...]:
        """Return the objectives, the errors first."""
        return chosen_objectives(self.objectives, OBJECTIVES)


def parts_of_edit(edit: str) -> tuple[int | None, str]:
    """Return how many bits of weights *edit* keeps, None where it keeps all, and how weights are moved, as a plan says it."""
    found = _EDIT.match(edit)
    if found is None:
        raise ValueError(f"{edit!r} is no edit")
    if found["bits"]:
        return int(found["bits"]), FIT if found["then"] else ""
    return None, "" if edit == PLAIN else edit
