"""What approximate multipliers save of the energy of a residual network's products, without retraining, layer by layer and not.

Energy: of the products of one inference, each layer's operator mapped to sky130 and fed with a real tile of that layer (weights
stay, activations stream), beside the cheaper one of two exact multipliers with the model's own weights, at 10 ns; what sums low
bits for control variates is not in it. Single operators: each of them in all layers, the one taken that saves most within the
loss on validation rows (training rows that the network was not trained on). Test rows are reported alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import command, machine, note, table, write

import approxhw as ax
from approxhw.common.options import Keywords
from approxhw.dse.targets import search_target
from approxhw.engine.integers.operator_search.pose import problem
from approxhw.engine.integers.operator_search.problem import IntegerProblem
from approxhw.engine.integers.plans import LayerPlan

FOLDER = Path("build/fashion")
OPERATORS = "truncated-4,truncated-6,truncated-7,truncated-8,broken-array-6-1,broken-array-6-2,broken-array-8-2,broken-array-8-3"
LOSSES = (0.005, 0.01)
WAYS: tuple[tuple[str, str, str], ...] = (
    ("nothing else", "none", "none"),
    ("biases", "none", "bias"),
    ("biases, control variates", "none", "variate"),
    ("biases, tuned weights", "tune", "bias"),
    ("biases, weights of 5 bits", "5bits", "bias"),
)
"""Of single operators: what is done, the edit of the weights, and ``recover``."""


@dataclass(frozen=True)
class Found:
    """A configuration: what is in its layers, what it saves, and its accuracy on two splits."""

    what: str
    saved: float
    validation: float
    test: float | None
    seconds: float = 0.0
    """Of the test rows."""


def main() -> None:
    """Measure, print, and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of resnet8.onnx and fashion.npz")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--population", type=int, default=16)
    parser.add_argument("--generations", type=int, default=6)
    given = parser.parse_args()
    model, rows = given.folder / "resnet8.onnx", given.folder / "fashion.npz"
    if not (model.is_file() and rows.is_file()):
        note(f"skipped: {given.folder} lacks resnet8.onnx or fashion.npz: python benchmarks/models/residual_cnn.py")
        return
    held = np.load(rows)
    seen = {"X_train": held["X_validation"], "y_train": held["y_validation"]}
    data = {**seen, "X_test": held["X_test"], "y_test": held["y_test"]}
    asked: Keywords = {"data": data, "target": ax.IntegerEngine(), "operators": OPERATORS, "jobs": given.jobs}
    started = time.perf_counter()
    front = search_target(
        ax.IntegerEngine.search_problem,
        str(model),
        output=given.folder / "front",
        population=given.population,
        generations=given.generations,
        max_accuracy_loss=LOSSES[0],
        on_progress=note_step,
        on_generation=lambda reached: note(str(reached)),
        **asked,
    )
    seconds = time.perf_counter() - started
    singles = {what: single(what, edit, recover, str(model), asked) for what, edit, recover in WAYS}
    layered = [Found("layer by layer", m.saved, m.validation_accuracy, m.test_accuracy) for m in front.members]
    taken = [each.seconds for found in singles.values() for each in found if each.test is not None]
    onnx = {"validation": front.onnx["validation"], "test": front.onnx["test"]}
    lines = []
    for loss in LOSSES:
        for what, found in (*singles.items(), ("layer by layer", layered)):
            best = chosen(found, onnx["validation"] - loss)
            if best is None:
                lines.append([f"{100 * loss:g}", what, "none holds it", "", "", ""])
                continue
            test = best.test if best.test is not None else float("nan")
            lines.append(
                [
                    f"{100 * loss:g}", what, best.what, f"{100 * best.saved:.1f} %",
                    f"{100 * (best.validation - onnx['validation']):+.2f}", f"{100 * (test - onnx['test']):+.2f}",
                ]
            )  # fmt: skip
    titles = ("loss allowed, points", "way", "operator", "energy saved", "validation, points", "test, points")
    every = [
        [f"{100 * m.saved:.1f} %", f"{100 * (m.validation_accuracy - onnx['validation']):+.2f}",
         f"{100 * (m.test_accuracy - onnx['test']):+.2f}", f"{m.area_um2:.0f}", "; ".join(m.layers.values())]
        for m in front.members
    ]  # fmt: skip
    write(
        "operator_search",
        [
            "# Energy that approximate multipliers save, without retraining\n",
            command(),
            (__doc__ or "").split("\n\n")[1].strip() + f" {machine()}\n",
            f"Residual network of 8 layers on Fashion-MNIST: float {100 * onnx['test']:.2f} % on {front.rows['test']} test rows, "
            f"{100 * onnx['validation']:.2f} % on {front.rows['validation']} validation rows; exact products take "
            f"{front.exact_energy_nj:.0f} nJ an inference. The search took {seconds / 60:.1f} minutes with {given.jobs} threads "
            f"({front.evaluations} evaluations of {front.rows['search']} rows); rank correlation of estimated harm and counted "
            f"errors {front.rank_correlation:.2f}. {front.rows['test']} images through the network with one operator in all "
            f"layers, passes included: {np.median(taken):.0f} s with {given.jobs} threads (median of {len(taken)}).\n",
            table(titles, lines),
            "\n## The front of the search\n",
            table(("energy saved", "validation, points", "test, points", "element, µm²", "layers"), every),
        ],
    )


def note_step(step: str, done: int, total: int) -> None:
    """Say how far it is."""
    if done in (0, total):
        note(f"{step}: {done} of {total}")


def single(what: str, edit: str, recover: str, model: str, asked: Keywords) -> list[Found]:
    """Return every operator in all layers, with its accuracy on validation rows, on test rows where it may be chosen."""
    made = []
    for name in OPERATORS.split(","):
        own = {**asked, "operators": name, "target": ax.IntegerEngine(recover=recover)}
        posed = problem(model, output=FOLDER / "none", edits=("none", edit), **own)
        genome = uniform(posed, LayerPlan(name, int(edit[0]) if edit[0].isdigit() else None, edit == "tune"))
        if genome is None:
            note(f"{what}: {name} saves nothing in some layer")
            continue
        rows = posed.splits["validation"].rows
        validation = 1 - posed.wrong(genome, "validation") / rows
        within = validation >= posed.reference - max(LOSSES)
        began = time.perf_counter()
        test = 1 - posed.wrong(genome, "report") / posed.splits["report"].rows if within else None
        made.append(Found(name, posed.costs(genome)["saved"], validation, test, time.perf_counter() - began))
        note(f"{what}: {made[-1]}")
    return made


def uniform(posed: IntegerProblem, plan: LayerPlan) -> np.ndarray | None:
    """Return the genome that has *plan* in every layer where it is a choice, exact products elsewhere; None where in none."""
    genes = [next((i for i, each in enumerate(layer) if each.plan == plan), 0) for layer in posed.choices]
    return np.array(genes, np.int32) if any(genes) else None


def chosen(found: Sequence[Found], least: float) -> Found | None:
    """Return what saves most of those that hold the accuracy *least* on validation rows."""
    held = [each for each in found if each.validation >= least]
    return max(held, key=lambda each: each.saved, default=None)


if __name__ == "__main__":
    main()
