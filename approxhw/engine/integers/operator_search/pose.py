"""What a search for operators is of a model: its layers priced on their own tiles, and all that judges a choice."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.front import CHECKPOINT
from approxhw.common.arguments import checked
from approxhw.common.data.dataset import DataSpec
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.option_fields import Value
from approxhw.engine.composing.asked import read_approximations
from approxhw.engine.composing.compose import LossBounds
from approxhw.engine.composing.shapes import KEPT, Shape, composed_rows, shape_notes, shapes_of
from approxhw.engine.layer_search import front_folder, model_digest, references, search_identity, with_asked
from approxhw.engine.operands import Feeds, calibration_feeds, labelled_splits, observe_rows
from approxhw.ir.graph import Graph, Node
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.tensor.emulate import EmulatedEngine
from approxhw.ir.tensor.integer_layers import integer_nodes, integer_op, layer_sizes
from approxhw.ir.tensor.operator_errors import layer_codes
from approxhw.ir.tensor.run import checked_feeds, title_of, walk_tensors
from approxhw.numerics.mac.integer_mac import IntegerMac
from approxhw.numerics.multipliers.families import EXACT
from approxhw.numerics.multipliers.tables import ProductTable
from approxhw.passes.integers.integer_products import exact_mac
from approxhw.passes.retrain.fit_weights import FitWeights, exact_samples

from ..compile import CALIBRATION_ROWS, LOOKED_AT
from ..cost import EXACT_FORMS
from ..layers import layer_patterns, streams_of
from ..plans import spell_plan
from ..target import IntegerEngine
from .choices import LayerChoice, LayerRows, layer_choices
from .operator_costs import PricedOperators, priced_operators, sampled_tile
from .problem import CODES, IntegerProblem
from .settings import IntegerSearch

if TYPE_CHECKING:
    from onnx import ModelProto

    from approxhw.frontends.products.partition import OpenedModel


TILE_ROWS = 256
"""Activations of a tile that operators are priced on."""

HELD_SAMPLES, LEAST_HELD = 1024, 32
"""Vectors of a layer that errors are told on, and rows below which they are those that weights are fitted on."""

TRIED_HARM, LEAST_FELT, FELT_ROWS = 0.01, 1e-6, 128
"""Harm of the choice by which outputs tell what they feel of a layer; what they feel at least; on how many rows."""


@checked("search")
def operator_problem(
    model: str | Path | ModelProto,
    *,
    data: DataSpec,
    output: str | Path | None = None,
    target: IntegerEngine | None = None,
    options: IntegerSearch | None = None,
    shape: Mapping[str, Sequence[int]] | None = None,
    jobs: int = 1,
    command: str = "",
    on_progress: Callable[[str, int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
    **asked: Value,
) -> IntegerProblem:
    """Return what the search of *model* is; arguments as :func:`approxhw.search` takes them for an ``IntegerEngine``.

    ``asked``: fields of *options* that are to be other than there. Every operator is synthesised here, and every layer's
    choices are priced on a real tile. Raises errors of :mod:`approxhw.common.errors`.
    """
    from approxhw.backends.estimate import load_library
    from approxhw.frontends.products.partition import open_model

    target, started = target or IntegerEngine(), time.perf_counter()
    options = with_asked(options or IntegerSearch(), asked)
    if target.recover == "retrain":
        why = "every configuration would be trained anew"
        raise OptionError("search", [Problem("recover", why, "search without, and compile the chosen member with it")])
    if target.activation != "none":
        why = "operators are searched for with activations on the host"
        raise OptionError(
            "search", [Problem("activation", why, "search without, and compile the chosen member with it")]
        )
    target = replace(target, operator=EXACT, layers="")
    target.check()
    train, report = calibration_feeds(model, data)
    wanted = read_approximations(options.approximations)
    order = np.random.default_rng(options.seed)
    if wanted:
        rows = composed_rows(model, data, options.seed, CALIBRATION_ROWS, options.rows, options.validation_rows)
        splits = rows.splits
    else:
        splits = labelled_splits(train, report, order, options.rows, options.validation_rows)
    opened = open_model(model, shape or report.shapes(1), integers=True)
    sizes = shape or report.shapes(min(LOOKED_AT, report.rows))
    if shape is None:
        opened = opened.at(sizes or {})
    title = Path(str(title_of(opened.graph))).stem
    folder = front_folder(output, title)
    threads = max(1, jobs // options.islands)
    calibration = train.some(CALIBRATION_ROWS)

    shape_taken: Shape | None = None
    notes: tuple[str, ...] = ()
    if wanted:
        most = options.max_class_loss
        half = LossBounds(options.max_accuracy_loss / 2, None if most is None else most / 2)
        shapes = shapes_of(
            opened,
            target,
            rows,
            options.approximations,
            half,
            options.compositions,
            threads=max(1, jobs),
            kept=folder / CHECKPOINT / KEPT,
            identity=json.dumps(search_identity(model_digest(model), splits["search"])),
            tell=on_progress or _silent,
            stop=stop,
        )
        notes = (*rows.notes, *shape_notes(shapes, half))
        shape_taken = [each for each in shapes if not each.passes or each.holds(half)][-1]
    context = PassContext(observe=partial(observe_rows, calibration, opened.host), fits={})
    given = opened.graph if shape_taken is None else shape_taken.graph
    base, _ = run_passes(given, target.passes()[:CODES], context, check=False)
    signed = _signs(base)
    widest = max(exact_mac(base, node).weight_bits for node in integer_nodes(base))
    priced = priced_operators(
        options.named,
        load_library(target.library),
        signed=signed,
        weight=target.weight,
        weight_bits=widest,
        jobs=jobs,
        on_progress=on_progress,
    )
    target = replace(target, signed=priced.signed)
    posing = _Posing(base, target, context, opened, train, priced, options, jobs, on_progress or _silent)
    layers = posing.layers()
    engine = EmulatedEngine(opened.graph, opened.host, threads)
    onnx, bounds = references(engine, splits, options.max_class_loss)
    told = [f"{each.where}: {each.why}{f'; {each.remedy}' if each.remedy else ''}" for each in priced.broken]
    return IntegerProblem(
        model=model,
        data=data,
        target=target,
        options=options,
        shape=shape,
        sizes=sizes,
        base=base,
        numbers=layers.numbers,
        titles=layers.titles,
        choices=layers.choices,
        products=layers.products,
        exact_fj=layers.exact_fj,
        calibration=calibration,
        splits=splits,
        onnx=onnx,
        bounds=bounds,
        tables=posing.tables,
        areas=(min(each.area_um2 for each in priced.exact), *(each.area_um2 for each in priced.operators)),
        rest_um2=_rest_of_element(target, priced),
        folder=folder,
        title=title,
        digest=model_digest(model),
        command=command,
        threads=threads,
        started=started,
        taken=shape_taken,
        notes=(*notes, *priced.notes, *(f"left out: {each}" for each in told)),
        fits=context.fits or {},
        opened=opened,
    )


def _signs(base: Graph) -> str:
    """Return which operands of most products are two's complement: what ours are made for where no file is named."""
    found = [exact_mac(base, node).signed for node in integer_nodes(base)]
    if not found:
        why = "it holds no product of codes"
        raise OptionError("search", [Problem(shown(title_of(base), 60), why, "compile it for a matrix-engine")])
    return max(dict.fromkeys(found), key=found.count)


@dataclass(frozen=True, eq=False)
class SearchedLayers:
    """The layers that are searched, those with constant weights: what each may have, its products, exact energies (fJ)."""

    numbers: tuple[int, ...]
    titles: tuple[str, ...]
    choices: tuple[tuple[LayerChoice, ...], ...]
    products: np.ndarray
    exact_fj: np.ndarray


@dataclass(frozen=True, eq=False)
class _Posing:
    """What layers are priced and judged with."""

    base: Graph
    target: IntegerEngine
    context: PassContext
    opened: OpenedModel
    train: Feeds
    priced: PricedOperators
    options: IntegerSearch
    jobs: int
    tell: Callable[[str, int, int], None]

    @property
    def tables(self) -> dict[str, ProductTable]:
        """Of operators, by how they are spelled."""
        return {each.spelling: each.table for each in self.priced.operators}

    def layers(self) -> SearchedLayers:
        """Return the layers with their choices, each choice's harm told by what outputs feel of it."""
        target, observe = self.target, self.context.observe
        assert observe is not None
        # with operands as those of the operators, but exact: what their errors are told against
        plain = replace(target, operator=EXACT_FORMS[-1], recover="none").passes()[CODES:]
        graph, _ = run_passes(self.base, plain, self.context, check=False)
        known = layer_codes(graph, observe, "search")
        samples = exact_samples(self.base, observe, FitWeights().samples)
        held = exact_samples(self.base, partial(observe_rows, self._held(), self.opened.host), HELD_SAMPLES)
        values = self._values(graph)
        rows = max(1, min(LOOKED_AT, self.train.rows))
        numbers, titles, choices, products, exact = [], list[str](), [], [], []
        nodes = integer_nodes(graph)
        for number, node in enumerate(nodes):
            self.tell("choices of layers", number, len(nodes))
            # weights of fewer bits than the operators have are multiplied exactly: they go into the array so
            if node.name not in known or known[node.name].mac.weight_bits < self.priced.weight_bits:
                continue
            layer = known[node.name]
            x, weights = layer_patterns(streams_of(graph, node, values, TILE_ROWS), layer.mac)
            tile, places = sampled_tile(x[:, : target.rows], min(target.columns, weights.shape[1]))
            sent = LayerRows(tile, places, samples[node.name], held[node.name])
            edits, clock = self.options.tried, target.clock_ns
            found, plain_fj = layer_choices(
                layer, sent, self.priced, edits, clock, fits=self.context.fits, jobs=self.jobs
            )
            count, m, k, n = layer_sizes(graph, node)
            title = integer_op(node).title
            numbers.append(number)
            titles.append(title if title not in titles else f"{title} ({number})")
            choices.append(tuple(found))
            products.append(count * m * k * n / rows)
            exact.append(plain_fj)
        if not numbers:
            why = "no product of codes has constant weights of the widest kind"
            remedy = "compile it with one operator for all"
            raise OptionError("search", [Problem(shown(title_of(graph), 60), why, remedy)])
        felt = self._felt(numbers, choices)
        return SearchedLayers(tuple(numbers), tuple(titles), felt, np.array(products), np.array(exact))

    def _held(self) -> Feeds:
        """Return rows that nothing is fitted on; those that weights are fitted on where there are too few others."""
        rest = self.train.part(CALIBRATION_ROWS, 2 * CALIBRATION_ROWS)
        return rest if rest.rows >= LEAST_HELD else self.train.some(CALIBRATION_ROWS)

    def _values(self, graph: Graph) -> Mapping[str, np.ndarray]:
        """Return the operands of the products of *graph* for the first rows."""
        values: dict[str, np.ndarray] = {}
        wanted = {name for node in integer_nodes(graph) for name in node.inputs[:4]}

        def keep(node: Node, value: np.ndarray) -> None:
            if node.name in wanted:
                values[node.name] = value

        walk_tensors(graph, checked_feeds(graph, self.train.first(LOOKED_AT)), self.opened.host, None, keep)
        return values

    def _felt(
        self, numbers: Sequence[int], choices: Sequence[tuple[LayerChoice, ...]]
    ) -> tuple[tuple[LayerChoice, ...], ...]:
        """Return *choices* with harms in units of the outputs' spread: of each layer one choice is tried, all others exact."""
        plain, made = self._outputs(self.base), []
        spread = max(float(plain.var(axis=0).sum()), 1e-12)
        for done, (number, layer) in enumerate(zip(numbers, choices, strict=True)):
            self.tell("what outputs feel of layers", done, len(numbers))
            harmful = [each for each in layer if each.harm > 0]
            if not harmful:
                made.append(layer)
                continue
            # weights as they are where there is such a choice: nothing is fitted for this
            plain_ones = [each for each in harmful if not each.plan.moved] or harmful
            tried = min(plain_ones, key=lambda each: abs(np.log(each.harm / TRIED_HARM)))
            target = replace(self.target, operator=EXACT, layers=spell_plan({number: tried.plan}))
            graph, _ = run_passes(self.base, target.passes()[CODES:], self._tabulating(), check=False)
            felt = float((self._outputs(graph) - plain).var(axis=0).sum()) / spread / tried.harm
            made.append(tuple(replace(each, harm=each.harm * max(felt, LEAST_FELT)) for each in layer))
        self.tell("what outputs feel of layers", len(numbers), len(numbers))
        return tuple(made)

    def _tabulating(self) -> PassContext:
        """Return what passes may look at here: few of the training rows do for biases."""
        observe = partial(observe_rows, self.train.some(FELT_ROWS), self.opened.host)
        return replace(self.context, observe=observe, tabulate=lambda path, stated: self.tables[str(path)])

    def _outputs(self, graph: Graph) -> np.ndarray:
        """Return the first output of *graph* for rows that nothing is fitted on, rows × values."""
        engine = EmulatedEngine(graph, self.opened.host, self.jobs)
        rows = self._held().some(FELT_ROWS).batches()
        found = [np.asarray(next(iter(engine.run(part).values()))) for part in rows]
        return np.concatenate([each.reshape(len(each), -1).astype(np.float64) for each in found])


def _silent(step: str, done: int, total: int) -> None:
    """Tell nobody how far it is."""


def _rest_of_element(target: IntegerEngine, priced: PricedOperators) -> float:
    """Return the area of what an element holds beside its operators: registers and the adder, by the exact one."""
    from approxhw.backends.estimate import synthesise
    from approxhw.backends.integer_engine.engine import IntegerArray, integer_engine_verilog

    mac = IntegerMac(signed=priced.signed, weight_bits=priced.weight_bits, accumulator_bits=24)
    array = IntegerArray(rows=1, columns=1, mac=mac, depth=target.depth)
    whole = synthesise(
        integer_engine_verilog(array, top="integer_element"), "integer_element", priced.exact[0].netlist.library
    )
    return max(0.0, whole.area() * 1e6 - priced.exact[0].area_um2)
