"""What folders of engines have in common, whatever the array multiplies: what is checked, how it is written and read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, TypeVar

import numpy as np

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.ir.graph import IDENTIFIER, Graph
from approxhw.ir.pass_manager import LedgerLine, PassRecord

from . import folder as vouched
from .design import Model
from .steps import write_steps

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class EngineAccuracy(TypedDict, total=False):
    """Of the model in float32 and on the engine, and how often both agree: shares of so many rows."""

    onnx: float
    engine: float
    agree: float
    rows: int
    majority: float
    """What always answering the most frequent class is worth; folders of before lack it."""


class _Layer(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def operands(self) -> str | None: ...


class _Told(Protocol):
    @property
    def modules(self) -> Sequence[str]: ...
    @property
    def layers(self) -> Sequence[_Layer]: ...
    @property
    def ledger(self) -> Sequence[PassRecord]: ...


class _Design(Protocol):
    @property
    def modules(self) -> Mapping[str, str]: ...
    @property
    def ledger(self) -> Sequence[LedgerLine]: ...


L = TypeVar("L", bound=_Layer)
"""A layer of one of the engines."""
R = TypeVar("R", bound="DataclassInstance")
"""What one of their ``design.json`` holds."""
D = TypeVar("D", bound="DataclassInstance")
"""A design of one of them, or its record."""


def layer_called(layers: Sequence[L], name: str) -> L:
    """Return the one of *layers* called *name*, or the one of that number; raise :class:`OptionError` where there is none."""
    for number, layer in enumerate(layers):
        if name in (layer.name, str(number)):
            return layer
    known = ", ".join(shown(layer.name, 40) for layer in layers[:8])
    why = f"there is no layer {shown(name, 60)!r}"
    raise OptionError("simulate", [Problem("layer", why, f"there are {known}; or give a number from 0")])


def check_told(modules: Sequence[str], accuracy: EngineAccuracy, model: Model | None) -> None:
    """Raise ``ValueError`` where names of modules, an accuracy or a *model* (None: of before) cannot be those of an engine."""
    if not modules or not all(map(IDENTIFIER.fullmatch, modules)):
        raise ValueError("names of modules")
    if accuracy and not accuracy.keys() >= EngineAccuracy.__annotations__.keys() - {"majority"}:
        raise ValueError("accuracy: not all of it is there")
    if model is not None and "title" not in model:
        raise ValueError("model: no title")


def are_sizes(sizes: Sequence[int], others: Iterable[int]) -> bool:
    """Whether *sizes* are of at least 1 and *others* of at least 0, all below 2⁶³: anybody may have written them."""
    whole = (*sizes, *others)
    return min(whole) >= 0 and max(whole) < 1 << 63 and min(sizes) >= 1


def needed_files(told: _Told) -> list[str]:
    """Return the files that a record speaks of: Verilog, then the operands that were kept."""
    operands = [layer.operands for layer in told.layers if layer.operands]
    return [*(f"rtl/{name}.v" for name in told.modules), *operands]


def write_engine_folder(
    design: _Design,
    folder: Path,
    form: vouched.FolderFormat[R],
    operands: Mapping[str, Mapping[str, np.ndarray]],
    steps: Sequence[tuple[str, Graph]],
) -> None:
    """Write *design* to *folder* as *form* has it: beside it first, then renamed, so that what exists is whole.

    *operands*: file → its arrays by name; *steps*: file and Graph. Raises as :func:`~approxhw.artifacts.folder.write_folder`.
    """

    def fill(part: Path) -> list[str]:
        kept = write_steps(part, steps)
        files = {f"rtl/{name}.v": text for name, text in design.modules.items()}
        files["rtl/files.f"] = "".join(f"rtl/{name}.v\n" for name in design.modules)
        written = vouched.write_texts(part, files)
        if operands:
            (part / "operands").mkdir()
        for name, arrays in operands.items():
            np.savez_compressed(part / name, **arrays)  # type: ignore[arg-type]  # names are none of its own options
        return [*written, *operands, *kept]

    record = _filled(
        form.record,
        design,
        format=form.text,
        modules=tuple(design.modules),
        ledger=tuple(PassRecord(**row) for row in design.ledger),
        files={},
    )
    vouched.write_folder(folder, form, record, fill)


def built_from(told: _Told, kind: type[D], **own: object) -> D:
    """Return the design that the record *told* describes, a *kind*; *own*: its Verilog, and what else lies in other files."""
    return _filled(kind, told, ledger=tuple(vouched.as_json(row) for row in told.ledger), **own)


def _filled(kind: type[D], source: object, **own: object) -> D:
    """Return a *kind* of what is *own*, and of the fields of that name of *source*."""
    values: dict[str, Any] = {f.name: getattr(source, f.name) for f in fields(kind) if f.name not in own}
    return kind(**values, **own)
