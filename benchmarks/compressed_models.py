"""What 8-bit weights cost a model and save in its file: five small classifiers and a sentence transformer, in plain onnxruntime.

The transformer comes from ``benchmarks/models/sentence_transformer.py``, the five tasks from their folder (``--tasks``).
"""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from common import TASKS, arguments, command, machine, met, note, table, write
from onnx import helper, numpy_helper
from transformer import FOLDER, batches, read_news

import approxhw as ax

LOSS, SMALLER = 0.005, 3.9
SMALL = ("dynamic8", "dynamic8,block=64", "dynamic8,max=pow2", "linear8", "static8", "mantissa8")
LARGE = ("dynamic8", "dynamic8,block=256", "dynamic8,block=4096", "linear8,block=256", "static8", "mantissa8", "auto")
SIZES = ("weights, times smaller", "file, times smaller")
FITTED = 600
"""Documents the classifier on top of the transformer is fitted on; its accuracy is measured on all others."""


def session(proto: Any, threads: int = 1) -> Any:
    """Return *proto* in onnxruntime at its default settings."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


def timed(protos: Sequence[Any], feeds: dict[str, np.ndarray], runs: int) -> list[tuple[float, float]]:
    """Return the median milliseconds that opening and running each of *protos* take; they take turns."""
    opened: list[list[float]] = [[] for _ in protos]
    ran: list[list[float]] = [[] for _ in protos]
    for _ in range(runs):
        for place, proto in enumerate(protos):
            start = time.perf_counter()
            made = session(proto)
            opened[place].append(time.perf_counter() - start)
            made.run(None, feeds)
            start = time.perf_counter()
            made.run(None, feeds)
            ran[place].append(time.perf_counter() - start)
    return [(1e3 * statistics.median(a), 1e3 * statistics.median(b)) for a, b in zip(opened, ran, strict=True)]


def accuracy(proto: Any, rows: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of *rows* that a classifier puts into their class."""
    made = session(proto)
    (scores,) = made.run(None, {made.get_inputs()[0].name: rows})
    seen = scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > 0).astype(int)
    return float((seen == labels).mean())


def small(folder: Path, verdicts: list[tuple[str, str, str]]) -> list[tuple[str, ...]]:
    """Return the rows of the five classifiers: every weight is compressed, however small its tensor."""
    found = []
    for name in TASKS:
        model, data = folder / f"{name}.onnx", folder / f"{name}.npz"
        if not (model.is_file() and data.is_file()):
            note(f"left out: {name}, {model} or {data} is not there; name the folder: --tasks FOLDER")
            continue
        with np.load(data) as file:
            rows, labels = file["X_test"].astype(np.float32), file["y_test"]
        plain = onnx.load(str(model))
        base = accuracy(plain, rows, labels)
        for words in SMALL:
            made = ax.compress_model(model, words, minimum_elements=1)
            lost = accuracy(made.proto, rows, labels) - base
            errors = ", ".join(f"{100 * tensor.relative:.2f}" for tensor in made.tensors)
            after = f"{100 * (base + lost):.2f} %"
            sizes = (str(made.elements), f"{made.ratio:.2f}", f"{made.file_ratio:.2f}")
            found.append((name, words, f"{100 * base:.2f} %", after, f"{100 * lost:+.2f}", errors, *sizes))
            if words in ("dynamic8", "dynamic8,block=64"):
                verdicts.append(verdict(f"{name}, {len(labels)} rows, {words}", lost))
            if words == "dynamic8":
                asked = (
                    f"{name}, {made.elements} weights, {words}: {SMALLER} times smaller (asked of 10⁵ weights and more)"
                )
                kept = "reached" if made.ratio >= SMALLER else "not reached"
                verdicts.append((asked, f"{made.ratio:.2f}; the file {made.file_ratio:.2f}", kept))
    return found


def verdict(what: str, lost: float) -> tuple[str, str, str]:
    """Return the line of one accuracy."""
    return f"{what}: loses at most {100 * LOSS:g} %", f"{100 * lost:+.2f} points", met(lost >= -LOSS)


def large(verdicts: list[tuple[str, str, str]]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]], int]:
    """Return the rows of the transformer, those of its times, and how many documents were tested."""
    lacking = [name for name in ("model.onnx", "documents.npz") if not (FOLDER / name).is_file()]
    if lacking:
        how = "run python benchmarks/models/sentence_transformer.py"
        note(f"left out: the transformer, {FOLDER} lacks {', '.join(lacking)}; {how}")
        return [], [], 0
    from sklearn.linear_model import LogisticRegression

    news = read_news(FOLDER, 128, FITTED, 10**9, 0)
    plain = onnx.load(str(FOLDER / "model.onnx"))

    def embed(proto: Any, tokens: np.ndarray, name: str) -> np.ndarray:
        made, parts, told = session(proto, threads=2), [], time.monotonic()
        for feeds in batches(tokens):
            parts.append(made.run(["embedding"], feeds)[0])
            if time.monotonic() - told > 30:
                told = time.monotonic()
                note(f"{name}: {sum(map(len, parts))} of {len(tokens)} documents")
        return np.concatenate(parts)

    classifier = LogisticRegression(C=10.0, max_iter=2000)
    classifier.fit(embed(plain, news.fitted, "float32, fitted"), news.fitted_labels)
    reference = embed(plain, news.tested, "float32")
    expected = classifier.predict(reference)
    base = float((expected == news.tested_labels).mean())
    feeds = next(batches(news.tested))
    times: list[tuple[str, ...]] = []
    rows = [("float32", "", f"{100 * base:.2f} %", "", "", "", "", "")]
    for words in LARGE:
        start = time.perf_counter()
        made = ax.compress_model(FOLDER / "model.onnx", words)
        took = time.perf_counter() - start
        seen = embed(made.proto, news.tested, words)
        classes = classifier.predict(seen)
        lost = float((classes == news.tested_labels).mean()) - base
        shares = [tensor.relative for tensor in made.tensors]
        cosine = float((seen * reference).sum(axis=1).min())
        otherwise = str(int((classes != expected).sum()))
        sizes = (f"{made.ratio:.3f}", f"{made.file_ratio:.3f}")
        told = (f"{100 * min(shares):.2f} … {100 * max(shares):.2f}", f"{cosine:.5f}", otherwise)
        rows.append((words, told[0], f"{100 * (base + lost):.2f} %", f"{100 * lost:+.2f}", otherwise, told[1], *sizes))
        if words.startswith("dynamic8"):
            verdicts.append(verdict(f"transformer, {len(classes)} documents, {words}", lost))
        if words == "dynamic8,block=256":
            asked = f"transformer, {made.elements / 1e6:.1f} million weights, {words}"
            for what, ratio in (("weights", made.ratio), ("file", made.file_ratio)):
                verdicts.append((f"{asked}: {what} {SMALLER} times smaller", f"{ratio:.3f}", met(ratio >= SMALLER)))
            same = np.array_equal(session(made.proto).run(None, feeds)[0], session(made.decoded()).run(None, feeds)[0])
            asked = f"{words}: outputs of onnxruntime equal those with the decoded weights stored plainly, bit for bit"
            verdicts.append((asked, "equal" if same else "different", met(same)))
            named = ("float32", f"{words} (compressed in {took:.1f} s)")
            files = (len(plain.SerializeToString()), made.bytes_after)
            for name, size, spent in zip(named, files, timed((plain, made.proto), feeds, 11), strict=True):
                times.append((name, f"{size / 1e6:.1f}", *(f"{ms:.0f}" for ms in spent)))
    return rows, times, len(news.tested)


def sizes(verdicts: list[tuple[str, str, str]]) -> list[tuple[str, ...]]:
    """Return how much smaller files of networks 784-hidden-10 get, biases left alone."""
    found = []
    for hidden in (16, 128, 512, 4096):
        model = network((784, hidden, 10))
        for words in ("dynamic8", *(f"dynamic8,block={size}" for size in (4096, 1024, 256, 64))):
            made = ax.compress_model(model, words)
            found.append((f"784-{hidden}-10", str(made.elements), words, f"{made.ratio:.3f}", f"{made.file_ratio:.3f}"))
            if hidden >= 128 and words == "dynamic8,block=256":
                for what, ratio in (("weights", made.ratio), ("file", made.file_ratio)):
                    asked = f"784-{hidden}-10, {made.elements} weights, {words}: {what} {SMALLER} times smaller"
                    verdicts.append((asked, f"{ratio:.3f}", met(ratio >= SMALLER)))
    return found


def network(layers: Sequence[int]) -> onnx.ModelProto:
    """Return a network of Gemm and Relu with random weights: sizes alone matter here."""
    rng, nodes, tensors, value = np.random.default_rng(0), [], [], "x"
    for place, (inputs, outputs) in enumerate(itertools.pairwise(layers)):
        for name, shape in (("weight", (inputs, outputs)), ("bias", (outputs,))):
            tensors.append(numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), f"{place}.{name}"))
        last = place == len(layers) - 2
        nodes.append(
            helper.make_node("Gemm", [value, f"{place}.weight", f"{place}.bias"], ["y" if last else f"s{place}"])
        )
        if not last:
            value = f"h{place}"
            nodes.append(helper.make_node("Relu", [f"s{place}"], [value]))
    ports = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, width])
        for name, width in (("x", layers[0]), ("y", layers[-1]))
    ]
    graph = helper.make_graph(nodes, "network", ports[:1], ports[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main() -> None:
    """Measure, print, and write the result."""
    given = arguments("Measure models with 8-bit weights.").parse_args()
    verdicts: list[tuple[str, str, str]] = []
    few = small(given.tasks, verdicts)
    many, times, documents = large(verdicts)
    files = sizes(verdicts)
    parts = [
        "# Models with 8-bit weights, in plain onnxruntime\n",
        "    python benchmarks/models/sentence_transformer.py\n" + command(),
        machine() + "\n",
    ]
    if few:
        parts += [
            "## Five small classifiers\n",
            "All weights are codes, biases are not (`minimum_elements=1`); rows are those of the test.\n",
            table(
                (
                    "task",
                    "format",
                    "float32",
                    "8-bit",
                    "points",
                    "mean relative error of each tensor, %",
                    "weights",
                    *SIZES,
                ),
                few,
            ),
        ]
    if many:
        parts += [
            "## A sentence transformer\n",
            f"all-MiniLM-L6-v2, a logistic regression on its float32 embeddings of {FITTED} documents; the {documents} tested",
            "ones are all others, cut after 128 tokens (`benchmarks/transformer.py` says more).",
            f"One document is {100 / documents:.3f} points.\n",
            table(
                (
                    *("format", "mean relative errors of tensors, %", "accuracy", "points"),
                    *("documents classified otherwise", "least cosine with float32", *SIZES),
                ),
                many,
            ),
            "onnxruntime, one thread, four documents a run; medians of 11, in turns, while other processes ran:\n",
            table(("model", "file, MB", "to open, ms", "to run, ms"), times),
        ]
    parts += [
        "## Files\n",
        table(("network", "weights", "format", *SIZES), files),
        "## Targets\n",
        table(("to reach", "measured", ""), verdicts),
    ]
    write("compressed_models", parts)


if __name__ == "__main__":
    main()
