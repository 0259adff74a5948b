"""Count where a multiplier of 31 bits and a shift say another code than the scales of ONNX themselves.

Scales are drawn as those of real layers lie: s_x and s_w of float32, s_y so that codes of y are used. For every sum of an
accumulator's range the code by multiplier and shift is held against round-half-even(sum · s_x · s_w / s_y), worked out in
exact fractions wherever the two could differ: where the true quotient lies nearer to a tie than the multiplier's error
reaches.
"""

from __future__ import annotations

import argparse
from fractions import Fraction

import numpy as np
from common import command, machine, note, table, write

from approxhw.numerics.exact.fixed_point import fixed_point_multiplier
from approxhw.numerics.mac.kernels.requantize import requantized_fast

WIDTHS = (16, 20, 24)


def main() -> None:
    """Count, and write ``results/requantisation.md``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scales", type=int, default=40, help="triples of scales for each width of sums")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    draw, lines = np.random.default_rng(given.seed), []
    for bits in WIDTHS:
        compared = different = most = 0
        for _ in range(given.scales):
            s_x, s_w = (np.float32(10 ** draw.uniform(-4, -0.5)) for _ in range(2))
            s_y = np.float32(float(s_x) * float(s_w) * 2 ** (bits - 1) / 10 ** draw.uniform(1.5, 2.8))
            real = Fraction(float(s_x)) * Fraction(float(s_w)) / Fraction(float(s_y))
            found, apart = differing(real, bits)
            compared, different, most = compared + (1 << bits), different + found, max(most, apart)
        lines.append([str(bits), f"{compared:,}", f"{different:,}", f"{different / compared:.2g}", str(most)])
        note(str(lines[-1]))
    titles = ("bits of sums", "sums compared", "other codes", "share", "at most, in units of a code")
    write(
        "requantisation",
        [
            "# Requantisation by multiplier and shift, beside exact scales\n",
            command(),
            (__doc__ or "").split("\n\n")[1].strip() + f" {machine()}\n",
            table(titles, lines),
        ],
    )


def differing(real: Fraction, bits: int) -> tuple[int, int]:
    """Return for how many sums of so many *bits* the codes (9 bits, cut off beyond) differ, and by how much at most."""
    sums = np.arange(-(1 << (bits - 1)), 1 << (bits - 1), dtype=np.int64)
    multiplier, shift = fixed_point_multiplier(real)
    codes = requantized_fast(sums, np.array(multiplier), np.array(shift), 0, -256, 255)
    close = sums * float(real)
    reach = np.abs(sums) * float(abs(Fraction(multiplier, 1 << shift) - real)) + np.abs(close) * 2.0**-50 + 2.0**-50
    doubtful = np.flatnonzero(np.abs(close - np.floor(close) - 0.5) <= reach)
    plain = np.clip(np.rint(close), -256, 255).astype(np.int64)
    for at in doubtful.tolist():
        plain[at] = min(max(round(int(sums[at]) * real), -256), 255)  # halves to even
    apart = np.abs(codes - plain)
    return int((apart > 0).sum()), int(apart.max(initial=0))


if __name__ == "__main__":
    main()
