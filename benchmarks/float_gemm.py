"""Time matrix products through emulated multiply-add chains, beside a plain Numba loop, float32 BLAS and apytypes.

At 256³ and W = 20, one thread, exact normalization is to be at most 12 times slower than BLAS and at least 50 times faster
than apytypes, an-1-2 at most 20 times slower and 25 times faster; two threads at least 1.8 times as fast as one.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import command, machine, met, note, table, write
from threadpoolctl import threadpool_limits

from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.kernels.gemm import matmul

sys.path.insert(0, str(Path(__file__).parent))
from competitors import numba_float_gemm

SIZE = 256
ROUNDS = 9
TARGETS = {"exact": (12, 50), "an-1-2": (20, 25)}
"""Per normalization at W = 20: at most so many times slower than BLAS, at least so many times faster than apytypes."""

KNOWN = {"BLAS": 33_400, "exact": 3_950, "an-1-2": 2_080, "apytypes": 33}
"""What a feasibility study reached on another machine, without 512-bit vectors; million multiply-adds per core-second."""

PLAIN = ("exact", "an-1-2", "an-2-2")
"""Normalizations that the plain Numba loop carries out too, bf16, W = 20."""

THREADED = 640
TWO_THREADS = 1.8


def emulated(a: np.ndarray, b: np.ndarray, mac: FloatMac, threads: int = 1) -> Callable[[], np.ndarray]:
    """Return our product of a and b; what it does to round them is timed too."""
    return lambda: matmul(a, b, mac, threads=threads)


def plain(a: np.ndarray, b: np.ndarray, mac: FloatMac) -> Callable[[], np.ndarray]:
    """Return the same product by the plain Numba loop; it rounds its inputs in that time too."""
    return lambda: numba_float_gemm.matmul(a, b, mac.accumulator_bits, mac.shifts)


def plain_name(mac: FloatMac) -> str:
    """Return what the tables call the plain loop's product."""
    return f"plain Numba loop, {mac}"


def check_plain(rng: np.random.Generator) -> int:
    """Compare the plain loop with ours bit for bit, on normal numbers and on such that cancel, overflow and underflow."""
    compared = 0
    for spread in (0, 8, 60):
        a, b = (
            (rng.normal(size=(SIZE, SIZE)) * 2.0 ** rng.integers(-spread, spread + 1, (SIZE, SIZE))).astype(np.float32)
            for _ in range(2)
        )
        for name in PLAIN:
            mac = FloatMac("bf16", 20, name)
            found, expected = (result.view(np.int32) for result in (plain(a, b, mac)(), matmul(a, b, mac)))
            if not np.array_equal(found, expected):
                raise SystemExit(f"the plain loop differs from ours: {mac}, exponents ±{spread}")
            compared += expected.size
    return compared


def apytypes_product(a: np.ndarray, b: np.ndarray, width: int) -> Callable[[], Any] | None:
    """Return apytypes' product of a and b with an accumulator of *width* bits that truncates.

    None where it is not installed. It rounds each product and each sum to the accumulator's format, ours aligns un-rounded
    sums: results agree only where both are exact. Its result is left in its own form: reading it is not timed.
    """
    if importlib.util.find_spec("apytypes") is None:
        return None
    import apytypes

    x, y = (apytypes.APyFloatArray.from_array(each, exp_bits=8, man_bits=7) for each in (a, b))
    truncate = apytypes.QuantizationMode.TO_ZERO

    def product() -> Any:
        with apytypes.APyFloatAccumulatorContext(exp_bits=10, man_bits=width - 1, quantization=truncate):
            return x @ y

    return product


def per_call(work: Callable[[], object], least: float = 0.02) -> tuple[float, float]:
    """Return CPU and wall seconds of one call; short ones are called until *least* CPU seconds have gone by."""
    calls, cpu, wall = 0, time.process_time(), time.perf_counter()
    while calls == 0 or time.process_time() - cpu < least:
        work()
        calls += 1
    return (time.process_time() - cpu) / calls, (time.perf_counter() - wall) / calls


def agree(width: int) -> int:
    """Compare all competitors where every one is exact, on products of −1, 0 and 1; return how many elements."""
    rng = np.random.default_rng(2)
    a, b = (rng.integers(-1, 2, (SIZE, SIZE)).astype(np.float32) for _ in range(2))
    expected = a @ b
    results = {name: matmul(a, b, FloatMac("bf16", width, name)) for name in TARGETS}
    if product := apytypes_product(a, b, width):
        results["apytypes"] = product().to_numpy()
    for name, found in results.items():
        if not np.array_equal(found, expected):
            raise SystemExit(f"{name} differs from BLAS on small whole numbers, where it must not")
    if np.unique(expected).size < 50:
        raise SystemExit("the whole numbers are all alike: nothing is compared")
    return expected.size


def one_thread(rng: np.random.Generator) -> tuple[dict[str, np.ndarray], float]:
    """Return CPU seconds of every competitor, one a round, and the greatest error of ours in relation to float32."""
    a, b = (rng.normal(size=(SIZE, SIZE)).astype(np.float32) for _ in range(2))
    works: dict[str, Callable[[], object]] = {"float32, BLAS": lambda: a @ b}
    for mac in (
        *(FloatMac("bf16", 20, name) for name in PLAIN),
        FloatMac("fp16", 23, "an-1-2"),
        FloatMac("e4m3", 16, "an-1-1"),
        *(FloatMac("bf16", 24, name) for name in ("exact", "an-1-2")),
    ):
        works[str(mac)] = emulated(a, b, mac)
        if mac.format == "bf16" and mac.accumulator_bits == 20:
            works[plain_name(mac)] = plain(a, b, mac)
    if product := apytypes_product(a, b, 20):
        works["apytypes, 20-bit accumulator"] = product
    else:
        note("apytypes is not installed (pip install 'approxhw[benchmark]'): it is left out")
    exact = a.astype(np.float64) @ b
    error = max(
        float(np.abs(matmul(a, b, FloatMac("bf16", 20, name)) - exact).max() / np.abs(exact).max()) for name in TARGETS
    )
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(ROUNDS):
        for name, work in works.items():
            seconds[name].append(per_call(work)[0])
    return {name: np.array(values) for name, values in seconds.items()}, error


def two_threads(rng: np.random.Generator) -> list[tuple[str, float, float]]:
    """Return, per normalization, how much faster two threads are by the clock, and their CPU time over that of one."""
    a, b = (rng.normal(size=(THREADED, THREADED)).astype(np.float32) for _ in range(2))
    lines = []
    for name in TARGETS:
        mac = FloatMac("bf16", 20, name)
        alone, both = [], []
        for _ in range(ROUNDS):
            alone.append(per_call(emulated(a, b, mac)))
            both.append(per_call(emulated(a, b, mac, 2)))
        if not np.array_equal(matmul(a, b, mac), matmul(a, b, mac, threads=2)):
            raise SystemExit("two threads give another result than one")
        ratios = np.array(alone) / np.array(both)
        lines.append((name, float(np.median(ratios[:, 1])), float(np.median(1 / ratios[:, 0]))))
    return lines


def main() -> None:
    """Measure, print, and write the result."""
    rng = np.random.default_rng(1)
    with threadpool_limits(1):
        compared, same = agree(20), check_plain(rng)
        seconds, error = one_thread(rng)
    threads = two_threads(rng)
    blas = seconds["float32, BLAS"]
    peer = seconds.get("apytypes, 20-bit accumulator")
    known = {"float32, BLAS": "BLAS", "apytypes, 20-bit accumulator": "apytypes"}
    known |= {str(FloatMac("bf16", 20, name)): name for name in TARGETS}
    lines = []
    for name, values in seconds.items():
        lines.append(
            (
                name,
                f"{SIZE**3 / np.median(values) / 1e6:,.0f}",
                f"{np.median(seconds[loop] / values):.1f}" if (loop := f"plain Numba loop, {name}") in seconds else "",
                f"{np.median(values / blas):.1f}",
                "" if peer is None else f"{np.median(peer / values):.0f}",
                f"{KNOWN[known[name]]:,}" if name in known else "",
            )
        )
    verdicts = []
    for name, (slower, faster) in TARGETS.items():
        ours = seconds[str(FloatMac("bf16", 20, name))]
        ratio = float(np.median(ours / blas))
        verdicts.append((f"{name}: at most {slower} times slower than BLAS", f"{ratio:.1f}", met(ratio <= slower)))
        if peer is not None:
            ratio = float(np.median(peer / ours))
            verdicts.append(
                (f"{name}: at least {faster} times faster than apytypes", f"{ratio:.0f}", met(ratio >= faster))
            )
    for name, ratio, _ in threads:
        verdicts.append(
            (f"{name}: two threads at least {TWO_THREADS} times as fast", f"{ratio:.2f}", met(ratio >= TWO_THREADS))
        )
    write(
        "float_gemm",
        [
            "# Speed of emulated matrix products\n",
            command(),
            f"{SIZE} × {SIZE} × {SIZE}, one thread, CPU time, median of {ROUNDS} rounds in which the competitors take turns on",
            "the same random normal numbers; ours round their inputs in that time, apytypes has its own made before.",
            machine(),
            "Ratios are of the same round; *known* is what a feasibility study reached on a machine without 512-bit vectors.",
            f"The plain loop's results are ours, bit for bit: {same:,} of {same:,} elements, exponents far apart among them.\n",
            table(
                (
                    "product",
                    "million multiply-adds per core-second",
                    "faster than plain Numba by",
                    "slower than BLAS by",
                    "faster than apytypes by",
                    "known, million per core-second",
                ),
                lines,
            ),
            "W = 24 goes through the integer kernel, everything else above through powers of two held as floats.",
            f"Bits: on products of −1, 0 and 1, where all are exact, {compared:,} of {compared:,} elements are equal. On other",
            "numbers apytypes rounds products and sums to its accumulator's format, ours aligns un-rounded sums, so bits differ;",
            f"ours are within {error:.1e} of the largest float64 element there (rounding to bf16 included).\n",
            f"Two threads beside one, {THREADED} × {THREADED} × {THREADED}, by the clock; on an idle machine they are to reach",
            f"{TWO_THREADS}. Processes beside this one lower that figure, the CPU time of two threads over that of one hardly",
            f"moves. Load average at the end: {os.getloadavg()[0]:.1f} (this benchmark's own share is 1 to 2).\n",
            table(
                ("normalization", "two threads are faster by", "their CPU time over that of one"),
                [(name, f"{ratio:.2f}", f"{cpu:.2f}") for name, ratio, cpu in threads],
            ),
            table(("to reach", "measured", ""), verdicts),
        ],
    )


if __name__ == "__main__":
    main()
