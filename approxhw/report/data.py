"""What a report shows: frozen dataclasses of plain values, filled by whoever has them.

``None`` and empty tuples mean *not known yet*: the page says which command would make them known. Text may come from
model and data files; the page escapes all of it. Fractions of 1 are shown as per cent.
"""

from __future__ import annotations

from dataclasses import dataclass

from approxhw.common.statistics.safety import SafetyReport
from approxhw.ir.pass_manager import LedgerLine


@dataclass(frozen=True)
class DrawnLayer:
    """One layer with weights. ``weights``: outputs × inputs, in any one unit, or None to draw no lines."""

    name: str
    kind: str
    inputs: int
    outputs: int
    nonzero: int | None = None
    weight_bits: int | None = None
    accumulator_bits: int | None = None
    activation: str = ""
    """What follows the sums, such as ``relu`` or ``argmax``."""
    weights: tuple[tuple[float, ...], ...] | None = None


@dataclass(frozen=True)
class Accuracy:
    """Accuracy of one form of the model as fractions of 1; ``form`` such as ``float (onnxruntime)`` or ``hardware``."""

    form: str
    train: float | None = None
    test: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Confusion:
    """``counts[actual][predicted]`` of the hardware; ``rows``: which rows were counted, such as ``test rows``."""

    counts: tuple[tuple[int, ...], ...]
    rows: str = "test rows"


@dataclass(frozen=True)
class PortRow:
    """One port and how to wire it: ``formula`` says how a reading becomes what it carries, ``carried`` which bits of the code."""

    name: str
    direction: str
    bits: int
    title: str = ""
    low: float | None = None
    high: float | None = None
    formula: str = ""
    carried: str = ""


@dataclass(frozen=True)
class LayerCost:
    """One layer's share of the synthesis that keeps the hierarchy."""

    name: str
    area_mm2: float
    power_mw: float | None = None
    cells: int | None = None


@dataclass(frozen=True)
class SystemCost:
    """A printed circuit with the converters of its inputs: how many, what one is called, and the two together."""

    converters: int
    converter: str
    area_mm2: float
    power_mw: float | None


@dataclass(frozen=True)
class Cost:
    """An estimate: the flat synthesis, and beside it the one with the hierarchy kept, layer by layer."""

    library: str
    area_mm2: float
    power_mw: float | None
    delay_ms: float
    cells: int
    voltage: float | None = None
    static_power_mw: float | None = None
    dynamic_power_mw: float | None = None
    frequency_hz: float | None = None
    cells_by_type: tuple[tuple[str, int], ...] = ()
    states_from: str = ""
    """Which vectors the input states of the cells, and so the power, come from."""
    notes: tuple[str, ...] = ()
    """What readers of the figures must know, such as nets without a driver that were allowed."""
    by_layer: tuple[LayerCost, ...] = ()
    critical_path: tuple[str, ...] = ()
    delay_point: str = ""
    """What the cells' delays are the delays of, in the words of the library."""
    offer: str = ""
    """What another pipeline would save, and cost."""
    system: SystemCost | None = None
    """Converters in; None where inputs come from elsewhere, such as in silicon."""


@dataclass(frozen=True)
class LedgerRow:
    """What one pass did. ``kind``: ``algebraic``, ``exact`` or ``approximating``; accuracies on test rows."""

    name: str
    kind: str
    options: str = ""
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    nonzero_weights: int | None = None
    accumulator_bits: int | None = None
    area_mm2: float | None = None
    power_mw: float | None = None
    seconds: float | None = None
    checked_rows: int = 0
    """Rows on which the outputs before and after were compared, and equal."""
    notes: tuple[str, ...] = ()


def drawn_ledger_row(row: LedgerLine) -> LedgerRow:
    """Return what the page shows of one line of a ledger of passes."""
    return LedgerRow(
        name=row["name"],
        kind=row["kind"],
        options=row["spelled"].removeprefix(row["name"]).strip("{}"),
        accuracy_before=row["test_accuracy_before"],
        accuracy_after=row["test_accuracy_after"],
        nonzero_weights=row["weights"],
        accumulator_bits=row["accumulator_bits"],
        seconds=row["seconds"],
        checked_rows=row["checked_rows"],
        notes=tuple(row["notes"]),
    )


@dataclass(frozen=True)
class Simulation:
    """One run of one simulator; ``sources``: how many vectors came from where (data, corners, random, exhaustive)."""

    simulator: str
    vectors: int
    mismatches: int
    sources: tuple[tuple[str, int], ...] = ()
    mismatch_file: str = ""
    seconds: float | None = None
    excluded: str = ""


@dataclass(frozen=True)
class ReportData:
    """Everything on the page. ``folder`` is how commands name the design folder; ``commands`` reproduce the design."""

    title: str
    model: str
    pipeline: str
    version: str
    folder: str = "build/"
    layers: tuple[DrawnLayer, ...] = ()
    inputs: tuple[str, ...] = ()
    """Titles of the features, as drawn at the left; may be empty."""
    labels: tuple[str | int, ...] = ()
    """Class labels by class index; may be empty."""
    accuracy: tuple[Accuracy, ...] = ()
    measure: str = "accuracy"
    """What these are: accuracies, R² of a regressor, or shares of rows whose labels are all right."""
    majority: float | None = None
    """What always answering the most frequent class is worth on the rows that the hardware's accuracy is of."""
    confusion: Confusion | None = None
    ports: tuple[PortRow, ...] = ()
    cost: Cost | None = None
    ledger: tuple[LedgerRow, ...] = ()
    simulations: tuple[Simulation, ...] = ()
    commands: tuple[str, ...] = ()
    seconds: tuple[tuple[str, float], ...] = ()
    warnings: tuple[str, ...] = ()
    safety: SafetyReport | None = None
    """What approximating does to classes and subgroups of rows."""
