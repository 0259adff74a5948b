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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np

from approxhw.common.data.arrays import read_npz
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.ir.graph import IDENTIFIER, Graph
from approxhw.ir.pass_manager import LedgerLine, PassRecord
from approxhw.numerics.eight_bit.port_codes import EngineCodes, Packed

from . import folder as vouched
from .design import Model
from .steps import write_steps

Summary = Mapping[str, str | int | float]
"""What 8-bit codes do to the operands of a port, as ``port_codes.summary_of`` tells it."""


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
    compression: Mapping[str, Summary] = field(default_factory=dict)
    """Of ``weights`` and ``activations`` that come as 8-bit codes: bits before and after, and errors."""
    operands: str | None = None
    """The file of the operands that ``simulate`` streams; None where they were not kept."""


class MacFields(TypedDict):
    """A :class:`~approxhw.numerics.mac.arithmetic.FloatMac` as plain types."""

    format: str
    accumulator_bits: int
    normalization: str
    alignment: NotRequired[int | None]


class CodesFields(TypedDict, total=False):
    """:class:`~approxhw.numerics.eight_bit.port_codes.EngineCodes` as plain types."""

    code: str
    block: int | None
    max: str
    weights: bool
    activations: bool


class EngineFields(TypedDict):
    """An engine of the backend as plain types: what it takes to build it again."""

    rows: int
    columns: int
    mac: MacFields
    depth: int
    result: str
    vectors: int
    fast: NotRequired[bool]
    codes: NotRequired[CodesFields | None]


class EngineAccuracy(TypedDict, total=False):
    """Of the model in float32 and on the engine, and how often both agree: shares of so many rows."""

    onnx: float
    engine: float
    agree: float
    rows: int
    majority: float
    """What always answering the most frequent class is worth; folders of before lack it."""


@dataclass(frozen=True, eq=False)
class EngineDesign:
    """A compiled matrix engine: everything but what simulators and synthesis say about it.

    ``engine``: rows, columns, depth, vectors, result, fast, ``codes`` and ``mac`` (format, accumulator_bits, normalization,
    alignment).
    ``operands``: file name → (a, b), unsigned codes. ``packed``: the same files → 8-bit codes of a's rows and of b's columns,
    None where a port carries numbers.
    """

    name: str
    engine: EngineFields
    modules: Mapping[str, str]
    """Module → its Verilog text, the top first."""
    layers: tuple[LayerInfo, ...]
    operands: Mapping[str, tuple[np.ndarray, np.ndarray]]
    version: str
    clock_ns: float
    model: Model = field(default_factory=Model)
    shape: Mapping[str, Sequence[int]] = field(default_factory=dict)
    library: str = "sky130"
    command: str = ""
    accuracy: EngineAccuracy = field(default_factory=EngineAccuracy)
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    packed: Mapping[str, tuple[Packed | None, Packed | None]] = field(default_factory=dict)
    pipeline: str = ""
    ledger: tuple[LedgerLine, ...] = ()
    """Of each pass what :class:`~approxhw.ir.pass_manager.PassRecord` tells, as plain types; folders of before have none."""

    @property
    def top(self) -> str:
        """The name of the top module."""
        return next(iter(self.modules))

    @property
    def verilog(self) -> str:
        """The whole engine as one text."""
        return "\n".join(self.modules.values())

    def layer(self, name: str) -> LayerInfo:
        """Return the layer called *name*, or the one of that number; raise :class:`OptionError` where there is none."""
        for number, layer in enumerate(self.layers):
            if name in (layer.name, str(number)):
                return layer
        known = ", ".join(shown(layer.name, 40) for layer in self.layers[:8])
        why = f"there is no layer {shown(name, 60)!r}"
        raise OptionError("simulate", [Problem("layer", why, f"there are {known}; or give a number from 0")])


@dataclass(frozen=True, kw_only=True)
class EngineRecord:
    """What ``design.json`` holds, key by key in this order."""

    format: str
    name: str
    engine: EngineFields
    version: str
    clock_ns: float
    model: Model = field(default_factory=Model)
    shape: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    library: str = "sky130"
    command: str = ""
    accuracy: EngineAccuracy = field(default_factory=EngineAccuracy)
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    pipeline: str = ""
    ledger: tuple[PassRecord, ...] = ()
    modules: tuple[str, ...]
    top: str = ""
    layers: tuple[LayerInfo, ...]
    files: Mapping[str, str]


def _needed(told: EngineRecord) -> list[str]:
    """Return the files that *told* speaks of; raise ``ValueError`` where its names, sizes or 8-bit codes cannot be."""
    if not told.modules or not all(map(IDENTIFIER.fullmatch, told.modules)):
        raise ValueError("names of modules")
    if told.accuracy and not told.accuracy.keys() >= EngineAccuracy.__annotations__.keys() - {"majority"}:
        raise ValueError("accuracy: not all of it is there")
    if told.model and "title" not in told.model:  # folders of before may have none at all
        raise ValueError("model: no title")
    for layer in told.layers:
        _check_layer(layer)
    operands = [layer.operands for layer in told.layers if layer.operands]
    return [*(f"rtl/{name}.v" for name in told.modules), *operands]


ENGINE = vouched.FolderFormat(
    name="approxhw engine",
    version=1,
    record=EngineRecord,
    needed=_needed,
    later=vouched.LATER,
    what="an engine",
    missing="no matrix engine",
    make="make it with: approxhw compile MODEL --target matrix-engine -o FOLDER",
    again="compile it again",
)


def is_engine(folder: Path) -> bool:
    """Whether *folder* says that a matrix engine is in it."""
    return vouched.is_a(folder, ENGINE)


def check_engine_output(folder: Path) -> None:
    """Raise :class:`OutputError` unless *folder* is free, empty, or the folder of an engine with nothing foreign in it."""
    vouched.check_folder_output(folder, ENGINE)


def write_engine(design: EngineDesign, folder: Path, steps: Sequence[tuple[str, Graph]] = ()) -> None:
    """Write *design* to *folder*: beside it first, then renamed, so that what exists is whole. *steps*: file and Graph."""

    def fill(part: Path) -> list[str]:
        kept = write_steps(part, steps)
        files = {f"rtl/{name}.v": text for name, text in design.modules.items()}
        files["rtl/files.f"] = "".join(f"rtl/{name}.v\n" for name in design.modules)
        written = vouched.write_texts(part, files)
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
        return [*written, *design.operands, *kept]

    vouched.write_folder(folder, ENGINE, _record(design), fill)


def _record(design: EngineDesign) -> EngineRecord:
    apart = {"format", "modules", "ledger", "files"}
    return EngineRecord(
        format=ENGINE.text,
        modules=tuple(design.modules),
        ledger=tuple(PassRecord(**row) for row in design.ledger),
        files={},
        **{f.name: getattr(design, f.name) for f in fields(EngineRecord) if f.name not in apart},
    )


def read_engine(folder: Path) -> EngineDesign:
    """Return the engine in *folder*; raise :class:`InvalidDesignError` naming every file that is missing or altered."""
    told = vouched.read_folder(folder, ENGINE)
    with vouched.fitting(folder, ENGINE):
        codes = _codes(told.engine.get("codes"))
        held = {layer.operands: _operands(folder, layer, codes) for layer in told.layers if layer.operands}
        apart = {"modules", "ledger", "operands", "packed"}
        return EngineDesign(
            modules=vouched.verilog_modules(folder, told.modules),
            operands={name: pair for name, (pair, _) in held.items()},
            packed={name: packed for name, (_, packed) in held.items()} if codes else {},
            ledger=tuple(vouched.as_json(row) for row in told.ledger),
            **{f.name: getattr(told, f.name) for f in fields(EngineDesign) if f.name not in apart},
        )


def _check_layer(layer: LayerInfo) -> None:
    """Raise ``ValueError`` where the sizes or the 8-bit codes of *layer* cannot be: anybody may have written them."""
    counts = (layer.m, layer.k, layer.n, layer.count, layer.tiles, layer.clocks, layer.nans, layer.infinities)
    whole = (*counts, *layer.shifts, *layer.blocks)
    if min(whole) < 0 or max(whole) >= 1 << 63 or min(counts[:4]) < 1:
        raise ValueError(f"sizes of layer {shown(layer.name, 40)}")
    if not all(map(_is_summary, layer.compression.items())):
        raise ValueError(f"8-bit codes of layer {shown(layer.name, 40)}")


_COUNTS, _ERRORS = ("elements", "bits_before", "bits_after", "looked_at"), ("mse", "mae", "relative")


def _is_summary(told: tuple[str, Summary]) -> bool:
    """Return whether *told* is a port and what codes do to its operands."""
    port, summary = told
    if port not in ("weights", "activations") or summary.keys() != {"format", *_COUNTS, *_ERRORS}:
        return False
    counts, errors = [summary[name] for name in _COUNTS], [summary[name] for name in _ERRORS]
    whole = all(isinstance(count, int) and count > 0 for count in counts)
    return whole and all(isinstance(error, int | float) and error >= 0 for error in errors)


def _codes(told: CodesFields | None) -> EngineCodes | None:
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
