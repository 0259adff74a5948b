"""Count the fitness evaluations a core-second: the population kernel against a plain Numba loop, and against NumPy.

On 16-5-10 × 10 000 rows the kernel is to be at least 100 times a NumPy broadcast per individual and at least 35 times good
NumPy code, neuron by neuron. All are warm and on one thread, take turns, and must count the same errors.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import command, machine, met, table, write

from approxhw.networks.kernels import masked_network
from approxhw.networks.space import Space, make_space

sys.path.insert(0, str(Path(__file__).parent))
from competitors import numba_fitness, numpy_fitness

PLAIN, BROADCAST, PER_NEURON, PER_SUMMAND, OURS = (
    "plain Numba loop, int32, rows innermost",
    "NumPy, broadcast, per individual",
    "NumPy, per neuron, int32",
    "NumPy, per summand, int32 columns, in place",
    "population kernel",
)
COMPETITORS = (PLAIN, PER_SUMMAND, PER_NEURON, BROADCAST)

CASES = (((16, 5, 10), 10_000, (13_150, 3_985, 86, 265)), ((21, 3, 3), 2_000, (148_800, 53_200, 903, 1_002)))
"""Topology, rows, and what is known to be attainable: our kernel, plain Numba, NumPy broadcast, NumPy neuron by neuron."""

POPULATION = 200
COMPARED = 12
ROUNDS = 7
TARGETS = (100, 35)


def population(space: Space, seed: int) -> np.ndarray:
    """Return random genomes: every mask, sign and exponent; biases of the size of a few summands; exact argmax."""
    rng = np.random.default_rng(seed)
    genomes = rng.integers(space.lower, space.upper.astype(np.int64) + 1, (POPULATION, space.genes)).astype(np.int32)
    for index in range(len(space.layers)):
        genes = space.layer_genes(genomes, index)
        genes.biases[:] //= 16
        if genes.shift is not None:
            genes.shift[:] = rng.integers(3, 6, POPULATION)
    space.comparators(genomes)[:] = (1 << space.width) - 1
    return genomes


def network_of(space: Space, genome: np.ndarray) -> numpy_fitness.Network:
    """Return *genome* as the competitors read it: int32."""
    layers = [space.layer_genes(genome[None], index) for index in (0, 1)]
    parts = [tuple(np.ascontiguousarray(part[0]) for part in parts) for parts in list(zip(*layers))[:4]]
    masks, signs, exponents, biases = parts
    return numpy_fitness.Network(
        masks,
        tuple(1 - 2 * sign for sign in signs),
        exponents,
        biases,
        int(layers[0].shift[0]),
        space.layers[0].hidden_bits,
    )


def rate(count: int, work: Callable[[], object]) -> float:
    """Return evaluations a CPU second."""
    started = time.process_time()
    work()
    return count / (time.process_time() - started)


def measure(sizes: tuple[int, ...], rows: int) -> dict[str, list[float]]:
    """Return the rates of every competitor, one a round."""
    space, rng = make_space(sizes), np.random.default_rng(7)
    genomes = population(space, 1)
    approximate, sparse = genomes.copy(), genomes.copy()
    seen = space.comparators(approximate)
    seen[:] = rng.integers(0, 1 << space.width, seen.shape)
    for index in (0, 1):
        masks = space.layer_genes(sparse, index).masks
        masks[rng.random(masks.shape) < 0.7] = 0
    codes, labels = rng.integers(0, 1 << 4, (rows, sizes[0])), rng.integers(0, sizes[-1], rows)
    prepared = masked_network.pack_rows(codes, labels)
    narrow, columns = codes.astype(np.int32), np.ascontiguousarray(codes.T, dtype=np.int32)
    everyone = [network_of(space, genome) for genome in genomes]
    networks, stacked, narrow_labels = everyone[:COMPARED], numba_fitness.stack(everyone), labels.astype(np.int32)

    def ours(some: np.ndarray) -> np.ndarray:
        return masked_network.count_errors(space.layout, space.head, some, prepared)

    cases: dict[str, tuple[int, Callable[[], object]]] = {
        PLAIN: (POPULATION, lambda: numba_fitness.count_errors(stacked, columns, narrow_labels)),
        PER_SUMMAND: (
            COMPARED,
            lambda: [numpy_fitness.per_summand(network, columns, labels) for network in networks],
        ),
        PER_NEURON: (
            COMPARED,
            lambda: [numpy_fitness.per_neuron(network, narrow, labels) for network in networks],
        ),
        BROADCAST: (
            COMPARED,
            lambda: [numpy_fitness.broadcast(network, narrow, labels) for network in networks],
        ),
        OURS: (POPULATION, lambda: ours(genomes)),
        "population kernel, comparators of chosen bits": (POPULATION, lambda: ours(approximate)),
        "population kernel, 7 of 10 summands masked out": (POPULATION, lambda: ours(sparse)),
    }
    expected = ours(genomes)
    for name in COMPETITORS:
        count, work = cases[name]
        if not np.array_equal(work(), expected[:count]):
            raise SystemExit(f"{sizes}: {name} counts other errors than the kernel")
    if np.unique(expected[:COMPARED]).size < COMPARED // 2:
        raise SystemExit("the random networks all count the same errors: nothing is compared")
    for _, work in cases.values():
        work()
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(ROUNDS):
        for name, (count, work) in cases.items():
            rates[name].append(rate(count, work))
    return rates


def main() -> None:
    """Measure, print, and write the result."""
    parts = [
        "# Speed of the fitness\n",
        command(),
        f"Evaluations of one genome over all rows per CPU second, one thread; median of {ROUNDS} rounds in which the",
        f"competitors take turns, ours and plain Numba on a population of {POPULATION}, whose errors are equal one by one, NumPy",
        f"on its first {COMPARED} genomes, whose errors are equal too. Other work on the machine moves rates, ratios less.",
        machine(),
        "Ratios are of the same round; *known* is what a feasibility study reached on another machine.\n",
    ]
    for sizes, rows, known in CASES:
        rates = measure(sizes, rows)
        ours = np.array(rates[OURS])
        reference = dict(zip((OURS, PLAIN, BROADCAST, PER_NEURON), known))
        lines = []
        for name, values in rates.items():
            ratio = np.median(ours / np.array(values))
            lines.append(
                (name, f"{np.median(values):,.0f}", f"{ratio:.1f}", f"{reference[name]:,}" if name in reference else "")
            )
        parts.append(f"## {'-'.join(map(str, sizes))}, {rows:,} rows\n")
        parts.append(
            table(("evaluation", "per core-second", "our kernel is faster by", "known, per core-second"), lines)
        )
        if sizes == CASES[0][0]:
            ratios = [np.median(ours / np.array(rates[name])) for name in (BROADCAST, PER_NEURON)]
            verdicts = ", ".join(
                f"{target} times {name}: {met(ratio >= target)} ({ratio:.0f})"
                for target, name, ratio in zip(TARGETS, ("broadcast", "per neuron"), ratios)
            )
            parts.append(f"To reach: {verdicts}.\n")
    write("fitness_speed", parts)


if __name__ == "__main__":
    main()
