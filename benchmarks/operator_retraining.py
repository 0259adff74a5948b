"""What retraining with coarse operators wins back on scikit-learn's digits: the operator's own slopes beside the exact product's.

The example's network (64-16-10, 8-bit codes) with every product made by one operator, its biases corrected, then retrained on
training rows; a fifth of them, put aside by the seed, chooses the epoch. Each accuracy of retraining is the mean of all seeds;
test rows are asked once, at the end. Needs PyTorch: pip install 'approxhw[retrain]'.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from common import clock, command, machine, note, table, write

from approxhw.common.data.dataset import load_dataset
from approxhw.frontends.products.partition import open_model
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.tensor.run import walk_tensors

MODEL = Path(__file__).resolve().parents[1] / "examples" / "digits.onnx"


def main() -> None:
    """Retrain with every operator, gradient and seed, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--operators", default="truncated-10,truncated-11,leading-2,broken-array-10-4")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    given = parser.parse_args()
    data = load_dataset("sklearn:digits", 64)
    opened = open_model(MODEL, {"X": (64, 64)}, integers=True)
    rows = data.X_train.astype(np.float64)

    def right(graph, x, y):
        return float((walk_tensors(graph, {"X": x.astype(np.float64)}, opened.host, None)[graph.output] == y).mean())

    def accuracies(graph):
        return np.array([right(graph, data.X_train, data.y_train), right(graph, data.X_test, data.y_test)])

    def observe(graph, seen):
        walk_tensors(graph, {"X": rows[:512]}, opened.host, None, seen)

    context = PassContext(observe=observe, training=({"X": rows}, data.y_train))
    exact, _ = run_passes(opened.graph, "quantize-model,integer-products", context)
    lines, gained = [["exact products", "", "", *_shown(accuracies(exact)), ""]], []
    for operator in given.operators.split(","):
        graph, _ = run_passes(exact, f"approximate-multiplier{{operator={operator}}}", context)
        lines.append([f"`{operator}`", "none", "", *_shown(accuracies(graph)), ""])
        graph, _ = run_passes(graph, "correct-bias", context)
        lines.append([f"`{operator}`", "bias", "", *_shown(accuracies(graph)), ""])
        found = {}
        for gradient in ("straight", "table"):
            each = []
            with clock() as spent:
                for seed in range(1, given.seeds + 1):
                    spelled = f"retrain-weights{{gradient={gradient},epochs={given.epochs},seed={seed}}}"
                    made, _ = run_passes(graph, spelled, context)
                    each.append(accuracies(made))
                    note(f"{operator} {gradient} {seed}: {each[-1]}")
            found[gradient] = np.array(each)
            spread = f"{100 * found[gradient][:, 1].min():.2f} … {100 * found[gradient][:, 1].max():.2f}"
            seconds = f"{spent.cpu / given.seeds:.1f}"
            lines.append(
                [f"`{operator}`", "bias, retrain", gradient, *_shown(found[gradient].mean(axis=0)), spread, seconds]
            )
        gained.append((found["table"] - found["straight"]).mean(axis=0)[1])
    best = f"{100 * max(gained):+.2f}", f"{100 * min(gained):+.2f}", f"{100 * float(np.mean(gained)):+.2f}"
    titles = ["operator", "recovery", "gradient", "training rows %", "test rows %", "test rows, by seed", "CPU s"]
    write(
        "operator_retraining",
        [
            "# Retraining with an operator's own slopes\n",
            command(),
            machine() + "\n",
            f"{len(data.y_train)} training rows, {len(data.y_test)} test rows (one of them is {100 / len(data.y_test):.2f} %); "
            f"{given.seeds} seeds, {given.epochs} epochs.\n",
            table(titles, [[*line, *[""] * (len(titles) - len(line))] for line in lines]),
            f"Slopes of the table beside the exact product's, points on test rows, means of {given.seeds} seeds: "
            f"{best[1]} to {best[0]}, {best[2]} on average. The published +3.83 are of convolutional networks on CIFAR-10.",
        ],
    )


def _shown(accuracies: np.ndarray) -> list[str]:
    return [f"{100 * each:.2f}" for each in accuracies]


if __name__ == "__main__":
    main()
