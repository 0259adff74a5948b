"""Genomes become circuits: decoded, cleaned up, synthesised, compiled into design folders, simulated many at a time."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from approxhw.artifacts.converters import converters
from approxhw.artifacts.design import Design, Model, write_design
from approxhw.artifacts.objectives import CIRCUIT, Objective
from approxhw.common.data.dataset import Dataset
from approxhw.common.errors import MismatchError
from approxhw.common.files import write_beside
from approxhw.common.tools import tool_threads
from approxhw.flow.printed.building import designed
from approxhw.flow.printed.target import Printed
from approxhw.flow.stages.describe import header_of, ledger_row
from approxhw.flow.stages.measure import estimate_design, job_of
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph
from approxhw.ir.kinds import Input
from approxhw.ir.pass_manager import PassContext, PassRecord, parse_passes, run_passes, weights_and_bits
from approxhw.numerics.formats import Fixed

if TYPE_CHECKING:
    from approxhw.backends.estimate import Estimate
    from approxhw.networks.space import Space

    from .rows.thin_inputs import Thinned

CLEAN_UP = "drop-constant,narrow-formats"
"""Exact passes that every genome goes through before it becomes a circuit."""

EXHAUSTIVE_BITS = 12
"""Members with at most this many input bits are simulated on every vector there is."""

TRIMS = 5
"""Syntheses at most until a member reads no input bit that decides nothing."""

Progress = Callable[[str, int, int], None]
"""Called with a step, how much of it is done, and how much there is."""

_One = TypeVar("_One")
_Other = TypeVar("_Other")


@dataclass(frozen=True, eq=False)
class Origin:
    """Where every member of a search comes from.

    ``graph``: the masked network whose constants the genomes are; ``space``: its genomes. ``data``: all rows, readings
    and class indices, which go into the designs. ``onnx``: accuracies of the model on ``train`` and ``test`` rows.
    ``ledger``: what was done to the model before the search. ``timeout``: seconds a tool may take.
    """

    graph: Graph
    space: Space
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
    thinned: Thinned | None = None
    """Which inputs are searched with, where they are not all: ``graph`` and ``space`` have these alone."""

    @property
    def title(self) -> str:
        """What the model is called."""
        return str(self.model["title"])


@dataclass(frozen=True, eq=False)
class Measured:
    """What a synthesised genome costs, as a member of a front tells it; power and delay: NaN where nobody asks for them."""

    area_mm2: float
    bits: np.ndarray
    """Of the code of every feature that is searched with, those that the netlist reads (int64, features)."""
    inputs: int
    converters_area_mm2: float
    converters_power_mw: float
    power_mw: float = math.nan
    """Over the training rows."""
    delay_ms: float = math.nan

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


class Workshop:
    """Makes circuits of genomes, up to ``jobs`` at a time, and remembers what each it was asked for costs.

    Threads do: nearly all of the time is spent in Yosys, which runs as a program of its own.
    """

    def __init__(self, origin: Origin, jobs: int, costs: tuple[Objective, ...] = (CIRCUIT["area"],)) -> None:
        self.origin, self.jobs, self.costs = origin, max(1, jobs), costs
        self.known: dict[bytes, Measured] = {}
        self._emitting = threading.Lock()  # the parser of what was emitted is one for all threads

    def measured(self, genomes: np.ndarray, on_progress: Progress | None = None) -> np.ndarray:
        """Return what each of *genomes* (P × G) has of each of ``costs`` when it is synthesised: float64, P × costs."""
        figures = self._figures(genomes, on_progress)
        return np.array([[cost.value(one) for cost in self.costs] for one in figures]).reshape(len(genomes), -1)

    def areas(self, genomes: np.ndarray, on_progress: Progress | None = None) -> np.ndarray:
        """Return the synthesised area in mm² of each of *genomes* (P × G): float64, P."""
        return np.array([one.area_mm2 for one in self._figures(genomes, on_progress)], dtype=np.float64)

    def _figures(self, genomes: np.ndarray, on_progress: Progress | None = None) -> list[Measured]:
        keys = [self._key(genome) for genome in genomes]
        todo = {key: genome for key, genome in zip(keys, genomes) if key not in self.known}
        for key, found in zip(todo, self._map(self._synthesised, todo.values(), "synthesise", on_progress)):
            self.known[key] = found
        return [self.known[key] for key in keys]

    def without_unread(self, genomes: np.ndarray) -> np.ndarray:
        """Return *genomes* (P × G) without the mask bits of input bits that their netlists do not read.

        A masked bit is a bit that is 0: what no cell reads may be that, and the circuit stays the same for every input.
        Synthesis may see more then, so it is asked again until nothing changes.
        """
        trimmed = np.array(genomes, dtype=np.int32)
        for _ in range(TRIMS):
            before = trimmed.copy()
            self._figures(before)
            for genome, layer in zip(before, self.origin.space.layer_genes(trimmed, 0).masks):
                layer &= self.known[self._key(genome)].bits.astype(np.int32)[None, :]
            if np.array_equal(before, trimmed):
                break
        return trimmed

    def _key(self, genome: np.ndarray) -> bytes:
        from approxhw.networks.space import canonical

        return canonical(self.origin.space, np.asarray(genome)[None])[0].tobytes()

    def _synthesised(self, genome: np.ndarray) -> Measured:
        from approxhw.backends.bespoke.circuit import build_circuit
        from approxhw.backends.bespoke.emit import emit
        from approxhw.backends.estimate import estimate_netlist, load_library, synthesise

        _, graph, _ = member_graph(self.origin, genome)
        with self._emitting:
            emitted = emit(build_circuit(graph))
        cells = load_library(self.origin.target.library)
        netlist = synthesise(emitted.verilog, emitted.top, cells, timeout=self.origin.timeout)
        op, fmt, read = graph.input.op, graph.input.type.format, netlist.bits_read()
        assert isinstance(op, Input)
        bits = np.zeros(len(op.features), dtype=np.int64)
        for name, positions in emitted.input_bits:
            bits[op.features.index(name)] = sum(1 << positions[i] for i in read[name])
        if self.origin.thinned is not None:
            bits = bits[self.origin.thinned.kept]
        outside = converters(len(emitted.input_bits), fmt.bits if isinstance(fmt, Fixed) else 0)
        found = Measured(netlist.area(), bits, outside.count, outside.area_mm2, outside.power_mw)
        if not any(cost.field in POWERED for cost in self.costs):
            return found
        codes = codes_of(graph, self.origin.data.X_train)
        # the rows that the power of a member is told of, as its ports carry them
        vectors = {
            name: np.sum(
                [((codes[:, op.features.index(name)] >> bit) & 1) << i for i, bit in enumerate(positions)], axis=0
            )
            for name, positions in emitted.input_bits
        }
        cost = estimate_netlist(netlist, vectors=vectors or None, vectors_from="training rows")
        return replace(found, power_mw=cost.known_power_mw(), delay_ms=cost.delay_ms)

    def compile(
        self, genomes: Mapping[int, np.ndarray], folder: Path, on_progress: Progress | None = None
    ) -> list[tuple[Design, Estimate]]:
        """Compile genome 0 into the design folder ``folder/00`` and so on, and measure it: netlist = Graph, too."""
        return self._map(
            lambda item: self._compile(item[1], folder / f"{item[0]:02d}"), genomes.items(), "compile", on_progress
        )

    def _compile(self, genome: np.ndarray, folder: Path) -> tuple[Design, Estimate]:
        design = member_design(self.origin, genome, folder.name, self._emitting)
        write_design(design, folder)
        return design, estimate_design(folder, design, timeout=self.origin.timeout)

    def _map(
        self, work: Callable[[_One], _Other], items: Iterable[_One], step: str, on_progress: Progress | None
    ) -> list[_Other]:
        """Return what *work* makes of each item, in order; the first error ends it all."""
        todo, results = list(items), []
        tell = on_progress or (lambda step, done, total: None)
        tell(step, 0, len(todo))
        with tool_threads(min(self.jobs, max(1, len(todo)))) as pool:
            for done, result in enumerate(pool.map(work, todo), 1):
                results.append(result)
                tell(step, done, len(todo))
        return results


def member_graph(origin: Origin, genome: np.ndarray) -> tuple[Graph, Graph, tuple[PassRecord, ...]]:
    """Return the Graph of *genome*, the same cleaned up by exact passes, and their ledger."""
    from approxhw.networks.space import decode_genome

    decoded = decode_genome(origin.space, genome, origin.graph)
    if origin.thinned is not None:
        decoded = origin.thinned.restored(decoded)
    return decoded, *run_passes(decoded, parse_passes(CLEAN_UP), PassContext(origin.data))


def member_design(
    origin: Origin, genome: np.ndarray, number: str, lock: threading.Lock | None = None, *, registers: bool = False
) -> Design:
    """Return the Design of *genome*, with the whole ledger from the model to the circuit; *number* goes into its name."""
    decoded, graph, cleaned = member_graph(origin, genome)
    searched = _searched(origin, decoded, cleaned[0], number)
    ledger = [*origin.ledger, searched, *(replace(row, index=row.index + searched.index) for row in cleaned)]
    named = replace(graph, name=f"{graph.name[:56]}_{number}")
    header = header_of(named, None, origin.target, [row.spelled for row in ledger])
    with lock or threading.Lock():
        design = designed(named, origin.data, origin.onnx, header=header, registers=registers)
    return replace(
        design,
        model=origin.model,
        pipeline=", ".join([*([origin.target.pipeline] if origin.ledger else []), "search"]),
        library=origin.target.library,
        command=origin.command,
        ledger=tuple(ledger_row(row) for row in ledger),
    )


def _searched(origin: Origin, decoded: Graph, after: PassRecord, number: str) -> PassRecord:
    """Return the line of the ledger that says what the search did to the masked network."""
    last = origin.ledger[-1] if origin.ledger else None
    weights, bits = weights_and_bits(decoded)
    return PassRecord(
        index=len(origin.ledger) + 1,
        name="search",
        spelled=origin.search,
        options={},
        kind="approximating",
        seconds=origin.seconds,
        nodes_before=len(origin.graph.nodes),
        nodes_after=len(decoded.nodes),
        train_accuracy_before=last.train_accuracy_after if last else after.train_accuracy_before,
        train_accuracy_after=after.train_accuracy_before,
        test_accuracy_before=last.test_accuracy_after if last else after.test_accuracy_before,
        test_accuracy_after=after.test_accuracy_before,
        weights=weights,
        accumulator_bits=bits,
        checked_rows=0,
        notes=(f"member {number} of the front",),
    )


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
