"""How the flow serves matrix engines: products of any model, their schedules, operands and accuracy; the engine in Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, cast

import numpy as np

from approxhw.artifacts.design import Model
from approxhw.artifacts.engine import EngineDesign, EngineFields, LayerInfo, check_engine_output, write_engine
from approxhw.artifacts.engine_parts import EngineAccuracy
from approxhw.common.arguments import checked, settle_fields
from approxhw.common.errors import Problem, shown
from approxhw.common.files import locked
from approxhw.common.statistics.safety import SafetyReport
from approxhw.flow.compile import CompileKeywords, compile
from approxhw.flow.stages.protocol import Asked, Clock, Flow, Ledger, Lowered, Option, Source, Steps
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.tensor.emulate import EmulatedEngine
from approxhw.ir.tensor.layers import macs_of, product_layers, with_macs
from approxhw.numerics.eight_bit.port_codes import Packed, largest_of, pack, unpack

from ..kept_verdicts import EngineVerdict
from ..opened_model import (
    about_model,
    asked_model,
    counted_parts,
    engine_summary,
    graph_of_sizes,
    made_fields,
    model_name,
    target_chosen,
    under_header,
    unsupported_parts,
    without_empty_products,
)
from ..operands import Feeds, Predictions, calibration_feeds, feeds_by_split, observe_rows, with_meant_labels
from ..reshaping import reshaping_on
from ..safety import EngineForms, SplitFeeds, check_judging, engine_safety, judging_feeds, with_layers
from .built_verilog import module_texts, whole_engine
from .target import MatrixEngine, fitted_target

if TYPE_CHECKING:
    from approxhw.backends.matrix_engine.engine import Engine as Array
    from approxhw.frontends.onnx.loading import ModelSource
    from approxhw.frontends.products.model import ModelInput
    from approxhw.frontends.products.partition import OpenedModel

    from .cost import EngineEstimate

ROWS = 64
"""Rows of the data that are run to look at shifts and to keep operands."""

LOOKED_AT = 2_000_000_000
"""Multiply-adds of these rows, about: fewer rows are run where they have more."""

KEPT_BYTES, KEPT_ROWS = 64 << 20, 256
"""Most bytes of operands that a design keeps, and most rows of a layer's activations."""

MEASURED_ROWS = 512
"""Rows of every layer in which needed shifts are counted."""

CALIBRATION_ROWS = 1024
"""Training rows that passes look at, the first ones."""


@dataclass(frozen=True)
class CompiledEngine:
    """The folder of a matrix engine: ``folder`` on disk, ``design`` what stands in it."""

    folder: Path
    design: EngineDesign

    def __post_init__(self) -> None:
        """Refuse values that are not of the types of their fields."""
        settle_fields(self, "CompiledEngine")

    @property
    def verilog(self) -> str:
        """The whole engine as one text."""
        return self.design.verilog

    @property
    def accuracy(self) -> EngineAccuracy:
        """Of the model in float32 (``onnx``) and on the engine, and on how many rows; empty without labels."""
        return self.design.accuracy

    @property
    def safety(self) -> SafetyReport | None:
        """What approximating does to classes and subgroups of rows; None without labels."""
        return self.design.safety

    def simulate(self, simulator: str = "verilator", **options: Option) -> EngineVerdict:
        """Stream a layer through the Verilog; options and result as :func:`approxhw.engine.matrix.simulate.simulate_engine`."""
        from .simulate import simulate_engine

        with locked(self.folder):
            return simulate_engine(self.folder, self.design, simulator, **options)

    def estimate(self, library: str | Path | None = None, **options: Option) -> EngineEstimate:
        """Measure area, power and delay; options and result as :func:`approxhw.engine.matrix.cost.estimate_engine`."""
        from .cost import estimate_engine

        with locked(self.folder):
            return estimate_engine(self.folder, self.design, library, **options)

    def report(self) -> Path:
        """Write ``report.html`` from all that is known so far; return its path."""
        from .write_report import report_engine

        with locked(self.folder):
            return report_engine(self.folder, self.design)

    def summary(self) -> dict[str, object]:
        """Return all that is known so far as plain types: what ``--json`` prints."""
        from .cost import engine_estimates, engine_of

        found = engine_estimates(self.folder)
        last = found[-1] if found else {"estimate": None, "estimate_pe": None}
        cost = {name: last[name] for name in ("estimate", "estimate_pe")}
        return engine_summary(self.folder, self.design, {"beats": engine_of(self.design).beats()}, cost)


@checked("open_engine_design")
def open_engine_design(folder: str | Path) -> CompiledEngine:
    """Return the engine in *folder*; raise :class:`~approxhw.common.errors.InvalidDesignError` where there is no whole one."""
    return CompiledEngine(Path(folder), whole_engine(Path(folder)))


def compile_engine(
    model: ModelSource, *, target: MatrixEngine | str | None = None, **given: Unpack[CompileKeywords]
) -> CompiledEngine:
    """Compile a matrix engine for *model* (path or ``ModelProto``), with the schedule of each of its matrix products.

    The rest as :func:`approxhw.compile` takes it. The accuracy on the engine is told where ``data`` has labels; the operands
    of the layers of its first rows are kept for simulation.
    """
    chosen = target_chosen(target, MatrixEngine, "no matrix engine")
    compiled: CompiledEngine = compile(model, target=chosen, **given)
    return compiled


@dataclass(frozen=True, eq=False)
class OpenedProducts:
    """What is kept of a model: as it was read and partitioned, the user's inputs, the emulation and what it said so far.

    ``train``: rows that passes look at, none where no pass asks for some. ``rows``: how many of the inputs are looked at, and
    what their Graph is typed for.
    """

    model: OpenedModel
    train: Feeds
    feeds: Feeds
    rows: int
    emulated: EmulatedEngine
    told: Predictions
    judging: SplitFeeds


def read_products(asked: Asked[MatrixEngine]) -> Source[OpenedProducts]:
    """Open the model that is asked for, sized for the user's inputs."""
    from approxhw.frontends.products.partition import open_model

    loaded = asked_model(asked)
    reshapes = any(getattr(each, "reshapes", False) for each in asked.passes)
    train, feeds = (calibration_feeds if reshapes else feeds_by_split)(loaded, asked.data)
    opened = open_model(loaded, asked.shape or feeds.shapes(1))
    rows = _rows(opened.graph, feeds)
    if asked.shape is None and rows > 1:
        opened = opened.at(feeds.shapes(rows) or {})
    graph = without_empty_products(opened.graph)
    emulated, feeds = EmulatedEngine(graph, opened.host, asked.threads), with_meant_labels(feeds, graph)
    judging = judging_feeds(with_meant_labels(train, graph), feeds)
    check_judging(asked.safety, judging)
    kept = OpenedProducts(opened, train, feeds, rows, emulated, Predictions(emulated, feeds), judging)
    return Source(graph, about_model(loaded, graph), f"{model_name(graph)}-engine", kept)


def check_products(asked: Asked[MatrixEngine]) -> list[Problem]:
    """Return everything that keeps the model from being compiled for an engine; empty where nothing does.

    Raises :class:`InvalidModelError` where the file itself is broken.
    """
    return unsupported_parts(lambda: _looked_at(asked))


def _looked_at(asked: Asked[MatrixEngine]) -> Graph:
    """Return the Graph of the model without any rows: sizes that are open, and not given, are 1."""
    from approxhw.frontends.products.model import given_sizes, model_inputs

    loaded = asked_model(asked)
    given = given_sizes(asked.shape)
    inputs = model_inputs(loaded)
    least = {
        each.name: tuple(size if isinstance(size, int) else 1 for size in each.dims)
        for each in inputs
        if each.dims is not None and each.name not in given
    }
    assumed = [each.name for each in inputs if each.name in least and not _is_closed(each)]
    return without_empty_products(graph_of_sizes(loaded, given, least, assumed))


def _is_closed(value: ModelInput) -> bool:
    return value.dims is not None and all(isinstance(size, int) for size in value.dims)


def _counts(asked: Asked[MatrixEngine]) -> dict[str, int]:
    graph = _looked_at(asked)
    return counted_parts(graph, {"products on the engine": len(product_layers(graph))})


def engine_context(source: Source[OpenedProducts], asked: Asked[MatrixEngine]) -> PassContext:
    """Return what passes may look at: the model, training rows through it, its accuracy on the engine, clocks of the array."""
    kept = source.kept
    return PassContext(
        model=source.graph,
        accuracy=kept.told.accuracies,
        observe=partial(observe_rows, kept.train.some(CALIBRATION_ROWS), kept.model.host) if kept.train.rows else None,
        training=(kept.train.arrays, kept.train.labels) if kept.train.rows else None,
        reshaping=reshaping_on(kept.model, asked.target),
        threads=asked.threads,
    )


def build_engine(
    source: Source[OpenedProducts], asked: Asked[MatrixEngine], lowered: Lowered, clock: Clock
) -> EngineDesign:
    """Return the engine of the lowered Graph, with its layers' schedules and operands."""
    kept, graph = source.kept, lowered.graph
    emulated = kept.emulated.on(graph)
    # what was asked of the Graph is what is built
    target = asked.target if asked.given is None else fitted_target(asked.target, graph)
    array = target.array()
    accuracy = EngineAccuracy()
    if kept.feeds.labels is not None:
        with clock.step("accuracy"):
            accuracy = kept.told.beside_float(source.graph, graph)
    safety = _safety(source, asked, lowered, clock)
    with clock.step("layers"):
        layers, operands, packed, notes = _layers(emulated, array, kept.feeds.first(kept.rows))
    with clock.step("emit"):
        modules = _modules(array, emulated)
    return EngineDesign(
        engine=cast(EngineFields, asdict(array)),
        modules=modules,
        layers=layers,
        operands=operands,
        packed=packed,
        clock_ns=float(target.clock_ns),
        model=source.about,
        library=target.library,
        safety=safety,
        **made_fields(asked, lowered, clock, accuracy, [*kept.model.notes, *notes, *kept.feeds.notes]),
    )


def _safety(
    source: Source[OpenedProducts], asked: Asked[MatrixEngine], lowered: Lowered, clock: Clock
) -> SafetyReport | None:
    """Return the safety report: against the model in float32, and where it is asked for of every layer alone."""
    kept, graph, run = source.kept, lowered.graph, source.kept.told.answers
    plain = with_macs(source.graph, None)
    with clock.step("safety"):
        forms = EngineForms("the model in float32", plain, graph, lowered.approximated)
        report = engine_safety(asked.safety, kept.judging, forms, run)
    if not asked.safety.sensitivity:
        return report
    alone = [
        (name, partial(with_macs, graph, None, {name: mac})) for name, mac in macs_of(graph).items() if mac is not None
    ]
    against = "the same Graph with all products in float32"
    return with_layers(report, kept.judging, with_macs(graph, None), against, alone, run, clock)


def _write(design: EngineDesign, folder: Path, steps: Steps) -> CompiledEngine:
    write_engine(design, folder, steps)
    return CompiledEngine(folder, design)


def _kept(folder: Path) -> tuple[Model, Ledger]:
    design = whole_engine(folder)
    return design.model, design.ledger


def _rows(graph: Graph, feeds: Feeds) -> int:
    """Return how many rows are looked at: fewer of a model with many multiply-adds a row."""
    products = sum(layer.products for layer in product_layers(graph)) // max(
        1, len(next(iter(feeds.first(1).values()), [0]))
    )
    return max(1, min(ROWS, feeds.rows, LOOKED_AT // max(1, products)))


def _layers(
    emulated: EmulatedEngine, array: Array, first: Mapping[str, np.ndarray]
) -> tuple[
    tuple[LayerInfo, ...],
    dict[str, tuple[np.ndarray, np.ndarray]],
    dict[str, tuple[Packed | None, Packed | None]],
    list[str],
]:
    """Return what is known of every product, the operands that are kept, their 8-bit codes, and what the user should know."""
    from approxhw.backends.matrix_engine.engine import busy_clocks
    from approxhw.backends.systolic.schedule import make_schedule
    from approxhw.numerics.mac.kernels.codes import to_codes

    from .code_losses import code_losses

    notes: list[str] = []
    shifts: Mapping[str, np.ndarray] = {}
    before = {name: (c.nan, c.inf) for name, c in emulated.counts.items()}
    if first:
        shifts = emulated.shift_histograms(first, rows=MEASURED_ROWS)
        if not before:
            emulated.run(first)
    losses = code_losses(emulated, first, rows=MEASURED_ROWS) if first else {}
    operands: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    packed: dict[str, tuple[Packed | None, Packed | None]] = {}
    infos, chosen = [], _chosen(emulated, array) if first else []
    looked = emulated.operands_of(first, chosen, rows=KEPT_ROWS) if chosen else {}
    for number, layer in enumerate(emulated.layers):
        mac = emulated.macs[layer.name]
        info = LayerInfo(
            layer.name, layer.op, layer.m, layer.k, layer.n, layer.count, "float32" if mac is None else str(mac)
        )
        if mac is None:
            infos.append(info)
            continue
        schedule = make_schedule(array, layer.m, layer.k, layer.n)
        clocks, places = busy_clocks(array, schedule), array.rows * array.columns
        counts = emulated.counts.get(layer.name)
        info = replace(
            info,
            tiles=len(schedule.tiles),
            clocks=clocks,
            utilisation=layer.m * layer.k * layer.n / (clocks * places),
            blocks=(array.vectors, array.columns, array.rows),
            nans=counts.nan if counts else 0,
            infinities=counts.inf if counts else 0,
            compression=losses.get(layer.name, {}),
            shifts=tuple(shifts[layer.name].tolist()) if layer.name in shifts else (),
        )
        if layer.name in looked:
            a, b = looked[layer.name]
            file = f"operands/{number:02d}.npz"
            if array.codes is not None:
                packed[file] = coded = _packed(array, a, b)
                a = a if coded[0] is None else unpack(coded[0])
                b = b if coded[1] is None else np.ascontiguousarray(unpack(coded[1]).T)
            operands[file] = (to_codes(a, mac.format), to_codes(b, mac.format))
            info = replace(info, operands=file)
        if counts:
            notes.append(
                f"layer {shown(layer.name, 60)}: {counts.nan} NaN and {counts.inf} infinities among its activations, carried on"
            )
        infos.append(info)
    left = [info.name for info in infos if info.operands is None and info.arithmetic == str(array.mac)]
    if first and left:
        notes.append(f"the operands of {len(left)} layers were not kept: {KEPT_BYTES >> 20} MiB of others were")
    if not first:
        notes.append("no data was given: no accuracy, no shifts and no operands to simulate are known")
    return tuple(infos), operands, packed, notes


def _packed(array: Array, a: np.ndarray, b: np.ndarray) -> tuple[Packed | None, Packed | None]:
    """Return what goes over the ports for *a* (m × k) and *b* (k × n) where they carry 8-bit codes."""
    streams, stays = array.activation_codes, array.weight_codes
    return (
        None if streams is None else pack(a, streams),
        None if stays is None else pack(b.T, stays, largest=largest_of(b)),
    )


def _chosen(emulated: EmulatedEngine, array: Array) -> list[str]:
    """Return the layers of the array's own arithmetic whose operands are kept: the first ones, until it is enough."""
    chosen, kept = [], 0
    for layer in emulated.layers:
        size = (min(layer.m, KEPT_ROWS) * layer.k + layer.k * layer.n) * array.code_bits // 8
        if emulated.macs[layer.name] == array.mac and kept + size <= KEPT_BYTES:
            chosen.append(layer.name)
            kept += size
    return chosen


def _modules(array: Array, emulated: EmulatedEngine) -> dict[str, str]:
    """Return module → text, the header in front of each; the top first."""
    lines = [
        f"engine: {array.rows} x {array.columns}, {array.mac}, depth {array.depth}, results {array.result}",
        *(
            f"{port}: {code}"
            for port, code in (("weights", array.weight_codes), ("activations", array.activation_codes))
            if code
        ),
    ]
    return under_header(module_texts(array), emulated.graph, lines, "matrix-engine")


def _sane(target: MatrixEngine) -> None:
    target.array()


FLOW = Flow(
    check=check_products,
    counts=_counts,
    read=read_products,
    free=check_engine_output,
    context=engine_context,
    build=build_engine,
    write=_write,
    open=open_engine_design,
    kept=_kept,
    sane=_sane,
)
