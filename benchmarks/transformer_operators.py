"""What one approximate multiplier in all layers saves of the energy of a sentence transformer's products, not retrained.

News by its embedding and a linear classifier, which is fitted on float32 embeddings of other documents and stands in the
model. Ranges, fitted weights and biases come from other documents still; others choose, others report. Nothing is retrained.
Energy as in ``operator_search``: of an inference's products with constant weights (attention's own products stay as they are),
each layer's on its own tile, beside the cheaper one of two exact multipliers of 8 by 8 bits with the model's own 8-bit weights.
Weights of 4 bits in elements of 8 by 4: the model is quantised so. What saves most of all that loses at most a point on the
documents that choose is judged once more on all documents that nothing else has seen.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from common import command, machine, note, table, write
from onnx import helper, numpy_helper
from transformer import FOLDER, read_news

from approxhw.backends.estimate import load_library
from approxhw.engine.integers.layers import layer_patterns, streams_of
from approxhw.engine.integers.operator_search.operator_costs import (
    PricedOperator,
    PricedOperators,
    priced_operators,
    sampled_tile,
)
from approxhw.engine.matrix.api import open_engine
from approxhw.engine.operands import Feeds, observe_rows, predictions
from approxhw.frontends.products.partition import OpenedModel, open_model
from approxhw.ir.graph import Graph, Node
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.tensor.emulate import EmulatedEngine
from approxhw.ir.tensor.integer_layers import held, integer_mac, integer_nodes, layer_sizes, weights_last
from approxhw.ir.tensor.run import checked_feeds, walk_tensors
from approxhw.numerics.multipliers.families import EXACT

TOGETHER, TILE_ROWS, ARRAY, CLOCK_NS = 8, 256, 16, 10.0
"""Documents of one run; activations, rows and columns of a tile that is priced; clock."""


def main() -> None:
    """Measure, print, and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="model.onnx and documents.npz")
    parser.add_argument("--operators", default="broken-array-6-2", help="of 8 by 8 bits, apart by commas")
    parser.add_argument("--narrow", default="exact,broken-array-2-1", help="of 8 by 4 bits, apart by commas")
    parser.add_argument("--fit", action="store_true", help="fit weights, too: half an hour an operator")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of a document at most")
    parser.add_argument("--looked-at", type=int, default=64, help="documents that give ranges, fits and biases")
    parser.add_argument("--choosing", type=int, default=456, help="documents that choose")
    parser.add_argument("--tested", type=int, default=304, help="documents that report")
    parser.add_argument("--more", type=int, default=800, help="documents that report of the best beside these")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    if not (given.folder / "model.onnx").is_file():
        note(f"skipped: {given.folder} lacks model.onnx: python benchmarks/models/sentence_transformer.py")
        return
    others = given.looked_at + given.choosing
    news = read_news(given.folder, given.tokens, 600, others + given.tested + given.more, 0)
    model, classes = classifying(given.folder, news.fitted, news.fitted_labels, given.tokens, given.jobs)
    labels = np.array([classes[label] for label in news.tested_labels.tolist()])
    arrays = {"tokens": news.tested, "mask": (news.tested > 0).astype(np.int64)}
    every = Feeds(arrays, labels, fixed=TOGETHER)
    seen, choosing = every.part(0, given.looked_at), every.part(given.looked_at, others)
    report = every.part(others, others + given.tested)
    opened = open_model(model, dict.fromkeys(arrays, (TOGETHER, given.tokens)), integers=True)
    context = PassContext(observe=partial(observe_rows, seen, opened.host), threads=given.jobs)
    bases = {
        bits: run_passes(opened.graph, f"quantize-model{{weight_bits={bits}}},integer-products", context, check=False)[
            0
        ]
        for bits in (8, 4)
    }
    priced = {bits: prices(names, bits, given.jobs) for bits, names in ((8, given.operators), (4, given.narrow))}
    parts = (choosing, report)
    plain = {"float32": accuracies(opened, opened.graph, parts, given.jobs)}
    plain["exact"] = accuracies(opened, bases[8], parts, given.jobs)
    note(str(plain))
    exact_nj, lines, best = energy_nj(opened, bases[8], bases[8], seen, priced[8].exact), [], None
    for bits, operator, further in ways(given.operators, given.narrow, given.fit):
        began = time.perf_counter()
        passes = further if operator == EXACT else f"approximate-multiplier{{operator={operator}}},{further}"
        graph, _ = run_passes(bases[bits], passes, context, check=False)
        found = [each for each in priced[bits].operators if each.spelling == operator]
        forms = priced[bits].exact if operator == EXACT else tuple(found)
        saved = 1 - energy_nj(opened, bases[bits], graph, seen, forms) / exact_nj
        shares = accuracies(opened, graph, parts, given.jobs)
        lost = [100 * (one - other) for one, other in zip(shares, plain["float32"], strict=True)]
        told = f"8 × {bits}", operator, further
        lines.append([*told, f"{100 * saved:.1f} %", *(f"{each:+.2f}" for each in lost)])
        note(f"{lines[-1]}, {time.perf_counter() - began:.0f} s")
        if lost[0] >= -1 and (best is None or saved > best[0]):
            best = saved, graph, " ".join(told)
    whole = "Nothing loses at most a point."
    if best is not None:
        rows = every.part(others, others + given.tested + given.more)
        began = time.perf_counter()
        (one,), (other,) = (accuracies(opened, graph, (rows,), given.jobs) for graph in (best[1], opened.graph))
        whole = (
            f"The best, {best[2]}: {100 * best[0]:.1f} % saved; on {rows.rows} documents that nothing has seen it holds "
            f"{100 * one:.2f} %, float32 {100 * other:.2f} % ({100 * (one - other):+.2f} points; both in "
            f"{time.perf_counter() - began:.0f} s)."
        )
        note(whole)
    told = ", ".join(f"{100 * each:.2f} %" for each in plain["float32"])
    codes = ", ".join(
        f"{100 * one - 100 * other:+.2f}" for one, other in zip(plain["exact"], plain["float32"], strict=True)
    )
    weights = sum(np.prod(held(bases[8], weights_last(bases[8], node)[1]).shape) for node in layers(bases[8]))  # type: ignore[union-attr]
    write(
        "transformer_operators",
        [
            "# Energy that an approximate multiplier saves in a sentence transformer, without retraining\n",
            f"    python benchmarks/models/sentence_transformer.py\n{command()}",
            (__doc__ or "").split("\n\n")[1].strip() + f" {machine()}\n",
            f"{len(layers(bases[8]))} products with {weights} constant weights; documents of at most {given.tokens} tokens, "
            f"{given.looked_at} looked at, {choosing.rows} that choose, {report.rows} that report. float32: {told} on them; "
            f"codes of 8 bits with exact products: {codes} points.\n",
            table(
                ("bits", "operator", "what else is done", "energy saved", "those that choose, points", "test, points"),
                lines,
            ),
            whole,
        ],
    )


def prices(names: str, weight_bits: int, jobs: int) -> PricedOperators:
    """Return what operators for weights of so many bits cost, exact ones among them."""
    named = [name for name in names.split(",") if name != EXACT] or ["truncated-2"]  # one that nothing uses
    return priced_operators(
        named, load_library("sky130"), signed="weight", weight="first", weight_bits=weight_bits, jobs=jobs
    )


def ways(operators: str, narrow: str, fit: bool) -> list[tuple[int, str, str]]:
    """Return bits of weights, operator, and what else is done, of everything that is tried."""
    further = ["correct-bias", "narrow-weights{bits=4},correct-bias"] + ["fit-weights{sweeps=2},correct-bias"] * fit
    wide = [(8, name, each) for name in operators.split(",") for each in further]
    exact = [(8, EXACT, "narrow-weights{bits=4},correct-bias")]
    return [*exact, *wide, *((4, name, "correct-bias") for name in narrow.split(","))]


def classifying(
    folder: Path, documents: np.ndarray, labels: np.ndarray, tokens: int, jobs: int
) -> tuple[onnx.ModelProto, dict[str, int]]:
    """Return the model with a linear classifier behind its embedding, fitted on *documents*, and the number of each class."""
    from sklearn.linear_model import LogisticRegression

    sizes = {"tokens": (TOGETHER, tokens), "mask": (TOGETHER, tokens)}
    engine = open_engine(folder / "model.onnx", None, shape=sizes, threads=jobs)
    embedded = [
        engine.run({"tokens": part, "mask": (part > 0).astype(np.int64)})["embedding"]
        for part in np.split(documents, len(documents) // TOGETHER)
    ]
    fitted = LogisticRegression(C=10.0, max_iter=2000).fit(np.concatenate(embedded), labels)
    model = with_classifier(onnx.load(str(folder / "model.onnx")), fitted.coef_, fitted.intercept_)
    return model, {label: number for number, label in enumerate(fitted.classes_.tolist())}


def with_classifier(model: onnx.ModelProto, weights: np.ndarray, bias: np.ndarray) -> onnx.ModelProto:
    """Return *model* with a linear layer behind its embedding: scores of the classes are its output."""
    (output,) = model.graph.output
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(weights.T.astype(np.float32).copy(), "classifier_weights"),
            numpy_helper.from_array(bias.astype(np.float32), "classifier_bias"),
        ]
    )
    inputs = [output.name, "classifier_weights", "classifier_bias"]
    model.graph.node.append(helper.make_node("Gemm", inputs, ["scores"], name="classifier"))
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("scores", 1, ["rows", len(bias)]))
    return model


def layers(graph: Graph) -> list[Node]:
    """Return the products of codes with constant weights."""
    return [node for node in integer_nodes(graph) if held(graph, weights_last(graph, node)[1]) is not None]


def accuracies(opened: OpenedModel, graph: Graph, parts: tuple[Feeds, ...], jobs: int) -> list[float]:
    """Return the accuracy of *graph* on each of *parts*."""
    engine = EmulatedEngine(graph, opened.host, jobs)
    found = []
    for feeds in parts:
        assert feeds.labels is not None
        made = predictions(engine, feeds)
        found.append(float(np.mean(made == feeds.labels[: len(made)])))
    return found


def energy_nj(
    opened: OpenedModel, base: Graph, graph: Graph, feeds: Feeds, operators: tuple[PricedOperator, ...]
) -> float:
    """Return the energy of the products of one document with the weights of *graph*, the cheapest of *operators* a layer.

    Activations are those of *base*, which has the same Nodes.
    """
    values: dict[str, np.ndarray] = {}
    wanted = {name for node in layers(base) for name in node.inputs[:4]}

    def keep(node: Node, value: np.ndarray) -> None:
        if node.name in wanted:
            values[node.name] = value

    walk_tensors(base, checked_feeds(base, feeds.first(TOGETHER)), opened.host, None, keep)
    total = 0.0
    for node in layers(base):
        other = graph[node.name]
        operands = {**values, **{name: data for name in other.inputs[:4] if (data := held(graph, name)) is not None}}
        x, weights = layer_patterns(streams_of(graph, other, operands, TILE_ROWS), integer_mac(other))
        tile, places = sampled_tile(x[:, :ARRAY], min(ARRAY, weights.shape[1]))
        count, m, k, n = layer_sizes(base, node)
        each = min(operator.power_mw(tile, weights[places], CLOCK_NS) for operator in operators)
        total += each * CLOCK_NS * 1e3 * count * m * k * n / TOGETHER
    return total * 1e-6


if __name__ == "__main__":
    main()
