"""What the flow asks of a target, stage by stage: one :class:`Flow` a target, and what is handed from stage to stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from approxhw.common.data.dataset import DataSpec
from approxhw.common.errors import Problem
from approxhw.common.files import unwritable
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import LedgerLine, Pass, PassContext, passes_of

from .safety import SafetyOptions

if TYPE_CHECKING:
    from approxhw.artifacts.design import Model

Progress = Callable[[str, float], None]
"""Called with the name of a step and the share of it that is done (0 … 1)."""

Ledger = Sequence[LedgerLine]
"""Of each pass what :class:`~approxhw.ir.pass_manager.PassRecord` tells, as plain types."""

Steps = Sequence[tuple[str, Graph]]
"""The Graph after every pass, by the file that it is kept in; the first is before any."""

Option = Any
"""What a keyword of ``simulate`` or ``estimate`` holds: each target has its own, and its functions say their types."""

Result = Any
"""What a target's own functions return where only its name is known here: verdicts, costs and folders of its own types."""


class Target(Protocol):
    """What every target is: a frozen dataclass whose fields are its options; ``name`` in the registry."""

    def passes(self) -> Sequence[Pass]:
        """Return the passes that make of the model's Graph what the target builds; the user's ``--passes`` replace them."""
        ...


T = TypeVar("T", bound=Target)
"""A target."""
T_co = TypeVar("T_co", bound=Target, covariant=True)
"""The same where it is only read: what serves whatever target takes ``Asked[Target]``."""
S = TypeVar("S")
"""What a target keeps of a model from reading to building."""
D = TypeVar("D")
"""What stands in the folder of a target: its design."""


@dataclass
class Clock:
    """Seconds by step, and who wants to hear of them."""

    tell: Progress | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def part(self, name: str) -> Callable[[int, int], None]:
        """Return what hears how many parts of step *name* are done, of how many."""
        tell = self.tell
        return lambda done, total: None if tell is None else tell(name, done / max(1, total))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block as step *name*."""
        if self.tell:
            self.tell(name, 0.0)
        started = time.perf_counter()
        try:
            yield
        except OSError as error:  # a full disk under temporary files, say
            raise unwritable(Path(error.filename or f"temporary files of {name}"), error) from error
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
        if self.tell:
            self.tell(name, 1.0)


@dataclass(frozen=True)
class Asked(Generic[T_co]):
    """What ``compile`` was asked for. ``shape``: sizes of open inputs by name; ``given``: passes in place of the target's."""

    model: object
    target: T_co
    data: DataSpec | None = None
    shape: Mapping[str, Sequence[int]] | None = None
    given: tuple[Pass, ...] | None = None
    threads: int = 1
    command: str = ""
    safety: SafetyOptions = field(default_factory=SafetyOptions)

    @property
    def passes(self) -> tuple[Pass, ...]:
        """What is run."""
        return passes_of(self.target.passes()) if self.given is None else self.given


@dataclass(frozen=True)
class Source(Generic[S]):
    """A model that was read: its Graph before any pass, its title and digest, the name of its folder, and what is kept of it."""

    graph: Graph
    about: Model
    name: str
    kept: S


@dataclass(frozen=True)
class Lowered:
    """What the passes made. ``spelled``: of each; ``ledger``: what each did; ``folder``: where the design goes.

    ``graphs``: the Graph before any pass, and after each.
    """

    graph: Graph
    spelled: tuple[str, ...]
    ledger: tuple[LedgerLine, ...]
    folder: Path
    graphs: tuple[Graph, ...] = ()

    @property
    def approximated(self) -> tuple[tuple[str, Graph], ...]:
        """Every pass that is not exact, as it is spelled, and the Graph after it."""
        if len(self.graphs) != 1 + len(self.ledger):
            return ()
        after = zip(self.ledger, self.graphs[1:], strict=True)
        return tuple((str(line["spelled"]), graph) for line, graph in after if line["kind"] != "exact")


class Compiled(Protocol):
    """The folder of a design, whatever the target, and what can be done with it."""

    @property
    def folder(self) -> Path:
        """Where it stands."""
        ...

    def simulate(self, simulator: str = "verilator", **options: Option) -> Result:
        """Prove its Verilog equal to its Graph on *simulator*; *options* and result are the target's."""
        ...

    def estimate(self, library: str | Path | None = None, **options: Option) -> Result:
        """Measure area, power and delay; *options* and result are the target's."""
        ...

    def report(self) -> Path:
        """Write ``report.html`` from all that is known so far; return its path."""
        ...

    def summary(self) -> dict[str, object]:
        """Return all that is known so far as plain types: what ``--json`` prints."""
        ...


@dataclass(frozen=True)
class Flow(Generic[T, S, D]):
    """How the flow serves one target; its class names it as ``flow``, ``module:NAME``, and nobody imports it before.

    In the order of the flow:

    ``check``: everything that keeps a model from being compiled; ``counts``: what of it is compiled.
    ``sane``: raises where the target itself cannot be built.
    ``read``: opens the model, once. ``free``: raises unless the folder may be written.
    ``prepare``: reads rows, runs the reference. ``settle``: what is asked for, where the model itself says more of it.
    ``context``: what passes may look at.
    ``build``: the design of the lowered Graph. ``write``: puts it into its folder, steps too.
    ``open``: what stands in a folder; ``kept``: the model and the ledger of the design in a folder.
    """

    check: Callable[[Asked[T]], list[Problem]]
    counts: Callable[[Asked[T]], Mapping[str, int]]
    read: Callable[[Asked[T]], Source[S]]
    free: Callable[[Path], None]
    context: Callable[[Source[S], Asked[T]], PassContext]
    build: Callable[[Source[S], Asked[T], Lowered, Clock], D]
    write: Callable[[D, Path, Steps], Compiled]
    open: Callable[[Path], Compiled]
    kept: Callable[[Path], tuple[Model, Ledger]]
    sane: Callable[[T], None] = lambda target: None
    prepare: Callable[[Source[S], Asked[T], Clock], Source[S]] = lambda source, asked, clock: source
    settle: Callable[[Source[S], Asked[T]], Asked[T]] = lambda source, asked: asked


SomeFlow = Flow[Target, object, object]
"""The flow of whichever target: what its stages make is handed on to its later stages, and to nobody else."""
