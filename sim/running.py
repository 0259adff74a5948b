"""Run a SimulationJob on Icarus or Verilator and judge what came back."""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.common import tools
from approxhw.common.errors import OutputError, Problem, ToolFailedError, ToolTimeoutError
from approxhw.common.files import no_room
from approxhw.common.files.temporary import clear_left_behind, owned_folder, temporary_folder
from approxhw.common.files.writing import part_prefix
from approxhw.sim.simulators.registry import Bench, Simulator, child_environment, prepare_bench, simulator_named

from .harness import Harness, make_harness
from .job import SimulationJob, SimulationResult, check_job
from .packing import split_row, write_rows

if TYPE_CHECKING:
    from .bench_json import VectorResults, VectorSettings

# vectors from which optimised code pays: -O1 costs about 1 ms a gate and saves about 50 ns a gate and vector
OPTIMISE_FROM = 20_000
KEEP_ROWS = 1000  # mismatching rows in the file; all are counted
KEEP_VALUES = 200_000  # and values in them, for designs with very many ports
MARKER = "simulation.json"  # a folder that holds it was written by us and may be replaced
_KEPT = ("design.v", "harness.v", "build.log", "run.log", "mismatches.json", MARKER)

Progress = Callable[[str, int, int], None]


def simulate(
    job: SimulationJob,
    simulator: str,
    folder: str | Path,
    *,
    timeout: float = 600.0,
    on_progress: Progress | None = None,
    use_ccache: bool = True,
) -> SimulationResult:
    """Drive every vector of *job* through its Verilog on *simulator* ("icarus", "verilator", …) and compare.

    ``folder``: receives the Verilog, logs, ``simulation.json`` and, when something differs, ``mismatches.json``; it
    appears only when all is done, and an earlier result there is replaced. ``timeout``: seconds for all of it.
    ``on_progress``: called with (step, done, total), step "build" or "run". ``use_ccache``: let Verilator's builds go
    through ccache where it is installed.

    A mismatch is no exception: see :meth:`SimulationResult.raise_on_mismatch`. Raises :class:`OptionError` for a job
    that cannot be run, :class:`OutputError` for a folder that is not ours, and the tool errors; logs of a simulation
    that failed are kept in ``<folder>-failed``.
    """
    target = Path(folder)
    chosen = simulator_named(simulator)
    check_job(job)
    report = on_progress or (lambda step, done, total: None)
    with tools.deadline(timeout), temporary_folder("sim") as work:
        tool = chosen.find()
        _claim(target)
        run = _Run(job, make_harness(job), chosen, tool, work, timeout)
        try:
            report("build", 0, 1)
            seconds = {"build": _build(run, use_ccache)}
            report("build", 1, 1)
            with _watched(run, report):
                seconds["run"] = _child(run, "run")
            result = _judge(run, seconds, target)
        except (ToolFailedError, ToolTimeoutError) as error:
            raise _with_kept_log(error, run, target) from error
        except OSError as error:
            why = f"it cannot be written ({error.strerror})"
            remedy = "free some space, or set TMPDIR to another folder"
            raise OutputError("simulate", [Problem(str(run.folder), why, remedy)]) from error
        _publish(run.folder, target)
        report("run", job.count, job.count)
        return result


@dataclass(frozen=True)
class _Run:
    """One simulation under way in the temporary ``folder``; ``timeout``: seconds for all of it."""

    job: SimulationJob
    harness: Harness
    simulator: Simulator
    tool: tools.Tool
    folder: Path
    timeout: float


def _build(run: _Run, use_ccache: bool) -> float:
    started = time.perf_counter()
    job, harness, folder = run.job, run.harness, run.folder
    (folder / "design.v").write_text(job.verilog)
    (folder / "harness.v").write_text(harness.verilog)
    write_rows(folder / "stimulus.npy", job.inputs, job.vectors, job.count)
    write_rows(folder / "expected.npy", job.outputs, job.expected, job.count)
    left, _ = tools.time_left(f"{run.simulator.name} (build)")
    files, optimise = ("design.v", "harness.v"), job.count >= OPTIMISE_FROM
    bench = Bench(folder, files, harness.top, harness.written, harness.read, optimise, left, use_ccache)
    build = prepare_bench(run.simulator, bench, run.tool)
    settings: VectorSettings = {
        "runner": run.simulator.runner,
        "folder": str(folder),
        "top": harness.top,
        "sources": build.sources,
        "build_args": build.arguments,
        "environment": build.environment or {},
        "stimulus": harness.stimulus,
        "response": harness.response,
        "outputs": job.outputs,
        "latency": job.latency,
        "keep": min(KEEP_ROWS, math.ceil(KEEP_VALUES / (len(job.inputs) + 2 * len(job.outputs)))),
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    _child(run, "build")
    return time.perf_counter() - started


def _child(run: _Run, step: str) -> float:
    worker = tools.Tool(f"{run.simulator.name} ({step})", (sys.executable, "-m", "approxhw.sim.worker"))
    return tools.run_tool(
        worker,
        [step, run.folder / "settings.json"],
        timeout=run.timeout,
        log=run.folder / f"{step}.log",
        folder=run.folder,
        environment=child_environment(run.folder, run.tool),
    ).seconds


@contextlib.contextmanager
def _watched(run: _Run, report: Progress) -> Iterator[None]:
    """Report the bench's progress while the caller waits for it."""
    done = threading.Event()

    def watch() -> None:
        last = 0
        while not done.wait(0.3):
            with contextlib.suppress(OSError, ValueError):
                now = int((run.folder / "progress").read_text())
                if now != last:
                    report("run", now, run.job.count)
                last = now

    report("run", 0, run.job.count)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _judge(run: _Run, seconds: dict[str, float], target: Path) -> SimulationResult:
    job = run.job
    try:
        seen: VectorResults = json.loads((run.folder / "results.json").read_text())
    except ValueError as error:  # half a file: the disk was full
        raise no_room("simulate", "the bench could not write its results whole") from error
    if not seen["driven"] == seen["compared"] == job.count > 0:
        why = f"drove {seen['driven']} and compared {seen['compared']} of {job.count} vectors"
        raise ToolFailedError(f"{run.simulator.name} (run)", 0, why, run.folder / "run.log")
    file = None
    if seen["mismatches"]:
        file = target / "mismatches.json"
        (run.folder / file.name).write_text(json.dumps(_mismatches(run, seen), indent=1))
    result = SimulationResult(
        name=job.name,
        simulator=run.simulator.name,
        vectors=seen["compared"],
        mismatches=seen["mismatches"],
        failing=seen["failing"],
        mismatch_file=file,
        seconds=seconds,
        folder=target,
    )
    summary = {
        "name": job.name,
        "simulator": result.simulator,
        "vectors": result.vectors,
        "mismatches": result.mismatches,
        "failing": seen["failing"],
        "mismatch_file": file.name if file else None,
        "seconds": seconds,
    }
    (run.folder / MARKER).write_text(json.dumps(summary, indent=1))
    return result


def _mismatches(run: _Run, seen: VectorResults) -> dict[str, object]:
    job = run.job
    rows = [
        {
            "index": index,
            "inputs": {name: int(job.vectors[name][index]) for name, _ in job.inputs},
            "expected": {name: int(job.expected[name][index]) for name, _ in job.outputs},
            "seen": split_row(row, job.outputs),
        }
        for index, row in seen["rows"]
    ]
    return {
        "design": job.name,
        "simulator": run.simulator.name,
        "vectors": seen["compared"],
        "mismatches": seen["mismatches"],
        "failing": seen["failing"],
        "rows_kept": len(rows),
        "rows": rows,
    }


def _claim(target: Path) -> None:
    """Make room for a result: an earlier one goes, so that it cannot be taken for this one; others' files stay."""
    problem = None
    try:
        if target.is_symlink() or (target.exists() and not target.is_dir()):
            problem = "it exists and is no folder"
        elif target.is_dir() and any(target.iterdir()) and not (target / MARKER).is_file():
            problem = "it exists and holds something else than a simulation"
        elif target.is_dir():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"it cannot be used ({error.strerror})"
    if problem:
        raise OutputError("simulate", [Problem(str(target), problem, "name a folder that does not exist yet")])


def _publish(source: Path, target: Path) -> None:
    """Copy what is worth keeping from *source* beside *target*, then rename it to *target* in one step."""
    try:
        clear_left_behind(target.parent, re.escape(part_prefix(target)))
        with owned_folder(target.parent, part_prefix(target)) as beside:
            beside.chmod(0o755)
            for name in _KEPT:
                if (source / name).is_file():
                    shutil.copyfile(source / name, beside / name)
            beside.rename(target)
    except OSError as error:
        why = f"it cannot be written ({error.strerror})"
        raise OutputError("simulate", [Problem(str(target), why, "free some space or name another folder")]) from error


def _with_kept_log(
    error: ToolFailedError | ToolTimeoutError, run: _Run, target: Path
) -> ToolFailedError | ToolTimeoutError:
    """Return *error* naming a log that is still there after the temporary folder is gone."""
    kept = target.with_name(f"{target.name}-failed")
    (run.folder / MARKER).write_text(
        json.dumps({"name": run.job.name, "simulator": run.simulator.name, "failed": str(error)})
    )
    try:
        _claim(kept)
        _publish(run.folder, kept)
        log = kept / error.log.name if error.log is not None else None
    except OutputError:
        log = None
    if isinstance(error, ToolTimeoutError):
        return ToolTimeoutError(error.tool, run.timeout, error.tail, log)
    return ToolFailedError(error.tool, error.code, error.tail, log)
