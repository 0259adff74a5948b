"""Integer Graphs become members of a front: cleaned up, synthesised, compiled into design folders, simulated many at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from approxhw.artifacts.design import Design, Model, input_converters, write_design
from approxhw.artifacts.objectives import Objective
from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import MismatchError
from approxhw.common.files import write_beside
from approxhw.common.tools import tool_threads
from approxhw.flow.printed.building import designed
from approxhw.flow.printed.safety import HeldAgainst
from approxhw.flow.printed.target import Printed
from approxhw.flow.stages.describe import header_of, ledger_row
from approxhw.flow.stages.measure import estimate_synthesised, job_of
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph
from approxhw.ir.kinds import Input
from approxhw.ir.pass_manager import PassContext, PassRecord, parse_passes, run_passes, weights_and_bits

from .synthesised import Synthesised

if TYPE_CHECKING:
    from approxhw.backends.estimate import Estimate

CLEAN_UP = "drop-constant,narrow-formats"
"""Exact passes that everything goes through before it becomes a circuit."""

EXHAUSTIVE_BITS = 12
"""Members with at most this many input bits are simulated on every vector there is."""

Progress = Callable[[str, int, int], None]
"""Called with a step, how much of it is done, and how much there is."""

_One = TypeVar("_One")
_Other = TypeVar("_Other")


@dataclass(frozen=True, eq=False)
class Origin:
    """Where members of a search come from.

    ``nodes``: of the Graph that they were made of. ``data``: all rows, readings and class indices, which go into the designs.
    ``onnx``: accuracies of the model on ``train`` and ``test`` rows. ``ledger``: what was done to the model before the search.
    ``timeout``: seconds a tool may take.
    """

    nodes: int
    data: Dataset
    onnx: Mapping[str, float | None]
    model: Model
    ledger: tuple[PassRecord, ...]
    target: Printed
    search: str = "search"
    """The line of the ledger that says what the search was."""
    seconds: float = 0.0
    """What it took."""
    command: str = ""
    timeout: float = 600.0
    pipeline: str = ""
    """What stands before the search in the pipeline of a design."""
    held: HeldAgainst | None = None
    """What the safety report of a member holds its answers against."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What a synthesised circuit costs, as a member of a front tells it; power and delay: NaN where nobody asks for them."""

    area_mm2: float
    bits: np.ndarray
    """Of the code of every element of the Input, those that the netlist reads (int64, elements)."""
    inputs: int
    converters_area_mm2: float
    converters_power_mw: float
    power_mw: float = math.nan
    """Over the training rows."""
    delay_ms: float = math.nan
    made: Synthesised | None = None
    """What was measured, so that its design need not be synthesised again."""

    @property
    def energy_uj(self) -> float:
        """Of one classification: power times delay."""
        return self.power_mw * self.delay_ms

    @property
    def system_area_mm2(self) -> float:
        """Of the circuit and of its converters."""
        return self.area_mm2 + self.converters_area_mm2

    @property
    def system_power_mw(self) -> float:
        """Of the circuit and of its converters."""
        return self.power_mw + self.converters_power_mw


POWERED = ("power_mw", "energy_uj", "delay_ms", "system_power_mw")
"""Figures that need more of a netlist than its cells."""


@dataclass(frozen=True, eq=False)
class FrontCircuit:
    """A circuit that may be a member of a front, whatever family it is of."""

    family: str
    recipe: str
    """How it was fitted; empty for what the genetic search found."""
    fold: int
    genome: np.ndarray
    """int32; empty where it has none."""
    estimate: float
    """Area in mm² that was thought before synthesis."""
    expected: float
    """What it is expected to hold on rows never seen."""
    costs: np.ndarray
    """Of each objective beside the errors, synthesised (float64)."""
    train: float
    validation: float | None
    test: float | None
    """Accuracies: on rows that it learnt from, on rows put aside, on test rows."""
    design: Callable[[str], Design]
    """Makes its Design; the text goes into its name."""
    origin: Origin
    made: Synthesised | None = None
    """What it was synthesised to for its costs."""


def measured_circuit(graph: Graph, origin: Origin, costs: Sequence[Objective]) -> Measured:
    """Return what the circuit of an integer *graph* costs, synthesised; power and delay where *costs* ask for them."""
    from approxhw.backends.bespoke.circuit import build_circuit
    from approxhw.backends.bespoke.emit import emit
    from approxhw.backends.estimate import estimate_netlist, load_library, synthesise

    emitted = emit(build_circuit(graph))
    cells = load_library(origin.target.library)
    netlist = synthesise(emitted.verilog, emitted.top, cells, timeout=origin.timeout)
    op, read = graph.input.op, netlist.bits_read()
    assert isinstance(op, Input)
    places = {name: place for place, name in enumerate(op.features)}
    bits = np.zeros(len(op.features), dtype=np.int64)
    for name, positions in emitted.input_bits:
        bits[places[name]] = sum(1 << positions[i] for i in read[name])
    outside = input_converters(graph, [places[name] for name, _ in emitted.input_bits])
    made = Synthesised(emitted, netlist)
    found = Measured(netlist.area(), bits, len(emitted.input_bits), outside.area_mm2, outside.power_mw, made=made)
    if not any(cost.field in POWERED for cost in costs):
        return found
    codes = codes_of(graph, origin.data.X_train)
    # the rows that the power of a member is told of, as its ports carry them
    vectors = {
        name: np.sum([((codes[:, places[name]] >> bit) & 1) << i for i, bit in enumerate(positions)], axis=0)
        for name, positions in emitted.input_bits
    }
    cost = estimate_netlist(netlist, vectors=vectors or None, vectors_from="training rows")
    return replace(found, power_mw=cost.known_power_mw(), delay_ms=cost.delay_ms)


def cleaned_up(graph: Graph, data: Dataset) -> tuple[Graph, tuple[PassRecord, ...]]:
    """Return *graph* after exact passes, and their ledger."""
    return run_passes(graph, parse_passes(CLEAN_UP), PassContext(data))


def circuit_design(
    origin: Origin,
    found: Graph,
    number: str,
    notes: Sequence[str] = (),
    *,
    registers: bool = False,
    made: Synthesised | None = None,
) -> Design:
    """Return the Design of the Graph *found* by a search, with the whole ledger; *number* goes into its name.

    *made*: its circuit, where that was synthesised already.
    """
    graph, cleaned = cleaned_up(found, origin.data)
    searched = _searched(origin, found, cleaned[0], notes)
    ledger = [*origin.ledger, searched, *(replace(row, index=row.index + searched.index) for row in cleaned)]
    named = replace(graph, name=f"{graph.name[:56]}_{number}")
    header = header_of(named, None, origin.target, [row.spelled for row in ledger])
    emitted = None if made is None or registers else made.called(named.name, header)
    design = designed(
        named, origin.data, origin.onnx, header=header, registers=registers, emitted=emitted, held=origin.held
    )
    return replace(
        design,
        model=origin.model,
        pipeline=", ".join([*([origin.pipeline] if origin.ledger and origin.pipeline else []), "search"]),
        library=origin.target.library,
        command=origin.command,
        ledger=tuple(ledger_row(row) for row in ledger),
    )


def _searched(origin: Origin, found: Graph, after: PassRecord, notes: Sequence[str]) -> PassRecord:
    """Return the line of the ledger that says what the search did."""
    last = origin.ledger[-1] if origin.ledger else None
    weights, bits = weights_and_bits(found)
    return PassRecord(
        index=len(origin.ledger) + 1,
        name="search",
        spelled=origin.search,
        options={},
        kind="approximating",
        seconds=origin.seconds,
        nodes_before=origin.nodes,
        nodes_after=len(found.nodes),
        train_accuracy_before=last.train_accuracy_after if last else after.train_accuracy_before,
        train_accuracy_after=after.train_accuracy_before,
        test_accuracy_before=last.test_accuracy_after if last else after.test_accuracy_before,
        test_accuracy_after=after.test_accuracy_before,
        weights=weights,
        accumulator_bits=bits,
        checked_rows=0,
        notes=tuple(notes),
    )


def each_of(
    work: Callable[[_One], _Other], items: Iterable[_One], jobs: int, step: str, on_progress: Progress | None = None
) -> list[_Other]:
    """Return what *work* makes of each item, *jobs* at a time, in order; the first error ends it all.

    Threads do: nearly all of the time is spent in Yosys, which runs as a program of its own, and in kernels.
    """
    todo, results = list(items), []
    tell = on_progress or (lambda step, done, total: None)
    tell(step, 0, len(todo))
    with tool_threads(min(max(1, jobs), max(1, len(todo)))) as pool:
        for done, result in enumerate(pool.map(work, todo), 1):
            results.append(result)
            tell(step, done, len(todo))
    return results


def compile_circuits(
    circuits: Sequence[FrontCircuit], folder: Path, jobs: int, on_progress: Progress | None = None
) -> list[tuple[Design, Estimate]]:
    """Compile circuit 0 into the design folder ``folder/00`` and so on, and measure it: netlist = Graph, too."""

    def work(item: tuple[int, FrontCircuit]) -> tuple[Design, Estimate]:
        number, circuit = item
        place = folder / f"{number:02d}"
        design = circuit.design(place.name)
        write_design(design, place)
        netlist = None if circuit.made is None else circuit.made.netlist_of(design.verilog, design.top)
        return design, estimate_synthesised(place, design, netlist, timeout=circuit.origin.timeout)

    return each_of(work, enumerate(circuits), jobs, "compile", on_progress)


def simulate_members(
    folder: Path,
    designs: Sequence[Design],
    simulator: str,
    *,
    random: int = 1000,
    seed: int = 1,
    timeout: float = 600.0,
    on_progress: Progress | None = None,
) -> list[int]:
    """Drive rows, corners and random vectors through all *designs* (in ``folder/00``, …) at once on *simulator*.

    They share one simulation, so that it is built once. The verdict of each is kept in its folder; returns how many
    vectors each one was compared on. Raises :class:`MismatchError` naming the member, and the tool errors.
    """
    from approxhw.sim import bundle, bundle_ports, simulate

    made = [job_of(design, random=random, seed=seed, exhaustive_bits=EXHAUSTIVE_BITS) for design in designs]
    bundled = bundle([job for job, _ in made], name="front")
    place = folder / "simulation" / simulator
    result = simulate(bundled, simulator, place, timeout=timeout, on_progress=on_progress)
    wrong: dict[int, int] = {}
    owners = bundle_ports(bundled)
    for port, count in result.failing.items():
        wrong[owners[port][0]] = max(wrong.get(owners[port][0], 0), count)
    for index, (job, sources) in enumerate(made):
        verdict = {
            "simulator": simulator,
            "vectors": job.count,
            "mismatches": wrong.get(index, 0),
            "sources": sources,
            "seconds": dict(result.seconds),  # of all members together
            "mismatch_file": str(result.mismatch_file) if index in wrong else None,
        }
        path = folder / f"{index:02d}" / "simulation" / simulator / "verdict.json"
        write_beside(path, json.dumps(verdict, indent=1) + "\n")
    if result.mismatch_file is not None:
        names = ", ".join(designs[index].name for index in sorted(wrong))
        raise MismatchError(f"{names} on {simulator}", result.mismatches, result.vectors, result.mismatch_file)
    return [job.count for job, _ in made]
