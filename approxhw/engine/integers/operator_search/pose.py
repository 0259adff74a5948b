"""What a search for operators is of a model: its layers priced on their own tiles, and all that judges a choice."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.arguments import checked
from approxhw.common.data.dataset import DataSpec
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.option_fields import Value
from approxhw.engine.layer_search import accuracy_on, front_folder, model_digest, with_asked
from approxhw.engine.operands import Feeds, calibration_feeds, labelled_splits, observe_rows
from approxhw.ir.graph import Graph, Node
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.tensor.emulate import EmulatedEngine
from approxhw.ir.tensor.integer_layers import integer_nodes, integer_op, layer_sizes
from approxhw.ir.tensor.operator_errors import layer_codes
from approxhw.ir.tensor.run import checked_feeds, title_of, walk_tensors
from approxhw.numerics.mac.integer_mac import IntegerMac
from approxhw.numerics.multipliers.families import EXACT

from ..compile import CALIBRATION_ROWS, LOOKED_AT
from ..cost import EXACT_FORMS
from ..layers import layer_patterns, streams_of
from ..target import IntegerEngine
from .choices import LayerChoice, LayerTile, layer_choices, sum_variances
from .operator_costs import PricedOperators, priced_operators, sampled_tile
from .problem import CODES, IntegerProblem
from .settings import IntegerSearch

if TYPE_CHECKING:
    from onnx import ModelProto

    from approxhw.frontends.products.partition import OpenedModel


TILE_ROWS = 256
"""Activations of a tile that operators are priced on."""


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
    target = replace(target, operator=EXACT, layers="")
    target.check()
    train, report = calibration_feeds(model, data)
    splits = labelled_splits(train, report, np.random.default_rng(options.seed), options.rows, options.validation_rows)
    opened = open_model(model, shape or report.shapes(1), integers=True)
    sizes = shape or report.shapes(min(LOOKED_AT, report.rows))
    if shape is None:
        opened = opened.at(sizes or {})
    title = Path(str(title_of(opened.graph))).stem
    folder = front_folder(output, title)
    threads = max(1, jobs // options.islands)
    calibration = train.some(CALIBRATION_ROWS)

    context = PassContext(observe=partial(observe_rows, calibration, opened.host))
    base, _ = run_passes(opened.graph, target.passes()[:CODES], context, check=False)
    signed = _signs(base)
    priced = priced_operators(
        options.named,
        load_library(target.library),
        signed=signed,
        weight=target.weight,
        jobs=jobs,
        on_progress=on_progress,
    )
    target = replace(target, signed=priced.signed)
    layers = _searched_layers(base, target, context, opened, train, priced, options, on_progress)
    numbers, titles, choices, products, exact = layers
    onnx = {
        name: accuracy_on(EmulatedEngine(opened.graph, opened.host, threads), feeds) for name, feeds in splits.items()
    }
    told = [f"{each.where}: {each.why}" for each in priced.broken]
    return IntegerProblem(
        model=model,
        data=data,
        target=target,
        options=options,
        shape=shape,
        sizes=sizes,
        base=base,
        numbers=numbers,
        titles=titles,
        choices=choices,
        products=products,
        exact_fj=exact,
        calibration=calibration,
        splits=splits,
        onnx=onnx,
        tables={each.spelling: each.table for each in priced.operators},
        areas=(min(each.area_um2 for each in priced.exact), *(each.area_um2 for each in priced.operators)),
        rest_um2=_rest_of_element(target, priced),
        folder=folder,
        title=title,
        digest=model_digest(model),
        command=command,
        threads=threads,
        started=started,
        notes=(*priced.notes, *(f"left out: {each}" for each in told)),
        opened=opened,
    )


def _signs(base: Graph) -> str:
    """Return which operands of most products are two's complement: what ours are made for where no file is named."""
    from approxhw.passes.integers.integer_products import exact_mac

    found = [exact_mac(base, node).signed for node in integer_nodes(base)]
    if not found:
        why = "it holds no product of codes"
        raise OptionError("search", [Problem(shown(title_of(base), 60), why, "compile it for a matrix-engine")])
    return max(dict.fromkeys(found), key=found.count)


def _searched_layers(
    base: Graph,
    target: IntegerEngine,
    context: PassContext,
    opened: OpenedModel,
    train: Feeds,
    priced: PricedOperators,
    options: IntegerSearch,
    on_progress: Callable[[str, int, int], None] | None,
) -> tuple[tuple[int, ...], tuple[str, ...], tuple[tuple[LayerChoice, ...], ...], np.ndarray, np.ndarray]:
    """Return numbers and titles of the layers that are searched, what each may have, its products, and exact energies."""
    assert context.observe is not None
    # with operands as those of the operators, but exact: what their errors are told against
    plain = replace(target, operator=EXACT_FORMS[-1], recover="none").passes()[CODES:]
    graph, _ = run_passes(base, plain, context, check=False)
    known = layer_codes(graph, context.observe, "search")
    variances = sum_variances(graph, context.observe)
    values: dict[str, np.ndarray] = {}
    nodes = integer_nodes(graph)
    wanted = {name for node in nodes for name in node.inputs[:4]}

    def keep(node: Node, value: np.ndarray) -> None:
        if node.name in wanted:
            values[node.name] = value

    first = train.first(LOOKED_AT)
    walk_tensors(graph, checked_feeds(graph, first), opened.host, None, keep)
    rows = max(1, min(len(array) for array in first.values()))
    numbers, titles, choices, products, exact = [], list[str](), [], [], []
    tell = on_progress or (lambda step, done, total: None)
    for number, node in enumerate(nodes):
        tell("choices of layers", number, len(nodes))
        if node.name not in known:
            continue
        x, weights = layer_patterns(streams_of(graph, node, values, TILE_ROWS), known[node.name].mac)
        tile = LayerTile(
            *sampled_tile(x[:, : target.rows], weights[: target.rows, : target.columns]), variances[node.name]
        )
        found, plain_fj = layer_choices(known[node.name], tile, priced, options.tried, target.clock_ns)
        count, m, k, n = layer_sizes(graph, node)
        title = integer_op(node).title
        numbers.append(number)
        titles.append(title if title not in titles else f"{title} ({number})")
        choices.append(tuple(found))
        products.append(count * m * k * n / rows)
        exact.append(plain_fj)
    tell("choices of layers", len(nodes), len(nodes))
    if not numbers:
        why = "no product of codes has constant weights"
        raise OptionError("search", [Problem(shown(title_of(graph), 60), why, "compile it with one operator for all")])
    return tuple(numbers), tuple(titles), tuple(choices), np.array(products), np.array(exact)


def _rest_of_element(target: IntegerEngine, priced: PricedOperators) -> float:
    """Return the area of what an element holds beside its operators: registers and the adder, by the exact one."""
    from approxhw.backends.estimate import synthesise
    from approxhw.backends.integer_engine.engine import IntegerArray, integer_engine_verilog

    mac = IntegerMac(signed=priced.signed, accumulator_bits=24)
    array = IntegerArray(rows=1, columns=1, mac=mac, depth=target.depth)
    whole = synthesise(
        integer_engine_verilog(array, top="integer_element"), "integer_element", priced.exact[0].netlist.library
    )
    return max(0.0, whole.area() * 1e6 - priced.exact[0].area_um2)
