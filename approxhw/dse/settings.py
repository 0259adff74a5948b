"""What a search was asked for: its settings, and the task that every part of it is handed."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from approxhw.flow.compile import Clock, Printed
from approxhw.ir.pass_manager import Pass
from approxhw.sim.simulators.registry import SIMULATORS

from .evolve import Hooks

if TYPE_CHECKING:
    from approxhw.dse.genetic.evolution import SearchOptions
    from approxhw.dse.genetic.seeding import Seeding


@dataclass(frozen=True)
class Settings:
    """What a search is asked for besides the options of the genetic search itself (``SearchOptions``)."""

    jobs: int | None = field(
        default=None, metadata={"help": "workers; one a core by default", "fewest": 1, "shown_default": "cores"}
    )
    scheduler: str | None = field(default=None, metadata={"help": "Dask scheduler, tcp://host:port"})
    resume: bool = field(default=False, metadata={"help": "go on from the checkpoint in the output folder"})
    target_accuracy: float | None = field(
        default=None, metadata={"help": "what the chosen member must hold", "unit": "share"}
    )
    validation_share: float = field(
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
    synthesise_every: int = field(
        default=100, metadata={"help": "generations between syntheses of the front; 0: never", "fewest": 0}
    )
    members: int = field(default=16, metadata={"help": "members of the front at most", "fewest": 1})
    synthesised: int = field(
        default=24, metadata={"help": "circuits synthesised in the end, to choose members from", "fewest": 1}
    )
    keep: tuple[float, ...] = field(default=(), metadata={"help": "accuracies of which the smallest circuit stays"})
    seeding: Seeding | None = field(
        default=None, metadata={"help": "how starts are made; the default way where None", "option": False}
    )
    simulate: tuple[str, ...] = field(
        default=SIMULATORS, metadata={"help": "simulators that every member must pass", "choices": SIMULATORS}
    )
    require_tools: bool = field(default=False, metadata={"help": "a missing simulator is an error, not a note"})
    timeout: float = field(default=600.0, metadata={"help": "seconds that a tool may take", "least": 0, "above": True})


@dataclass(frozen=True, eq=False)
class Task:
    """A search that was asked for, and who wants to hear of it."""

    target: Printed
    passes: tuple[Pass, ...]
    options: SearchOptions
    settings: Settings
    hooks: Hooks
    command: str
    clock: Clock

    @property
    def seeding(self) -> Seeding:
        """How starts are made."""
        from approxhw.dse.genetic.seeding import Seeding

        return self.settings.seeding or Seeding()

    @property
    def jobs(self) -> int:
        """Workers of this machine."""
        return self.settings.jobs or len(os.sched_getaffinity(0))

    def spelled(self) -> str:
        """Return the line of the ledger for the search: every option that decides what comes out."""
        options = self.options
        told: dict[str, Any] = {
            name: getattr(options, name) for name in ("population", "generations", "seed", "islands")
        }
        told["folds"] = self.settings.folds or 1
        told["max_accuracy_loss"] = options.max_accuracy_loss
        return f"search{{{','.join(f'{name}={value}' for name, value in told.items())}}}"

    def asked(self) -> dict[str, Any]:
        """Return everything that decides what the front is, as plain types."""
        options = {name: getattr(self.options, name) for name in self.options.__dataclass_fields__}
        options.update({f"seeding_{name}": value for name, value in asdict(self.seeding).items()})
        names = ("target_accuracy", "validation_share", "folds", "synthesise_every", "members", "synthesised", "keep")
        told = {**options, **{name: getattr(self.settings, name) for name in names}}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}
