"""What an integer engine costs: an element fed with a real tile, the whole array from its parts, energy a run of the model."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from approxhw.artifacts.folder import Plain, place_in, record_of
from approxhw.artifacts.integer_engine import IntegerDesign
from approxhw.common.arguments import checked, refuse_below
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.engine.array_cost import MISMATCHES, ArrayCost, PartCost, array_cost, keep_estimate, kept_estimates
from approxhw.engine.mapped_element import MappedElement, Progress, checked_clock, map_element, refuse_mismatches

from .array_parts import integer_memories, integer_parts, integer_register_bits, resting_vectors
from .element_feed import ElementStimulus, element_stimulus, tile_positions
from .rtl import array_from

if TYPE_CHECKING:
    from approxhw.backends.estimate import CellLibrary, Netlist
    from approxhw.backends.integer_engine.engine import IntegerArray

EXACT_FORMS = ("exact", "truncated-0")
"""Operators whose products are exact: what synthesis makes of ``*``, and rows of an array added up."""

Tile = tuple[str, np.ndarray, np.ndarray, np.ndarray]
"""The name of a layer, x (M × K) and weights (K × N) of a tile as patterns, and its operator's products by patterns."""


@dataclass(frozen=True)
class IntegerElementCost:
    """One element with one of its operators chosen, mapped to a library for a clock.

    ``area_um2``: cells only. ``delay_ns``: longest path by our timing analysis, register to register. ``met``: whether the
    clock is kept; None without delay tables. ``power_mw``: at ``clock_ns``, over ``vectors`` clocks of real tiles;
    ``energy_fj``: of one product, all of that power in one clock. ``checked``: sums equal to the reference's. ``made``:
    recipe, adders and script of the synthesis. ``timed_by``: ``delay tables``, or ``one delay a cell``.
    """

    operator: str
    arithmetic: str
    depth: int
    library: str
    clock_ns: float
    met: bool | None
    area_um2: float
    delay_ns: float
    power_mw: float
    energy_fj: float
    cells: int
    vectors: int
    checked: int
    states_from: str
    made: str
    timed_by: str


class RunEnergy(TypedDict):
    """What one run of the model takes, in nJ, and the share that is saved beside exact operators at the same clock.

    ``products_nj``, ``exact_nj``, ``saved``: of the products alone, each by the element of its operator. ``elements_nj`` and
    ``ends_nj``: of all elements and of all column ends, power by the ``clocks`` of the schedule: elements whether they have
    work or not, ends at work in the ``ending_clocks`` in which sums leave their chains, and at rest else; ``array_nj``: both;
    ``exact_array_nj``, ``array_saved``: the same with exact operators. ``left_out``: layers of whose operator no tile was kept;
    they are in none of it. ``inputs``: what a run takes, shapes by name, rows first.
    """

    inputs: Mapping[str, Sequence[int]]
    products_nj: float
    exact_nj: float
    saved: float
    clocks: int
    ending_clocks: int
    elements_nj: float
    ends_nj: float
    array_nj: float
    exact_array_nj: float
    array_saved: float
    left_out: int


class IntegerEstimate(TypedDict):
    """What an array and its elements, :class:`IntegerElementCost` as plain types, cost; ``exact_elements`` are beside them."""

    library: str
    clock_ns: float
    elements: list[dict[str, Plain]]
    exact_elements: list[dict[str, Plain]]
    estimate: ArrayCost
    energy: RunEnergy
    plain_ends: PartCost | None
    """Column ends without activation units, mapped and measured as those with; None where there are no units."""
    seconds: float


@dataclass(frozen=True)
class KeptIntegerEstimate:
    """What a kept estimate of an integer engine must tell."""

    library: str
    clock_ns: float
    elements: tuple[IntegerElementCost, ...]
    exact_elements: tuple[IntegerElementCost, ...]
    estimate: ArrayCost
    energy: RunEnergy


def map_integer_element(
    array: IntegerArray,
    cells: CellLibrary,
    clock_ns: float,
    *,
    timeout: float = 300.0,
    quick: bool = False,
    on_progress: Progress | None = None,
) -> MappedElement:
    """Return the smallest circuit of an element of *array*, all of its operators in it, that keeps the clock.

    How, :func:`~approxhw.engine.mapped_element.map_element` says, and what *quick* leaves out.
    """
    from approxhw.backends.integer_engine.engine import integer_engine_verilog

    text = integer_engine_verilog(array, top="integer_element")
    return map_element(
        lambda _: text, "integer_element", cells, clock_ns, timeout=timeout, quick=quick, on_progress=on_progress
    )


def integer_element_cost(
    array: IntegerArray,
    operator: str,
    library: str | Path | CellLibrary,
    clock_ns: float,
    tile: Tile,
    *,
    mapped: MappedElement | None = None,
    timeout: float = 300.0,
    quick: bool = False,
    mismatch_file: Path = Path("element_mismatches.json"),
    on_progress: Progress | None = None,
) -> IntegerElementCost:
    """Map one element of *array* for the clock, check its netlist with *operator* chosen on a real *tile*, return its cost.

    *mapped*: the element, where it is mapped already. Raises :class:`MismatchError` where the netlist differs from the reference;
    *mismatch_file* is written then.
    """
    from approxhw.backends.estimate import load_library
    from approxhw.backends.estimate.estimator import estimate_netlist

    cells, mac = load_library(library), array.mac_of(operator)
    if mapped is None:
        mapped = map_integer_element(array, cells, clock_ns, timeout=timeout, quick=quick, on_progress=on_progress)
    name, x, weights, products = tile
    netlist, fed = mapped.netlist, element_stimulus(array, operator, products, x, weights)
    ports = {port.name for port in netlist.data_inputs}
    vectors = {each: column for each, column in fed.vectors.items() if each in ports}
    checked = _check(netlist, replace(fed, vectors=vectors), f"netlist of {mac}", mismatch_file)
    told = f"{len(tile_positions(x, weights))} elements of a tile of layer {shown(name, 60)}"
    found = estimate_netlist(netlist, vectors=vectors, vectors_from=told, clock_ns=clock_ns)
    power = found.known_power_mw()
    return IntegerElementCost(
        operator=operator,
        arithmetic=str(mac),
        depth=array.depth,
        library=cells.name,
        clock_ns=clock_ns,
        met=mapped.met,
        area_um2=netlist.area() * 1e6,
        delay_ns=mapped.delay_ns,
        power_mw=power,
        energy_fj=power * clock_ns * 1e3,
        cells=found.cells,
        vectors=len(fed.expected),
        checked=checked,
        states_from=told,
        made=mapped.made,
        timed_by=mapped.timed_by,
    )


def _check(netlist: Netlist, fed: ElementStimulus, name: str, file: Path) -> int:
    """Compare what the netlist makes of the stimulus; return how many sums were compared."""
    from approxhw.backends.estimate import simulate_activity

    outputs, _ = simulate_activity(netlist, fed.vectors)
    seen = np.asarray(outputs["sum_out"]).astype(np.int64)
    checked = int(fed.known.sum())
    refuse_mismatches(name, fed.known & (seen != fed.expected), fed.expected, seen, checked, file)
    return checked


def exact_arrays(array: IntegerArray) -> dict[str, IntegerArray]:
    """Return *array* with exact operators and adders in the place of its own, by form."""
    return {
        form: replace(array, mac=replace(array.mac, operator=form, adder="exact"), operators=(), foreign=())
        for form in EXACT_FORMS
    }


def tiles_of(design: IntegerDesign) -> dict[str, Tile]:
    """Return, for each operator, a real tile of the deepest layer that it multiplies: name, x, weights, products.

    Raises :class:`OptionError` where no operands were kept.
    """
    found: dict[str, Tile] = {}
    rows, columns = design.engine["rows"], design.engine["columns"]
    for layer in sorted((each for each in design.layers if each.operands), key=lambda each: (-each.k, -each.m)):
        arrays = design.operands[str(layer.operands)]
        tile = (
            layer.name,
            arrays["x"][:, :rows],
            arrays["weights"][:rows, :columns],
            arrays["products"].astype(np.int64),
        )
        found.setdefault(layer.operator, tile)
    if not found:
        why = "no operands of a layer were kept: the design was compiled without data"
        raise OptionError("estimate", [Problem(design.name, why, "compile it with --data")])
    return found


@checked("estimate")
def estimate_integer_engine(
    folder: Path,
    design: IntegerDesign,
    library: str | Path | None = None,
    *,
    clock_ns: float | None = None,
    timeout: float = 300.0,
    on_progress: Progress | None = None,
) -> IntegerEstimate:
    """Return, and keep in ``estimate/``, what the engine in *folder* and an element of it with each operator cost.

    The array is the sum of its parts: elements for the clock, column ends and control by the reference recipe, registers
    bit by bit with the library's smallest flip-flop. Memories are not in the area: they are told in bits, and as an area of
    their own where the library has figures of memories. Exact elements are mapped for the same clock in the same way; of their
    two forms that one stands beside an operator that takes the least energy on its tile, of those that keep the clock where
    one does.
    """
    from approxhw.backends.estimate import estimate_netlist, load_library, synthesise
    from approxhw.backends.estimate.estimator import BY_TABLES

    refuse_below("estimate", 0, above=True, timeout=timeout)
    started = time.perf_counter()
    tell = on_progress or (lambda step, done, total: None)
    cells, array = load_library(library or design.library), array_from(design.engine)
    clock, tiles = checked_clock(clock_ns, design.clock_ns), tiles_of(design)
    file, plain = place_in(folder, MISMATCHES), exact_arrays(array)
    mapped: dict[str, MappedElement] = {}
    for number, (name, each) in enumerate({"": array, **plain}.items()):
        tell("elements", number, 1 + len(plain))
        same = each.mac == array.mac and each.names == array.names  # the array is exact itself
        mapped[name] = mapped[""] if name and same else map_integer_element(each, cells, clock, timeout=timeout)
    tell("elements", 1 + len(plain), 1 + len(plain))
    elements, exact = dict[str, IntegerElementCost](), dict[str, IntegerElementCost]()
    for operator, tile in tiles.items():
        elements[operator] = integer_element_cost(
            array, operator, cells, clock, tile, mapped=mapped[""], mismatch_file=file
        )
        forms = [
            integer_element_cost(
                each, form, cells, clock, _exact_tile(tile, each), mapped=mapped[form], mismatch_file=file
            )
            for form, each in plain.items()
        ]
        # savings are told beside the thriftier one; beside the other they would be flattered
        exact[operator] = min(forms, key=lambda each: (each.met is False, each.energy_fj))
    most, count = max(elements.values(), key=lambda each: each.power_mw), array.rows * array.columns
    part: PartCost = {
        "part": "elements",
        "count": count,
        "area_um2": count * most.area_um2,
        "power_mw": count * most.power_mw,
        "delay_ns": most.delay_ns,
    }
    parts = integer_parts(array)
    end = next(each for each in parts if each.part == "column ends")
    tell("parts of the engine", 0, len(parts))
    netlist = synthesise(end.verilog, end.top, cells, timeout=timeout)
    whole = array_cost(
        part,
        parts,
        integer_register_bits(array),
        integer_memories(array),
        cells,
        clock,
        known=most.timed_by == BY_TABLES,
        timeout=timeout,
        on_progress=tell,
        mapped={end.part: netlist},
    )
    at_work = next(row["power_mw"] for row in whole["parts"] if row["part"] == "column ends") or 0.0
    still = estimate_netlist(netlist, clock_ns=clock, vectors=resting_vectors(array), vectors_from="sums that stay")
    at_rest = end.count * still.known_power_mw()
    told: IntegerEstimate = {
        "library": cells.name,
        "clock_ns": clock,
        "elements": [asdict(each) for each in elements.values()],
        "exact_elements": [asdict(each) for each in dict.fromkeys(exact.values())],
        "estimate": whole,
        "energy": _energy(design, elements, exact, array, (at_work, at_rest), clock),
        "plain_ends": _plain_ends(array, cells, clock, timeout) if array.units else None,
        "seconds": time.perf_counter() - started,
    }
    keep_estimate(folder, cells.name, told)
    return told


def _plain_ends(array: IntegerArray, cells: CellLibrary, clock_ns: float, timeout: float) -> PartCost:
    """Return what the ends of the columns of *array* would cost without activation units."""
    from approxhw.backends.estimate import estimate_netlist, synthesise

    end = integer_parts(replace(array, units=()))[0]
    found = estimate_netlist(synthesise(end.verilog, end.top, cells, timeout=timeout), clock_ns=clock_ns)
    return {
        "part": end.part,
        "count": end.count,
        "area_um2": end.count * found.area_mm2 * 1e6,
        "power_mw": end.count * found.known_power_mw(),
        "delay_ns": found.delay_ns,
    }


def _exact_tile(tile: Tile, array: IntegerArray) -> Tile:
    from approxhw.numerics.mac.integer_mac import exact_products

    return (*tile[:3], exact_products(array.mac).products)


def _energy(
    design: IntegerDesign,
    elements: Mapping[str, IntegerElementCost],
    exact: Mapping[str, IntegerElementCost],
    array: IntegerArray,
    ends_mw: tuple[float, float],
    clock_ns: float,
) -> RunEnergy:
    """Return the energy of one run; *ends_mw*: of all column ends, while they make results and while they rest."""
    layers, clocks, ending, count = design.layers, 0, 0, array.rows * array.columns
    made = plain = inside = plain_inside = 0.0
    known = [layer for layer in layers if layer.operator in elements]
    for layer in known:
        own, other = elements[layer.operator], exact[layer.operator]
        products, taken = layer.count * layer.m * layer.k * layer.n, layer.count * layer.clocks
        made += products * own.energy_fj * 1e-6
        plain += products * other.energy_fj * 1e-6
        inside += taken * count * own.energy_fj * 1e-6  # an element's power in a clock is what a product is charged
        plain_inside += taken * count * other.energy_fj * 1e-6
        clocks += taken
        ending += layer.count * layer.m * -(-layer.n // array.columns)  # every vector leaves once for so many columns
    ends = (ending * ends_mw[0] + (clocks - ending) * ends_mw[1]) * clock_ns * 1e-3
    return {
        "inputs": {name: list(size) for name, size in design.shape.items()},
        "products_nj": made,
        "exact_nj": plain,
        "saved": 1 - made / plain if plain else 0.0,
        "clocks": clocks,
        "ending_clocks": ending,
        "elements_nj": inside,
        "ends_nj": ends,
        "array_nj": inside + ends,
        "exact_array_nj": plain_inside + ends,
        "array_saved": 1 - (inside + ends) / (plain_inside + ends) if plain_inside + ends else 0.0,
        "left_out": len(layers) - len(known),
    }


def integer_estimates(folder: Path) -> list[dict[str, Plain]]:
    """Return every estimate of the engine in *folder*, the newest last; raise :class:`InvalidDesignError` for a broken one."""

    def whole(told: dict[str, Plain]) -> dict[str, Plain]:
        record_of(told, KeptIntegerEstimate)
        return told

    return kept_estimates(folder, whole)
