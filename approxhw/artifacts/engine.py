"""A compiled matrix engine on disk: Verilog, schedules of a model's layers, and what streams through it, in one folder.

======================  ================================================================================
``design.json``         the engine, its streams, every layer with its schedule, accuracies; written last
``rtl/MODULE.v``        one Verilog module a file; ``rtl/files.f`` lists them for simulators and synthesis
``operands/NN.npz``     ``a`` (m × k) and ``b`` (k × n) of a layer: unsigned codes of the engine's format; where a port has
                        8-bit codes, they and their exponents, too: ``a_codes`` (m × k), ``b_codes`` (n × k)
``simulation/``         one folder a simulator and layer, made by ``simulate``
``estimate/``           one file a library, made by ``estimate``
``report.html``         made by ``report``
======================  ================================================================================
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from approxhw.common.arrays import read_npz
from approxhw.common.errors import InvalidDataError, InvalidDesignError, OptionError, Problem, shown
from approxhw.common.files import beside, check_folder
from approxhw.ir.graph import IDENTIFIER, Graph
from approxhw.numerics.eight_bit.port_codes import EngineCodes, Packed

from .steps import write_graph

FORMAT = "approxhw engine 1"
LATER = ("simulation", "estimate", "report.html")
"""What other commands add to the folder."""

_REMEDY = "make it with: approxhw compile MODEL --target matrix-engine -o FOLDER"


@dataclass(frozen=True)
class LayerInfo:
    """A matrix product of the model and how it goes through the engine.

    ``m``, ``k``, ``n``: of one product; ``count``: how many of them one run of the model does. ``arithmetic``: how it is
    computed, ``float32`` where it stays in onnxruntime. ``tiles``, ``clocks``: of one product, without stalls.
    """

    name: str
    op: str
    m: int
    k: int
    n: int
    count: int
    arithmetic: str
    tiles: int = 0
    clocks: int = 0
    utilisation: float = 0.0
    """Share of the array's multiply-adds that are the layer's."""
    blocks: tuple[int, ...] = ()
    """The schedule: vectors, columns and rows of a tile; tiles go over m, then n, then k, the last one fastest."""
    nans: int = 0
    infinities: int = 0
    """In its activations, over the rows that were run."""
    shifts: tuple[int, ...] = ()
    """Steps by the left shift that exact normalization would do: carry, 0, 1, …, W − 1, and sums that were zero."""
    compression: Mapping[str, Any] = field(default_factory=dict)
    """Of ``weights`` and ``activations`` that come as 8-bit codes: bits before and after, and errors."""
    operands: str | None = None
    """The file of the operands that ``simulate`` streams; None where they were not kept."""


@dataclass(frozen=True, eq=False)
class EngineDesign:
    """A compiled matrix engine: everything but what simulators and synthesis say about it.

    ``engine``: rows, columns, depth, vectors, result, fast, ``codes`` and ``mac`` (format, accumulator_bits, normalization,
    alignment).
    ``operands``: file name → (a, b), unsigned codes. ``packed``: the same files → 8-bit codes of a's rows and of b's columns,
    None where a port carries numbers.
    """

    name: str
    engine: Mapping[str, Any]
    modules: Mapping[str, str]
    """Module → its Verilog text, the top first."""
    layers: tuple[LayerInfo, ...]
    operands: Mapping[str, tuple[np.ndarray, np.ndarray]]
    version: str
    clock_ns: float
    model: Mapping[str, Any] = field(default_factory=dict)
    shape: Mapping[str, Any] = field(default_factory=dict)
    library: str = "sky130"
    command: str = ""
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    packed: Mapping[str, tuple[Packed | None, Packed | None]] = field(default_factory=dict)
    pipeline: str = ""
    ledger: tuple[Mapping[str, Any], ...] = ()
    """What each pass did; folders of before have none."""

    @property
    def top(self) -> str:
        """The name of the top module."""
        return next(iter(self.modules))

    @property
    def verilog(self) -> str:
        """The whole engine as one text."""
        return "\n".join(self.modules.values())

    def layer(self, name: str) -> LayerInfo:
        """Return the layer called *name*, or the one of that number; raise :class:`InvalidDesignError` where there is none."""
        for number, layer in enumerate(self.layers):
            if name in (layer.name, str(number)):
                return layer
        known = ", ".join(shown(layer.name, 40) for layer in self.layers[:8])
        why = f"there is no layer {shown(name, 60)!r}"
        raise InvalidDesignError(self.name, [Problem("layer", why, f"there are {known}; or give a number from 0")])


def is_engine(folder: Path) -> bool:
    """Whether *folder* says that a matrix engine is in it."""
    try:
        return bool(json.loads((folder / "design.json").read_text(encoding="utf-8")).get("format") == FORMAT)
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def check_engine_output(folder: Path) -> None:
    """Raise :class:`OutputError` unless *folder* is free, empty, or the folder of an engine with nothing foreign in it."""
    check_folder(folder, "an engine", _ours)


def _ours(folder: Path) -> tuple[set[str], tuple[str, ...]]:
    described = json.loads((folder / "design.json").read_text(encoding="utf-8"))
    if described["format"] != FORMAT:
        raise ValueError(f"format {shown(described['format'])!r}")
    return set(described["files"]) | {"design.json"}, LATER


def write_engine(design: EngineDesign, folder: Path, steps: Sequence[tuple[str, Graph]] = ()) -> None:
    """Write *design* to *folder*: beside it first, then renamed, so that what exists is whole. *steps*: file and Graph."""
    check_engine_output(folder)
    with beside(folder) as part:
        kept: list[str] = []
        for file, graph in steps:
            (part / "steps").mkdir(exist_ok=True)
            held = write_graph(graph, part / "steps" / file)
            kept += [f"steps/{name}" for name in (file, *held)]
        (part / "rtl").mkdir()
        files = {f"rtl/{name}.v": text for name, text in design.modules.items()}
        files["rtl/files.f"] = "".join(f"rtl/{name}.v\n" for name in design.modules)
        for name, text in files.items():
            (part / name).write_text(text, encoding="utf-8")
        if design.operands:
            (part / "operands").mkdir()
        for name, (a, b) in design.operands.items():
            coded = zip("ab", design.packed.get(name, ()))
            more = {
                f"{side}_{what}": getattr(packed, what)
                for side, packed in coded
                if packed
                for what in ("codes", "exponents")
            }
            np.savez_compressed(part / name, a=a, b=b, **more)
        digests = {
            name: hashlib.sha256((part / name).read_bytes()).hexdigest() for name in [*files, *design.operands, *kept]
        }
        apart = {"modules", "layers", "operands", "packed"}
        told = {f.name: getattr(design, f.name) for f in fields(design) if f.name not in apart}
        told = {"format": FORMAT, **told, "modules": list(design.modules), "top": design.top}
        told["layers"] = [{f.name: getattr(layer, f.name) for f in fields(layer)} for layer in design.layers]
        (part / "design.json").write_text(json.dumps({**told, "files": digests}, indent=1) + "\n", encoding="utf-8")


def read_engine(folder: Path) -> EngineDesign:
    """Return the engine in *folder*; raise :class:`InvalidDesignError` naming every file that is missing or altered."""
    try:
        told = json.loads((folder / "design.json").read_text(encoding="utf-8"))
        if told.get("format") != FORMAT:
            raise ValueError(f"format {shown(told.get('format'))!r} is not {FORMAT!r}")
        digests = {str(name): str(digest) for name, digest in told["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = f"no matrix engine ({shown(error)})"
        raise InvalidDesignError(str(folder), [Problem("design.json", why, _REMEDY)]) from error
    problems = [fault for name, digest in digests.items() if (fault := _fault(folder, name, digest))]
    try:
        names = [str(name) for name in told["modules"]]
        layers = tuple(_layer(each) for each in told["layers"])
        needed = [*(f"rtl/{name}.v" for name in names), *(layer.operands for layer in layers if layer.operands)]
        if not names or not all(IDENTIFIER.fullmatch(name) for name in names):
            raise ValueError("names of modules")
        problems += [
            Problem(shown(name), "design.json does not vouch for it", "compile it again")
            for name in needed
            if name not in digests
        ]
        if problems:
            raise InvalidDesignError(str(folder), problems)
        apart = {"modules", "layers", "operands", "packed", "warnings", "ledger"}
        codes = _codes(told["engine"].get("codes"))
        held = {layer.operands: _operands(folder, layer, codes) for layer in layers if layer.operands}
        return EngineDesign(
            modules={name: (folder / "rtl" / f"{name}.v").read_text(encoding="utf-8") for name in names},
            layers=layers,
            operands={name: pair for name, (pair, _) in held.items()},
            packed={name: packed for name, (_, packed) in held.items()} if codes else {},
            warnings=tuple(str(text) for text in told["warnings"]),
            ledger=_ledger(told.get("ledger", [])),
            **{f.name: _kind(f.name, told.get(f.name, f.default)) for f in fields(EngineDesign) if f.name not in apart},
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, OSError, InvalidDataError) as error:
        why = f"it does not fit its files ({shown(error)})"
        raise InvalidDesignError(str(folder), [Problem("design.json", why, "compile it again")]) from error


_KINDS: dict[str, Any] = dict.fromkeys(("engine", "model", "shape", "accuracy", "seconds"), dict)
_KINDS |= dict.fromkeys(("name", "version", "library", "command", "pipeline"), str) | {"clock_ns": (int, float)}


def _kind(name: str, value: Any) -> Any:
    if not isinstance(value, _KINDS[name]):
        raise ValueError(f"{name} is of the wrong kind")
    return value


def _ledger(told: Any) -> tuple[Mapping[str, Any], ...]:
    if not isinstance(told, list) or not all(
        isinstance(row, dict) and isinstance(row.get("spelled"), str) for row in told
    ):
        raise ValueError("the ledger is no list of passes")
    return tuple(told)


def _layer(told: Mapping[str, Any]) -> LayerInfo:
    layer = LayerInfo(**{**told, "shifts": tuple(told["shifts"]), "blocks": tuple(told["blocks"])})
    counts = (layer.m, layer.k, layer.n, layer.count, layer.tiles, layer.clocks, layer.nans, layer.infinities)
    if (
        not all(type(value) is int and value >= 0 for value in (*counts, *layer.shifts, *layer.blocks))
        or min(counts[:4]) < 1
    ):
        raise ValueError(f"sizes of layer {shown(layer.name, 40)}")
    texts = (layer.name, layer.op, layer.arithmetic, *([layer.operands] if layer.operands is not None else []))
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("names of layers")
    if not isinstance(layer.compression, dict) or not all(map(_is_summary, layer.compression.items())):
        raise ValueError(f"8-bit codes of layer {shown(layer.name, 40)}")
    return layer


_COUNTS, _ERRORS = ("elements", "bits_before", "bits_after", "looked_at"), ("mse", "mae", "relative")


def _is_summary(told: tuple[Any, Any]) -> bool:
    """Return whether *told* is a port and what codes do to its operands, as ``engine_codes.summary_of`` tells it."""
    port, summary = told
    if port not in ("weights", "activations") or not isinstance(summary, dict):
        return False
    if summary.keys() != {"format", *_COUNTS, *_ERRORS} or not isinstance(summary["format"], str):
        return False
    whole = all(type(summary[name]) is int and summary[name] > 0 for name in _COUNTS)
    return whole and all(type(summary[name]) in (int, float) and summary[name] >= 0 for name in _ERRORS)


def _codes(told: Any) -> EngineCodes | None:
    try:
        return None if told is None else EngineCodes(**told)
    except OptionError as error:
        raise ValueError(f"codes: {error.problems[0].why}") from error


_Sides = tuple[Packed | None, Packed | None]


def _operands(
    folder: Path, layer: LayerInfo, codes: EngineCodes | None
) -> tuple[tuple[np.ndarray, np.ndarray], _Sides]:
    assert layer.operands is not None
    arrays = read_npz(folder / layer.operands).arrays
    a, b = arrays["a"], arrays["b"]
    whole = a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0] == layer.k and b.shape[1] == layer.n
    if not whole or a.dtype.kind != "u" or b.dtype != a.dtype or not len(a):
        raise ValueError(f"operands of layer {shown(layer.name, 40)}")
    packed = [
        None if code is None else Packed(code, arrays[f"{side}_codes"], arrays[f"{side}_exponents"])
        for side, code in (("a", codes.streams if codes else None), ("b", codes.stays if codes else None))
    ]
    for each, shape in zip(packed, (a.shape, b.shape[::-1])):
        if each is not None and not each.fits(shape):
            raise ValueError(f"8-bit codes of layer {shown(layer.name, 40)}")
    return (a, b), (packed[0], packed[1])


def _fault(folder: Path, name: str, digest: str) -> Problem | None:
    parts = Path(name).parts
    if Path(name).is_absolute() or ".." in parts or not (folder / name).resolve().is_relative_to(folder.resolve()):
        return Problem(shown(name), "it lies outside the folder", "compile it again")
    try:
        content = (folder / name).read_bytes()
    except OSError:
        return Problem(shown(name), "the file is missing", "compile it again")
    if hashlib.sha256(content).hexdigest() != digest:
        return Problem(
            shown(name), "the file was changed since it was compiled", "compile it again, or copy it elsewhere"
        )
    return None
