"""Models of real exporters, made anew: classes beside onnxruntime's, and circuits beside their Graphs on both simulators."""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from common import command, note, table

from approxhw.common.data.dataset import MULTILABEL, REGRESSION, Dataset
from approxhw.common.errors import ApproxhwError, UnsupportedModelError
from approxhw.flow.printed.building import designed
from approxhw.flow.stages.measure import job_of
from approxhw.frontends.classifier import Classifier, open_classifier
from approxhw.frontends.runtime.reference import open_reference
from approxhw.ir.evaluation import predict, task_of
from approxhw.ir.graph import Graph
from approxhw.ir.interpreter import run_all
from approxhw.ir.kinds import Forest
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.passes.pipelines import printed_exact, printed_tree
from approxhw.sim import SimulationJob, bundle, bundle_ports, simulate

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = CHECKOUT / "docs" / "exporters.md"
EXPORTERS = Path(__file__).parent / "models" / "exporters"
sys.path.append(str(EXPORTERS))

from all_cases import CASES  # noqa: E402
from exporter_cases import ENVIRONMENTS, HERE, Case, readings  # noqa: E402

BUILD = CHECKOUT / "build" / "exporters"
ROWS, RANDOM, TOGETHER, TIMEOUT = 60, 30, 16, 3600.0
SIMULATORS = ("icarus", "verilator")
ICARUS_BUDGET, ICARUS_LEAST = 3_000_000, 12
"""Vectors times characters of Verilog of a circuit on Icarus, which follows every glitch; and how many it gets in any case."""
CLOSE = 1e-5
"""What values may differ by from onnxruntime's, which calculates in float32, as a share of the greatest one."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    ``refused``: why it is not read. ``failed``: why there is no file. ``differ``: rows on which onnxruntime says something
    else; ``rounding``: those of them where float32 decided there.
    """

    case: Case
    failed: str = ""
    refused: str = ""
    rows: int = 0
    differ: int = 0
    rounding: int = 0
    job: SimulationJob | None = None
    wrong: dict[str, bool] = field(default_factory=dict)

    @property
    def unclaimed(self) -> str:
        """What of it is not as the list of cases says; empty where all is."""
        if self.failed:
            return ""
        if bool(self.refused) != bool(self.case.refused) or self.case.refused not in self.refused:
            return f"is refused: {self.refused}" if self.refused else "is read, and was to be refused"
        if self.differ != self.rounding:
            return f"{self.differ - self.rounding} of {self.rows} rows differ"
        return "".join(f"its circuit differs on {name}" for name, wrong in self.wrong.items() if wrong)


def tried(case: Case, file: Path) -> tuple[Outcome, Classifier | None]:
    """Read *file* and hold it against onnxruntime on every row; return what became of it, and the model."""
    try:
        model = open_classifier(file, name="exported", task=case.task)
    except UnsupportedModelError as error:
        return Outcome(case, refused=error.problems[0].why), None
    rows = readings()
    other = _labels(file, rows) if task_of(model.graph) == MULTILABEL else None
    other = open_reference(model).predict(rows) if other is None else other
    seen = predict(model.graph, rows)
    if task_of(model.graph) == REGRESSION:
        apart = np.flatnonzero((abs(seen - other) > CLOSE * abs(other).max()).any(axis=1))
        return Outcome(case, rows=len(rows), differ=len(apart)), model
    apart = np.flatnonzero((seen.reshape(len(rows), -1) != other.reshape(len(rows), -1)).any(axis=1))
    rounding = _by_rounding(model, file, rows[apart], seen[apart]) if len(apart) else 0
    return Outcome(case, rows=len(rows), differ=len(apart), rounding=rounding), model


def _labels(file: Path, rows: np.ndarray) -> np.ndarray | None:
    """Return the truths of several labels that the model itself tells of *rows*, as skl2onnx has it do; None of others."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # skl2onnx declares another shape than the output has
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    told = [output.name for output in session.get_outputs() if output.type == "tensor(int64)"]
    return np.asarray(session.run(told, {session.get_inputs()[0].name: rows})[0]) if told else None


def _by_rounding(model: Classifier, file: Path, rows: np.ndarray, seen: np.ndarray) -> int:
    """Return of how many *rows* the Graph's class is right, and onnxruntime's one of float32."""
    if model.graph.is_integer:
        return int((_exact_classes(file, rows) == seen).sum())
    graph = model.graph
    decision = graph[graph.output]
    scores = np.sort(run_all(graph, rows.astype(np.float64))[decision.inputs[0]].reshape(len(rows), -1), axis=1)
    margin = scores[:, -1] - scores[:, -2] if scores.shape[1] > 1 else abs(scores[:, 0])
    return int((margin < CLOSE * abs(scores).max(axis=1)).sum())


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


def circuit_job(model: Classifier) -> SimulationJob:
    """Return the simulation of the circuit of *model*, on the first of the rows, corners and random vectors."""
    rows = readings().astype(np.float64)
    truths = predict(model.graph, rows)
    data = Dataset(rows[ROWS:], truths[ROWS:], rows[:ROWS], truths[:ROWS])
    graph: Graph
    passes = printed_tree() if any(isinstance(node.op, Forest) for node in model.graph.nodes) else printed_exact()
    graph, _ = run_passes(model.graph, passes, PassContext(data, model.graph))
    job, _ = job_of(
        designed(graph, data, {"train": None, "test": None}, header=("exported",)), random=RANDOM, exhaustive_bits=0
    )
    return job


def simulated(outcomes: Sequence[Outcome], simulator: str, folder: Path) -> set[int]:
    """Return the places of *outcomes* whose circuits differ from their Graphs on *simulator*, some at a time under one top.

    The same network, however it was exported, is the same circuit, and is simulated once.
    """
    alike: dict[str, list[int]] = {}
    for place, outcome in enumerate(outcomes):
        if outcome.job is not None:
            alike.setdefault(_digest(outcome.job), []).append(place)
    places = [found[0] for found in alike.values()]
    wrong: set[int] = set()
    for start in range(0, len(places), TOGETHER):
        some = places[start : start + TOGETHER]
        together = bundle([_cut(outcomes[place].job, simulator) for place in some])  # type: ignore[arg-type]
        result = simulate(together, simulator, folder / str(start), timeout=TIMEOUT)
        assert result.vectors == together.count > 0
        ports = bundle_ports(together)
        wrong |= {some[ports[name][0]] for name in result.failing}
        note(f"{simulator}: {start + len(some)} of {len(places)} circuits simulated")
    return {place for found in alike.values() if found[0] in wrong for place in found}


def _cut(job: SimulationJob, simulator: str) -> SimulationJob:
    """Return *job* with as many vectors, rows first, as *simulator* gets of it."""
    if simulator != "icarus":
        return job
    count = min(job.count, max(ICARUS_LEAST, ICARUS_BUDGET // len(job.verilog)))
    vectors, expected = (
        {name: column[:count] for name, column in columns.items()} for columns in (job.vectors, job.expected)
    )
    return replace(job, vectors=vectors, expected=expected)


def _digest(job: SimulationJob) -> str:
    """Return what tells circuits, their vectors and what is expected apart."""
    found = hashlib.sha256(job.verilog.encode())
    for columns in (job.vectors, job.expected):
        for name, column in sorted(columns.items()):
            found.update(f"{name} {column.tolist()}".encode())
    return found.hexdigest()


# Files ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """The files of an environment: ``folder`` has NUMBER.onnx. ``lacking``: why it could not be set up."""

    folder: Path
    lacking: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)


def python_of(environment: str) -> tuple[Path, str]:
    """Return the interpreter of *environment*, which is set up below ``build`` first, and why it could not be."""
    if environment == HERE:
        return Path(sys.executable), ""
    folder = BUILD / environment
    python, done = folder / "bin" / "python", folder / "installed.txt"
    wanted = "\n".join(ENVIRONMENTS[environment])
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return python, ""
    note(f"setting up {folder}: {' '.join(ENVIRONMENTS[environment])}")
    venv.create(folder, with_pip=True, clear=True)
    words = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *ENVIRONMENTS[environment]]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    if result.returncode:
        told = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
        return python, (told or ["pip failed"])[-1].removeprefix("ERROR: ")
    done.write_text(wanted, encoding="utf-8")
    return python, ""


def files_of(environment: str, folder: Path, only: str) -> Made:
    """Return the files of the cases of *environment* whose titles hold *only*, written to *folder* by its exporters."""
    python, lacking = python_of(environment)
    if lacking:
        return Made(folder, lacking)
    folder.mkdir(parents=True)
    words = [str(python), str(EXPORTERS / "write_files.py"), environment, str(folder), only]
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    if result.returncode:
        return Made(folder, (result.stderr.strip() or "its exporters end").splitlines()[-1])
    made = json.loads((folder / "made.json").read_text(encoding="utf-8"))
    return Made(folder, "", made["versions"], {int(number): why for number, why in made["failed"].items()})


# The page -------------------------------------------------------------------------------------------------------------


def page(outcomes: Sequence[Outcome], versions: dict[str, str], lacking: dict[str, str]) -> str:
    """Return the page of *outcomes*; *lacking*: environments that could not be set up, and why."""
    read = [one for one in outcomes if not one.refused and not one.failed]
    simulators = list(read[0].wrong) if read else []
    good = sum(not one.unclaimed for one in read)
    counts = [
        f"{len(outcomes)} files, of which {len(read)} are read; what is claimed holds for {good} of {len(read)}.",
        f"{sum(bool(one.refused) for one in outcomes)} are refused, with the reason shown;",
        f"{sum(bool(one.failed) for one in outcomes)} could not be written by their exporters.",
    ]
    lines = [
        "# Models of real exporters",
        "",
        "Made by this command, which exports every model anew (`benchmarks/models/exporters/` lists the cases; exporters that",
        "cannot live in one environment get one each, below `build/`):",
        "",
        command(),
        *counts,
        "",
        "*As onnxruntime*: rows of 2000 seeded random ones for which the Graph, as it is read, says what onnxruntime says of the",
        "file: the class, every label, or (regressors) the values within 1e-5 of the greatest. *float32 alone*: of the rows that",
        "differ, those that float32 decides in onnxruntime: of a quantised model those where the Graph says what the file's",
        "nodes say in exact fractions, of a float model those whose two best scores are equal to within float32. *Circuit*: the",
        "one that `printed-exact` makes, held against its Graph on rows, corners and random vectors (Icarus, which is slow, gets",
        "fewer of them); the same network is the same circuit, however it was exported, and is simulated once.",
        "",
    ]
    for exporter in dict.fromkeys(one.case.exporter for one in outcomes):
        part = [one for one in outcomes if one.case.exporter == exporter]
        packages = dict.fromkeys(name for one in part for name in one.case.packages)
        lines += [f"## {exporter}", "", ", ".join(f"{name} {versions.get(name, '')}".strip() for name in packages), ""]
        titles = ("model", "form", "as onnxruntime", "float32 alone", *(f"circuit on {name}" for name in simulators))
        lines.append(table(titles, [_line(one, simulators) for one in part]))
    if lacking:
        lines += ["## What could not be installed", ""]
        for environment, why in lacking.items():
            words = ", ".join(ENVIRONMENTS[environment])
            lines.append(f"- {environment} ({words}): {why}")
        lines.append("")
    return "\n".join(lines)


def _line(one: Outcome, simulators: Sequence[str]) -> tuple[str, ...]:
    words, blank = (one.case.model, one.case.form), tuple("" for _ in simulators)
    if one.failed:
        return (*words, f"not exported: {one.failed.replace('|', '¦')}", "", *blank)
    if one.refused:
        return (*words, f"refused: {one.refused}", "", *blank)
    told = f"{one.rounding} of {one.differ}" if one.differ else ""
    assert one.job is not None
    circuits = [
        "**differs**" if one.wrong[name] else f"{_cut(one.job, name).count} vectors equal" for name in simulators
    ]
    return (*words, f"{one.rows - one.differ} of {one.rows}", told, *circuits)


def main() -> None:
    """Make, compare, simulate; write the page and fail where something is not as claimed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="cases whose exporter, model or form holds this; no page is written")
    parser.add_argument("--simulators", default=",".join(SIMULATORS), help="which of icarus and verilator")
    given = parser.parse_args()
    outcomes: list[Outcome] = []
    versions: dict[str, str] = {}
    lacking: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        made = {}
        for environment in dict.fromkeys(case.environment for case in CASES if given.only in case.title):
            made[environment] = files_of(environment, Path(name) / environment, given.only)
            versions |= made[environment].versions
            if made[environment].lacking:
                lacking[environment] = made[environment].lacking
                note(f"{environment}: {lacking[environment]}")
        for number, case in enumerate(CASES):
            if given.only in case.title and case.environment not in lacking:
                outcomes.append(_outcome(case, number, made[case.environment]))
        for simulator in filter(None, given.simulators.split(",")):
            wrong = simulated(outcomes, simulator, Path(name) / simulator)
            outcomes = [
                replace(one, wrong={**one.wrong, simulator: place in wrong}) for place, one in enumerate(outcomes)
            ]
    text = page(outcomes, versions, lacking)
    print(text)
    if not given.only:
        PAGE.write_text(text, encoding="utf-8")
    if unclaimed := [f"{one.case.title}: {one.unclaimed}" for one in outcomes if one.unclaimed]:
        raise SystemExit("\n".join(["not as claimed:", *unclaimed]))


def _outcome(case: Case, number: int, made: Made) -> Outcome:
    if number in made.failed:
        return Outcome(case, failed=made.failed[number])
    try:
        outcome, model = tried(case, made.folder / f"{number}.onnx")
        if model is not None:
            outcome = replace(outcome, job=circuit_job(model))
    except ApproxhwError as error:
        raise SystemExit(f"{case.title}: {error}") from error
    note(f"{case.title}: {outcome.refused or f'{outcome.rows - outcome.differ} of {outcome.rows} equal'}")
    return outcome


if __name__ == "__main__":
    main()
