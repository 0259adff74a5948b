"""Compile Verilator's runtime library, and its headers, once per machine and keep both in the user's cache folder.

Nearly all of the 15-20 s of a first build go there; every further design only compiles its own few files, and reading
the headers from their text is most of what a small one takes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from approxhw.common import tools
from approxhw.common.errors import OutputError, Problem, ToolNotFoundError
from approxhw.common.files.temporary import clear_left_behind, owned_folder
from approxhw.common.files.writing import part_prefix

# what a design with a procedural interface, and without tracing, coverage, delays or SystemC, is linked with
UNITS = ("verilated", "verilated_dpi", "verilated_vpi", "verilated_threads")
HEADERS = ("verilated", "verilated_dpi", "verilated_vpi", "verilated_syms")
"""What the code of a design, and the main program of cocotb, begin with."""
AHEAD = "ahead.h"
_DEFINES = ("VM_COVERAGE", "VM_SC", "VM_TIMING", "VM_TRACE", "VM_TRACE_FST", "VM_TRACE_VCD", "VM_TRACE_SAIF")
_FLAGS = ("-DVERILATOR=1", *(f"-D{name}=0" for name in _DEFINES))
_OBJECT, _HEADER = ("-O2", *_FLAGS), ("-O0", *_FLAGS, "-x", "c++-header")  # precompiled code serves its own -O alone


def runtime_objects(verilator: tools.Tool, *, timeout: float, use_ccache: bool = True) -> tuple[Path, ...]:
    """Return the object files of Verilator's runtime, compiled if they are not in the cache yet.

    They are kept under a name that depends on the runtime's sources, the compiler's version and the flags, and are
    written beside and renamed, so that any number of processes may ask at once. Raises :class:`OutputError` when the
    cache folder cannot be written, and the tool errors.
    """
    try:
        return _objects(verilator, timeout, use_ccache)
    except OSError as error:
        remedy = "set XDG_CACHE_HOME to a folder that can be written and has 200 MB free"
        why = f"the cache folder for Verilator's runtime cannot be used ({error.strerror})"
        raise OutputError("simulate", [Problem(str(error.filename), why, remedy)]) from error


def header_ahead(objects: Sequence[Path]) -> Path | None:
    """Return the header beside *objects* that ``-include`` of code at -O0 finds precompiled; None where there is none.

    GCC reads the text where what is precompiled does not fit after all.
    """
    header = objects[0].with_name(AHEAD)
    return header if header.with_name(f"{AHEAD}.gch").is_file() else None


def _objects(verilator: tools.Tool, timeout: float, use_ccache: bool) -> tuple[Path, ...]:
    root = _root(verilator, timeout)
    compiler = _compiler()
    version = tools.run_tool(compiler, ["--version"], timeout=timeout).output
    # clang refuses what is precompiled and does not fit, so it gets none
    extra = () if "clang" in version else (f"{AHEAD}.gch",)
    digest = hashlib.sha256(repr((version, _OBJECT, _HEADER, UNITS, HEADERS)).encode())
    for file in sorted([*root.glob("include/*.cpp"), *root.glob("include/*.h")]):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    folder = tools.cache_folder() / f"verilator-runtime-{digest.hexdigest()[:20]}"
    files = (*(f"{unit}.o" for unit in UNITS), *extra)
    if not _complete(folder, files):
        _compile(root, compiler, folder, files, timeout, tools.find_ccache() if use_ccache else None)
    return tuple(folder / f"{unit}.o" for unit in UNITS)


def _compile(
    root: Path, compiler: tools.Tool, folder: Path, files: Sequence[str], timeout: float, ccache: tools.Tool | None
) -> None:
    include = root / "include"
    places = f"-I{include} -I{include / 'vltstd'}"
    objects = shlex.join([*(ccache.command if ccache else ()), *compiler.command, *_OBJECT])
    rules = "".join(f"{unit}.o: {include / unit}.cpp\n\t{objects} {places} -c -o $@ $<\n" for unit in UNITS)
    rules += f"%.gch: %\n\t{shlex.join([*compiler.command, *_HEADER])} {places} -o $@ $<\n"
    ahead = "".join(f'#include "{name}.h"\n' for name in HEADERS if (include / f"{name}.h").is_file())
    make = tools.Tool("make (runtime of verilator)", ("make",))
    # MAKEFLAGS of a make that we may be running under would name pipes that are not ours
    environment = {"MAKEFLAGS": "", "MAKELEVEL": "0"}
    clear_left_behind(folder.parent, re.escape(part_prefix(folder)))
    with owned_folder(folder.parent, part_prefix(folder)) as beside:
        (beside / AHEAD).write_text(ahead)
        (beside / "Makefile").write_text(f"all: {' '.join(files)}\n{rules}")
        jobs = f"-j{min(len(files), os.cpu_count() or 1)}"
        tools.run_tool(make, [jobs, "-C", beside], timeout=timeout, environment=environment)
        if folder.exists() and not _complete(folder, files):
            shutil.rmtree(folder)
        with contextlib.suppress(OSError):  # another process was quicker: its objects are the same
            beside.rename(folder)


def _complete(folder: Path, files: Sequence[str]) -> bool:
    return all((folder / name).is_file() for name in files)


def _compiler() -> tools.Tool:
    path = shutil.which("c++")
    if path is None:
        raise ToolNotFoundError(
            "c++", "install a C++ compiler (Debian: apt-get install g++) and see that c++ is on PATH"
        )
    return tools.Tool("c++", (path,))


def _root(verilator: tools.Tool, timeout: float) -> Path:
    if "VERILATOR_ROOT" in verilator.environment:
        return Path(verilator.environment["VERILATOR_ROOT"])
    return Path(tools.run_tool(verilator, ["--getenv", "VERILATOR_ROOT"], timeout=timeout).output.strip())
