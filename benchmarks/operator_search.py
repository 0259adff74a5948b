"""What approximate multipliers save of the energy of a residual network's products, without retraining, layer by layer and not.

Energy: of the products of one inference, each layer's operator mapped to sky130 and fed with a real tile of that layer (weights
stay, activations stream), beside the cheaper one of two exact multipliers with the model's own weights, at 10 ns; what sums low
bits for control variates is not in it. Single operators: each of them in all layers, the one taken that saves most within the
loss on validation rows (training rows that the network was not trained on). Test rows are reported alone.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import command, machine, note, table, write

import approxhw as ax
from approxhw.common.options import Keywords
from approxhw.dse.targets import search_target
from approxhw.engine.integers.operator_search.pose import operator_problem
from approxhw.engine.integers.operator_search.problem import IntegerProblem
from approxhw.engine.integers.operator_search.settings import parts_of_edit
from approxhw.engine.integers.plans import LayerPlan

FOLDER = Path("build/fashion")
SINGLE = ("broken-array-6-2", "broken-array-8-3")
OPERATORS = "broken-array-6-2,broken-array-8-3"
"""Of the search: few, as an array whose elements switch between them has all of them in each."""
LOAD = "load.txt"
LOSSES = (0.005, 0.01)
WORTH = (0.5, 0.9)
"""Of places along the way that estimates draw, those that save so much are tried."""
WAYS: tuple[tuple[str, str, str], ...] = (
    ("nothing else", "none", "none"),
    ("biases", "none", "bias"),
    ("biases, control variates", "none", "variate"),
    ("biases, tuned weights", "tune", "bias"),
    ("biases, weights of 5 bits", "5bits", "bias"),
    ("biases, fitted weights", "fit", "bias"),
    ("biases, fitted weights of 5 bits", "5bits+fit", "bias"),
)
"""Of single operators: what is done, the edit of the weights, and ``recover``."""


@dataclass(frozen=True, eq=False)
class Found:
    """One operator in all layers: what it saves, and its accuracy on validation rows."""

    operator: str
    saved: float
    validation: float
    posed: IntegerProblem
    genome: np.ndarray

    def test_accuracy(self) -> float:
        """Return its accuracy on test rows."""
        return 1 - self.posed.wrong(self.genome, "report") / self.posed.splits["report"].rows


def main() -> None:
    """Measure, print, and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of resnet8.onnx and fashion.npz")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--operators", default=OPERATORS, help="that the search takes, besides exact products")
    parser.add_argument("--population", type=int, default=16)
    parser.add_argument("--generations", type=int, default=5)
    parser.add_argument("--rows", type=int, default=2048, help="that a configuration is judged on")
    given = parser.parse_args()
    model, rows = given.folder / "resnet8.onnx", given.folder / "fashion.npz"
    if not (model.is_file() and rows.is_file()):
        note(f"skipped: {given.folder} lacks resnet8.onnx or fashion.npz: python benchmarks/models/residual_cnn.py")
        return
    held = np.load(rows)
    seen = {"X_train": held["X_validation"], "y_train": held["y_validation"]}
    data = {**seen, "X_test": held["X_test"], "y_test": held["y_test"]}
    asked: Keywords = {"data": data, "target": ax.IntegerEngine(), "operators": given.operators, "jobs": given.jobs}
    folder = given.folder / "front"
    if not (folder / "front.json").is_file():
        search_target(
            ax.IntegerEngine.search_problem,
            str(model),
            output=folder,
            population=given.population,
            generations=given.generations,
            rows=given.rows,
            max_accuracy_loss=LOSSES[0],
            on_progress=note_step,
            on_generation=lambda reached: note(str(reached)),
            **asked,
        )
        (folder / LOAD).write_text(f"{os.getloadavg()[2]:.1f}", encoding="utf-8")
    front = json.loads((folder / "front.json").read_text(encoding="utf-8"))
    onnx, members = front["onnx"], front["front"]
    began = time.perf_counter()
    array = ax.open_integer_design(folder / "chosen").estimate()["energy"]
    note(f"the chosen member's array: {array}, {time.perf_counter() - began:.0f} s")
    lines, taken = [], []
    for what, edit, recover in WAYS:
        posed, found = posed_singles(what, edit, recover, str(model), asked, given.folder)
        for loss in LOSSES:
            best = chosen(found, posed.reference - loss)
            if best is None:
                lines.append([f"{100 * loss:g}", what, "none holds it", "", "", ""])
                continue
            began = time.perf_counter()
            test = best.test_accuracy()
            taken.append(time.perf_counter() - began)
            lines.append(line(loss, what, best.operator, best.saved, best.validation, test, onnx))
    posed = operator_problem(str(model), output=folder.parent / "none", **asked)
    places = [genome for genome in np.unique(posed.path, axis=0) if WORTH[0] < posed.costs(genome)["saved"] < WORTH[1]]
    along = [judged(f"place {number}", posed, genome) for number, genome in enumerate(places)]
    for loss in LOSSES:
        best = chosen(along, posed.reference - loss)
        if best is not None:
            told = "layer by layer, by estimates alone"
            lines.append(line(loss, told, best.operator, best.saved, best.validation, best.test_accuracy(), onnx))
    for loss in LOSSES:
        held = [each for each in members if each["validation_accuracy"] >= onnx["validation"] - loss]
        if not held:
            lines.append([f"{100 * loss:g}", "layer by layer", "none holds it", "", "", ""])
            continue
        best = max(held, key=lambda each: each["saved"])
        accuracies = best["validation_accuracy"], best["test_accuracy"]
        lines.append(line(loss, "layer by layer", f"member {best['index']}", best["saved"], *accuracies, onnx))
    titles = ("loss allowed, points", "way", "operator", "energy saved", "validation, points", "test, points")
    every = [
        [
            f"{100 * m['saved']:.1f} %",
            f"{100 * (m['validation_accuracy'] - onnx['validation']):+.2f}",
            f"{100 * (m['test_accuracy'] - onnx['test']):+.2f}",
            f"{m['area_um2']:.0f}",
            f"{m['apart_um2']:.0f}",
            "; ".join(m["layers"].values()),
        ]
        for m in members
    ]
    rows = front["rows"]
    write(
        "operator_search",
        [
            "# Energy that approximate multipliers save, without retraining\n",
            f"    python benchmarks/models/residual_cnn.py\n{command()}",
            (__doc__ or "").split("\n\n")[1].strip() + f" {machine()}\n",
            f"Residual network of 8 layers on Fashion-MNIST: float {100 * onnx['test']:.2f} % on {rows['test']} test rows, "
            f"{100 * onnx['validation']:.2f} % on {rows['validation']} validation rows; exact products take "
            f"{front['exact_energy_nj']:.0f} nJ an inference. The search took {front['seconds'] / 60:.0f} minutes with "
            f"{given.jobs} threads and load {load_told(folder)} ({front['evaluations']} evaluations of {rows['search']} rows); "
            f"rank correlation of estimated harm and counted errors {front['rank_correlation']:.2f}. "
            f"{rows['test']} images through the network with one operator in all layers, passes included: "
            f"{np.median(taken):.0f} s (median of {len(taken)}).\n",
            table(titles, sorted(lines, key=lambda each: float(each[0]))),
            "\nThe chosen member as one array whose elements switch between its operators (`approxhw estimate`): all elements "
            f"and column ends take {array['array_nj']:.0f} nJ a run of 8 images, {array['exact_array_nj']:.0f} with exact "
            f"products alone: {100 * array['array_saved']:.1f} % less; its elements charged a product a clock, "
            f"{100 * array['saved']:.1f} % less.\n",
            "\n## The front of the search\n",
            table(
                ("energy saved", "validation, points", "test, points", "element, µm²", "apart, µm²", "layers"), every
            ),
        ],
    )


def load_told(folder: Path) -> str:
    """Return the load average of the quarter of an hour before the search in *folder* ended; its own threads count."""
    kept = folder / LOAD
    return kept.read_text(encoding="utf-8") if kept.is_file() else "not known"


def line(
    loss: float, what: str, operator: str, saved: float, validation: float, test: float, onnx: Mapping[str, float]
) -> list[str]:
    """Return a row of the table."""
    return [
        f"{100 * loss:g}", what, operator, f"{100 * saved:.1f} %",
        f"{100 * (validation - onnx['validation']):+.2f}", f"{100 * (test - onnx['test']):+.2f}",
    ]  # fmt: skip


def note_step(step: str, done: int, total: int) -> None:
    """Say how far it is."""
    if done in (0, total):
        note(f"{step}: {done} of {total}")


def posed_singles(
    what: str, edit: str, recover: str, model: str, asked: Keywords, folder: Path
) -> tuple[IntegerProblem, list[Found]]:
    """Return every operator of :data:`SINGLE` in all layers, with its accuracy on validation rows."""
    made, posed = [], None
    for name in SINGLE:
        own = {**asked, "operators": name, "target": ax.IntegerEngine(recover=recover)}
        posed = operator_problem(model, output=folder / "none", edits=("none", edit), **own)
        genome = uniform(posed, LayerPlan(name, *parts_of_edit(edit)))
        made.append(judged(name, posed, genome))
    assert posed is not None
    return posed, made


def judged(name: str, posed: IntegerProblem, genome: np.ndarray) -> Found:
    """Return what *genome* saves, and its accuracy on validation rows."""
    validation = 1 - posed.wrong(genome, "validation") / posed.splits["validation"].rows
    found = Found(name, posed.costs(genome)["saved"], validation, posed, genome)
    note(f"{name} saves {found.saved:.3f}, {validation:.4f} of {posed.reference:.4f}")
    return found


def uniform(posed: IntegerProblem, plan: LayerPlan) -> np.ndarray:
    """Return the genome that has *plan* in every layer where it saves anything, exact products elsewhere."""
    return np.array(
        [next((i for i, each in enumerate(layer) if each.plan == plan), 0) for layer in posed.choices], np.int32
    )


def chosen(found: Sequence[Found], least: float) -> Found | None:
    """Return what saves most of those that hold the accuracy *least* on validation rows."""
    held = [each for each in found if each.validation >= least]
    return max(held, key=lambda each: each.saved, default=None)


if __name__ == "__main__":
    main()
