"""Simulate and estimate: a design folder, or any Verilog, on simulators and on a cell library."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np

from approxhw.artifacts.design import Design
from approxhw.artifacts.folder import json_text, place_in
from approxhw.artifacts.results import Verdict, estimate_file
from approxhw.common.arguments import checked, refuse_below
from approxhw.common.data.arrays import read_npz
from approxhw.common.errors import (
    InvalidDataError,
    MismatchError,
    OptionError,
    Problem,
    ToolFailedError,
    ToolTimeoutError,
    shown,
)
from approxhw.common.files import is_plain_file, other_kind, write_beside
from approxhw.common.tools import deadline
from approxhw.ir.graph import Graph
from approxhw.ir.interpreter import run

from .occurring import excluded_vectors, random_words, vectors_that_occur

if TYPE_CHECKING:
    from approxhw.backends.estimate import CellLibrary, Estimate, EstimatePart, HierarchyEstimate, Netlist
    from approxhw.backends.estimate.synthesis.source import VerilogSource
    from approxhw.sim import SimulationJob, SimulationResult

Progress = Callable[[str, int, int], None]
"""Called with a step, how much of it is done, and how much there is."""


def job_of(
    design: Design, *, random: int = 1000, seed: int = 1, every_row: bool = False, exhaustive_bits: int = 16
) -> tuple[SimulationJob, dict[str, int]]:
    """Return what to simulate of *design*, and how many vectors are of which kind.

    The test rows come first (the training rows where there are none, or all of them with *every_row*), then every vector
    there is (inputs of at most *exhaustive_bits* bits together) or corner cases and *random* uniform ones. Vectors that cannot
    occur, such as unsorted bits of a thermometer, are not driven: see :func:`vectors_that_occur`. What is expected comes
    from the interpreter.
    """
    from approxhw.sim import SimulationJob, test_vectors

    widths = [(port.name, port.bits) for port in design.inputs]
    rows = design.rows.test if len(design.rows.test) else design.rows.train
    if every_row:
        rows = np.concatenate([design.rows.test, design.rows.train])
    columns = design.ports_of(rows) if widths else None
    vectors, counts = test_vectors(widths, columns, seed=seed, random=random, exhaustive_limit=exhaustive_bits)
    vectors, counts = vectors_that_occur(design, vectors, counts, seed=seed, most=1 << exhaustive_bits)
    count = sum(counts.values())
    found = run(design.graph, design.codes_of(vectors, count)).reshape(count, -1)
    expected = {port.name: port_patterns(found[:, i], port.bits) for i, port in enumerate(design.outputs)}
    job = SimulationJob(
        name=design.name,
        verilog=design.verilog,
        top=design.top,
        inputs=tuple(widths),
        outputs=tuple((port.name, port.bits) for port in design.outputs),
        clock=design.clock,
        latency=design.latency,
        vectors=vectors,
        expected=expected,
    )
    return job, counts


def port_patterns(codes: np.ndarray, bits: int) -> np.ndarray:
    """Return what a port of *bits* bits carries for *codes*: unsigned numbers; negative codes are in two's complement."""
    return codes % (1 << bits) if bits < 63 else codes.astype(object) % (1 << bits)


@checked("simulate")
def simulate_design(
    folder: Path,
    design: Design,
    simulator: str = "verilator",
    *,
    random: int = 1000,
    seed: int = 1,
    timeout: float = 600.0,
    on_progress: Progress | None = None,
) -> SimulationResult:
    """Drive rows, corners and random vectors through the design on *simulator* (``icarus`` or ``verilator``) and compare.

    *timeout*: seconds for all of it, looking for the simulator too. The verdict is kept in ``simulation/<simulator>/``. Raises
    :class:`MismatchError` where hardware and Graph differ, and the tool errors.
    """
    from approxhw.sim import simulate
    from approxhw.sim.simulators.registry import simulator_named

    simulator_named(simulator)  # before a folder is called by that name
    refuse_below("simulate", 0, random=random, seed=seed)
    refuse_below("simulate", 0, above=True, timeout=timeout)
    with deadline(timeout):
        job, counts = job_of(design, random=random, seed=seed)
        place = place_in(folder, f"simulation/{simulator}")
        result = simulate(job, simulator, place, timeout=timeout, on_progress=on_progress)
    verdict = Verdict(
        simulator=simulator,
        vectors=result.vectors,
        mismatches=result.mismatches,
        sources=counts,
        seconds=result.seconds,
        mismatch_file=str(result.mismatch_file) if result.mismatch_file else None,
        excluded=excluded_vectors(design),
    )
    write_beside(place / "verdict.json", json_text(verdict))
    return result.raise_on_mismatch()


@checked("estimate")
def estimate_design(
    folder: Path,
    design: Design,
    library: str | Path | None = None,
    *,
    frequency: float | None = None,
    timeout: float = 600.0,
    prove: bool = False,
    recipe: str = "reference",
    clock_ns: float | None = None,
    on_progress: Progress | None = None,
) -> Estimate:
    """Measure the design on *library* (a built-in name or a Liberty file), its netlist checked against the Graph first.

    Power comes from the design's own training rows, from 10 000 seeded random vectors that can occur where it has none.
    ``frequency``: vectors per second; the library's own by default. ``clock_ns``: a clock period instead: slack is told,
    and there is a vector a clock. ``prove``: also prove blocks of at most 10 input
    bits equal to their netlists by SAT. The result, and the one by layer from a second synthesis that keeps the
    hierarchy, are kept in ``estimate/``. Raises :class:`MismatchError` where netlist and Graph differ.
    """
    return estimate_synthesised(
        folder,
        design,
        None,
        library,
        frequency=frequency,
        timeout=timeout,
        prove=prove,
        recipe=recipe,
        clock_ns=clock_ns,
        on_progress=on_progress,
    )


def estimate_synthesised(
    folder: Path,
    design: Design,
    netlist: Netlist | None,
    library: str | Path | None = None,
    *,
    frequency: float | None = None,
    timeout: float = 600.0,
    prove: bool = False,
    recipe: str = "reference",
    clock_ns: float | None = None,
    on_progress: Progress | None = None,
) -> Estimate:
    """Measure as :func:`estimate_design` does; *netlist*: what it was synthesised to already, on that library by that recipe."""
    from approxhw.backends.estimate import estimate_hierarchy, estimate_netlist, load_library, synthesise
    from approxhw.backends.estimate.estimator import TIMED, check_rate
    from approxhw.backends.estimate.netlist.text import verilog_of_titles

    refuse_below("estimate", 0, above=True, timeout=timeout)
    tell = on_progress or (lambda step, done, total: None)
    cells = load_library(library or design.library)
    check_rate(frequency, clock_ns, recipe)
    if recipe == TIMED:
        why = "is for Verilog files: the blocks of a design are compared one by one, by one ruler"
        raise OptionError("estimate", [Problem(f"recipe {TIMED}", why)])
    started = time.perf_counter()
    file = place_in(folder, estimate_file(cells.name))
    tell("synthesise", 0, 4)
    if netlist is None:
        netlist = synthesise(design.verilog, design.top, cells, timeout=timeout, recipe=recipe)
    tell("netlist = graph", 1, 4)
    job, _ = job_of(design, every_row=True)
    checked = check_netlist(job, netlist, place_in(folder, "estimate/netlist_mismatches.json"))
    rows, origin = _power_rows(design)
    rows = idle_clock(design.clock, netlist)(rows) if rows else rows
    tell("power", 2, 4)
    estimate = estimate_netlist(
        netlist,
        vectors=rows,
        vectors_from=origin,
        frequency=frequency,
        started=started,
        recipe=recipe,
        clock_ns=clock_ns,
    )
    tell("by layer", 3, 4)
    parts = estimate_hierarchy(
        design.verilog,
        design.top,
        cells,
        vectors=rows,
        vectors_from=origin,
        frequency=frequency,
        keep=_blocks(design),
        timeout=timeout,
        recipe=recipe,
        clock_ns=clock_ns,
    )
    kept = {
        **estimate.as_json(),
        "netlist_vectors": checked,
        "netlist_mismatches": 0,
        "by_layer": _by_layer(parts),
        "by_layer_area_mm2": parts.area_mm2,
        "calibrated_area_mm2": _calibrated_area(design, cells, timeout, recipe),
        "proofs": _proofs(design, cells, timeout) if prove else [],
    }
    write_beside(file, json_text(kept))
    write_beside(file.with_name(f"{file.stem}_netlist.v"), verilog_of_titles(netlist))
    tell("by layer", 4, 4)
    return estimate


def _calibrated_area(design: Design, cells: CellLibrary, timeout: float, recipe: str) -> float | None:
    """Return the area of the circuit that *design* offers in its place; None where there is none, or it cannot be had in time."""
    if design.calibrated is None:
        return None
    registers = design.clock is not None
    try:
        return circuit_area(design.calibrated.graph, cells, timeout=timeout, recipe=recipe, registers=registers)
    except (ToolTimeoutError, ToolFailedError):  # what was asked for is measured, and stays so
        return None


def idle_clock(clock: str | None, netlist: Netlist) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Return what gives vectors for *netlist* a column of zeros for a *clock* whose registers were all optimised away."""
    idle = clock is not None and clock in {port.name for port in netlist.data_inputs}

    def with_clock(vectors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        count = max((len(column) for column in vectors.values()), default=1)
        return {**vectors, clock: np.zeros(count, dtype=np.int64)} if idle and clock else dict(vectors)

    return with_clock


def check_netlist(job: SimulationJob, netlist: Netlist, file: Path, about: Mapping[str, object] | None = None) -> int:
    """Compare a synthesised netlist with what *job* expects, on all its vectors; return how many there were.

    Raises :class:`MismatchError` naming *file*, which then holds at most 1000 vectors, expected and seen values, and *about*.
    """
    from approxhw.backends.estimate import simulate_netlist

    # the pipeline is filled by repeating the last vector
    columns = {port: np.concatenate([c, np.repeat(c[-1:], job.latency)]) for port, c in job.vectors.items()}
    made = simulate_netlist(netlist, idle_clock(job.clock, netlist)(columns))
    rows: list[dict[str, object]] = []
    wrong: set[int] = set()
    for name, expected in job.expected.items():
        seen = np.asarray(made[name])
        # without inputs there is one result, and it stays
        seen = seen[job.latency :] if columns else np.broadcast_to(seen[-1:], expected.shape)
        if seen.shape != expected.shape:
            raise ValueError(f"{job.name}: the netlist gave {len(seen)} results for {len(expected)} vectors")
        differ = np.flatnonzero(seen != expected)
        wrong.update(differ.tolist())
        rows += [
            {
                "index": int(i),
                **({"output": name} if len(job.outputs) > 1 else {}),
                "inputs": {port: int(column[i]) for port, column in job.vectors.items()},
                "expected": int(expected[i]),
                "seen": int(seen[i]),
            }
            for i in differ[:1000]
        ]
    if wrong:
        content = {**about, "mismatches": rows} if about else rows
        write_beside(file, json_text(content))
        raise MismatchError(f"{job.name}: synthesised netlist", len(wrong), job.count, file)
    return job.count


def circuit_area(
    graph: Graph,
    library: str | Path | CellLibrary = "egfet",
    *,
    timeout: float = 600.0,
    recipe: str = "reference",
    registers: bool = False,
) -> float:
    """Return the synthesised area, in mm², of the bespoke circuit of an integer *graph*, with *registers* or without."""
    from approxhw.backends.bespoke.circuit import build_circuit
    from approxhw.backends.bespoke.emit import emit
    from approxhw.backends.estimate import synthesise

    emitted = emit(build_circuit(graph), registers=registers)
    return synthesise(emitted.verilog, emitted.top, library, timeout=timeout, recipe=recipe).area()


def cell_area(library: str | Path, *, timeout: float = 600.0) -> Callable[[str, str], float]:
    """Return what synthesises a Verilog text and its top module, and tells its area in mm² of *library*."""
    from approxhw.backends.estimate import load_library, synthesise

    return lambda text, top: synthesise(text, top, load_library(library), timeout=timeout).area()


def _power_rows(design: Design) -> tuple[dict[str, np.ndarray] | None, str]:
    count = len(design.rows.train)
    if not count or not design.inputs:
        return random_words(design)
    return design.ports_of(design.rows.train), f"{count} training rows of the design"


def _blocks(design: Design) -> list[str]:
    """Return the modules that belong to layers: what is neither the top nor a template, which has parameters."""
    return [name for name, text in design.modules.items() if name != design.top and "  parameter " not in text]


def _by_layer(parts: HierarchyEstimate) -> list[dict[str, object]]:
    """Return area, power and cells by layer: instances below the top, put together by the start of their names."""
    from approxhw.backends.estimate.estimator import total_power

    layers: dict[str, list[EstimatePart]] = {}
    for part in parts.parts:
        layers.setdefault(part.path[0].split("_")[0] if part.path else "top", []).append(part)
    return [
        {"name": name, "area_mm2": sum(p.area_mm2 for p in inside), "power_mw": total_power(inside), "cells": cells}
        for name, inside in sorted(layers.items())
        if (cells := sum(p.cells for p in inside)) or name != "top"
    ]


def _proofs(design: Design, cells: CellLibrary, timeout: float) -> list[dict[str, object]]:
    from approxhw.backends.estimate import prove_blocks

    return [
        {
            "module": _readable(proof.module),
            "input_bits": proof.input_bits,
            "proven": proof.proven,
            "seconds": proof.seconds,
        }
        for proof in prove_blocks(design.verilog, design.top, cells, timeout=timeout)
    ]


def _readable(module: str) -> str:
    r"""Return a module's name as people write it: Yosys calls ``full_adders #(.WIDTH(2))`` ``$paramod\full_adders\WIDTH=…``."""
    match = re.fullmatch(r"\$paramod\\(\w+)\\(\w+)=\d+'([01]+)", module)
    return f"{match[1]} #(.{match[2]}({int(match[3], 2)}))" if match else shown(module)


class Ruler(TypedDict, total=False):
    """How :func:`estimate` measures, beside the library and the vectors."""

    frequency: float | None
    timeout: float
    recipe: str
    clock_ns: float | None
    allow_undriven: bool


@checked("estimate")
def estimate(
    verilog: str | Path | Sequence[str | Path],
    *,
    top: str | None = None,
    library: str | Path = "egfet",
    vectors: str | Path | Mapping[str, np.ndarray] | None = None,
    include: Sequence[str | Path] = (),
    define: Mapping[str, object] | Sequence[str] = (),
    parameter: Mapping[str, object] | Sequence[str] = (),
    **how: Unpack[Ruler],
) -> Estimate:
    """Measure any Verilog by the ruler of our own designs.

    ``verilog``: a file, or several in the order in which they are compiled; ``.sv`` is SystemVerilog. ``top``: the top module,
    found where there is only one candidate. ``include``: folders in which includes and data files are looked for, after that
    of the file that names them; what lies in neither is not read. ``define``: macros, ``parameter``: values of the top's
    parameters, by name or as ``NAME=VALUE`` texts. ``vectors``: ``.npz`` with one array of codes a port, or such a mapping;
    without, 10 000 seeded uniform vectors, resets let go after two; the result names which. ``clock_ns``: a clock period: slack
    is told, and there is a vector a clock; recipe ``timed`` synthesises for it. ``allow_undriven``: nets that nothing drives
    count as 0, and the result's ``notes`` name them; else they are a :class:`VerilogError`. Other errors: as of
    :func:`approxhw.backends.estimate.synthesise`.
    """
    from approxhw.backends.estimate.synthesis.source import named_values, parameter_value
    from approxhw.backends.estimate.synthesis.source_files import read_sources

    source = read_sources(
        [verilog] if isinstance(verilog, str | Path) else list(verilog),
        include=[include] if isinstance(include, str | Path) else include,
        defines=named_values(define, "define"),
        parameters={name: parameter_value(text) for name, text in named_values(parameter, "parameter").items()},
    )
    return estimate_text(source, top, library, vectors=vectors, **how)


@checked("estimate")
def estimate_text(
    text: str | VerilogSource,
    top: str | None = None,
    library: str | Path = "egfet",
    *,
    vectors: str | Path | Mapping[str, np.ndarray] | None = None,
    **how: Unpack[Ruler],
) -> Estimate:
    """Measure the Verilog *text*; arguments and errors as :func:`estimate`."""
    from approxhw.backends.estimate import estimate as measure

    refuse_below("estimate", 0, above=True, timeout=how.get("timeout"))
    origin = ""
    if isinstance(vectors, str | Path):
        origin = f"vectors of {shown(Path(vectors).name)}"
        vectors = _vectors_file(Path(vectors))
    return measure(text, top, library, vectors=vectors, vectors_from=origin, **how)


def _vectors_file(path: Path) -> dict[str, np.ndarray]:
    if not is_plain_file(path):
        kind = other_kind(path)
        why, remedy = (
            (f"it is {kind}, no file", "save it first") if kind else ("there is no such file", "check the path")
        )
        raise InvalidDataError(str(path), [Problem(str(path), why, remedy)])
    arrays = read_npz(path).arrays
    problems = [
        Problem(shown(name), f"an array of {array.dtype} with {array.ndim} axes", "give whole numbers, one a vector")
        for name, array in arrays.items()
        if array.dtype.kind not in "iub" or array.ndim != 1
    ]
    if problems:
        raise InvalidDataError(str(path), problems)
    return dict(arrays)
