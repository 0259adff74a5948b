"""Simulators by name: what one is, ours, and those of other packages; none is imported until it is used."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.common.errors import ApproxhwError, OptionError, Problem, shown
from approxhw.common.plugins import failed, load_plugin, plugins

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from approxhw.common.tools import Tool

BUILT_IN = {
    "icarus": "approxhw.sim.simulators.icarus:ICARUS",
    "verilator": "approxhw.sim.simulators.verilator:VERILATOR",
}
"""Name → ``module:object``; a further one is a file beside them and a line here."""

BIN = "bin"
"""Where programs stand, in the folder of a bench, that are found before those on PATH."""

SIMULATORS = tuple(BUILT_IN)
"""Those that every design is simulated on where nobody says otherwise: all of ours."""


@dataclass(frozen=True)
class Bench:
    """What there is to build in ``folder``.

    ``sources``: Verilog files in there. ``top``: their top module. ``written``, ``read``: its ports that the bench writes
    and reads; nothing inside needs to be reachable. ``long``: whether so much runs through it that optimised code pays.
    ``timeout``: seconds left. ``use_ccache``: whether compilers may go through ccache.
    """

    folder: Path
    sources: tuple[str, ...]
    top: str
    written: tuple[str, ...]
    read: tuple[str, ...]
    long: bool = False
    timeout: float = 600.0
    use_ccache: bool = True


@dataclass(frozen=True)
class Build:
    """How cocotb's runner builds a bench: files in its folder, arguments of the simulator, variables of its environment."""

    sources: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None


def build_plainly(bench: Bench, tool: Tool) -> Build:
    """Return *bench* as it is, for a simulator that reads Verilog and needs nothing else."""
    return Build(bench.sources)


@dataclass(frozen=True)
class Simulator:
    """A Verilog simulator that cocotb drives.

    ``runner``: what cocotb's ``get_runner`` calls it, or ``module:Class`` of a runner of one's own. ``find``: returns the
    program, raises :class:`ToolNotFoundError` with the way to get it. ``prepare``: writes what building takes besides the
    Verilog files into the bench's folder. ``compiled``: whether it makes machine code, so that vectors are cheap.
    """

    name: str
    runner: str
    find: Callable[[], Tool]
    prepare: Callable[[Bench, Tool], Build] = build_plainly
    compiled: bool = False


def simulator_names() -> tuple[str, ...]:
    """Return the names of all simulators: ours, then those of other packages, sorted."""
    return (*SIMULATORS, *_added())


def simulator_problem(name: str) -> Problem | None:
    """Return what is wrong with *name* where there is no such simulator; None where there is."""
    known = simulator_names()
    return None if name in known else Problem("simulator", f"{shown(name)} is unknown", " or ".join(known))


def simulator_named(name: str) -> Simulator:
    """Return the simulator called *name*.

    Raises :class:`OptionError` where there is none, :class:`PluginError` where another package's cannot be used.
    """
    if problem := simulator_problem(name):
        raise OptionError("simulate", [problem])
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        ours: Simulator = getattr(importlib.import_module(module), attribute)
        return ours
    theirs: Simulator = load_plugin(_added()[name], "a Simulator", lambda found: _misfit(name, found))
    return theirs


def prepare_bench(simulator: Simulator, bench: Bench, tool: Tool) -> Build:
    """Return what ``simulator.prepare`` says; raise :class:`PluginError` where that of another package fails."""
    _stand_in_for_python(bench.folder / BIN)
    try:
        return simulator.prepare(bench, tool)
    except (ApproxhwError, OSError):
        raise
    except Exception as error:
        entry = _added().get(simulator.name)
        if entry is None:
            raise
        raise failed(entry, "preparing a bench", error) from error


def _added() -> dict[str, EntryPoint]:
    return plugins("simulators", BUILT_IN.__contains__)


def _misfit(name: str, found: object) -> str | None:
    if not isinstance(found, Simulator):
        return f"it is of type {type(found).__name__}"
    return None if found.name == name else f"it is called {found.name}, the entry point {name}"


def child_environment(folder: Path, tool: Tool) -> dict[str, str]:
    """Return the environment in which *tool* builds and runs the bench in *folder*."""
    # programs in bin/ stand in for others
    path = tool.environment.get("PATH", os.environ.get("PATH", ""))
    return {**tool.environment, "PATH": os.pathsep.join([str(folder / BIN), path])}


def _stand_in_for_python(folder: Path) -> None:
    """Make whatever asks for Python by name in a build get this one: cocotb sets ``PYTHONHOME``, which fits no other.

    A script and no link: through a link Python would not find the packages of its environment.
    """
    folder.mkdir(exist_ok=True)
    for name in ("python3", "python"):
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        (folder / name).chmod(0o755)
