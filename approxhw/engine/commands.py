"""The commands that make the folder of an engine again, as its report tells them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from approxhw.artifacts.folder import Plain


def commands_of(
    folder: Path,
    made: str,
    target: str,
    runs: Sequence[Mapping[str, Plain]],
    estimates: Sequence[Mapping[str, Plain]],
) -> list[str]:
    """Return the command that *made* the engine of *target* in *folder*, those of its *runs*, and that of its last estimate.

    ``made``: empty where nobody knows; ``runs``: verdicts, ``estimates``: costs, as ``--json`` tells them.
    """
    commands = [made or f"approxhw compile MODEL --target {target} -o {shlex.quote(str(folder))}"]
    commands += [
        shlex.join(["approxhw", "simulate", str(folder), "--simulator", run["simulator"], "--layer", run["layer"]])
        for run in runs
    ]
    if estimates:
        clock = f"{estimates[-1]['clock_ns']:g}"
        commands.append(shlex.join(["approxhw", "estimate", str(folder), "--clock-ns", clock]))
    return commands
