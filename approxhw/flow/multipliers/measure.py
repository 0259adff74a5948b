"""Measure multipliers: the table of each one's products, its errors, area, power and delay, and those that none beats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.arguments import checked, refuse_below, settle_fields
from approxhw.common.data.arrays import read_npz
from approxhw.common.errors import ApproxhwError, InvalidDataError, OptionError, Problem, shown
from approxhw.flow.stages.tabulate import TabulatedModule, tabulate_module
from approxhw.numerics.multipliers.families import EXACT, own_operator
from approxhw.numerics.multipliers.plugins import added_multiplier
from approxhw.numerics.multipliers.signs import SIGNS, fitting_signs, operand_values, read_signs
from approxhw.numerics.multipliers.tables import (
    ErrorFigures,
    ProductTable,
    Stated,
    error_figures,
    read_table,
    too_wide,
    width_problems,
)
from approxhw.numerics.pareto import pareto_front

from .published import PublishedFigures, differing_figures, published_figures
from .sources import MultiplierSource, multiplier_sources, why_broken

if TYPE_CHECKING:
    from approxhw.backends.estimate import CellLibrary, Estimate, Netlist

DEFAULT_BITS, DEFAULT_SIGNS = 8, "both"
"""Operands of our own multipliers where neither the user nor a file says any."""
OWN, FILE, TABLE = "ours", "module", "table"
"""What a multiplier is: one of our own families or the exact one, a module, or a table, which has no circuit to measure."""
SEED = 1
"""Of the order in which all pairs of operands follow one another where no operands are given."""

COSTS = ("power_mw", "area_mm2")
"""What multipliers are compared by, beside their errors."""

Progress = Callable[[str, int, int], None]
"""Called with a name, how many multipliers are done, and how many there are."""


@dataclass(frozen=True, eq=False)
class MeasuredMultiplier:
    """A multiplier, its products, and what they and its gates cost.

    ``kind``: ``ours``, ``module`` or ``table``. ``figures``: errors over all pairs of operands; ``in_use``: over the operands
    that were given, None without. ``cost``: area, power and delay; None of a table. ``alike``: signs that were found out, the one
    that was taken first. ``published``: what its library says of it; ``contradicted``: where its products say otherwise.
    """

    name: str
    kind: str
    source: str
    table: ProductTable
    figures: ErrorFigures
    in_use: ErrorFigures | None = None
    cost: Estimate | None = None
    alike: tuple[str, ...] = ()
    published: PublishedFigures | None = None
    contradicted: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be known of it: signs that might be others, published figures that are not its own."""
        found = list(self.contradicted)
        if len(self.alike) > 1:
            told = " and ".join(f"signed={signed}" for signed in self.alike)
            found.insert(
                0, f"{told} fit its products alike; taken as signed={self.alike[0]}: state it if it is another"
            )
        return tuple(found)

    def as_json(self) -> dict[str, object]:
        """Return everything but the table as plain types."""
        return {
            "name": self.name,
            "kind": self.kind,
            "source": self.source,
            "weight_bits": self.table.weight_bits,
            "x_bits": self.table.x_bits,
            "signed": self.table.signed,
            "signed_found_out": list(self.alike),
            "errors": told_figures(self.figures),
            "errors_in_use": None if self.in_use is None else told_figures(self.in_use),
            "cost": None if self.cost is None else self.cost.as_json(),
            "published": None if self.published is None else dict(self.published.values),
            "published_in": "" if self.published is None else self.published.origin,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class MeasuredMultipliers:
    """What was measured, in the order of the sources, and ``broken``: what could not be, with why; ``notes`` on all of it."""

    operators: tuple[MeasuredMultiplier, ...]
    broken: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that are not of the types of their fields."""
        settle_fields(self, "measured multipliers")

    @checked("front")
    def front(self, cost: str = "power_mw") -> tuple[MeasuredMultiplier, ...]:
        """Return those that none beats in mean error (as a share of the span) and *cost*, ``power_mw`` or ``area_mm2``."""
        if cost not in COSTS:
            raise OptionError("front", [Problem("cost", f"{shown(cost)!r} is not one of {', '.join(COSTS)}")])
        known = [each for each in self.operators if each.cost is not None and getattr(each.cost, cost) is not None]
        points = np.array([[each.figures.mean_share, getattr(each.cost, cost)] for each in known]).reshape(-1, 2)
        return tuple(known[index] for index in pareto_front(points))

    def as_json(self) -> dict[str, object]:
        """Return everything but the tables as plain types."""
        return {
            "operators": [each.as_json() for each in self.operators],
            "front": {name: [each.name for each in self.front(name)] for name in COSTS},
            "broken": {problem.where: problem.why for problem in self.broken},
            "notes": list(self.notes),
        }


def told_figures(figures: ErrorFigures) -> dict[str, float]:
    """Return error figures by the names that operator libraries give them: in units of the product, shares in per cent."""
    return {
        "mae": figures.mean_distance,
        "mae%": 100 * figures.mean_share,
        "wce": figures.worst_distance,
        "wce%": 100 * figures.worst_share,
        "mre%": 100 * figures.mean_relative,
        "wcre%": 100 * figures.worst_relative,
        "ep%": 100 * figures.error_rate,
        "mse": figures.mean_square,
        "bias": figures.bias,
    }


@checked("multiplier")
def measure_multipliers(
    *sources: str | Path,
    weight: str | None = None,
    signed: str | None = None,
    weight_bits: int | None = None,
    x_bits: int | None = None,
    top: str | None = None,
    library: str | Path = "sky130",
    frequency: float | None = None,
    clock_ns: float | None = None,
    operands: str | Path | Mapping[str, np.ndarray] | None = None,
    timeout: float = 300.0,
    on_progress: Progress | None = None,
) -> MeasuredMultipliers:
    """Return the products, errors, area, power and delay of every multiplier that *sources* name.

    A source is a Verilog file, an ``.npz`` table, one of our own (``truncated-4``, ``exact``), a pattern of either, or a folder.
    ``weight``, ``signed``, ``weight_bits``, ``x_bits``, ``top``: as of :func:`approxhw.tabulate`; the first input is the weight,
    and signs are found out, where nothing is said. Our own are as wide and signed as most of the files, 8 × 8 and signed
    without any. ``library``, ``frequency``, ``clock_ns``: as of :func:`approxhw.estimate`. Power comes from all pairs of operands
    in a seeded order, or from ``operands``: an ``.npz`` or a mapping with ``weight`` and ``x``, one of each a product, in
    their order. Raises :class:`OptionError` where no source is any good; what is wrong with some of them stands in ``broken``.
    """
    from approxhw.backends.estimate import load_library
    from approxhw.backends.estimate.estimator import check_rate

    refuse_below("multiplier", 0, above=True, timeout=timeout)
    _check_stated(sources, signed, weight_bits, x_bits)
    check_rate(frequency, clock_ns)
    cells = load_library(library)
    stated = Stated(weight, signed, weight_bits, x_bits, top)
    given = None if operands is None else _given_operands(operands)
    found, broken, notes = multiplier_sources(sources, weight_bits or DEFAULT_BITS, x_bits or DEFAULT_BITS)
    tell = on_progress or (lambda name, done, total: None)

    def cost(netlist: Netlist, ports: tuple[str, str], table: ProductTable) -> Estimate:
        return _cost(netlist, ports, table, given, frequency, clock_ns)

    measured: dict[MultiplierSource, MeasuredMultiplier] = {}
    from_files = [each for each in found if not _is_ours(each)]
    for count, each in enumerate(from_files):
        tell(each.name, count, len(found))
        try:
            measured[each] = _from_file(each, stated, cells, timeout, given, cost)
        except ApproxhwError as error:
            broken.append(why_broken(each, error))
    weight_bits, x_bits, signed = _common([each.table for each in measured.values()], stated)
    for count, each in enumerate((each for each in found if _is_ours(each)), len(from_files)):
        tell(each.name, count, len(found))
        try:
            measured[each] = _ours(each.name, weight_bits, x_bits, signed, cells, timeout, given, cost)
        except ApproxhwError as error:
            broken.append(why_broken(each, error))
    tell("multipliers", len(found), len(found))
    if not measured:
        raise OptionError("multiplier", broken)
    return MeasuredMultipliers(tuple(measured[each] for each in found if each in measured), tuple(broken), tuple(notes))


Cost = Callable[["Netlist", tuple[str, str], ProductTable], "Estimate"]
Operands = tuple[np.ndarray, np.ndarray]


def _check_stated(sources: Sequence[object], signed: str | None, weight_bits: int | None, x_bits: int | None) -> None:
    problems = []
    if not sources:
        problems.append(Problem("sources", "there are none", "name a file, a folder, or one of our own multipliers"))
    if signed is not None and signed not in SIGNS:
        problems.append(Problem("signed", f"{shown(signed)!r} is not one of {', '.join(SIGNS)}"))
    for name, bits in (("weight_bits", weight_bits), ("x_bits", x_bits)):
        if bits is not None and bits < 1:
            problems.append(Problem(name, f"{bits} is less than 1"))
    if not problems and (why := too_wide(weight_bits or 1, x_bits or 1)):
        problems.append(Problem("weight_bits, x_bits", why, "take narrower operands"))
    if problems:
        raise OptionError("multiplier", problems)


def _is_ours(source: MultiplierSource) -> bool:
    return source.path is None and (source.name == EXACT or own_operator(source.name) is not None)


def _from_file(
    source: MultiplierSource, stated: Stated, cells: CellLibrary, timeout: float, given: Operands | None, cost: Cost
) -> MeasuredMultiplier:
    """Return a multiplier of a file, or of another package."""
    path = source.path
    if path is None:
        added = added_multiplier(source.name)
        if isinstance(added, ProductTable):
            if found := width_problems(stated, added.weight_bits, added.x_bits):
                raise OptionError(f"multiplier {shown(source.name)}", found)
            return _of_table(source, added, given, ())
        assert added is not None  # it was found among the names
        path, stated = added.path, added.checked(stated.weight_bits, stated.x_bits)
    if path.suffix == ".npz":
        table = read_table(path, stated)
        open_signs = stated.signed is None and "signed" not in read_npz(path).arrays
        alike = fitting_signs(path.name, read_signs(table.products)) if open_signs else ()
        return _of_table(source, table, given, alike)
    module = tabulate_module(path, stated, cells, timeout)
    made = _of_module(source, path, module, given)
    return replace(made, cost=cost(module.netlist, (module.weight, module.x), module.table))


def _of_table(
    source: MultiplierSource, table: ProductTable, given: Operands | None, alike: tuple[str, ...]
) -> MeasuredMultiplier:
    in_use = _in_use(table, given)
    return MeasuredMultiplier(
        source.name, TABLE, str(source.path or ""), table, error_figures(table), in_use, alike=alike
    )


def _of_module(
    source: MultiplierSource, path: Path, module: TabulatedModule, given: Operands | None
) -> MeasuredMultiplier:
    figures = error_figures(module.table)
    published = published_figures(path, module.netlist.top)
    return MeasuredMultiplier(
        source.name,
        FILE,
        str(path),
        module.table,
        figures,
        _in_use(module.table, given),
        alike=module.alike,
        published=published,
        contradicted=tuple(differing_figures(published, figures)) if published is not None else (),
    )


def _common(tables: Sequence[ProductTable], stated: Stated) -> tuple[int, int, str]:
    """Return the widths and signs of our own: as stated, else those of most of the files, else 8 × 8 and signed."""
    shapes = Counter((table.weight_bits, table.x_bits, table.signed) for table in tables)
    ((most, _),) = shapes.most_common(1) or [((DEFAULT_BITS, DEFAULT_BITS, DEFAULT_SIGNS), 0)]
    return stated.weight_bits or most[0], stated.x_bits or most[1], stated.signed or most[2]


def _ours(
    name: str,
    weight_bits: int,
    x_bits: int,
    signed: str,
    cells: CellLibrary,
    timeout: float,
    given: Operands | None,
    cost: Cost,
) -> MeasuredMultiplier:
    """Return one of our own, its netlist held to its reference for every pair of operands."""
    from approxhw.backends.estimate import simulate_netlist, synthesise
    from approxhw.backends.integer_engine.operator_modules import operator_verilog

    operator = own_operator(name)
    verilog = operator_verilog(name, weight_bits, x_bits, signed)
    if operator is None:
        weights, codes = operand_values(weight_bits, signed != "none"), operand_values(x_bits, signed == "both")
        table = ProductTable(f"{EXACT} of {weight_bits} by {x_bits} bits", weights[:, None] * codes[None, :], signed)
    else:
        table = operator.table(weight_bits, x_bits, signed)
    netlist = synthesise(verilog, "multiplier", cells, timeout=timeout)
    a, b = np.divmod(np.arange(table.products.size), 1 << x_bits)
    (output,) = netlist.outputs
    seen = np.asarray(simulate_netlist(netlist, {"a": a, "b": b})[output.name], dtype=np.int64)
    if (seen != table.products.reshape(-1) % (1 << len(output.nets))).any():
        why = "its netlist makes other products than its reference: a defect of approxhw, or of a tool"
        raise OptionError(f"multiplier {name}", [Problem(name, why, "report it, with this library")])
    return MeasuredMultiplier(
        name, OWN, "", table, error_figures(table), _in_use(table, given), cost(netlist, ("a", "b"), table)
    )


def _cost(
    netlist: Netlist,
    ports: tuple[str, str],
    table: ProductTable,
    given: Operands | None,
    frequency: float | None,
    clock_ns: float | None,
) -> Estimate:
    """Return area, power and delay, the latter two over all pairs of operands, or over those that are *given*."""
    from approxhw.backends.estimate import estimate_netlist

    size = table.products.size
    pairs = np.random.default_rng(SEED).permutation(size)
    rows, columns = _patterns_of(table, given) if given is not None else np.divmod(pairs, table.products.shape[1])
    words = f"{len(rows)} given pairs of operands" if given is not None else f"all {size} pairs of operands, once each"
    return estimate_netlist(
        netlist,
        vectors={ports[0]: rows, ports[1]: columns},
        vectors_from=words,
        frequency=frequency,
        clock_ns=clock_ns,
    )


def _given_operands(operands: str | Path | Mapping[str, np.ndarray]) -> Operands:
    """Return the weights and codes that follow one another, each an array of whole numbers."""
    subject = shown(Path(operands).name) if isinstance(operands, str | Path) else "operands"
    arrays = read_npz(Path(operands)).arrays if isinstance(operands, str | Path) else operands
    problems = []
    for name in ("weight", "x"):
        if name not in arrays:
            why = f"there is no array {name!r}; there are {shown(', '.join(sorted(arrays))) or 'none'}"
            problems.append(Problem(name, why, "give weight and x, one number of each for every product"))
            continue
        array = np.asarray(arrays[name])
        if array.dtype.kind not in "iu" or array.ndim != 1 or not len(array):
            why = f"it is {array.dtype} of shape {shown(list(array.shape))}"
            problems.append(Problem(name, why, "give whole numbers in one row, at least one"))
    if not problems and len(arrays["weight"]) != len(arrays["x"]):
        why = f"there are {len(arrays['weight'])} weights and {len(arrays['x'])} of x"
        problems.append(Problem("operands", why, "give one number of each for every product"))
    if problems:
        raise InvalidDataError(subject, problems)
    return np.asarray(arrays["weight"], dtype=np.int64), np.asarray(arrays["x"], dtype=np.int64)


def _patterns_of(table: ProductTable, given: Operands) -> Operands:
    """Return the bit patterns of the operands that are *given* as numbers; raise :class:`OptionError` for what cannot be."""
    problems = []
    for name, values, there in (("weight", given[0], table.weights), ("x", given[1], table.codes)):
        if values.min() < there.min() or values.max() > there.max():
            why = f"{values.min()}…{values.max()} are given, its operand takes {there.min()}…{there.max()}"
            problems.append(Problem(f"operands, {name}", why, "give operands that it can read"))
    if problems:
        raise OptionError(f"multiplier {shown(table.name)}", problems)
    return given[0] % len(table.products), given[1] % table.products.shape[1]


def _in_use(table: ProductTable, given: Operands | None) -> ErrorFigures | None:
    if given is None:
        return None
    times = np.zeros(table.products.shape)
    np.add.at(times, _patterns_of(table, given), 1)
    return error_figures(table, times)
