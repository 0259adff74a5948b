"""Area, power and delay of any Verilog on a cell library, and the netlist behind them; parts load on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cells import Cell, CellLibrary, built_in_libraries, load_library
    from .clock_sweep import Point, sweep
    from .estimator import Estimate, HierarchyEstimate, Part, estimate, estimate_hierarchy, estimate_netlist
    from .netlist import Netlist
    from .netlist_simulator import Activity, simulate_activity, simulate_netlist
    from .proofs import BlockProof, prove_blocks
    from .sizing import size
    from .synthesis import synthesise
    from .timing import Surroundings, Timing, analyse

_HOMES = {
    "Activity": "netlist_simulator",
    "BlockProof": "proofs",
    "Cell": "cells",
    "CellLibrary": "cells",
    "Estimate": "estimator",
    "HierarchyEstimate": "estimator",
    "Netlist": "netlist",
    "Part": "estimator",
    "Point": "clock_sweep",
    "Surroundings": "timing",
    "Timing": "timing",
    "analyse": "timing",
    "built_in_libraries": "cells",
    "estimate": "estimator",
    "estimate_hierarchy": "estimator",
    "estimate_netlist": "estimator",
    "load_library": "cells",
    "prove_blocks": "proofs",
    "simulate_activity": "netlist_simulator",
    "simulate_netlist": "netlist_simulator",
    "size": "sizing",
    "sweep": "clock_sweep",
    "synthesise": "synthesis",
}

__all__ = [
    "Activity",
    "BlockProof",
    "Cell",
    "CellLibrary",
    "Estimate",
    "HierarchyEstimate",
    "Netlist",
    "Part",
    "Point",
    "Surroundings",
    "Timing",
    "analyse",
    "built_in_libraries",
    "estimate",
    "estimate_hierarchy",
    "estimate_netlist",
    "load_library",
    "prove_blocks",
    "simulate_activity",
    "simulate_netlist",
    "size",
    "sweep",
    "synthesise",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
