"""search(): options in, a front out; and fronts as Python sees them: members that compile into designs of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from approxhw.artifacts.design import Design, check_design_output, write_design
from approxhw.artifacts.front import Front, Member, check_front_output, need_checkpoint, read_front
from approxhw.common.arguments import checked, settle_fields, told
from approxhw.common.data.dataset import CLASSIFICATION, DataSpec, load_dataset, targets_a_row, task_of_targets
from approxhw.common.errors import OptionError, Problem, UnsupportedModelError, shown
from approxhw.common.files import locked
from approxhw.common.option_fields import Value
from approxhw.common.options import Keywords
from approxhw.flow.printed.building import designed
from approxhw.flow.printed.compiled import CompiledDesign, open_design
from approxhw.flow.printed.target import Printed
from approxhw.flow.stages.describe import header_of
from approxhw.flow.stages.protocol import Clock
from approxhw.flow.stages.targets import target_of
from approxhw.frontends.classifier import Classifier, open_classifier
from approxhw.ir.evaluation import task_of
from approxhw.ir.graph import Graph, titled
from approxhw.ir.kinds import Forest
from approxhw.ir.pass_manager import Pass, PassesSpec, passes_of

from .evolve import Hooks
from .families.registry import GENETIC
from .rows.split_rows import search_rows
from .run import make_front
from .settings import SearchSettings, Task, settled
from .targets import SomeFront, search_target


@checked("search")
def search(
    model: object,
    *,
    data: DataSpec,
    output: str | Path | None = None,
    target: object = None,
    passes: PassesSpec | None = None,
    settings: SearchSettings | None = None,
    command: str = "",
    hooks: Hooks | None = None,
    on_step: Callable[[str, float], None] | None = None,
    **options: object,
) -> SomeFront:
    """Search for the smallest circuits that still do the job of *model*; write the front, and return it (:class:`SearchResult`).

    A ``target`` that is no :class:`Printed`, such as ``MatrixEngine``, is searched as :func:`approxhw.search_engine` does it,
    with options of its own.

    ``model``, ``data``, ``output``, ``target``, ``passes``: as :func:`approxhw.compile`; the passes (``printed-po2`` by
    default) give the masked network that is searched. ``options``: fields of
    :class:`approxhw.dse.settings.SearchSettings`, in place of those of *settings* (the defaults), such as ``objectives``,
    ``population``, ``generations``, ``seed``, ``islands``. Some of them:

    ``families``: ``"mlp,tree"``, a tuple of :data:`approxhw.dse.families.registry.NAMES`, or ``"all"``: of which circuits are.
    ``objectives``: ``"errors,area"`` or a tuple, two or three of :data:`approxhw.artifacts.objectives.CIRCUIT`.
    ``widen``: hidden layers are so many times as wide as the model's: what is not worth its area is dropped again.
    ``max_accuracy_loss``: absolute, against the model on training rows. ``target_accuracy``: the member that is expected
    to hold it is marked as chosen; of each accuracy in ``keep`` the one that is so stays, too. ``validation_share``: of
    the training rows, picks the winners; ``folds``: as many searches share the population, each puts other rows aside (4, or as
    many as the share allows).
    ``seeding``: how starts are made. ``synthesised``: circuits of which the front,
    of at most ``members``, is chosen. ``jobs``, ``scheduler``: who works; the front does not depend on it. ``resume``: go
    on from the checkpoint in *output*. Raises errors of :mod:`approxhw.common.errors`; a front that was there is replaced only
    when the new one is whole.
    """
    # the plain name means what is searched without any: circuits of powers of two
    plain = target is None or (isinstance(target, str) and target == "printed")
    target = Printed(pipeline="printed-po2") if plain else target_of(target, "search")
    if (entry := getattr(target, "search_problem", None)) is not None:
        given = {"data": data, "output": output, "command": command, **options}
        return _search_target(entry, model, target, passes, settings, hooks or Hooks(), **given)
    if not isinstance(target, Printed):
        why = f"{told(target)} cannot be searched for"
        raise OptionError("search", [Problem("target", why, "compile it, or search ax.Printed() or ax.MatrixEngine()")])
    asked = settled(options, settings)
    with (clock := Clock(on_step)).step("read"):
        opened = open_classifier(model)
        graph = opened.graph
        refuse_regressor(opened, data)
        refuse_trees(graph, asked.families)
    folder = Path(output) if output is not None else Path("build") / f"{graph.name}-front"
    with locked(folder):
        check_front_output(folder)
        need_checkpoint(folder, asked.resume)
        with clock.step("data"):
            loaded = load_dataset(data, graph.input.type.elements, graph.classes, graph.labels)
            rows = search_rows(loaded, graph, float(asked.validation_share), asked.seed, asked.folds or 1)
        graph = titled(graph, rows.data.features)
        todo = passes_of(passes) if passes is not None else widened_passes(target.passes(), asked.widen)
        task = Task(target, todo, asked, hooks or Hooks(), command, clock)
        return SearchResult(folder, make_front(task, opened, graph, rows, folder))


def refuse_regressor(model: Classifier, data: DataSpec) -> None:
    """Raise :class:`UnsupportedModelError` where *model* names no class: by its own word, or by that of the targets in *data*."""
    task = task_of(model.graph)
    doubtful = model.reading is not None and model.reading.doubtful
    scores = model.graph[model.graph[model.graph.output].inputs[0]].type.elements if doubtful else 0
    if doubtful and (scores == 1 or targets_a_row(data) > 1):
        task = task_of_targets(data) or task
    if task != CLASSIFICATION:
        why = f"a search trains classifiers; this is for {task}"
        remedy = "compile it: approxhw compile MODEL --data DATA"
        raise UnsupportedModelError(shown(model.title), [Problem("model", why, remedy)])


def refuse_trees(graph: Graph, families: Sequence[str]) -> None:
    """Raise :class:`OptionError` where *graph* is of trees, and masked networks are among *families*."""
    if GENETIC in families and any(isinstance(node.op, Forest) for node in graph.nodes):
        others = ",".join(name for name in families if name != GENETIC) or "tree,forest,gates"
        why = f"{GENETIC} makes networks cheaper, and this model is of trees"
        raise OptionError("search", [Problem("families", why, f"--families {others}")])


def _search_target(
    entry: str, model: object, target: object, passes: object, settings: object, hooks: Hooks, **given: object
) -> SomeFront:
    """Search what *target* is searched by; raise :class:`OptionError` for what is for circuits alone."""
    circuit = [name for name, value in (("passes", passes), ("settings", settings)) if value is not None]
    if circuit:
        why = f"is for circuits; {type(target).__name__} is searched with options of its own"
        raise OptionError("search", [Problem(name, why, "leave it out") for name in circuit])
    told: Keywords = {"on_progress": hooks.on_progress, "stop": hooks.stop, "hooks": hooks}
    return search_target(entry, model, target=target, **{**told, **given})


def widened_passes(passes: Sequence[Pass], widen: float) -> tuple[Pass, ...]:
    """Return *passes* with retraining that makes hidden layers *widen* times as wide, where they do not say so themselves."""
    from approxhw.passes.retrain.power_of_two import PowerOfTwo

    return tuple(
        replace(item, widen=widen) if isinstance(item, PowerOfTwo) and item.hidden is None else item for item in passes
    )


@dataclass(frozen=True, eq=False)
class SearchResult:
    """A front as Python sees it: ``folder`` on disk, ``front`` what stands in it."""

    folder: Path
    front: Front

    def __post_init__(self) -> None:
        """Refuse values that are not of the types of their fields."""
        settle_fields(self, "SearchResult")

    @property
    def members(self) -> tuple[FoundMember, ...]:
        """All members, by rising area, or what else was searched for first beside the errors."""
        return tuple(FoundMember(self.folder, member) for member in self.front.members)

    @property
    def chosen(self) -> FoundMember:
        """The member that the rule of the search chose (``front.rule``)."""
        return FoundMember(self.folder, self.front.chosen)

    def knee(self) -> FoundMember:
        """Return the member where accuracy stops being cheap: :meth:`approxhw.artifacts.front.Front.knee`."""
        return FoundMember(self.folder, self.front.knee())

    @checked("within")
    def within(self, loss: str | float) -> FoundMember:
        """Return the smallest member within *loss* (``"5%"`` or 0.05) of the model: :meth:`Front.within`."""
        return FoundMember(self.folder, self.front.within(loss))

    @checked("cheapest")
    def cheapest(
        self, *, accuracy: str | float | None = None, power_mw: float | None = None, converters: bool = False
    ) -> FoundMember:
        """Return the smallest member that holds what is wanted: :meth:`approxhw.artifacts.front.Front.cheapest`."""
        found = self.front.cheapest(accuracy=accuracy, power_mw=power_mw, converters=converters)
        return FoundMember(self.folder, found)

    @checked("pick")
    def pick(self, text: str | int) -> FoundMember:
        """Return what *text* spells, such as ``knee`` or ``within:5%``: :meth:`approxhw.artifacts.front.Front.pick`."""
        return FoundMember(self.folder, self.front.pick(text))

    def report(self) -> Path:
        """Write ``report.html`` anew; return its path."""
        from approxhw.report import write_front_page

        path = self.folder / "report.html"
        with locked(self.folder):
            write_front_page(path, self.front, str(self.folder))
        return path

    def as_json(self) -> dict[str, object]:
        """Return what ``--json`` prints: the members, the chosen one, evaluations and seconds."""
        members = [found.as_json() for found in self.members]
        front = self.front
        return {
            "output": str(self.folder),
            "front": members,
            "chosen": next(told for told in members if told["chosen"]),
            "knee": members[front.knee().index],
            "rule": front.rule,
            "promise": None if front.promise is None else asdict(front.promise),
            "families": [asdict(each) for each in front.families],
            "asked": [asdict(each) for each in front.asked],
            "onnx": dict(front.onnx),
            "majority": dict(front.majority),
            "objectives": list(front.objectives),
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

    def __getattr__(self, name: str) -> Value:
        """Return what the member knows: ``accuracy``, ``area_mm2``, ``power_mw``, ``inputs`` and so on."""
        if name.startswith("_") or name == "member":
            raise AttributeError(name)
        return getattr(self.member, name)

    @property
    def design(self) -> CompiledDesign:
        """The design that was compiled of it, in ``members/`` of the front."""
        return open_design(self.folder / self.member.design)

    @checked("compile")
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
        with locked(folder):
            check_design_output(folder)
            if registers:
                design = registered(design)
            design = replace(design, command=command or design.command, library=library or design.library)
            write_design(design, folder)
        return CompiledDesign(folder, design)

    def as_json(self) -> dict[str, object]:
        """Return its figures as plain types; ``design`` is the path of its design folder."""
        told = {f.name: getattr(self.member, f.name) for f in fields(self.member)}
        return {
            **told,
            "energy_uj": self.member.energy_uj,
            "system_area_mm2": self.member.system_area_mm2,
            "system_power_mw": self.member.system_power_mw,
            "simulated": dict(self.member.simulated),
            "design": str(self.folder / self.member.design),
        }


def registered(design: Design) -> Design:
    """Return *design* with registered input and output; rows and figures of accuracy stay."""
    spelled = [str(row["spelled"]) for row in design.ledger]
    header = header_of(design.graph, None, Printed(), spelled)
    made = designed(design.graph, None, {"train": None, "test": None}, header=header, registers=True)
    changed = ("top", "modules", "inputs", "outputs", "clock", "latency")
    return replace(design, **{name: getattr(made, name) for name in changed})


@checked("open_front")
def open_front(folder: str | Path) -> SearchResult:
    """Return the front in *folder*; raise :class:`~approxhw.common.errors.InvalidDesignError` where there is no whole one."""
    return SearchResult(Path(folder), read_front(Path(folder)))
