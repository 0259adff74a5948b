"""Simulation: cocotb benches and runners for Icarus and Verilator, and test vectors."""

from .bundling import bundle, bundle_ports
from .job import SimulationJob, SimulationResult
from .linting import lint
from .running import SIMULATORS, simulate
from .vectors import test_vectors

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
