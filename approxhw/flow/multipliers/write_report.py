"""Write what was measured of multipliers: a vouched folder with their tables, a page and pictures, or one table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from approxhw.artifacts.folder import FolderFormat, write_folder, write_texts
from approxhw.common.errors import OptionError, OutputError, Problem, shown
from approxhw.common.files import locked, write_beside
from approxhw.common.version import __version__
from approxhw.numerics.multipliers.tables import ErrorFigures, ProductTable
from approxhw.report.figures import grouped, significant
from approxhw.report.multipliers.page import MultiplierRow, plots_of, render_multipliers

from .measure import MeasuredMultiplier, MeasuredMultipliers

PAGE = "report.html"


@dataclass(frozen=True, kw_only=True)
class MultipliersRecord:
    """What ``multipliers.json`` holds: everything that ``--json`` prints, and digests of the files beside it."""

    format: str = ""
    version: str = ""
    command: str = ""
    operators: tuple[Mapping[str, object], ...] = ()
    front: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


MULTIPLIERS = FolderFormat(
    name="approxhw multipliers",
    version=1,
    record=MultipliersRecord,
    needed=lambda record: (),
    later=(),
    what="measured multipliers",
    missing="approxhw multiplier did not write it",
    make="run approxhw multiplier again",
    again="run approxhw multiplier again",
    since="it was written",
    file="multipliers.json",
)


def write_multipliers(measured: MeasuredMultipliers, folder: Path, command: str = "") -> Path:
    """Write ``report.html``, ``multipliers.json``, a table of products each in ``tables/`` and the plots; return the page.

    Raises :class:`OutputError` where the folder holds what approxhw did not write.
    """
    rows = multiplier_rows(measured)
    told = measured.as_json()
    record = MultipliersRecord(format=MULTIPLIERS.text, version=__version__, command=command, **told)  # type: ignore[arg-type]

    def fill(part: Path) -> list[str]:
        broken = [(problem.where, problem.why) for problem in measured.broken]
        page = render_multipliers(rows, broken, measured.notes, ruler(measured), command)
        pictures = plots_of(rows) if len(rows) > 1 else {}
        names = write_texts(part, {PAGE: page, **{f"{name}.svg": text for name, text in pictures.items()}})
        (part / "tables").mkdir()
        for name, each in zip(_file_names(measured.operators), measured.operators, strict=True):
            each.table.save(part / "tables" / name)
            names.append(f"tables/{name}")
        return names

    with locked(folder):
        write_folder(folder, MULTIPLIERS, record, fill)
    return folder / PAGE


def export_table(measured: MeasuredMultipliers, path: Path) -> None:
    """Write the products of the only multiplier as ``.npz``; raise :class:`OptionError` where there are several."""
    problems = []
    if path.suffix != ".npz":
        problems.append(Problem("export", f"{shown(path.name)} does not end in .npz", "name a file that does"))
    if len(measured.operators) != 1:
        why = f"it takes one multiplier, and there are {len(measured.operators)}"
        problems.append(Problem("export", why, "give -o FOLDER: it has a table of each"))
    if problems:
        raise OptionError("multiplier", problems)
    if path.is_symlink() or (path.exists() and not _is_table(path)):
        why = "it is there already, and is no table of products"
        raise OutputError("output", [Problem(str(path), why, "choose another file, or move that one away")])
    write_beside(path, table_bytes(measured.operators[0].table))


def table_bytes(table: ProductTable) -> bytes:
    """Return *table* as the content of an ``.npz`` file."""
    import io

    stream = io.BytesIO()
    np.savez_compressed(stream, table=table.products, signed=table.flags)
    return stream.getvalue()


def multiplier_rows(measured: MeasuredMultipliers) -> list[MultiplierRow]:
    """Return what the page shows of each multiplier, in their order."""
    fronts = {name: measured.front(key) for name, key in (("power", "power_mw"), ("area", "area_mm2"))}
    return [_row(each, tuple(name for name, best in fronts.items() if each in best)) for each in measured.operators]


def _row(each: MeasuredMultiplier, fronts: tuple[str, ...]) -> MultiplierRow:
    table, cost, said = each.table, each.cost, each.published
    return MultiplierRow(
        name=each.name,
        kind=each.kind,
        operands=f"{table.weight_bits} × {table.x_bits}",
        signed={"weight": "weight", "none": "neither", "both": "both"}[table.signed],
        figures=shown_figures(each.figures),
        errors=table.products - table.weights[:, None] * table.codes[None, :],
        weights=table.weights,
        codes=table.codes,
        mean_share=each.figures.mean_share,
        area_mm2=None if cost is None else cost.area_mm2,
        power_mw=None if cost is None else cost.power_mw,
        delay_ms=None if cost is None else cost.delay_ms,
        fronts=fronts,
        in_use=() if each.in_use is None else shown_figures(each.in_use),
        published="" if said is None else f"{said.origin}: {', '.join(f'{n} {v:g}' for n, v in said.values.items())}",
        notes=each.notes,
    )


def shown_figures(figures: ErrorFigures) -> tuple[tuple[str, str], ...]:
    """Return the figures that tables show, as text by their titles."""
    return (
        ("MAE", significant(figures.mean_distance)),
        ("MAE, %", significant(100 * figures.mean_share)),
        ("WCE", grouped(figures.worst_distance)),
        ("WCE, %", significant(100 * figures.worst_share)),
        ("MRE, %", significant(100 * figures.mean_relative)),
        ("EP, %", significant(100 * figures.error_rate)),
        ("bias", significant(figures.bias)),
    )


def ruler(measured: MeasuredMultipliers) -> str:
    """Return by what area, power and delay were measured; why not, where nothing was."""
    costs = [each.cost for each in measured.operators if each.cost is not None]
    if not costs:
        return "Tables of products: there is no circuit whose area, power and delay could be measured"
    first = costs[0]
    order = ", in a seeded order" if first.states_from.startswith("all") else ""
    rate = f"{first.frequency_hz:g} products per second"
    return f"{first.library}, {first.voltage:g} V, {rate}; power of {first.states_from}{order}"


def _file_names(operators: Sequence[MeasuredMultiplier]) -> list[str]:
    """Return a plain file name for the table of each, no two alike."""
    found: list[str] = []
    for each in operators:
        stem = re.sub(r"[^A-Za-z0-9_.-]", "_", each.name).lstrip(".")[:80] or "table"
        names = (f"{stem}.npz", *(f"{stem}-{count}.npz" for count in range(2, len(operators) + 2)))
        found.append(next(name for name in names if name not in found))
    return found


def _is_table(path: Path) -> bool:
    from approxhw.common.data.arrays import read_npz
    from approxhw.common.errors import ApproxhwError

    try:
        return "table" in read_npz(path).arrays
    except (ApproxhwError, OSError):
        return False
