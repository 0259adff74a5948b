"""Cell libraries: what a cell computes, its area, power by state, capacitances and delay, in fixed units."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from approxhw.common.errors import LibraryError, Problem, shown

from . import logic
from .delay_tables import Arc, CellTiming, WireLoad, constant
from .memories import MemoryTable

MAX_INPUTS = 6
MAX_NAME = 200
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


@dataclass(frozen=True)
class FlipFlop:
    """How a flop stores: on the ``rising`` (else falling) edge of pin ``clock``, the value of ``data``.

    ``clear`` and ``preset`` are conditions that hold it at 0 and at 1 whatever the clock does, or None. ``state``: the
    name of the stored value in output functions; ``inverse`` the name of its complement.
    """

    clock: str
    rising: bool
    data: logic.Expression
    clear: logic.Expression | None = None
    preset: logic.Expression | None = None
    state: str = "IQ"
    inverse: str = "IQN"


@dataclass(frozen=True)
class Cell:
    """One library cell.

    ``area`` in mm². ``functions``: output pin → what it carries. ``capacitances``: input pin → farad.
    ``powers``: state → static power in µW; a state is the text of the values of ``state_pins`` (inputs in order; for
    a flop its inputs but the clock, which rests low, and then its stored value). ``delays``: output pin → (rise, fall)
    in ms. ``flip_flop`` is None for combinational cells. ``timing``: delay tables, None where the library has one delay
    per output and no more. ``title``: what its library calls it, where that is no plain name for tools.
    """

    name: str
    area: float
    inputs: tuple[str, ...]
    functions: Mapping[str, logic.Expression]
    capacitances: Mapping[str, float]
    powers: Mapping[str, float]
    delays: Mapping[str, tuple[float, float]]
    flip_flop: FlipFlop | None = None
    timing: CellTiming | None = None
    title: str = ""

    @property
    def state_pins(self) -> tuple[str, ...]:
        """Return the names whose values make up a state, most significant first."""
        if self.flip_flop is None:
            return self.inputs
        return (*(pin for pin in self.inputs if pin != self.flip_flop.clock), self.flip_flop.state)

    @functools.cached_property
    def function_text(self) -> dict[str, str]:
        """Return output pin → its function, spelled with ``!``, ``*``, ``+`` and brackets only."""
        return {pin: spell_expression(function) for pin, function in self.functions.items()}


@dataclass(frozen=True)
class CellLibrary:
    """Cells and what they run at.

    ``voltage`` in V. ``frequency``: vectors per second where the caller names none. ``delay_point`` says under which
    slew and load the delays were measured. ``tie``: name of the cell that makes constants, or "" where a constant is a
    wire to a rail and costs nothing. ``source``: where the figures come from. ``most_fanout``: pins that an output may
    drive, where the library sets a limit. ``wires``: what wires add to loads and delays, by the pins they lead to; None
    where the library counts none.
    ``left_out``: cells that nothing is mapped to, and why; ``left_out_areas`` those of
    them whose area (mm²) is known, such as memories. ``file``: the path that it was asked for by, empty for one with a name.
    ``memories``: areas of memories made for these cells; None where nobody has said any.
    """

    name: str
    title: str
    voltage: float
    frequency: float
    cells: Mapping[str, Cell]
    delay_point: str = ""
    tie: str = ""
    source: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    left_out_areas: Mapping[str, float] = field(default_factory=dict)
    file: str = ""
    most_fanout: float | None = None
    wires: WireLoad | None = None
    memories: MemoryTable | None = None

    def without_tables(self, names: Iterable[str] | None = None) -> tuple[str, ...]:
        """Return the cells of *names* (all, by default) that have one delay whatever drives them and whatever they drive.

        A constant has no delay, and is none of them. Where there is any, no clock can be said to be kept or missed.
        """
        asked = self.cells if names is None else set(names)
        timed = (self.cells[name] for name in asked if self.cells[name].inputs)
        return tuple(sorted(cell.name for cell in timed if cell.timing is None or not cell.timing.tabulated))

    @functools.cached_property
    def inverter(self) -> Cell:
        """Return the smallest inverter; raises :class:`LibraryError` where there is none."""
        found = self._smallest(lambda pins: ~int(logic.columns(pins)[0][pins[0]]) & 3)
        if found is None:
            told = "".join(f"; left out is {shown(name, 40)}: {why}" for name, why in [*self.left_out.items()][:3])
            raise LibraryError(self.name, [Problem("cells", f"the library has no inverter{told}", "add one to it")])
        return found

    @functools.cached_property
    def buffer(self) -> Cell | None:
        """Return the smallest buffer, or None (a buffer is then counted as two inverters)."""
        return self._smallest(lambda pins: logic.columns(pins)[0][pins[0]])

    def _smallest(self, wanted: Callable[[Sequence[str]], int]) -> Cell | None:
        found = [
            cell
            for cell in self.cells.values()
            if cell.flip_flop is None
            and len(cell.inputs) == 1
            and len(cell.functions) == 1
            and logic.table(next(iter(cell.functions.values())), cell.inputs) == wanted(cell.inputs)
        ]
        return min(found, key=lambda cell: (cell.area, cell.name), default=None)


_KEYWORDS = """
always and assign begin buf bufif0 bufif1 case casex casez cell cmos config deassign default defparam design disable edge else
end endcase endconfig endfunction endgenerate endmodule endprimitive endspecify endtable endtask event for force forever fork
function generate genvar highz0 highz1 if ifnone include initial inout input instance integer join large liblist library
localparam macromodule medium module nand negedge nmos nor not notif0 notif1 or output parameter pmos posedge primitive pull0
pull1 pulldown pullup real realtime reg release repeat scalared signed small specify specparam strong0 strong1 supply0 supply1
table task time tran tri tri0 tri1 triand trior trireg unsigned use vectored wait wand weak0 weak1 while wire wor xnor xor
"""
KEYWORDS = frozenset(_KEYWORDS.split())
"""Words of Verilog-2005, which no cell may be called by in a netlist."""


def plain_cell_name(title: str, taken: Collection[str]) -> str:
    """Return a name for the cell that its library calls *title*: that itself, or one that Yosys, ABC and Verilog take.

    Names that hold blanks or what cannot be printed are left as they are, for :func:`check_cell` to refuse.
    """
    odd = title in KEYWORDS or not IDENTIFIER.fullmatch(title) or title.startswith("_")
    if not odd or not title or not title.isprintable() or any(map(str.isspace, title)) or len(title) > MAX_NAME:
        return title
    start = name = f"cell_{re.sub('[^A-Za-z0-9_]', '_', title)[:80]}"
    number = 1
    while name in taken:
        number += 1
        name = f"{start}_{number}"
    return name


def spell_expression(expression: logic.Expression) -> str:
    """Return *expression* as text that genlib, Liberty and Verilog-to-be readers agree on."""
    if expression.kind == "pin":
        return expression.name
    if expression.kind in ("zero", "one"):
        return "CONST1" if expression.kind == "one" else "CONST0"
    if expression.kind == "not":
        return f"!{spell_expression(expression.operands[0])}"
    left, right = (spell_expression(operand) for operand in expression.operands)
    if expression.kind == "xor":
        return f"(({left}*!{right})+(!{left}*{right}))"
    return f"({left}{'*' if expression.kind == 'and' else '+'}{right})"


def check_cell(cell: Cell) -> list[Problem]:
    """Return what makes *cell* unusable: names that are no identifiers, pins nobody knows, states of a wrong length."""
    where, problems = f"cell {shown(cell.name)}", []
    for name in (cell.name, *cell.inputs, *cell.functions):
        if not IDENTIFIER.fullmatch(name):
            problems.append(Problem(where, f"{shown(name)} is not an identifier of letters, digits and _"))
    known = set(cell.inputs)
    flop = cell.flip_flop
    if flop is not None:
        reads = [e for e in (flop.data, flop.clear, flop.preset) if e is not None]
        known |= {flop.state, flop.inverse}
        unknown = {flop.clock}.union(*(e.pins() for e in reads)) - known
    else:
        unknown = set()
    unknown |= set().union(*(f.pins() for f in cell.functions.values())) - known if cell.functions else set()
    problems += [
        Problem(where, f"reads {shown(pin)}, which is no input pin with a capacitance") for pin in sorted(unknown)
    ]
    if len(cell.inputs) > MAX_INPUTS:
        problems.append(Problem(where, f"{len(cell.inputs)} inputs; at most {MAX_INPUTS} are handled"))
    length = len(cell.state_pins)
    for state in cell.powers:
        if len(state) != length or set(state) - {"0", "1"}:
            problems.append(Problem(where, f"power state {shown(state)!r} is not {length} digits of 0 and 1"))
    return problems


def timing_of(cell: Cell) -> CellTiming:
    """Return the cell's tables, or what its one delay per output makes of them: no slew, no load, no set-up."""
    if cell.timing is not None:
        return cell.timing
    arcs = []
    for output, function in cell.functions.items():
        rise, fall = cell.delays[output]
        delays, slews = (constant(rise), constant(fall)), (constant(0.0), constant(0.0))
        if cell.flip_flop is not None:
            arcs.append(Arc(cell.flip_flop.clock, output, True, True, delays, slews))
            continue
        for pin in cell.inputs:
            raises, lowers = logic.unateness(function, cell.inputs, pin)
            if raises or lowers:
                arcs.append(Arc(pin, output, raises, lowers, delays, slews))
    return CellTiming(tuple(arcs), capacitances={pin: (c, c) for pin, c in cell.capacitances.items()})
