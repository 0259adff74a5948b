"""A front on disk: the members that a search found, what each of them costs, and how one of them is picked.

=======================  ===================================================================================
``front.json``           everything but genomes: model, data, options, members, accuracies; written last
``front.csv``            the members as a table, one a line
``front.npz``            ``genomes``: int32, one row a member, in the order of the table
``members/NN/``          one compiled design a member: what ``approxhw compile`` writes
``report.html``          the interactive page
``checkpoint/``          where the search stood last: what ``--resume`` starts from
=======================  ===================================================================================
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypedDict

import numpy as np

from approxhw.common.arguments import checked
from approxhw.common.data.arrays import read_npz
from approxhw.common.errors import InvalidDesignError, OptionError, Problem, shown
from approxhw.common.files import check_folder, of_pattern
from approxhw.common.option_fields import share_of as share_of  # callers know it by this place, too
from approxhw.ir.pass_manager import LedgerLine, PassRecord

from . import folder as vouched
from .design import Model
from .objectives import CIRCUIT, DEFAULT, Objective, chosen_objectives
from .results import AskedAccuracy, FamilySummary, Promise

CHECKPOINT = "checkpoint"
SEARCHED = tuple(f"{CHECKPOINT}/{place}{name}" for place in ("", "*/") for name in ("*.npz", "*.json", ".*.part"))
"""Patterns of what a search keeps to go on from."""
_FILES = ("front.json", "front.csv", "front.npz", "report.html")
_REMEDY = "search again, into another folder if this one is to be kept"
_DESIGN = re.compile(r"members/\d{2,4}")


@dataclass(frozen=True, eq=False)
class Member:
    """One circuit of a front. Accuracies are shares of rows, None where there are no such rows."""

    index: int
    train_accuracy: float
    """On the rows that the search optimised on."""
    validation_accuracy: float | None
    """On rows split off the training rows, which pick the winners."""
    test_accuracy: float | None
    """Reported, never used."""
    area_mm2: float
    """Synthesised."""
    estimated_area_mm2: float
    """What the model that guided the search thought."""
    power_mw: float
    """Over the training rows, static and dynamic."""
    delay_ms: float
    cells: int
    inputs: int
    """Features that the circuit still reads: each needs an analogue-to-digital converter."""
    converters_area_mm2: float
    converters_power_mw: float
    design: str
    """Its design folder, relative to the front's."""
    chosen: bool = False
    expected_accuracy: float | None = None
    """What it is expected to hold on rows never seen, by training rows alone (``dse/rules/decision_rule.py``)."""
    fold: int = 0
    """Which of the searches found it: each put other validation rows aside."""
    family: str = "mlp"
    """Of circuits: masked networks, or one of those that are fitted by recipes: ``validation_accuracy`` is its recipe's then."""
    recipe: str = ""
    """How it was fitted; empty for masked networks."""
    simulated: Mapping[str, int] = field(default_factory=dict)
    """Simulator → vectors on which hardware and Graph were equal."""

    @property
    def energy_uj(self) -> float:
        """Of one classification, in µJ: power times delay, since the circuit burns for as long as an answer takes."""
        return self.power_mw * self.delay_ms

    @property
    def system_area_mm2(self) -> float:
        """Of the circuit and of the converters of its inputs."""
        return self.area_mm2 + self.converters_area_mm2

    @property
    def system_power_mw(self) -> float:
        """Of the circuit and of the converters of its inputs."""
        return self.power_mw + self.converters_power_mw

    @property
    def accuracy(self) -> float:
        """What picks go by: the expected accuracy, else that on validation rows, else that on training rows."""
        known = (self.expected_accuracy, self.validation_accuracy, self.train_accuracy)
        return next(value for value in known if value is not None)


class FrontData(TypedDict, total=False):
    """The data set that a front was searched on."""

    name: str
    rows: Mapping[str, int]
    folds: int
    features: int
    sha256: str


@dataclass(frozen=True, eq=False)
class Front:
    """The members by rising cost, none of which another beats in every objective, and where they come from.

    The cost is the first objective beside the errors: the area, where nothing else was asked for.
    """

    name: str
    members: tuple[Member, ...]
    genomes: np.ndarray
    """int32, members × genes."""
    version: str
    model: Model
    """``title``, and ``sha256`` of its file."""
    data: FrontData
    """``name``; rows of each split; ``sha256`` of all of it."""
    onnx: Mapping[str, float | None]
    """Accuracy of the model before any approximation on ``train``, ``validation`` and ``test`` rows."""
    options: Mapping[str, object] = field(default_factory=dict)
    rule: str = ""
    """How ``chosen`` was chosen."""
    library: str = "egfet"
    evaluations: int = 0
    generations: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By step."""
    interrupted: bool = False
    bound_met: bool = True
    """Whether any member keeps within the accuracy that was asked for."""
    rank_correlation: float | None = None
    """Spearman's, of estimated with synthesised area over everything that was synthesised."""
    ledger: tuple[LedgerLine, ...] = ()
    history: tuple[Mapping[str, object], ...] = ()
    """What each generation reached."""
    command: str = ""
    warnings: tuple[str, ...] = ()
    objectives: tuple[str, ...] = DEFAULT
    """Names of what was searched for, the errors first."""
    majority: Mapping[str, float | None] = field(default_factory=dict)
    """What always answering the most frequent class of each split is worth; fronts of before do not say it."""
    promise: Promise | None = None
    """What the chosen member holds on rows never seen; None where folds cannot say it."""
    families: tuple[FamilySummary, ...] = ()
    """What each family came to; empty where masked networks alone were searched."""
    asked: tuple[AskedAccuracy, ...] = ()
    """What would be chosen for other accuracies, rising."""

    @property
    def costs(self) -> tuple[Objective, ...]:
        """The objectives beside the errors."""
        return tuple(CIRCUIT[name] for name in self.objectives[1:])

    @checked("cost")
    def cost(self, member: Member) -> float:
        """Return what *member* is sorted by."""
        return self.costs[0].value(member)

    @property
    def chosen(self) -> Member:
        """The member that the rule of the search chose."""
        return next(member for member in self.members if member.chosen)

    def knee(self) -> Member:
        """Return the member where accuracy stops being cheap.

        It is the one farthest above the straight line from the cheapest to the most accurate member, cost (area, by
        default) and accuracy both counted from 0 to 1 between these two; the cheaper of equals.
        """
        cost = self.cost
        first, last = self.members[0], max(self.members, key=lambda m: (m.accuracy, -cost(m)))
        width, height = cost(last) - cost(first), last.accuracy - first.accuracy
        if width <= 0 or height <= 0:
            return first
        above = [(m.accuracy - first.accuracy) / height - (cost(m) - cost(first)) / width for m in self.members]
        return self.members[int(np.argmax(np.round(above, 12)))]

    @checked("within")
    def within(self, loss: str | float) -> Member:
        """Return the smallest member that loses at most *loss* (``"5%"`` or 0.05, absolute) against the ONNX model.

        The member's is the expected one, the model's that on validation rows. Raises :class:`OptionError` where no
        member holds that.
        """
        share = share_of(loss, "within")
        split = "train" if self.members[0].validation_accuracy is None else "validation"
        reference = self.onnx[split]
        if reference is None:
            why = "the accuracy of the model itself is not known (onnxruntime cannot run it)"
            raise OptionError("front", [Problem("within", why, "use cheapest(accuracy=…)")])
        return self.cheapest(accuracy=reference - share)

    @checked("cheapest")
    def cheapest(
        self, *, accuracy: str | float | None = None, power_mw: float | None = None, converters: bool = False
    ) -> Member:
        """Return the smallest member of at least *accuracy* that needs at most *power_mw*.

        With *power_mw* alone: the most accurate member that this much power feeds. With neither: the smallest of all.
        *converters*: the power must feed the converters of the inputs, too. Raises :class:`OptionError` where there is
        no such member; it says what there is.
        """
        least = None if accuracy is None else share_of(accuracy, "accuracy", lowest=-1.0)
        fed = [m for m in self.members if power_mw is None or _power(m, converters) <= power_mw]
        if not fed:
            hungry = min(_power(m, converters) for m in self.members)
            why = f"no member works on {power_mw:g} mW; the thriftiest needs {hungry:.3g} mW"
            raise OptionError("front", [Problem("cheapest", why, "give more power")])
        if least is None:
            return fed[0] if power_mw is None else max(fed, key=lambda m: (m.accuracy, -self.cost(m)))
        held = [m for m in fed if m.accuracy >= least - 1e-12]
        if not held:
            best = max(m.accuracy for m in fed)
            why = f"no member holds an accuracy of {100 * least:.2f} %; the best one has {100 * best:.2f} %"
            raise OptionError("front", [Problem("cheapest", why, "ask for less, or search longer")])
        return held[0]

    @checked("pick")
    def pick(self, text: str | int) -> Member:
        """Return what *text* spells: ``knee``, ``chosen``, ``cheapest``, a number such as ``03``, or ``within:5%``."""
        text = str(text)
        word, _, value = text.strip().partition(":")
        if word == "within" and value:
            return self.within(value)
        if word in ("knee", "cheapest", "chosen") and not value:
            return self.chosen if word == "chosen" else self.knee() if word == "knee" else self.cheapest()
        if re.fullmatch(r"\d{1,4}", text.strip()):
            for member in self.members:
                if member.index == int(text):
                    return member
            why = f"there is no member {int(text)}; there are 0 to {len(self.members) - 1}"
            raise OptionError("front", [Problem("--pick", why)])
        why = f"{shown(text, 40)!r} is no pick"
        raise OptionError("front", [Problem("--pick", why, "knee, chosen, cheapest, within:5%, or a member's number")])


def _power(member: Member, converters: bool) -> float:
    return member.system_power_mw if converters else member.power_mw


@dataclass(frozen=True, kw_only=True)
class FrontRecord:
    """What ``front.json`` holds, key by key in this order: a front without its genomes."""

    format: str
    name: str
    members: tuple[Member, ...]
    version: str
    model: Model
    data: Mapping[str, object]
    onnx: Mapping[str, float | None]
    options: Mapping[str, object] = field(default_factory=dict)
    rule: str = ""
    library: str = "egfet"
    evaluations: int = 0
    generations: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    interrupted: bool = False
    bound_met: bool = True
    rank_correlation: float | None = None
    ledger: tuple[PassRecord, ...] = ()
    history: tuple[Mapping[str, object], ...] = ()
    command: str = ""
    warnings: tuple[str, ...] = ()
    objectives: tuple[str, ...] = DEFAULT
    majority: Mapping[str, float | None] = field(default_factory=dict)
    promise: Promise | None = None
    families: tuple[FamilySummary, ...] = ()
    asked: tuple[AskedAccuracy, ...] = ()
    files: Mapping[str, str]


def _needed(told: FrontRecord) -> tuple[str, ...]:
    """Return the files that every front has; raise ``ValueError`` where a member cannot be."""
    for member in told.members:
        _check_member(member)
    return ("front.csv", "front.npz")


FRONT = vouched.FolderFormat(
    name="approxhw front",
    version=1,
    record=FrontRecord,
    needed=_needed,
    later=SEARCHED,
    what="a front",
    missing="no front",
    make="make it with: approxhw search MODEL --data DATA -o FOLDER",
    again=_REMEDY,
    since="the search",
    file="front.json",
)


def check_front_output(folder: Path) -> None:
    """Raise :class:`OutputError` unless *folder* is free, empty, or a front with nothing foreign in it."""
    check_folder(folder, "a front", _ours)


def need_checkpoint(folder: Path, resume: bool) -> None:
    """Raise :class:`OptionError` where a search is to go on and *folder* holds no checkpoint."""
    if resume and not (folder / CHECKPOINT).is_dir():
        why = "there is no checkpoint of a search to go on from"
        raise OptionError("search", [Problem(str(folder), why, "leave --resume out, or name the folder of the search")])


def _ours(folder: Path) -> tuple[set[str], tuple[str, ...]]:
    """Return the files of the front in *folder* with those of its designs, and what else a search leaves there."""
    if not (folder / "front.json").exists() and (folder / CHECKPOINT).is_dir():
        return set(), SEARCHED  # a search that was killed before it had a front
    vouched.described_files(folder, FRONT)
    files = set(_FILES)
    for told in vouched.read_json(folder / FRONT.file)["members"]:
        if not _DESIGN.fullmatch(told["design"]):
            raise ValueError("a design outside the folder")
        files |= {f"{told['design']}/{name}" for name in design_files(folder / told["design"])}
    return files, SEARCHED


def design_files(folder: Path) -> set[str]:
    """Return what ``approxhw`` wrote into the design folder *folder*, relative to it."""
    from .design import described_design_files

    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    added = {name for name in there if any(of_pattern(name, pattern) for pattern in vouched.LATER)}
    return described_design_files(folder) | added | vouched.own_estimates(folder)


def write_front(front: Front, folder: Path) -> None:
    """Write the files of *front* into *folder*, where the designs are already; ``front.json`` comes last."""
    (folder / "front.csv").write_text(as_csv(front), encoding="utf-8")
    np.savez(folder / "front.npz", genomes=np.ascontiguousarray(front.genomes, dtype=np.int32))
    apart = {"format", "ledger", "files"}
    told = {f.name: getattr(front, f.name) for f in fields(FrontRecord) if f.name not in apart}
    ledger = tuple(PassRecord(**row) for row in front.ledger)
    record = FrontRecord(format=FRONT.text, ledger=ledger, files={}, **told)
    vouched.write_record(folder, FRONT, record, ("front.csv", "front.npz"))


def as_csv(front: Front) -> str:
    """Return the members as a table with one line of titles."""
    columns = [f.name for f in fields(Member) if f.name != "simulated"]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for member in front.members:
        values = [getattr(member, name) for name in columns]
        writer.writerow(["" if value is None else int(value) if isinstance(value, bool) else value for value in values])
    return stream.getvalue()


def is_engine_front(folder: Path) -> bool:
    """Whether *folder* says that the front of an engine's search is in it."""
    try:
        told = vouched.read_json(folder / FRONT.file)
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and str(told.get("format", "")).startswith("approxhw engine front")


def read_front(folder: Path) -> Front:
    """Return the Front in *folder*; raise :class:`InvalidDesignError` naming every file that is missing or altered."""
    if (folder / CHECKPOINT).is_dir() and not (folder / FRONT.file).exists():
        remedy = "the search was ended before it had a front: run it again with --resume"
        raise InvalidDesignError(str(folder), [Problem(FRONT.file, "no front", remedy)])
    if is_engine_front(folder):
        anew = "compile MODEL anew for another member, with the arithmetic or the plan (--layers) that front.json tells"
        remedy = f"open {folder / 'chosen'}; {anew}"
        raise InvalidDesignError(
            str(folder), [Problem(FRONT.file, "an engine's front holds its chosen member alone", remedy)]
        )

    def designs(told: FrontRecord) -> Iterator[Problem]:
        for member in told.members:
            place = folder / member.design
            if place.is_symlink() or place.parent.is_symlink():
                yield Problem(member.design, "it is a link: the design lies elsewhere", "open the design itself")
            elif not (place / "design.json").is_file():
                yield Problem(f"{member.design}/design.json", "the file is missing", _REMEDY)

    told = vouched.read_folder(folder, FRONT, designs)
    with vouched.fitting(folder, FRONT):
        return _front(told, read_npz(folder / "front.npz").arrays["genomes"])


def _check_member(member: Member) -> None:
    """Raise ``ValueError`` where *member* cannot be: anybody may have written it."""
    for f in fields(Member):
        value = getattr(member, f.name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"members[{member.index}].{f.name}: {value}")
    shares = [x for x in (member.train_accuracy, member.validation_accuracy, member.test_accuracy) if x is not None]
    if not _DESIGN.fullmatch(member.design) or min(shares) < 0 or max(shares) > 1 or member.area_mm2 < 0:
        raise ValueError(f"member {member.index}: it cannot be")


def _check_promises(front: Front) -> None:
    """Raise ``ValueError`` where what *front* promises cannot be."""
    promises = [each.promise for each in front.asked] + ([front.promise] if front.promise else [])
    shares = [each.target for each in front.asked] + [each.best for each in front.families]
    shares += [share for p in promises for share in (p.low, p.accuracy, p.high)]
    costs = [each.cost for each in front.asked] + [each.cost for each in front.families]
    if not all(0 <= share <= 1 for share in shares) or not all(0 <= cost < math.inf for cost in costs):
        raise ValueError("promise: it cannot be")
    if any(not p.low <= p.accuracy <= p.high for p in promises):
        raise ValueError("promise: it lies outside its interval")


def _front(told: FrontRecord, genomes: np.ndarray) -> Front:
    members, apart = told.members, {"genomes", "ledger"}
    kept = {f.name: getattr(told, f.name) for f in fields(Front) if f.name not in apart}
    front = Front(genomes=genomes, ledger=tuple(vouched.as_json(row) for row in told.ledger), **kept)
    try:
        known = tuple(objective.name for objective in chosen_objectives(front.objectives, CIRCUIT))
    except (OptionError, AttributeError) as error:
        raise ValueError(f"objectives: {shown(error, 80)}") from error
    if known != front.objectives or any(each.value(m) < 0 for each in front.costs for m in members):
        raise ValueError("objectives: they do not fit the members")
    costs = [front.cost(member) for member in members]
    if not members or costs != sorted(costs) or [m.index for m in members] != list(range(len(members))):
        raise ValueError(f"members: not by rising {known[1]}")
    if sum(member.chosen for member in members) != 1:
        raise ValueError("members: not one of them is chosen")
    if genomes.dtype != np.int32 or genomes.ndim != 2 or len(genomes) != len(members):
        raise ValueError("front.npz: not one genome a member")
    _check_promises(front)
    if not front.onnx.keys() >= {"train", "validation", "test"}:
        raise ValueError("onnx")
    rows = front.data["rows"]
    if not isinstance(rows, Mapping) or any(type(rows[split]) is not int for split in ("train", "validation", "test")):
        raise ValueError("data: rows")
    return front
