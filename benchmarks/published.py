"""Circuits that others published for the five tasks: their figures, and their Verilog where there is a checkout of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import TASKS

from approxhw.artifacts.converters import AREA_MM2
from approxhw.backends.estimate import simulate_netlist, synthesise
from approxhw.common.data.dataset import Dataset
from approxhw.sim import SimulationJob, simulate

PUBLISHED = {
    "breast_cancer": (0.942, 0.0325),
    "cardio": (0.873, 1.30),
    "pendigits": (0.901, 11.5),
    "redwine": (0.519, 0.0323),
    "whitewine": (0.514, 0.202),
}
"""Test accuracy, on a split of their own, and area (cm², synthesised by the reference recipe) of the DATE 2024 circuits."""

PUBLISHED_HERE = {
    task: (accuracy, PUBLISHED[task][1])
    for task, accuracy in zip(TASKS, (0.9463, 0.9044, 0.8905, 0.5604, 0.5082), strict=True)
}
"""The same circuits' accuracy on the test rows of the tasks, some of which they were trained on, and their areas."""

ANCHORS = {
    "breast_cancer": ((0.961, 0.0056), (0.976, 0.050), (0.985, 1.24)),
    "cardio": ((0.832, 0.061), (0.854, 0.135), (0.862, 0.579), (0.882, 0.82), (0.901, 1.89)),
    "pendigits": ((0.761, 8.2), (0.851, 20.9), (0.913, 34.7), (0.940, 48.2)),
    "redwine": ((0.529, 0.0043), (0.573, 0.0074), (0.585, 0.142), (0.590, 0.203)),
    "whitewine": ((0.500, 0.029), (0.523, 0.060), (0.533, 0.82), (0.540, 3.53)),
}
"""Accuracy and area (cm²) of the ternary networks of arXiv 2508.19660, a front picked on its test rows, by its own synthesis."""

FEATURES = {"breast_cancer": 9, "cardio": 21, "pendigits": 16, "redwine": 11, "whitewine": 11}
"""Of the tasks."""

INPUTS = {"breast_cancer": 4, "cardio": 14, "pendigits": 16, "redwine": 5, "whitewine": 6}
"""Features that these circuits read, of those they have ports for: as re-simulated in results/logic_compared.md."""

REPOSITORY = "https://github.com/floAfentaki/Approximation-Techniques-Targeting-Printed-MLPs"

FOLDER = "Embedding-Hardware-Approximations-in-Discrete-Genetic-based-Training_DATE24"
"""Of the DATE 2024 paper in that repository: it has ``FinalDesigns/TASK/hdl/top.v``, the task spelled in some way."""

BITS = 4
"""Of an input of these circuits: floor(16 · x)."""

SATURATION = """
module DW01_satrnd #(parameter width = 16, parameter msb_out = 15, parameter lsb_out = 0) (
    input [width-1:0] din, input tc, input sat, input rnd, output ov, output [msb_out-lsb_out:0] dout
);
    wire [width-1:0] above = din >> msb_out;
    assign ov = (above >> 1) != 0;
    assign dout = sat && ov ? {(msb_out - lsb_out + 1){1'b1}} : din[msb_out:lsb_out];
endmodule
"""
"""What a part of a synthesis tool's library does that these circuits use: saturates unsigned numbers, rounds none."""


@dataclass(frozen=True)
class Resimulated:
    """A published circuit on rows of ours. Areas in cm², ``system`` with a flash converter for each feature that it reads."""

    area: float
    system: float
    test: float
    train: float
    vectors: int
    """On which the netlist equals the Verilog on Icarus: all rows."""


def published_file(checkout: Path, task: str) -> Path | None:
    """Return where *checkout* has the Verilog of *task*; None where it has none."""
    named = [
        each for each in (checkout / FOLDER / "FinalDesigns").glob("*/hdl/top.v") if each.parts[-3].lower() == task
    ]
    return named[0] if named else None


def resimulated(file: Path, data: Dataset, place: Path) -> Resimulated:
    """Return what the Verilog of *file* is on the rows of *data*: simulated by Icarus in the folder *place*, and as a netlist.

    Raises :class:`approxhw.common.errors.MismatchError` where netlist and simulation differ.
    """
    text = file.read_text(encoding="utf-8") + SATURATION
    netlist = synthesise(text, "top", "egfet", timeout=1200)
    (port,), (out,) = netlist.inputs, netlist.outputs
    rows = np.concatenate([data.X_test, data.X_train])
    codes = np.clip(np.floor(16 * rows.astype(np.float64)), 0, 15).astype(np.int64)
    more = len(port.nets) // BITS - codes.shape[1]  # its first column is the number of a patient, which decides nothing
    codes = np.concatenate([np.zeros((len(codes), more), dtype=np.int64), codes], axis=1)
    words = (codes.astype(object) << BITS * np.arange(codes.shape[1]).astype(object)).sum(axis=1)
    seen = simulate_netlist(netlist, {port.name: words})[out.name]
    ports = ((port.name, len(port.nets)),), ((out.name, len(out.nets)),)
    job = SimulationJob("published", text, "top", *ports, vectors={port.name: words}, expected={out.name: seen})
    vectors = simulate(job, "icarus", place, timeout=1200).raise_on_mismatch().vectors
    read = {net for instance in netlist.instances for net in instance.pins.values()}
    features = {place // BITS for place, net in enumerate(port.nets) if net in read}
    area, test = netlist.area() / 100, len(data.y_test)
    right = seen == np.concatenate([data.y_test, data.y_train])
    system = area + AREA_MM2 / 100 * len(features)
    return Resimulated(area, system, float(right[:test].mean()), float(right[test:].mean()), vectors)
