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
from dataclasses import dataclass, field
from pathlib import Path
from typing import NotRequired, TypedDict

import numpy as np

from approxhw.common.data.arrays import read_npz
from approxhw.common.errors import OptionError, shown
from approxhw.common.statistics.safety import SafetyReport, check_safety
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import LedgerLine, PassRecord
from approxhw.numerics.eight_bit.port_codes import EngineCodes, Packed

from . import folder as vouched
from .design import Model
from .engine_parts import (
    EngineAccuracy,
    are_sizes,
    built_from,
    check_told,
    layer_called,
    needed_files,
    write_engine_folder,
)

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
    exponent_step: NotRequired[int | None]


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


@dataclass(frozen=True, eq=False)
class EngineDesign:
    """A compiled matrix engine: everything but what simulators and synthesis say about it.

    ``engine``: rows, columns, depth, vectors, result, fast, ``codes`` and ``mac`` (format, accumulator_bits, normalization,
    alignment, exponent_step).
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
    safety: SafetyReport | None = None
    """What approximating does to classes and subgroups of rows; None without labels, and in folders of before."""

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
        return layer_called(self.layers, name)


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
    safety: SafetyReport | None = None
    modules: tuple[str, ...]
    top: str = ""
    layers: tuple[LayerInfo, ...]
    files: Mapping[str, str]


def _needed(told: EngineRecord) -> list[str]:
    """Return the files that *told* speaks of; raise ``ValueError`` where its names, sizes or 8-bit codes cannot be."""
    check_safety(told.safety)
    check_told(told.modules, told.accuracy, told.model or None)  # folders of before may have no model at all
    for layer in told.layers:
        _check_layer(layer)
    return needed_files(told)


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
    operands = {name: _arrays(pair, design.packed.get(name, ())) for name, pair in design.operands.items()}
    write_engine_folder(design, folder, ENGINE, operands, steps)


def _arrays(pair: tuple[np.ndarray, np.ndarray], packed: Sequence[Packed | None]) -> dict[str, np.ndarray]:
    """Return what is kept of a layer: ``a`` and ``b``, and where *packed* holds 8-bit codes of either, these."""
    arrays = dict(zip("ab", pair))
    for side, coded in zip("ab", packed):
        if coded:
            arrays |= {f"{side}_codes": coded.codes, f"{side}_exponents": coded.exponents}
    return arrays


def read_engine(folder: Path) -> EngineDesign:
    """Return the engine in *folder*; raise :class:`InvalidDesignError` naming every file that is missing or altered."""
    told = vouched.read_folder(folder, ENGINE)
    with vouched.fitting(folder, ENGINE):
        codes = _codes(told.engine.get("codes"))
        held = {layer.operands: _operands(folder, layer, codes) for layer in told.layers if layer.operands}
        return built_from(
            told,
            EngineDesign,
            modules=vouched.verilog_modules(folder, told.modules),
            operands={name: pair for name, (pair, _) in held.items()},
            packed={name: packed for name, (_, packed) in held.items()} if codes else {},
        )


def _check_layer(layer: LayerInfo) -> None:
    """Raise ``ValueError`` where the sizes or the 8-bit codes of *layer* cannot be: anybody may have written them."""
    others = (layer.tiles, layer.clocks, layer.nans, layer.infinities, *layer.shifts, *layer.blocks)
    if not are_sizes((layer.m, layer.k, layer.n, layer.count), others):
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
