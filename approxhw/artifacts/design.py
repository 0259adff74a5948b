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

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from approxhw.common.errors import InvalidDesignError, Problem, shown
from approxhw.common.files import beside, check_folder
from approxhw.ir.graph import IDENTIFIER, Graph
from approxhw.ir.text import parse_graph, print_graph
from approxhw.ir.verifier import verify
from approxhw.numerics.formats import Fixed

from .converters import Converters, converters

FORMAT = "approxhw design 1"
LATER = ("simulation", "estimate", "report.html", "steps")
"""What other commands add to a design folder."""


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


@dataclass(frozen=True, eq=False)
class Rows:
    """Codes (int64, rows × features) and class indices (int64, rows) of both splits; a split may be empty."""

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
    output: str
    output_bits: int
    clock: str | None
    latency: int
    """Rising clock edges from input to output; 0 for a combinational circuit."""
    graph: Graph
    rows: Rows
    version: str
    model: Mapping[str, Any] = field(default_factory=dict)
    pipeline: str = ""
    library: str = "egfet"
    command: str = ""
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    saturated: Mapping[str, int] = field(default_factory=dict)
    ledger: tuple[Mapping[str, Any], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def verilog(self) -> str:
        """The whole circuit as one text."""
        return "\n".join(self.modules.values())

    @property
    def converters(self) -> Converters:
        """The analogue-to-digital converters that the circuit needs: one an input port."""
        fmt = self.graph.input.type.format
        return converters(len(self.inputs), fmt.bits if isinstance(fmt, Fixed) else 0)

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


def write_design(design: Design, folder: Path, steps: Mapping[str, str] | None = None) -> None:
    """Write *design* to *folder*: beside it first, then renamed, so that what exists is whole.

    ``steps``: file name → text, for ``steps/``. An earlier design there is replaced with all that was made from it;
    anything else is left alone and refused with :class:`OutputError`.
    """
    check_output(folder)
    with beside(folder) as part:
        files = {f"rtl/{name}.v": text for name, text in design.modules.items()}
        files["rtl/files.f"] = "".join(f"rtl/{name}.v\n" for name in design.modules)
        files["graph.axir"] = print_graph(design.graph)
        files.update({f"steps/{name}": text for name, text in (steps or {}).items()})
        for name, text in files.items():
            (part / name).parent.mkdir(exist_ok=True)
            (part / name).write_text(text, encoding="utf-8")
        np.savez_compressed(part / "rows.npz", **asdict(design.rows))
        digests = {name: hashlib.sha256((part / name).read_bytes()).hexdigest() for name in [*files, "rows.npz"]}
        (part / "design.json").write_text(json.dumps(_described(design, digests), indent=1) + "\n", encoding="utf-8")


def _described(design: Design, digests: Mapping[str, str]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": design.version,
        "name": design.name,
        "top": design.top,
        "modules": list(design.modules),
        "inputs": [asdict(port) for port in design.inputs],
        "output": {"name": design.output, "bits": design.output_bits, "meaning": "class index, see labels"},
        "labels": list(design.graph.labels) or list(range(design.graph.classes)),
        "unread_features": _unread(design),
        "clock": design.clock,
        "latency": design.latency,
        "model": dict(design.model),
        "pipeline": design.pipeline,
        "library": design.library,
        "command": design.command,
        "accuracy": dict(design.accuracy),
        "saturated_readings": dict(design.saturated),
        "ledger": [dict(row) for row in design.ledger],
        "seconds": dict(design.seconds),
        "warnings": list(design.warnings),
        "files": dict(digests),
    }


def _unread(design: Design) -> list[str]:
    read = {port.feature for port in design.inputs}
    titles = design.graph.input.op.titles  # type: ignore[union-attr]
    return [title for index, title in enumerate(titles) if index not in read]


def check_output(folder: Path) -> None:
    """Raise :class:`OutputError` unless *folder* is free, empty, or a design folder with nothing foreign in it."""
    check_folder(folder, "a design", _ours)


def _ours(folder: Path) -> tuple[set[str], tuple[str, ...]]:
    """Return the files of the design in *folder*, and what other commands may have added."""
    return described_files(folder), LATER


def described_files(folder: Path) -> set[str]:
    """Return the files that ``write_design`` wrote into *folder*, by its own word; raise ``ValueError`` and the like."""
    described = json.loads((folder / "design.json").read_text(encoding="utf-8"))
    if described["format"] != FORMAT:
        raise ValueError(f"format {shown(described['format'])!r}")
    return set(described["files"]) | {"design.json"}


def read_design(folder: Path) -> Design:
    """Return the Design in *folder*; raise :class:`InvalidDesignError` naming every file that is missing or altered."""
    try:
        described = json.loads((folder / "design.json").read_text(encoding="utf-8"))
        if described.get("format") != FORMAT:
            raise ValueError(f"format {shown(described.get('format'))!r} is not {FORMAT!r}")
        digests = {str(name): str(digest) for name, digest in described["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        remedy = "make it with: approxhw compile MODEL --data DATA -o FOLDER"
        raise InvalidDesignError(
            str(folder), [Problem("design.json", f"no design ({shown(error)})", remedy)]
        ) from error
    problems = [fault for name, digest in digests.items() if (fault := _file_fault(folder, name, digest))]
    needed = ["graph.axir", "rows.npz", *(f"rtl/{name}.v" for name in _names(described))]
    problems += [
        Problem(name, "design.json does not vouch for it", "compile the design again")
        for name in needed
        if name not in digests
    ]
    if problems:
        raise InvalidDesignError(str(folder), problems)
    try:
        return _read(folder, described)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        raise InvalidDesignError(
            str(folder), [Problem("design.json", f"it does not fit its files ({shown(error)})", "compile it again")]
        ) from error


def _file_fault(folder: Path, name: str, digest: str) -> Problem | None:
    parts = Path(name).parts
    if Path(name).is_absolute() or ".." in parts or not (folder / name).resolve().is_relative_to(folder.resolve()):
        return Problem(name, "it lies outside the design folder", "compile the design again")
    try:
        content = (folder / name).read_bytes()
    except OSError:
        return Problem(name, "the file is missing", "compile the design again")
    if hashlib.sha256(content).hexdigest() != digest:
        return Problem(
            name, "the file was changed since it was compiled", "compile the design again, or copy it elsewhere"
        )
    return None


def _read(folder: Path, described: Mapping[str, Any]) -> Design:
    graph = parse_graph((folder / "graph.axir").read_text(encoding="utf-8"), subject=str(folder / "graph.axir"))
    verify(graph)
    names = _names(described)
    inputs = tuple(PortInfo(**{**port, "code_bits": tuple(port["code_bits"])}) for port in described["inputs"])
    _check_ports(described, inputs, graph)
    with np.load(folder / "rows.npz", allow_pickle=False) as stored:
        rows = Rows(**{key: stored[key] for key in ("train", "train_classes", "test", "test_classes")})
    _check_rows(rows, graph)
    return Design(
        name=str(described["name"]),
        top=str(described["top"]),
        modules={name: (folder / "rtl" / f"{name}.v").read_text(encoding="utf-8") for name in names},
        inputs=inputs,
        output=described["output"]["name"],
        output_bits=int(described["output"]["bits"]),
        clock=described["clock"],
        latency=int(described["latency"]),
        graph=graph,
        rows=rows,
        version=described["version"],
        model=described["model"],
        pipeline=described["pipeline"],
        library=described["library"],
        command=described["command"],
        accuracy=described["accuracy"],
        saturated=described["saturated_readings"],
        ledger=tuple(described["ledger"]),
        seconds=described["seconds"],
        warnings=tuple(described["warnings"]),
    )


def _names(described: Mapping[str, Any]) -> list[str]:
    """Return the names of the modules in *described*, none of which leaves the folder; empty where they are unusable."""
    modules = described.get("modules")
    names = modules if isinstance(modules, list) else []
    return [name for name in names if isinstance(name, str) and IDENTIFIER.fullmatch(name)]


def _check_ports(described: Mapping[str, Any], inputs: tuple[PortInfo, ...], graph: Graph) -> None:
    """Raise ``ValueError`` where a description of *graph*'s circuit cannot be true: it may have been written by anybody."""
    shapes: dict[str, type] = {"ledger": list, "warnings": list, "name": str}
    shapes |= dict.fromkeys(("model", "accuracy", "saturated_readings", "seconds"), dict)
    wrong = [key for key, kind in shapes.items() if not isinstance(described[key], kind)]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: of the wrong kind")
    output, clock = described["output"], described["clock"]
    ports = [port.name for port in inputs] + [output["name"]] + ([] if clock is None else [clock])
    for name in [*described["modules"], described["top"], *ports]:
        if not isinstance(name, str) or not IDENTIFIER.fullmatch(name):
            raise ValueError(f"{shown(name)} is no name of a module or port")
    if described["top"] not in described["modules"] or len(set(ports)) < len(ports):
        raise ValueError("the top is no module, or ports share a name")
    fmt = _codes(graph)
    for port in inputs:
        bits = [*port.code_bits, port.bits, port.feature]
        fits = all(type(bit) is int for bit in bits) and port.bits == len(set(port.code_bits)) == len(port.code_bits)
        if not fits or not set(port.code_bits) <= set(range(fmt.bits)) or port.bits < 1:
            raise ValueError(f"port {port.name} does not carry bits of its code")
        if not 0 <= port.feature < graph.input.type.elements or not math.isfinite(port.low + port.high):
            raise ValueError(f"port {port.name} carries no feature of the Graph")
    if (
        not 0 < output["bits"] <= 64
        or not 0 <= described["latency"] <= 64
        or (clock is None) != (not described["latency"])
    ):
        raise ValueError("the output is no class index of a circuit with this clock and latency")


def _codes(graph: Graph) -> Fixed:
    fmt = graph.input.type.format
    if not isinstance(fmt, Fixed):
        raise ValueError("the Graph's input has no integer codes")
    return fmt


def _check_rows(rows: Rows, graph: Graph) -> None:
    """Raise ``ValueError`` where *rows* are no codes and class indices of *graph*."""
    low, high = _codes(graph).low, _codes(graph).high
    for codes, classes in ((rows.train, rows.train_classes), (rows.test, rows.test_classes)):
        if (
            codes.dtype.kind != "i"
            or classes.dtype.kind != "i"
            or codes.shape != (len(classes), graph.input.type.elements)
        ):
            raise ValueError("rows.npz holds no rows of codes with one class index each")
        if len(codes) and (codes.min() < low or codes.max() > high or classes.min() < 0):
            raise ValueError("rows.npz holds codes or class indices that cannot be")
