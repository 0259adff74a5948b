"""The child process that builds and runs one simulation with cocotb's runner: ``python -m approxhw.sim.worker``.

A process of its own: a time limit ends all of it, its output goes to a log, and neither the caller's environment nor
its working directory reaches the simulator.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cocotb_tools.runner import Runner

    from .bench_json import RunSettings

STAND_INS = Path(__file__).parent / "benches" / "stand_ins"
_FOREIGN = ("COCOTB_", "GPI_", "PYGPI_", "MAKE", "MFLAGS", "WAVES", "GUI", "TOPLEVEL", "PYTEST_")


def main(step: str, settings_file: Path) -> None:
    """Do one *step*, "build" or "run", of the simulation that *settings_file* describes."""
    sys.path.insert(0, str(STAND_INS))  # the runner hands its path on to the simulator
    settings: RunSettings = json.loads(settings_file.read_text())
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    os.environ.update(settings["environment"])
    runner = _runner(settings["runner"])
    folder = Path(settings["folder"])
    try:
        if step == "build":
            _build(runner, settings, folder)
        else:
            _run(runner, settings, folder, settings_file)
    except RuntimeError as error:  # a command of the runner failed; a traceback would push its words out of the tail
        sys.exit(f"cocotb's runner: {error}")


def _runner(spelled: str) -> Runner:
    """Return cocotb's runner of this name, or an object of the class that ``module:Class`` names."""
    module, colon, name = spelled.partition(":")
    if colon:
        runner: Runner = getattr(importlib.import_module(module), name)()
        return runner
    _do_without_cocotb()
    try:
        from cocotb_tools.runner import get_runner
    except ImportError:  # a release that asks cocotb for more than ours did
        for stand_in in [each for each in sys.modules if each.partition(".")[0] in ("cocotb", "cocotb_tools")]:
            del sys.modules[stand_in]
        from cocotb_tools.runner import get_runner
    return get_runner(spelled)


def _do_without_cocotb() -> None:
    """Put modules in the place of cocotb that hold what its own runners ask for: to load it takes longer than most builds.

    Those are two types of values of Verilog parameters, which our benches do not have, and where ``cocotb.simulator`` lies.
    """
    spec = importlib.util.find_spec("cocotb")
    stand_in = ModuleType("cocotb")
    stand_in.__path__ = list(spec.submodule_search_locations or ()) if spec else []
    sys.modules.update({"cocotb": stand_in, "cocotb.types": ModuleType("cocotb.types")})
    for name, kind in (("cocotb.types._logic", "Logic"), ("cocotb.types._logic_array", "LogicArray")):
        sys.modules[name] = ModuleType(name)
        setattr(sys.modules[name], kind, type(kind, (), {}))


def _build(runner: Runner, settings: RunSettings, folder: Path) -> None:
    runner.build(
        sources=[folder / name for name in settings["sources"]],
        hdl_toplevel=settings["top"],
        build_dir=folder / "build",
        build_args=settings["build_args"],
        always=True,
        timescale=("1ns", "1ns"),
    )


def _run(runner: Runner, settings: RunSettings, folder: Path, settings_file: Path) -> None:
    runner.test(
        test_module=settings.get("bench", "approxhw.sim.benches.bench"),
        hdl_toplevel=settings["top"],
        hdl_toplevel_lang="verilog",
        build_dir=folder / "build",
        test_dir=folder,
        results_xml=str(folder / "cocotb.xml"),
        seed=1,
        extra_env={
            "APPROXHW_BENCH": str(settings_file),
            "COCOTB_ANSI_OUTPUT": "0",
            "COCOTB_REWRITE_ASSERTION_FILES": "",
        },
    )
    if not (folder / "results.json").is_file():
        sys.exit("the bench did not run to its end: it wrote no results")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
