"""What approximate multipliers save of the energy of a sentence transformer's products, without retraining.

News by its embedding and a linear classifier, which is fitted on float32 embeddings of other documents and stands in the
model. Ranges and statistics come from other documents still; those choose, too, and 300 others report. Layers take operators
along the way that the search's estimates draw from exact to cheapest. Energy as in ``operator_search``: of an inference's
products with constant weights (attention's own products stay as they are), beside the cheaper one of two exact multipliers.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import onnx
from common import command, machine, note, table, write
from onnx import helper, numpy_helper
from transformer import FOLDER, read_news

from approxhw.engine.integers.operator_search.pose import operator_problem
from approxhw.engine.matrix.api import open_engine

OPERATORS = "truncated-6,truncated-7,truncated-8,broken-array-6-2,broken-array-8-3"
LOSSES = (0.005, 0.01)
TOGETHER = 8
CHOOSING = ("search", "validation")
"""Splits of the documents that choose."""


def main() -> None:
    """Measure, print, and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="model.onnx and documents.npz")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of a document at most")
    parser.add_argument("--tested", type=int, default=300, help="documents that report; as many give ranges and choose")
    parser.add_argument("--places", type=int, default=8, help="along the way from exact to cheapest")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    if not (given.folder / "model.onnx").is_file():
        note(f"skipped: {given.folder} lacks model.onnx: python benchmarks/models/sentence_transformer.py")
        return
    from sklearn.linear_model import LogisticRegression

    news = read_news(given.folder, given.tokens, 600, 2 * given.tested, 0)
    sizes = {"tokens": (TOGETHER, given.tokens), "mask": (TOGETHER, given.tokens)}
    plain = open_engine(given.folder / "model.onnx", None, shape=sizes, threads=given.jobs)
    fitted = LogisticRegression(C=10.0, max_iter=2000).fit(
        np.concatenate(
            [
                plain.run({"tokens": part, "mask": (part > 0).astype(np.int64)})["embedding"]
                for part in np.split(news.fitted, len(news.fitted) // TOGETHER)
            ]
        ),
        news.fitted_labels,
    )
    model = with_classifier(onnx.load(str(given.folder / "model.onnx")), fitted.coef_, fitted.intercept_)
    classes = {label: number for number, label in enumerate(fitted.classes_.tolist())}
    labels = np.array([classes[label] for label in news.tested_labels.tolist()])
    data = {"tokens": news.tested, "mask": (news.tested > 0).astype(np.int64), "labels": labels}
    posed = operator_problem(
        model,
        data=data,
        output=given.folder / "operators",
        operators=OPERATORS,
        edits=("none", "tune"),
        jobs=given.jobs,
        on_progress=lambda step, done, total: note(f"{step}: {done} of {total}"),
    )
    rows, found = {name: feeds.rows for name, feeds in posed.splits.items()}, []
    choosing = sum(rows[split] for split in CHOOSING)
    reference = sum(posed.onnx[split] * rows[split] for split in CHOOSING) / choosing
    for place in np.linspace(0, len(posed.path) - 1, given.places).round().astype(int).tolist():
        genome, began = posed.path[place], time.perf_counter()
        wrong = sum(posed.wrong(genome, split) for split in CHOOSING)
        validation = reference - (1 - wrong / choosing)
        if validation > max(LOSSES):
            found.append((posed.costs(genome)["saved"], validation, None, operators(posed.plan(genome).values())))
        else:
            test = posed.onnx["report"] - (1 - posed.wrong(genome, "report") / rows["report"])
            found.append((posed.costs(genome)["saved"], validation, test, operators(posed.plan(genome).values())))
        note(f"{place}: {found[-1]}, {time.perf_counter() - began:.0f} s")
    lines = [
        [f"{100 * saved:.1f} %", f"{-100 * validation:+.2f}", "" if test is None else f"{-100 * test:+.2f}", told]
        for saved, validation, test, told in found
    ]
    held = [
        (loss, max((each for each in found if each[1] <= loss + 1e-9), key=lambda each: each[0])) for loss in LOSSES
    ]
    said = "; ".join(
        f"at most {100 * loss:g} points lost on them: {100 * best[0]:.1f} % saved, {-100 * (best[2] or 0):+.2f} points on "
        "test documents"
        for loss, best in held
    )
    write(
        "transformer_operators",
        [
            "# Energy that approximate multipliers save in a sentence transformer, without retraining\n",
            f"    python benchmarks/models/sentence_transformer.py\n{command()}",
            (__doc__ or "").split("\n\n")[1].strip() + f" {machine()}\n",
            f"{len(posed.numbers)} products with constant weights; documents of at most {given.tokens} tokens; float32 "
            f"{100 * posed.onnx['report']:.2f} % on {rows['report']} test documents, {100 * reference:.2f} % on "
            f"the {choosing} that choose. {said}.\n",
            table(("energy saved", "those that choose, points", "test, points", "layers with each operator"), lines),
        ],
    )


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


def operators(plans: object) -> str:
    """Return how many layers have what."""
    names = [str(each) for each in plans]  # type: ignore[attr-defined]
    return ", ".join(f"{names.count(name)} {name}" for name in sorted(set(names), key=lambda name: -names.count(name)))


if __name__ == "__main__":
    main()
