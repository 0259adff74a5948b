"""What memories cost in silicon: areas of published SRAM macros, and of flip-flops below the smallest of them."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from approxhw.common.errors import Problem, shown


@dataclass(frozen=True)
class MemoryMacro:
    """A published memory: ``words`` of ``bits``, ``area_um2`` of its whole outline, ``source``: where that stands."""

    words: int
    bits: int
    area_um2: float
    source: str


@dataclass(frozen=True)
class MemoryTable:
    """Areas of memories with a port that writes and another one that reads.

    ``macros``: by bits, ascending, and so are their areas. ``flop_bit_um2``: what a bit takes where a memory is flip-flops, with
    its share of what writes and reads it. ``source``: of all of them.
    """

    macros: tuple[MemoryMacro, ...]
    flop_bit_um2: float
    source: str

    def area_um2(self, words: int, bits: int) -> float:
        """Return the area of a memory of *words* of *bits*.

        Fewer words than any macro has: flip-flops. Else by bits in all, whatever the shape: between two macros on the line
        between them; beyond the largest that one as often as it fits, and the rest; below the smallest that one, or
        flip-flops where they take less.
        """
        size, most = words * bits, self.macros[-1]
        in_flops = size * self.flop_bit_um2
        if words < min(macro.words for macro in self.macros):
            return in_flops
        whole, rest = divmod(size, most.words * most.bits)
        return whole * most.area_um2 + (min(self._interpolated(rest), rest * self.flop_bit_um2) if rest else 0.0)

    def _interpolated(self, size: int) -> float:
        sizes = [macro.words * macro.bits for macro in self.macros]
        place = bisect.bisect_left(sizes, size)
        above = self.macros[place].area_um2
        if not place:
            return above
        below, share = self.macros[place - 1].area_um2, (size - sizes[place - 1]) / (sizes[place] - sizes[place - 1])
        return below + share * (above - below)


def memory_table(content: object, problems: list[Problem]) -> MemoryTable | None:
    """Return the table ``[memories]`` of a library's TOML file, None where there is none; what is wrong goes to *problems*."""
    if content is None:
        return None
    before, where = len(problems), "memories"
    if not isinstance(content, dict):
        problems.append(Problem(where, "not a table"))
        return None
    flop = _above_zero(content, "flop_bit_um2", where, problems)
    if not isinstance(content.get("source"), str):
        problems.append(Problem(where, "no text `source`"))
    listed = content.get("macros")
    if not isinstance(listed, list) or not listed:
        problems.append(Problem(where, "no [[memories.macros]]"))
        listed = []
    macros = []
    for number, entry in enumerate(listed):
        place = f"{where}.macros {number}"
        if not isinstance(entry, dict):
            problems.append(Problem(place, "not a table"))
            continue
        if not isinstance(entry.get("source"), str):
            problems.append(Problem(place, "no text `source` that names where its area comes from"))
        words, bits, area = (_above_zero(entry, key, place, problems) for key in ("words", "bits", "area_um2"))
        if words != int(words) or bits != int(bits):
            problems.append(Problem(place, f"{shown(words)} words of {shown(bits)} bits are no whole numbers"))
        macros.append(MemoryMacro(int(words), int(bits), area, str(entry.get("source"))))
    sizes = [(macro.words * macro.bits, macro.area_um2) for macro in macros]
    if any(not (a[0] < b[0] and a[1] < b[1]) for a, b in pairwise(sizes)):
        problems.append(Problem(where, "macros do not stand by bits and area, ascending"))
    if len(problems) > before:
        return None
    return MemoryTable(tuple(macros), flop, content["source"])


def _above_zero(entry: Mapping[str, object], key: str, where: str, problems: list[Problem]) -> float:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        problems.append(Problem(where, f"`{key}` is not a finite number above 0"))
        return 1.0
    return float(value)
