"""What an array costs from its parts, memories told apart, and estimates as they are kept in a folder and read again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict, TypeVar

from approxhw.artifacts.folder import Plain, json_text, place_in, read_json
from approxhw.common.errors import InvalidDesignError, LibraryError, Problem, shown
from approxhw.common.files import write_beside

from .mapped_element import Progress

if TYPE_CHECKING:
    from approxhw.backends.estimate import CellLibrary, Netlist

MISMATCHES = "estimate/mismatches.json"
"""Where an element's netlist that differs from the reference is told."""

Kept = TypeVar("Kept")
Number = TypeVar("Number", int, float)


class PartCost(TypedDict):
    """What all parts of one kind cost together; registers have no power here."""

    part: str
    count: int
    area_um2: float
    power_mw: float | None
    delay_ns: NotRequired[float]


class ArrayCost(TypedDict):
    """The sum of the parts; ``memories``, in bits, are not in it, nor is their area.

    ``met``: whether all parts keep the clock, ``kept_clock_ns``: the shortest that they keep, the one asked for at least,
    and ``peak_gmac_per_s`` at that; None, all three, where the library has no delay tables. ``memory_area_um2``: of all memories,
    ``memory_areas_um2``: of each kind, ``memory_source``: whose figures; None, all three, where the library has none.
    """

    area_mm2: float
    power_mw: float
    clock_ns: float
    met: bool | None
    kept_clock_ns: float | None
    parts: list[PartCost]
    memory_bits: int
    memories: dict[str, int]
    memory_area_um2: float | None
    memory_areas_um2: dict[str, float] | None
    memory_source: str | None
    peak_gmac_per_s: float | None


@dataclass(frozen=True)
class LogicPart:
    """Logic around the elements: ``count`` times the module ``top`` of ``verilog``."""

    part: str
    count: int
    verilog: str
    top: str


@dataclass(frozen=True)
class MemoryPart:
    """``count`` memories of ``words`` of ``width`` bits; each is written and read by itself."""

    part: str
    count: int
    words: int
    width: int

    @property
    def bits(self) -> int:
        """Bits of all of them."""
        return self.count * self.words * self.width


def array_cost(
    elements: PartCost,
    parts: Sequence[LogicPart],
    registers: dict[str, int],
    memories: Sequence[MemoryPart],
    cells: CellLibrary,
    clock_ns: float,
    *,
    known: bool,
    timeout: float,
    on_progress: Progress,
    mapped: Mapping[str, Netlist] | None = None,
) -> ArrayCost:
    """Return what an array of *elements*, measured already, costs with all around them.

    *parts* are mapped by the reference recipe, but for those in *mapped*, by name; power over uniform vectors. *registers* (bits
    by what they are for) take the smallest flip-flop each. *known*: whether the elements' delay is by delay tables. Raises
    :class:`LibraryError` for a library without a flip-flop.
    """
    from approxhw.backends.estimate import estimate_netlist, synthesise
    from approxhw.backends.estimate.estimator import BY_TABLES
    from approxhw.backends.estimate.timing.analyse import smallest_register

    rows, slowest = [elements], elements["delay_ns"]
    for number, part in enumerate(parts):
        on_progress("parts of the engine", number, len(parts))
        netlist = (mapped or {}).get(part.part) or synthesise(part.verilog, part.top, cells, timeout=timeout)
        found = estimate_netlist(netlist, clock_ns=clock_ns)
        slowest, known = max(slowest, found.delay_ns), known and found.timed_by == BY_TABLES
        rows.append(
            {
                "part": part.part,
                "count": part.count,
                "area_um2": part.count * found.area_mm2 * 1e6,
                "power_mw": part.count * found.known_power_mw(),
                "delay_ns": found.delay_ns,
            }
        )
    on_progress("parts of the engine", len(parts), len(parts))
    register = smallest_register(cells)
    if register is None:
        raise LibraryError(cells.name, [Problem("registers", "there is no flip-flop, and an engine needs them")])
    rows += [
        {"part": name, "count": bits, "area_um2": bits * register.area * 1e6, "power_mw": None}
        for name, bits in registers.items()
    ]
    areas = memory_areas(memories, cells)
    return {
        "area_mm2": sum(row["area_um2"] for row in rows) * 1e-6,
        "power_mw": sum(row["power_mw"] or 0.0 for row in rows),
        "clock_ns": clock_ns,
        "met": slowest <= clock_ns * (1 + 1e-12) if known else None,
        "kept_clock_ns": max(clock_ns, slowest) if known else None,
        "parts": rows,
        "memory_bits": sum(memory.bits for memory in memories),
        "memories": _by_part(memories, lambda memory: memory.bits),
        "memory_area_um2": None if areas is None else sum(areas.values()),
        "memory_areas_um2": areas,
        "memory_source": None if cells.memories is None else cells.memories.source,
        "peak_gmac_per_s": elements["count"] / max(clock_ns, slowest) if known else None,
    }


def memory_areas(memories: Sequence[MemoryPart], cells: CellLibrary) -> dict[str, float] | None:
    """Return what *memories* take in µm², by what they are for; None where *cells* come without figures of memories."""
    table = cells.memories
    if table is None:
        return None
    return _by_part(memories, lambda memory: memory.count * table.area_um2(memory.words, memory.width))


def _by_part(memories: Sequence[MemoryPart], figure: Callable[[MemoryPart], Number]) -> dict[str, Number]:
    found: dict[str, Number] = {}
    for memory in memories:
        found[memory.part] = found[memory.part] + figure(memory) if memory.part in found else figure(memory)
    return found


def keep_estimate(folder: Path, library: str, told: object) -> None:
    """Write an estimate into *folder*, one file a library; what stood there before gives way."""
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in library)[:60] or "library"
    write_beside(place_in(folder, f"estimate/{name}.json"), json_text(told))


def kept_estimates(folder: Path, read: Callable[[dict[str, Plain]], Kept]) -> list[Kept]:
    """Return what *read* makes of every estimate in *folder*, the newest last.

    Raises :class:`InvalidDesignError` for one that is broken, or that *read* refuses by a ``ValueError``.
    """
    found = []
    paths = [path for path in (folder / "estimate").glob("*.json") if path.name != Path(MISMATCHES).name]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns):
        try:
            found.append(read(read_json(path)))
        except (OSError, ValueError) as error:
            why = f"no estimate ({shown(error, 160)})"
            raise InvalidDesignError(str(folder), [Problem(path.name, why, "estimate it again")]) from error
    return found
