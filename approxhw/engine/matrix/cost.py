"""What a matrix engine costs: an element mapped for its clock and fed with real tiles, and the whole engine from its parts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from approxhw.artifacts.engine import EngineDesign
from approxhw.artifacts.folder import Plain, place_in, record_of
from approxhw.common.arguments import checked, refuse_below
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.engine.array_cost import (
    MISMATCHES,
    ArrayCost,
    LogicPart,
    MemoryPart,
    PartCost,
    array_cost,
    keep_estimate,
    kept_estimates,
)
from approxhw.engine.mapped_element import Progress, checked_clock, map_element, refuse_mismatches
from approxhw.numerics.mac.arithmetic import FloatMac

from .element_feed import Stimulus, stimulus

if TYPE_CHECKING:
    from approxhw.backends.estimate import CellLibrary, Netlist
    from approxhw.backends.matrix_engine.engine import Engine

POSITIONS = 12
"""Elements of the array whose real inputs are streamed through the netlist of one."""

FORMS = (0, 2, 1)
"""Values of FAST, forms of an element's RTL, as a rule by rising area (``element_verilog`` says what they are)."""


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


class EngineEstimate(TypedDict):
    """What an engine and one of its elements, an :class:`ElementCost` as plain types, cost."""

    library: str
    clock_ns: float
    estimate_pe: dict[str, object]
    estimate: ArrayCost
    seconds: float


@dataclass(frozen=True)
class KeptEngineEstimate:
    """What a kept estimate of an engine must tell at least."""

    library: str
    estimate: Mapping[str, object]
    estimate_pe: ElementCost


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

    How, :func:`~approxhw.engine.mapped_element.map_element` says, and what *quick* leaves out; the RTL has three forms.
    Raises :class:`MismatchError` where the netlist differs from the reference; *mismatch_file* is written then.
    """
    from approxhw.backends.estimate import load_library
    from approxhw.backends.estimate.estimator import estimate_netlist
    from approxhw.backends.matrix_engine.templates import element_verilog

    cells = load_library(library)
    name, a, b = tile
    spread = np.linspace(0, a.shape[1] - 1, min(POSITIONS, a.shape[1])).round().astype(int)
    positions = [(int(k), int(number % b.shape[1])) for number, k in enumerate(spread)]
    fed = stimulus(mac, depth, a, b, positions)
    mapped = map_element(
        lambda fast: element_verilog(mac, depth, fast=fast),
        "mac_element",
        cells,
        clock_ns,
        forms=FORMS,
        timeout=timeout,
        quick=quick,
        on_progress=on_progress,
    )
    netlist = mapped.netlist
    checked = _check(netlist, fed, f"netlist of {mac}", mismatch_file)
    told = f"{len(positions)} elements of a tile of layer {shown(name, 60)}"
    found = estimate_netlist(netlist, vectors=fed.vectors, vectors_from=told, clock_ns=clock_ns)
    return ElementCost(
        arithmetic=str(mac),
        depth=depth,
        library=cells.name,
        clock_ns=clock_ns,
        met=mapped.met,
        area_um2=netlist.area() * 1e6,
        delay_ns=mapped.delay_ns,
        power_mw=found.known_power_mw(),
        static_power_mw=found.known_power_mw() - found.dynamic_power_mw,
        dynamic_power_mw=found.dynamic_power_mw,
        cells=found.cells,
        vectors=len(fed.expected),
        checked=checked,
        states_from=told,
        made=mapped.made,
        timed_by=mapped.timed_by,
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
    refuse_mismatches(name, wrong, fed.expected, seen, checked, file, base=16)
    return checked


def engine_of(design: EngineDesign) -> Engine:
    """Return the engine that *design* describes; raise :class:`OptionError` where nobody could build it."""
    from approxhw.backends.matrix_engine.engine import Engine

    try:
        return record_of(design.engine, Engine)
    except ValueError as error:
        raise OptionError("matrix engine", [Problem("design.json", f"describes no engine ({shown(error)})")]) from error


def engine_parts(engine: Engine) -> list[LogicPart]:
    """Return everything around the elements that is logic."""
    from approxhw.backends.matrix_engine.eight_bit_rtl import decoder_top, decoder_verilog
    from approxhw.backends.matrix_engine.templates import decode_parameters
    from approxhw.backends.systolic.templates import configured

    mac, flight = engine.mac, _flight(engine)
    decoder = configured("float_decode", decode_parameters(mac))
    end = {
        "W": mac.accumulator_bits,
        "STEP": mac.headroom,
        "RESULT_BITS": engine.result_bits,
        "FAST": int(engine.fast),
    }
    control = {
        "COLUMNS": engine.columns,
        "COLUMN_BITS": engine.columns.bit_length(),
        "ADDRESS_BITS": engine.vectors.bit_length() - 1,
        "QUEUE_BITS": _queue_bits(engine),
        "FLIGHT_BITS": max((flight + 1).bit_length(), engine.vectors.bit_length() - 1) + 1,
    }
    before = [
        LogicPart(f"decoders of 8-bit {port}", engine.rows, decoder_verilog(code), decoder_top())
        for port, code in (("weights", engine.weight_codes), ("activations", engine.activation_codes))
        if code is not None
    ]
    return [
        *before,
        LogicPart("decoders", engine.rows, decoder, "float_decode"),
        LogicPart("column ends", engine.columns, configured("column_end", end), "column_end"),
        LogicPart("control", 1, configured("engine_control", control), "engine_control"),
    ]


def _lag(engine: Engine) -> int:
    """Return the clocks that a row is behind the row above."""
    return engine.depth - int(engine.depth > 2)


def _flight(engine: Engine) -> int:
    """Return the clocks from a vector's word to its state at the south of column 0."""
    return engine.rows * _lag(engine) + int(engine.depth > 2) + 1


def _queue_bits(engine: Engine) -> int:
    return (_flight(engine) + engine.columns + 3).bit_length()


def register_bits(engine: Engine) -> dict[str, int]:
    """Return the bits of plain registers around the elements, by what they are for."""
    from approxhw.backends.matrix_engine.templates import operand_bits

    lag, flight, address = _lag(engine), _flight(engine), engine.vectors.bit_length() - 1
    skew = sum(row * lag for row in range(engine.rows)) * (operand_bits(engine.mac) + 1)
    ways = flight * (address + 3) + (engine.columns - 1) * (2 * address + 4)
    coded = [code is not None for code in (engine.weight_codes, engine.activation_codes)]
    behind = sum((engine.word_bits + beside) * there for beside, there in zip((2, 4), coded))
    return {
        **({"words behind 8-bit decoders": behind} if behind else {}),
        "skew of rows": skew,
        "addresses on their way": ways,
    }


def engine_memories(engine: Engine) -> list[MemoryPart]:
    """Return the memories around the elements."""
    from approxhw.backends.matrix_engine.templates import state_bits

    queue = 1 << _queue_bits(engine)
    return [
        MemoryPart("queue of weights (memory)", 1, 1 << engine.columns.bit_length(), engine.word_bits),
        MemoryPart("queues of results (memory)", engine.columns, queue, engine.result_bits),
        MemoryPart("queues of results (memory)", 1, queue, 1),  # whether a word is the last of its tile
        MemoryPart("states between tiles (memory)", engine.columns, engine.vectors, state_bits(engine.mac)),
    ]


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
    registers bit by bit with the library's smallest flip-flop. Memories are not in the area: they are macros in silicon, told
    in bits, and as an area of their own where the library has figures of memories. Power of the rest is static and by
    uniform vectors.
    """
    from approxhw.backends.estimate import load_library
    from approxhw.backends.estimate.estimator import BY_TABLES

    refuse_below("estimate", 0, above=True, timeout=timeout)
    started = time.perf_counter()
    tell = on_progress or (lambda step, done, total: None)
    cells, engine = load_library(library or design.library), engine_of(design)
    clock = checked_clock(clock_ns, design.clock_ns)
    pe = element_cost(
        engine.mac,
        engine.depth,
        cells,
        clock,
        real_tile(design, layer),
        timeout=timeout,
        mismatch_file=place_in(folder, MISMATCHES),
        on_progress=on_progress,
    )
    count = engine.rows * engine.columns
    elements: PartCost = {
        "part": "elements",
        "count": count,
        "area_um2": count * pe.area_um2,
        "power_mw": count * pe.power_mw,
        "delay_ns": pe.delay_ns,
    }
    whole = array_cost(
        elements,
        engine_parts(engine),
        register_bits(engine),
        engine_memories(engine),
        cells,
        clock,
        known=pe.timed_by == BY_TABLES,
        timeout=timeout,
        on_progress=tell,
    )
    told: EngineEstimate = {
        "library": cells.name,
        "clock_ns": clock,
        "estimate_pe": asdict(pe),
        "estimate": whole,
        "seconds": time.perf_counter() - started,
    }
    keep_estimate(folder, cells.name, told)
    return told


def engine_estimates(folder: Path) -> list[dict[str, Plain]]:
    """Return every estimate of the engine in *folder*, the newest last; raise :class:`InvalidDesignError` for a broken one."""
    return kept_estimates(folder, _as_kept)


def _as_kept(told: dict[str, Plain]) -> dict[str, Plain]:
    from approxhw.backends.estimate.estimator import BY_TABLES

    timed_by = record_of(told, KeptEngineEstimate).estimate_pe.timed_by
    for key in ("memory_area_um2", "memory_areas_um2", "memory_source"):  # estimates of before told none
        told["estimate"].setdefault(key, None)
    if timed_by != BY_TABLES:
        # also of before it was told: verdicts from one delay a cell were none
        told["estimate_pe"]["met"] = None
        told["estimate"] |= {"met": None, "kept_clock_ns": None, "peak_gmac_per_s": None}
    return told
