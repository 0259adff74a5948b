"""A compiled design in Python: simulate, estimate, report, predict."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from approxhw.artifacts.design import (
    CircuitAccuracy,
    Design,
    read_design,
)
from approxhw.artifacts.results import estimates, verdicts
from approxhw.common.arguments import checked, settle_fields
from approxhw.common.data.dataset import (
    readings_of,
)
from approxhw.common.files import locked
from approxhw.common.statistics.safety import SafetyReport
from approxhw.flow.stages.protocol import Option
from approxhw.ir.evaluation import predict
from approxhw.ir.kinds import Input

from .calibrated import offer
from .system import system_cost

if TYPE_CHECKING:
    from approxhw.backends.estimate import Estimate
    from approxhw.sim import SimulationResult


@dataclass(frozen=True)
class CompiledDesign:
    """A design folder: ``folder`` on disk, ``design`` what stands in it."""

    folder: Path
    design: Design

    def __post_init__(self) -> None:
        """Refuse values that are not of the types of their fields."""
        settle_fields(self, "CompiledDesign")

    @property
    def verilog(self) -> str:
        """The whole circuit as one text."""
        return self.design.verilog

    @property
    def accuracy(self) -> CircuitAccuracy:
        """Accuracies: ``onnx`` and ``hardware`` on test rows (training rows where there are none), and both splits."""
        return self.design.accuracy

    @property
    def safety(self) -> SafetyReport | None:
        """What approximating does to classes and subgroups of rows; None without rows."""
        return self.design.safety

    def simulate(self, simulator: str = "verilator", **options: Option) -> SimulationResult:
        """Simulate on ``icarus`` or ``verilator``; options and result as :func:`approxhw.flow.stages.measure.simulate_design`."""
        from approxhw.flow.stages.measure import simulate_design

        with locked(self.folder):
            return simulate_design(self.folder, self.design, simulator, **options)

    def estimate(self, library: str | Path | None = None, **options: Option) -> Estimate:
        """Measure area, delay and power; options and result as :func:`approxhw.flow.stages.measure.estimate_design`."""
        from approxhw.flow.stages.measure import estimate_design

        with locked(self.folder):
            return estimate_design(self.folder, self.design, library, **options)

    def report(self) -> Path:
        """Write ``report.html`` from all that is known so far; return its path."""
        from .write_report import report_design

        with locked(self.folder):
            return report_design(self.folder, self.design)

    def summary(self) -> dict[str, object]:
        """Return all that is known so far as plain types: what ``--json`` prints."""
        found, simulation = estimates(self.folder), verdicts(self.folder)
        seconds = dict(self.design.seconds)
        seconds.update({f"simulate {row['simulator']}": sum(row["seconds"].values()) for row in simulation})
        if found:
            seconds["estimate"] = found[-1]["seconds"]
        return {
            "design": str(self.folder),
            "accuracy": dict(self.accuracy),
            "safety": None if self.safety is None else asdict(self.safety),
            "simulation": simulation,
            "estimate": found[-1] if found else None,
            "system": system_cost(self.design, found[-1]) if found else None,
            "offer": offer(self.design, found[-1]) if found else "",
            "seconds": seconds,
            "warnings": list(self.design.warnings),
        }

    def predict(self, readings: ArrayLike) -> np.ndarray:
        """Return the class index (int64) that the hardware gives every row of *readings* (rows × features).

        Raises :class:`~approxhw.common.errors.InvalidDataError` for what are no such rows.
        """
        graph = self.design.graph
        op = graph.input.op
        encoding = op.encoding if isinstance(op, Input) else None
        return predict(graph, readings_of(readings, graph.input.type.elements if encoding is None else encoding.width))


@checked("open_design")
def open_design(folder: str | Path) -> CompiledDesign:
    """Return the design in *folder*; raise :class:`~approxhw.common.errors.InvalidDesignError` where there is no whole one."""
    return CompiledDesign(Path(folder), read_design(Path(folder)))
