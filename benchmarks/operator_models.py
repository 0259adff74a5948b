"""What approximate multipliers save of the energy of products of small models, without retraining: with fitted weights or not.

LeNet on Fashion-MNIST, the networks of scikit-learn's digits, and the five classifiers: operators layer by layer along the way
that the search's estimates draw from exact to cheapest, with fitted weights, and with biases corrected alone. Validation rows
(training rows) choose the place that saves most within the loss; test rows are reported alone. Energy as in ``operator_search``.
The published model: PyPI's ddddocr carries a text recogniser that is quantised dynamically (``common_old.onnx``); it is read as
it is, compared with onnxruntime, unoptimised, and its texts with those of exact products, on four letters or digits in an image.
"""

from __future__ import annotations

import argparse
import time
import zipfile
from pathlib import Path

import numpy as np
from common import DEFAULT_TASKS, TASKS, command, machine, note, table, write

import approxhw as ax
from approxhw.common.data.dataset import DataSpec
from approxhw.engine.integers.operator_search.pose import operator_problem
from approxhw.engine.integers.operator_search.problem import IntegerProblem
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.tensor.emulate import EmulatedEngine
from approxhw.ir.tensor.integer_layers import integer_nodes
from approxhw.ir.tensor.run import walk_tensors

OPERATORS = (
    "truncated-4,truncated-6,truncated-7,truncated-8,truncated-9,"
    "broken-array-6-2,broken-array-8-3,broken-array-9-4,broken-array-10-5"
)
LOSSES = (0.005, 0.01)
EDITS = {"biases": ("none",), "biases, fitted weights": ("none", "fit", "5bits+fit", "4bits+fit")}
LETTERS = "0123456789abcdefhkmnpqrstuvwxyz"
SHOWN, READ = 16, 64
"""Images that statistics come from, and that are read."""
READERS = ("truncated-4", "truncated-6", "broken-array-4-1", "broken-array-6-2")


def main() -> None:
    """Measure, print, and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fashion", type=Path, default=Path("build/fashion"), help="of lenet.onnx and fashion.npz")
    parser.add_argument(
        "--digits", type=Path, default=Path("build/digits"), help="of cnn.onnx, mlp.onnx and digits.npz"
    )
    parser.add_argument("--tasks", type=Path, default=DEFAULT_TASKS, help="of the five classifiers")
    parser.add_argument("--wheel", type=Path, default=None, help="pip download --no-deps ddddocr==1.6.1")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    lines = []
    for title, model, data in models(given.fashion, given.digits, given.tasks):
        for how, edits in EDITS.items():
            began = time.perf_counter()
            posed = operator_problem(
                str(model), data=data, output=model.parent / "none", operators=OPERATORS, edits=edits, jobs=given.jobs
            )
            lines += places(title, how, posed)
            note(f"{title}, {how}: {time.perf_counter() - began:.0f} s, {lines[-1]}")
    parts = [
        "# Approximate multipliers in small models, and in a published one\n",
        f"    python benchmarks/models/residual_cnn.py\n    python benchmarks/models/digits.py\n{command()}",
        (__doc__ or "").split("\n\n")[1].strip() + f" {machine()}\n",
        table(
            ("model", "way", "loss allowed, points", "energy saved", "validation, points", "test, points", "test rows"),
            lines,
        ),
    ]
    if given.wheel is not None:
        parts += published(given.wheel)
    write("operator_models", parts)


def models(fashion: Path, digits: Path, tasks: Path) -> list[tuple[str, Path, DataSpec]]:
    """Return titles, files and rows of the models that are there."""
    found: list[tuple[str, Path, DataSpec]] = []
    if (fashion / "lenet.onnx").is_file():
        rows = np.load(fashion / "fashion.npz")
        seen = {"X_train": rows["X_validation"], "y_train": rows["y_validation"]}
        found.append(("LeNet", fashion / "lenet.onnx", {**seen, "X_test": rows["X_test"], "y_test": rows["y_test"]}))
    for name, title in (("cnn", "digits, convolutions"), ("mlp", "digits, dense")):
        if (digits / f"{name}.onnx").is_file():
            found.append((title, digits / f"{name}.onnx", str(digits / "digits.npz")))
    found += [
        (name, tasks / f"{name}.onnx", str(tasks / f"{name}.npz"))
        for name in TASKS
        if (tasks / f"{name}.onnx").is_file()
    ]
    if not found:
        raise SystemExit(
            "no model is there: python benchmarks/models/residual_cnn.py, python benchmarks/models/digits.py"
        )
    return found


def places(title: str, how: str, posed: IntegerProblem) -> list[list[object]]:
    """Return a row of the table for each loss: the place along the estimates' way that saves most within it."""
    rows = {name: feeds.rows for name, feeds in posed.splits.items()}
    found, made = [], []
    for genome in np.unique(posed.path, axis=0):
        wrong = posed.wrong(genome, "validation") / rows["validation"]
        found.append((posed.costs(genome)["saved"], 1 - wrong - posed.onnx["validation"], genome))
    for loss in LOSSES:
        saved, validation, genome = max(
            (each for each in found if each[1] >= -loss - 1e-12), key=lambda each: each[0], default=(0.0, 0.0, None)
        )
        if genome is None:
            made.append([title, how, f"{100 * loss:g}", "none holds it", "", "", rows["report"]])
            continue
        test = 1 - posed.wrong(genome, "report") / rows["report"] - posed.onnx["report"]
        shares = [f"{100 * saved:.1f} %", f"{100 * validation:+.2f}", f"{100 * test:+.2f}"]
        made.append([title, how, f"{100 * loss:g}", *shares, rows["report"]])
    return made


def published(wheel: Path) -> list[str]:
    """Return what is told of the published model in *wheel*."""
    import onnxruntime

    with zipfile.ZipFile(wheel) as held:
        content = held.read("ddddocr/common_old.onnx")
    path = Path("build/ddddocr.onnx")
    path.write_bytes(content)
    images = drawn(SHOWN + READ)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    from approxhw.frontends.products.partition import open_model

    opened = open_model(str(path), {"input1": images[:1].shape}, integers=True)

    def observe(graph: ax.Graph, seen: object) -> None:
        for image in images[:SHOWN]:
            walk_tensors(graph, {"input1": image[None]}, opened.host, None, seen)  # type: ignore[arg-type]

    context = PassContext(observe=observe)
    base, _ = run_passes(opened.graph, "integer-products", context, check=False)

    def scores(graph: ax.Graph) -> list[np.ndarray]:
        engine = EmulatedEngine(graph, opened.host, 1)
        return [np.asarray(next(iter(engine.run({"input1": image[None]}).values()))) for image in images[SHOWN:]]

    exact = scores(base)
    whole = [session.run(None, {"input1": image[None]})[0] for image in images[SHOWN:]]
    texts = [text(each) for each in exact]
    lines = []
    for operator in READERS:
        for further in ("", ",correct-bias"):
            graph, _ = run_passes(base, f"approximate-multiplier{{operator={operator}}}{further}", context, check=False)
            alike = sum(text(each) == other for each, other in zip(scores(graph), texts, strict=True))
            lines.append([operator, "biases" if further else "nothing", f"{alike} of {READ}"])
            note(str(lines[-1]))
    worst = max(float(np.abs(one - other).max()) for one, other in zip(exact, whole, strict=True))
    largest = max(float(np.abs(each).max()) for each in whole)
    same = sum(text(one) == text(other) for one, other in zip(exact, whole, strict=True))
    return [
        "\n## A published model\n",
        f"`common_old.onnx` of ddddocr 1.6.1: {len(integer_nodes(base))} products of codes. With exact products its outputs, up "
        f"to {largest:.1f}, differ from onnxruntime's, unoptimised, by {worst:g} at most, and {same} of {READ} images give "
        "the same text. With one operator in all layers, texts equal to those of exact products:\n",
        table(("operator", "what else is done", "same text"), lines),
    ]


def drawn(count: int) -> np.ndarray:
    """Return images of four letters or digits each, count × 1 × 64 × 160, from −1 to 1."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    generator = np.random.default_rng(0)
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), 40)
    made = np.empty((count, 1, 64, 160), np.float32)
    for row in made:
        image = Image.new("L", (160, 64), 255)
        word = "".join(generator.choice(list(LETTERS), 4))
        ImageDraw.Draw(image).text(
            (12, int(generator.integers(2, 14))), word, font=font, fill=int(generator.integers(0, 90))
        )
        noisy = np.asarray(image, np.float32) / 255 + generator.normal(0, 0.08, (64, 160))
        row[0] = np.clip(noisy, 0, 1) * 2 - 1
    return made


def text(scores: np.ndarray) -> tuple[int, ...]:
    """Return the classes that *scores* (places × 1 × classes) spell: repetitions once, the blank 0 left out."""
    best = scores.reshape(len(scores), -1).argmax(axis=1)
    return tuple(int(each) for each, before in zip(best, [0, *best[:-1]], strict=True) if each and each != before)


if __name__ == "__main__":
    main()
