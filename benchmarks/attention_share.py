"""For which lengths approximations of attention would pay on these engines: clocks of an encoder layer, exact and approximated.

Clocks of the schedule of every product on an array of 16 × 16, one vector of 256 waiting between tiles at most. Nothing is
trained or approximated here: what the products would cost is counted, and their other work (softmax, features, means) is not.
"""

from __future__ import annotations

from common import arguments, command, machine, table, write

from approxhw.backends.matrix_engine.engine import Engine, busy_clocks
from approxhw.backends.systolic.schedule import make_schedule

WIDTHS = ((384, 12), (768, 12))
"""Width of a model, and its heads."""

LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)
LANDMARKS, BLOCK, KEPT, ITERATIONS = 64, 32, 4, 6
"""Nyström's landmarks; sides of MRA's blocks, and blocks a row of them that are kept; steps of the pseudo-inverse."""

PAYS = 0.05
"""Share of a layer's clocks that an approximation is to save before it is worth its error."""

Products = list[tuple[int, int, int, int]]
"""How often, M, K, N."""


def outside(n: int, d: int) -> Products:
    """Return the products of an encoder layer that are no attention: projections and a feed-forward block four times as wide."""
    return [(4, n, d, d), (1, n, d, 4 * d), (1, n, 4 * d, d)]


def exact(n: int, e: int, heads: int) -> Products:
    """Return Q·Kᵀ and P·V."""
    return [(heads, n, e, n), (heads, n, n, e)]


def nystrom(n: int, e: int, heads: int) -> Products:
    """Return the three kernels over landmarks, the pseudo-inverse by iteration, and what they are multiplied with."""
    m = min(LANDMARKS, n)
    kernels = [(heads, n, e, m), (heads, m, e, m), (heads, m, e, n)]
    inverse = [(4 * ITERATIONS * heads, m, m, m)]
    return [*kernels, *inverse, (heads, m, n, e), (heads, m, m, e), (heads, n, m, e)]


def linear(n: int, e: int, heads: int, features: int = 1) -> Products:
    """Return φ(K)ᵀ·V and φ(Q) times that, φ of *features* · e numbers."""
    return [(heads, features * e, n, e), (heads, n, features * e, e)]


def scatterbrain(n: int, e: int, heads: int) -> Products:
    """Return the low-rank part, of random features; the sparse part saves nothing where an array has no way to skip."""
    return [*linear(n, e, heads, 2), *exact(n, e, heads)]


def mra(n: int, e: int, heads: int) -> Products:
    """Return means of blocks against means of blocks, and the blocks that are kept, at both products."""
    coarse = -(-n // BLOCK)
    kept = min(coarse, KEPT) * coarse
    return [
        (heads, coarse, e, coarse), (heads, coarse, coarse, e), (heads * kept, BLOCK, e, BLOCK), (heads * kept, BLOCK, BLOCK, e)
    ]  # fmt: skip


WAYS = {
    "Nyström": nystrom,
    "linear": linear,
    "random features": lambda n, e, h: linear(n, e, h, 2),
    "Scatterbrain": scatterbrain,
    "MRA": mra,
}


def clocks(engine: Engine, products: Products) -> int:
    """Return the clocks of *products*."""
    return sum(count * busy_clocks(engine, make_schedule(engine, m, k, n)) for count, m, k, n in products)


def main() -> None:
    """Count, print, and write the result."""
    arguments(__doc__ or "").parse_args()
    engine = Engine(16, 16)
    parts = ["# Where approximations of attention would pay\n", command()]
    parts.append((__doc__ or "").split("\n\n", 1)[1].strip() + f" {machine()}\n")
    for d, heads in WIDTHS:
        rows, first = [], dict.fromkeys(WAYS, 0)
        for n in LENGTHS:
            rest, own = clocks(engine, outside(n, d)), clocks(engine, exact(n, d // heads, heads))
            saved = {
                name: (own - clocks(engine, way(n, d // heads, heads))) / (rest + own) for name, way in WAYS.items()
            }
            for name, share in saved.items():
                if share >= PAYS and not first[name]:
                    first[name] = n
            rows.append(
                (
                    n,
                    f"{own / (rest + own):.1%}",
                    f"{n / (n + 6 * d):.1%}",
                    *(f"{share:+.1%}" for share in saved.values()),
                )
            )
        titles = ("n", "attention's clocks", "n / (n + 6 d)", *(f"{name} saves" for name in WAYS))
        parts.append(f"## d = {d}, {heads} heads\n\n" + table(titles, rows))
        told = ", ".join(f"{name} {f'from n = {n} on' if n else 'never here'}" for name, n in first.items())
        parts.append(f"At least {PAYS:.0%} of a layer's clocks: {told}.\n")
    write("attention_share", parts)


if __name__ == "__main__":
    main()
