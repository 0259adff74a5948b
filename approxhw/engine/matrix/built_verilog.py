"""The Verilog of an engine module by module, and folders whose Verilog is that of the engine that they tell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.artifacts.engine import ENGINE, EngineDesign, read_engine
from approxhw.common.errors import OptionError
from approxhw.common.version import __version__

from .cost import engine_of

if TYPE_CHECKING:
    from approxhw.backends.matrix_engine.engine import Engine as Array


def whole_engine(folder: Path) -> EngineDesign:
    """Return the engine in *folder*, which can be built, and is what its Verilog says: anybody may have written either.

    Raises :class:`InvalidDesignError`. Verilog is compared where this version wrote it.
    """
    design = read_engine(folder)
    try:
        built = module_texts(engine_of(design))
    except OptionError as error:
        raise ENGINE.refused(folder, "; ".join(f"{each.where}: {each.why}" for each in error.problems)) from error
    held = {name: text.partition("\n\n")[2] for name, text in design.modules.items()}
    if design.version == __version__ and held != built:
        raise ENGINE.refused(folder, "engine: its Verilog is that of another one")
    return design


def module_texts(array: Array) -> dict[str, str]:
    """Return module → text without a header; the top first."""
    from approxhw.backends.matrix_engine.engine import engine_verilog
    from approxhw.backends.systolic.templates import modules_of

    found = modules_of(engine_verilog(array))
    return {array.top: found.pop(array.top), **found}
