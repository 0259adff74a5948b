"""Write the Verilog module that stands between the bench and the design: a few wide ports instead of many small ones.

Every read or write of a port is a call through the simulator's procedural interface, and those calls are most of a
bench's time. The design itself is instantiated as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .job import SimulationJob

CHUNK_BITS = 64  # measured best on both: wider, every change in a chunk wakes all its ports; narrower, more calls


@dataclass(frozen=True)
class Harness:
    """Text of the harness, its module name, the widths of its ``stimulus<i>`` and ``response<i>`` ports in order.

    ``written``, ``read``: the names of its ports by who drives them, the clock among them.
    """

    verilog: str
    top: str
    stimulus: tuple[int, ...]
    response: tuple[int, ...]
    written: tuple[str, ...]
    read: tuple[str, ...]


def make_harness(job: SimulationJob) -> Harness:
    """Return the harness of *job*: rows of bits as :func:`packing.write_rows` has them, in chunks of whole ports."""
    top = "approxhw_bench"
    while top in job.verilog:
        top += "_"
    stimulus, response = _chunks(job.inputs), _chunks(job.outputs)
    ports, wires = [], []
    if job.clock is not None:
        ports.append("input clock")
        wires.append(f".{job.clock}(clock)")
    for direction, stem, chunks in (("input", "stimulus", stimulus), ("output", "response", response)):
        for index, chunk in enumerate(chunks):
            width = sum(bits for _, bits in chunk)
            ports.append(f"{direction} [{width - 1}:0] {stem}{index}")
            low = width
            for name, bits in chunk:
                low -= bits
                wires.append(f".{name}({stem}{index}[{low + bits - 1}:{low}])")
    verilog = (
        f"module {top} (\n    "
        + ",\n    ".join(ports)
        + f"\n);\n    {job.top} dut (\n        "
        + ",\n        ".join(wires)
        + "\n    );\nendmodule\n"
    )
    written = ["clock"] * (job.clock is not None) + [f"stimulus{index}" for index in range(len(stimulus))]
    read = [f"response{index}" for index in range(len(response))]
    widths = [tuple(sum(bits for _, bits in chunk) for chunk in chunks) for chunks in (stimulus, response)]
    return Harness(verilog, top, widths[0], widths[1], tuple(written), tuple(read))


def _chunks(ports: Sequence[tuple[str, int]]) -> list[list[tuple[str, int]]]:
    chunks: list[list[tuple[str, int]]] = []
    room = 0
    for name, bits in ports:
        if not chunks or bits > room:
            chunks.append([])
            room = CHUNK_BITS
        chunks[-1].append((name, bits))
        room -= bits
    return chunks
