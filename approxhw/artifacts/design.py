"""A compiled Design on disk: Verilog, ports, Graph, rows and ledger in one folder that is whole or is not there.

======================  ================================================================================
``design.json``         what it is, its ports and how to wire them, labels, ledger, accuracies; written last
``rtl/MODULE.v``        one Verilog module a file; ``rtl/files.f`` lists them for simulators and synthesis
``graph.axir``          the integer Graph that the circuit is equal to
``rows.npz``            codes and class indices of the user's training and test rows
``steps/NN_PASS.axir``  the Graph after every pass, where asked for
``simulation/``         one folder a simulator, made by ``simulate``
``estimate/``           one file a cell library, made by ``estimate``
``report.html``         made by ``report``
======================  ================================================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypedDict

import numpy as np

from approxhw.common.data.arrays import read_npz
from approxhw.common.data.dataset import CLASSIFICATION, MULTILABEL, REGRESSION
from approxhw.common.errors import shown
from approxhw.common.files import read_text
from approxhw.common.statistics.safety import SafetyReport, check_safety
from approxhw.ir.evaluation import task_of
from approxhw.ir.graph import IDENTIFIER, Graph
from approxhw.ir.kinds import Input
from approxhw.ir.pass_manager import LedgerLine, PassRecord
from approxhw.ir.text import MAXIMUM_CHARACTERS, parse_graph, print_graph
from approxhw.ir.verifier import verify
from approxhw.numerics.formats import BORDERED, Fixed

from . import folder as vouched
from .converters import Converters, border_converters, converters
from .steps import write_steps


@dataclass(frozen=True)
class PortInfo:
    """An input port and how to wire it: which feature, which bits of its code, and how a reading becomes the code."""

    name: str
    bits: int
    feature: int
    title: str
    code_bits: tuple[int, ...]
    """Positions of the code's bits that the port carries, lowest first: a bit that nothing reads is not there."""
    low: float
    high: float
    rule: str
    formula: str
    thresholds: tuple[float, ...] = ()
    """Readings that the code counts, ascending, where it counts borders: what a converter compares with."""
    shares: tuple[float, ...] = ()
    """Where each lies between ``low`` (0) and ``high`` (1), the ends of the training readings: a share of the voltage."""

    @property
    def compared(self) -> str:
        """Where the thresholds lie, as a line; empty where the code counts none."""
        told = ", ".join(f"{100 * share:.1f} %" for share in self.shares)
        return f"at {told} of the range of training readings" if told else ""

    @property
    def carried(self) -> str:
        """Which bits of the code the port carries, as Verilog picks them: ``[3:2]``, ``[3]``; ``[3,1]`` where some lack."""
        low, high = self.code_bits[0], self.code_bits[-1]
        if self.code_bits != tuple(range(low, high + 1)):
            return f"[{','.join(map(str, reversed(self.code_bits)))}]"
        return f"[{high}]" if high == low else f"[{high}:{low}]"

    def wiring(self, bits: int) -> str:
        """Return how a reading becomes what the port carries, of a code of *bits* bits."""
        if self.code_bits == tuple(range(bits)):
            return self.formula
        low, high = self.code_bits[0], self.code_bits[-1]
        shifted = f"code >> {low}" if low else "code"
        if self.code_bits != tuple(range(low, high + 1)):
            shifted = f"{{{', '.join(f'code[{bit}]' for bit in reversed(self.code_bits))}}}"
        elif high + 1 < bits:
            shifted = f"({shifted}) & {(1 << self.bits) - 1}" if low else f"code & {(1 << self.bits) - 1}"
        return f"{self.formula}; port = {shifted}"


@dataclass(frozen=True)
class OutputInfo:
    """An output port: a class index, one of several labels, or a value: scale · (code − zero), the code ``signed`` or not."""

    name: str
    bits: int
    meaning: str = "class index, see labels"
    signed: bool = False
    scale: str = "1"
    """An exact fraction."""
    zero: int = 0


class Model(TypedDict, total=False):
    """What was compiled: a title and, for a file, its digest."""

    title: str
    sha256: str | None


class CircuitAccuracy(TypedDict, total=False):
    """Scores, None without rows: of the model before any pass, and of the circuit, on ``rows`` and by split.

    ``measure``: what a score is: accuracy, R² of a regressor, the share of rows whose labels are all right. ``details``: what
    else tells how good the circuit is on ``rows``: ``rmse`` by output, ``label_accuracy`` by label. ``majority``: what always
    answering the most frequent class of those rows is worth, None where the circuit says no class.
    """

    onnx: float | None
    hardware: float | None
    rows: str
    onnx_splits: Mapping[str, float | None]
    hardware_splits: Mapping[str, float | None]
    measure: str
    details: Mapping[str, list[float]]
    majority: float | None
    majority_splits: Mapping[str, float | None]


CALIBRATED = "calibrated.axir"
_LATER = frozenset({"measure", "details", "majority", "majority_splits"})
"""Keys of an accuracy that designs of before lack."""


@dataclass(frozen=True, kw_only=True)
class DesignRecord:
    """What ``design.json`` holds, key by key in this order."""

    format: str
    version: str
    name: str
    top: str
    modules: tuple[str, ...]
    inputs: tuple[PortInfo, ...]
    output: OutputInfo
    outputs: tuple[OutputInfo, ...] = ()
    """Every output port, where there are several or it carries no class index; ``output`` is the first."""
    labels: tuple[str | int, ...] = ()
    unread_features: tuple[str, ...] = ()
    clock: str | None
    latency: int
    model: Model
    pipeline: str
    library: str
    command: str
    accuracy: CircuitAccuracy
    calibrated_splits: Mapping[str, float | None] = field(default_factory=dict)
    """Scores of ``calibrated.axir``; none where that is not there."""
    safety: SafetyReport | None = None
    """What approximating does to classes and subgroups of rows; designs of before lack it."""
    saturated_readings: Mapping[str, int]
    ledger: tuple[PassRecord, ...]
    seconds: Mapping[str, float]
    warnings: tuple[str, ...]
    files: Mapping[str, str]


def _needed(told: DesignRecord) -> list[str]:
    splits = [value for name, value in told.accuracy.items() if name.endswith("_splits") and isinstance(value, Mapping)]
    keys = CircuitAccuracy.__annotations__.keys()
    if not keys - _LATER <= told.accuracy.keys() <= keys or any({"train", "test"} - each.keys() for each in splits):
        raise ValueError("accuracy: not all of it is there")
    if "title" not in told.model:
        raise ValueError("model: no title")
    check_safety(told.safety)
    modules = [f"rtl/{name}.v" for name in told.modules if IDENTIFIER.fullmatch(name)]
    if told.calibrated_splits and told.calibrated_splits.keys() != {"train", "test"}:
        raise ValueError("calibrated_splits: not all of it is there")
    return ["graph.axir", *([CALIBRATED] if told.calibrated_splits else []), "rows.npz", *modules]


DESIGN = vouched.FolderFormat(
    name="approxhw design",
    version=2,  # since 2 a design may be of a regressor, or of several labels
    oldest=1,
    record=DesignRecord,
    needed=_needed,
    later=vouched.LATER,
    what="a design",
    missing="no design",
    make="make it with: approxhw compile MODEL --data DATA -o FOLDER",
    again="compile the design again",
    place="the design folder",
)


@dataclass(frozen=True, eq=False)
class Calibrated:
    """The Graph that calibrating makes of the model of an exact circuit; ``splits``: its score on ``train`` and ``test`` rows."""

    graph: Graph
    splits: Mapping[str, float | None]


@dataclass(frozen=True, eq=False)
class Rows:
    """Codes (int64, rows × features) and class indices (int64, rows) of both splits; a split may be empty.

    Targets of a regressor are float64, rows × outputs, those of several labels int64, rows × labels.
    """

    train: np.ndarray
    train_classes: np.ndarray
    test: np.ndarray
    test_classes: np.ndarray


@dataclass(frozen=True, eq=False)
class Design:
    """A compiled Design: everything but what simulators and synthesis say about it."""

    name: str
    top: str
    modules: Mapping[str, str]
    """Module → its Verilog text, the top first."""
    inputs: tuple[PortInfo, ...]
    outputs: tuple[OutputInfo, ...]
    """The class index, or a port for each value or label that leaves."""
    clock: str | None
    latency: int
    """Rising clock edges from input to output; 0 for a combinational circuit."""
    graph: Graph
    rows: Rows
    version: str
    model: Model = field(default_factory=Model)
    pipeline: str = ""
    library: str = "egfet"
    command: str = ""
    accuracy: CircuitAccuracy = field(default_factory=CircuitAccuracy)
    saturated: Mapping[str, int] = field(default_factory=dict)
    ledger: tuple[LedgerLine, ...] = ()
    """Of each pass what :class:`~approxhw.ir.pass_manager.PassRecord` tells, as plain types."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    calibrated: Calibrated | None = None
    """What the report offers in place of an exact circuit, where there is anything."""
    safety: SafetyReport | None = None
    """What approximating does to classes and subgroups of rows; None without rows, and where no class is named."""

    @property
    def output(self) -> str:
        """Name of the first output port: the only one of a classifier."""
        return self.outputs[0].name

    @property
    def output_bits(self) -> int:
        """Bits of the first output port."""
        return self.outputs[0].bits

    @property
    def verilog(self) -> str:
        """The whole circuit as one text."""
        return "\n".join(self.modules.values())

    @property
    def converters(self) -> Converters:
        """The analogue-to-digital converters that the circuit needs: one an input port, of as many comparators as it counts."""
        return input_converters(self.graph, [port.feature for port in self.inputs])

    def ports_of(self, codes: np.ndarray) -> dict[str, np.ndarray]:
        """Return what every input port carries for *codes* (rows × features): unsigned bit patterns, one a row."""
        return {
            port.name: np.sum(
                [((codes[:, port.feature] >> bit) & 1) << i for i, bit in enumerate(port.code_bits)], axis=0
            )
            for port in self.inputs
        }

    def codes_of(self, ports: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """Return codes (rows × features) that make the ports carry *ports*; bits that no port carries are 0."""
        codes = np.zeros((count, self.graph.input.type.elements), dtype=np.int64)
        for port in self.inputs:
            pattern = np.asarray(ports[port.name])
            for i, bit in enumerate(port.code_bits):
                codes[:, port.feature] |= ((pattern >> i) & 1).astype(np.int64) << bit
        return codes


def input_converters(graph: Graph, elements: Sequence[int]) -> Converters:
    """Return the converters that *elements* of the Input of *graph* need: one each, of as many comparators as it counts."""
    fmt, op = graph.input.type.format, graph.input.op
    if isinstance(op, Input) and op.encoding is not None and op.encoding.rule in BORDERED:
        counts = [len(op.encoding.borders[element]) for element in elements]
        return border_converters(counts, op.encoding.rule == "thermometer")
    return converters(len(elements), fmt.bits if isinstance(fmt, Fixed) else 0)


def write_design(design: Design, folder: Path, steps: Sequence[tuple[str, Graph]] = ()) -> None:
    """Write *design* to *folder*: beside it first, then renamed, so that what exists is whole.

    ``steps``: file and Graph, for ``steps/``. An earlier design there is replaced with all that was made from it;
    anything else is left alone and refused with :class:`OutputError`.
    """

    def fill(part: Path) -> list[str]:
        files = {f"rtl/{name}.v": text for name, text in design.modules.items()}
        files["rtl/files.f"] = "".join(f"rtl/{name}.v\n" for name in design.modules)
        files["graph.axir"] = print_graph(design.graph)
        if design.calibrated is not None:
            files[CALIBRATED] = print_graph(design.calibrated.graph)
        written = [*vouched.write_texts(part, files), *write_steps(part, steps)]
        np.savez_compressed(part / "rows.npz", **asdict(design.rows))
        return [*written, "rows.npz"]

    vouched.write_folder(folder, DESIGN, _record(design), fill)


def _record(design: Design) -> DesignRecord:
    return DesignRecord(
        format=DESIGN.text,
        version=design.version,
        name=design.name,
        top=design.top,
        modules=tuple(design.modules),
        inputs=design.inputs,
        output=design.outputs[0],
        outputs=design.outputs if task_of(design.graph) != CLASSIFICATION else (),
        labels=tuple(design.graph.labels) or tuple(range(design.graph.classes or _labels_there(design.graph))),
        unread_features=tuple(_unread(design)),
        clock=design.clock,
        latency=design.latency,
        model=design.model,
        pipeline=design.pipeline,
        library=design.library,
        command=design.command,
        accuracy=design.accuracy,
        calibrated_splits={} if design.calibrated is None else design.calibrated.splits,
        safety=design.safety,
        saturated_readings=design.saturated,
        ledger=tuple(PassRecord(**row) for row in design.ledger),
        seconds=design.seconds,
        warnings=design.warnings,
        files={},
    )


def _labels_there(graph: Graph) -> int:
    return graph[graph.output].type.elements if task_of(graph) == MULTILABEL else 0


def _unread(design: Design) -> list[str]:
    read = {port.feature for port in design.inputs}
    titles = design.graph.input.op.titles  # type: ignore[union-attr]
    return [title for index, title in enumerate(titles) if index not in read]


def check_design_output(folder: Path) -> None:
    """Raise :class:`OutputError` unless *folder* is free, empty, or a design folder with nothing foreign in it."""
    vouched.check_folder_output(folder, DESIGN)


def described_design_files(folder: Path) -> set[str]:
    """Return the files that ``write_design`` wrote into *folder*, by its own word; raise ``ValueError`` and the like."""
    return vouched.described_files(folder, DESIGN)


def read_design(folder: Path) -> Design:
    """Return the Design in *folder*; raise :class:`InvalidDesignError` naming every file that is missing or altered."""
    told = vouched.read_folder(folder, DESIGN)
    with vouched.fitting(folder, DESIGN):
        return _design(folder, told)


def _design(folder: Path, told: DesignRecord) -> Design:
    graph = _graph(folder / "graph.axir")
    _check_ports(told, graph)
    stored = read_npz(folder / "rows.npz").arrays
    rows = Rows(**{key: stored[key] for key in ("train", "train_classes", "test", "test_classes")})
    _check_rows(rows, graph)
    modules = vouched.verilog_modules(folder, told.modules)
    _check_top(told, modules[told.top])
    return Design(
        name=told.name,
        top=told.top,
        modules=modules,
        inputs=told.inputs,
        outputs=told.outputs or (told.output,),
        clock=told.clock,
        latency=told.latency,
        graph=graph,
        rows=rows,
        version=told.version,
        model=told.model,
        pipeline=told.pipeline,
        library=told.library,
        command=told.command,
        accuracy={"measure": "accuracy", "details": {}, **told.accuracy},  # designs of before know no other
        saturated=told.saturated_readings,
        ledger=tuple(vouched.as_json(row) for row in told.ledger),
        seconds=told.seconds,
        warnings=told.warnings,
        calibrated=_calibrated(folder, told, graph) if told.calibrated_splits else None,
        safety=told.safety,
    )


def _calibrated(folder: Path, told: DesignRecord, exact: Graph) -> Calibrated:
    """Return what may be offered in place of *exact*; raise ``ValueError`` where it is another model's."""
    graph = _graph(folder / CALIBRATED)
    answers = [(task_of(each), each.labels, each[each.output].type.shape, each.input.type) for each in (graph, exact)]
    if not graph.is_integer or answers[0] != answers[1]:
        raise ValueError(f"{CALIBRATED} is none of this Graph, calibrated")
    return Calibrated(graph, told.calibrated_splits)


def _graph(path: Path) -> Graph:
    graph = parse_graph(read_text(path, MAXIMUM_CHARACTERS), subject=str(path))
    verify(graph)
    return graph


def _check_ports(told: DesignRecord, graph: Graph) -> None:
    """Raise ``ValueError`` where a description of *graph*'s circuit cannot be true: it may have been written by anybody."""
    outputs = told.outputs or (told.output,)
    leaving = 1 if task_of(graph) == CLASSIFICATION else graph[graph.output].type.elements
    if outputs[0] != told.output or len(outputs) != leaving:
        raise ValueError("its output ports are not those of the Graph")
    ports = (
        [port.name for port in told.inputs]
        + [port.name for port in outputs]
        + ([] if told.clock is None else [told.clock])
    )
    for name in [*told.modules, told.top, *ports]:
        if not IDENTIFIER.fullmatch(name):
            raise ValueError(f"{shown(name)} is no name of a module or port")
    if told.top not in told.modules or len(set(ports)) < len(ports):
        raise ValueError("the top is no module, or ports share a name")
    fmt = _codes(graph)
    for port in told.inputs:
        fits = 1 <= port.bits == len(set(port.code_bits)) == len(port.code_bits)
        if not fits or not set(port.code_bits) <= set(range(fmt.bits)):
            raise ValueError(f"port {port.name} does not carry bits of its code")
        if not 0 <= port.feature < graph.input.type.elements or not math.isfinite(port.low + port.high):
            raise ValueError(f"port {port.name} carries no feature of the Graph")
    timed = 0 <= told.latency <= 64 and (told.clock is None) == (not told.latency)
    made = graph[graph.output].type.format
    widest = made.bits if isinstance(made, Fixed) else 0
    if any(not 0 < port.bits <= widest for port in outputs) or not timed:
        raise ValueError("the output is none of a circuit with this Graph, clock and latency")


_PORT = re.compile(r"^[^/\n]*?\b(?:input|output)\s+(?:wire\s+|reg\s+)?(?:\[(\d+)\s*:\s*0\]\s*)?(\w+)", re.MULTILINE)
"""A port as our emitter declares it: its highest bit, and its name."""


def _check_top(told: DesignRecord, text: str) -> None:
    """Raise ``ValueError`` where the ports that are described are not those of the top module *text*."""
    declared = {name: int(high or 0) + 1 for high, name in _PORT.findall(text)}
    outputs = told.outputs or (told.output,)
    described = {port.name: port.bits for port in told.inputs} | {port.name: port.bits for port in outputs}
    if told.clock is not None:
        described[told.clock] = 1
    if declared != described:
        names = sorted(declared.keys() ^ described.keys()) or [n for n in declared if declared[n] != described[n]]
        raise ValueError(f"ports: module {told.top} has others ({', '.join(shown(name, 40) for name in names[:4])})")


def _codes(graph: Graph) -> Fixed:
    fmt = graph.input.type.format
    if not isinstance(fmt, Fixed):
        raise ValueError("the Graph's input has no integer codes")
    return fmt


def _check_rows(rows: Rows, graph: Graph) -> None:
    """Raise ``ValueError`` where *rows* are no codes, and class indices or targets, of *graph*."""
    task, width = task_of(graph), graph[graph.output].type.elements
    low, high = _codes(graph).low, _codes(graph).high
    for codes, classes in ((rows.train, rows.train_classes), (rows.test, rows.test_classes)):
        if (
            codes.dtype.kind != "i"
            or classes.dtype.kind != ("f" if task == REGRESSION else "i")
            or (classes.ndim == 1) != (task == CLASSIFICATION)
            or (len(classes) and classes.size != len(classes) * (1 if task == CLASSIFICATION else width))
            or codes.shape != (len(classes), graph.input.type.elements)
        ):
            raise ValueError("rows.npz holds no rows of codes with one class index each")
        below = task != REGRESSION and len(codes) and classes.min() < 0
        if below or (len(codes) and (codes.min() < low or codes.max() > high)):
            raise ValueError("rows.npz holds codes or class indices that cannot be")
