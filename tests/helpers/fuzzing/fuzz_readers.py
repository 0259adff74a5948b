"""Let every reader of untrusted files read mutated ones, for any length: ``make fuzz-readers``, or this file itself.

With ``atheris`` (extra ``fuzz``) and ``--seconds`` coverage guides the mutations; else they are seeded, ``--count`` a reader.
Each reader runs in a process of its own, and what it fails on is kept in ``--output``.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import multiprocessing
import resource
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
MOST_MIB = 1024
NAMES = ("npz", "csv", "liberty", "cells", "axir", "onnx", "verilog", "design.json", "rows.npz", "front.json")


def seeded(name: str, first: int, count: int, output: Path) -> tuple[int, int, int, float, float]:
    """Return how many of *count* files were read, refused and failed on, the slowest in seconds, and MiB at most."""
    from fuzzing.mutated_files import Outcome, content_of, one, reader_of

    with tempfile.TemporaryDirectory(prefix="fuzz-readers-") as folder:
        reader, outcome = reader_of(name, Path(folder)), Outcome()
        for seed in range(first, first + count):
            one(reader, content_of(reader, seed), Path(folder) / f"mutated{reader.suffix}", outcome)
    for content, told in outcome.faults:
        keep(output, name, content, told)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return outcome.read, outcome.refused, len(outcome.faults), outcome.slowest, most


def keep(output: Path, name: str, content: bytes, told: str) -> None:
    output.mkdir(parents=True, exist_ok=True)
    stem = output / f"{name}-{sha256(content).hexdigest()[:12]}"
    stem.write_bytes(content)
    stem.with_name(f"{stem.name}.txt").write_text(told)


def guided(name: str, seconds: int, output: Path) -> None:
    """Fuzz one reader by coverage until *seconds* are over; libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["approxhw"]):
        from fuzzing.mutated_files import reader_of
    folder = Path(tempfile.mkdtemp(prefix="fuzz-readers-"))
    reader = reader_of(name, folder)
    from approxhw.common.errors import ApproxhwError

    corpus = output / f"corpus-{name}"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(reader.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    path = folder / f"mutated{reader.suffix}"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        with contextlib.suppress(ApproxhwError):
            reader.read(path)

    limits = [f"-max_total_time={seconds}", "-timeout=10", f"-rss_limit_mb={2 * MOST_MIB}", "-max_len=100000"]
    atheris.Setup(
        [sys.argv[0], str(corpus), f"-artifact_prefix={output}/{name}-", "-print_final_stats=1", *limits], read
    )
    atheris.Fuzz()


def main() -> int:
    """Fuzz, print a line a reader, and return 1 where one of them failed."""
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--reader", action="append", choices=NAMES, help="one of them; all by default")
    ask.add_argument("--count", type=int, default=1000, help="seeded files a reader (1000)")
    ask.add_argument("--seed", type=int, default=1, help="the first of them (1)")
    ask.add_argument(
        "--seconds", type=int, default=0, help="guided by coverage instead, so long a reader; needs atheris"
    )
    ask.add_argument("--output", type=Path, default=Path("build/fuzz-readers"), help="where failing files are kept")
    asked = ask.parse_args()
    if asked.seconds and importlib.util.find_spec("atheris") is None:
        ask.error("--seconds needs atheris: pip install 'approxhw[fuzz]'")
    if asked.seconds and asked.reader and len(asked.reader) == 1:
        guided(asked.reader[0], asked.seconds, asked.output)
    failed = False
    print(f"{'reader':12} {'read':>6} {'refused':>8} {'faults':>7} {'slowest s':>10} {'MiB':>6}")
    for name in asked.reader or NAMES:
        if asked.seconds:
            words = [
                sys.executable,
                __file__,
                "--reader",
                name,
                "--seconds",
                str(asked.seconds),
                "--output",
                asked.output,
            ]
            failed |= subprocess.run(list(map(str, words)), check=False).returncode != 0
            continue
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            read, refused, faults, slowest, most = pool.apply(seeded, (name, asked.seed, asked.count, asked.output))
        print(f"{name:12} {read:6} {refused:8} {faults:7} {slowest:10.2f} {most:6.0f}", flush=True)
        failed |= bool(faults) or most > MOST_MIB
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
