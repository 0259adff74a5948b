"""Train 784-256-256-10 on two ranks, gradients in float32 or in 8 bits: test errors over seeds, bytes sent, time a step."""

from __future__ import annotations

import argparse
import datetime
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, stdev

import numpy as np
from common import command, machine, met, note, table, write

from approxhw.numerics.eight_bit.codes import parse

FASHION = Path("/usr/share/datasets/fashion-mnist")
KEPT = Path("build/gradient_exchange")
PLAIN = "float32"
RUNS = (PLAIN, *(f"{run},block=256" for run in ("dynamic8", "static8", "mantissa8", "linear8")), "dynamic8,block=256+")
"""Exchanges that are trained with; a + at the end: with error feedback."""
BYTES = tuple(f"dynamic8,block={block}" for block in (64, 256, 1024))
TARGET = 3.9
ROWS = 256  # a step, all ranks together
TURNS, STEPS = 7, 30  # of the clock
SECONDS = 120


def rows() -> tuple[str, list[np.ndarray]]:
    """Return the data's name, and X_train, y_train, X_test, y_test: Debian's Fashion-MNIST, or else scikit-learn's digits."""
    if FASHION.is_dir():
        found = []
        for part in ("train", "t10k"):
            images, labels = (
                np.frombuffer(
                    gzip.decompress((FASHION / f"{part}-{kind}-ubyte.gz").read_bytes()), np.uint8, offset=first
                )
                for kind, first in (("images-idx3", 16), ("labels-idx1", 8))
            )
            found += [(images.reshape(-1, 784) / np.float32(255)).astype(np.float32), labels.astype(np.int64)]
        return "Fashion-MNIST (Debian's dataset-fashion-mnist)", found
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    X, Z, y, z = train_test_split(data.data / 16, data.target, test_size=0.3, random_state=0, stratify=data.target)  # noqa: N806
    return "scikit-learn's digits (no dataset-fashion-mnist here)", [X.astype(np.float32), y, Z.astype(np.float32), z]


class Rank:
    """One process of the exchange, in a process of its own; answers a line of JSON for each job."""

    def __init__(self, rank: int, ranks: int, folder: Path) -> None:
        import torch
        from torch import distributed

        torch.set_num_threads(1)
        self.torch, self.distributed, self.rank, self.ranks = torch, distributed, rank, ranks
        distributed.init_process_group(
            "gloo",
            init_method=f"file://{folder / 'store'}",
            rank=rank,
            world_size=ranks,
            timeout=datetime.timedelta(seconds=SECONDS),
        )
        data = [torch.from_numpy(array) for array in rows()[1]]
        self.x, self.y, self.x_test, self.y_test = data

    def model(self, run: str, seed: int):
        """Return the network under DDP, its state of exchange, and a function that makes one step on given rows."""
        torch = self.torch
        from torch.nn.parallel import DistributedDataParallel

        from approxhw.distributed.gradients import CompressedExchange, compressed_exchange

        torch.manual_seed(seed)
        sizes = (self.x.shape[1], 256, 256, 10)
        layers = [layer for a, b in pairwise(sizes) for layer in (torch.nn.Linear(a, b), torch.nn.ReLU())][:-1]
        model = DistributedDataParallel(torch.nn.Sequential(*layers))
        state = None
        if run != PLAIN:
            state = CompressedExchange(run.removesuffix("+"), error_feedback=run.endswith("+"))
            model.register_comm_hook(state, compressed_exchange)
        adam = torch.optim.Adam(model.parameters(), lr=1e-3)

        def step(which) -> None:
            adam.zero_grad()
            torch.nn.functional.cross_entropy(model(self.x[which]), self.y[which]).backward()
            adam.step()

        return model, state, adam, step

    def train(self, run: str, seed: int, epochs: int) -> dict:
        """Train once; the rate falls to 0 in a line."""
        torch = self.torch
        model, state, adam, step = self.model(run, seed)
        random, steps = np.random.default_rng(seed), len(self.x) // ROWS
        rate = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, epochs * steps)
        for _ in range(epochs):
            order = torch.from_numpy(random.permutation(len(self.x)))
            for first in range(0, steps * ROWS, ROWS):
                step(order[first + self.rank : first + ROWS : self.ranks])
                rate.step()
        with torch.no_grad():
            wrong = (model(self.x_test).argmax(1) != self.y_test).double().mean().item()
        total = sum(float(p.detach().double().sum()) for p in model.parameters())
        return {
            "error": 100 * wrong,
            "sum of weights": total,
            "ratio": state.ratio if state else 1.0,
            "steps": epochs * steps,
        }

    def bytes(self, run: str) -> dict:
        """Count what a step sends, by the hook's own count and by what the system says this process wrote."""
        _, state, _, step = self.model(run, 0)
        which = slice(0, 64)
        step(which)  # DDP sorts its buckets after the first step
        step(which)
        counted, before = state.bytes_sent if state else 0, written()
        for _ in range(10):
            step(which)
        after = written()
        parameters = sum(p.numel() for p in self.model(run, 0)[0].parameters())
        return {
            "parameters": parameters,
            "counted": (state.bytes_sent - counted) / 10 if state else None,
            "written": (after - before) / 10 if before >= 0 else None,
        }

    def clock(self, runs: list[str]) -> dict[str, dict]:
        """Time steps; the exchanges take turns, so that a busy moment hits all of them."""
        made = {run: self.model(run, 0)[3] for run in runs}
        times: dict[str, list[tuple[float, float]]] = {run: [] for run in runs}
        for turn in range(TURNS + 1):
            for run, step in made.items():
                self.distributed.barrier()
                wall, cpu = time.perf_counter(), time.process_time()
                for number in range(STEPS):
                    step(slice(number * ROWS + self.rank, (number + 1) * ROWS, self.ranks))
                if turn:
                    times[run].append(((time.perf_counter() - wall) / STEPS, (time.process_time() - cpu) / STEPS))
        return {
            run: {"wall": median(w for w, _ in found), "cpu": median(c for _, c in found)}
            for run, found in times.items()
        }


def written() -> int:
    """Return the bytes that this process has written to files and sockets; −1 where the system does not say."""
    try:
        text = Path("/proc/self/io").read_text()
    except OSError:
        return -1
    return int(dict(line.split(": ") for line in text.splitlines())["wchar"])


def work(rank: int, ranks: int, folder: Path) -> None:
    """Do the jobs that are in the folder; rank 0 writes each result to its file."""
    here = Rank(rank, ranks, folder)
    for job in json.loads((folder / "jobs.json").read_text()):
        result = getattr(here, job["kind"])(**job["arguments"])
        if rank == 0:
            target = Path(job["file"])
            target.with_suffix(".part").write_text(json.dumps(result))
            target.with_suffix(".part").replace(target)
            note(f"{job['kind']} {job['arguments']}: {json.dumps(result)}")


def launch(ranks: int, jobs: list[dict]) -> None:
    """Have *jobs* done whose files are not there yet."""
    KEPT.mkdir(parents=True, exist_ok=True)
    jobs = [job for job in jobs if not Path(job["file"]).exists()]
    if not jobs:
        return
    with tempfile.TemporaryDirectory(prefix="approxhw-ranks-") as name:
        (Path(name) / "jobs.json").write_text(json.dumps(jobs))
        environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        started = [
            subprocess.Popen([sys.executable, __file__, "--work", str(rank), str(ranks), name], env=environment)
            for rank in range(ranks)
        ]
        try:
            codes = [process.wait() for process in started]
        finally:
            for process in started:
                process.kill()
    if any(codes):
        raise SystemExit(f"a rank ended with an error: exit codes {codes}")


def job(kind: str, file: str, **arguments: object) -> dict:
    """Return a job whose result goes to *file* in the folder of what is kept."""
    return {"kind": kind, "file": str(KEPT / f"{file}.json"), "arguments": arguments}


def read(job: dict) -> dict:
    """Return the result of a job that is done."""
    return json.loads(Path(job["file"]).read_text())


def interval(differences: list[float]) -> tuple[float, float]:
    """Return the mean, and half the width of its 95 % confidence interval (Student's t)."""
    from scipy.stats import t

    half = t.ppf(0.975, len(differences) - 1) * stdev(differences) / len(differences) ** 0.5
    return mean(differences), float(half)


def parity(seeds: int, epochs: int, dataset: str) -> list[str]:
    """Train with every exchange and every seed."""
    jobs = {
        (run, seed): job("train", f"{dataset[:6]}-{epochs}-{run}-{seed}", run=run, seed=seed, epochs=epochs)
        for seed in range(seeds)
        for run in RUNS
    }
    launch(2, list(jobs.values()))
    lines = []
    for run in RUNS:
        errors = [read(jobs[run, seed])["error"] for seed in range(seeds)]
        line = [run.removesuffix("+"), "yes" if run.endswith("+") else "–" if run == PLAIN else "no"]
        line += [f"{mean(errors):.2f}", f"{min(errors):.2f} … {max(errors):.2f}"]
        if run == PLAIN:
            lines.append([*line, "–", "–"])
            continue
        middle, half = interval([e - read(jobs[PLAIN, seed])["error"] for seed, e in enumerate(errors)])
        known = "no" if abs(middle) <= half else "worse" if middle > 0 else "better"
        lines.append([*line, f"{round(middle, 2) + 0.0:+.2f} ± {half:.2f}", known])
    count = read(jobs[PLAIN, 0])["steps"]
    return [
        f"## Training parity: {dataset}\n",
        f"{seeds} seeds each, {epochs} epochs ({count} steps of {ROWS} rows on two ranks), Adam, rate 0.001 falling to 0. "
        "Test error in %; a seed fixes first weights and the order of rows, so differences are taken seed by seed. The ± is "
        "half a 95 % confidence interval (Student's t); one row of twenty would differ from 0 by chance.\n",
        table(
            [
                "exchange",
                "error feedback",
                "test error, mean",
                "smallest … largest",
                "difference to float32",
                "differs from 0",
            ],
            lines,
        ),
    ]


def traffic() -> list[str]:
    """Count bytes on two and on four ranks."""
    lines, least = [], []
    for ranks in (2, 4):
        jobs = {run: job("bytes", f"bytes-{ranks}-{run}", run=run) for run in (PLAIN, *BYTES)}
        launch(ranks, list(jobs.values()))
        for run, made in jobs.items():
            found = read(made)
            ring = 8 * (ranks - 1) / ranks * found["parameters"]
            sent, wrote = found["counted"] or ring, found["written"]
            ratio = ring / sent
            if run != PLAIN and (parse(run).block or 0) >= 256:
                least.append(ratio)
            shown = "–" if wrote is None else f"{wrote:,.0f}"
            lines.append([ranks, run, f"{sent:,.0f}", shown, f"{sent / found['parameters']:.4f}", f"{ratio:.3f}"])
    return [
        "## Bytes that a rank sends in a step\n",
        f"{found['parameters']:,} gradients. Counted: by the hook, codes and maxima; for float32 the ring all-reduce's "
        "8(n − 1)/n bytes an element. Written: what the system says that the process wrote in a step, "
        "headers of gloo included.\n",
        table(["ranks", "exchange", "counted", "written", "bytes an element", "times fewer than float32"], lines),
        f"≥ {TARGET} times fewer at blocks of 256 and more, on 2 and 4 ranks: {met(min(least) >= TARGET)} "
        f"(smallest {min(least):.3f}).\n",
    ]


def speed() -> list[str]:
    """Time steps on two ranks of this machine."""
    made = job("clock", "clock", runs=[PLAIN, *RUNS[1:]])
    Path(made["file"]).unlink(missing_ok=True)
    launch(2, [made])
    found = read(made)
    lines = [
        [run.removesuffix("+"), "yes" if run.endswith("+") else "no" if run != PLAIN else "–"]
        + [f"{1000 * found[run][kind]:.2f}" for kind in ("wall", "cpu")]
        for run in RUNS
    ]
    return [
        "## Time of a step\n",
        f"Milliseconds of rank 0, medians of {TURNS} turns of {STEPS} steps, one thread a rank. Both ranks are processes of this "
        "machine: its loop-back moves bytes faster than any network, so codes can only cost time here. "
        f"Load of the machine meanwhile: {os.getloadavg()[0]:.1f}; where it is above 2, only CPU times compare.\n",
        table(["exchange", "error feedback", "wall ms", "CPU ms"], lines),
    ]


def main() -> None:
    """Measure what is not kept yet, print, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--seeds", type=int, default=6, help="runs of each exchange, at least 2")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the training rows")
    parser.add_argument("--work", nargs=3, metavar=("RANK", "RANKS", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(int(options.work[0]), int(options.work[1]), Path(options.work[2]))
        return
    try:
        import torch
    except ImportError:
        raise SystemExit("PyTorch is not installed; pip install 'approxhw[gradients]'") from None
    dataset = rows()[0]
    parts = [
        "# Gradients in 8 bits\n",
        command(),
        f"{machine()[:-1]}, PyTorch {torch.__version__}, gloo, processes of one machine.\n",
    ]
    parts += traffic() + parity(max(2, options.seeds), options.epochs, dataset) + speed()
    parts.append(f"Results of single runs are kept in `{KEPT}/`; without them everything is measured anew.\n")
    write("gradient_exchange", parts)


if __name__ == "__main__":
    main()
