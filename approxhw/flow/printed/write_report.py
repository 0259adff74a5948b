"""Fill the report of a design folder with all that is known so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from approxhw.artifacts.design import Design, PortInfo
from approxhw.artifacts.folder import Plain
from approxhw.artifacts.results import estimates, verdicts
from approxhw.common.data.dataset import CLASSIFICATION
from approxhw.ir.evaluation import confusion, task_of
from approxhw.ir.kinds import Input
from approxhw.numerics.formats import Fixed
from approxhw.report import (
    Accuracy,
    Confusion,
    Cost,
    LayerCost,
    PortRow,
    ReportData,
    Simulation,
    SystemCost,
    drawn_layers,
    drawn_ledger_row,
    write_report,
)
from approxhw.sim.simulators.registry import SIMULATORS

from .calibrated import offer
from .system import system_cost


def report_design(folder: Path, design: Design, named: Path | None = None) -> Path:
    """Write ``report.html`` into *folder*; return its path. *named*: what the page calls the folder, if not by its path."""
    path = folder / "report.html"
    data = report_data(folder, design)
    if named is not None:
        data = replace(data, folder=str(named), commands=_commands(named, design, estimates(folder)))
    write_report(path, data)
    return path


def report_data(folder: Path, design: Design) -> ReportData:
    """Return everything that the page of *folder* shows."""
    op = design.graph.input.op
    assert isinstance(op, Input)
    found = estimates(folder)
    return ReportData(
        title=design.name,
        model=str(design.model.get("title", "")),
        pipeline=design.pipeline,
        version=design.version,
        folder=str(folder),
        layers=drawn_layers(design.graph),
        inputs=op.titles,
        labels=design.graph.labels,
        accuracy=_accuracies(design),
        measure=str(design.accuracy.get("measure", "accuracy")),
        majority=design.accuracy.get("majority"),
        confusion=_confusion(design),
        ports=_ports(design),
        cost=_cost(design, found[-1]) if found else None,
        ledger=tuple(drawn_ledger_row(row) for row in design.ledger),
        simulations=tuple(_simulation(row) for row in verdicts(folder)),
        commands=_commands(folder, design, found),
        seconds=tuple((name, float(value)) for name, value in design.seconds.items()),
        warnings=design.warnings,
        safety=design.safety,
    )


def _accuracies(design: Design) -> tuple[Accuracy, ...]:
    reference = design.accuracy["onnx_splits"]
    hardware = design.accuracy["hardware_splits"]
    source = "float (onnxruntime)" if design.model.get("sha256") else "before any pass"
    rows = [Accuracy(source, reference["train"], reference["test"])]
    for row in design.ledger:
        if row["name"] in ("quantize-inputs", "quantize-weights"):
            rows.append(Accuracy(f"after {row['name']}", row["train_accuracy_after"], row["test_accuracy_after"]))
    least = design.accuracy.get("majority_splits")
    if least is not None:
        rows.append(Accuracy("always the most frequent class", least["train"], least["test"], "of the rows themselves"))
    rows.append(Accuracy("hardware", hardware["train"], hardware["test"], "the integer Graph that the circuit equals"))
    return tuple(rows)


def _confusion(design: Design) -> Confusion | None:
    if task_of(design.graph) != CLASSIFICATION:
        return None
    for codes, classes, name in (
        (design.rows.test, design.rows.test_classes, "test rows"),
        (design.rows.train, design.rows.train_classes, "training rows"),
    ):
        if len(codes):
            table = confusion(design.graph, codes, classes, max(design.graph.classes, int(classes.max()) + 1))
            return Confusion(tuple(tuple(row) for row in table.tolist()), name)
    return None


def _ports(design: Design) -> tuple[PortRow, ...]:
    fmt = design.graph.input.type.format
    bits = fmt.bits if isinstance(fmt, Fixed) else 0
    ports = [
        PortRow(
            port.name, "input", port.bits, port.title, port.low, port.high, _wiring(port, bits), f"code{port.carried}"
        )
        for port in design.inputs
    ]
    if design.clock:
        ports.append(PortRow(design.clock, "input", 1, "clock", formula=f"latency: {design.latency} rising edges"))
    if task_of(design.graph) == CLASSIFICATION:
        ports.append(PortRow(design.output, "output", design.output_bits, "class index"))
    else:
        ports += [
            PortRow(port.name, "output", port.bits, "value or label", formula=port.meaning) for port in design.outputs
        ]
    return tuple(ports)


def _wiring(port: PortInfo, bits: int) -> str:
    """Return how a reading becomes what the port carries, and where in its range it is compared."""
    return "; ".join(part for part in (port.wiring(bits), port.compared) if part)


def _cost(design: Design, found: Mapping[str, Plain]) -> Cost:
    system = system_cost(design, found)
    return Cost(
        library=found["library"],
        area_mm2=found["area_mm2"],
        power_mw=found["power_mw"],
        delay_ms=found["delay_ms"],
        cells=found["cells"],
        voltage=found["voltage"],
        static_power_mw=found["static_power_mw"],
        dynamic_power_mw=found["dynamic_power_mw"],
        frequency_hz=found["frequency_hz"],
        cells_by_type=tuple(sorted(found["cells_by_type"].items(), key=lambda item: -item[1])),
        states_from=found["states_from"],
        notes=tuple(found.get("notes", ())),
        by_layer=tuple(
            LayerCost(row["name"], row["area_mm2"], row["power_mw"], row["cells"]) for row in found["by_layer"]
        ),
        critical_path=tuple(_step(step) for step in found["critical_path"]),
        delay_point=found["delay_point"],
        offer=offer(design, found),
        system=None if system is None else _system(system),
    )


def _system(told: Mapping[str, Plain]) -> SystemCost:
    """Return what the page shows of *told*, without the areas and powers of the converters alone."""
    return SystemCost(told["converters"], told["converter"], told["area_mm2"], told["power_mw"])


def _step(step: str) -> str:
    """Return a step of a path as the page shows it: the cell alone where synthesis made the net's name up."""
    cell, _, net = step.partition(" -> ")
    return cell if not net or net.startswith("$") else f"{cell} {net}"


def _simulation(row: Mapping[str, Plain]) -> Simulation:
    return Simulation(
        simulator=row["simulator"],
        vectors=row["vectors"],
        mismatches=row["mismatches"],
        sources=tuple(row["sources"].items()),
        mismatch_file=row["mismatch_file"] or "",
        excluded=row.get("excluded", ""),
        seconds=sum(row["seconds"].values()),
    )


def _commands(folder: Path, design: Design, found: list[dict[str, Plain]]) -> tuple[str, ...]:
    import shlex

    name = shlex.quote(str(folder))
    library = shlex.quote(found[-1].get("library_file") or found[-1]["library"]) if found else design.library
    return (
        design.command or f"approxhw compile MODEL --data DATA -o {name}",
        *(f"approxhw simulate {name} --simulator {simulator}" for simulator in SIMULATORS),
        f"approxhw estimate {name} --library {library}",
        f"approxhw report {name}",
    )
