"""Ten mapped netlists, printed circuits and parts of engines, take in OpenSTA what our analysis says they take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from opensta import opensta_delay

from approxhw.backends.bespoke.circuit import build_circuit
from approxhw.backends.bespoke.emit import emit
from approxhw.backends.estimate import Surroundings, analyse, load_library, synthesise
from approxhw.backends.matrix_engine.templates import decode_parameters, element_verilog
from approxhw.backends.systolic.templates import configured
from approxhw.common.tools import Tool
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import ArgMax, Dense, Input, Type
from approxhw.ir.rewriting import code_constant, fit_formats
from approxhw.numerics.formats import Encoding, Fixed
from approxhw.numerics.mac.arithmetic import Exact
from approxhw.numerics.mac.float_mac import FloatMac

SLEW_PS, LOAD_FF = 10.0, 2.302
AROUND = Surroundings(input_slew=SLEW_PS, output_load=LOAD_FF)
SMALL = FloatMac("e4m3", 16, "an-1-2")


def printed(features: int, bits: int, classes: int, *, registers: bool = False) -> tuple[str, str]:
    """Return the Verilog of a linear classifier with weights that follow no pattern, and its top."""
    names = tuple(f"f{i}" for i in range(features))
    encoding = Encoding(bits, "round", (0.0,) * features, (1.0,) * features)
    weights = [[(7 * i + 5 * o + i * o) % 15 - 7 for i in range(features)] for o in range(classes)]
    wide = Fixed(4096, True)
    nodes = [
        Node("x", Input(names, names, encoding), (), Type((features,), Fixed(bits))),
        code_constant("w", np.array(weights, dtype=object)),
        code_constant("b", np.array([3 * o - 4 for o in range(classes)], dtype=object)),
        Node("sum", Dense(Exact(4)), ("x", "w", "b"), Type((classes,), wide)),
        Node("class_index", ArgMax(), ("sum",), Type((), Fixed((classes - 1).bit_length()))),
    ]
    made = emit(build_circuit(fit_formats(Graph("linear", tuple(nodes), "class_index"))), registers=registers)
    return made.verilog, made.top


CIRCUITS: dict[str, tuple[str, Callable[[], tuple[str, str]]]] = {
    "printed, two classes": ("sky130", lambda: printed(5, 3, 2)),
    "printed, three classes": ("sky130", lambda: printed(4, 4, 3)),
    "printed, registered": ("sky130", lambda: printed(4, 3, 3, registers=True)),
    "printed, of one bit": ("sky130", lambda: printed(9, 1, 4, registers=True)),
    "printed, in printed cells": ("egfet", lambda: printed(4, 3, 3)),
    "printed, registered, in printed cells": ("egfet", lambda: printed(3, 3, 2, registers=True)),
    "element of one stage": ("sky130", lambda: (element_verilog(SMALL, 1), "mac_element")),
    "element of three stages": ("sky130", lambda: (element_verilog(SMALL, 3), "mac_element")),
    "decoder of operands": ("sky130", lambda: (configured("float_decode", decode_parameters(SMALL)), "float_decode")),
    "end of a column": ("sky130", lambda: (configured("column_end", {"W": 16, "RESULT_BITS": 32, "FAST": 0}), "column_end")),
}  # fmt: skip


@pytest.mark.parametrize("name", CIRCUITS)
def test_opensta_says_the_same(name: str, opensta: Tool, tmp_path: Path) -> None:
    library, made = CIRCUITS[name]
    netlist = synthesise(*made(), library)
    assert len(netlist.instances) > 20, "nothing worth timing"
    ours = analyse(netlist, AROUND).delay_ps
    asked = {"slew_ps": SLEW_PS, "load_ff": LOAD_FF, "period_ps": 2 * ours}
    theirs = opensta_delay(opensta, netlist, tmp_path, **asked)
    assert ours == pytest.approx(theirs, rel=0.05)
    if load_library(library).wires is None:
        return
    # and what wires take is counted in both
    bare = analyse(netlist, replace(AROUND, wires=False)).delay_ps
    assert bare < ours
    unwired = replace(netlist, library=replace(netlist.library, wires=None))
    without = opensta_delay(opensta, unwired, tmp_path, **asked)
    assert bare == pytest.approx(without, rel=0.005)
