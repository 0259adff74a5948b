"""Simulation: cocotb benches, the simulators that run them, and test vectors; parts load on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from approxhw.sim.simulators.registry import SIMULATORS

    from .bundling import bundle, bundle_ports
    from .job import SimulationJob, SimulationResult
    from .linting import lint
    from .running import simulate
    from .vectors import test_vectors

_HOMES = {
    "SIMULATORS": "simulators.registry",
    "SimulationJob": "job",
    "SimulationResult": "job",
    "bundle": "bundling",
    "bundle_ports": "bundling",
    "lint": "linting",
    "simulate": "running",
    "test_vectors": "vectors",
}

__all__ = [
    "SIMULATORS",
    "SimulationJob",
    "SimulationResult",
    "bundle",
    "bundle_ports",
    "lint",
    "simulate",
    "test_vectors",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
