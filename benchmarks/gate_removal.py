"""Simplify the gates of all five tasks with training rows as the care set: area, accuracy on test rows, and seconds."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common import TASKS, arguments, command, machine, need_tasks, note, table, write

import approxhw as ax
from approxhw.artifacts.steps import read_step
from approxhw.flow.stages.measure import circuit_area

PIPELINES = ("printed-exact", "printed-holistic")
PASS = "approximate-gates"


@dataclass(frozen=True)
class Removal:
    """What was measured of one circuit. Areas in cm², of both circuits by the same synthesis; seconds of the pass alone."""

    task: str
    pipeline: str
    areas: tuple[float, float]
    train: tuple[float, float]
    test: tuple[float, float]
    gates: str
    seconds: float
    vectors: int
    notes: tuple[str, ...]


def measure(name: str, tasks: Path, folder: Path, pipeline: str, loss: float, seed: int) -> Removal:
    """Compile the task *name* by *pipeline* and the pass into *folder*; measure the circuits before and behind the pass."""
    data, model = tasks / f"{name}.npz", tasks / f"{name}.onnx"
    target = ax.Printed(pipeline=pipeline)
    note(f"{name}, {pipeline}, {PASS}")
    passes, place = f"{pipeline}, {PASS}{{max_loss={loss},seed={seed}}}", folder / pipeline / name
    design = ax.compile(model, data=data, target=target, output=place, passes=passes, steps=True)
    before = read_step(place / "steps", len(design.design.ledger) - 1)
    areas = [circuit_area(before) / 100, design.estimate().area_mm2 / 100]
    kept = json.loads((design.folder / "estimate" / "egfet.json").read_text(encoding="utf-8"))
    record = design.design.ledger[-1]
    train, test = ((record[f"{rows}_accuracy_before"], record[f"{rows}_accuracy_after"]) for rows in ("train", "test"))
    gates = record["notes"][0].partition(";")[0]
    return Removal(
        name,
        pipeline,
        (areas[0], areas[1]),
        train,
        test,
        gates,
        record["seconds"],
        kept["netlist_vectors"] if not kept["netlist_mismatches"] else -1,
        tuple(record["notes"]),
    )


def report(found: list[Removal], loss: float, seed: int) -> list[str]:
    """Return the parts of the result."""
    rows = [
        (
            each.task,
            f"`{each.pipeline}`",
            f"{each.areas[0]:.3f}",
            f"{each.areas[1]:.3f}",
            f"{each.areas[1] / each.areas[0]:.2f}",
            f"{each.test[0]:.4f}",
            f"{each.test[1]:.4f}",
            f"{100 * (each.test[1] - each.test[0]):+.2f} %",
            f"{100 * (each.train[1] - each.train[0]):+.2f} %",
            each.gates,
            f"{each.seconds:.0f}",
            each.vectors,
        )
        for each in found
    ]
    titles = (
        "task",
        "pipeline",
        "cm²",
        "cm², after",
        "ratio",
        "test",
        "test, after",
        "difference",
        "training rows",
        "gates",
    )
    return [
        "# Gate-level removal on the five tasks\n",
        command(),
        f"The pass `{PASS}{{max_loss={loss},seed={seed}}}` behind two pipelines: gates go that training rows do not",
        f"need, while the three tenths of the training rows that no move sees lose at most {loss:.1%}. Areas of `egfet`, 1.0 V,",
        "by the reference recipe. Test rows are only told. Each netlist equals its Graph on the vectors of the last column,",
        f"every test and training row among them. {machine()}\n",
        table((*titles, "seconds", "vectors, 0 mismatches"), rows),
    ]


def main() -> None:
    """Measure all tasks, print, and write the result."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="keep the designs here")
    parser.add_argument(
        "--max-loss", type=float, default=0.005, metavar="SHARE", help="rows set aside that may be lost"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="NUMBER", help="of the pass")
    parser.add_argument("--only", nargs="+", choices=TASKS, metavar="TASK", help="these tasks alone")
    given = parser.parse_args()
    need_tasks(given.tasks)
    with tempfile.TemporaryDirectory(prefix="approxhw-benchmark-") as scratch:
        folder = given.output or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        found: list[Removal] = []
        for name in given.only or TASKS:
            for pipeline in PIPELINES:
                found.append(measure(name, given.tasks, folder, pipeline, given.max_loss, given.seed))
                write(
                    "gate_removal", report(found, given.max_loss, given.seed)
                )  # it takes a while: what is known is kept
    if any(each.vectors < 1 for each in found):
        raise SystemExit("netlist and Graph differ")


if __name__ == "__main__":
    main()
