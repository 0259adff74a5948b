"""What the benchmarks share: the folder of the tasks, clocks, tables, and the file that a result goes to."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TASKS = ("breast_cancer", "cardio", "pendigits", "redwine", "whitewine")
DEFAULT_TASKS = Path("../shared/tasks")
RESULTS = Path(__file__).parent / "results"

CALIBRATED = {
    "breast_cancer": (196 / 205, 4.89),
    "cardio": (577 / 638, 13.38),
    "pendigits": (3149 / 3298, 34.89),
    "redwine": (297 / 480, 10.76),
    "whitewine": (816 / 1470, 17.40),
}
"""Test accuracy (right rows of all) and area (cm²) of our own `printed-calibrated` circuits: results/exact_circuits.md.

They are smaller than the published exact ones."""

HELD_WITHIN = 5e-5
"""Targets are told with four places."""


@dataclass
class Seconds:
    """Wall time, and CPU time of this process and of the children it waited for: busy neighbours change only the first."""

    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def clock() -> Iterator[Seconds]:
    """Give a :class:`Seconds` that is filled in at the end of the block."""
    seconds, wall, cpu = Seconds(), time.perf_counter(), _cpu()
    yield seconds
    seconds.wall, seconds.cpu = time.perf_counter() - wall, _cpu() - cpu


def _cpu() -> float:
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def arguments(about: str) -> argparse.ArgumentParser:
    """Return a parser of the command line that knows ``--tasks``."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        "--tasks",
        type=Path,
        default=DEFAULT_TASKS,
        metavar="FOLDER",
        help="folder of NAME.onnx and NAME.npz (X_train, y_train, X_test, y_test) of the five tasks",
    )
    return parser


def need_tasks(folder: Path) -> None:
    """End with a message that names every file of the tasks that *folder* lacks; no error where no folder was asked for."""
    missing = [f"{name}.{end}" for name in TASKS for end in ("onnx", "npz") if not (folder / f"{name}.{end}").is_file()]
    if missing:
        why = f"{folder} lacks {', '.join(missing)}; name the folder of the tasks: --tasks FOLDER"
        if folder is not DEFAULT_TASKS:  # it was named
            raise SystemExit(why)
        note(f"skipped: {why}")
        raise SystemExit(0)


def command() -> str:
    """Return the command line that runs this benchmark, as typed in the checkout."""
    words = ["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]
    return "    " + shlex.join(words) + "\n"


def machine() -> str:
    """Return what the figures were measured on."""
    return f"Measured on {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}."


def table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def met(good: bool) -> str:
    """Return the word for a target that was reached or missed."""
    return "met" if good else "**missed**"


def write(name: str, parts: Sequence[str]) -> None:
    """Print *parts*, and write them to ``results/NAME.md``."""
    text = "\n".join(parts).rstrip("\n") + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)


def page_rows(name: str, title: str) -> list[dict[str, str]]:
    """Return the first table of results/*name*.md below a heading that begins with *title*, a row a dictionary."""
    text = (RESULTS / f"{name}.md").read_text(encoding="utf-8")
    part = text[text.index(f"\n## {title}") :]
    lines = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("|")]
    heads, found = lines[0], list[dict[str, str]]()
    for cells in lines[2:]:
        if len(cells) != len(heads) or cells[0] == heads[0]:
            break
        found.append(dict(zip(heads, cells, strict=True)))
    return found


def note(text: str) -> None:
    """Say on stderr how far it is."""
    print(text, file=sys.stderr, flush=True)
