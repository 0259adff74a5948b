"""What simulators and synthesis said of a design, as its folder keeps it: one JSON file a simulator, one a cell library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from approxhw.common.errors import InvalidDesignError, Problem, shown

from .folder import Plain, R, read_json, record_of


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a simulator said; ``sources``: how many vectors came from where; ``seconds``: by step."""

    simulator: str
    vectors: int
    mismatches: int
    sources: Mapping[str, int]
    seconds: Mapping[str, float]
    mismatch_file: str | None
    excluded: str = ""
    """Which vectors cannot occur, and were not driven; empty where all can."""


@dataclass(frozen=True, kw_only=True)
class LayerEstimate:
    """What the instances of one layer cost."""

    name: str
    area_mm2: float
    power_mw: float | None
    cells: int


@dataclass(frozen=True, kw_only=True)
class KeptEstimate:
    """What an estimate must tell at least: the fields of ``approxhw.backends.estimate.Estimate`` that the report shows."""

    library: str
    voltage: float
    area_mm2: float
    power_mw: float | None
    static_power_mw: float | None
    dynamic_power_mw: float
    delay_ms: float
    cells: int
    cells_by_type: Mapping[str, int]
    states_from: str
    frequency_hz: float
    seconds: float
    critical_path: tuple[str, ...]
    delay_point: str
    by_layer: tuple[LayerEstimate, ...]
    notes: tuple[str, ...] = ()
    calibrated_area_mm2: float | None = None
    """Area of the calibrated circuit that is offered beside an exact one; None where none is."""
    driven: Mapping[str, str] = field(default_factory=dict)
    library_file: str = ""


def estimate_file(library: str) -> str:
    """Return the file of an estimate on *library*: a Liberty file may call itself anything, a path too."""
    plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in library)[:64] or "library"
    return f"estimate/{plain}.json"


def verdicts(folder: Path) -> list[dict[str, Plain]]:
    """Return what every simulator said of the design in *folder*, oldest name first."""
    return [_checked(path, Verdict) for path in sorted((folder / "simulation").glob("*/verdict.json"))]


def estimates(folder: Path) -> list[dict[str, Plain]]:
    """Return every estimate of the design in *folder*, the newest last."""
    paths = [path for path in (folder / "estimate").glob("*.json") if not path.name.endswith("mismatches.json")]
    return [_checked(path, KeptEstimate) for path in sorted(paths, key=lambda path: path.lstat().st_mtime_ns)]


def _checked(path: Path, record: type[R]) -> dict[str, Plain]:
    """Return the whole object in *path*, which tells at least a *record*: anybody may have written it."""
    try:
        told = read_json(path)
        record_of(told, record)
    except (OSError, ValueError) as error:
        why = f"it cannot be read ({shown(error, 160)})"
        raise InvalidDesignError(
            str(path), [Problem(path.name, why, "run that simulation or estimate again")]
        ) from error
    return told


@dataclass(frozen=True)
class Promise:
    """What a circuit holds on rows never seen, judged by rows that neither its choice nor its fit saw."""

    accuracy: float
    low: float
    high: float
    """Ends of the interval in which 95 % of such circuits are, on as many test rows as there are."""
    rows: int
    """That judged it."""


@dataclass(frozen=True)
class AskedAccuracy:
    """What a search would choose for an accuracy that is asked for, and what it promises of it."""

    target: float
    held: bool
    """Whether anything is expected to hold it."""
    family: str
    recipe: str
    cost: float
    """Of the first objective beside the errors, in its unit: synthesised, or in proportion to what is."""
    promise: Promise


@dataclass(frozen=True)
class FamilySummary:
    """What a family of circuits came to in a search."""

    name: str
    recipes: int
    """That folds judged; 0 where there are none, as for masked networks."""
    synthesised: int
    members: int
    best: float
    """What the most accurate of its synthesised circuits is expected to hold."""
    cost: float
    """Of the cheapest of these, in the unit of the first objective beside the errors."""
