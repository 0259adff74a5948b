"""Send AXI4-Stream words through a design on Icarus or Verilator, with stalls and resets, and compare what comes out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common import tools
from approxhw.common.errors import MismatchError, OptionError, Problem, ToolFailedError, shown
from approxhw.common.files import no_room, temporary_folder
from approxhw.sim.simulators.registry import (
    Bench,
    Simulator,
    child_environment,
    prepare_bench,
    simulator_named,
    simulator_problem,
)

from .job import IDENTIFIER

if TYPE_CHECKING:
    from .bench_json import StreamResults, StreamSettings

OPTIMISE_FROM = 40_000  # words in from which optimised code pays: -O1 doubles the minute that an array of 16 x 16 takes
KEEP_WORDS = 200  # mismatching words in the file; all are counted


@dataclass(frozen=True, eq=False)  # arrays have no one truth value
class Stream:
    """One AXI4-Stream port and the words that go through it.

    ``words``: uint8, words x bytes, least significant byte first. ``bits``: width of tdata. ``ends``: for every word
    whether tlast stands with it; the last one has it. ``user``: for every word its tuser, None without such a port.
    """

    name: str
    bits: int
    words: np.ndarray
    ends: np.ndarray
    user: np.ndarray | None = None


@dataclass(frozen=True)
class Disturbance:
    """What a bench does to the streams. ``pause``: probability that a port rests in a clock, on every port.

    ``hold``: (clock, clocks) in which no result is taken. ``reset_at``: the clock at which a reset of five clocks ends
    everything; all is then sent again from the start. Clocks count from the release of the first reset.
    """

    pause: float = 0.0
    hold: tuple[int, int] | None = None
    reset_at: int | None = None
    seed: int = 1


@dataclass(frozen=True, eq=False)
class StreamJob:
    """A design with AXI4-Streams, ``aclk`` and ``aresetn``: what goes in and what must come out.

    ``idle``: clocks without any word moved after which the bench gives up. ``watch``: an output that must be 0 all the time.
    ``held``: other inputs, and the value that each keeps.
    """

    name: str
    verilog: str
    top: str
    inputs: tuple[Stream, ...]
    output: Stream
    disturbance: Disturbance = field(default_factory=Disturbance)
    idle: int = 2000
    watch: str | None = None
    bits: tuple[str, ...] = ()
    """What the bits of ``watch`` say, lowest first."""
    held: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StreamResult:
    """What a bench saw. ``words``: results compared. ``mismatches``: how many of them differ, in tdata or tlast.

    ``clocks``: from the release of the (last) reset to the last result. ``accepted``: words taken in, by port.
    ``stalled``: clocks in which a port had a word to give and it was not taken, by port. ``before_reset``: results that
    came before the reset in mid-stream, compared too. ``mismatch_file``: JSON, or None. ``seconds``: of "build" and "run".
    """

    name: str
    simulator: str
    words: int
    mismatches: int
    clocks: int
    accepted: dict[str, int]
    stalled: dict[str, int]
    before_reset: int
    mismatch_file: Path | None
    seconds: dict[str, float]

    def raise_on_mismatch(self) -> StreamResult:
        """Return this result, or raise :class:`MismatchError` when hardware and model disagree."""
        if self.mismatch_file is not None:
            raise MismatchError(
                f"{shown(self.name)} on {self.simulator}", self.mismatches, self.words, self.mismatch_file
            )
        return self


def simulate_streams(job: StreamJob, simulator: str, folder: str | Path, *, timeout: float = 600.0) -> StreamResult:
    """Send the words of *job* through its Verilog on *simulator* ("icarus", "verilator", …) and compare the results.

    ``folder``: a new or empty one; it receives the Verilog, the logs, ``streams.json`` and, when something differs,
    ``mismatches.json``. ``timeout``: seconds for all of it. Raises :class:`OptionError` for a job that
    cannot be run, and the tool errors, also where results are missing in the end.
    """
    _check(job, simulator)
    chosen = simulator_named(simulator)
    target = Path(folder).resolve()
    with tools.deadline(timeout), temporary_folder("streams") as work:
        tool = chosen.find()
        target.mkdir(parents=True, exist_ok=True)
        _prepare(job, chosen, tool, work, timeout)
        seconds = {step: _child(chosen, tool, step, work, target, timeout) for step in ("build", "run")}
        try:
            seen: StreamResults = json.loads((work / "results.json").read_text())
            data = np.load(work / "seen.npy", allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:  # half a file: the disk was full
            raise no_room("simulate", "the bench could not write its results whole") from error
    (target / "design.v").write_text(job.verilog, encoding="utf-8")
    wanted = job.output.words
    if seen["watched"]:
        said = [words for bit, words in enumerate(job.bits) if seen["watched"] >> bit & 1]
        told = f" ({', '.join(said)})" if said else ""
        why = f"{job.watch} was not 0 in the end, but {seen['watched']}{told}"
        raise ToolFailedError(f"{simulator} (run)", 0, f"{shown(job.name)}: {why}", target / "run.log")
    if seen["words"] != len(wanted):
        why = f"{seen['words']} of {len(wanted)} words came out, then nothing moved for {job.idle} clocks"
        raise ToolFailedError(f"{simulator} (run)", 0, f"{shown(job.name)}: {why}", target / "run.log")
    differ = np.any(data != wanted, axis=1) | (np.array(seen["ends"]) != job.output.ends)
    file = None
    if count := int(differ.sum()) + seen["early_mismatches"]:
        file = target / "mismatches.json"
        rows = [
            {
                "word": int(i),
                "expected": wanted[i, ::-1].tobytes().hex(),
                "seen": data[i, ::-1].tobytes().hex(),
                "expected_tlast": bool(job.output.ends[i]),
                "seen_tlast": bool(seen["ends"][i]),
            }
            for i in np.flatnonzero(differ)[:KEEP_WORDS]
        ]
        file.write_text(
            json.dumps({"design": job.name, "simulator": simulator, "mismatches": count, "rows": rows}, indent=1)
        )
    result = StreamResult(
        job.name,
        simulator,
        len(wanted),
        count,
        seen["clocks"],
        seen["accepted"],
        seen["stalled"],
        seen["before_reset"],
        file,
        seconds,
    )
    summary = {key: value for key, value in vars(result).items() if key != "mismatch_file"}
    (target / "streams.json").write_text(json.dumps(summary, indent=1))
    return result


def _check(job: StreamJob, simulator: str) -> None:
    problems: list[Problem] = []
    if problem := simulator_problem(simulator):
        problems.append(problem)
    if not 0.0 <= job.disturbance.pause < 1.0:
        problems.append(Problem("pause", f"{job.disturbance.pause} is no probability below 1"))
    problems += [
        Problem(shown(name), "is no plain Verilog identifier")
        for name in (job.top, *job.held, *(stream.name for stream in (*job.inputs, job.output)))
        if not IDENTIFIER.fullmatch(name)
    ]
    for stream in (*job.inputs, job.output):
        shape = (len(stream.ends), -(-stream.bits // 8))
        if stream.words.dtype != np.uint8 or stream.words.shape != shape:
            problems.append(
                Problem(stream.name, f"words are {stream.words.dtype} {stream.words.shape}, not uint8 {shape}")
            )
        elif len(stream.ends) == 0 or not stream.ends[-1]:
            problems.append(Problem(stream.name, "has no words, or the last of them is no end"))
        if stream.user is not None and len(stream.user) != len(stream.ends):
            problems.append(Problem(stream.name, f"{len(stream.user)} values of tuser for {len(stream.ends)} words"))
    if problems:
        raise OptionError(f"simulation of {shown(job.name)}", problems)


def _prepare(job: StreamJob, simulator: Simulator, tool: tools.Tool, work: Path, timeout: float) -> None:
    (work / "design.v").write_text(job.verilog, encoding="utf-8")
    words = sum(len(stream.words) for stream in job.inputs)
    bench = Bench(work, ("design.v",), job.top, *_ports(job), long=words >= OPTIMISE_FROM, timeout=timeout)
    build = prepare_bench(simulator, bench, tool)
    for number, stream in enumerate((*job.inputs, job.output)):
        np.save(work / f"words{number}.npy", stream.words)
        np.save(work / f"ends{number}.npy", np.asarray(stream.ends, dtype=bool))
        user = np.zeros(len(stream.ends)) if stream.user is None else stream.user
        np.save(work / f"user{number}.npy", np.asarray(user, dtype=np.int64))
    disturbance = job.disturbance
    settings: StreamSettings = {
        "bench": "approxhw.sim.benches.stream_bench",
        "results": "results.json",
        "runner": simulator.runner,
        "folder": str(work),
        "top": job.top,
        "sources": build.sources,
        "build_args": build.arguments,
        "environment": build.environment or {},
        "inputs": [{"name": stream.name, "bits": stream.bits} for stream in job.inputs],
        "output": {"name": job.output.name, "bits": job.output.bits},
        "pause": disturbance.pause,
        "hold": disturbance.hold,
        "reset_at": disturbance.reset_at,
        "seed": disturbance.seed,
        "idle": job.idle,
        "watch": job.watch,
        "held": dict(job.held),
    }
    (work / "settings.json").write_text(json.dumps(settings))


def _ports(job: StreamJob) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the ports that the bench writes, and those that it reads."""
    written = ["aclk", "aresetn", f"{job.output.name}_tready", *job.held]
    read = [f"{job.output.name}_{port}" for port in ("tdata", "tlast", "tvalid")]
    for stream in job.inputs:
        written += [f"{stream.name}_{port}" for port in ("tdata", "tlast", "tvalid")]
        written += [f"{stream.name}_tuser"] if stream.user is not None else []
        read.append(f"{stream.name}_tready")
    read += [job.watch] if job.watch else []
    return tuple(written), tuple(read)


def _child(simulator: Simulator, tool: tools.Tool, step: str, work: Path, target: Path, timeout: float) -> float:
    started = time.perf_counter()
    worker = tools.Tool(f"{simulator.name} ({step})", (sys.executable, "-m", "approxhw.sim.worker"))
    tools.run_tool(
        worker,
        [step, work / "settings.json"],
        timeout=timeout,
        log=target / f"{step}.log",
        folder=work,
        environment=child_environment(work, tool),
    )
    return time.perf_counter() - started
