"""What an integer engine costs: an element fed with a real tile, the whole array from its parts, energy a run of the model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.folder import Plain, json_text, place_in, read_json
from approxhw.artifacts.integer_engine import IntegerDesign, IntegerLayer
from approxhw.common.arguments import checked, refuse_below
from approxhw.common.errors import InvalidDesignError, MismatchError, OptionError, Problem, shown
from approxhw.common.files import write_beside
from approxhw.numerics.mac.integer_mac import IntegerMac
from approxhw.numerics.multipliers.tables import operand_values

from .rtl import array_from

if TYPE_CHECKING:
    from approxhw.backends.estimate import CellLibrary, Netlist
    from approxhw.backends.integer_engine.engine import IntegerArray

Progress = Callable[[str, int, int], None]
POSITIONS = 12
"""Elements of the array whose real inputs go through the netlist of one."""

EXACT_FORMS = ("exact", "truncated-0")
"""Operators whose products are exact: what synthesis makes of ``*``, and rows of an array added up."""

_GAP = 4
"""Clocks behind a tile in which its last sums come out."""


@dataclass(frozen=True)
class IntegerElementCost:
    """One element with one operator, mapped to a library.

    ``area_um2``: cells. ``power_mw``: at ``clock_ns``, over ``vectors`` clocks of real tiles; ``energy_fj``: of one product,
    all of that power in one clock. ``met``: None without delay tables. ``checked``: sums equal to the reference's.
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


IntegerEstimate = dict[str, Plain]
"""``library``, ``clock_ns``, ``elements`` (an :class:`IntegerElementCost` an operator), ``parts``, sums and ``energy``."""


@dataclass(frozen=True, eq=False)
class ElementStimulus:
    """What goes into one element, a value a clock, and what must come out where ``known``."""

    vectors: Mapping[str, np.ndarray]
    expected: np.ndarray
    known: np.ndarray


def element_stimulus(
    array: IntegerArray, operator: str, products: np.ndarray, x: np.ndarray, weights: np.ndarray
) -> ElementStimulus:
    """Return the inputs of elements down column 0 of a real tile, one after the other: *x*: M × K, *weights*: K × N patterns.

    The weight is loaded, then a pattern comes each clock, with the sum that the rows above have made of its vector.
    """
    mac = array.mac_of(operator)
    mask = (1 << mac.accumulator_bits) - 1
    columns: dict[str, list[np.ndarray]] = {"load": [], "operand_in": [], "sum_in": []}
    expected, known = [], []
    depth, count = array.depth, len(x)
    for k, n in _positions(x, weights):
        length = count + 3 + depth + _GAP
        load, operand = np.zeros(length, np.int64), np.zeros(length, np.int64)
        above, wanted, seen = np.zeros(length, np.int64), np.zeros(length, np.int64), np.zeros(length, bool)
        load[1] = 1
        operand[0], operand[1 : count + 1] = weights[k, n], x[:, k]
        before = _sums(mac, products, x[:, :k], weights[:k, n])
        after = _sums(mac, products, x[:, : k + 1], weights[: k + 1, n])
        start = 2 + depth - 1  # the operand is held a clock after it comes; with DEPTH 2 its product a clock later
        above[start : start + count] = before & mask
        place = slice(start + 1, start + 1 + count)
        wanted[place], seen[place] = after & mask, True
        for name, part in zip(("load", "operand_in", "sum_in"), (load, operand, above), strict=True):
            columns[name].append(part)
        expected.append(wanted)
        known.append(seen)
    vectors = {name: np.concatenate(parts) for name, parts in columns.items()}
    vectors["select"] = np.full(len(vectors["load"]), array.select(operator), np.int64)
    return ElementStimulus(vectors, np.concatenate(expected), np.concatenate(known))


def _positions(x: np.ndarray, weights: np.ndarray) -> list[tuple[int, int]]:
    rows = np.linspace(0, x.shape[1] - 1, min(POSITIONS, x.shape[1])).round().astype(int)
    return [(int(k), int(number % weights.shape[1])) for number, k in enumerate(rows)]


def _sums(mac: IntegerMac, products: np.ndarray, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the sum of each row of patterns *x* (M × k) with *weights* (k), as an element's chain makes it."""
    from approxhw.numerics.mac.kernels.integer_gemm import matmul_integer

    if not x.shape[1]:
        return np.zeros(len(x), np.int64)
    left = operand_values(mac.x_bits, mac.x_signed)[x].astype(np.int8 if mac.x_signed else np.uint8)
    right = operand_values(mac.weight_bits, mac.weight_signed)[weights].astype(
        np.int8 if mac.weight_signed else np.uint8
    )
    made: np.ndarray = matmul_integer(np.ascontiguousarray(left.T), right[:, None], mac, products)[:, 0].astype(
        np.int64
    )
    return made


def integer_element_cost(
    array: IntegerArray,
    operator: str,
    library: str | Path | CellLibrary,
    clock_ns: float,
    tile: tuple[str, np.ndarray, np.ndarray, np.ndarray],
    *,
    timeout: float = 300.0,
    mismatch_file: Path = Path("element_mismatches.json"),
) -> IntegerElementCost:
    """Map one element with *operator* alone, check its netlist on a real *tile* (name, x, weights, products), return its cost.

    Raises :class:`MismatchError` where the netlist differs from the reference; *mismatch_file* is written then.
    """
    from approxhw.backends.estimate import Surroundings, analyse, load_library, synthesise
    from approxhw.backends.estimate.estimator import estimate_netlist
    from approxhw.backends.integer_engine.engine import integer_engine_verilog

    cells = load_library(library)
    alone = replace(
        array,
        mac=array.mac_of(operator),
        operators=(operator,),
        foreign=tuple(f for f in array.foreign if f.name == operator),
    )
    name, x, weights, products = tile
    netlist = synthesise(
        integer_engine_verilog(alone, top="integer_element"), "integer_element", cells, timeout=timeout
    )
    fed = element_stimulus(alone, operator, products, x, weights)
    ports = {port.name for port in netlist.data_inputs}
    vectors = {each: column for each, column in fed.vectors.items() if each in ports}
    checked = _check(netlist, replace(fed, vectors=vectors), f"netlist of {alone.mac}", mismatch_file)
    timing = analyse(netlist, Surroundings(clocked_inputs=True))
    told = f"{len(_positions(x, weights))} elements of a tile of layer {shown(name, 60)}"
    found = estimate_netlist(netlist, vectors=vectors, vectors_from=told, clock_ns=clock_ns)
    power = found.known_power_mw()
    return IntegerElementCost(
        operator=operator,
        arithmetic=str(alone.mac),
        depth=alone.depth,
        library=cells.name,
        clock_ns=clock_ns,
        met=timing.met(clock_ns * 1e3),
        area_um2=netlist.area() * 1e6,
        delay_ns=timing.delay_ps * 1e-3,
        power_mw=power,
        energy_fj=power * clock_ns * 1e3,
        cells=found.cells,
        vectors=len(fed.expected),
        checked=checked,
        states_from=told,
    )


def _check(netlist: Netlist, fed: ElementStimulus, name: str, file: Path) -> int:
    """Compare what the netlist makes of the stimulus; return how many sums were compared."""
    from approxhw.backends.estimate import simulate_activity

    outputs, _ = simulate_activity(netlist, fed.vectors)
    seen = np.asarray(outputs["sum_out"]).astype(np.int64)
    wrong = fed.known & (seen != fed.expected)
    if wrong.any():
        rows = [
            {"clock": clock, "expected": int(fed.expected[clock]), "seen": int(seen[clock])}
            for clock in np.flatnonzero(wrong)[:1000].tolist()
        ]
        write_beside(file, json_text({"design": name, "mismatches": int(wrong.sum()), "rows": rows}))
        raise MismatchError(name, int(wrong.sum()), int(fed.known.sum()), file)
    return int(fed.known.sum())


def tiles_of(design: IntegerDesign) -> dict[str, tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Return, for each operator, a real tile of the deepest layer that it multiplies: name, x, weights, products.

    Raises :class:`OptionError` where no operands were kept.
    """
    found: dict[str, tuple[str, np.ndarray, np.ndarray, np.ndarray]] = {}
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

    The array is the sum of its elements and column ends; memories are counted in bits and are in no area. ``energy``: of the
    products of one run of the model, each by the element of its operator, beside exact ones on the same tiles.
    """
    from approxhw.backends.estimate import estimate, load_library
    from approxhw.backends.integer_engine.engine import integer_engine_verilog

    refuse_below("estimate", 0, above=True, timeout=timeout)
    started = time.perf_counter()
    tell = on_progress or (lambda step, done, total: None)
    cells, array = load_library(library or design.library), array_from(design.engine)
    clock = design.clock_ns if clock_ns is None else clock_ns
    if not (np.isfinite(clock) and clock > 0):
        raise OptionError("estimate", [Problem("clock_ns", f"{clock} is no clock period", "give nanoseconds above 0")])
    tiles = tiles_of(design)
    elements: dict[str, IntegerElementCost] = {}
    exact: dict[str, IntegerElementCost] = {}
    file = place_in(folder, "estimate/mismatches.json")
    for number, (operator, tile) in enumerate(tiles.items()):
        tell("elements", number, len(tiles))
        elements[operator] = integer_element_cost(
            array, operator, cells, clock, tile, timeout=timeout, mismatch_file=file
        )
        exact[operator] = _least_exact(array, cells, clock, tile, timeout, file)
    tell("elements", len(tiles), len(tiles))
    largest = max(elements.values(), key=lambda each: each.area_um2)
    count = array.rows * array.columns
    end = estimate(
        integer_engine_verilog(array, top="integer_end"), "integer_end", cells, clock_ns=clock, timeout=timeout
    )
    parts: list[dict[str, Plain]] = [
        {
            "part": "elements",
            "count": count,
            "area_um2": count * largest.area_um2,
            "power_mw": count * largest.power_mw,
        },
        {
            "part": "column ends",
            "count": array.columns,
            "area_um2": array.columns * end.area_mm2 * 1e6,
            "power_mw": array.columns * end.known_power_mw(),
        },
    ]
    told: IntegerEstimate = {
        "library": cells.name,
        "clock_ns": clock,
        "elements": [asdict(each) for each in elements.values()],
        "exact_elements": [asdict(each) for each in dict.fromkeys(exact.values())],
        "parts": parts,
        "area_mm2": sum(float(part["area_um2"]) for part in parts) * 1e-6,
        "power_mw": sum(float(part["power_mw"]) for part in parts),
        "energy": _energy(design.layers, elements, exact),
        "memory_bits": array.vectors * array.columns * array.mac.accumulator_bits,
        "seconds": time.perf_counter() - started,
    }
    write_beside(place_in(folder, f"estimate/{_file_name(cells.name)}.json"), json_text(told))
    return told


def _least_exact(
    array: IntegerArray,
    cells: CellLibrary,
    clock: float,
    tile: tuple[str, np.ndarray, np.ndarray, np.ndarray],
    timeout: float,
    file: Path,
) -> IntegerElementCost:
    """Return the element of exact products that takes the least energy on *tile*: by synthesis' own multiplier, or an array.

    Savings are told beside that one; beside the other they would be flattered.
    """
    found = []
    for name in EXACT_FORMS:
        plain = replace(array, mac=replace(array.mac, operator=name, adder="exact"), operators=(), foreign=())
        as_exact = (tile[0], tile[1], tile[2], _exact_table(plain.mac))
        found.append(integer_element_cost(plain, name, cells, clock, as_exact, timeout=timeout, mismatch_file=file))
    return min(found, key=lambda each: each.energy_fj)


def _exact_table(mac: IntegerMac) -> np.ndarray:
    from approxhw.numerics.mac.integer_mac import exact_products

    return exact_products(mac).products


def _energy(
    layers: tuple[IntegerLayer, ...],
    elements: Mapping[str, IntegerElementCost],
    exact: Mapping[str, IntegerElementCost],
) -> dict[str, Plain]:
    """Return the energy of the products of one run in nJ, as they are and were they exact, and what is saved."""
    made = plain = 0.0
    for layer in layers:
        if layer.operator in elements:
            products = layer.count * layer.m * layer.k * layer.n
            made += products * elements[layer.operator].energy_fj * 1e-6
            plain += products * exact[layer.operator].energy_fj * 1e-6
    return {"products_nj": made, "exact_nj": plain, "saved": 1 - made / plain if plain else 0.0}


def integer_estimates(folder: Path) -> list[dict[str, Plain]]:
    """Return every estimate of the engine in *folder*, the newest last; raise :class:`InvalidDesignError` for a broken one."""
    found = []
    paths = [path for path in (folder / "estimate").glob("*.json") if path.name != "mismatches.json"]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns):
        try:
            told = read_json(path)
            if not isinstance(told, dict) or not {"library", "elements", "parts", "energy"} <= told.keys():
                raise ValueError("it lacks its library, elements, parts or energy")
        except (OSError, ValueError) as error:
            why = f"no estimate ({shown(error, 160)})"
            raise InvalidDesignError(str(folder), [Problem(path.name, why, "estimate it again")]) from error
        found.append(told)
    return found


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)[:60] or "library"
