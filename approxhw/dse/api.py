"""search(): options in, a front out; and fronts as Python sees them: members that compile into designs of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from approxhw.artifacts.design import Design, check_output, write_design
from approxhw.artifacts.front import CHECKPOINT, Front, Member, check_front_output, read_front, share_of
from approxhw.common.dataset import load_dataset
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.flow.compile import Clock, CompiledDesign, Printed, designed, header_of, open_design, read
from approxhw.ir.graph import Graph, titled
from approxhw.ir.pass_manager import Pass
from approxhw.sim.simulators.registry import SIMULATORS, simulator_names

from .evolve import Hooks
from .run import make_front
from .settings import Settings, Task
from .split_rows import search_rows

FOLDS = 4
"""Searches that put other rows aside each, where nothing else is asked for."""

if TYPE_CHECKING:
    from approxhw.dse.genetic.evolution import SearchOptions
    from approxhw.dse.genetic.seeding import Seeding


def search(
    model: Any,
    *,
    data: Any,
    output: str | Path | None = None,
    target: Printed | None = None,
    passes: Sequence[Pass] | None = None,
    widen: float = 2.0,
    max_accuracy_loss: str | float = 0.05,
    target_accuracy: str | float | None = None,
    keep: Sequence[float] = (),
    validation_share: str | float = 0.2,
    folds: int | None = None,
    jobs: int | None = None,
    scheduler: str | None = None,
    resume: bool = False,
    synthesise_every: int = 100,
    members: int = 16,
    synthesised: int = 24,
    seeding: Seeding | None = None,
    simulate: Sequence[str] = SIMULATORS,
    require_tools: bool = False,
    timeout: float = 600.0,
    command: str = "",
    hooks: Hooks | None = None,
    on_step: Callable[[str, float], None] | None = None,
    **options: Any,
) -> SearchResult:
    """Search for the smallest circuits that still do the job of *model*; write the front, and return it.

    ``model``, ``data``, ``output``, ``target``, ``passes``: as :func:`approxhw.compile`; the passes (``printed-po2`` by
    default) give the masked network that is searched, its hidden layers *widen* times as wide as the model's: what is not
    worth its area is dropped again. ``options``: fields of
    :class:`approxhw.dse.genetic.evolution.SearchOptions`, such as ``population``, ``generations``, ``seed``, ``islands``.
    ``max_accuracy_loss``: absolute, against the model on training rows. ``target_accuracy``: the member that is expected
    to hold it is marked as chosen; of each accuracy in ``keep`` the one that is so stays, too. ``validation_share``: of
    the training rows, picks the winners; ``folds``: as many searches share the population, each puts other rows aside (4, or as
    many as the share allows).
    ``seeding``: how starts are made. ``synthesised``: circuits of which the front,
    of at most ``members``, is chosen. ``jobs``, ``scheduler``: who works; the front does not depend on it. ``resume``: go
    on from the checkpoint in *output*. Raises errors of :mod:`approxhw.common.errors`; a front that was there is replaced only
    when the new one is whole.
    """
    shares = {"max_accuracy_loss": max_accuracy_loss, "target_accuracy": target_accuracy}
    shares["validation_share"] = validation_share
    settings = Settings(
        jobs=jobs,
        scheduler=scheduler,
        resume=resume,
        synthesise_every=synthesise_every,
        folds=folds,
        members=members,
        synthesised=synthesised,
        keep=tuple(keep),
        seeding=seeding,
        simulate=tuple(simulate),
        require_tools=require_tools,
        timeout=timeout,
    )
    asked, settings = _asked(options, shares, settings)
    with (clock := Clock(on_step)).step("read"):
        graph = model if isinstance(model, Graph) else read(model)
    folder = Path(output) if output is not None else Path("build") / f"{graph.name}-front"
    check_front_output(folder)
    if settings.resume and not (folder / CHECKPOINT).is_dir():
        why = "there is no checkpoint of a search to go on from"
        raise OptionError("search", [Problem(str(folder), why, "leave --resume out, or name the folder of the search")])
    with clock.step("data"):
        loaded = load_dataset(data, graph.input.type.elements, graph.classes, graph.labels)
        rows = search_rows(loaded, graph, settings.validation_share, asked.seed, settings.folds or 1)
    graph = titled(graph, rows.data.features)
    target = target or Printed(pipeline="printed-po2")
    todo = tuple(passes) if passes is not None else widened(target.passes(), widen)
    task = Task(target, todo, asked, settings, hooks or Hooks(), command, clock)
    return SearchResult(folder, make_front(task, model, graph, rows, folder))


def widened(passes: Sequence[Pass], widen: float) -> tuple[Pass, ...]:
    """Return *passes* with retraining that makes hidden layers *widen* times as wide, where they do not say so themselves."""
    from approxhw.passes.retrain.power_of_two import PowerOfTwo

    return tuple(
        replace(item, widen=widen) if isinstance(item, PowerOfTwo) and item.hidden is None else item for item in passes
    )


def _asked(options: Mapping[str, Any], shares: Mapping[str, Any], settings: Settings) -> tuple[SearchOptions, Settings]:
    """Return the options as their types; raise one :class:`OptionError` with everything that is wrong with them."""
    from approxhw.common.options import suggestion
    from approxhw.dse.genetic.evolution import SearchOptions

    found: list[Problem] = []
    read_shares: dict[str, float] = {}
    for name, value in shares.items():
        try:
            if value is not None:
                read_shares[name] = share_of(value, name)
        except OptionError as error:
            found += error.problems
    known = SearchOptions.__dataclass_fields__
    unknown = [name for name in options if name not in known]
    found += [Problem(name, f"there is no such option{suggestion(name, [*known])}") for name in unknown]
    given = {name: value for name, value in options.items() if name in known}
    asked = None
    try:
        asked = SearchOptions(**given, max_accuracy_loss=read_shares.get("max_accuracy_loss", 0.05))
    except OptionError as error:
        found += error.problems
    found += _setting_problems(settings, read_shares.get("validation_share", 0.0))
    if found or asked is None:
        raise OptionError("search", found)
    share = read_shares.get("validation_share", settings.validation_share)
    target = read_shares.get("target_accuracy", settings.target_accuracy)
    # without rows to put aside all folds would be the same search
    folds = 1 if not share else settings.folds or min(FOLDS, int(1 / share + 1e-9))
    return asked, replace(settings, validation_share=share, target_accuracy=target, folds=folds)


def _setting_problems(settings: Settings, validation_share: float) -> list[Problem]:
    found = []
    for name, least in (("jobs", 1), ("folds", 1), ("synthesise_every", 0), ("members", 1), ("synthesised", 1)):
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
class SearchResult:
    """A front as Python sees it: ``folder`` on disk, ``front`` what stands in it."""

    folder: Path
    front: Front

    @property
    def members(self) -> tuple[FoundMember, ...]:
        """All members, by rising area."""
        return tuple(FoundMember(self.folder, member) for member in self.front.members)

    @property
    def chosen(self) -> FoundMember:
        """The member that the rule of the search chose (``front.rule``)."""
        return FoundMember(self.folder, self.front.chosen)

    def knee(self) -> FoundMember:
        """Return the member where accuracy stops being cheap: :meth:`approxhw.artifacts.front.Front.knee`."""
        return FoundMember(self.folder, self.front.knee())

    def within(self, loss: str | float) -> FoundMember:
        """Return the smallest member within *loss* (``"5%"`` or 0.05) of the model: :meth:`Front.within`."""
        return FoundMember(self.folder, self.front.within(loss))

    def cheapest(self, **wanted: Any) -> FoundMember:
        """Return the smallest member that holds what is *wanted*: :meth:`approxhw.artifacts.front.Front.cheapest`."""
        return FoundMember(self.folder, self.front.cheapest(**wanted))

    def pick(self, text: str) -> FoundMember:
        """Return what *text* spells, such as ``knee`` or ``within:5%``: :meth:`approxhw.artifacts.front.Front.pick`."""
        return FoundMember(self.folder, self.front.pick(text))

    def report(self) -> Path:
        """Write ``report.html`` anew; return its path."""
        from approxhw.report import write_front_page

        path = self.folder / "report.html"
        write_front_page(path, self.front, str(self.folder))
        return path

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints: the members, the chosen one, evaluations and seconds."""
        members = [found.as_json() for found in self.members]
        front = self.front
        return {
            "output": str(self.folder),
            "front": members,
            "chosen": next(told for told in members if told["chosen"]),
            "knee": members[front.knee().index],
            "rule": front.rule,
            "onnx": dict(front.onnx),
            "bound_met": front.bound_met,
            "interrupted": front.interrupted,
            "generations": front.generations,
            "evaluations": front.evaluations,
            "rank_correlation": front.rank_correlation,
            "seconds": sum(front.seconds.values()),
            "seconds_by_step": dict(front.seconds),
            "warnings": list(front.warnings),
        }


@dataclass(frozen=True, eq=False)
class FoundMember:
    """A member of the front in ``folder``, and the way to its design."""

    folder: Path
    member: Member

    def __getattr__(self, name: str) -> Any:
        """Return what the member knows: ``accuracy``, ``area_mm2``, ``power_mw``, ``inputs`` and so on."""
        if name.startswith("_") or name == "member":
            raise AttributeError(name)
        return getattr(self.member, name)

    @property
    def design(self) -> CompiledDesign:
        """The design that was compiled of it, in ``members/`` of the front."""
        return open_design(self.folder / self.member.design)

    def compile(
        self,
        output: str | Path | None = None,
        *,
        registers: bool = False,
        library: str | None = None,
        command: str = "",
    ) -> CompiledDesign:
        """Write its design to a folder of its own, ``build/<name>`` by default, to be simulated and measured there.

        *registers*: registered input and output; *library*: cells of later estimates, those of the search by default.
        """
        design = self.design.design
        folder = Path(output) if output is not None else Path("build") / design.name
        check_output(folder)
        if registers:
            design = registered(design)
        design = replace(design, command=command or design.command, library=library or design.library)
        write_design(design, folder)
        return CompiledDesign(folder, design)

    def as_json(self) -> dict[str, Any]:
        """Return its figures as plain types; ``design`` is the path of its design folder."""
        told = {f.name: getattr(self.member, f.name) for f in fields(self.member)}
        return {**told, "simulated": dict(self.member.simulated), "design": str(self.folder / self.member.design)}


def registered(design: Design) -> Design:
    """Return *design* with registered input and output; rows and figures of accuracy stay."""
    spelled = [str(row["spelled"]) for row in design.ledger]
    header = header_of(design.graph, None, Printed(), spelled)
    made = designed(design.graph, None, {"train": None, "test": None}, header=header, registers=True)
    changed = ("top", "modules", "inputs", "output", "output_bits", "clock", "latency")
    return replace(design, **{name: getattr(made, name) for name in changed})


def open_front(folder: str | Path) -> SearchResult:
    """Return the front in *folder*; raise :class:`~approxhw.common.errors.InvalidDesignError` where there is no whole one."""
    return SearchResult(Path(folder), read_front(Path(folder)))
