"""An element of an array as a netlist: the smallest circuit that keeps a clock, and whether it does what the reference does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.folder import json_text
from approxhw.common.errors import MismatchError, OptionError, Problem
from approxhw.common.files import write_beside

if TYPE_CHECKING:
    from approxhw.backends.estimate import CellLibrary, Netlist

Progress = Callable[[str, int, int], None]
"""Called with a step's name, how many of its parts are done, and how many there are."""


@dataclass(frozen=True, eq=False)
class MappedElement:
    """A netlist and its longest path, register to register.

    ``met``: whether the clock that it was mapped for is kept; None where that cannot be known, for want of delay tables.
    ``made``: recipe, adders and script of the synthesis. ``timed_by``: ``delay tables``, or ``one delay a cell``.
    """

    netlist: Netlist
    delay_ns: float
    met: bool | None
    made: str
    timed_by: str


def map_element(
    verilog: Callable[[int], str],
    top: str,
    cells: CellLibrary,
    clock_ns: float,
    *,
    forms: Sequence[int] = (),
    timeout: float = 300.0,
    quick: bool = False,
    on_progress: Progress | None = None,
) -> MappedElement:
    """Return the smallest circuit of an element that keeps *clock_ns*, or the fastest where none does.

    *verilog*: its text by form; ``forms``: values of the parameter FAST, by rising area as a rule; none: there is one form, 0.
    With delay tables in the library the smallest circuit is looked for (``clock_sweep``), over all forms; where every cell has
    one size there is little to look for, and the reference recipe is asked first, form by form. It alone maps where there
    are no tables, and, in its first form, where it has to be *quick*.
    """
    from approxhw.backends.estimate import Surroundings, analyse, sweep, synthesise
    from approxhw.backends.estimate.estimator import BY_TABLES, ONE_DELAY
    from approxhw.backends.estimate.timing.sizing import cell_sizes

    around = Surroundings(clocked_inputs=True)  # elements stand among elements
    made, netlist, timing = "reference recipe", None, None
    if quick or cells.without_tables() or all(len(sizes) == 1 for sizes in cell_sizes(cells).values()):
        tried = forms or (0,)
        for fast in tried[:1] if quick or cells.without_tables() else tried:  # the smallest form first
            netlist = synthesise(verilog(fast), top, cells, timeout=timeout)
            timing = analyse(netlist, around)
            made = f"reference recipe, FAST = {fast}" if fast else "reference recipe"
            if timing.met(clock_ns * 1e3) is not False:
                break
    if netlist is None or timing is None or (timing.met(clock_ns * 1e3) is False and not quick):
        (point,) = sweep(
            verilog(0),
            top,
            cells,
            [clock_ns * 1e3],
            variants=[{"FAST": fast} for fast in sorted(forms)] or [{}],
            timeout=timeout,
            around=around,
            on_progress=on_progress,
        )
        netlist, timing = point.netlist, analyse(point.netlist, around)
        form = f", FAST = {point.variant.get('FAST', 0)}" if forms else ""
        made = f"{point.adders} adders, script {point.script}{form}"
    timed_by = ONE_DELAY if timing.without_tables else BY_TABLES
    return MappedElement(netlist, timing.delay_ps * 1e-3, timing.met(clock_ns * 1e3), made, timed_by)


def checked_clock(asked: float | None, own: float) -> float:
    """Return the clock period that is *asked* for, in ns, else the design's *own*; raise :class:`OptionError` for none."""
    clock = own if asked is None else asked
    if not (np.isfinite(clock) and clock > 0):
        raise OptionError("estimate", [Problem("clock_ns", f"{clock} is no clock period", "give nanoseconds above 0")])
    return clock


def refuse_mismatches(
    name: str, wrong: np.ndarray, expected: np.ndarray, seen: np.ndarray, checked: int, file: Path, base: int = 10
) -> None:
    """Raise :class:`MismatchError` where anything is *wrong*, a flag a clock, and write the first thousand to *file*.

    *checked*: how many clocks were compared. ``base``: 16 for words that people read by their fields.
    """
    if not wrong.any():
        return
    spelled: Callable[[int], object] = hex if base == 16 else int
    rows = [
        {"clock": clock, "expected": spelled(int(expected[clock])), "seen": spelled(int(seen[clock]))}
        for clock in np.flatnonzero(wrong)[:1000].tolist()
    ]
    write_beside(file, json_text({"design": name, "mismatches": int(wrong.sum()), "rows": rows}))
    raise MismatchError(name, int(wrong.sum()), checked, file)
