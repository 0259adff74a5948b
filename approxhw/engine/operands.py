"""Data for models on the matrix engine: arrays for every input, and labels; how accurate a model is on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.engine_parts import EngineAccuracy
from approxhw.common.data.arrays import read_npz
from approxhw.common.data.dataset import DataSource, DataSpec, load_dataset
from approxhw.common.data.row_groups import checked_groups, unknown_column
from approxhw.common.errors import InvalidDataError, Problem, shown
from approxhw.common.statistics import majority_share
from approxhw.common.statistics.margins import GatheredMargins
from approxhw.ir.graph import Graph, Node
from approxhw.ir.tensor.layers import macs_of, product_nodes, with_macs
from approxhw.ir.tensor.run import HostRuntime, checked_feeds, walk_tensors
from approxhw.numerics.formats import Float

if TYPE_CHECKING:
    from approxhw.frontends.onnx.loading import Loaded, ModelSource
    from approxhw.frontends.products.model import ModelInput
    from approxhw.ir.tensor.emulate import EmulatedEngine

BATCH = 256
"""Rows of one run."""

MOST_CLASSES = 1 << 16
"""Class indices are below it."""

LABELS = "labels"
"""The array of class indices beside those of the inputs."""


@dataclass(frozen=True, eq=False)
class Feeds:
    """Rows to run: an array for each input (by name), the first dimension being rows; class indices where they are known."""

    arrays: Mapping[str, np.ndarray]
    labels: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    fixed: int | None = None
    """Rows of one run where the model leaves no choice."""
    groups: np.ndarray | None = None
    """Of each row its value in the column ``grouped_by``, texts or numbers; None where no column parts the rows."""
    grouped_by: str = ""

    @property
    def rows(self) -> int:
        """How many there are."""
        return min((len(array) for array in self.arrays.values()), default=0)

    def first(self, count: int) -> dict[str, np.ndarray]:
        """Return the first *count* rows, as many as one run takes; empty without data."""
        count = min(count, self.rows) if self.fixed is None else self.fixed
        return {name: array[:count] for name, array in self.arrays.items()}

    def some(self, count: int) -> Feeds:
        """Return the first *count* rows at most, with their labels."""
        return self.part(0, count)

    def part(self, start: int, stop: int) -> Feeds:
        """Return the rows from *start* to *stop*, those that there are, with their labels."""
        return self._cut(slice(start, stop))

    def chosen(self, rows: np.ndarray) -> Feeds:
        """Return the rows of these numbers, with their labels."""
        return self._cut(rows)

    def _cut(self, rows: slice | np.ndarray) -> Feeds:
        return replace(
            self,
            arrays={name: array[rows] for name, array in self.arrays.items()},
            labels=None if self.labels is None else self.labels[rows],
            groups=None if self.groups is None else self.groups[rows],
        )

    def batches(self) -> Iterator[dict[str, np.ndarray]]:
        """Yield the rows in runs as large as one takes; what a model of fixed rows cannot fill is left out."""
        step = self.fixed or BATCH
        for start in range(0, self.rows, step):
            part = {name: array[start : start + step] for name, array in self.arrays.items()}
            if not self.fixed or min(map(len, part.values())) == self.fixed:
                yield part

    def shapes(self, count: int) -> dict[str, tuple[int, ...]] | None:
        """Return the shapes of the inputs for the first rows; None without data."""
        return {name: tuple(array.shape) for name, array in self.first(count).items()} or None


def feeds_by_split(model: ModelSource | Loaded, data: DataSpec | None) -> tuple[Feeds, Feeds]:
    """Return the training rows of *data* for *model*, none where it has one split, and the rows to report; both empty without.

    *data*: an ``.npz`` (or a mapping) with an array for every input, or labelled rows. Labelled rows (what
    :func:`approxhw.load_dataset` takes) fit a model with one input; the test rows are reported, the training rows where there are
    none. Raises :class:`InvalidDataError` with everything that does not fit.
    """
    from approxhw.frontends.products.model import model_inputs

    if data is None:
        return Feeds({}), Feeds({})
    found = _feeds(model_inputs(model), data)
    return found.get("search", Feeds({})), found["report"]


def calibration_feeds(model: ModelSource | Loaded, data: DataSpec | None) -> tuple[Feeds, Feeds]:
    """Return the rows of *data* that passes may look at, and those of the report; both empty without data.

    Labelled rows in two splits: training and test rows. Where there is one split alone, its first half is looked at and the
    rest reported, and a note says so. Raises as :func:`feeds_by_split`.
    """
    from approxhw.frontends.products.model import model_inputs

    if data is None:
        return Feeds({}), Feeds({})
    found = _feeds(model_inputs(model), data)
    report = found["report"]
    if "search" in found:
        return found["search"], report
    cut = report.rows // 2
    if cut < 1:
        return report, report
    note = f"the data has one split: its first {cut} rows give ranges, the others are reported"
    rest = report.part(cut, report.rows)
    return report.part(0, cut), replace(rest, notes=(*rest.notes, note))


def with_meant_labels(feeds: Feeds, graph: Graph) -> Feeds:
    """Return *feeds* without labels that what *graph* gives cannot mean, with a note on how one number is read as a class."""
    answer = graph[graph.results[0][1] if graph.results else graph.output].type
    if feeds.labels is None or not isinstance(answer.format, Float) or math.prod(answer.shape[1:]) != 1:
        return feeds
    known = np.unique(feeds.labels)
    if set(known.tolist()) <= {0, 1}:
        note = "the model gives one number a row: above 0 it is taken for class 1, else for class 0"
        return replace(feeds, notes=(*feeds.notes, note))
    note = f"the model gives one number a row, and the labels are {len(known)} classes: no accuracy is told"
    return replace(feeds, labels=None, notes=(*feeds.notes, note))


def split_feeds(model: ModelSource, data: DataSpec, seed: int, most: int) -> dict[str, Feeds]:
    """Return labelled rows of *data* to ``search`` on (at most *most*), to choose by (``validation``), and for the ``report``.

    Labelled rows that come in two splits: training rows for the first two, 2 : 1, test rows for the report. Rows in one
    split: 2 : 1 : 2, by *seed*. Raises :class:`InvalidDataError`, also where there are no labels.
    """
    from approxhw.frontends.products.model import model_inputs

    found = _feeds(model_inputs(model), data)
    report, rest = found["report"], found.get("search")
    order = np.random.default_rng(seed)
    if rest is None:
        parts = order.permutation(report.rows)
        cut = 3 * report.rows // 5
        rest, report = report.chosen(np.sort(parts[:cut])), report.chosen(np.sort(parts[cut:]))
    return labelled_splits(rest, report, order, most, most)


def labelled_splits(
    train: Feeds, report: Feeds, order: np.random.Generator, rows: int, validation_rows: int
) -> dict[str, Feeds]:
    """Return *train* in two, 2 : 1 in an *order* by chance, to ``search`` on and to choose by (``validation``), and *report*.

    At most so many *rows* and *validation_rows* of them.

    Raises :class:`InvalidDataError` where there are too few rows, or no labels.
    """
    if report.labels is None or train.labels is None:
        why = "it has no labels, and a search counts wrong answers"
        raise InvalidDataError("data", [Problem(LABELS, why, "give class indices, one a row")])
    third = train.rows // 3
    if not third or not report.rows:
        why = f"{train.rows} rows to search and to choose by, {report.rows} for the report"
        raise InvalidDataError("data", [Problem("rows", why, "give more rows")])
    parts = order.permutation(train.rows)
    return {
        "search": train.chosen(np.sort(parts[third:][:rows])),
        "validation": train.chosen(np.sort(parts[:third][:validation_rows])),
        "report": report,
    }


def _feeds(known: Sequence[ModelInput], data: DataSpec) -> dict[str, Feeds]:
    """Return the rows for the ``report``, and those to ``search`` on where the data has splits."""
    arrays = _arrays(data)
    if arrays is not None and all(each.name in arrays for each in known):
        return {"report": _named(arrays, known, data.groups if isinstance(data, DataSource) else None)}
    if len(known) != 1:
        names = ", ".join(shown(each.name, 40) for each in known)
        why = f"the model has {len(known)} inputs ({names}), and the data has no array for each"
        raise InvalidDataError(
            "data", [Problem("data", why, f"give an .npz with the arrays {names}, and labels if known")]
        )
    (only,) = known
    dims = list((only.dims or ())[1:])
    whole = [dim for dim in dims if isinstance(dim, int)]
    features = int(np.prod(whole)) if dims and whole == dims else None
    found = load_dataset(data, features)
    fixed = only.dims[0] if only.dims and isinstance(only.dims[0], int) else None

    column = found.groups

    def rows(x: np.ndarray, y: np.ndarray, groups: np.ndarray | None) -> Feeds:
        sizes = tuple(whole) if features is not None else x.shape[1:]
        arrays = {only.name: x.reshape(len(x), *sizes).astype(only.dtype)}
        return Feeds(arrays, y, found.notes, fixed, groups, "" if column is None else column.title)

    train = rows(found.X_train, found.y_train, None if column is None else column.train)
    test = rows(found.X_test, found.y_test, None if column is None else column.test)
    if train.rows and test.rows:
        return {"report": test, "search": train}
    return {"report": test if test.rows else train}


def _arrays(data: DataSpec) -> Mapping[str, np.ndarray] | None:
    if isinstance(data, DataSource) and data.label is None:
        data = data.data
    if isinstance(data, Mapping):
        return {str(name): np.asarray(array) for name, array in data.items()}
    if isinstance(data, str | Path) and str(data).endswith(".npz") and Path(data).is_file():
        return read_npz(Path(data)).arrays
    return None


def _named(arrays: Mapping[str, np.ndarray], known: Sequence[ModelInput], column: str | None) -> Feeds:
    found: list[Problem] = []
    feeds = {each.name: np.asarray(arrays[each.name]) for each in known}
    for each in known:
        given = feeds[each.name]
        if given.dtype.kind not in "fiub":
            found.append(Problem(shown(each.name, 40), f"it holds {given.dtype}, not numbers"))
        elif not given.ndim or not len(given):
            found.append(Problem(shown(each.name, 40), "it has no rows"))
        else:
            feeds[each.name] = given.astype(each.dtype)
    lengths = {name: len(array) for name, array in feeds.items() if array.ndim}
    labels = arrays.get(LABELS)
    if labels is not None:
        lengths[LABELS] = len(labels)
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            found.append(
                Problem(LABELS, f"class indices are needed, one a row; it is {labels.dtype} {list(labels.shape)}")
            )
        elif len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < MOST_CLASSES:
            why = f"class indices lie in 0…{MOST_CLASSES - 1}; there are {labels.min()} and {labels.max()}"
            found.append(Problem(LABELS, why, "leave out rows without a class"))
    groups = None
    if column is not None and column not in arrays:
        own = {each.name for each in known} | {LABELS}
        found.append(unknown_column(column, column, [name for name in arrays if name not in own]))
    elif column is not None:
        groups = checked_groups(column, np.asarray(arrays[column]), next(iter(lengths.values()), None), found)
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{shown(name, 40)} {count}" for name, count in lengths.items())
        found.append(Problem("rows", f"the arrays differ in their rows: {told}"))
    if found:
        raise InvalidDataError("data", found)
    fixed = next((each.dims[0] for each in known if each.dims and isinstance(each.dims[0], int)), None)
    return Feeds(feeds, None if labels is None else labels.astype(np.int64), (), fixed, groups, column or "")


def observe_rows(feeds: Feeds, host: HostRuntime, graph: Graph, seen: Callable[[Node, np.ndarray], None]) -> None:
    """Carry *graph* out on *feeds*, batch by batch, its Host Nodes on *host*, and show every value as it is made."""
    for part in feeds.batches():
        walk_tensors(graph, checked_feeds(graph, part), host, None, seen)


@dataclass(frozen=True, eq=False)
class EngineAnswers:
    """What a model says of rows: ``classes`` (int64, R), and by how much the winner wins (float64, R; None without scores)."""

    classes: np.ndarray
    margins: np.ndarray | None


def predictions(engine: EmulatedEngine, feeds: Feeds) -> np.ndarray:
    """Return the class index (int64) of every row, as :func:`answered` does."""
    return answered(engine, feeds).classes


def answered(engine: EmulatedEngine, feeds: Feeds) -> EngineAnswers:
    """Return what *engine* says of every row by the first output: its largest value; an integer is the class itself.

    Of one value that is no integer: whether it is above 0.
    """
    step, found, margins, scored = feeds.fixed or BATCH, list[np.ndarray](), GatheredMargins(), True
    for start in range(0, feeds.rows, step):
        part = {name: array[start : start + step] for name, array in feeds.arrays.items()}
        if feeds.fixed and min(len(array) for array in part.values()) < feeds.fixed:
            break  # the model takes whole batches only
        scores = np.asarray(next(iter(engine.run(part).values())))
        found.append(_classes(scores))
        scored = scored and (scores.dtype.kind == "f" or scores.reshape(len(scores), -1).shape[1] > 1)
        if scored:
            margins.add(scores)
    classes = np.concatenate(found) if found else np.zeros(0, np.int64)
    return EngineAnswers(classes, margins.all() if scored and found else None)


def _classes(scores: np.ndarray) -> np.ndarray:
    flat = scores.reshape(len(scores), -1)
    if flat.shape[1] > 1:
        return flat.argmax(axis=1)
    # a model may name the class itself, or give one value whose sign is the answer
    return flat[:, 0].astype(np.int64) if scores.dtype.kind in "iu" else (flat[:, 0] > 0).astype(np.int64)


class Predictions:
    """The classes that Graphs of one model give labelled rows, each Graph run once."""

    def __init__(self, engine: EmulatedEngine, feeds: Feeds) -> None:
        """Keep what runs a Graph, and the rows; nothing is run yet."""
        self.engine, self.feeds = engine, feeds
        self.known: dict[tuple[object, ...], tuple[Graph, Feeds, EngineAnswers]] = {}

    def of(self, graph: Graph) -> np.ndarray:
        """Return the class index (int64) that *graph* gives every row."""
        return self.answers(graph, self.feeds).classes

    def answers(self, graph: Graph, feeds: Feeds) -> EngineAnswers:
        """Return what *graph* says of *feeds*; the same arithmetic in the same shape on the same rows is run once."""
        how: tuple[object, ...] = tuple(node.op for node in product_nodes(graph))
        if all(mac is None for mac in macs_of(graph).values()):
            how = ()  # whatever codes and results would be, nothing uses them
        products = {node.name for node in product_nodes(graph)}
        # a pass may have made other weights, and another shape, under the same names; what is kept keeps ids from coming twice
        rest = tuple((n.name, n.inputs, 0 if n.name in products else id(n.op)) for n in graph.nodes)
        key = (how, rest, id(feeds))
        if key not in self.known:
            self.known[key] = (graph, feeds, answered(self.engine.on(graph), feeds))
        return self.known[key][2]

    def accuracies(self, graph: Graph) -> tuple[float | None, float | None]:
        """Return the accuracy of *graph* on training rows, of which an engine reads none, and on the others."""
        if self.feeds.labels is None:
            return None, None
        made = self.of(graph)
        return None, float(np.mean(made == self.feeds.labels[: len(made)]))

    def beside_float(self, model: Graph, graph: Graph) -> EngineAccuracy:
        """Return how good *graph* is beside the *model* that it was made of, in float32: as :func:`accuracy_of`."""
        assert self.feeds.labels is not None
        return beside_labels(self.of(with_macs(model, None)), self.of(graph), self.feeds.labels)


def accuracy_of(engine: EmulatedEngine, feeds: Feeds) -> EngineAccuracy:
    """Return the accuracy in float32 (``onnx``) and on the ``engine``, on how many ``rows``, and how many ``agree``."""
    assert feeds.labels is not None
    return beside_labels(predictions(engine.configured(None), feeds), predictions(engine, feeds), feeds.labels)


def beside_labels(plain: np.ndarray, made: np.ndarray, labels: np.ndarray) -> EngineAccuracy:
    """Return how good answers are against *labels* (class indices), *plain* in float32 and *made* on the engine: its rows."""
    rows = len(made)
    labels = labels[:rows]
    return {
        "onnx": float(np.mean(plain == labels)),
        "engine": float(np.mean(made == labels)),
        "agree": float(np.mean(plain == made)),
        "rows": rows,
        "majority": majority_share(labels) or 0.0,
    }
