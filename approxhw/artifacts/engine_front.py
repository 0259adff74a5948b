"""The front of an engine's search on disk: members by rising cost, the chosen one compiled, ``front.json`` written last.

==================  ==============================================================================
``front.json``      everything: members, options, elements, history
``front.csv``       the members as a table, one a line
``chosen/``         the compiled engine of the chosen member
``report.html``     the interactive page
``checkpoint/``     where the search stood last: what ``--resume`` starts from
==================  ==============================================================================
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from approxhw.common.arguments import settle_fields
from approxhw.common.files import check_folder, write_beside
from approxhw.common.version import __version__

from . import folder as vouched
from .engine import ENGINE as ENGINE_FOLDER
from .folder import json_text, read_json
from .front import CHECKPOINT, SEARCHED
from .integer_engine import INTEGER_ENGINE, is_integer_engine
from .objectives import DEFAULT, ENGINE, Objective

FORMAT = "approxhw engine front 2"


@dataclass(frozen=True)
class EngineMember:
    """A point of the front: arithmetic by layer, accuracies on the rows of each split, and cost."""

    index: int
    layers: Mapping[str, str]
    search_accuracy: float
    validation_accuracy: float
    test_accuracy: float
    cost: float
    """What it is sorted by: of the first objective beside the errors."""
    area_um2: float
    """Of one element of each arithmetic that is used; of an integer engine's one element, which holds all its operators."""
    energy_nj: float
    """Of the multiply-adds of one run; of an integer engine's products in one inference."""
    arithmetics: tuple[str, ...]
    chosen: bool = False
    power_mw: float = 0.0
    """Of one element of each arithmetic that is used, at the clock."""
    delay_ns: float = 0.0
    """Of the slowest element that is used."""
    plan: str = ""
    """What ``compile --layers`` takes to build it; of integer engines."""
    apart_um2: float = 0.0
    """Of one element a kind of them, where operators stand in arrays of their own; of integer engines."""
    saved: float = 0.0
    """Share of the energy of exact products that it saves; of integer engines."""

    class_loss: float | None = None
    """What its worst class loses on validation rows; None where no bound on that was asked for."""
    passes: str = ""
    """The row of passes that makes its shape, as ``compile --passes`` takes it; empty where it is the model's."""
    clocks: float = 0.0
    """Of all products on the array; 0 where they were not looked at."""
    sizes: Mapping[str, str] = field(default_factory=dict)
    """Of each layer whose shape changed: what it was, what it has become, and their clocks, in words."""

    @property
    def accuracy(self) -> float:
        """What the chosen member is picked by."""
        return self.validation_accuracy


@dataclass(frozen=True, eq=False)
class EngineFront:
    """Members by rising cost; ``onnx``: accuracy of the model in float32 on ``search``, ``validation``, ``test`` rows."""

    folder: Path
    members: tuple[EngineMember, ...]
    onnx: Mapping[str, float]
    options: Mapping[str, object]
    elements: Mapping[str, Mapping[str, object]]
    evaluations: int
    seconds: float
    rule: str
    objectives: tuple[str, ...] = DEFAULT
    generations: int = 0
    interrupted: bool = False
    history: tuple[Mapping[str, object], ...] = ()
    """What each generation reached."""
    title: str = "model"
    command: str = ""
    rows: Mapping[str, int] = field(default_factory=dict)
    """Of each split."""
    majority: Mapping[str, float] = field(default_factory=dict)
    """What always answering the most frequent class of each split is worth."""
    warnings: tuple[str, ...] = ()
    target: str = "matrix-engine"
    exact_energy_nj: float | None = None
    """Of one inference's products, were they exact; of integer engines."""
    rank_correlation: float | None = None
    """Of the errors that were estimated with those that were counted; where a search is guided by estimates."""

    def __post_init__(self) -> None:
        """Refuse values that are not of the types of their fields."""
        settle_fields(self, "EngineFront")

    @property
    def chosen(self) -> EngineMember:
        """The cheapest member that loses no more than was allowed on validation rows, else the most accurate."""
        return next(member for member in self.members if member.chosen)

    @property
    def costs(self) -> tuple[Objective, ...]:
        """The objectives beside the errors."""
        return tuple(ENGINE[name] for name in self.objectives[1:])

    def as_json(self) -> dict[str, object]:
        """Return what ``--json`` prints."""
        members = [{**asdict(member), "design": None} for member in self.members]
        chosen = members[self.chosen.index]
        chosen["design"] = str(self.folder / "chosen")
        return {
            "format": FORMAT,
            "target": self.target,
            "version": __version__,
            "output": str(self.folder),
            "front": members,
            "chosen": chosen,
            "onnx": dict(self.onnx),
            "majority": dict(self.majority),
            "warnings": list(self.warnings),
            "objectives": list(self.objectives),
            "options": dict(self.options),
            "elements": {name: dict(told) for name, told in self.elements.items()},
            "evaluations": self.evaluations,
            "generations": self.generations,
            "interrupted": self.interrupted,
            "history": [dict(record) for record in self.history],
            "rows": dict(self.rows),
            "seconds": self.seconds,
            "rule": self.rule,
            "exact_energy_nj": self.exact_energy_nj,
            "rank_correlation": self.rank_correlation,
        }


def write_engine_front(front: EngineFront, folder: Path) -> None:
    """Write the files of *front* into *folder*, where its chosen engine is already; ``front.json`` comes last."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    more = [each.field for each in front.costs if each.field not in ("area_um2", "energy_nj")]
    more += ["apart_um2", "saved"] if front.exact_energy_nj is not None else []
    more += ["class_loss"] if any(member.class_loss is not None for member in front.members) else []
    titles = ["index", "cost", "area_um2", "energy_nj", "search", "validation", "test", "chosen", "arithmetics"]
    more += ["passes"] if any(member.passes for member in front.members) else []
    writer.writerow([*titles, *more])
    for m in front.members:
        accuracies = (m.search_accuracy, m.validation_accuracy, m.test_accuracy)
        own = [m.index, m.cost, m.area_um2, m.energy_nj, *accuracies, m.chosen, " ".join(m.arithmetics)]
        writer.writerow([*own, *(getattr(m, name) for name in more)])
    write_beside(folder / "front.csv", text.getvalue())
    write_beside(folder / "front.json", json_text(front.as_json()))


def check_engine_front_output(folder: Path) -> None:
    """Raise :class:`OutputError` unless *folder* is free, empty, or an engine's front with nothing foreign in it."""
    check_folder(folder, "an engine front", _ours)


def _ours(folder: Path) -> tuple[set[str], tuple[str, ...]]:
    if not (folder / "front.json").exists() and (folder / CHECKPOINT).is_dir():
        return set(), SEARCHED  # a search that was killed before it had a front
    told = read_json(folder / "front.json")
    if told["format"] not in (FORMAT, "approxhw engine front 1"):
        raise ValueError("another front")
    chosen = folder / "chosen"
    engine: set[str] = set()
    if chosen.exists():
        whole = is_integer_engine(chosen)
        known = (
            vouched.described_files(chosen, INTEGER_ENGINE) if whole else vouched.described_files(chosen, ENGINE_FOLDER)
        )
        engine = known | vouched.own_estimates(chosen)
    later = (*SEARCHED, *(f"chosen/{pattern}" for pattern in vouched.LATER))
    return {"front.json", "front.csv", "report.html", *(f"chosen/{name}" for name in engine)}, later
