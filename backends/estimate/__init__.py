"""Area, power and delay of any Verilog on a cell library, and the netlist behind them; parts load on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from approxhw.backends.estimate.library.cells import Cell, CellLibrary
    from approxhw.backends.estimate.library.load import built_in_libraries, load_library
    from approxhw.backends.estimate.netlist.netlist import Netlist
    from approxhw.backends.estimate.netlist.simulator import Activity, simulate_activity, simulate_netlist
    from approxhw.backends.estimate.synthesis.proofs import BlockProof, prove_blocks
    from approxhw.backends.estimate.synthesis.synthesise import synthesise
    from approxhw.backends.estimate.timing.analyse import Surroundings, Timing, analyse
    from approxhw.backends.estimate.timing.sizing import size

    from .clock_sweep import Point, sweep
    from .estimator import (
        Estimate,
        EstimatePart,
        HierarchyEstimate,
        estimate,
        estimate_hierarchy,
        estimate_netlist,
        power_over,
    )

_HOMES = {
    "Activity": "netlist.simulator",
    "BlockProof": "synthesis.proofs",
    "Cell": "library.cells",
    "CellLibrary": "library.cells",
    "Estimate": "estimator",
    "HierarchyEstimate": "estimator",
    "Netlist": "netlist.netlist",
    "EstimatePart": "estimator",
    "Point": "clock_sweep",
    "Surroundings": "timing.analyse",
    "Timing": "timing.analyse",
    "analyse": "timing.analyse",
    "built_in_libraries": "library.load",
    "estimate": "estimator",
    "estimate_hierarchy": "estimator",
    "estimate_netlist": "estimator",
    "load_library": "library.load",
    "power_over": "estimator",
    "prove_blocks": "synthesis.proofs",
    "simulate_activity": "netlist.simulator",
    "simulate_netlist": "netlist.simulator",
    "size": "timing.sizing",
    "sweep": "clock_sweep",
    "synthesise": "synthesis.synthesise",
}

__all__ = [
    "Activity",
    "BlockProof",
    "Cell",
    "CellLibrary",
    "Estimate",
    "EstimatePart",
    "HierarchyEstimate",
    "Netlist",
    "Point",
    "Surroundings",
    "Timing",
    "analyse",
    "built_in_libraries",
    "estimate",
    "estimate_hierarchy",
    "estimate_netlist",
    "load_library",
    "power_over",
    "prove_blocks",
    "simulate_activity",
    "simulate_netlist",
    "size",
    "sweep",
    "synthesise",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
