"""What a matrix engine costs: an element mapped for its clock and fed with real tiles, and the whole engine from its parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict

import numpy as np

from approxhw.artifacts.engine import EngineDesign
from approxhw.artifacts.folder import Plain, json_text, place_in, read_json, record_of
from approxhw.common.arguments import checked, refuse_below
from approxhw.common.errors import InvalidDesignError, LibraryError, MismatchError, OptionError, Problem, shown
from approxhw.common.files import write_beside
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.float_mac import unpack_operand

if TYPE_CHECKING:
    from approxhw.backends.estimate import CellLibrary, Netlist
    from approxhw.backends.matrix_engine.engine import Engine
    from approxhw.numerics.mac.kernels.gemm import States

Progress = Callable[[str, int, int], None]

POSITIONS = 12
"""Elements of the array whose real inputs are streamed through the netlist of one."""

FORMS = (0, 2, 1)
"""Values of FAST, forms of an element's RTL, as a rule by rising area (``element_verilog`` says what they are)."""

_GAP = 6
"""Clocks after a tile in which its last results come out."""


@dataclass(frozen=True)
class ElementCost:
    """One processing element, mapped to a library for a clock.

    ``area_um2``: cells only. ``delay_ns``: longest path by our timing analysis, register to register. ``met``: whether the
    clock is kept; None where that cannot be known, for want of delay tables. ``power_mw``:
    at that clock, over ``vectors`` clocks of real tiles; ``states_from`` says which.
    ``checked``: states that were equal to the reference's.
    """

    arithmetic: str
    depth: int
    library: str
    clock_ns: float
    met: bool | None
    area_um2: float
    delay_ns: float
    power_mw: float
    static_power_mw: float
    dynamic_power_mw: float
    cells: int
    vectors: int
    checked: int
    states_from: str
    made: str
    """Recipe, adders and script of the synthesis that gave it."""
    timed_by: str = ""
    """``delay tables``, or ``one delay a cell``; older estimates do not say."""


class PartCost(TypedDict):
    """What all parts of one kind cost together; registers have no power here."""

    part: str
    count: int
    area_um2: float
    power_mw: float | None
    delay_ns: NotRequired[float]


class EngineCost(TypedDict):
    """The sum of the parts; ``memories``, in bits, are not in it.

    ``met``: whether all parts keep the clock, ``kept_clock_ns``: the shortest that they keep, the one asked for at least,
    and ``peak_gmac_per_s`` at that; None, all three, where the library has no delay tables.
    """

    area_mm2: float
    power_mw: float
    clock_ns: float
    met: bool | None
    kept_clock_ns: float | None
    parts: list[PartCost]
    memory_bits: int
    memories: dict[str, int]
    peak_gmac_per_s: float | None


class EngineEstimate(TypedDict):
    """What an engine and one of its elements, an :class:`ElementCost` as plain types, cost."""

    library: str
    clock_ns: float
    estimate_pe: dict[str, object]
    estimate: EngineCost
    seconds: float


@dataclass(frozen=True)
class KeptEngineEstimate:
    """What a kept estimate of an engine must tell at least."""

    library: str
    estimate: Mapping[str, object]
    estimate_pe: ElementCost


@dataclass(frozen=True)
class Stimulus:
    """What goes into one element, a value a clock, and what must come out. ``kind``: int64, clocks.

    ``expected``: state words; ``plain``: where they are to be compared in whole, ``flags``: where in their two flags alone.
    """

    vectors: Mapping[str, np.ndarray]
    expected: np.ndarray
    plain: np.ndarray
    flags: np.ndarray


def operand_words(codes: np.ndarray, mac: FloatMac) -> np.ndarray:
    """Return what ``float_decode`` makes of *codes* (unsigned): {sign, number, exponent, fraction}, int64."""
    from approxhw.backends.matrix_engine.templates import operand_exponent_bits

    fraction, width = mac.code.fraction_bits, operand_exponent_bits(mac)
    table = np.zeros(1 << mac.code.bits, dtype=np.int64)
    for code in np.unique(codes).tolist():
        operand = unpack_operand(mac.format, code)
        # beside numbers the exponent is what the field gives, and the fraction says which special it is
        exponent = (code >> fraction) & ((1 << mac.code.exponent_bits) - 1)
        word, tail = 0, (operand.nan | operand.inf) << (fraction - 1) | operand.nan << (fraction - 2)
        # of a zero it is that of the least subnormal, where there are any
        exponent = 1 - mac.code.bias - fraction if mac.code.subnormals and not exponent else exponent - mac.code.bias
        if operand.significand:
            word, exponent, tail = 1, operand.exponent, operand.significand & ((1 << fraction) - 1)
        sign = code >> (mac.code.bits - 1)
        table[code] = ((sign << 1 | word) << width | exponent & ((1 << width) - 1)) << fraction | tail
    return table[codes]


def stimulus(mac: FloatMac, depth: int, a: np.ndarray, b: np.ndarray, positions: Sequence[tuple[int, int]]) -> Stimulus:
    """Return the inputs of the elements that hold ``b[k, n]`` for each (k, n) of *positions*, one after the other.

    *a*: m × k, *b*: k × n, unsigned codes of a tile of a real layer: weights are loaded, then a vector comes each clock,
    with the states that the rows above have made of it.
    """
    from approxhw.backends.matrix_engine.templates import element_latency
    from approxhw.numerics.mac.kernels.gemm import chain, start, step

    early, _ = element_latency(depth)
    bits, count = mac.accumulator_bits, len(a)
    zero = _words(start((1,)), bits)[0]
    columns: dict[str, list[np.ndarray]] = {"load": [], "operand_in": [], "state_in": []}
    expected, plain, flags = [], [], []
    for k, n in positions:
        length = count + 2 + early + depth + _GAP
        load, operand = np.zeros(length, np.int64), np.zeros(length, np.int64)
        state, wanted = np.full(length, zero), np.full(length, zero)
        known = np.zeros(length, bool)
        load[1] = 1
        operand[0] = operand_words(b[k : k + 1, n], mac)[0]
        operand[1 : count + 1] = operand_words(a[:, k], mac)
        before: States = chain(a[:, :k], b[:k, n : n + 1], mac) if k else start((count, 1))
        after = step(a[:, k : k + 1], np.broadcast_to(b[k, n], (count, 1)), mac, before)
        state[2 + early : 2 + early + count] = _words(before, bits).reshape(-1)
        place = slice(2 + depth, 2 + depth + count)
        wanted[place], known[place] = _words(after, bits).reshape(-1), True
        special = np.zeros(length, bool)
        special[place] = after.flags.reshape(-1) != 0
        columns["load"].append(load)
        columns["operand_in"].append(operand)
        columns["state_in"].append(state)
        expected.append(wanted)
        plain.append(known & ~special)
        flags.append(known & special)
    return Stimulus(
        {name: np.concatenate(parts) for name, parts in columns.items()},
        np.concatenate(expected),
        np.concatenate(plain),
        np.concatenate(flags),
    )


def _words(states: States, bits: int) -> np.ndarray:
    """Return states as they stand on wires: {nan, inf, sign, exponent, significand}, int64."""
    sign, exponent = states.sign.astype(np.int64), states.exponent.astype(np.int64) & 0x3FF
    flags = states.flags.astype(np.int64)
    return flags << (bits + 11) | sign << (bits + 10) | exponent << bits | states.significand.astype(np.int64)


def real_tile(design: EngineDesign, layer: str | None = None) -> tuple[str, np.ndarray, np.ndarray]:
    """Return the name, and the operands of the first tile, of *layer*, of the deepest one that is kept by default."""
    kept = [each for each in design.layers if each.operands]
    if not kept:
        why = "no operands of a layer were kept: the design was compiled without data"
        raise OptionError("estimate", [Problem(design.name, why, "compile it with --data")])
    found = design.layer(layer) if layer is not None else max(kept, key=lambda each: (each.k, each.m))
    if found.operands is None:
        raise OptionError("estimate", [Problem("layer", f"no operands of {shown(found.name, 60)} were kept")])
    a, b = design.operands[found.operands]
    rows, columns = int(design.engine["rows"]), int(design.engine["columns"])
    return found.name, a[:, :rows], b[:rows, :columns]


def element_cost(
    mac: FloatMac,
    depth: int,
    library: str | Path | CellLibrary,
    clock_ns: float,
    tile: tuple[str, np.ndarray, np.ndarray],
    *,
    timeout: float = 300.0,
    quick: bool = False,
    mismatch_file: Path = Path("element_mismatches.json"),
    on_progress: Progress | None = None,
) -> ElementCost:
    """Map one element for *clock_ns*, check its netlist on a real *tile* (name, a, b), and return what it costs.

    With delay tables in the library the smallest circuit that keeps the clock is looked for (``clock_sweep``), over all
    forms of the RTL; where every cell has one size there is little to look for, and the reference recipe is asked first, form
    by form.
    It alone maps where there are no tables, and where it has to be *quick*.
    Raises :class:`MismatchError` where the netlist differs from the reference; *mismatch_file* is written then.
    """
    from approxhw.backends.estimate import Surroundings, analyse, load_library, sweep, synthesise
    from approxhw.backends.estimate.estimator import BY_TABLES, ONE_DELAY, estimate_netlist
    from approxhw.backends.estimate.timing.sizing import cell_sizes
    from approxhw.backends.matrix_engine.templates import element_verilog

    cells = load_library(library)
    name, a, b = tile
    spread = np.linspace(0, a.shape[1] - 1, min(POSITIONS, a.shape[1])).round().astype(int)
    positions = [(int(k), int(number % b.shape[1])) for number, k in enumerate(spread)]
    fed = stimulus(mac, depth, a, b, positions)
    around = Surroundings(clocked_inputs=True)  # elements stand among elements
    made, netlist = "reference recipe", None
    timing = None
    if quick or cells.without_tables() or all(len(sizes) == 1 for sizes in cell_sizes(cells).values()):
        for fast in FORMS[:1] if quick or cells.without_tables() else FORMS:  # the smallest form first
            netlist = synthesise(element_verilog(mac, depth, fast=fast), "mac_element", cells, timeout=timeout)
            timing = analyse(netlist, around)
            made = f"reference recipe, FAST = {fast}" if fast else "reference recipe"
            if timing.met(clock_ns * 1e3) is not False:
                break
    if netlist is None or timing is None or (timing.met(clock_ns * 1e3) is False and not quick):
        (point,) = sweep(
            element_verilog(mac, depth),
            "mac_element",
            cells,
            [clock_ns * 1e3],
            variants=[{"FAST": fast} for fast in sorted(FORMS)],
            timeout=timeout,
            around=around,
            on_progress=on_progress,
        )
        netlist, timing = point.netlist, analyse(point.netlist, around)
        made = f"{point.adders} adders, script {point.script}, FAST = {point.variant.get('FAST', 0)}"
    checked = _check(netlist, fed, f"netlist of {mac}", mismatch_file)
    told = f"{len(positions)} elements of a tile of layer {shown(name, 60)}"
    found = estimate_netlist(netlist, vectors=fed.vectors, vectors_from=told, clock_ns=clock_ns)
    return ElementCost(
        arithmetic=str(mac),
        depth=depth,
        library=cells.name,
        clock_ns=clock_ns,
        met=timing.met(clock_ns * 1e3),
        area_um2=netlist.area() * 1e6,
        delay_ns=timing.delay_ps * 1e-3,
        power_mw=found.known_power_mw(),
        static_power_mw=found.known_power_mw() - found.dynamic_power_mw,
        dynamic_power_mw=found.dynamic_power_mw,
        cells=found.cells,
        vectors=len(fed.expected),
        checked=checked,
        states_from=told,
        made=made,
        timed_by=ONE_DELAY if timing.without_tables else BY_TABLES,
    )


def _check(netlist: Netlist, fed: Stimulus, name: str, file: Path) -> int:
    """Compare what the netlist makes of the stimulus; return how many states were compared."""
    from approxhw.backends.estimate import simulate_activity

    outputs, _ = simulate_activity(netlist, fed.vectors)
    seen = np.asarray(outputs["state_out"]).astype(np.int64)
    bits = next(len(port.nets) for port in netlist.outputs if port.name == "state_out")
    wrong = fed.plain & (seen != fed.expected)
    nan, flags = 1 << (bits - 1), fed.expected >> (bits - 2)
    # beside a nan the other flag means nothing, either
    wrong |= fed.flags & np.where(flags >= 2, seen & nan == 0, seen >> (bits - 2) != flags)
    checked = int(fed.plain.sum() + fed.flags.sum())
    if wrong.any():
        rows = [
            {"clock": clock, "expected": hex(int(fed.expected[clock])), "seen": hex(int(seen[clock]))}
            for clock in np.flatnonzero(wrong)[:1000].tolist()
        ]
        write_beside(file, json_text({"design": name, "mismatches": int(wrong.sum()), "rows": rows}))
        raise MismatchError(name, int(wrong.sum()), checked, file)
    return checked


def engine_of(design: EngineDesign) -> Engine:
    """Return the engine that *design* describes; raise :class:`OptionError` where nobody could build it."""
    from approxhw.backends.matrix_engine.engine import Engine

    try:
        return record_of(design.engine, Engine)
    except ValueError as error:
        raise OptionError("matrix engine", [Problem("design.json", f"describes no engine ({shown(error)})")]) from error


def engine_parts(engine: Engine) -> list[tuple[str, int, str, str]]:
    """Return (part, how often, Verilog, top) of everything around the elements that is logic."""
    from approxhw.backends.matrix_engine.eight_bit_rtl import decoder_top, decoder_verilog
    from approxhw.backends.matrix_engine.templates import decode_parameters
    from approxhw.backends.systolic.templates import configured

    mac, lag = engine.mac, engine.depth - int(engine.depth > 2)
    bits = engine.columns.bit_length()
    flight = engine.rows * lag + int(engine.depth > 2) + 1
    queue = (flight + engine.columns + 3).bit_length()
    decoder = configured("float_decode", decode_parameters(mac))
    end = {"W": mac.accumulator_bits, "RESULT_BITS": engine.result_bits, "FAST": int(engine.fast)}
    control = {
        "COLUMNS": engine.columns,
        "COLUMN_BITS": bits,
        "ADDRESS_BITS": engine.vectors.bit_length() - 1,
        "QUEUE_BITS": queue,
        "FLIGHT_BITS": max((flight + 1).bit_length(), engine.vectors.bit_length() - 1) + 1,
    }
    before = [
        (f"decoders of 8-bit {port}", engine.rows, decoder_verilog(code), decoder_top())
        for port, code in (("weights", engine.weight_codes), ("activations", engine.activation_codes))
        if code is not None
    ]
    return [
        *before,
        ("decoders", engine.rows, decoder, "float_decode"),
        ("column ends", engine.columns, configured("column_end", end), "column_end"),
        ("control", 1, configured("engine_control", control), "engine_control"),
    ]


def register_bits(engine: Engine) -> dict[str, int]:
    """Return the bits of plain registers and of memories around the elements, by what they are for."""
    from approxhw.backends.matrix_engine.templates import operand_bits, state_bits

    lag = engine.depth - int(engine.depth > 2)
    flight = engine.rows * lag + int(engine.depth > 2) + 1
    address = engine.vectors.bit_length() - 1
    queue = 1 << (flight + engine.columns + 3).bit_length()
    skew = sum(row * lag for row in range(engine.rows)) * (operand_bits(engine.mac) + 1)
    ways = flight * (address + 3) + (engine.columns - 1) * (2 * address + 4)
    coded = [code is not None for code in (engine.weight_codes, engine.activation_codes)]
    behind = sum((engine.word_bits + beside) * there for beside, there in zip((2, 4), coded))
    return {
        **({"words behind 8-bit decoders": behind} if behind else {}),
        "skew of rows": skew,
        "addresses on their way": ways,
        "queue of weights (memory)": engine.word_bits << engine.columns.bit_length(),
        "queues of results (memory)": queue * (engine.columns * engine.result_bits + 1),
        "states between tiles (memory)": engine.vectors * engine.columns * state_bits(engine.mac),
    }


@checked("estimate")
def estimate_engine(
    folder: Path,
    design: EngineDesign,
    library: str | Path | None = None,
    *,
    clock_ns: float | None = None,
    layer: str | None = None,
    timeout: float = 300.0,
    on_progress: Progress | None = None,
) -> EngineEstimate:
    """Return, and keep in ``estimate/``, what the engine in *folder* and one of its elements cost.

    The engine is the sum of its parts: elements at the clock, decoders, column ends and control by the reference recipe,
    registers bit by bit with the library's smallest flip-flop. Memories are counted in bits and are not in the area: they
    are macros in silicon. Power of the rest is static and by uniform vectors.
    """
    from approxhw.backends.estimate import estimate, load_library
    from approxhw.backends.estimate.estimator import BY_TABLES
    from approxhw.backends.estimate.timing.analyse import smallest_register

    refuse_below("estimate", 0, above=True, timeout=timeout)
    started = time.perf_counter()
    tell = on_progress or (lambda step, done, total: None)
    chosen = library or design.library
    cells, engine = load_library(chosen), engine_of(design)
    clock = design.clock_ns if clock_ns is None else clock_ns
    if not (np.isfinite(clock) and clock > 0):
        raise OptionError("estimate", [Problem("clock_ns", f"{clock} is no clock period", "give nanoseconds above 0")])
    pe = element_cost(
        engine.mac,
        engine.depth,
        cells,
        clock,
        real_tile(design, layer),
        timeout=timeout,
        mismatch_file=place_in(folder, "estimate/mismatches.json"),
        on_progress=on_progress,
    )
    count = engine.rows * engine.columns
    rows: list[PartCost] = [
        {
            "part": "elements",
            "count": count,
            "area_um2": count * pe.area_um2,
            "power_mw": count * pe.power_mw,
            "delay_ns": pe.delay_ns,
        }
    ]
    parts, slowest, known = engine_parts(engine), pe.delay_ns, pe.timed_by == BY_TABLES
    for number, (name, often, verilog, top) in enumerate(parts):
        tell("parts of the engine", number, len(parts))
        found = estimate(verilog, top, cells, clock_ns=clock, timeout=timeout)
        slowest, known = max(slowest, found.delay_ns), known and found.timed_by == BY_TABLES
        rows.append(
            {
                "part": name,
                "count": often,
                "area_um2": often * found.area_mm2 * 1e6,
                "power_mw": often * found.known_power_mw(),
                "delay_ns": found.delay_ns,
            }
        )
    tell("parts of the engine", len(parts), len(parts))
    register = smallest_register(cells)
    if register is None:
        raise LibraryError(cells.name, [Problem("registers", "there is no flip-flop, and an engine needs them")])
    memory = 0
    for name, bits in register_bits(engine).items():
        if "memory" in name:
            memory += bits
        else:
            rows.append({"part": name, "count": bits, "area_um2": bits * register.area * 1e6, "power_mw": None})
    told: EngineEstimate = {
        "library": cells.name,
        "clock_ns": clock,
        "estimate_pe": asdict(pe),
        "estimate": {
            "area_mm2": sum(row["area_um2"] for row in rows) * 1e-6,
            "power_mw": sum(row["power_mw"] or 0.0 for row in rows),
            "clock_ns": clock,
            "met": slowest <= clock * (1 + 1e-12) if known else None,
            "kept_clock_ns": max(clock, slowest) if known else None,
            "parts": rows,
            "memory_bits": memory,
            "memories": {k: v for k, v in register_bits(engine).items() if "memory" in k},
            "peak_gmac_per_s": count / max(clock, slowest) if known else None,
        },
        "seconds": time.perf_counter() - started,
    }
    write_beside(place_in(folder, f"estimate/{_file_name(cells.name)}.json"), json_text(told))
    return told


def engine_estimates(folder: Path) -> list[dict[str, Plain]]:
    """Return every estimate of the engine in *folder*, the newest last; raise :class:`InvalidDesignError` for a broken one."""
    from approxhw.backends.estimate.estimator import BY_TABLES

    found = []
    paths = [path for path in (folder / "estimate").glob("*.json") if path.name != "mismatches.json"]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns):
        try:
            told = read_json(path)
            if record_of(told, KeptEngineEstimate).estimate_pe.timed_by != BY_TABLES:
                # also of before it was told: verdicts from one delay a cell were none
                told["estimate_pe"]["met"] = None
                told["estimate"] |= {"met": None, "kept_clock_ns": None, "peak_gmac_per_s": None}
        except (OSError, ValueError) as error:
            why = f"no estimate ({shown(error, 160)})"
            raise InvalidDesignError(str(folder), [Problem(path.name, why, "estimate it again")]) from error
        found.append(told)
    return found


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)[:60] or "library"
