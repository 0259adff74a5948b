"""Synthesis recipes: the ruler, and others that are tried beside it where the smallest circuit is wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from approxhw.backends.estimate.library import logic
from approxhw.backends.estimate.library.cells import Cell, CellLibrary

from .soundness import CHECK, LOOPS, OUTPUTS, PROCESSES

# The front end of every recipe. `-norom` and `memory`: case tables and arrays become gates and registers, not macros;
# `tribuf`: a driver that lets go stays one, to be refused, and is not optimised as if it were a don't-care;
# `simplemap`: the last `opt` may share gates behind a new word-wide multiplexer. `delete`: what prints or asserts is no
# hardware, and would be kept with all that it looks at.
# The first check comes before anything folds a loop away.
_ELABORATION = f"""{PROCESSES}
{LOOPS}
opt_expr -keepdc
{{flatten}}
{CHECK}
"""
_DEFINITION = f"""{OUTPUTS}
setundef -undriven -zero
"""
FRONT = f"""{_ELABORATION}tribuf
memory
opt -full
wreduce
alumacc
share
opt -full
techmap
opt -full
simplemap t:$mux
{_DEFINITION}"""
# No sharing and no search for equal words: two thirds of the time that large circuits take.
_QUICK_FRONT = f"""{_ELABORATION}tribuf
memory
opt_clean
techmap
opt -fast
simplemap t:$mux
{_DEFINITION}"""
_RESYNTHESIS = (
    "strash;ifraig;balance;rewrite;refactor;balance;rewrite;rewrite,-z;balance;refactor,-z;rewrite,-z;balance"
)
_MAP = "dch;map,-a,-B,0.9;topo"
# ABC's own compress2rs: resubstitution with ever larger cuts.
_RESUBSTITUTION = (
    "balance,-l;resub,-K,6,-l;rewrite,-l;resub,-K,6,-N,2,-l;refactor,-l;resub,-K,8,-l;balance,-l;resub,-K,8,-N,2,-l;"
    "rewrite,-l;resub,-K,10,-l;rewrite,-z,-l;resub,-K,10,-N,2,-l;balance,-l;resub,-K,12,-l;refactor,-z,-l;"
    "resub,-K,12,-N,2,-l;rewrite,-z,-l;balance,-l"
)
XOR, XNOR = "approxhw_xor", "approxhw_xnor"


@dataclass(frozen=True)
class Recipe:
    """One way from Verilog to cells: a script for Yosys, one for ABC, and whether exclusive-ors may be of shared NAND gates.

    ABC prices a cell alone. Where four NANDs are cheaper than the library's exclusive-or, one of them is the NAND that
    a carry needs anyway: so such a gate is offered to ABC for less, built of NANDs afterwards, and equal NANDs are
    merged. A full adder then takes nine NANDs.
    """

    name: str
    abc: str
    share_nands: bool = False
    front: str = FRONT


REFERENCE = Recipe("reference", f"{_RESYNTHESIS};{_MAP}")
QUICK = Recipe("quick", "strash;balance;map,-a,-B,0.9;topo", front=_QUICK_FRONT)
"""For those who ask whether a netlist is right, not how small it is; no ruler."""

RECIPES: dict[str, tuple[Recipe, ...]] = {
    "reference": (REFERENCE,),
    "smallest": (
        REFERENCE,
        Recipe("shared NANDs", f"{_RESYNTHESIS};{_MAP}", share_nands=True),
        Recipe("shared NANDs, resubstitution", f"{_RESYNTHESIS};{_RESUBSTITUTION};{_MAP}", share_nands=True),
    ),
}


@dataclass(frozen=True)
class SharedGates:
    """Stand-in gates for ABC, and the two techmap files that build them of cells which are merged in between."""

    genlib: tuple[str, ...]
    expand: str
    restore: str


def shared_gates(library: CellLibrary) -> SharedGates | None:
    """Return stand-ins for exclusive-ors built of NANDs, or None where the library's own cells are cheaper."""
    nand, either = _smallest(library, lambda a, b: ~(a & b)), _smallest(library, lambda a, b: a | b)
    xor, xnor = _smallest(library, lambda a, b: a ^ b), _smallest(library, lambda a, b: ~(a ^ b))
    unit = library.inverter.area or 1.0
    if nand is None or (xor is not None and xor.area <= 4 * nand.area):
        return None
    gates = [f"GATE {XOR} {3.2 * nand.area / unit:.9g} Y=((A*!B)+(!A*B)); PIN * UNKNOWN 1 999 1 0 1 0"]
    expand = [
        f"module {XOR}(input A, input B, output Y); wire n, p, q; \\$_NAND_ u0(.A(A), .B(B), .Y(n));",
        "\\$_NAND_ u1(.A(A), .B(n), .Y(p)); \\$_NAND_ u2(.A(n), .B(B), .Y(q));",
        "\\$_NAND_ u3(.A(p), .B(q), .Y(Y)); endmodule",
        _as_gate(nand, "NAND"),
    ]
    restore = [_as_cell("NAND", nand)]
    if either is not None and (xnor is None or 2 * nand.area + either.area < xnor.area):
        price = 0.85 * (2 * nand.area + either.area) / unit
        gates.append(f"GATE {XNOR} {price:.9g} Y=((A*B)+(!A*!B)); PIN * UNKNOWN 1 999 1 0 1 0")
        expand += [
            f"module {XNOR}(input A, input B, output Y); wire n, o; \\$_NAND_ u0(.A(A), .B(B), .Y(n));",
            "\\$_OR_ u1(.A(A), .B(B), .Y(o)); \\$_NAND_ u2(.A(n), .B(o), .Y(Y)); endmodule",
            _as_gate(either, "OR"),
        ]
        restore.append(_as_cell("OR", either))
    return SharedGates(tuple(gates), "\n".join(expand) + "\n", "\n".join(restore) + "\n")


def _as_gate(cell: Cell, gate: str) -> str:
    (first, second), (output,) = cell.inputs, cell.functions
    ports = f"input {first}, input {second}, output {output}"
    return f"module {cell.name}({ports}); \\$_{gate}_ u0(.A({first}), .B({second}), .Y({output})); endmodule"


def _as_cell(gate: str, cell: Cell) -> str:
    (first, second), (output,) = cell.inputs, cell.functions
    return (
        f"module \\$_{gate}_ (input A, input B, output Y); "
        f"{cell.name} u0(.{first}(A), .{second}(B), .{output}(Y)); endmodule"
    )


def _smallest(library: CellLibrary, function: Callable[[int, int], int]) -> Cell | None:
    """Return the smallest cell of two inputs and one output that computes *function*, which works on masks."""
    found = []
    for cell in library.cells.values():
        if cell.flip_flop is None and len(cell.inputs) == 2 and len(cell.functions) == 1:
            masks, full = logic.columns(cell.inputs)
            wanted = function(*(masks[pin] for pin in cell.inputs)) & full
            if logic.table(next(iter(cell.functions.values())), cell.inputs) == wanted:
                found.append(cell)
    return min(found, key=lambda cell: (cell.area, cell.name), default=None)
