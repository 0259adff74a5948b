"""Make the golden record, a digest of everything the compiler yields, and compare the records of two checkouts.

    python benchmarks/golden.py record -o after.json
    python benchmarks/golden.py compare before.json after.json
    python benchmarks/golden.py against ../before

A checkout is driven from outside, by its command line and the folders that this writes, so that one script does for
versions whose modules have other names. What Python alone tells is asked by the programs in golden_runs.py.

Retraining, annealing and calibration weigh moves in floating point: another processor may round otherwise. Records are
therefore compared on one machine (``against``); ``--portable`` keeps what no processor decides, and only that may be stored.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from golden_runs import CLASSES, COMMANDS, OUTPUTS, Run, engine_of, few_rows, write_network

FORMAT = "approxhw golden record 1"
CHECKOUT = Path(__file__).resolve().parents[1]
DEFAULT_TASKS = Path("../shared/tasks")
TASKS = ("breast_cancer", "cardio", "pendigits", "redwine", "whitewine")
PIPELINES = ("printed-exact", "printed-po2", "printed-masked", "printed-holistic")
ENGINES = {
    "bf16-an-1-2": "--format bf16 --accumulator-bits 20 --normalization an-1-2 --array 4x4",
    "bf16-exact-codes": "--format bf16 --normalization exact --array 4x4 --compress dynamic8,block=64,activations=true",
    "bf16-weight-codes": "--normalization an-2-2 --array 8x4 --compress dynamic8 --result bf16",
    "e4m3-alignment-3": "--format e4m3 --accumulator-bits 16 --normalization an-1-1 --alignment 3 --array 3x5 --depth 3",
    "fp16-exact": "--format fp16 --accumulator-bits 24 --normalization exact --array 16x16 --depth 1",
}
SEARCH = (
    "--population 12 --generations 2 --islands 2 --starts 1 --moves 30 --widen 1 --members 2 --synthesise-every 1 "
    "--no-simulate"
)
TRAINING_ROWS = {"circuits": 300, "search": 120}
"""Rows that are trained on; all rows of a task are classified. Few: every decision is made on them as on many."""
DROPPED = frozenset({"version", "seconds", "date", "files"})
"""What differs from run to run, and digests of whole files, which hold the version; here each file has its own line."""

Digests = dict[str, str]


def digest(value: object) -> str:
    """Return sha256 of an array (with its type and shape), bytes, text or anything of JSON; short JSON stays readable."""
    if isinstance(value, np.ndarray):
        data = f"{value.dtype.str} {value.shape} ".encode() + np.ascontiguousarray(value).tobytes()
    elif isinstance(value, bytes):
        data = value
    else:
        text = json.dumps(value, sort_keys=True)
        if len(text) <= 64:
            return text
        data = text.encode()
    return hashlib.sha256(data).hexdigest()


def without(value: Any, dropped: frozenset[str] = DROPPED) -> Any:
    """Return *value*, of JSON, without the keys *dropped* at any depth."""
    if isinstance(value, Mapping):
        return {key: without(item, dropped) for key, item in value.items() if key not in dropped}
    return [without(item, dropped) for item in value] if isinstance(value, list) else value


def arrays(path: Path, prefix: str) -> Digests:
    """Return a line for every array of an ``.npz``."""
    with np.load(path, allow_pickle=False) as data:
        return {f"{prefix}/{name}": digest(data[name]) for name in data.files}


def folder_digests(folder: Path, prefix: str, dropped: frozenset[str] = DROPPED) -> Digests:
    """Return the lines of a design folder, engine or circuit: Verilog, Graphs, every key of its description, arrays."""
    lines: Digests = {}
    for path in sorted(folder.glob("rtl/*")):
        text = re.sub(rb"(?m)^(// made by approxhw )[^\s,]+", rb"\1VERSION", path.read_bytes())
        lines[f"{prefix}/{path.relative_to(folder)}"] = digest(text)
    for path in sorted([*folder.glob("*.axir"), *folder.glob("steps/*.axir")]):
        lines[f"{prefix}/{path.relative_to(folder)}"] = digest(path.read_bytes())
    for path in sorted([*folder.glob("*.npz"), *folder.glob("operands/*.npz")]):
        lines |= arrays(path, f"{prefix}/{path.relative_to(folder)}")
    described = json.loads((folder / "design.json").read_text(encoding="utf-8"))
    lines[f"{prefix}/design.json/files"] = digest(sorted(described.get("files", {})))
    for key, value in without(described, dropped).items():
        if key == "layers":  # an engine's schedule
            for number, layer in enumerate(value):
                lines |= {f"{prefix}/schedule/{number}/{name}": digest(item) for name, item in layer.items()}
        else:
            lines[f"{prefix}/design.json/{key}"] = digest(value)
    return lines


def circuits(run: Run, tasks: Path, names: Sequence[str] = TASKS, pipelines: Sequence[str] = PIPELINES) -> Digests:
    """Return the record of circuits: every task through every pipeline, and registered behind its last step."""
    plain: dict[str, list[str]] = {}
    for name in names:
        shutil.copy(tasks / f"{name}.onnx", run.work)
        few_rows(tasks / f"{name}.npz", run.work / f"{name}.npz", TRAINING_ROWS["circuits"])
        with np.load(tasks / f"{name}.npz", allow_pickle=False) as data:
            np.savez(run.work / f"{name}_all.npz", train=data["X_train"], test=data["X_test"])
        for pipeline in pipelines:
            words = ["compile", f"{name}.onnx", "--data", f"{name}.npz", "--pipeline", pipeline, "--steps"]
            plain[f"circuits/{name}/{pipeline}"] = [*words, "--no-simulate", "--no-estimate", "--json"]
    run.python_of(["-c", COMMANDS], [[*words, "-o", f"{place}/combinational"] for place, words in plain.items()])
    registered = []
    for place, words in plain.items():  # behind the last step: retraining again would take most of the time
        folder = run.work / place
        shutil.copytree(folder / "combinational", folder / "registered")
        last = max(int(path.name[:2]) for path in (folder / "registered/steps").glob("*.axir"))
        registered.append([*words, "--registers", "--from-step", str(last), "-o", f"{place}/registered"])
    run.python_of(["-c", COMMANDS], registered)
    folders = [f"{place}/{kind}" for place in plain for kind in ("combinational", "registered")]
    asked = [(folder, f"{folder.split('/')[1]}_all.npz", f"{folder.replace('/', '_')}.npz") for folder in folders]
    run.python_of(["-c", CLASSES], asked)
    lines: Digests = {}
    for folder, _, classes in asked:
        lines |= folder_digests(run.work / folder, folder)
        lines |= arrays(run.work / classes, f"{folder}/classes")
    return lines


def engines(run: Run, tasks: Path, names: Sequence[str] = tuple(ENGINES)) -> Digests:
    """Return the record of matrix engines: Verilog, schedule, description, operands, and outputs bit for bit."""
    write_network(run.work / "network.onnx", run.work / "network.npz")
    shutil.copy(CHECKOUT / "examples/digits.onnx", run.work)
    commands, asked = [], []
    for name in names:
        words = [*ENGINES[name].split(), "--target", "matrix-engine", "--no-simulate", "--no-estimate", "--json"]
        commands.append(["compile", "network.onnx", "--data", "network.npz", *words, "-o", f"engines/{name}/network"])
        asked.append(("network.onnx", "network.npz", *engine_of(ENGINES[name]), f"engines_{name}.npz"))
    words = [*ENGINES["bf16-an-1-2"].split(), "--target", "matrix-engine", "--no-simulate", "--no-estimate", "--json"]
    commands.append(["compile", "digits.onnx", "--data", "sklearn:digits", *words, "-o", "engines/bf16-an-1-2/digits"])
    run.python_of(["-c", COMMANDS], commands)
    run.python_of(["-c", OUTPUTS], asked)
    lines: Digests = {}
    for folder in [words[-1] for words in commands]:
        lines |= folder_digests(run.work / folder, folder)
    for name in names:
        lines |= arrays(run.work / f"engines_{name}.npz", f"engines/{name}/network/outputs")
    return lines


def front_digests(folder: Path, prefix: str) -> Digests:
    """Return the lines of a front: genomes, figures, and its members' design folders."""
    dropped = DROPPED | {"command"}  # it tells the workers, on which nothing else depends
    front = without(json.loads((folder / "front.json").read_text(encoding="utf-8")), dropped)
    lines = {f"{prefix}/front.json/{key}": digest(value) for key, value in front.items()}
    lines |= {f"{prefix}/front.csv": digest((folder / "front.csv").read_bytes())} | arrays(folder / "front.npz", prefix)
    for member in sorted((folder / "members").iterdir()):
        lines |= folder_digests(member, f"{prefix}/members/{member.name}", dropped)
    return lines


def search(run: Run, tasks: Path) -> Digests:
    """Return the record of a small search, in one fold and in four; end unless two workers find what one does."""
    shutil.copy(tasks / "breast_cancer.onnx", run.work / "searched.onnx")
    few_rows(tasks / "breast_cancer.npz", run.work / "searched.npz", TRAINING_ROWS["search"])
    lines: Digests = {}
    for folds in (1, 4):
        found = []
        for jobs in (1, 2):
            output = f"search_{folds}_{jobs}"
            words = ["search", "searched.onnx", "--data", "searched.npz", *SEARCH.split(), "--json"]
            run.python_of(["-m", "approxhw", *words, "--folds", str(folds), "--jobs", str(jobs), "-o", output])
            found.append(front_digests(run.work / output, f"search/folds-{folds}"))
        told = list(differences(*found))
        if told:
            raise SystemExit("\n".join([f"{run.checkout}: one worker and two differ", *told]))
        lines |= found[0]
    return lines


PARTS: dict[str, Callable[[Run, Path], Digests]] = {"circuits": circuits, "engines": engines, "search": search}


def portable(key: str) -> bool:
    """Whether the line *key* is the same on every processor: an engine's Verilog, whole-number schedule, and bits.

    Not the schedule of digits, whose operands come from sums of a scaler, nor errors of codes, which are means.
    """
    told = "/(tiles|clocks|blocks|m|k|n|count|op|name|arithmetic|shifts|nans|infinities)$"
    return bool(re.match(rf"engines/[^/]+/network/(rtl/|operands/|outputs/|schedule/\d+{told})", key))


def make(run: Run, tasks: Path, parts: Sequence[str], only_portable: bool) -> dict[str, Any]:
    """Return the record of a checkout: its parts, the seconds each took, and a digest for every key."""
    run.check()
    lines: Digests = {}
    seconds = {}
    for part in parts:
        began = time.perf_counter()
        found = PARTS[part](run, tasks)
        lines |= {key: found[key] for key in sorted(found) if portable(key) or not only_portable}
        seconds[part] = round(time.perf_counter() - began, 1)
        print(f"{run.checkout}: {part}, {len(found)} digests in {seconds[part]} s", file=sys.stderr, flush=True)
    return {"format": FORMAT, "parts": list(parts), "portable": only_portable, "seconds": seconds, "digests": lines}


def differences(before: Digests, after: Digests) -> Iterator[str]:
    """Yield a line for every key whose digests differ, or that only one of the two has."""
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}"


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the differences of two records in the parts that both have; in portable lines where one has no others."""
    both = [part for part in before["parts"] if part in after["parts"]]
    if not both:
        raise SystemExit(f"nothing to compare: {before['parts']} and {after['parts']} have no part in common")
    few = before["portable"] or after["portable"]
    kept = [
        {
            key: value
            for key, value in record["digests"].items()
            if key.split("/")[0] in both and (portable(key) or not few)
        }
        for record in (before, after)
    ]
    told = list(differences(*kept))
    what = "portable digests" if few else "digests"
    print(f"{', '.join(both)}: {len(told)} of {len(kept[0].keys() | kept[1].keys())} {what} differ", file=sys.stderr)
    return told


def read(path: Path) -> dict[str, Any]:
    """Return the record in *path*, or end with what is wrong with it."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(f"{path}: {error}") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise SystemExit(f"{path} is no {FORMAT}")
    return record


def main() -> None:
    """Make a record, compare two, or compare this checkout with another one."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--tasks", type=Path, default=DEFAULT_TASKS, metavar="FOLDER", help="folder of the five tasks")
    shared.add_argument("--parts", default=",".join(PARTS), help="which parts: circuits,engines,search")
    shared.add_argument("--limit", type=float, default=900, metavar="SECONDS", help="that one program may take")
    shared.add_argument("--keep", type=Path, metavar="FOLDER", help="keep what was compiled there")
    shared.add_argument("--kept-kernels", action="store_true", help="do not compile kernels anew: faster, less certain")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    modes = parser.add_subparsers(dest="mode")
    record = modes.add_parser("record", parents=[shared], help="make a record")
    record.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    record.add_argument("--checkout", type=Path, default=CHECKOUT, help="of what; this one by default")
    record.add_argument("--python", type=Path, help="its interpreter; CHECKOUT/.venv/bin/python by default")
    record.add_argument("--portable", action="store_true", help="keep what no processor decides")
    pair = modes.add_parser("compare", help="compare two records")
    pair.add_argument("records", nargs=2, type=Path, metavar="FILE")
    against = modes.add_parser("against", parents=[shared], help="make both records, and compare them")
    against.add_argument("checkout", type=Path, help="the checkout before")
    against.add_argument("--before-python", type=Path, help="its interpreter; CHECKOUT/.venv/bin/python by default")
    options = parser.parse_args()
    if not options.mode:  # as in ``make bench``, which knows of no other checkout
        parser.print_help()
        return
    if options.mode == "compare":
        told = compare(*map(read, options.records))
    elif options.mode == "record":
        found = record_of(options, options.checkout, options.python, "record", options.portable)
        options.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        told = []
    else:
        before = record_of(options, options.checkout, options.before_python, "before")
        told = compare(before, record_of(options, CHECKOUT, None, "after"))
    print("\n".join(told), end="\n" if told else "")
    raise SystemExit(bool(told))


def record_of(
    options: argparse.Namespace, checkout: Path, python: Path | None, name: str, only_portable: bool = False
) -> dict[str, Any]:
    """Return the record of *checkout*, made in a folder that is thrown away unless it is asked for."""
    parts = [part for part in PARTS if part in options.parts.split(",")]
    unknown = set(options.parts.split(",")) - set(PARTS)
    lacking = [
        file for task in TASKS for end in ("onnx", "npz") if not (file := options.tasks / f"{task}.{end}").is_file()
    ]
    if unknown or (lacking and parts != ["engines"]):
        raise SystemExit(f"unknown parts: {', '.join(unknown)}" if unknown else f"--tasks: {lacking[0]} is not there")
    checkout = checkout.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        work = options.keep / name if options.keep else Path(scratch)
        work.mkdir(parents=True, exist_ok=not options.keep)
        # not resolved: an interpreter of a virtual environment is a link, and knows by its own place where it belongs
        run = Run(
            checkout,
            (python or checkout / ".venv/bin/python").absolute(),
            work.resolve(),
            options.limit,
            options.kept_kernels,
        )
        return make(run, options.tasks, parts, only_portable)


if __name__ == "__main__":
    main()
