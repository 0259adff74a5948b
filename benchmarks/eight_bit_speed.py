"""Time encoding and decoding of 8-bit codes beside a copy of the float32 values in memory.

Of 25 million normal numbers, one thread: encoding and decoding are each to take at most 3 times as long as ``np.copyto`` between
two arrays that both have been written before, for every code, with blocks of 256 and with one maximum a tensor.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
from common import command, machine, met, note, table, write

from approxhw.numerics.eight_bit import _kernel as kernel
from approxhw.numerics.eight_bit.codes import EightBit, make
from approxhw.numerics.eight_bit.tables import KINDS

COUNT = 25_000_000
ROUNDS = 7
LIMIT = 3.0
COMPARED = 1_000_000
"""Values whose codes are compared with the NumPy form's."""


def seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of one call; memory that it returns is given back outside of them."""
    start = time.process_time()
    result = work()
    taken = time.process_time() - start
    del result
    return taken


def measured(fmt: EightBit, x: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Return, per round, seconds of a copy, and of encode and decode: the public ones, the kernels alone."""
    found = fmt.encode(x, ragged=True)
    flat, codes, maxima = x.reshape(-1), found.codes, found.maxima
    if not np.array_equal(fmt.encode_plainly(x[:COMPARED])[0], fmt.encode(x[:COMPARED], ragged=True).codes):
        raise SystemExit(f"{fmt}: the kernel's codes differ from the NumPy form's")
    fmt.decode(found)
    works: tuple[Callable[[], object], ...] = (
        lambda: np.copyto(room, x),
        lambda: fmt.encode(x, ragged=True),
        lambda: fmt.decode(found),
        lambda: kernel.encode(flat, fmt),
        lambda: kernel.decode(codes, maxima, fmt),
    )
    return np.array([[seconds(work) for work in works] for _ in range(ROUNDS)])


def plainly(fmt: EightBit, x: np.ndarray) -> float:
    """Return how many times longer than the public encode the NumPy form takes, of fewer values."""
    few = x[:COMPARED]
    ratios = [
        seconds(lambda: fmt.encode_plainly(few)) / seconds(lambda: fmt.encode(few, ragged=True)) for _ in range(3)
    ]
    return float(np.median(ratios))


def main() -> None:
    """Measure, print, and write the result."""
    x = np.random.default_rng(1).standard_normal(COUNT, dtype=np.float32)
    room = np.empty_like(x)
    np.copyto(room, x)
    aimed = [make(kind, block, "exact") for kind in KINDS for block in (256, None)]
    others = [make("dynamic8", 64), make("dynamic8", 100), make("dynamic8", 4096), make("dynamic8", 256, "pow2")]
    others += [make("static8"), make("mantissa8")]
    lines, worst, copy = [], {"encode": 0.0, "decode": 0.0}, []
    for fmt in (*aimed, *others):
        note(str(fmt))
        times = measured(fmt, x, room)
        copy.extend(times[:, 0])
        ratios = np.median(times[:, 1:] / times[:, :1], axis=0)
        if fmt in aimed:
            worst = {"encode": max(worst["encode"], ratios[0]), "decode": max(worst["decode"], ratios[1])}
        lines.append((f"`{fmt}`", *(f"{ratio:.2f}" for ratio in ratios)))
    note("whole numbers")
    fmt = make("dynamic8", 256)
    whole = np.random.default_rng(2).integers(-40, 41, COUNT).astype(np.float32)
    ratios = np.median((times := measured(fmt, whole, room))[:, 1:] / times[:, :1], axis=0)
    lines.append((f"`{fmt}` of whole numbers, −40…40", *(f"{ratio:.2f}" for ratio in ratios)))
    verdicts = [
        (
            f"{what}: at most {LIMIT:.0f} times a copy, each code, blocks of 256 and none",
            f"{ratio:.2f}",
            met(ratio <= LIMIT),
        )
        for what, ratio in worst.items()
    ]
    slowest = max(float(cell) for line in lines for cell in line[1:])
    verdicts.append((f"everything above: at most {LIMIT:.0f} times a copy", f"{slowest:.2f}", met(slowest <= LIMIT)))
    write(
        "eight_bit_speed",
        [
            "# Speed of 8-bit codes\n",
            command(),
            f"{COUNT:,} float32 numbers from N(0, 1), one thread; times are CPU time in units of `np.copyto` between two warm",
            f"arrays, median of {ROUNDS} rounds in which all take turns. {machine()}",
            f"The copy takes {np.median(copy) * 1e3:.0f} ms, {8 * COUNT / np.median(copy) / 1e9:.1f} GB/s read and written;"
            f" load average at the end: {os.getloadavg()[0]:.1f}.",
            "Public calls check their input and make their result; pages of fresh memory are part of that time. Whole numbers",
            "over a maximum of 40 include exact ties, so that every block has quotients to be divided in float64.\n",
            table(("format", "encode", "decode", "encode, kernel alone", "decode, kernel alone"), lines),
            f"The NumPy form of `dynamic8<block=256>` takes {plainly(fmt, x):.0f} times as long to encode; codes of the first",
            f"{COMPARED:,} values were compared with its own, per format: no difference.\n",
            table(("to reach", "measured", ""), verdicts),
        ],
    )


if __name__ == "__main__":
    main()
