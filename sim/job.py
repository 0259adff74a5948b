"""What is to be simulated and what came of it: SimulationJob, SimulationResult, and the rules a job must keep."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from approxhw.common.errors import MismatchError, OptionError, Problem, shown

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
SMALL_BITS = 63  # up to here a bit pattern is an int64, beyond it a Python integer in an object array


@dataclass(frozen=True, eq=False)  # arrays have no one truth value
class SimulationJob:
    """One Verilog design with what goes in and what must come out.

    ``verilog``: its whole text. ``top``: its top module. ``inputs``, ``outputs``: (port, bits) in any order, without
    the clock. ``clock``: its clock port, or None when it is combinational. ``latency``: rising clock edges from a
    vector at the inputs to its result at the outputs, one new vector every cycle; 0 when combinational. ``vectors``:
    for every input port its unsigned bit patterns, 1-D, one a vector; ``expected``: the same for every output port.
    Arrays hold Python integers (dtype object) for ports wider than 63 bits.
    """

    name: str
    verilog: str
    top: str
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
    clock: str | None = None
    latency: int = 0
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)
    expected: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Return the number of vectors."""
        return max((len(column) for column in [*self.vectors.values(), *self.expected.values()]), default=0)


@dataclass(frozen=True)
class SimulationResult:
    """What a simulation saw.

    ``vectors``: how many were driven and compared, more than 0. ``mismatches``: how many of them differed in at least
    one output; ``failing``: the same for each output port that ever differed. ``mismatch_file``: JSON with index,
    inputs, expected and seen values, or None. ``seconds``: wall time of "build" and "run". ``folder``: all
    that was kept.
    """

    name: str
    simulator: str
    vectors: int
    mismatches: int
    failing: Mapping[str, int]
    mismatch_file: Path | None
    seconds: Mapping[str, float]
    folder: Path

    def raise_on_mismatch(self) -> SimulationResult:
        """Return this result, or raise :class:`MismatchError` when hardware and model disagree."""
        if self.mismatch_file is not None:
            what = f"{shown(self.name)} on {self.simulator}"
            raise MismatchError(what, self.mismatches, self.vectors, self.mismatch_file)
        return self


def check_job(job: SimulationJob) -> None:
    """Raise :class:`OptionError` with everything that is wrong with *job*."""
    problems: list[Problem] = []

    def wrong(where: str, why: str, remedy: str = "") -> None:
        problems.append(Problem(where, why, remedy))

    ports = [*job.inputs, *job.outputs]
    names = [job.top, *(name for name, _ in ports), *([job.clock] if job.clock is not None else [])]
    for name in names:
        if not IDENTIFIER.fullmatch(name):
            wrong(shown(name), "is no plain Verilog identifier", "use letters, digits and _ only")
    for name in sorted(name for name, times in Counter(names[1:]).items() if times > 1):
        wrong(shown(name), "is the name of two ports")
    for name, bits in ports:
        if bits < 1:
            wrong(shown(name), f"has {bits} bits", "leave out ports without bits")
    if not job.outputs:
        wrong("outputs", "there are none, so nothing could be compared", "name at least one output port")
    if job.latency < 0 or (job.latency == 0) != (job.clock is None):
        wrong(
            "latency",
            f"is {job.latency} with {'no clock' if job.clock is None else f'clock {shown(job.clock)}'}",
            "a clocked design has a latency of 1 or more, a combinational one 0 and clock None",
        )
    if job.count == 0:
        wrong("vectors", "there are none, so nothing would be simulated", "give at least one vector")
    for kind, declared, columns in (("vectors", job.inputs, job.vectors), ("expected", job.outputs, job.expected)):
        for name in sorted(set(columns) - {port for port, _ in declared}):
            wrong(f"{kind}[{shown(name)}]", "there is no such port")
        for name, bits in declared:
            if name not in columns:
                wrong(f"{kind}[{shown(name)}]", "is missing", f"give {job.count} values for this port")
            elif why := _column_problem(columns[name], bits, job.count):
                wrong(f"{kind}[{shown(name)}]", why)
    if problems:
        raise OptionError(f"simulation of {shown(job.name)}", problems)


def _column_problem(column: np.ndarray, bits: int, count: int) -> str | None:
    values = np.asarray(column)
    if values.ndim != 1:
        return f"has shape {values.shape}, not one value a vector"
    if len(values) != count:
        return f"has {len(values)} values where other ports have {count}"
    if values.dtype == object:
        whole = all(isinstance(value, (int, np.integer)) for value in values)
    else:
        whole = values.dtype.kind in "iub"
    if not whole:
        return f"holds values that are no integers (dtype {values.dtype})"
    if count and (int(values.min()) < 0 or int(values.max()) >> bits):
        return f"holds values from {int(values.min())} to {int(values.max())}, but {bits} bits hold 0 to 2^{bits} - 1"
    return None
