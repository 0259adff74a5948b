"""Random programs: seeded small networks, checked interpreter = Icarus = Verilator = synthesised netlist."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.files import locked
from approxhw.common.tools import tool_threads
from approxhw.ir.graph import Graph
from approxhw.ir.interpreter import run, run_all
from approxhw.ir.kinds import Constant, Dense, Threshold
from approxhw.ir.random_graphs import random_graph
from approxhw.ir.rewriting import code_array, fit_formats
from approxhw.ir.text import print_graph
from approxhw.ir.verifier import problems
from approxhw.numerics.formats import Fixed
from approxhw.sim.simulators.registry import SIMULATORS, simulator_named

from .stages.measure import check_netlist, port_patterns

if TYPE_CHECKING:
    from approxhw.sim import SimulationJob

Progress = Callable[[str, int, int], None]

BUNDLE = 100
"""Networks under one top: one Verilator build serves them all."""

ICARUS_BUDGET, ICARUS_LEAST = 12_000_000, 40
"""Vectors times characters of Verilog that one network may cost on Icarus, and the vectors it gets in any case.

Icarus follows every glitch of an adder tree, so the largest ten of two hundred networks took most of its time. Corners
come first in a list of vectors, and are never cut; Verilator and the netlist see them all.
"""

RULED = 40_000
"""Characters of Verilog up to which a network is synthesised by the ruler; one in ten is longer, and gets the quick recipe.

Those took two thirds of all synthesis. Every network is synthesised and compared on every vector, whatever the recipe.
"""

TRIES, STRIDE = 20, 1_000_003
"""How many Graphs a seed may try, and what lies between their own seeds."""


@dataclass(frozen=True)
class FuzzResult:
    """How many networks and vectors agreed everywhere. ``checked``: vectors by where they were compared."""

    networks: int
    seed: int
    checked: dict[str, int]
    constant: int
    """Networks whose output is the same for every input: they are built and checked like the others."""


def random_program(seed: int) -> Graph:
    """Return the random network of *seed* that :func:`fuzz` checks.

    Two in three Graphs of :func:`~approxhw.ir.random_graphs.random_graph` give every row the same class: a circuit that is
    wrong would seldom show there. One in four is taken as it is; for the others the first of a row of Graphs is taken that
    gives several classes once it is set on edge: every bias moved so that each sum is about as often above as below
    zero (or the threshold that judges it). Most of them are narrow: what does not decide is free, what does has gates.
    """
    if seed % 4 == 0:
        return random_graph(seed, trees_and_gates=False)
    for number in range(seed, seed + TRIES * STRIDE, STRIDE):
        size = {} if seed % 16 == 1 else {"max_inputs": 5, "max_width": 5}
        graph = random_graph(number, trees_and_gates=False, **size)
        fmt = graph.input.type.format
        assert isinstance(fmt, Fixed)
        rows = np.random.default_rng([number, 3]).integers(fmt.low, fmt.high + 1, (65, graph.input.type.elements))
        graph = _on_edge(graph, rows)
        if len(np.unique(run(graph, rows))) > 1:
            break
    return graph


def _on_edge(graph: Graph, rows: np.ndarray) -> Graph:
    for node in graph.nodes:
        if isinstance(node.op, Dense):
            sums = np.sort(run_all(graph, rows)[node.name].astype(object), axis=0)
            judges = [reader.op.threshold for reader in graph.readers(node.name) if isinstance(reader.op, Threshold)]
            middle = sums[len(rows) // 2] - (int(judges[0]) if judges else 0)
            bias = graph[node.inputs[2]]
            moved = code_array(graph.constant(bias.name).astype(object) - middle)
            nodes = tuple(replace(n, op=Constant(moved)) if n is bias else n for n in graph.nodes)
            edged = fit_formats(replace(graph, nodes=nodes), widen_only=True)
            graph = graph if problems(edged) else edged  # masks, tables and comparators are for certain codes only
    return graph


def fuzz(
    count: int,
    *,
    seed: int = 1,
    folder: Path,
    simulators: Sequence[str] = SIMULATORS,
    netlists: bool = True,
    vectors: int = 100,
    on_progress: Progress | None = None,
) -> FuzzResult:
    """Check *count* random networks from *seed* on, every second one registered.

    *vectors*: random vectors a network besides the corners; every vector there is where its inputs have at most 8
    bits. The largest networks get fewer where Verilog is interpreted, as by Icarus: see :data:`ICARUS_BUDGET`.
    ``folder``: receives what failed.
    Raises :class:`MismatchError` naming the file with Graph and vector.
    """
    tell = on_progress or (lambda step, done, total: None)
    checked = dict.fromkeys([*simulators, *(["netlist"] if netlists else [])], 0)
    constant = 0
    with locked(folder):
        for first in range(seed, seed + count, BUNDLE):
            seeds = range(first, min(first + BUNDLE, seed + count))
            jobs = [_job(number, random_program(number), vectors) for number in seeds]
            constant += sum(not job.inputs for job in jobs)
            done = first - seed
            with tool_threads(1) as beside:  # synthesis is a process of its own: a second core does it meanwhile
                waiting = [beside.submit(_netlist, job, folder, number) for job, number in zip(jobs, seeds) if netlists]
                for simulator in simulators:
                    tell(simulator, done, count)
                    checked[simulator] += _simulated(jobs, simulator, folder, first)
                for index, netlist in enumerate(waiting):
                    tell("netlist", done + index, count)
                    checked["netlist"] += netlist.result()
    tell("done", count, count)
    return FuzzResult(count, seed, checked, constant)


def _job(seed: int, graph: Graph, count: int) -> SimulationJob:
    """Return the simulation of one network; registered for odd seeds."""
    from approxhw.backends.bespoke.circuit import build_circuit
    from approxhw.backends.bespoke.emit import emit
    from approxhw.sim import SimulationJob, test_vectors

    emitted = emit(build_circuit(graph), registers=bool(seed % 2))
    widths = [(name, len(positions)) for name, positions in emitted.input_bits]
    vectors, counts = test_vectors(widths, seed=seed, random=count, exhaustive_limit=8)
    total = sum(counts.values())
    fmt = graph.input.type.format
    assert isinstance(fmt, Fixed)
    codes = np.zeros((total, graph.input.type.elements), dtype=np.int64)
    features = graph.input.op.features  # type: ignore[union-attr]
    for name, positions in emitted.input_bits:
        for i, bit in enumerate(positions):
            codes[:, features.index(name)] |= ((vectors[name] >> i) & 1).astype(np.int64) << bit
    if fmt.signed:  # ports carry bit patterns
        codes = (codes ^ (1 << (fmt.bits - 1))) - (1 << (fmt.bits - 1))
    found = run(graph, codes).reshape(total, -1)
    return SimulationJob(
        name=f"random_{seed}",
        verilog=emitted.verilog,
        top=emitted.top,
        inputs=tuple(widths),
        outputs=emitted.outputs,
        clock=emitted.clock,
        latency=emitted.latency,
        vectors=vectors,
        expected={name: port_patterns(found[:, i], bits) for i, (name, bits) in enumerate(emitted.outputs)},
    )


def _simulated(jobs: list[SimulationJob], simulator: str, folder: Path, first: int) -> int:
    """Simulate *jobs* under one top a kind (registered or not); return how many vectors were compared, each once."""
    from approxhw.sim import bundle, simulate

    if not simulator_named(simulator).compiled:
        jobs = [_affordable(job) for job in jobs]
    total = 0
    for registered in (False, True):
        group = [job for job in jobs if (job.clock is not None) == registered]
        if group:
            kind = "registered" if registered else "combinational"
            target = folder / f"{simulator}_{first}_{kind}"
            simulate(bundle(group), simulator, target, timeout=1200.0).raise_on_mismatch()
            total += sum(job.count for job in group)  # the bundle holds a last vector on: that counts once
    return total


def _affordable(job: SimulationJob) -> SimulationJob:
    """Return *job* with as many of its first vectors as an interpreting simulator can afford."""
    count = max(ICARUS_LEAST, ICARUS_BUDGET // len(job.verilog))
    vectors, expected = ({name: column[:count] for name, column in c.items()} for c in (job.vectors, job.expected))
    return replace(job, vectors=vectors, expected=expected)


def _netlist(job: SimulationJob, folder: Path, seed: int) -> int:
    """Compare the synthesised netlist of one network with the interpreter; return how many vectors were compared."""
    from approxhw.backends.estimate import synthesise
    from approxhw.backends.estimate.synthesis.recipes import QUICK

    recipe = "reference" if len(job.verilog) <= RULED else QUICK
    netlist = synthesise(job.verilog, job.top, "egfet", timeout=300.0, recipe=recipe)
    about = {"seed": seed, "graph": print_graph(random_program(seed))}
    return check_netlist(job, netlist, folder / f"random_{seed}_netlist.json", about)
