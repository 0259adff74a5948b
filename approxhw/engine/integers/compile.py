"""How the flow serves integer engines: a model's codes, its products by operators, their layers, operands and accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from approxhw.artifacts.design import Model
from approxhw.artifacts.engine_parts import EngineAccuracy
from approxhw.artifacts.integer_engine import (
    IntegerDesign,
    IntegerFields,
    IntegerLayer,
    check_integer_output,
    write_integer_engine,
)
from approxhw.common.arguments import checked, settle_fields
from approxhw.common.errors import Problem
from approxhw.common.files import locked
from approxhw.common.statistics.safety import SafetyReport
from approxhw.flow.compile import CompileKeywords, compile
from approxhw.flow.stages.protocol import Asked, Clock, Flow, Ledger, Lowered, Option, Source, Steps
from approxhw.flow.stages.tabulate import tabulate_verilog
from approxhw.ir.graph import Graph, Node
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.tensor.emulate import EmulatedEngine
from approxhw.ir.tensor.integer_layers import integer_mac, integer_nodes, integer_op, layer_sizes, products_table
from approxhw.ir.tensor.layers import product_nodes
from approxhw.ir.tensor.operator_errors import layer_codes
from approxhw.ir.tensor.run import checked_feeds, walk_tensors
from approxhw.numerics.mac.integer_mac import exact_products, parse_integer_mac
from approxhw.numerics.multipliers.families import EXACT

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
from ..operands import EngineAnswers, Feeds, answered, beside_labels, calibration_feeds, observe_rows, with_meant_labels
from ..reshaping import reshaping_on
from ..safety import EngineForms, SplitFeeds, check_judging, engine_safety, judging_feeds, with_layers
from .layers import streams_of, together
from .layers_alone import layers_alone
from .rtl import (
    array_fields,
    array_for,
    integer_modules,
    layer_constants,
    layer_schedule,
    whole_integer_engine,
)
from .target import IntegerEngine

if TYPE_CHECKING:
    from approxhw.frontends.onnx.loading import ModelSource
    from approxhw.frontends.products.partition import OpenedModel

    from .cost import IntegerEstimate

TOLD_NAMES = 8
"""Most layers that a sentence names."""

CALIBRATION_ROWS, TOLD_ROWS = 256, 1000
"""Training rows that passes look at, and rows on which the ledger tells accuracies; the design's own is of all rows."""

KEPT_BYTES, KEPT_ROWS, LOOKED_AT = 32 << 20, 1024, 8
"""Most bytes of operands that a design keeps, most rows of a layer's activations, and rows of the data that give them."""


@dataclass(frozen=True)
class CompiledIntegerEngine:
    """The folder of an integer engine: ``folder`` on disk, ``design`` what stands in it."""

    folder: Path
    design: IntegerDesign

    def __post_init__(self) -> None:
        """Refuse values that are not of the types of their fields."""
        settle_fields(self, "CompiledIntegerEngine")

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
        """Stream a layer through the Verilog; options and result as :func:`.simulate.simulate_integer_engine`."""
        from .simulate import simulate_integer_engine

        with locked(self.folder):
            return simulate_integer_engine(self.folder, self.design, simulator, **options)

    def estimate(self, library: str | Path | None = None, **options: Option) -> IntegerEstimate:
        """Measure area, power and delay; options and result as :func:`.cost.estimate_integer_engine`."""
        from .cost import estimate_integer_engine

        with locked(self.folder):
            return estimate_integer_engine(self.folder, self.design, library, **options)

    def report(self) -> Path:
        """Write ``report.html`` from all that is known so far; return its path."""
        from .write_report import report_integer_engine

        with locked(self.folder):
            return report_integer_engine(self.folder, self.design)

    def summary(self) -> dict[str, object]:
        """Return all that is known so far as plain types: what ``--json`` prints."""
        from .cost import integer_estimates

        found = integer_estimates(self.folder)
        return engine_summary(self.folder, self.design, {}, {"estimate": found[-1] if found else None})


@checked("open_integer_design")
def open_integer_design(folder: str | Path) -> CompiledIntegerEngine:
    """Return the engine in *folder*; raise :class:`~approxhw.common.errors.InvalidDesignError` where there is no whole one."""
    return CompiledIntegerEngine(Path(folder), whole_integer_engine(Path(folder)))


def compile_integer_engine(
    model: ModelSource, *, target: IntegerEngine | str | None = None, **given: Unpack[CompileKeywords]
) -> CompiledIntegerEngine:
    """Compile an integer engine for *model* (path or ``ModelProto``); the rest as :func:`approxhw.compile` takes it."""
    chosen = target_chosen(target, IntegerEngine, "no integer engine")
    compiled: CompiledIntegerEngine = compile(model, target=chosen, **given)
    return compiled


@dataclass(eq=False)
class _Told:
    """What Graphs of one model answer: each Graph run once on so many rows."""

    model: OpenedModel
    feeds: Feeds
    threads: int
    known: list[tuple[Graph, Feeds, EngineAnswers]] = field(default_factory=list)

    @cached_property
    def some(self) -> Feeds:
        """The rows on which the ledger tells accuracies."""
        return self.feeds.some(TOLD_ROWS)

    def answers(self, graph: Graph, feeds: Feeds) -> EngineAnswers:
        """Return what *graph* says of *feeds*, once of the same Graph and rows."""
        for known, rows, made in self.known:
            if known is graph and rows is feeds:
                return made
        found = answered(EmulatedEngine(graph, self.model.host, self.threads), feeds)
        self.known.append((graph, feeds, found))
        return found

    def accuracies(self, graph: Graph) -> tuple[float | None, float | None]:
        """Return the accuracy of *graph* on training rows, of which none are told, and on the first others."""
        if self.feeds.labels is None:
            return None, None
        found = self.answers(graph, self.some).classes
        assert self.some.labels is not None
        return None, float(np.mean(found == self.some.labels[: len(found)]))


@dataclass(frozen=True, eq=False)
class OpenedCodes:
    """What is kept of a model: as it was read and partitioned, the user's rows, and what its Graphs said of them."""

    model: OpenedModel
    train: Feeds
    feeds: Feeds
    told: _Told
    judging: SplitFeeds

    def observe(self, graph: Graph, seen: Callable[[Node, np.ndarray], None]) -> None:
        """Carry *graph* out on training rows, batch by batch, and show every value."""
        observe_rows(self.train.some(CALIBRATION_ROWS), self.model.host, graph, seen)


def read_codes_model(asked: Asked[IntegerEngine]) -> Source[OpenedCodes]:
    """Open the model that is asked for, sized for the user's inputs."""
    from approxhw.frontends.products.partition import open_model

    loaded = asked_model(asked)
    train, feeds = calibration_feeds(loaded, asked.data)
    opened = open_model(loaded, asked.shape or feeds.shapes(1), integers=True)
    rows = max(1, min(LOOKED_AT, feeds.rows))
    if asked.shape is None and rows > 1:
        opened = opened.at(feeds.shapes(rows) or {})
    graph = without_empty_products(opened.graph)
    feeds = with_meant_labels(feeds, graph)
    judging = judging_feeds(with_meant_labels(train, graph), feeds)
    check_judging(asked.safety, judging)
    kept = OpenedCodes(opened, train, feeds, _Told(opened, feeds, asked.threads), judging)
    return Source(graph, about_model(loaded, graph), f"{model_name(graph)}-integer-engine", kept)


def check_codes_model(asked: Asked[IntegerEngine]) -> list[Problem]:
    """Return everything that keeps the model from being compiled for an integer engine; empty where nothing does.

    Raises :class:`InvalidModelError` where the file itself is broken.
    """
    return unsupported_parts(lambda: _looked_at(asked))


def _looked_at(asked: Asked[IntegerEngine]) -> Graph:
    from approxhw.frontends.products.model import model_inputs

    loaded = asked_model(asked)
    shape = dict(asked.shape or {})
    open_ones = [
        value for value in model_inputs(loaded) if value.dims is None or any(isinstance(d, str) for d in value.dims)
    ]
    assumed = {
        value.name: tuple(size if isinstance(size, int) else 1 for size in value.dims or ())
        for value in open_ones
        if value.name not in shape
    }
    return without_empty_products(graph_of_sizes(loaded, shape, assumed, list(assumed), integers=True))


def _counts(asked: Asked[IntegerEngine]) -> dict[str, int]:
    graph = _looked_at(asked)
    codes, numbers = len(integer_nodes(graph)), len(product_nodes(graph))
    return counted_parts(graph, {"products of codes": codes, "products of numbers": numbers})


def integer_context(source: Source[OpenedCodes], asked: Asked[IntegerEngine]) -> PassContext:
    """Return what passes may look at: training rows through the model, accuracies, and multipliers in Verilog."""
    kept = source.kept
    return PassContext(
        model=source.graph,
        accuracy=kept.told.accuracies,
        observe=kept.observe if kept.train.rows else None,
        training=(kept.train.arrays, kept.train.labels) if kept.train.rows else None,
        tabulate=tabulate_verilog,
        reshaping=reshaping_on(kept.model, asked.target),
        threads=asked.threads,
    )


def build_integer_engine(
    source: Source[OpenedCodes], asked: Asked[IntegerEngine], lowered: Lowered, clock: Clock
) -> IntegerDesign:
    """Return the engine of the lowered Graph, with its layers' schedules and operands."""
    kept, graph, target = source.kept, lowered.graph, asked.target
    mac, names, variate = together(graph)
    array = array_for(target, mac, names, variate, graph)
    accuracy = EngineAccuracy()
    if kept.feeds.labels is not None:
        with clock.step("accuracy"):
            plain, made = (kept.told.answers(each, kept.feeds).classes for each in (source.graph, graph))
            accuracy = beside_labels(plain, made, kept.feeds.labels)
    safety = _safety(source, asked, lowered, clock)
    with clock.step("layers"):
        layers, operands, notes = _layers(kept, graph, array_fields(array))
    with clock.step("emit"):
        modules = under_header(integer_modules(array), graph, _header(array_fields(array)), "integer-engine")
    return IntegerDesign(
        engine=array_fields(array),
        modules=modules,
        layers=layers,
        operands=operands,
        clock_ns=float(target.clock_ns),
        model=source.about,
        library=target.library,
        safety=safety,
        **made_fields(asked, lowered, clock, accuracy, [*kept.model.notes, *_left(graph), *notes, *kept.feeds.notes]),
    )


def _safety(
    source: Source[OpenedCodes], asked: Asked[IntegerEngine], lowered: Lowered, clock: Clock
) -> SafetyReport | None:
    """Return the safety report: against the model as it is given, and where it is asked for of every layer alone."""
    kept, run = source.kept, source.kept.told.answers
    with clock.step("safety"):
        forms = EngineForms("the model as it is given", source.graph, lowered.graph, lowered.approximated)
        report = engine_safety(asked.safety, kept.judging, forms, run)
    if not asked.safety.sensitivity or not lowered.graphs:
        return report
    context = replace(integer_context(source, asked), accuracy=None)
    exact, layers = layers_alone(asked.passes, lowered.graphs, context)
    return with_layers(report, kept.judging, exact, "the model in codes, all products exact", layers, run, clock)


def _header(engine: IntegerFields) -> list[str]:
    return [
        f"engine: {engine['rows']} x {engine['columns']}, {engine['mac']}, depth {engine['depth']}",
        f"operators: {', '.join(engine['operators'])}",
    ]


def _layers(
    kept: OpenedCodes, graph: Graph, engine: IntegerFields
) -> tuple[tuple[IntegerLayer, ...], dict[str, dict[str, np.ndarray]], list[str]]:
    """Return what is known of every product, the operands that are kept, and what the user should know."""
    nodes = integer_nodes(graph)
    wanted = {name for node in nodes for name in node.inputs[:4]}
    values: dict[str, np.ndarray] = {}
    first = kept.feeds.first(LOOKED_AT)
    if first:

        def keep(node: Node, value: np.ndarray) -> None:
            if node.name in wanted:
                values[node.name] = value

        walk_tensors(graph, checked_feeds(graph, first), kept.model.host, None, keep)
    infos, operands, notes, held = [], dict[str, dict[str, np.ndarray]](), list[str](), 0
    errors = _mean_errors(kept, graph)
    exact = exact_products(parse_integer_mac(engine["mac"])).products
    for number, node in enumerate(nodes):
        op, mac = integer_op(node), integer_mac(node)
        count, m, k, n = layer_sizes(graph, node)
        schedule = layer_schedule(engine, m, k, n)
        info = IntegerLayer(
            op.title,
            type(op).__name__,
            m,
            k,
            n,
            count,
            str(mac),
            mac.operator,
            "sums",
            op.variate,
            tiles=schedule.tiles,
            clocks=schedule.clocks,
            utilisation=schedule.utilisation,
            blocks=(engine["vectors"], engine["columns"], engine["rows"]),
            mean_error=errors.get(node.name, 0.0),
        )
        file = f"operands/{number:02d}.npz"
        if node.name in values or all(name in values for name in node.inputs[:2]):
            streams = streams_of(graph, node, values, KEPT_ROWS)
            constants, result = layer_constants(graph, node, streams, engine)
            info = replace(info, result=result)
            size = streams.x.size + streams.weights.size
            if held + size <= KEPT_BYTES:
                held += size
                table = exact if mac.operator == EXACT else products_table(graph, node)
                operands[file] = {**constants, "products": table.astype(np.int32)}
                info = replace(info, operands=file)
        infos.append(info)
    if not first:
        notes.append("no data was given: no accuracy and no operands to simulate are known")
    return tuple(infos), operands, notes


def _left(graph: Graph) -> list[str]:
    """Return a sentence for each reason why products of numbers stay with the host, which names them."""
    from approxhw.passes.integers.integer_products import products_left

    reasons: dict[tuple[str, str | None], list[str]] = {}
    for problem in products_left(graph):
        reasons.setdefault((problem.why, problem.remedy), []).append(problem.where)
    said = []
    for (why, remedy), names in reasons.items():
        several = f"{len(names)} products stay" if len(names) > 1 else "a product stays"
        told = ", ".join(names[:TOLD_NAMES]) + (", …" if len(names) > TOLD_NAMES else "")
        said.append(f"{several} with the host, in floating point: {told}: {why}{f'; {remedy}' if remedy else ''}")
    return said


def _mean_errors(kept: OpenedCodes, graph: Graph) -> Mapping[str, float]:
    """Return the mean error of a product of each layer, on the codes of training rows, by the name of its Node."""
    if not kept.train.rows:
        return {}
    found = {}
    for name, layer in layer_codes(graph, kept.observe, "integer-engine").items():
        found[name] = float(np.mean(np.abs(layer.mean_error()))) / max(1, len(layer.weights))
    return found


def _write(design: IntegerDesign, folder: Path, steps: Steps) -> CompiledIntegerEngine:
    write_integer_engine(design, folder, steps)
    return CompiledIntegerEngine(folder, design)


def _kept(folder: Path) -> tuple[Model, Ledger]:
    design = whole_integer_engine(folder)
    return design.model, design.ledger


FLOW = Flow(
    check=check_codes_model,
    counts=_counts,
    read=read_codes_model,
    free=check_integer_output,
    context=integer_context,
    build=build_integer_engine,
    write=_write,
    open=open_integer_design,
    kept=_kept,
    sane=IntegerEngine.check,
)
