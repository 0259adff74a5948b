"""Put many designs under one top module, so that one Verilator build simulates them all."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.verilog_names import defined_modules, directives_in, rename_identifiers, words_in

from .job import SimulationJob, check_job


def bundle(jobs: Sequence[SimulationJob], name: str = "bundle") -> SimulationJob:
    """Return one job that simulates all *jobs* side by side.

    Module names of design i get a prefix of its own, its ports too (:func:`bundle_ports` maps them back), so designs
    may share names. A design with fewer vectors than the longest list holds its last one until the end: what does not
    change costs an event-driven simulator nothing. All designs must have the same latency. Raises :class:`OptionError`
    for designs that cannot share a top.
    """
    if problems := _problems(jobs):
        raise OptionError("bundle of designs", problems)
    words = {word for job in jobs for word in words_in(job.verilog)}
    stem = "design"
    while any(re.match(rf"{stem}\d", word) for word in words):
        stem += "_"
    count = max(job.count for job in jobs)
    held = {job.count: np.minimum(np.arange(count), job.count - 1) for job in jobs}
    texts, instances = [], []
    inputs: list[tuple[str, int]] = []
    outputs: list[tuple[str, int]] = []
    vectors: dict[str, np.ndarray] = {}
    expected: dict[str, np.ndarray] = {}
    for index, job in enumerate(jobs):
        prefix = f"{stem}{index}_"
        names = {module: prefix + module for module in defined_modules(job.verilog)}
        texts.append(rename_identifiers(job.verilog, names))
        wires = [] if job.clock is None else [f".{names.get(job.clock, job.clock)}(clock)"]
        wires += [f".{names.get(port, port)}({prefix}{port})" for port, _ in (*job.inputs, *job.outputs)]
        instances.append(
            f"    {names[job.top]} {prefix}instance (\n        " + ",\n        ".join(wires) + "\n    );\n"
        )
        inputs += [(prefix + port, bits) for port, bits in job.inputs]
        outputs += [(prefix + port, bits) for port, bits in job.outputs]
        vectors |= {prefix + port: np.asarray(job.vectors[port])[held[job.count]] for port, _ in job.inputs}
        expected |= {prefix + port: np.asarray(job.expected[port])[held[job.count]] for port, _ in job.outputs}
    top = f"{stem}_bundle"
    while top in words:
        top += "_"
    clock = "clock" if jobs[0].latency else None
    ports = [f"input {clock}"] if clock else []
    ports += [f"input [{bits - 1}:0] {port}" for port, bits in inputs]
    ports += [f"output [{bits - 1}:0] {port}" for port, bits in outputs]
    texts.append(f"module {top} (\n    " + ",\n    ".join(ports) + "\n);\n" + "".join(instances) + "endmodule\n")
    return SimulationJob(
        name=name,
        verilog="\n".join(texts),
        top=top,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        clock=clock,
        latency=jobs[0].latency,
        vectors=vectors,
        expected=expected,
    )


def bundle_ports(bundled: SimulationJob) -> dict[str, tuple[int, str]]:
    """Return for every port of a job made by :func:`bundle` the design's index and its own name for the port."""
    stem = bundled.top.rstrip("_").removesuffix("bundle").removesuffix("_")
    found = {}
    for port, _ in (*bundled.inputs, *bundled.outputs):
        index, _, own = port.removeprefix(stem).partition("_")
        found[port] = (int(index), own)
    return found


def _problems(jobs: Sequence[SimulationJob]) -> list[Problem]:
    if not jobs:
        return [Problem("jobs", "there are none", "give at least one design")]
    problems = []
    for index, job in enumerate(jobs):
        where = f"design {index} ({shown(job.name)})"
        try:
            check_job(job)
        except OptionError as error:
            problems += [
                Problem(f"{where}, {problem.where}", problem.why, problem.remedy) for problem in error.problems
            ]
        if job.latency != jobs[0].latency:
            why = f"has latency {job.latency}, the first one {jobs[0].latency}"
            problems.append(Problem(where, why, "bundle designs of equal latency"))
        if job.top not in defined_modules(job.verilog):
            problems.append(Problem(where, f"its text defines no module {shown(job.top)}"))
        directives = directives_in(job.verilog)
        if directives:
            listed = ", ".join(sorted(shown(word) for word in directives))
            problems.append(Problem(where, f"has compiler directives ({listed}), which would reach into other designs"))
    return problems
