"""Run Yosys on a script in a temporary folder, and read whole what it wrote there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from approxhw.backends.estimate.netlist.yosys_json import YosysDesign
from approxhw.common.errors import ToolFailedError, ToolTimeoutError
from approxhw.common.files import is_full, no_room
from approxhw.common.tools import TAIL_LINES, find_yosys, run_tool


def run_yosys(folder: Path, script: Sequence[str], timeout: float) -> str:
    """Run the lines of *script* in *folder*, where its files are, and return the log; ABC's files stay there too."""
    (folder / "script.ys").write_text("\n".join(line for line in script if line) + "\n")
    log = folder / "yosys.log"
    try:
        finished = run_tool(
            find_yosys(), ["script.ys"], timeout=timeout, folder=folder, log=log, environment={"TMPDIR": str(folder)}
        )
    except ToolFailedError as error:  # the folder goes, so the error must not point to the log in it
        if is_full(folder):
            raise no_room("synthesis", f"they cannot be written, and {error.tool} failed") from error
        raise ToolFailedError(error.tool, error.code, _tail_of(log)) from None
    except ToolTimeoutError as error:
        raise ToolTimeoutError(error.tool, error.seconds, _tail_of(log)) from None
    return finished.output


def read_netlist_json(path: Path) -> YosysDesign:
    """Return what Yosys wrote: on a full disk it leaves half a file behind and calls it done."""
    try:
        content: YosysDesign = json.loads(path.read_text())
    except ValueError as error:
        raise no_room("synthesis", "Yosys could not write them whole") from error
    return content


def read_text_of_yosys(path: Path) -> str:
    """Return a text that Yosys wrote; raise :class:`OutputError` where there is none: on a full disk it says nothing."""
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError as error:
        raise no_room("synthesis", "Yosys could not write them") from error


def _tail_of(log: Path) -> str:
    return "\n".join(line[:400] for line in log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
