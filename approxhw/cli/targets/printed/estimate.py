"""``approxhw estimate`` for a printed circuit: its cells, driven by its own rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.cli.targets.shared import EstimateOptions, Measure
from approxhw.common.option_fields import nested, option, values_of

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class DesignOptions:
    """What ``estimate`` takes for the folder of a printed circuit."""

    prove: bool = option("also prove blocks of at most 10 input bits by SAT", False)
    measure: Measure = nested(Measure())


def run(terminal: Terminal, asked: EstimateOptions, own: DesignOptions) -> Json:
    """Measure a printed circuit, and say what it costs and what was proven."""
    from approxhw.flow.compile import open_folder

    compiled = open_folder(asked.design)
    options = {"prove": own.prove, "timeout": asked.timeout, **values_of(own.measure)}
    found = compiled.estimate(asked.cells, on_progress=terminal.progress, **options)
    terminal.estimated(found)
    told = compiled.summary()
    terminal.system(told["system"])
    terminal.offer(str(told["offer"]))
    kept = told["estimate"]
    assert isinstance(kept, dict)  # what was measured just now
    terminal.proofs(kept["proofs"])
    return told


KIND = CommandKind("printed", "Printed circuits", DesignOptions, run, is_for="is for design folders")
