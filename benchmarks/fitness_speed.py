"""Count the fitness evaluations a core-second: the population kernel against NumPy, broadcast and neuron by neuron.

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
from competitors import numpy_fitness

CASES = (((16, 5, 10), 10_000, (13_150, 86, 265)), ((21, 3, 3), 2_000, (148_800, 903, 1_002)))
"""Topology, rows, and what is known to be attainable: our kernel, NumPy broadcast, NumPy neuron by neuron."""

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
    prepared = masked_network.prepare(codes, labels)
    narrow, columns = codes.astype(np.int32), np.ascontiguousarray(codes.T, dtype=np.int32)
    networks = [network_of(space, genome) for genome in genomes[:COMPARED]]

    def ours(some: np.ndarray) -> np.ndarray:
        return masked_network.count_errors(space.layout, space.head, some, prepared)

    cases: dict[str, tuple[int, Callable[[], object]]] = {
        "NumPy, broadcast, per individual": (
            COMPARED,
            lambda: [numpy_fitness.broadcast(network, narrow, labels) for network in networks],
        ),
        "NumPy, per neuron, int32": (
            COMPARED,
            lambda: [numpy_fitness.per_neuron(network, narrow, labels) for network in networks],
        ),
        "NumPy, per summand, int32 columns, in place": (
            COMPARED,
            lambda: [numpy_fitness.per_summand(network, columns, labels) for network in networks],
        ),
        "population kernel": (POPULATION, lambda: ours(genomes)),
        "population kernel, comparators of chosen bits": (POPULATION, lambda: ours(approximate)),
        "population kernel, 7 of 10 summands masked out": (POPULATION, lambda: ours(sparse)),
    }
    expected = ours(genomes)[:COMPARED].tolist()
    counted = [work() for _, work in list(cases.values())[:3]]
    if any(errors != expected for errors in counted):
        raise SystemExit(f"{sizes}: the competitors count other errors than the kernel")
    if len(set(expected)) < COMPARED // 2:
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
        f"competitors take turns, ours on a population of {POPULATION}. The errors of the first {COMPARED} genomes are equal.",
        machine(),
        "Ratios are of the same round; *known* is what a feasibility study reached on another machine.\n",
    ]
    for sizes, rows, known in CASES:
        rates = measure(sizes, rows)
        ours = np.array(rates["population kernel"])
        reference = dict(zip(("population kernel", *list(rates)[:2]), known))
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
            ratios = [np.median(ours / np.array(rates[name])) for name in list(rates)[:2]]
            verdicts = ", ".join(
                f"{target} times {name}: {met(ratio >= target)} ({ratio:.0f})"
                for target, name, ratio in zip(TARGETS, ("broadcast", "per neuron"), ratios)
            )
            parts.append(f"To reach: {verdicts}.\n")
    write("fitness_speed", parts)


if __name__ == "__main__":
    main()
