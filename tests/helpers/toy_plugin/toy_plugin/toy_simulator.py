"""A simulator: Icarus Verilog under another name."""

from approxhw.common.tools import find_icarus
from approxhw.sim.simulators.registry import Bench, Build, Simulator


def prepare(bench: Bench, tool: object) -> Build:
    """Return how the bench is built: as Verilog-2005."""
    return Build(bench.sources, ("-g2005",))


SIMULATOR = Simulator("toy-icarus", runner="icarus", find=find_icarus, prepare=prepare)
