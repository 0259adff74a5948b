"""Activation unit → a Verilog module of its own, ``y`` of ``x``."""

from __future__ import annotations

import numpy as np

from approxhw.backends.bespoke.circuit import Circuit, InputPort
from approxhw.backends.bespoke.emit import Emitted, emit
from approxhw.backends.cells.blocks import Block, Word, prune
from approxhw.backends.cells.units import unit_cells
from approxhw.common.errors import OptionError, Problem
from approxhw.numerics.functions.units import ActivationUnit, unit_faults, unit_values


def unit_module(unit: ActivationUnit, name: str = "activation") -> Emitted:
    """Return *unit* as Verilog: a module *name* that makes ``y`` (``out_bits``) of ``x`` (``bits``), and the templates in it.

    A bit of ``x`` that nothing depends on is no part of the port: ``input_bits`` tells. Raises :class:`OptionError` for what
    is no unit.
    """
    if faults := unit_faults(unit):
        raise OptionError("activation unit", [Problem(name, why) for why in faults])
    cells, y = unit_cells(unit, tuple(("x", i) for i in range(unit.bits)), "")
    values = unit_values(unit)
    block = Block(f"{name}_unit", [f"a {unit.kind} of {unit.bits}-bit codes"], cells)
    seen = block.leave("y", Word(int(values.min()), int(values.max()), y))
    blocks, read = prune([block], seen.bits)
    inputs = (InputPort("x", 0, read["x"]),) if "x" in read else ()
    return emit(Circuit(name, tuple(blocks), inputs, (("y", seen.bits),), read))


def unit_vectors(emitted: Emitted, codes: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the ports of a module of :func:`unit_module` carry for *codes*: patterns of the bits that are read (int64)."""
    found: dict[str, np.ndarray] = {}
    for port, bits in emitted.input_bits:
        parts = [(np.asarray(codes, dtype=np.int64) >> bit & 1) << place for place, bit in enumerate(bits)]
        found[port] = np.sum(parts, axis=0)
    return found
