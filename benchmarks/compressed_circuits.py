"""Compile the five tasks with weights, and activations, in 8-bit codes: what accuracy and area the circuits then have."""

from __future__ import annotations

import tempfile
from pathlib import Path

from common import TASKS, arguments, command, machine, need_tasks, note, table, write

import approxhw as ax
from approxhw.ir.evaluation import accuracy
from approxhw.ir.pass_manager import PassContext, parse_passes

CODES = ("dynamic8", "linear8", "static8", "mantissa8")
VARIANTS = (
    ("8-bit weights", 8, None),
    ("12-bit weights", 12, None),
    ("12-bit weights in dynamic8", 12, "dynamic8"),
    ("the same, biases corrected", 12, "dynamic8,correct=true"),
    ("the same, activations in dynamic8 too", 12, "dynamic8,correct=true,activations=true"),
)


def main() -> None:
    """Measure, print and write."""
    given = arguments(__doc__ or "").parse_args()
    need_tasks(given.tasks)
    rows: list[tuple[str, ...]] = []
    models: list[tuple[str, ...]] = []
    for name in TASKS:
        data = ax.load_dataset(given.tasks / f"{name}.npz")
        graph = ax.read(given.tasks / f"{name}.onnx")
        for code in CODES:
            found = []
            for correct in ("false", "true"):
                (item,) = parse_passes(f"compress{{code={code},correct={correct}}}")
                changed = item(graph, PassContext(data=data))
                for x, y in ((data.X_train, data.y_train), (data.X_test, data.y_test)):
                    found.append(f"{100 * (accuracy(changed, x, y) - accuracy(graph, x, y)):+.2f}")  # type: ignore[operator]
            models.append((name, code, *found))
        with tempfile.TemporaryDirectory() as folder:
            for title, bits, compress in VARIANTS:
                note(f"{name}: {title}")
                target = ax.Printed(weight_bits=bits, compress=compress)
                design = ax.compile(
                    given.tasks / f"{name}.onnx", data=data, target=target, output=Path(folder) / f"{bits}{compress}"
                )
                cost = design.estimate()
                rows.append((name, title, f"{100 * design.accuracy['hardware']:.2f} %", f"{cost.area_mm2 / 100:.2f}"))
    write(
        "compressed_circuits",
        [
            "# Circuits that hold 8-bit codes\n",
            command(),
            machine(),
            "\n## Float networks with weights in codes\n",
            "Accuracy less that of the network as it is, in points; one maximum a tensor. *Corrected*: biases take up",
            "what the means of sums on training rows have moved by.\n",
            table(("task", "code", "training rows", "test rows", "corrected, training", "corrected, test"), models),
            "\n## Circuits\n",
            "Printed circuits, 4-bit inputs, EGFET cells. Decoded weights are wired in, so codes cost accuracy and may save",
            "or cost area; activations in codes need an encoder and a decoder each.\n",
            table(("task", "circuit", "test accuracy", "cm²"), rows),
        ],
    )


if __name__ == "__main__":
    main()
