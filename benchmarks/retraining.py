"""Measure what rounding to powers of two costs and retraining wins back: accuracy and seconds on the five tasks."""

from __future__ import annotations

import statistics

from common import TASKS, arguments, clock, command, machine, need_tasks, note, table, write

import approxhw as ax
from approxhw.ir.evaluation import accuracy
from approxhw.ir.pass_manager import PassContext

SEEDS = (1, 2, 3)
WAYS = {
    "rounded": "power-of-two{epochs=0,starts=1,seed=%d}",
    "retrained, all rounded from the first step on": "power-of-two{settle=false,seed=%d}",
    "retrained, settling": "power-of-two{seed=%d}",
}
WIDER = {"pendigits": (8, 10)}


def measured(graph: ax.Graph, data: ax.Dataset, spec: str) -> list[str]:
    """Return median accuracies on training and test rows, and median CPU seconds, over the seeds."""
    train, test, seconds = [], [], []
    for seed in SEEDS:
        item = "quantize-inputs,fold-affine," + spec % seed
        with clock() as spent:
            after, _ = ax.run_passes(graph, ax.parse_passes(item), PassContext(data))
        train.append(accuracy(after, data.X_train, data.y_train))
        test.append(accuracy(after, data.X_test, data.y_test))
        seconds.append(spent.cpu)
    return [f"{statistics.median(train):.4f}", f"{statistics.median(test):.4f}", f"{statistics.median(seconds):.2f}"]


def main() -> None:
    """Measure and write ``results/retraining.md``."""
    options = arguments(__doc__).parse_args()
    need_tasks(options.tasks)
    rows = []
    for name in TASKS:
        graph, data = ax.read(options.tasks / f"{name}.onnx"), ax.load_dataset(options.tasks / f"{name}.npz")
        ax.run_passes(graph, ax.parse_passes("quantize-inputs,fold-affine,power-of-two{epochs=1}"), PassContext(data))
        readings = (data.X_train, data.y_train), (data.X_test, data.y_test)
        rows.append([name, "float", *(f"{accuracy(graph, *pair):.4f}" for pair in readings), ""])
        wider = {
            f"settling, {count} hidden neurons": f"power-of-two{{hidden={count},seed=%d}}"
            for count in WIDER.get(name, ())
        }
        for title, spec in {**WAYS, **wider}.items():
            rows.append([name, title, *measured(graph, data, spec)])
            note(" ".join(rows[-1]))
    about = (
        f"{machine()} Medians of {len(SEEDS)} seeds; 4-bit inputs, k = 0…7, 8-bit QReLU, the best of three starts by\n"
        "training rows. CPU seconds of all three, of the passes before and of the ledger's accuracies; kernels are compiled."
    )
    titles = ["task", "weights", "training rows", "test rows", "CPU seconds"]
    write("retraining", ["# Retraining with powers of two\n", command(), f"{about}\n", table(titles, rows)])


if __name__ == "__main__":
    main()
