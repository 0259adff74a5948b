"""What a search was asked for: its settings, one field an option, and the task that every part of it is handed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING

from approxhw.artifacts.front import share_of
from approxhw.artifacts.objectives import CIRCUIT, DEFAULT, Objective, chosen_objectives
from approxhw.common.arguments import settle_fields
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.option_fields import Value, field_of
from approxhw.common.options import Keywords, suggestion
from approxhw.flow.printed.target import Printed
from approxhw.flow.stages.protocol import Clock
from approxhw.ir.pass_manager import Pass
from approxhw.sim.simulators.registry import SIMULATORS, simulator_names

from .families.registry import GENETIC, chosen_families, family_names
from .genetic.options import GeneticOptions, Seeding

if TYPE_CHECKING:
    from .evolve import Hooks

FOLDS = 4
"""Searches that put other rows aside each, where nothing else is asked for."""

_LATER = ("far_noise", "averaged", "teachers", "thin_starts", "thin_inputs", "early_starts", "early_price")
"""Fields of ``Seeding`` that a front tells where they are not the default: fronts of before they were there read alike."""


@dataclass(frozen=True)
class SearchSettings:
    """Every option of a search: of the genetic search (``GeneticOptions``), of its starts (``Seeding``), and its own.

    Shares may be texts such as ``5%`` until :func:`settled` has read them.
    """

    objectives: str | tuple[str, ...] = field(
        default=DEFAULT,
        metadata={"help": "what is made least: errors, and one or two more", "choices": tuple(CIRCUIT)},
    )
    families: str | tuple[str, ...] = field(
        default=(GENETIC,),
        metadata={
            "help": "families of circuits that are searched, or all",
            "choices": family_names,
            "metavar": "NAMES",
        },
    )
    population: int = field_of(GeneticOptions, "population")
    generations: int = field_of(GeneticOptions, "generations")
    max_accuracy_loss: str | float = field_of(GeneticOptions, "max_accuracy_loss")
    max_class_loss: str | float | None = field_of(GeneticOptions, "max_class_loss")
    target_accuracy: str | float | None = field(
        default=None, metadata={"help": "what the chosen member must hold", "unit": "share"}
    )
    seed: int = field_of(GeneticOptions, "seed")
    islands: int = field_of(GeneticOptions, "islands")
    jobs: int | None = field(
        default=None, metadata={"help": "workers; one a core by default", "fewest": 1, "shown_default": "cores"}
    )
    scheduler: str | None = field(default=None, metadata={"help": "Dask scheduler, tcp://host:port"})
    resume: bool = field(default=False, metadata={"help": "go on from the checkpoint in the output folder"})
    validation_share: str | float = field(
        default=0.2, metadata={"help": "share of the training rows that picks winners", "unit": "share"}
    )
    folds: int | None = field(
        default=None,
        metadata={
            "help": "searches that put other validation rows aside each",
            "fewest": 1,
            "shown_default": "4, or as many as the share allows",
        },
    )
    widen: float = field(
        default=2.0, metadata={"help": "times the model's hidden neurons, at first", "least": 1, "most": 16}
    )
    max_inputs: int = field(
        default=64,
        metadata={"help": "of more inputs, those that tell classes apart best alone are searched with", "fewest": 1},
    )
    starts: int = field_of(Seeding, "starts")
    moves: int = field_of(Seeding, "moves")
    copies: int = field_of(Seeding, "copies")
    noise: float = field_of(Seeding, "noise")
    far_noise: float = field_of(Seeding, "far_noise")
    averaged: int = field_of(Seeding, "averaged")
    teachers: int = field_of(Seeding, "teachers")
    thin_starts: float = field_of(Seeding, "thin_starts")
    thin_inputs: float = field_of(Seeding, "thin_inputs")
    early_starts: float = field_of(Seeding, "early_starts")
    early_price: float = field_of(Seeding, "early_price")
    seeding: Seeding | None = field(
        default=None, metadata={"help": "how starts are made, in place of those above", "option": False}
    )
    synthesise_every: int = field(
        default=100, metadata={"help": "generations between syntheses of the front; 0: never", "fewest": 0}
    )
    members: int = field(default=16, metadata={"help": "members of the front at most", "fewest": 1})
    synthesised: int = field(
        default=24, metadata={"help": "circuits synthesised in the end, to choose members from", "fewest": 1}
    )
    keep: tuple[float, ...] = field(default=(), metadata={"help": "accuracies of which the smallest circuit stays"})
    simulate: tuple[str, ...] = field(
        default=SIMULATORS, metadata={"help": "simulators that every member must pass", "choices": SIMULATORS}
    )
    require_tools: bool = field(default=False, metadata={"help": "a missing simulator is an error, not a note"})
    timeout: float = field(default=600.0, metadata={"help": "seconds that a tool may take", "least": 0, "above": True})
    migration_every: int = field_of(GeneticOptions, "migration_every")
    migrants: int = field_of(GeneticOptions, "migrants")
    crossover: float = field_of(GeneticOptions, "crossover")
    crossover_shares: tuple[float, ...] = field_of(GeneticOptions, "crossover_shares")
    mutation: float = field_of(GeneticOptions, "mutation")
    mutation_weights: tuple[float, ...] = field_of(GeneticOptions, "mutation_weights")
    prune: float = field_of(GeneticOptions, "prune")
    archive: int = field_of(GeneticOptions, "archive")

    def __post_init__(self) -> None:
        """Refuse values that are not of the types of their fields."""
        settle_fields(self, "search")

    def genetic(self) -> GeneticOptions:
        """Return the options of the genetic search."""
        return GeneticOptions(**{f.name: getattr(self, f.name) for f in fields(GeneticOptions)})


def settled(given: Mapping[str, object], base: SearchSettings | None = None) -> SearchSettings:
    """Return *base* (the defaults) with what is *given*, every value of its type, objectives in their order, folds counted.

    Raises one :class:`OptionError` with everything that is wrong.
    """
    known = SearchSettings.__dataclass_fields__
    found: list[Problem] = []
    wanted: Keywords = {name: value for name, value in given.items() if name in known}
    asked = base or SearchSettings()
    try:
        asked = replace(asked, **wanted)
    except OptionError as error:  # values that are not of their types: the rest is looked at all the same
        found += error.problems
        wrong = {problem.where for problem in error.problems}
        asked = replace(asked, **{name: value for name, value in wanted.items() if name not in wrong})
    for name in ("max_accuracy_loss", "max_class_loss", "target_accuracy", "validation_share"):
        share: Value = getattr(asked, name)
        try:
            share = None if share is None else share_of(share, name)
        except OptionError as error:
            found += error.problems
            share = 0.0 if name == "validation_share" else known[name].default
        told: Keywords = {name: share}
        asked = replace(asked, **told)
    found += [
        Problem(name, f"there is no such option{suggestion(name, [*known])}") for name in given if name not in known
    ]
    try:
        asked.genetic()
    except OptionError as error:
        found += error.problems
    try:
        own = [f.name for f in fields(Seeding) if f.name in known]
        seeding = asked.seeding or Seeding(**{name: getattr(asked, name) for name in own})
        same: Keywords = {name: getattr(seeding, name) for name in own}
        asked = replace(asked, seeding=seeding, **same)
    except OptionError as error:
        found += error.problems
    try:
        chosen = chosen_objectives(asked.objectives, CIRCUIT)
        asked = replace(asked, objectives=tuple(objective.name for objective in chosen))
    except OptionError as error:
        found += error.problems
    try:
        asked = replace(asked, families=chosen_families(asked.families))
    except OptionError as error:
        found += error.problems
    validation_share = float(asked.validation_share)
    found += _problems(asked, validation_share)
    if found:
        raise OptionError("search", found)
    # without rows to put aside all folds would be the same search
    folds = 1 if not validation_share else asked.folds or min(FOLDS, int(1 / validation_share + 1e-9))
    return replace(asked, folds=folds)


def _problems(settings: SearchSettings, validation_share: float) -> list[Problem]:
    found = []
    fewest = {"jobs": 1, "folds": 1, "synthesise_every": 0, "members": 1, "synthesised": 1, "max_inputs": 1}
    for name, least in fewest.items():
        value = getattr(settings, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            found.append(Problem(name, f"{shown(repr(value), 40)} is no integer of {least} or more"))
    if not found and settings.folds and settings.folds > 1 and settings.folds * validation_share > 1 + 1e-9:
        why = f"{settings.folds} folds of {100 * validation_share:g} % are more than all training rows"
        found.append(
            Problem("folds", why, f"at most {int(1 / validation_share + 1e-9)}, or a smaller validation_share")
        )
    if validation_share > 0.9:
        found.append(
            Problem("validation_share", f"{validation_share:g} leaves too few rows to train on", "at most 90%")
        )
    found += [
        Problem("simulate", f"there is no simulator {shown(name)!r}", f"there are {', '.join(simulator_names())}")
        for name in settings.simulate
        if name not in simulator_names()
    ]
    return found


@dataclass(frozen=True, eq=False)
class Task:
    """A search that was asked for, and who wants to hear of it. ``settings``: as :func:`settled` gives them."""

    target: Printed
    passes: tuple[Pass, ...]
    settings: SearchSettings
    hooks: Hooks
    command: str
    clock: Clock

    @property
    def options(self) -> GeneticOptions:
        """Of the genetic search."""
        return self.settings.genetic()

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is made least, the errors first."""
        return chosen_objectives(self.settings.objectives, CIRCUIT)

    @property
    def target_accuracy(self) -> float | None:
        """What the chosen member must hold."""
        target = self.settings.target_accuracy
        return None if target is None else float(target)

    @property
    def recipes(self) -> tuple[str, ...]:
        """Families that are fitted by recipes."""
        return tuple(name for name in self.settings.families if name != GENETIC)

    @property
    def genetic(self) -> bool:
        """Whether masked networks are searched."""
        return GENETIC in self.settings.families

    @property
    def seeding(self) -> Seeding:
        """How starts are made."""
        return self.settings.seeding or Seeding()

    @property
    def jobs(self) -> int:
        """Workers of this machine."""
        return self.settings.jobs or len(os.sched_getaffinity(0))

    def spelled(self) -> str:
        """Return the line of the ledger for the search: every option that decides what comes out."""
        options = self.options
        told: dict[str, object] = {
            name: getattr(options, name) for name in ("population", "generations", "seed", "islands")
        }
        told["folds"] = self.settings.folds or 1
        told["max_accuracy_loss"] = options.max_accuracy_loss
        if options.max_class_loss is not None:
            told["max_class_loss"] = options.max_class_loss
        if self.settings.objectives != DEFAULT:
            told["objectives"] = "+".join(self.settings.objectives)
        return f"search{{{','.join(f'{name}={value}' for name, value in told.items())}}}"

    def spelled_recipes(self) -> str:
        """Return the line of the ledger for the families that are fitted by recipes, but for which of them it is."""
        return f"search{{seed={self.options.seed}}}"

    def asked(self) -> dict[str, object]:
        """Return everything that decides what the front is, as plain types, but the objectives, which it tells itself."""
        options = asdict(self.options)
        if options["max_class_loss"] is None:  # fronts without such a bound read as ever
            options.pop("max_class_loss")
        plain = Seeding()
        options.update(
            {
                f"seeding_{name}": value
                for name, value in asdict(self.seeding).items()
                if name not in _LATER or value != getattr(plain, name)
            }
        )
        if self.recipes:  # fronts of masked networks alone read as ever
            options["families"] = ",".join(self.settings.families)
        names = ("target_accuracy", "validation_share", "folds", "synthesise_every", "members", "synthesised", "keep")
        told = {**options, **{name: getattr(self.settings, name) for name in names}}
        if self.settings.max_inputs != SearchSettings.max_inputs:  # fronts of before it was there read alike
            told["max_inputs"] = self.settings.max_inputs
        return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}
