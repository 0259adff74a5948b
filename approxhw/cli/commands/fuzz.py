"""``approxhw fuzz``: random networks through everything that must agree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.cli.parameters.command import Command
from approxhw.common.option_fields import option
from approxhw.sim.simulators.registry import SIMULATORS, simulator_names

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class FuzzOptions:
    """What ``fuzz`` takes."""

    count: int = option("networks", 200, least=1)
    seed: int = option("seed of the first network", 1)
    output: Path = option("folder of what differs", Path("build/fuzz"), short="-o")
    simulator: tuple[str, ...] = option("may be given twice", SIMULATORS, choices=simulator_names)
    no_netlist: bool = option("leave the synthesised netlists out", False)


def run(terminal: Terminal, options: FuzzOptions) -> dict[str, object]:
    """Check random small networks: interpreter = Icarus = Verilator = synthesised netlist."""
    from approxhw.flow.fuzz import fuzz

    count, seed = options.count, options.seed
    result = fuzz(
        count,
        seed=seed,
        folder=options.output,
        simulators=options.simulator,
        netlists=not options.no_netlist,
        on_progress=terminal.progress,
    )
    compared = ", ".join(f"{where} {number}" for where, number in result.checked.items())
    terminal.say(f"{count} networks from seed {seed} agree everywhere; vectors compared: {compared}")
    return {"networks": count, "seed": seed, "vectors": result.checked, "mismatches": 0, "constant": result.constant}


COMMAND = Command("fuzz", run, FuzzOptions)
