"""Models of real exporters, made anew: classes beside onnxruntime's, and circuits beside their Graphs on both simulators."""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import command, note, table
from models.exported import CASES, Case, readings

from approxhw.backends.bespoke.circuit import build_circuit
from approxhw.backends.bespoke.emit import emit
from approxhw.common.errors import ApproxhwError
from approxhw.frontends.classifier import open_classifier
from approxhw.frontends.runtime.reference import open_reference
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph
from approxhw.ir.interpreter import run
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.passes.pipelines import printed_exact
from approxhw.sim import SimulationJob, bundle, bundle_ports, simulate

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "exporters.md"
VECTORS, TOGETHER, TIMEOUT = 100, 10, 3600.0
SIMULATORS = ("icarus", "verilator")


@dataclass(frozen=True)
class Outcome:
    """What became of a case. ``refused``: why it is not read. ``differ``: rows on which onnxruntime says another class.

    ``rounding``: of these, those where the Graph's is the class of exact fractions, and float32 decided in onnxruntime.
    """

    case: Case
    refused: str = ""
    rows: int = 0
    differ: int = 0
    rounding: int = 0
    job: SimulationJob | None = None


def tried(case: Case, folder: Path) -> Outcome:
    """Make the file of *case*, read it, and compare; raises where the exporter itself fails."""
    file = folder / "model.onnx"
    case.make(file)
    rows = readings()
    try:
        model = open_classifier(file)
    except ApproxhwError as error:
        return Outcome(case, str(error).splitlines()[1].strip())
    graph, _ = run_passes(model.graph, printed_exact(), PassContext(model=model.graph))
    seen = run(graph, codes_of(graph, rows)).reshape(-1)
    other = open_reference(model).predict(rows)
    apart = np.flatnonzero(seen != other)
    exact = _exact_classes(file, rows[apart]) if len(apart) else seen[apart]
    return Outcome(case, "", len(rows), len(apart), int((exact == seen[apart]).sum()), _job(graph, rows))


def _exact_classes(file: Path, rows: np.ndarray) -> np.ndarray:
    """Return the classes that the file's nodes give in Python's fractions, by the oracle of the tests."""
    import onnx

    sys.path.append(str(CHECKOUT / "tests" / "helpers" / "references"))
    from exact_onnx import evaluate, fractions

    model = onnx.load(file)
    scores = evaluate(model, fractions(rows), model.graph.output[0].name).reshape(len(rows), -1)
    if scores.shape[1] == 1:
        return np.array([int(row[0] > 0) for row in scores])
    return np.array([max(range(len(row)), key=lambda i: (row[i], -i)) for row in scores.tolist()])


def _job(graph: Graph, rows: np.ndarray) -> SimulationJob:
    """Return the simulation of the circuit of *graph* on some of *rows*."""
    emitted = emit(build_circuit(graph))
    codes = codes_of(graph, rows[:VECTORS])
    names = list(graph.input.op.features)  # type: ignore[union-attr]
    vectors = {}
    for port, positions in emitted.input_bits:
        column = codes[:, names.index(port)]
        vectors[port] = sum(((column >> bit) & 1) << place for place, bit in enumerate(positions))
    ports = tuple((name, len(positions)) for name, positions in emitted.input_bits)
    expected = {emitted.output[0]: run(graph, codes).reshape(-1)}
    outputs = (emitted.output,)
    return SimulationJob(
        graph.name, emitted.verilog, emitted.top, ports, outputs, emitted.clock, emitted.latency, vectors, expected
    )


def simulated(outcomes: Sequence[Outcome], simulator: str, folder: Path) -> set[int]:
    """Return the places of *outcomes* whose circuits differ from their Graphs on *simulator*, some at a time under one top."""
    places = [place for place, outcome in enumerate(outcomes) if outcome.job is not None]
    wrong: set[int] = set()
    for start in range(0, len(places), TOGETHER):
        some = places[start : start + TOGETHER]
        together = bundle([outcomes[place].job for place in some])  # type: ignore[misc]
        result = simulate(together, simulator, folder / str(start), timeout=TIMEOUT)
        assert result.vectors == VECTORS
        ports = bundle_ports(together)
        wrong |= {some[ports[name][0]] for name in result.failing}
        note(f"{simulator}: {start + len(some)} of {len(places)} circuits simulated")
    return wrong


def page(outcomes: Sequence[Outcome], wrong: dict[str, set[int]]) -> str:
    """Return the page of *outcomes*."""
    lines = []
    for place, one in enumerate(outcomes):
        versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in one.case.packages)
        words = [one.case.packages[0], one.case.model, one.case.form]
        if one.refused:
            lines.append((*words, f"refused: {one.refused}", "", *("" for _ in wrong), versions))
            continue
        equal = f"{one.rows - one.differ} of {one.rows}"
        told = f"{one.rounding} of {one.differ}" if one.differ else ""
        sims = ["differs" if place in wrong[name] else f"{VECTORS} vectors equal" for name in wrong]
        lines.append((*words, equal, told, *sims, versions))
    titles = ("exporter", "model", "form", "classes as onnxruntime's", "float32 alone", *wrong, "versions")
    return "\n".join(
        [
            "# Models of real exporters",
            "",
            "Made by this command, which exports every model anew; `benchmarks/models/exported.py` lists the cases.",
            "",
            command(),
            "*Classes*: those of the Graph behind `printed-exact` and of onnxruntime, on seeded random rows. *float32",
            "alone*: of the rows that differ, those where the Graph says what the file's nodes say in exact fractions,",
            "and onnxruntime what rounding to float32 makes of it: a value between two codes, or two outputs that are",
            "as good as equal.",
            "",
            table(titles, lines),
        ]
    )


def main() -> None:
    """Make, compare, simulate; write the page and fail where something differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose exporter, model or form holds this")
    parser.add_argument("--simulators", default=",".join(SIMULATORS), help="which of icarus and verilator")
    given = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory() as name:
        for number, case in enumerate(CASES):
            if given.only not in " ".join((*case.packages, case.model, case.form)):
                continue
            missing = [package for package in case.packages if not _is_installed(package)]
            if missing:
                note(f"skipped {case.packages[0]}, {case.form}: pip install {' '.join(missing)}")
                continue
            folder = Path(name) / str(number)
            folder.mkdir()
            outcomes.append(tried(case, folder))
            last = outcomes[-1]
            note(
                f"{case.packages[0]}, {case.form}: {last.refused or f'{last.rows - last.differ} of {last.rows} equal'}"
            )
        simulators = [entry for entry in given.simulators.split(",") if entry]
        wrong = {entry: simulated(outcomes, entry, Path(name) / entry) for entry in simulators}
    text = page(outcomes, wrong)
    print(text)
    if not given.only:
        PAGE.write_text(text, encoding="utf-8")
    unexplained = [one for one in outcomes if one.differ != one.rounding]
    if unexplained or any(wrong.values()):
        raise SystemExit(f"{len(unexplained)} models say other classes, {wrong} differ in simulation")


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
