"""What compiling for an engine takes of any model: opened and looked at, its name, a header of Verilog; what a design is told."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, cast

from approxhw.artifacts.design import Model
from approxhw.artifacts.engine_parts import EngineAccuracy
from approxhw.common.arguments import told
from approxhw.common.errors import InvalidModelError, OptionError, Problem, UnsupportedModelError, shown
from approxhw.common.statistics import no_better
from approxhw.common.statistics.safety import SafetyReport
from approxhw.common.version import __version__
from approxhw.flow.stages.protocol import Asked, Clock, Lowered, T, Target
from approxhw.flow.stages.targets import target_of
from approxhw.ir.graph import Graph
from approxhw.ir.kinds.tensor.ops import Feed, Host
from approxhw.ir.pass_manager import LedgerLine
from approxhw.ir.tensor.integer_layers import integer_nodes, integer_op, layer_sizes
from approxhw.ir.tensor.layers import product_layers
from approxhw.ir.tensor.run import title_of

from .kept_verdicts import verdicts_in

if TYPE_CHECKING:
    from approxhw.frontends.onnx.loading import Loaded, ModelSource

Sizes = Mapping[str, Sequence[int]]
"""Sizes of inputs by name."""


def target_chosen(target: T | str | None, kind: type[T], none: str) -> T:
    """Return the *target* of that *kind*, given or spelled, else the default one; what is *none* raises :class:`OptionError`."""
    chosen = kind() if target is None else target_of(target)
    if not isinstance(chosen, kind):
        raise OptionError("compile", [Problem("target", f"{told(chosen)} is {none}", "compile it with ax.compile")])
    return chosen


def asked_model(asked: Asked[Target]) -> Loaded:
    """Return the model that is asked for, read and checked."""
    from approxhw.frontends.products.model import load_products

    return load_products(cast("ModelSource", asked.model))  # what else it is, `Path` refuses


def about_model(loaded: Loaded, graph: Graph) -> Model:
    """Return the title and the digest of the model in *loaded*, whose Graph is *graph*."""
    return {"title": shown(title_of(graph), 120), "sha256": loaded.digest}


def unsupported_parts(look: Callable[[], object]) -> list[Problem]:
    """Return what keeps a model from being compiled that *look* opens; raise what else it raises, where the file is broken."""
    try:
        look()
    except UnsupportedModelError as error:
        return list(error.problems)
    return []


def graph_of_sizes(
    loaded: Loaded, given: Sizes, least: Sizes, assumed: Sequence[str], *, integers: bool = False
) -> Graph:
    """Return the Graph of the model in *loaded* without any rows: sizes as *given*, else the *least*.

    ``assumed``: inputs whose sizes are nowhere said. Where the model does not fit them, :class:`OptionError` asks for them;
    where there are none, :class:`InvalidModelError` says what is broken. ``integers`` as of ``open_model``.
    """
    from approxhw.frontends.products.partition import open_model

    try:
        return open_model(loaded, {**least, **given}, integers=integers).graph
    except InvalidModelError as error:
        if not assumed:
            raise
        why = f"its sizes are open; with 1 for each of them, {error.problems[0].why}"
        problems = [
            Problem(f"input {shown(name)!r}", why, f"say them: --shape {shown(name)}=SIZExSIZE") for name in assumed
        ]
        raise OptionError("check", problems) from error


def without_empty_products(graph: Graph) -> Graph:
    """Return *graph*; raise :class:`UnsupportedModelError` naming every product of a matrix without an element."""
    sizes = [(each.name, each.count, each.m, each.k, each.n) for each in product_layers(graph)]
    sizes += [(integer_op(node).title, *layer_sizes(graph, node)) for node in integer_nodes(graph)]
    remedy = "look at its sizes: a layer of 0 neurons, or 0 classes"
    empty = [
        Problem(f"layer {shown(name, 60)!r}", f"it multiplies {m} × {k} by {k} × {n}", remedy)
        for name, count, m, k, n in sizes
        if min(count, m, k, n) < 1
    ]
    if empty:
        raise UnsupportedModelError(shown(title_of(graph), 120), empty)
    return graph


def counted_parts(graph: Graph, products: Mapping[str, int]) -> dict[str, int]:
    """Return how many inputs *graph* has, its *products* by what they are called, and how many parts stay on the host."""
    feeds = sum(isinstance(node.op, Feed) for node in graph.nodes)
    hosts = sum(isinstance(node.op, Host) for node in graph.nodes)
    return {"inputs": feeds, **products, "parts on the host": hosts}


def model_name(graph: Graph) -> str:
    """Return the name of an engine for the model of *graph*: its title as an identifier."""
    stem = re.sub(r"\W+", "_", Path(title_of(graph)).stem, flags=re.ASCII).strip("_")
    return f"model_{stem}"[:60] if not stem or stem[0].isdigit() else stem[:60]


def under_header(modules: Mapping[str, str], graph: Graph, lines: Sequence[str], target: str) -> dict[str, str]:
    """Return *modules* (name → Verilog), a header above each: the model of *graph*, *lines* about the engine, and who made it."""
    model = "".join(c if " " <= c <= "~" and c not in "\\*/" else "?" for c in title_of(graph)[:120])
    header = [f"model:  {model}", *lines, f"made by approxhw {__version__}, target {target}"]
    head = "".join(f"// {line}\n" for line in header)
    return {name: f"{head}\n{text}" for name, text in modules.items()}


class MadeFields(TypedDict):
    """What every engine's design is told of how it was made, by the fields of the design."""

    name: str
    version: str
    shape: Mapping[str, Sequence[int]]
    command: str
    accuracy: EngineAccuracy
    seconds: Mapping[str, float]
    warnings: tuple[str, ...]
    pipeline: str
    ledger: tuple[LedgerLine, ...]


def made_fields(
    asked: Asked[Target], lowered: Lowered, clock: Clock, accuracy: EngineAccuracy, notes: Sequence[str]
) -> MadeFields:
    """Return what a design is told of the lowered Graph; its warnings are *notes*, and whether the *accuracy* is no good."""
    most, rows = accuracy.get("majority"), f"{accuracy.get('rows', 0)} rows"
    graph = lowered.graph
    return {
        "name": model_name(graph),
        "version": __version__,
        "shape": {node.op.title: list(node.type.shape) for node in graph.nodes if isinstance(node.op, Feed)},
        "command": asked.command,
        "accuracy": accuracy,
        "seconds": dict(clock.seconds),
        "warnings": (
            *notes,
            *no_better("the model in float32", accuracy.get("onnx"), most, rows),
            *no_better("the model on the engine", accuracy.get("engine"), most, rows),
        ),
        "pipeline": ", ".join(lowered.spelled),
        "ledger": lowered.ledger,
    }


class _Design(Protocol):
    @property
    def engine(self) -> Mapping[str, object]: ...
    @property
    def accuracy(self) -> EngineAccuracy: ...
    @property
    def safety(self) -> SafetyReport | None: ...
    @property
    def layers(self) -> Sequence[Any]: ...
    @property
    def seconds(self) -> Mapping[str, float]: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...


def engine_summary(
    folder: Path, design: _Design, array: Mapping[str, object], cost: Mapping[str, object]
) -> dict[str, object]:
    """Return all that is known so far of the engine in *folder* as plain types; *array*, *cost*: what only its kind tells."""
    return {
        "design": str(folder),
        "engine": dict(design.engine),
        **array,
        "accuracy": dict(design.accuracy),
        "safety": None if design.safety is None else asdict(design.safety),
        "layers": [asdict(layer) for layer in design.layers],
        "simulation": verdicts_in(folder),
        **cost,
        "seconds": dict(design.seconds),
        "warnings": list(design.warnings),
    }
