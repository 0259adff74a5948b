"""How the flow serves printed circuits: rows and reference, the circuit and its check, the compiled design in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from approxhw.artifacts.design import (
    CircuitAccuracy,
    Design,
    Model,
    OutputInfo,
    PortInfo,
    Rows,
    check_design_output,
    read_design,
    write_design,
)
from approxhw.artifacts.results import estimates, verdicts
from approxhw.common.arguments import checked, settle_fields
from approxhw.common.data.dataset import (
    CLASSIFICATION,
    REGRESSION,
    Dataset,
    load_dataset,
    readings_of,
    targets_a_row,
    task_of_targets,
)
from approxhw.common.errors import InvalidDataError, OptionError, Problem, UnsupportedModelError, shown
from approxhw.common.files import locked
from approxhw.common.statistics import majority_share, no_better
from approxhw.common.version import __version__
from approxhw.ir.evaluation import MEASURES, details_of, predict, score, score_of, task_of
from approxhw.ir.graph import Graph, titled
from approxhw.ir.kinds import Input
from approxhw.ir.pass_manager import Pass, PassContext
from approxhw.numerics.formats import Fixed

from .describe import about, constant_note, header_of
from .printed import Printed
from .stages import Asked, Clock, Flow, Ledger, Lowered, Option, Source, Steps, Target
from .targets import loaded

if TYPE_CHECKING:
    from approxhw.backends.bespoke.emit import Emitted
    from approxhw.backends.estimate import Estimate
    from approxhw.frontends.classifier import Classifier
    from approxhw.sim import SimulationResult

SEARCH = "approxhw.dse.as_pass:retrained"
"""What carries the pass ``genetic-retraining`` out."""


LONG = 5.0
"""Seconds from which on it is told what a circuit will take."""


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

    def simulate(self, simulator: str = "verilator", **options: Option) -> SimulationResult:
        """Simulate on ``icarus`` or ``verilator``; options and result as :func:`approxhw.flow.measure.simulate_design`."""
        from .measure import simulate_design

        with locked(self.folder):
            return simulate_design(self.folder, self.design, simulator, **options)

    def estimate(self, library: str | Path | None = None, **options: Option) -> Estimate:
        """Measure area, delay and power; options and result as :func:`approxhw.flow.measure.estimate_design`."""
        from .measure import estimate_design

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
            "simulation": simulation,
            "estimate": found[-1] if found else None,
            "seconds": seconds,
            "warnings": list(self.design.warnings),
        }

    def predict(self, readings: ArrayLike) -> np.ndarray:
        """Return the class index (int64) that the hardware gives every row of *readings* (rows × features).

        Raises :class:`~approxhw.common.errors.InvalidDataError` for what are no such rows.
        """
        graph = self.design.graph
        return predict(graph, readings_of(readings, graph.input.type.elements))


@checked("open_design")
def open_design(folder: str | Path) -> CompiledDesign:
    """Return the design in *folder*; raise :class:`~approxhw.common.errors.InvalidDesignError` where there is no whole one."""
    return CompiledDesign(Path(folder), read_design(Path(folder)))


@dataclass(frozen=True, eq=False)
class OpenedClassifier:
    """What is kept of a model: the file as it was read, the user's rows, and its accuracy on ``train`` and ``test`` rows.

    ``told``: what users should know about these rows.
    """

    model: Classifier
    rows: Dataset | None = None
    reference: Mapping[str, float | None] | None = None
    notes: tuple[str, ...] = ()
    """What the user should know of how model and rows were taken."""


def read_classifier(asked: Asked[Target]) -> Source[OpenedClassifier]:
    """Open the classifier that is asked for; sizes and threads are for other targets."""
    from approxhw.frontends.classifier import open_classifier

    _refuse_sizes(asked, "compile")
    model = open_classifier(asked.model, task=_task(asked))
    return Source(model.graph, about(model), model.graph.name, OpenedClassifier(model))


def _task(asked: Asked[Target]) -> str | None:
    return getattr(asked.target, "task", None)


def _refuse_sizes(asked: Asked[Target], subject: str) -> None:
    if asked.shape:
        why = "is for the open inputs of a model on a matrix engine; a circuit's are fixed"
        raise OptionError(subject, [Problem("shape", why, "leave it out")])


def prepare(source: Source[OpenedClassifier], asked: Asked[Target], clock: Clock) -> Source[OpenedClassifier]:
    """Read the user's rows, and run the reference on them."""
    graph, model = source.graph, source.kept.model
    rows = None
    with clock.step("data"):
        if asked.data is not None:
            model, graph = _told_by_data(model, graph, asked)
            rows = load_dataset(
                asked.data,
                graph.input.type.elements,
                graph.classes or None,
                graph.labels,
                task=task_of(graph),
                outputs=graph[graph.output].type.elements,
            )
            graph = titled(graph, rows.features)
    with clock.step("reference"):
        reference: Mapping[str, float | None] = {"train": None, "test": None}
        notes = [] if model.reading is None else list(model.reading.notes)
        if rows is not None:
            splits = {"train": (rows.X_train, rows.y_train), "test": (rows.X_test, rows.y_test)}
            reference, differ = compared(model, graph, splits)
            notes += [*told_of_rows(model, (rows.X_train, rows.X_test)), *differ]
    return replace(source, graph=graph, kept=OpenedClassifier(model, rows, reference, tuple(notes)))


def _told_by_data(model: Classifier, graph: Graph, asked: Asked[Target]) -> tuple[Classifier, Graph]:
    """Return the model read for the task that the user's targets speak for, where the model itself says nothing."""
    from approxhw.frontends.classifier import open_classifier

    if asked.data is None or model.reading is None or not model.reading.doubtful:
        return model, graph
    told = task_of_targets(asked.data)
    scores = graph[graph[graph.output].inputs[0]].type.elements
    if told is None or (scores > 1 and targets_a_row(asked.data) == 1):  # labels of several classes
        return model, graph
    again = open_classifier(asked.model, task=told)
    return again, again.graph


def circuit_context(source: Source[OpenedClassifier], asked: Asked[Target]) -> PassContext:
    """Return what passes may look at, with the synthesis and the search that they cannot reach themselves."""
    from .measure import cell_area, circuit_area
    from .tabulate import tabulate_verilog

    library = getattr(asked.target, "library", "egfet")

    def search(graph: Graph, item: Pass, context: PassContext) -> Graph:
        found: Graph = loaded(SEARCH)(graph, item, context, library)
        return found

    def area(graph: Graph) -> float:
        return circuit_area(graph, library)

    return PassContext(
        source.kept.rows,
        source.graph,
        tabulate=tabulate_verilog,
        library=library,
        area=area,
        cell_area=cell_area(library),
        search=search,
    )


def build_design(source: Source[OpenedClassifier], asked: Asked[Printed], lowered: Lowered, clock: Clock) -> Design:
    """Return the Design of the lowered Graph."""
    from approxhw.backends.bespoke.size import SECONDS_A_BIT, check_size, duration

    target, kept = asked.target, source.kept
    bits = check_size(lowered.graph, target.max_adder_bits)
    if clock.tell and bits * SECONDS_A_BIT > LONG:
        clock.tell(f"a circuit that adds up {bits} bits: about {duration(bits * SECONDS_A_BIT)}", 0.0)
    header = header_of(lowered.graph, source.about, target, lowered.spelled)
    reference = kept.reference or {}
    design = designed(lowered.graph, kept.rows, reference, header=header, registers=target.registers, clock=clock)
    return replace(
        design,
        model=source.about,
        pipeline=target.pipeline if asked.given is None else ",".join(lowered.spelled),
        library=target.library,
        command=asked.command,
        warnings=(*kept.notes, *design.warnings),
        ledger=lowered.ledger,
        seconds=dict(clock.seconds),
    )


def write(design: Design, folder: Path, steps: Steps) -> CompiledDesign:
    """Write *design* to *folder*."""
    write_design(design, folder, steps)
    return CompiledDesign(folder, design)


def reference_accuracies(
    model: Classifier, graph: Graph, splits: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> dict[str, float | None]:
    """Return the accuracy of the model before any pass on each split (readings, class indices); None without rows.

    onnxruntime says so where there is an ONNX model, else the interpreter of *graph*.
    """
    return compared(model, graph, splits)[0]


def compared(
    model: Classifier, graph: Graph, splits: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> tuple[dict[str, float | None], list[str]]:
    """Return what :func:`reference_accuracies` does, and a line where onnxruntime and *graph*, as it was read, differ."""
    if model.loaded is None:
        return {name: score(graph, x, y) for name, (x, y) in splits.items()}, []
    from approxhw.frontends.runtime.reference import open_reference

    try:
        session = open_reference(model)
    except UnsupportedModelError:  # it compiles, but has operators (QONNX) that onnxruntime lacks
        return dict.fromkeys(splits), []
    task, found = task_of(graph), dict[str, float | None](dict.fromkeys(splits))
    differ = rows = 0
    for name, (x, y) in splits.items():
        if len(x):
            said = session.predict(x)
            found[name] = score_of(task, said, y)
            if not graph.is_integer and task == CLASSIFICATION:
                differ, rows = differ + int((said != predict(graph, x)).sum()), rows + len(x)
    told = (
        f"onnxruntime gives {differ} of {rows} rows another class than the greatest score does: float32 does not tell their "
        "probabilities apart there; the circuit goes by the scores (skl2onnx: raw_scores has a model do so, too)"
    )
    return found, [told] if differ else []


def told_of_rows(model: Classifier, rows: Sequence[np.ndarray]) -> tuple[str, ...]:
    """Return what users should know about readings, of several splits, that *model* is not made for."""
    if model.loaded is None:
        return ()
    from approxhw.frontends.runtime.readings import told_of_readings

    return told_of_readings(model.loaded.proto, rows)


def designed(
    graph: Graph,
    data: Dataset | None,
    reference: Mapping[str, float | None],
    *,
    header: Sequence[str] = (),
    registers: bool = False,
    clock: Clock | None = None,
) -> Design:
    """Return the Design of an integer *graph*: its circuit, emitted, and read back.

    ``data``: readings and labels, whose codes and accuracies go with it. ``reference``: accuracies of the model before any
    pass on ``train`` and ``test`` rows. ``header``: comment lines on top of every file.
    """
    from approxhw.backends.bespoke.circuit import build_circuit
    from approxhw.backends.bespoke.emit import emit
    from approxhw.backends.bespoke.readback import check_emitted

    clock = clock or Clock()
    with clock.step("emit"):
        circuit = build_circuit(graph)
        emitted = emit(circuit, registers=registers, header=header, on_block=clock.part("emit"))
    with clock.step("read back"):
        modules = check_emitted(emitted)
    with clock.step("accuracy"):
        return _design(graph, emitted, tuple(modules), data, reference)


def _design(
    graph: Graph,
    emitted: Emitted,
    order: Sequence[str],
    data: Dataset | None,
    reference: Mapping[str, float | None],
) -> Design:
    op = graph.input.op
    assert isinstance(op, Input)
    if op.encoding is None:
        raise InvalidDataError("compile", [Problem("inputs", "the Graph has no input code", "run quantize-inputs")])
    empty = np.zeros((0, len(op.features)))
    x_train, y_train = (data.X_train, data.y_train) if data else (empty, np.zeros(0, dtype=np.int64))
    x_test, y_test = (data.X_test, data.y_test) if data else (empty, np.zeros(0, dtype=np.int64))
    train, saturated_train = op.encoding.encode(x_train)
    test, saturated_test = op.encoding.encode(x_test)
    hardware = {"train": score(graph, x_train, y_train), "test": score(graph, x_test, y_test)}
    split = "test" if len(x_test) else "train"
    task = task_of(graph)
    classes = task == CLASSIFICATION
    named = "test rows" if split == "test" else "training rows"
    majority = {name: majority_share(y) if classes else None for name, y in (("train", y_train), ("test", y_test))}
    warnings = [] if data is None else list(data.notes)
    if classes:
        warnings += constant_note(
            graph, not emitted.input_bits, (x_test, y_test) if split == "test" else (x_train, y_train), split
        )
        warnings += no_better("the model", reference.get(split), majority[split], named)
        warnings += no_better("the circuit", hardware[split], majority[split], named)
    if count := int(saturated_test.sum()):
        titles = [title for title, n in zip(op.titles, saturated_test.tolist(), strict=True) if n]
        where = ", ".join(shown(title, 40) for title in titles[:5]) + (", …" if len(titles) > 5 else "")
        warnings.append(f"{count} test readings lie outside the range of their feature and saturate ({where})")
    if data is not None and reference[split] is None:
        warnings.append("onnxruntime cannot run this model (QONNX, say): its own accuracy is not known")
    if data is None:
        warnings.append("no data was given: no accuracy is known")
    told = (x_test, y_test) if len(x_test) else (x_train, y_train)
    return Design(
        name=graph.name,
        top=emitted.top,
        modules=_modules(emitted, order),
        inputs=_ports(graph, emitted),
        outputs=_outputs(graph, emitted),
        clock=emitted.clock,
        latency=emitted.latency,
        graph=graph,
        rows=Rows(train, y_train, test, y_test),
        version=__version__,
        accuracy={
            "onnx": reference[split],
            "hardware": hardware[split],
            "rows": split,
            "onnx_splits": dict(reference),
            "hardware_splits": hardware,
            "measure": MEASURES[task],
            "details": details_of(task, predict(graph, told[0]), told[1]) if len(told[0]) else {},
            "majority": majority[split],
            "majority_splits": majority,
        },
        saturated={"train": int(saturated_train.sum()), "test": int(saturated_test.sum())},
        warnings=tuple(warnings),
    )


def _ports(graph: Graph, emitted: Emitted) -> tuple[PortInfo, ...]:
    op = graph.input.op
    assert isinstance(op, Input)
    assert op.encoding is not None
    numbers = {name: index for index, name in enumerate(op.features)}
    ports = []
    for name, positions in emitted.input_bits:
        index = numbers[name]
        ports.append(
            PortInfo(
                name=name,
                bits=len(positions),
                feature=index,
                title=op.titles[index],
                code_bits=positions,
                low=op.encoding.low[index],
                high=op.encoding.high[index],
                rule=op.encoding.rule,
                formula=op.encoding.formula(index),
            )
        )
    return tuple(ports)


def _outputs(graph: Graph, emitted: Emitted) -> tuple[OutputInfo, ...]:
    """Return what each output port carries: a class index, a value by its scale, or a label."""
    task, fmt = task_of(graph), graph[graph.output].type.format
    assert isinstance(fmt, Fixed)
    if task == CLASSIFICATION:
        return tuple(OutputInfo(name, bits) for name, bits in emitted.outputs)
    if task == REGRESSION:
        moved = f"({{}} - {fmt.zero})" if fmt.zero else "{}"
        return tuple(
            OutputInfo(name, bits, f"{moved.format(name)} * {fmt.scale}", fmt.signed, str(fmt.scale), fmt.zero)
            for name, bits in emitted.outputs
        )
    labels = graph.labels or tuple(range(len(emitted.outputs)))
    return tuple(OutputInfo(name, bits, f"label {label}") for (name, bits), label in zip(emitted.outputs, labels))


def _modules(emitted: Emitted, order: Sequence[str]) -> dict[str, str]:
    """Return module → text, the header comment in front of each: files travel alone."""
    header, _, body = emitted.verilog.partition("\n\n")
    texts: dict[str, str] = {}
    comment: list[str] = []
    lines: list[str] = []
    name = ""
    for line in body.splitlines():
        if not name and line.startswith("module "):
            name = line.split()[1].split("(")[0]
        (lines if name else comment).append(line)
        if name and line == "endmodule":
            about = "\n".join(comment).strip("\n")
            texts[name] = "\n".join(part for part in (header, about, *lines) if part) + "\n"
            comment, lines, name = [], [], ""
    assert set(texts) == set(order)
    return {emitted.top: texts.pop(emitted.top), **texts}


def _kept(folder: Path) -> tuple[Model, Ledger]:
    design = read_design(folder)
    return design.model, design.ledger


def check_classifier(asked: Asked[Target]) -> list[Problem]:
    """Return everything that keeps the model from being compiled; empty where nothing does."""
    from approxhw.frontends import check_model

    _refuse_sizes(asked, "check")
    return check_model(asked.model, _task(asked))


def counts(asked: Asked[Target]) -> dict[str, int]:
    """Return how many inputs and classes there are."""
    graph = read_classifier(asked).graph
    if task_of(graph) != CLASSIFICATION:
        return {"inputs": graph.input.type.elements, "outputs": graph[graph.output].type.elements}
    return {"inputs": graph.input.type.elements, "classes": graph.classes}


FLOW = Flow(
    check=check_classifier,
    counts=counts,
    read=read_classifier,
    free=check_design_output,
    prepare=prepare,
    context=circuit_context,
    build=build_design,
    write=write,
    open=open_design,
    kept=_kept,
)
