"""Time matrix products by tables of an operator's products, beside NumPy's and PyTorch's gathers and a plain Numba loop.

One thread: at least 25 times the gathers, at least 1 G products a second with AVX2 (2 G with AVX-512), structured operators
at least 4 G; two threads at least 1.8 times as fast as one.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import command, machine, met, note, table, write
from threadpoolctl import threadpool_limits

from approxhw.numerics.mac.kernels.table_sums import sum_products
from approxhw.numerics.multipliers.families import own_operator

sys.path.insert(0, str(Path(__file__).parent))
from competitors import numba_table_gemm, numpy_table_gemm

SIZES = {
    "convolution, 64 channels": (576, 16384, 64),
    "dense, 128 rows": (384, 128, 1536),
    "dense, 1 024 rows": (384, 1024, 384),
}
"""Depth K, vectors M, columns N."""

OPERATORS = ("truncated-4", "broken-array-4-1", "logarithmic", "leading-4", "rounded")
ROUNDS = 5
TWICE = (1, 4, 16)
"""How often the convolution's vectors stand beside each other for two threads: about 20, 80 and 330 images of 28 x 28."""
GATHERS, PRODUCTS, STRUCTURED, TWO_THREADS = 25, 1.0, 4.0, 1.8


def wide_vectors() -> bool:
    """Whether this machine has AVX-512."""
    flags = Path("/proc/cpuinfo")
    return flags.is_file() and "avx512f" in flags.read_text(encoding="utf-8", errors="replace")


def competitors(weights: np.ndarray, x: np.ndarray, products: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Return everybody's product of the same operands, checked equal."""
    works: dict[str, Callable[[], np.ndarray]] = {
        "ours": lambda: sum_products(weights, x, products),
        "plain Numba loop": lambda: numba_table_gemm.table_gemm(weights, x, products.astype(np.int32)),
        "NumPy, a gather a step": lambda: numpy_table_gemm.numpy_gather(weights, x, products),
    }
    if importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)
        works["PyTorch, a gather a step"] = lambda: numpy_table_gemm.torch_gather(weights, x, products)
    else:
        note("torch is not installed (pip install 'approxhw[transformer]'): it is left out")
    expected = works["ours"]()
    for name, work in works.items():
        if not np.array_equal(work(), expected):
            raise SystemExit(f"{name} differs from ours")
    return works


def rates(works: dict[str, Callable[[], np.ndarray]], products: int) -> dict[str, float]:
    """Return billions of products a CPU second of each, the median of rounds in which all took their turn."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            began = time.process_time()
            work()
            seconds[name].append(time.process_time() - began)
    return {name: products / float(np.median(found)) / 1e9 for name, found in seconds.items()}


def main() -> None:
    """Measure, print, and write the result."""
    rng = np.random.default_rng(1)
    operator = own_operator("truncated-4")
    assert operator is not None
    signed = operator.table(8, 8, "both").products
    rows, verdicts, compared = [], [], 0
    with threadpool_limits(1):
        for name, (depth, vectors, columns) in SIZES.items():
            weights = rng.integers(0, 256, (depth, columns)).astype(np.uint8)
            x = rng.integers(0, 256, (depth, vectors)).astype(np.uint8)
            compared += vectors * columns
            found = rates(competitors(weights, x, signed), depth * vectors * columns)
            rows += [(name, who, f"{rate:.3g}", f"{found['ours'] / rate:.3g}") for who, rate in found.items()]
            gathers = [found["ours"] / rate for who, rate in found.items() if "gather" in who]
            verdicts.append(
                (f"{name}: {GATHERS} times the faster gather", f"{min(gathers):.3g}", met(min(gathers) >= GATHERS))
            )
            least = 2 * PRODUCTS if wide_vectors() else PRODUCTS
            verdicts.append(
                (f"{name}: {least:g} G products a second", f"{found['ours']:.3g}", met(found["ours"] >= least))
            )
        depth, vectors, columns = SIZES["convolution, 64 channels"]
        weights = rng.integers(0, 256, (depth, columns)).astype(np.uint8)
        x = rng.integers(0, 256, (depth, vectors)).astype(np.uint8)
        works = {}
        for each in OPERATORS:
            for signs in ("both", "none"):
                own = own_operator(each)
                assert own is not None
                held = own.table(8, 8, signs).products
                works[f"{each}, {signs} signed"] = lambda held=held: sum_products(weights, x, held)
        by_operator = rates(works, depth * vectors * columns)
    least = min(by_operator.values())
    verdicts.append(
        (f"structured operators: {STRUCTURED:g} G products a second", f"{least:.3g}", met(least >= STRUCTURED))
    )
    for times in TWICE:
        ratio = two_threads(weights, np.tile(x, (1, times)), signed)
        target = f"two threads, {times * vectors} vectors: {TWO_THREADS} times as fast as one"
        verdicts.append((target, f"{ratio:.2f}", met(ratio >= TWO_THREADS)))
    write(
        "table_gemm",
        [
            "# Products by tables\n",
            command(),
            f"{machine()} CPU seconds of one thread, competitors interleaved, warm; equal results on {compared} sums.\n",
            table(("target", "measured", ""), verdicts),
            "Billions of products a second; the last column: how many times faster ours is.\n",
            table(("operands", "who", "G/s", "ours over it"), rows),
            table(("operator", "G/s"), [(name, f"{rate:.3g}") for name, rate in by_operator.items()]),
        ],
    )


def two_threads(weights: np.ndarray, x: np.ndarray, products: np.ndarray) -> float:
    """Return how much faster two threads are by the clock, the median of rounds."""
    ratios = []
    for _ in range(2 * ROUNDS):
        times = []
        for threads in (1, 2):
            began = time.perf_counter()
            sum_products(weights, x, products, threads=threads)
            times.append(time.perf_counter() - began)
        ratios.append(times[0] / times[1])
    return float(np.median(ratios))


if __name__ == "__main__":
    main()
