"""A compiled integer engine on disk: Verilog, a model's layers, and what streams through it, in one folder.

======================  ================================================================================
``design.json``         the array, every layer with its schedule, accuracies; written last
``rtl/MODULE.v``        one Verilog module a file; ``rtl/files.f`` lists them for simulators and synthesis
``operands/NN.npz``     of a layer: ``x`` (m × k) and ``weights`` (k × n), bit patterns as the operator reads them; its
                        column constants; ``products``, the operator's table
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
from approxhw.common.errors import shown
from approxhw.common.statistics.safety import SafetyReport, check_safety
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import LedgerLine, PassRecord

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

CONSTANTS = ("bias", "coefficient", "multiplier", "shift", "zero", "low", "high", "unit")
"""What a column ends its sums with, as arrays of a layer's file."""


LARGEST = (1 << 31) - 1
"""Of a sum."""


@dataclass(frozen=True)
class IntegerLayer:
    """A product of codes of the model and how it goes through the array.

    ``m``, ``k``, ``n``: of one product; ``count``: how many of them one run of the model does. ``operator``: that makes its
    products; ``arithmetic``: all of it, as a Graph spells it. ``result``: ``codes``, where a Rescale follows, or ``sums``.
    ``tiles``, ``clocks``: of one product, without stalls.
    """

    name: str
    op: str
    m: int
    k: int
    n: int
    count: int
    arithmetic: str
    operator: str
    result: str
    variate: int = 0
    tiles: int = 0
    clocks: int = 0
    utilisation: float = 0.0
    blocks: tuple[int, ...] = ()
    """Vectors, columns and rows of a tile."""
    mean_error: float = 0.0
    """Of one product on the codes of training rows, in units of the product."""
    operands: str | None = None
    """The file of what ``simulate`` streams; None where it was not kept."""


class OperatorText(TypedDict):
    """The Verilog of an operator that is not our own, and its ports."""

    name: str
    verilog: str
    top: str
    weight: str
    x: str
    product: str
    weight_bits: int
    x_bits: int
    product_bits: int


class IntegerFields(TypedDict):
    """An array of the backend as plain types: what it takes to build it again."""

    rows: int
    columns: int
    mac: str
    depth: int
    vectors: int
    result: str
    variate: int
    operators: tuple[str, ...]
    foreign: tuple[OperatorText, ...]
    units: NotRequired[tuple[str, ...]]
    """Activation units at the ends of columns, each as JSON of its words; folders of before have none."""


@dataclass(frozen=True, eq=False)
class IntegerDesign:
    """A compiled integer engine: everything but what simulators and synthesis say about it.

    ``operands``: file name → arrays ``x``, ``weights``, ``products`` and :data:`CONSTANTS`.
    """

    name: str
    engine: IntegerFields
    modules: Mapping[str, str]
    """Module → its Verilog text, the top first."""
    layers: tuple[IntegerLayer, ...]
    operands: Mapping[str, Mapping[str, np.ndarray]]
    version: str
    clock_ns: float
    model: Model = field(default_factory=Model)
    shape: Mapping[str, Sequence[int]] = field(default_factory=dict)
    library: str = "sky130"
    command: str = ""
    accuracy: EngineAccuracy = field(default_factory=EngineAccuracy)
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    pipeline: str = ""
    ledger: tuple[LedgerLine, ...] = ()
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

    def layer(self, name: str) -> IntegerLayer:
        """Return the layer called *name*, or the one of that number; raise :class:`OptionError` where there is none."""
        return layer_called(self.layers, name)


@dataclass(frozen=True, kw_only=True)
class IntegerRecord:
    """What ``design.json`` holds, key by key in this order."""

    format: str
    name: str
    engine: IntegerFields
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
    layers: tuple[IntegerLayer, ...]
    files: Mapping[str, str]


def _needed(told: IntegerRecord) -> list[str]:
    """Return the files that *told* speaks of; raise ``ValueError`` where its names or sizes cannot be."""
    check_safety(told.safety)
    check_told(told.modules, told.accuracy, told.model)
    for layer in told.layers:
        others = (layer.tiles, layer.clocks, layer.variate, *layer.blocks)
        whole = are_sizes((layer.m, layer.k, layer.n, layer.count), others)
        if not whole or layer.result not in ("codes", "sums"):
            raise ValueError(f"sizes of layer {shown(layer.name, 40)}")
    return needed_files(told)


INTEGER_ENGINE = vouched.FolderFormat(
    name="approxhw integer engine",
    version=1,
    record=IntegerRecord,
    needed=_needed,
    later=vouched.LATER,
    what="an integer engine",
    missing="no integer engine",
    make="make it with: approxhw compile MODEL --target integer-engine -o FOLDER",
    again="compile it again",
)


def is_integer_engine(folder: Path) -> bool:
    """Whether *folder* says that an integer engine is in it."""
    return vouched.is_a(folder, INTEGER_ENGINE)


def check_integer_output(folder: Path) -> None:
    """Raise :class:`OutputError` unless *folder* is free, empty, or that of an integer engine with nothing foreign in it."""
    vouched.check_folder_output(folder, INTEGER_ENGINE)


def write_integer_engine(design: IntegerDesign, folder: Path, steps: Sequence[tuple[str, Graph]] = ()) -> None:
    """Write *design* to *folder*: beside it first, then renamed, so that what exists is whole. *steps*: file and Graph."""
    write_engine_folder(design, folder, INTEGER_ENGINE, design.operands, steps)


def read_integer_engine(folder: Path) -> IntegerDesign:
    """Return the engine in *folder*; raise :class:`InvalidDesignError` naming every file that is missing or altered."""
    told = vouched.read_folder(folder, INTEGER_ENGINE)
    with vouched.fitting(folder, INTEGER_ENGINE):
        return built_from(
            told,
            IntegerDesign,
            modules=vouched.verilog_modules(folder, told.modules),
            operands={layer.operands: _operands(folder, layer) for layer in told.layers if layer.operands},
        )


def _operands(folder: Path, layer: IntegerLayer) -> dict[str, np.ndarray]:
    assert layer.operands is not None
    arrays = dict(read_npz(folder / layer.operands).arrays)
    arrays.setdefault("unit", np.zeros(layer.n, np.int64))  # folders of before have none
    wrong = f"operands of layer {shown(layer.name, 40)}"
    if arrays.keys() != {"x", "weights", "products", *CONSTANTS}:
        raise ValueError(wrong)
    x, weights, products = arrays["x"], arrays["weights"], arrays["products"]
    whole = x.ndim == weights.ndim == products.ndim == 2 and x.shape[1] == len(weights) == layer.k
    if not whole or weights.shape[1] != layer.n or not len(x):
        raise ValueError(wrong)
    if x.dtype != np.uint8 or weights.dtype != np.uint8 or products.dtype.kind != "i":
        raise ValueError(wrong)
    if int(x.max()) >= products.shape[1] or int(weights.max()) >= len(products):
        raise ValueError(wrong)
    if max(-int(products.min()), int(products.max())) * layer.k > LARGEST:  # no sum of a design leaves its 32 bits
        raise ValueError(f"products of layer {shown(layer.name, 40)}")
    for name in CONSTANTS:
        if arrays[name].shape != (layer.n,) or arrays[name].dtype.kind != "i":
            raise ValueError(f"{name} of layer {shown(layer.name, 40)}")
    return arrays
