"""A mapped netlist on Verilator under a C++ loop of its own: no cocotb, no files within the loop, compiled for this machine.

Vectors come in by one read; the loop sets the input ports, evaluates and stores the output ports, nothing else. Cells are
continuous assignments in modules that Verilator inlines. The program repeats the loop for a while and states the CPU
seconds of each pass by itself, so that neither its start nor the files count.
"""

from __future__ import annotations

import resource
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from approxhw.backends.estimate import Netlist
from approxhw.common.errors import ToolFailedError, ToolNotFoundError
from approxhw.common.tools import Tool, find_verilator, run_tool

from .icarus_bench import models

NAME = "Verilator, C++ loop"
FLAGS = "-O3 -march=native"
BUILD_TIMEOUT, RUN_TIMEOUT = 600, 600


@dataclass(frozen=True)
class VerilatorLoop:
    """A compiled loop: its ``folder``, the netlist's ports, and the CPU ``seconds`` that making it took."""

    folder: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    seconds: float


def missing() -> str:
    """Return why there is no Verilator here, or nothing."""
    try:
        find_verilator()
    except ToolNotFoundError as error:
        return str(error)
    return ""


def _program(inputs: tuple[str, ...], outputs: tuple[str, ...]) -> str:
    """Return the C++ main: columns of one byte a vector, port after port, in and out."""
    reading = "\n".join(f"      top.{name} = in{i}[v];" for i, name in enumerate(inputs))
    storing = "\n".join(f"      out{i}[v] = top.{name};" for i, name in enumerate(outputs))
    columns = "\n".join(
        [f"  const uint8_t* in{i} = vectors.data() + {i} * count;" for i in range(len(inputs))]
        + [f"  uint8_t* out{i} = results.data() + {i} * count;" for i in range(len(outputs))]
    )
    return f"""// Drives all vectors through the verilated netlist, several times, and states the CPU seconds of each pass.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>
#include "Vnetlist.h"
#include "verilated.h"

static double cpu() {{
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec + 1e-9 * now.tv_nsec;
}}

int main(int, char** argv) {{
  const size_t count = strtoull(argv[1], nullptr, 10);
  const int passes = atoi(argv[2]);
  std::vector<uint8_t> vectors({len(inputs)} * count), results({len(outputs)} * count);
  FILE* file = fopen("vectors.bin", "rb");
  if (!file || fread(vectors.data(), 1, vectors.size(), file) != vectors.size()) return 1;
  fclose(file);
{columns}
  VerilatedContext context;
  Vnetlist top(&context);
  for (int pass = 0; pass < passes; ++pass) {{
    const double before = cpu();
    for (size_t v = 0; v < count; ++v) {{
{reading}
      top.eval();
{storing}
    }}
    printf("seconds %.9f\\n", cpu() - before);
  }}
  top.final();
  file = fopen("results.bin", "wb");
  if (!file || fwrite(results.data(), 1, results.size(), file) != results.size()) return 1;
  return fclose(file);
}}
"""


def build(netlist: Netlist, folder: Path) -> VerilatorLoop:
    """Verilate and compile *netlist* (ports of at most 8 bits) with its loop in *folder*."""
    ports = [*netlist.data_inputs, *netlist.outputs]
    if any(len(port.nets) > 8 for port in ports):
        raise ValueError("the loop passes one byte a port")
    inputs, outputs = (tuple(port.name for port in some) for some in (netlist.data_inputs, netlist.outputs))
    (folder / "netlist.v").write_text(netlist.verilog + models(netlist, primitives=False))
    (folder / "main.cpp").write_text(_program(inputs, outputs))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    verilator = find_verilator()
    options = ["--cc", "--exe", "--top-module", netlist.top, "--prefix", "Vnetlist", "-O3", "--x-assign", "fast"]
    options += ["--x-initial", "fast", "--noassert", "--no-timing", "-Wno-fatal", "-Wno-lint", "--Mdir", "made"]
    # Verilator's own makefile compiles in parallel and through ccache; MAKEFLAGS of a make above us must not reach it
    environment = {**verilator.environment, "MAKEFLAGS": "", "MAKELEVEL": "0"}
    run_tool(verilator, [*options, "netlist.v", "main.cpp"], timeout=BUILD_TIMEOUT, folder=folder)
    make = [
        "-C",
        "made",
        "-f",
        "Vnetlist.mk",
        f"OPT_FAST={FLAGS}",
        f"OPT_GLOBAL={FLAGS}",
        "CFG_CXXFLAGS_PCH_I=-include",
    ]
    make += ["PYTHON3=python3", "OBJCACHE=", "Vnetlist"]
    run_tool(Tool("make", ("make",)), make, timeout=BUILD_TIMEOUT, folder=folder, environment=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return VerilatorLoop(folder, inputs, outputs, seconds)


def load(loop: VerilatorLoop, vectors: Mapping[str, np.ndarray]) -> None:
    """Write what :func:`run` drives through the loop."""
    data = np.concatenate([vectors[name].astype(np.uint8) for name in loop.inputs])
    (loop.folder / "vectors.bin").write_bytes(data.tobytes())


def run(loop: VerilatorLoop, count: int, passes: int) -> tuple[dict[str, np.ndarray], list[float]]:
    """Return the outputs of *count* loaded vectors, and the CPU seconds of every pass."""
    program = Tool("loop on Verilator", (str(loop.folder / "made" / "Vnetlist"),))
    finished = run_tool(program, [str(count), str(passes)], timeout=RUN_TIMEOUT, folder=loop.folder)
    seconds = [float(line.split()[1]) for line in finished.output.splitlines() if line.startswith("seconds ")]
    if len(seconds) != passes:
        raise ToolFailedError(shlex.join(program.command), 0, finished.output)
    columns = np.fromfile(loop.folder / "results.bin", dtype=np.uint8).reshape(len(loop.outputs), count)
    return dict(zip(loop.outputs, columns, strict=True)), seconds
