"""What searches of engines share: options, errors and costs of genomes, what workers get, what a front tells."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from approxhw.artifacts.engine_front import (
    EngineFront,
    EngineMember,
    check_engine_front_output,
    write_engine_front,
)
from approxhw.artifacts.objectives import Objective
from approxhw.common.errors import OptionError, Problem
from approxhw.common.files import sha256_of
from approxhw.common.option_fields import Value
from approxhw.common.options import Keywords, suggestion
from approxhw.common.statistics import majority_share, no_better
from approxhw.common.statistics.class_bounds import ClassBound, class_bound
from approxhw.flow.stages.safety import CLASS_LOSS, SafetyOptions

from .operands import Feeds, predictions

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from onnx import ModelProto

    from approxhw.ir.tensor.emulate import EmulatedEngine

OptionsT = TypeVar("OptionsT", bound="DataclassInstance")
"""The fields of a kind of search that may be asked for by name."""

SPLITS = {"search": "search", "validation": "validation", "test": "report"}
"""What a front calls the rows, and what they are called while they are searched on."""


class GeneticLosses(Protocol):
    """What a search is asked to hold."""

    @property
    def max_accuracy_loss(self) -> float:
        """What all rows may lose."""

    @property
    def max_class_loss(self) -> float | None:
        """What any class may lose; None where nothing bounds it."""


class SearchRecord(Protocol):
    """What a front tells of the genetic search behind it."""

    evaluations: int
    generations: int
    interrupted: bool

    @property
    def logbook(self) -> Iterable[Mapping[str, object]]:
        """What each generation reached."""


class LayerSearch(Protocol):
    """What every search of layers knows, and can say of a genome, which has a choice for each layer."""

    splits: Mapping[str, Feeds]
    onnx: Mapping[str, float]
    known: dict[bytes, int]
    bounds: Mapping[str, ClassBound]
    """What any class may lose on the rows searched on and on those that pick the winner; empty where nothing bounds it."""
    folder: Path
    title: str
    command: str
    started: float

    @property
    def options(self) -> DataclassInstance:
        """What was asked for."""

    @property
    def max_accuracy_loss(self) -> float:
        """What all rows may lose."""

    def allowed_errors(self, max_accuracy_loss: float) -> int:
        """Return the most wrong rows of those searched on."""

    @property
    def source(self) -> str | Path | ModelProto:
        """The model as it was given."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is made least, the errors first."""

    def costs(self, genome: np.ndarray) -> Mapping[str, float]:
        """Return every cost by the name that it has in a member."""

    def errors(self, genome: np.ndarray) -> int:
        """Return the wrong rows of those searched on."""

    def said(self, genome: np.ndarray, split: str) -> np.ndarray:
        """Return the class index (int64) that it gives every row of a split."""

    def wrong(self, genome: np.ndarray, split: str) -> int:
        """Return the wrong rows of a split."""


def with_asked(options: OptionsT, asked: Mapping[str, Value]) -> OptionsT:
    """Return *options* with fields that are *asked* to be other; raise :class:`OptionError` naming those that there are not."""
    known = [*options.__dataclass_fields__]
    unknown = [
        Problem(name, f"there is no such option{suggestion(name, known)}") for name in asked if name not in known
    ]
    if unknown:
        raise OptionError("search", unknown)
    return replace(options, **asked)


def genetic_settings(options: DataclassInstance) -> Keywords:
    """Return what the genetic search is asked for."""
    names = ("population", "generations", "max_accuracy_loss", "max_class_loss", "seed", "islands", "members")
    return {name: getattr(options, name) for name in names}


def most_errors(posed: LayerSearch, max_accuracy_loss: float) -> int:
    """Return the most wrong rows, of those searched on, that lose no more than that against the model itself."""
    return round((1 - posed.onnx["search"] + max_accuracy_loss) * posed.splits["search"].rows)


def errors_and_costs(posed: LayerSearch, genomes: np.ndarray) -> np.ndarray:
    """Return wrong rows and costs of each of *genomes* (int64, P × objectives)."""
    costs, rows = posed.objectives[1:], []
    for genome in genomes:
        told = posed.costs(genome)
        rows.append([posed.errors(genome), *(round(cost.scale * told[cost.field]) for cost in costs)])
    return np.array(rows, dtype=np.int64).reshape(len(genomes), 1 + len(costs))


def errors_once(posed: LayerSearch, genome: np.ndarray) -> int:
    """Return the wrong rows of those searched on, counted once a genome, and as a bound on classes counts them."""
    key = np.asarray(genome, dtype=np.int32).tobytes()
    if key not in posed.known:
        bound = posed.bounds.get("search")
        if bound is None:
            posed.known[key] = posed.wrong(genome, "search")
        else:
            allowed = posed.allowed_errors(posed.max_accuracy_loss)
            posed.known[key] = int(bound.counted(bound.wrong(posed.said(genome, "search")), allowed))
    return posed.known[key]


def wrong_rows(found: np.ndarray, feeds: Feeds) -> int:
    """Return how many labelled rows *found* (class indices) gives another class."""
    assert feeds.labels is not None
    return int(np.sum(found != feeds.labels[: len(found)]))


def references(
    engine: EmulatedEngine, splits: Mapping[str, Feeds], max_class_loss: float | None
) -> tuple[dict[str, float], dict[str, ClassBound]]:
    """Return the accuracy of *engine*, the model itself, on each split, and the bounds on what any class may lose against it."""
    accuracies, bounds = {}, {}
    for name, feeds in splits.items():
        assert feeds.labels is not None
        found = predictions(engine, feeds)
        labels = feeds.labels[: len(found)]
        accuracies[name] = float(np.mean(found == labels))
        if max_class_loss is not None and name in ("search", "validation"):
            bounds[name] = class_bound(labels, found, max_class_loss)
    return accuracies, bounds


def safety_of(options: GeneticLosses) -> SafetyOptions:
    """Return what the safety report of the chosen member marks: what was asked for."""
    most = options.max_class_loss
    return SafetyOptions(options.max_accuracy_loss, CLASS_LOSS if most is None else most)


def sent_state(posed: LayerSearch) -> dict[str, object]:
    """Return what a worker needs to evaluate: the model's own bytes, the rows searched on, no folder, no command."""
    left: dict[str, object] = {
        "opened": None,
        "known": {},
        "data": None,
        "splits": {"search": posed.splits["search"]},
        "folder": Path(),
        "command": "",
        "threads": 1,
    }
    return {**vars(posed), **left, "model": model_bytes(posed.source)}


def member_accuracies(posed: LayerSearch, genome: np.ndarray) -> dict[str, float]:
    """Return the accuracy of *genome* on each split by the name it has in a member, and that which it is chosen by."""
    rows = {name: feeds.rows for name, feeds in posed.splits.items()}
    bound, classes = posed.bounds.get("validation"), dict[str, float]()
    if bound is None:
        wrong, searched = posed.wrong(genome, "validation"), posed.errors(genome)
    else:  # errors searched on count what passes the bound, too: they are no wrong rows
        said = posed.said(genome, "validation")
        wrong, searched = wrong_rows(said, posed.splits["validation"]), posed.wrong(genome, "search")
        classes["class_loss"] = float(np.nanmax(bound.losses(bound.wrong(said))))
    validation = 1 - wrong / rows["validation"]
    return {
        **classes,
        "search_accuracy": 1 - searched / rows["search"],
        "validation_accuracy": validation,
        "accuracy": validation,
        "test_accuracy": 1 - posed.wrong(genome, "report") / rows["report"],
    }


def front_of(
    posed: LayerSearch,
    members: Sequence[Keywords],
    chosen: int,
    rule: str,
    found: SearchRecord,
    elements: Mapping[str, Mapping[str, object]],
    notes: Sequence[str] = (),
) -> EngineFront:
    """Return the front of *members*, by rising cost; *found*: what the genetic search came to, *notes*: what else to know."""
    cost, made = posed.objectives[1].field, []
    for index, told in enumerate(members):
        own = {name: value for name, value in told.items() if name != "accuracy"}
        made.append(EngineMember(index=index, cost=told[cost], chosen=index == chosen, **own))
    asked = {**asdict(posed.options), "objectives": [each.name for each in posed.objectives]}
    onnx = {name: posed.onnx[split] for name, split in SPLITS.items()}
    majority = majorities(posed.splits)
    return EngineFront(
        folder=posed.folder,
        members=tuple(made),
        onnx=onnx,
        majority=majority,
        warnings=(*notes, *unbounded_classes(posed), *told_warnings(onnx, majority, made[chosen].test_accuracy)),
        options={key: list(value) if isinstance(value, tuple) else value for key, value in asked.items()},
        elements=elements,
        evaluations=found.evaluations,
        seconds=time.perf_counter() - posed.started,
        rule=rule,
        objectives=tuple(each.name for each in posed.objectives),
        generations=max(0, found.generations),
        interrupted=found.interrupted,
        history=tuple(dict(record) for record in found.logbook),
        title=posed.title,
        command=posed.command,
        rows={name: posed.splits[split].rows for name, split in SPLITS.items()},
    )


def unbounded_classes(posed: LayerSearch) -> list[str]:
    """Return a line that names classes without a row that picks the winner, where a bound on classes is asked for."""
    bound = posed.bounds.get("validation")
    labels = [feeds.labels for feeds in posed.splits.values() if feeds.labels is not None]
    if bound is None:
        return []
    lacking = sorted(set(np.unique(np.concatenate(labels)).tolist()) - set(np.unique(bound.labels).tolist()))
    if not lacking:
        return []
    named = ", ".join(map(str, lacking[:8])) + (", …" if len(lacking) > 8 else "")
    return [f"no validation row is of class {named}: what it loses there is not known, and not bounded"]


def front_folder(output: str | Path | None, title: str) -> Path:
    """Return where the front of a model of this *title* goes; raise :class:`OutputError` where it is not free."""
    folder = Path(output) if output is not None else Path("build") / f"{title}-engine-front"
    check_engine_front_output(folder)
    return folder


def write_front_and_page(front: EngineFront, folder: Path) -> None:
    """Write the page and the files of *front* into *folder*, where its chosen engine is already."""
    from approxhw.report.front_page import write_engine_front_page

    write_engine_front_page(folder / "report.html", front, str(front.folder))
    write_engine_front(front, folder)


def model_bytes(model: str | Path | ModelProto) -> bytes:
    """Return what is in the file of *model*: what a worker elsewhere opens."""
    from onnx import load

    proto = load(str(model)) if isinstance(model, str | Path) else model
    content: bytes = proto.SerializeToString()
    return content


def model_digest(model: str | Path | ModelProto) -> str:
    """Return the SHA-256 of *model*'s file."""
    if isinstance(model, str | Path):
        return sha256_of(Path(model))
    return hashlib.sha256(model.SerializeToString()).hexdigest()


def search_identity(about: str, searched: Feeds) -> dict[str, str]:
    """Return digests of ``model``, as *about* tells it with all that is chosen from, and ``data``, the rows searched on."""
    rows = hashlib.sha256()
    for name, array in [*sorted(searched.arrays.items()), ("labels", searched.labels)]:
        plain = np.ascontiguousarray(array)
        rows.update(f"{name} {plain.dtype.str}{plain.shape}".encode() + plain.tobytes())
    return {"model": hashlib.sha256(about.encode()).hexdigest(), "data": rows.hexdigest()}


def majorities(splits: Mapping[str, Feeds]) -> dict[str, float]:
    """Return what always answering the most frequent class is worth on the rows of each split, as a front calls it."""
    labels = {name: splits[split].labels for name, split in SPLITS.items()}
    return {name: (None if each is None else majority_share(each)) or 0.0 for name, each in labels.items()}


def told_warnings(onnx: Mapping[str, float], majority: Mapping[str, float], chosen: float) -> tuple[str, ...]:
    """Return lines where the model or the member that is *chosen* is no better on test rows than the most frequent class."""
    least = no_better("the model in float32", onnx["test"], majority["test"], "test rows")
    return (*least, *no_better("the chosen member", chosen, majority["test"], "test rows"))
