"""Core shapes of Tucker decompositions: the integer program beside greedy growth and beside trying every decomposition.

Kernels are random filters of 3 × 3 between 8 to 40 channels in and out, their singular values falling at a random rate; the
budget is a random share of their numbers, counted as I·R_in + R_in·R_out·9 + R_out·O. Greedy growth begins at one channel on
each side and adds to the side with the larger next σ², or with the larger σ² for each number added, while that fits. Trying all
makes every decomposition within the budget and measures its error: of directions found once, or each from scratch, as calls of
a library would (the first ten kernels). Errors are shares of the kernel's squares.
"""

from __future__ import annotations

import itertools
import time

import numpy as np
from common import arguments, machine, met, note, table, write
from competitors.scipy_budget import chosen_by_scipy

from approxhw.passes.structure.ground.budget import Form, within_budget
from approxhw.passes.structure.tucker import lost_by_ranks

PLACES, FROM_SCRATCH = 9, 10


def random_kernel(rng: np.random.Generator) -> np.ndarray:
    """Return filters O × I × 9 whose principal channels matter less and less."""
    count, channels = (int(size) for size in rng.integers(8, 41, 2))
    kernel = rng.standard_normal((count, channels, PLACES))
    falls = [np.arange(1, size + 1) ** -rng.uniform(0.2, 1.5) for size in (count, channels)]
    turns = [np.linalg.qr(rng.standard_normal((size, size)))[0] for size in (count, channels)]
    return np.einsum("oip,ao,bi->abp", kernel, turns[0] * falls[0], turns[1] * falls[1])


def numbers(kernel: np.ndarray, r_in: int, r_out: int) -> int:
    """Return how many numbers a core of *r_in* × *r_out* and its two factors are."""
    return kernel.shape[1] * r_in + r_in * r_out * PLACES + r_out * kernel.shape[0]


def squares(kernel: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return squared singular values of the unfolding along axis *side*, as shares of all, and its directions."""
    rows = np.moveaxis(kernel, side, 0).reshape(kernel.shape[side], -1)
    directions, values, _ = np.linalg.svd(rows, full_matrices=False)
    return values**2 / (values**2).sum(), directions


def by_program(kernel: np.ndarray, budget: int) -> tuple[int, int]:
    """Return the ranks in and out that the integer program chooses, as ``tucker`` does: by the squares of the whole core."""
    (_, into), (values, out) = squares(kernel, 1), squares(kernel, 0)
    core = np.einsum("oip,or,is->rsp", kernel, out, into, optimize=True)
    lost = lost_by_ranks(values, (core**2).sum(axis=2))
    pairs = list(itertools.product(range(1, kernel.shape[1] + 1), range(1, kernel.shape[0] + 1)))
    forms = [Form(place, numbers(kernel, *pair), float(lost[pair])) for place, pair in enumerate(pairs)]
    (chosen,), _ = within_budget([forms], budget)
    return pairs[chosen.size]


def grown(kernel: np.ndarray, budget: int, by_cost: bool) -> tuple[int, int]:
    """Return the ranks that greedy growth finds: by σ², or by σ² for each number added."""
    values = [squares(kernel, side)[0] for side in (1, 0)]
    ranks = [1, 1]
    while True:
        steps = []
        for side in (0, 1):
            more = [ranks[0] + (side == 0), ranks[1] + (side == 1)]
            if more[side] <= len(values[side]) and numbers(kernel, *more) <= budget:
                added = numbers(kernel, *more) - numbers(kernel, *ranks) if by_cost else 1
                steps.append((values[side][more[side] - 1] / added, side))
        if not steps:
            return ranks[0], ranks[1]
        ranks[max(steps)[1]] += 1


def off_by(kernel: np.ndarray, into: np.ndarray, out: np.ndarray) -> float:
    """Return the error of a decomposition: what is left when both sides are projected on the directions *into* and *out*."""
    core = np.tensordot(out.T, np.tensordot(kernel, into, (1, 0)), (1, 0))  # R_out × 9 × R_in
    back = np.tensordot(np.tensordot(out, core, (1, 0)), into, (2, 1))
    return float(((kernel - np.moveaxis(back, 2, 1)) ** 2).sum() / (kernel**2).sum())


def every_error(kernel: np.ndarray, budget: int) -> dict[tuple[int, int], float]:
    """Return the error of every decomposition within *budget*, each of them made."""
    (_, into), (_, out) = squares(kernel, 1), squares(kernel, 0)
    pairs = itertools.product(range(1, kernel.shape[1] + 1), range(1, kernel.shape[0] + 1))
    return {
        (r_in, r_out): off_by(kernel, into[:, :r_in], out[:, :r_out])
        for r_in, r_out in pairs
        if numbers(kernel, r_in, r_out) <= budget
    }


def scratch_seconds(kernel: np.ndarray, budget: int) -> float:
    """Return the CPU seconds of every decomposition within *budget*, directions found for each of them."""
    start = time.process_time()
    for r_in, r_out in itertools.product(range(1, kernel.shape[1] + 1), range(1, kernel.shape[0] + 1)):
        if numbers(kernel, r_in, r_out) <= budget:
            off_by(kernel, squares(kernel, 1)[1][:, :r_in], squares(kernel, 0)[1][:, :r_out])
    return time.process_time() - start


def many_layers(seeds: int) -> list[list[object]]:
    """Return how the exact choice over 40 layers of 50 forms compares with HiGHS."""
    apart, seconds, theirs = [], [], []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        costs = [np.sort(rng.choice(10**6, 50, replace=False))[::-1] for _ in range(40)]
        loses = [np.cumsum(rng.exponential(size=50) ** 2) for _ in range(40)]
        layers = [
            [Form(place, int(cost), float(loss)) for place, (cost, loss) in enumerate(zip(*each, strict=True))]
            for each in zip(costs, loses, strict=True)
        ]
        budget = sum(int(each[0]) for each in costs) // 2
        start = time.process_time()
        chosen, total = within_budget(layers, budget)
        seconds.append(time.process_time() - start)
        assert total <= budget
        start = time.process_time()
        best = chosen_by_scipy(costs, loses, budget)
        theirs.append(time.process_time() - start)
        apart.append(sum(form.loses for form in chosen) / best - 1)
    return [[seeds, f"{max(apart):.1e}", f"{np.median(seconds):.2f}", f"{np.median(theirs):.2f}"]]


def main() -> None:
    """Measure, print, and write the result."""
    parser = arguments((__doc__ or "").splitlines()[0])
    parser.add_argument("--kernels", type=int, default=100, metavar="N", help="random kernels")
    given = parser.parse_args()
    worse = {"greedy": 0, "greedy by cost": 0}
    saved: dict[str, list[float]] = {name: [] for name in worse}
    beside, count = [], 0
    seconds: dict[str, list[float]] = {"program": [], "all": [], "scratch": []}
    for seed in range(given.kernels):
        rng = np.random.default_rng(seed)
        kernel = random_kernel(rng)
        least, most = numbers(kernel, 1, 1), numbers(kernel, kernel.shape[1], kernel.shape[0])
        budget = int(rng.integers(least, most))
        start = time.process_time()
        ours = by_program(kernel, budget)
        seconds["program"].append(time.process_time() - start)
        start = time.process_time()
        every = every_error(kernel, budget)
        seconds["all"].append(time.process_time() - start)
        if seed < FROM_SCRATCH:
            seconds["scratch"].append(scratch_seconds(kernel, budget))
        count += len(every)
        for name, by_cost in (("greedy", False), ("greedy by cost", True)):
            theirs = every[grown(kernel, budget, by_cost)]
            worse[name] += every[ours] > theirs + 1e-9
            saved[name].append(theirs - every[ours])
        beside.append(every[ours] - min(every.values()))
        if seed % 20 == 19:
            note(f"{seed + 1} kernels")
    once = sum(seconds["all"]) / sum(seconds["program"])
    scratch = sum(seconds["scratch"]) / sum(seconds["program"][: len(seconds["scratch"])])
    rows = [
        [f"kernels of {given.kernels} on which the program is worse than greedy growth, by σ² and by σ² for each number", "0",
         f"{worse['greedy']}, {worse['greedy by cost']}", met(not any(worse.values()))],
        ["error beside that of the best decomposition of all, points of the kernel's squares, at most", "≤ 1",
         f"{100 * max(beside):.2g}", met(max(beside) <= 0.01)],
        ["times faster than trying every decomposition, each from scratch", "≥ 100", f"{scratch:.0f}", met(scratch >= 100)],
        [f"the same, directions found once; {count:,} decompositions", "", f"{once:.1f}", ""],
    ]  # fmt: skip
    about = (__doc__ or "").split("\n\n")[1].strip()
    parts = ["# Core shapes\n", "    python benchmarks/core_shapes.py\n", f"{about} {machine()}\n"]
    parts.append(table(("what", "asked", "measured", ""), rows))
    parts.append(
        f"\nGreedy growth loses {100 * np.mean(saved['greedy']):.2f} points more in the mean, by cost "
        f"{100 * np.mean(saved['greedy by cost']):.2f}.\n"
    )
    parts.append("## Many layers within one budget\n")
    parts.append("40 layers of 50 random forms, half of all clocks: beside SciPy's `milp` (HiGHS), seconds of CPU.\n")
    parts.append(table(("models", "loss beside HiGHS' at most", "ours, s", "HiGHS, s"), many_layers(10)))
    write("core_shapes", parts)


if __name__ == "__main__":
    main()
