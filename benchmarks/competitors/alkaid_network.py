"""A network of constant integer matrices as Verilog by alkaid: traced, its matrices factored into adders, written out."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np

from .constant_network import Generated, Network, of_solution

NAME = "alkaid"
MISSING = "alkaid is not installed (pip install 'approxhw[benchmark]')"


def available() -> bool:
    """Whether alkaid can be imported; makes it use one thread when it is loaded after this."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return importlib.util.find_spec("alkaid") is not None


def generate(network: Network) -> Generated:
    """Return the circuit of *network*: no pipeline, no limit of depth, its solver's defaults, which look for fewest adders."""
    from alkaid.codegen import rtl
    from alkaid.trace import FVArray, trace

    nothing = np.zeros(network.features, dtype=np.int64)
    codes = value = FVArray.from_kif(nothing, nothing + network.bits, nothing)
    for number, (weights, biases) in enumerate(network.layers):
        value = (value.relu() if number else value) @ weights.astype(np.float64) + biases.astype(np.float64)
    solution = trace(codes, value)
    text = rtl.verilog_comb_logic_gen(solution, "network")
    sources = Path(str(rtl.__file__)).parent / "verilog" / "source"
    return of_solution(text, sources, np.asarray(solution.inp_kifs), np.asarray(solution.out_kifs))
