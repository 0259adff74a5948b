"""Compile all five tasks exactly, and calibrated; simulate every test row of the exact ones; measure area, power and delay."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common import TASKS, arguments, clock, command, machine, met, need_tasks, note, table, write

import approxhw as ax
from approxhw.common.errors import MismatchError
from approxhw.ir import evaluation
from approxhw.ir.pass_manager import PassContext

# cm2: published exact bespoke circuits, synthesised and mapped by the reference recipe of this project
PUBLISHED = {"cardio": 35.6, "pendigits": 74.0, "redwine": 19.1, "whitewine": 33.7}
WITHIN = 0.01
DENSITY = (3.0, 4.0)
SIMULATORS = ("icarus", "verilator")
TIMEOUT = 3600.0
"""Seconds for a simulation, beside whatever else runs on the machine."""
EXACT, CALIBRATED = "printed-exact", "printed-calibrated"


@dataclass(frozen=True)
class Circuit:
    """What was measured of one task. ``simulated``: simulator → (vectors, mismatches, wall seconds)."""

    name: str
    pipeline: str
    topology: str
    onnx: float
    inputs_alone: float | None
    hardware: float
    test_rows: int
    simulated: dict[str, tuple[int, int, float]]
    estimate: dict[str, object]
    low_voltage: dict[str, object]
    smallest: float | None
    compile_seconds: float

    @property
    def area(self) -> float:
        """Area in cm2, as the literature states it."""
        return float(self.estimate["area_mm2"]) / 100  # type: ignore[arg-type]


def measure(name: str, tasks: Path, folder: Path, pipeline: str, *, simulate: bool, smallest: bool) -> Circuit:
    """Compile the task *name* by *pipeline* into *folder* and measure everything."""
    note(f"{name}, {pipeline}: compile")
    with clock() as compiling:
        target, place = ax.Printed(pipeline=pipeline), folder / pipeline / name
        design = ax.compile(tasks / f"{name}.onnx", data=tasks / f"{name}.npz", target=target, output=place)
    simulated = {}
    for simulator in SIMULATORS if simulate else ():
        note(f"{name}: {simulator}")
        with clock() as taken:
            try:
                result = design.simulate(simulator, timeout=TIMEOUT)
                vectors, wrong = result.vectors, result.mismatches
            except MismatchError as error:
                vectors, wrong = error.vectors, error.mismatches
        simulated[simulator] = (vectors, wrong, taken.wall)
    note(f"{name}: synthesis")
    costs = {}
    for library in ("egfet", "egfet_0v6"):
        design.estimate(library)
        costs[library] = json.loads((design.folder / "estimate" / f"{library}.json").read_text(encoding="utf-8"))
    best = None
    if smallest:
        note(f"{name}: synthesis, smallest recipe")
        file = folder / f"{name}.v"
        file.write_text(design.verilog, encoding="utf-8")
        best = ax.estimate(file, top=design.design.top, library="egfet", recipe="smallest").area_mm2 / 100
    graph, data, accuracy = ax.read(tasks / f"{name}.onnx"), ax.load_dataset(tasks / f"{name}.npz"), design.accuracy
    coded, _ = ax.run_passes(graph, ax.parse_passes("quantize-inputs,fold-affine"), PassContext(data))
    inputs_alone = evaluation.accuracy(coded, data.X_test, data.y_test)
    return Circuit(
        name,
        pipeline,
        topology(graph),
        accuracy["onnx"],
        inputs_alone,
        accuracy["hardware"],
        len(design.design.rows.test),
        simulated,
        costs["egfet"],
        costs["egfet_0v6"],
        best,
        compiling.wall,
    )


def topology(graph: ax.Graph) -> str:
    """Return the widths of Input and layers, such as 16-5-10."""
    layers = [node.type.elements for node in graph.nodes if type(node.op).__name__ == "Dense"]
    return "-".join(map(str, [graph.input.type.elements, *layers]))


def report(circuits: list[Circuit], simulate: bool) -> list[str]:
    """Return the parts of the result."""
    exact = [c for c in circuits if c.pipeline == EXACT]
    parts = [
        "# Exact circuits of the five tasks\n",
        command(),
        "Pipeline `printed-exact`: 4-bit inputs rounded to nearest, 8-bit weights, full-width sums: the quantised model, bit for",
        "bit. `printed-calibrated`: the same with weight codes moved on training rows, for fewer digits; no exact circuit of the",
        f"quantised model, and shown under its own name. {machine()}\n",
        "## Accuracy on test rows\n",
        f"Target: hardware within {WITHIN:.0%} (absolute) of the float model in onnxruntime, or better, where possible.",
        "4-bit inputs alone: the float weights on quantised inputs, which is what the codes of the inputs cost by themselves.\n",
        table(
            (
                "task",
                "pipeline",
                "topology",
                "test rows",
                "float",
                "4-bit inputs alone",
                "hardware",
                "difference",
                "target",
            ),
            [
                (
                    c.name,
                    f"`{c.pipeline}`",
                    c.topology,
                    c.test_rows,
                    f"{c.onnx:.4f}",
                    f"{c.inputs_alone:.4f}",
                    f"{c.hardware:.4f}",
                    f"{100 * (c.hardware - c.onnx):+.2f} %",
                    met(c.hardware >= c.onnx - WITHIN),
                )
                for c in circuits
            ],
        ),
        "## Hardware = Graph\n",
    ]
    if simulate:
        parts += [
            "Every test row, corner cases and seeded random vectors (or every vector there is, up to 16 input bits), against the",
            "interpreter. The netlist that synthesis made is checked on these and on every training row. Target: 0 mismatches.\n",
            table(
                (
                    "task",
                    "test rows among them",
                    *(f"{s}: vectors, mismatches" for s in SIMULATORS),
                    "netlist",
                    "target",
                    "wall s",
                ),
                [
                    (
                        c.name,
                        c.test_rows,
                        *(f"{c.simulated[s][0]}, {c.simulated[s][1]}" for s in SIMULATORS),
                        f"{c.estimate['netlist_vectors']}, {c.estimate['netlist_mismatches']}",
                        met(all(not wrong and n >= c.test_rows > 0 for n, wrong, _ in c.simulated.values())),
                        ", ".join(f"{c.simulated[s][2]:.0f}" for s in SIMULATORS),
                    )
                    for c in exact
                ],
            ),
        ]
    else:
        parts += ["Not simulated: --no-simulate was given.\n"]
    return [*parts, *costs(circuits)]


def costs(circuits: list[Circuit]) -> list[str]:
    """Return the part about area, power and delay."""
    rows = []
    for c in circuits:
        published = PUBLISHED.get(c.name)
        density = c.estimate["power_mw"] / c.area  # type: ignore[operator]
        rows.append(
            (
                c.name,
                f"`{c.pipeline}`",
                f"{c.area:.2f}",
                published or "none",
                f"{c.area / published:.2f}" if published else "",
                met(c.area <= published) if published else "",
                met(c.area <= published / 2) if published else "",
                f"{c.estimate['power_mw']:.1f}",
                f"{density:.2f}" + ("" if DENSITY[0] <= density <= DENSITY[1] else " **(implausible)**"),
                f"{c.low_voltage['power_mw']:.1f}",
                f"{c.estimate['delay_ms']:.0f}",
                c.estimate["cells"],
                "" if c.smallest is None else f"{c.smallest:.2f}",
            )
        )
    return [
        "## Area, power, delay\n",
        "Cells of `egfet` at 1.0 V by the reference recipe (the ruler), no routing; power over the task's own training rows, 5",
        "vectors a second. Published: exact bespoke circuits of these data sets from the literature, through the same synthesis.",
        f"Printed circuits burn {DENSITY[0]:.0f} to {DENSITY[1]:.0f} mW/cm² at 1 V: a check of the units. The last column is"
        " the area by the recipe",
        "`smallest`: another ruler, not to be put beside the published figures.\n",
        table(
            (
                "task",
                "pipeline",
                "cm²",
                "published",
                "ratio",
                "no larger",
                "half (aim)",
                "mW",
                "mW/cm²",
                "mW at 0.6 V",
                "delay, ms",
                "cells",
                "cm², smallest",
            ),
            rows,
        ),
    ]


def main() -> None:
    """Measure all tasks, print, and write the result."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="keep the designs here")
    parser.add_argument("--no-simulate", dest="simulate", action="store_false", help="leave the simulators out")
    parser.add_argument("--no-smallest", dest="smallest", action="store_false", help="leave the recipe 'smallest' out")
    given = parser.parse_args()
    need_tasks(given.tasks)
    with tempfile.TemporaryDirectory(prefix="approxhw-benchmark-") as scratch:
        folder = given.output or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        circuits = [
            measure(
                name,
                given.tasks,
                folder,
                pipeline,
                simulate=given.simulate and pipeline == EXACT,
                smallest=given.smallest,
            )
            for name in TASKS
            for pipeline in (EXACT, CALIBRATED)
        ]
    write("exact_circuits", report(circuits, given.simulate))
    if any(wrong for c in circuits for _, wrong, _ in c.simulated.values()):
        raise SystemExit("hardware and Graph differ")


if __name__ == "__main__":
    main()
