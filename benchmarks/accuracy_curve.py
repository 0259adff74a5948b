"""Trace accuracy over the bits of inputs and weights, all five tasks, by the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from common import TASKS, arguments, command, machine, need_tasks, note, table, write

import approxhw as ax
from approxhw.ir.evaluation import accuracy, predict
from approxhw.ir.pass_manager import Pass, PassContext

INPUT_BITS = (3, 4, 5, 6, 7, 8)
WEIGHT_BITS = (4, 6, 8, 12)
# Known from a feasibility study: float weights and 4-bit inputs, rounded to nearest and by floor(16 x), on test rows
KNOWN = {
    "cardio": (0.909, 0.887),
    "pendigits": (0.954, 0.940),
    "whitewine": (0.535, 0.512),
}


class Task:
    """One task: its float Graph, its rows, and accuracy on test rows after some passes."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.graph = ax.read(folder / f"{name}.onnx")
        self.data = ax.load_dataset(folder / f"{name}.npz")
        self.float = self.test(self.graph)

    def test(self, graph: ax.Graph) -> float:
        """Return the share of test rows that *graph* classifies as labelled."""
        found = accuracy(graph, self.data.X_test, self.data.y_test)
        assert found is not None
        return found

    def after(self, passes: Sequence[Pass]) -> float:
        """Return test accuracy after *passes*; they see the training rows."""
        return self.test(ax.run_passes(self.graph, passes, PassContext(self.data))[0])

    def hardware(self, pipeline: str = "printed-exact", **options: object) -> float:
        """Return test accuracy of *pipeline* with *options*."""
        return self.after(ax.named_pipeline(pipeline, **options))

    def on_readings(self, quantised: Callable[[np.ndarray], np.ndarray]) -> float:
        """Return test accuracy of the float Graph on readings that *quantised* changed."""
        return float(np.mean(predict(self.graph, quantised(self.data.X_test)) == self.data.y_test))

    def float_weights(self, code: str) -> float:
        """Return test accuracy with quantised inputs and float weights; *code*: options of quantize-inputs."""
        return self.after(ax.parse_passes(f"quantize-inputs{{{code}}},fold-affine"))


def figures(values: Sequence[float], reference: float) -> list[str]:
    """Return *values* as text, in bold where one is more than 1 % below *reference*."""
    return [f"{value:.4f}" if value >= reference - 0.01 else f"**{value:.4f}**" for value in values]


def input_tables(tasks: Sequence[Task]) -> list[str]:
    """Return the curves over input bits, for exact and calibrated hardware, and float weights."""
    parts = []
    ways = {
        "Hardware: `printed-exact`, 8-bit weights": lambda task, **options: task.hardware(**options),
        "Hardware: `printed-calibrated`, 8-bit weights": lambda task, **options: task.hardware(
            "printed-calibrated", **options
        ),
        "Float weights, quantised inputs": lambda task, input_bits=4, input_code="round": task.float_weights(
            f"bits={input_bits},code={input_code}"
        ),
    }
    for title, way in ways.items():
        rows = []
        for task in tasks:
            note(f"{title}: {task.name}")
            found = [way(task, input_bits=bits) for bits in INPUT_BITS]
            found.append(way(task, input_code="floor16"))
            rows.append((task.name, f"{task.float:.4f}", *figures(found, task.float)))
        parts += [f"## {title}\n", table(("task", "float", *(f"B = {b}" for b in INPUT_BITS), "floor16"), rows)]
    return parts


def known_rounding(readings: np.ndarray) -> np.ndarray:
    """Return readings after 4-bit codes over 0…0.9 as the known figures had them: in float32, ties to the even code."""
    codes = np.rint(readings.astype(np.float32) / np.float32(0.9) * np.float32(15))
    return np.clip(codes, 0, 15).astype(np.float64) / 15 * 0.9


def known_floor(readings: np.ndarray) -> np.ndarray:
    """Return readings after floor(16 x), each code read as the lower end of its interval."""
    return np.clip(np.floor(readings * 16), 0, 15) / 16


def known_table(tasks: Sequence[Task]) -> list[str]:
    """Return float weights and 4-bit inputs beside what is known of them."""
    rows = []
    for task in tasks:
        if task.name in KNOWN:
            rounded, floored = KNOWN[task.name]
            rows.append(
                (
                    task.name,
                    rounded,
                    f"{task.on_readings(known_rounding):.4f}",
                    f"{task.float_weights('bits=4,low=0,high=0.9'):.4f}",
                    f"{task.float_weights('bits=4'):.4f}",
                    floored,
                    f"{task.on_readings(known_floor):.4f}",
                    f"{task.float_weights('code=floor16'):.4f}",
                )
            )
    return [
        "## Float weights and 4-bit inputs, beside known figures\n",
        "Repeated: the known rules, written out in the script: ranges 0…0.9, rounded in float32 with ties to the even code;",
        "floor16 codes read as the lower end of their interval. The compiler rounds half up in float64, takes ranges from the",
        "training rows unless they are given, and reads a floor16 code as the middle of its interval.\n",
        table(
            (
                "task",
                "round: known",
                "repeated",
                "compiler, 0…0.9",
                "compiler, training ranges",
                "floor16: known",
                "repeated",
                "compiler",
            ),
            rows,
        ),
    ]


def range_table(tasks: Sequence[Task]) -> list[str]:
    """Return hardware accuracy at 4-bit inputs for the ways to choose the ranges."""
    ways = {
        "training rows, mse": {},
        "training rows, extremes": {"ranges": "extremes"},
        "given, 0…0.9": {"low": (0.0,), "high": (0.9,)},
        "0…1": {"low": (0.0,), "high": (1.0,)},
    }
    rows = [
        (
            task.name,
            f"{task.float:.4f}",
            *figures([task.hardware(input_bits=4, **options) for options in ways.values()], task.float),
        )
        for task in tasks
    ]
    return [
        "## Ranges of the inputs: hardware, 4-bit inputs, 8-bit weights\n",
        "The tasks are scaled to 0…0.9, so a designer knows that range: `--low 0 --high 0.9`.\n",
        table(("task", "float", *ways), rows),
    ]


def weight_tables(tasks: Sequence[Task]) -> list[str]:
    """Return accuracy over weight bits at 4-bit inputs, exact and calibrated."""
    parts = []
    for title in ("printed-exact", "printed-calibrated"):
        rows = []
        for task in tasks:
            note(f"weight bits, {title}: {task.name}")
            found = [task.hardware(title, input_bits=4, weight_bits=bits) for bits in WEIGHT_BITS]
            rows.append((task.name, f"{task.float:.4f}", *figures(found, task.float)))
        parts += [
            f"## Bits of a weight, 4-bit inputs: `{title}`\n",
            table(("task", "float", *(f"{bits} bits" for bits in WEIGHT_BITS)), rows),
        ]
    return parts


def main() -> None:
    """Measure, print, and write the result."""
    given = arguments(__doc__ or "").parse_args()
    need_tasks(given.tasks)
    tasks = [Task(name, given.tasks) for name in TASKS]
    head = [
        "# Accuracy over bits\n",
        command(),
        f"Accuracy on test rows, by the interpreter (what the circuits compute, bit for bit). {machine()} In bold: more than 1 %",
        "(absolute) below the float model. Ranges of the inputs and calibration see training rows alone.\n",
    ]
    write(
        "accuracy_curve", [*head, *input_tables(tasks), *range_table(tasks), *known_table(tasks), *weight_tables(tasks)]
    )


if __name__ == "__main__":
    main()
