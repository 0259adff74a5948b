"""Operators of a search: tables, netlists, and what the products of a layer's real tile cost by their toggles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.errors import ApproxhwError, OptionError, Problem, shown
from approxhw.common.tools import tool_threads
from approxhw.flow.multipliers.sources import MultiplierSource, multiplier_sources, why_broken
from approxhw.flow.stages.tabulate import tabulate_module
from approxhw.numerics.mac.integer_mac import IntegerMac, exact_products, operator_name
from approxhw.numerics.multipliers.families import EXACT, own_operator
from approxhw.numerics.multipliers.tables import FIRST, ProductTable, Stated

from ..cost import EXACT_FORMS
from ..plans import can_stand_in_plan

if TYPE_CHECKING:
    from approxhw.backends.estimate import CellLibrary, Netlist

Progress = Callable[[str, int, int], None]

BITS = 8
"""Of x: codes."""
APART = "search them by themselves: one array has one kind of operands"
"""What to do with operators of other operands."""
POSITIONS = 12
"""Weights of a tile whose real activations go through a netlist."""


@dataclass(frozen=True, eq=False)
class PricedOperator:
    """A multiplier that a search may take: its products, and its gates in cells of a library.

    ``spelling``: as a plan of layers names it. ``ports``: of the weight and of x.
    """

    spelling: str
    table: ProductTable
    netlist: Netlist
    ports: tuple[str, str]

    @property
    def name(self) -> str:
        """As an arithmetic names it."""
        return operator_name(self.spelling)

    @property
    def area_um2(self) -> float:
        """Of its cells."""
        return self.netlist.area() * 1e6

    def power_mw(self, x: np.ndarray, weights: np.ndarray, clock_ns: float) -> float:
        """Return its power where each of *weights* (P patterns) stays while its row of *x* (P × M patterns) streams by."""
        from approxhw.backends.estimate import power_over

        weight, stream = self.ports
        vectors = {weight: np.repeat(weights.astype(np.int64), x.shape[1]), stream: x.reshape(-1).astype(np.int64)}
        return power_over(self.netlist, vectors, clock_ns)


@dataclass(frozen=True)
class PricedOperators:
    """What a search may take: ``operators``, all for operands of the signs ``signed``; what of the sources is ``broken``.

    ``exact``: the forms of the exact product, of which the cheaper one is what savings are told against.
    """

    operators: tuple[PricedOperator, ...]
    exact: tuple[PricedOperator, ...]
    signed: str
    broken: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    weight_bits: int = BITS


def priced_operators(
    named: Sequence[str],
    cells: CellLibrary,
    *,
    signed: str,
    weight: str,
    weight_bits: int = 8,
    timeout: float = 300.0,
    jobs: int = 1,
    on_progress: Progress | None = None,
) -> PricedOperators:
    """Return the multipliers that *named* names, mapped to *cells*; one array has one kind of operands, that of most files.

    *signed*: which operands of ours are two's complement where no file is named; signs of files are found out.
    *weight*: the port of a file that reads the weight, or ``first``. What cannot be read, or has other operands than most,
    is told in ``broken``; raises :class:`OptionError` where nothing but the exact product is left. *weight_bits*: of all.
    """
    found, broken, notes = multiplier_sources(named, weight_bits, BITS)
    tell = on_progress or (lambda step, done, total: None)
    total = len(found) + len(EXACT_FORMS)
    read: dict[MultiplierSource, PricedOperator] = {}
    stated = Stated(None if weight == FIRST else weight, None, weight_bits, BITS)
    files = [each for each in found if not _is_ours(each)]
    tell("operators", 0, total)
    with tool_threads(jobs) as pool:

        def work(source: MultiplierSource) -> PricedOperator | Problem:
            try:
                return _of_file(source, stated, cells, timeout)
            except ApproxhwError as error:
                return _of_other_widths(source, error, stated) or why_broken(source, error)

        for number, (source, made) in enumerate(zip(files, pool.map(work, files)), 1):
            tell("operators", number, total)
            if isinstance(made, Problem):
                broken.append(made)
            else:
                read[source] = made
        broken += _without_clashes(read)
        kinds = Counter(each.table.signed for each in read.values())
        kind = kinds.most_common(1)[0][0] if kinds else signed
        most = "those of most" if list(kinds.values()).count(kinds[kind]) == 1 else "those of as many, named first,"
        for source in [source for source, each in read.items() if each.table.signed != kind]:
            why = f"its operands are signed={read.pop(source).table.signed}, {most} are signed={kind}"
            broken.append(Problem(shown(source.path or source.name, 160), why, APART))
        ours = [each.name for each in found if _is_ours(each) and each.name not in EXACT_FORMS]

        def own(name: str) -> PricedOperator:
            return _own(name, kind, weight_bits, cells, timeout)

        made_ours = []
        for number, one in enumerate(pool.map(own, [*EXACT_FORMS, *ours]), len(files) + 1):
            tell("operators", number, total)
            made_ours.append(one)
    exact, rest = made_ours[: len(EXACT_FORMS)], made_ours[len(EXACT_FORMS) :]
    operators = (*(read[source] for source in files if source in read), *rest)
    if not operators:
        why = "only the exact product is left to choose from"
        raise OptionError("search", broken or [Problem("operators", why, "name others, such as truncated-*")])
    return PricedOperators(operators, tuple(exact), kind, tuple(broken), tuple(notes), weight_bits)


def _of_other_widths(source: MultiplierSource, error: ApproxhwError, stated: Stated) -> Problem | None:
    """Return the problem of a file whose operands are not as wide as the model's codes: users state no widths here."""
    if not any(each.where in ("weight_bits", "x_bits") for each in getattr(error, "problems", ())):
        return None
    why = f"its operands are no weights of {stated.weight_bits} bits and x of {stated.x_bits}, as the model's widest codes are"
    return Problem(str(source.path or source.name), why, APART)


def sampled_tile(x: np.ndarray, columns: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return P × M patterns of activations of a tile, and which weights (rows, columns) of K × N meet them.

    *x*: M × K patterns, K those of the tile, as it has so many *columns*.
    """
    rows = np.linspace(0, x.shape[1] - 1, min(POSITIONS, x.shape[1])).round().astype(int)
    return np.ascontiguousarray(x[:, rows].T), (rows, np.arange(len(rows)) % columns)


def _without_clashes(read: dict[MultiplierSource, PricedOperator]) -> list[Problem]:
    """Take out of *read* what another operator is called like, and what no plan of layers can name; return why."""
    problems, seen = [], dict[str, PricedOperator]()
    for source, each in list(read.items()):
        before = seen.setdefault(each.name, each)
        where = shown(each.spelling, 160)
        if before is not each:
            why = f"an array knows it as {shown(each.name)!r}, and {shown(before.spelling, 160)!r} too"
            problems.append(Problem(where, why, "rename one of the files"))
        elif not can_stand_in_plan(each.spelling):
            problems.append(Problem(where, "a plan of layers cannot hold its name", "rename it, without ';' and '+'"))
        else:
            continue
        del read[source]
    return problems


def _is_ours(source: MultiplierSource) -> bool:
    return source.path is None and (source.name == EXACT or own_operator(source.name) is not None)


def _own(name: str, signed: str, weight_bits: int, cells: CellLibrary, timeout: float) -> PricedOperator:
    from approxhw.backends.estimate import synthesise
    from approxhw.backends.integer_engine.operator_modules import operator_verilog

    netlist = synthesise(operator_verilog(name, weight_bits, BITS, signed), "multiplier", cells, timeout=timeout)
    operator = own_operator(name)
    exact = exact_products(IntegerMac(signed=signed, weight_bits=weight_bits))
    table = exact if operator is None else operator.table(weight_bits, BITS, signed)
    return PricedOperator(name, table, netlist, ("a", "b"))


def _of_file(source: MultiplierSource, stated: Stated, cells: CellLibrary, timeout: float) -> PricedOperator:
    from approxhw.backends.integer_engine.foreign_operators import read_operator_module

    path, spelling = source.path, str(source.path or source.name)
    if path is None:
        why = "it comes from another package, and an array is built of files and of ours"
        raise OptionError(source.name, [Problem("gates", why, "name its Verilog file")])
    if path.suffix == ".npz":
        raise OptionError(path.name, [Problem("gates", "it is a table, and a table has no gates to price")])
    module = tabulate_module(path, stated, cells, timeout)
    # what the array could not hold in the end is told now
    bits = stated.weight_bits or BITS
    read_operator_module(path.name, module.verilog, weight_bits=bits, x_bits=BITS, weight=stated.weight)
    return PricedOperator(spelling, module.table, module.netlist, (module.weight, module.x))
