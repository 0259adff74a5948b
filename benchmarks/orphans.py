"""Kill commands at random moments, and count the processes and the temporary folders that they leave; target 0.

Goes on where it was stopped: every kill is kept in ``build/orphans.jsonl`` until the page is written.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

CHECKOUT = Path(__file__).resolve().parents[1]
RESULT = CHECKOUT / "benchmarks" / "results" / "orphans.md"
KEPT = CHECKOUT / "build" / "orphans.jsonl"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
GRACE = 5.0
"""Seconds that the last processes may take to end once the command is gone."""
NEXT = """
import sys
from pathlib import Path
from approxhw.common.files import locked, temporary_folder
with locked(Path(sys.argv[1])), temporary_folder("next"):
    pass
"""
"""What any next run of approxhw does before it works in the same folder: what a killed one left goes then."""
IRIS = ["examples/iris.onnx", "--data", "sklearn:iris"]
COMMANDS = {
    "compile": ["compile", *IRIS, "-o", "{out}"],
    "simulate": ["simulate", "{design}", "--random", "2000", "--simulator", "{simulator}"],
    "search": [
        *("search", *IRIS, "-o", "{out}", "--jobs", "2", "--population", "16", "--generations", "4", "--members", "2"),
        *("--folds", "1", "--starts", "1", "--moves", "20"),
    ],
    "fuzz": ["fuzz", "--count", "4", "-o", "{out}", "--seed", "3"],
}


@dataclass(frozen=True)
class Left:
    """What a command left that was ended by ``number`` after ``seconds``; ``code`` is what it returned."""

    command: str
    number: signal.Signals
    seconds: float
    code: int
    processes: list[str]
    at_once: list[str]
    in_the_end: list[str]

    @property
    def right(self) -> bool:
        """Whether the exit code is right: of a command that was done already, that was ended in order, or by the signal."""
        return self.code in (0, -self.number) or (self.number != signal.SIGKILL and self.code == 128 + self.number)


def words_of(command: str, folder: Path, simulator: str) -> list[str]:
    """Return the command line of *command*, its results going to *folder*."""
    places = {"out": folder / f"out-{command}", "design": folder / "design", "simulator": simulator}
    return [sys.executable, "-m", "approxhw", *(word.format(**places) for word in COMMANDS[command])]


@contextlib.contextmanager
def started(command: str, folder: Path, simulator: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start *command* in a session of its own; all it starts carries the mark that is given, too."""
    mark = f"approxhw-orphans-{uuid.uuid4().hex}"
    (folder / "tmp").mkdir(exist_ok=True)
    variables = {**os.environ, "TMPDIR": str(folder / "tmp"), "APPROXHW_ORPHANS": mark}
    silent = subprocess.DEVNULL
    words = words_of(command, folder, simulator)
    with subprocess.Popen(
        words, env=variables, cwd=CHECKOUT, stdin=silent, stdout=silent, stderr=silent, start_new_session=True
    ) as process:
        yield process, mark


def marked(mark: str) -> list[str]:
    """Return the command lines of all living processes that carry *mark*, whoever their parent is now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("APPROXHW_ORPHANS") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:120])
    return found


def left_in(folder: Path) -> list[str]:
    """Return what is temporary, or hidden, and should not be there."""
    return sorted(path.name for path in [*(folder / "tmp").iterdir(), *folder.rglob(".*")])


def ended(command: str, number: signal.Signals, seconds: float, folder: Path, simulator: str) -> Left:
    """Start *command*, send it *number* after *seconds*, and return what it left."""
    with started(command, folder, simulator) as (process, mark):
        time.sleep(seconds)
        process.send_signal(number)
        code = process.wait(timeout=60)
    limit = time.monotonic() + GRACE
    while (processes := marked(mark)) and time.monotonic() < limit:
        time.sleep(0.1)
    at_once = left_in(folder)
    variables = {**os.environ, "TMPDIR": str(folder / "tmp")}
    place = folder / ("design" if command == "simulate" else f"out-{command}")
    subprocess.run([sys.executable, "-c", NEXT, place], env=variables, check=True)
    return Left(command, number, seconds, code, processes, at_once, left_in(folder))


def duration(command: str, folder: Path, simulator: str) -> float:
    """Return how long *command* takes that nobody ends, in seconds."""
    begun = time.perf_counter()
    with started(command, folder, simulator) as (process, _):
        if process.wait() != 0:
            raise SystemExit(f"{command} fails by itself: {' '.join(words_of(command, folder, simulator))}")
    return time.perf_counter() - begun


def table(found: list[Left], moments: int) -> str:
    """Return the result as a page."""
    lines = [
        "# Orphans\n",
        "    python benchmarks/orphans.py\n",
        f"{len(found)} kills, {moments} moments a command and signal at most, uniform over the time that the command takes",
        "alone.",
        f"Processes: those still there {GRACE:g} s after the command was gone, whoever had become their parent. Folders:",
        "temporary ones below `TMPDIR` and hidden ones beside the results, at once and after the next run: a program that is",
        "killed cannot clear up, and its folders go with that run.\n",
        "| command | signal | ended in the midst | processes left | folders at once | after the next run | wrong exit codes |",
        "|---|---|---|---|---|---|---|",
    ]
    for command in dict.fromkeys(one.command for one in found):
        for number in SIGNALS:
            rows = [one for one in found if (one.command, one.number) == (command, number)]
            cells = (
                f"{sum(one.code != 0 for one in rows)} of {len(rows)}",
                sum(len(one.processes) for one in rows),
                sum(len(one.at_once) for one in rows),
                sum(len(one.in_the_end) for one in rows),
                sum(not one.right for one in rows),
            )
            lines.append(f"| {command} | {number.name} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=20, help="a command and signal")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--page", action="store_true", help="kill nothing more: write the page of what is kept")
    given = parser.parse_args()
    found = kept()
    if given.page:
        given.commands = []
    with tempfile.TemporaryDirectory(prefix="orphans-") as name:
        folder = Path(name)
        words = [sys.executable, "-m", "approxhw", "compile", *IRIS, "-o", str(folder / "design"), "--no-simulate"]
        subprocess.run([*words, "--no-estimate"], cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)
        for command in given.commands:
            done = sum(one.command == command for one in found)
            if done >= len(SIGNALS) * given.moments:
                continue
            took = {simulator: duration(command, folder, simulator) for simulator in ("icarus", "verilator")}
            for number, i in [(number, i) for number in SIGNALS for i in range(given.moments)][done:]:
                simulator, chance = ("icarus", "verilator")[i % 2], random.Random(f"{command} {number.name} {i}")
                one = ended(command, number, chance.uniform(0, took[simulator]), folder, simulator)
                found.append(one)
                with KEPT.open("a", encoding="utf-8") as record:
                    record.write(json.dumps({**asdict(one), "number": int(number)}) + "\n")
                if one.processes or one.in_the_end or not one.right or (one.at_once and number != signal.SIGKILL):
                    print(one, flush=True)
            print(command, {simulator: round(seconds, 1) for simulator, seconds in took.items()}, flush=True)
    text = table([one for command in COMMANDS for one in found if one.command == command], given.moments)
    pairs = {(one.command, one.number) for one in found}
    if len(pairs) == len(COMMANDS) * len(SIGNALS):
        RESULT.write_text(text, encoding="utf-8")
    if len(found) == len(COMMANDS) * len(SIGNALS) * given.moments:
        KEPT.unlink()
    print(text)


def kept() -> list[Left]:
    """Return the kills of a run that was stopped."""
    KEPT.parent.mkdir(exist_ok=True)
    lines = KEPT.read_text(encoding="utf-8").splitlines() if KEPT.exists() else []
    return [Left(**{**row, "number": signal.Signals(row["number"])}) for row in map(json.loads, lines)]


if __name__ == "__main__":
    main()
