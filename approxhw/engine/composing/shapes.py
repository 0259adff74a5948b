"""The shapes that a search of an engine may take: a model's smaller forms, and what each original layer has become in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.data.dataset import DataSpec
from approxhw.common.statistics.class_bounds import class_bound
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import Pass, PassContext
from approxhw.ir.tensor.emulate import EmulatedEngine
from approxhw.ir.tensor.layers import ProductLayer, product_layers

from ..operands import Feeds, calibration_feeds, labelled_splits, observe_rows, predictions
from ..reshaping import Tiled, reshaping_on
from .allotment import Tell, origin_of
from .asked import ALL, read_approximations
from .compose import Composing, Composition, FormLosses, LossBounds

if TYPE_CHECKING:
    from approxhw.frontends.onnx.loading import ModelSource
    from approxhw.frontends.products.partition import OpenedModel

LEAST_APART = 300
"""Rows beyond those that fit, that are enough to judge by."""

KEPT = "compositions.json"
"""What is kept of rows of passes that were tried, beside the checkpoint."""


@dataclass(frozen=True, eq=False)
class Shape:
    """A form of the model: the row of ``passes`` that makes it (none: as it is given), its Graph, and the clocks it takes.

    ``names``: of its products. ``origins``: the original layer, by its place, that each is a part of. ``shares``: multiply-adds
    of each original layer over what it had (float64). ``sizes``: what each original layer was and has become, in words.
    ``judged``: what it loses on the rows searched on.
    """

    passes: tuple[Pass, ...]
    spelled: str
    graph: Graph
    clocks: int
    names: tuple[str, ...]
    origins: tuple[int, ...]
    shares: np.ndarray
    sizes: Mapping[str, str]
    judged: FormLosses

    def holds(self, bounds: LossBounds) -> bool:
        """Return whether it keeps within *bounds* on the rows searched on."""
        return bounds.missed(self.judged) <= 0


@dataclass(frozen=True, eq=False)
class ComposedRows:
    """Rows that fit (``calibration``), and ``splits``: to search on, to choose by and for the report; ``notes`` on them."""

    calibration: Feeds
    splits: Mapping[str, Feeds]
    notes: tuple[str, ...]


def composed_rows(
    model: ModelSource, data: DataSpec, seed: int, fitting: int, rows: int, validation_rows: int
) -> ComposedRows:
    """Return the rows of *data* for a search that changes shapes; *fitting*: how many of them compiling fits on.

    Those that judge are other ones where there are enough of them; where not, a note says so. Raises as
    :func:`approxhw.engine.operands.split_feeds`.
    """
    train, report = calibration_feeds(model, data)
    apart, notes = train.part(fitting, train.rows), tuple[str, ...]()
    if apart.rows < LEAST_APART:
        notes = (f"{train.rows} training rows are few: those that smaller forms are fitted on judge them, too",)
        apart = train
    splits = labelled_splits(apart, report, np.random.default_rng(seed), rows, validation_rows)
    return ComposedRows(train.some(fitting), splits, notes)


def shapes_of(
    opened: OpenedModel,
    array: Tiled,
    rows: ComposedRows,
    approximations: str,
    bounds: LossBounds,
    most: int,
    *,
    threads: int,
    kept: Path,
    identity: str,
    tell: Tell,
    stop: Callable[[], bool] | None,
) -> tuple[Shape, ...]:
    """Return the shapes that a search may take, the model itself first and the fewest clocks last.

    *approximations*: which passes may make them (:mod:`.asked`). *bounds*: what they may lose on the rows searched
    on, against the model itself. *most*: trials. *kept*, *identity*: as of :class:`.compose.Composing`. Raises
    :class:`PassError` where no pass applies to the model.
    """
    context = PassContext(
        model=opened.graph,
        observe=partial(observe_rows, rows.calibration, opened.host),
        reshaping=reshaping_on(opened, array),
        threads=threads,
    )
    asked = read_approximations(approximations)
    judging = rows.splits["search"]

    def answers(graph: Graph) -> np.ndarray:
        return predictions(EmulatedEngine(graph, opened.host, threads), judging)

    plain = answers(opened.graph)
    assert judging.labels is not None
    labels = judging.labels[: len(plain)]
    bound = class_bound(labels, plain, bounds.classes or 0.0)

    def judge(graph: Graph) -> FormLosses:
        made = answers(graph)
        loss = float(np.mean(plain == labels) - np.mean(made == labels))
        return FormLosses(loss, float(np.nanmax(bound.losses(bound.wrong(made)))))

    composing = Composing(
        context,
        asked,
        ALL not in map(str.strip, approximations.split(",")),
        bounds,
        judge,
        most,
        tell,
        kept,
        identity,
        stop,
    )
    found = composing.compositions(opened.graph)
    assert context.reshaping is not None
    before = {each.name: each for each in product_layers(context.reshaping.typed(opened.graph))}
    return tuple(_shape(each, before, context.reshaping.clocks, context.reshaping.typed) for each in found)


def shape_notes(shapes: Sequence[Shape], bounds: LossBounds) -> tuple[str, ...]:
    """Return a line where no smaller shape keeps within *bounds* on the rows searched on, with what the nearest one loses."""
    smaller = [each for each in shapes if each.passes]
    if any(each.holds(bounds) for each in smaller):
        return ()
    if not smaller:
        return ("no smaller form of the model was found",)
    best = min(smaller, key=lambda each: bounds.missed(each.judged))
    rows, classes, left = best.judged.loss, best.judged.class_loss, best.clocks / max(each.clocks for each in shapes)
    return (
        f"no smaller form keeps within the bounds on the rows searched on; the nearest, {100 * left:.0f} % of the clocks, loses "
        f"{100 * rows:.2f} % of all rows and {100 * classes:.2f} % of its worst class",
    )


def _shape(
    made: Composition,
    before: Mapping[str, ProductLayer],
    clocks: Callable[[int, int, int], int],
    typed: Callable[[Graph], Graph],
) -> Shape:
    """Return the composition *made* as a shape of the layers *before*."""
    places = {name: place for place, name in enumerate(before)}
    parts: dict[str, list[ProductLayer]] = {name: [] for name in before}
    layers = product_layers(typed(made.graph))
    for layer in layers:
        parts[origin_of(layer.name, places)].append(layer)
    sizes, shares = {}, []
    for name, layer in before.items():
        shares.append(sum(float(each.products) for each in parts[name]) / max(1.0, float(layer.products)))
        taken = [sum(each.count * clocks(each.m, each.k, each.n) for each in these) for these in ([layer], parts[name])]
        now = " · ".join(f"{each.k} × {each.n}" for each in parts[name])
        if now != f"{layer.k} × {layer.n}":
            sizes[name] = f"{layer.k} × {layer.n} → {now}; clocks {taken[0]:,} → {taken[1]:,}"
    return Shape(
        passes=made.passes,
        spelled=made.spelled,
        graph=made.graph,
        clocks=made.clocks,
        names=tuple(each.name for each in layers),
        origins=tuple(places[origin_of(each.name, places)] for each in layers),
        shares=np.array(shares),
        sizes=sizes,
        judged=made.judged,
    )
