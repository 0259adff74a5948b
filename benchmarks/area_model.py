"""Compare the area model of the search with synthesis: rank correlation and error on random genomes of five tasks, and speed."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from common import TASKS, arguments, command, machine, met, need_tasks, note, table, write

import approxhw as ax
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import ArgMax, Constant, Dense, Input, Requantize, Type
from approxhw.ir.rewriting import code_constant
from approxhw.networks.area_model import AreaModel, calibrate, default_model, features, full_adders_date24
from approxhw.networks.kernels.masked_network import classes_of
from approxhw.networks.space import Space, decode_genome, space_of
from approxhw.numerics.formats import Encoding, Fixed
from approxhw.numerics.mac.arithmetic import MaskedPowerOfTwo

TARGET, SPEED = 0.95, 100_000
SETS = {"all densities": 100, "small": 60}
"""Genomes of each task that the estimate is tried on, by kind."""

TUNING = 20
"""Genomes of each kind that it is calibrated on: others than those."""

VARIED = 0.98
"""A circuit that says the same of more of 2000 random inputs is of no use to a search, and is drawn anew."""


def masked_graph(sizes: tuple[int, ...], bits: int = 4, hidden: int = 8) -> Graph:
    """Return a Graph of the masked form: all masks full, all weights 1."""
    n, last, width = sizes[0], "x", bits
    names = tuple(f"x{i}" for i in range(n))
    encoding = Encoding(bits, "round", (0.0,) * n, (1.0,) * n)
    nodes = [Node("x", Input(names, names, encoding), (), Type((n,), Fixed(bits)))]
    for layer, (a, b) in enumerate(pairwise(sizes)):
        weight = code_constant(f"weight{layer}", np.ones((b, a), dtype=object), 1)
        bias = code_constant(f"bias{layer}", np.zeros(b, dtype=object), 1)
        mask = Node(f"mask{layer}", Constant(np.full((b, a), (1 << width) - 1)), (), Type((b, a), Fixed(width)))
        inputs, last = (last, weight.name, bias.name, mask.name), f"sum{layer}"
        nodes += [weight, bias, mask, Node(last, Dense(MaskedPowerOfTwo(7)), inputs, Type((b,), Fixed(40, True)))]
        if layer < len(sizes) - 2:
            cut = Requantize((1,), 0, (0,), 0, (1 << hidden) - 1)
            nodes.append(Node(f"hidden{layer}", cut, (last,), Type((b,), Fixed(hidden))))
            last, width = f"hidden{layer}", hidden
    index = Type((), Fixed(max(1, (sizes[-1] - 1).bit_length())))
    return Graph("net", (*nodes, Node("y", ArgMax(), (last,), index)), "y")


def genomes_of(space: Space, count: int, seed: int, small: bool) -> np.ndarray:
    """Return genomes as a search meets them, of all densities, or *small*: of 1 to 40 cells.

    Signs, exponents (up to a bound drawn for each genome) and comparators are random; biases lie where the sum can go
    either way, shifts where hidden values fill their bits more or less; the class is not always the same.
    """
    found = [np.zeros((0, space.genes), np.int32)]
    rng = np.random.default_rng(seed)
    while sum(map(len, found)) < count:
        drawn = _drawn(space, rng, 50 * count, small)
        if small:
            cells = features(space.layout, space.head, drawn)[:, :13].sum(axis=1)
            drawn = drawn[(cells >= 1) & (cells <= 40)]
        codes = rng.integers(0, 16, (2000, space.features)).astype(np.int16)
        classes = classes_of(space.layout, space.head, drawn, codes)
        found.append(drawn[[np.bincount(row.astype(int)).max() <= VARIED * len(codes) for row in classes]])
    return np.concatenate(found)[:count]


def _drawn(space: Space, rng: np.random.Generator, count: int, small: bool) -> np.ndarray:
    genomes = rng.integers(space.lower, space.upper.astype(np.int64) + 1, (count, space.genes)).astype(np.int32)
    for index, layer in enumerate(space.layers):
        genes = space.layer_genes(genomes, index)
        bits = layer.inputs * layer.outputs * layer.input_bits
        density = np.minimum(1, rng.uniform(1, 25, count) / bits) if small else rng.uniform(0.02, 1, count)
        chosen = rng.random((*genes.masks.shape, layer.input_bits)) < density[:, None, None, None]
        genes.masks[:] = (chosen << np.arange(layer.input_bits)).sum(-1)
        genes.exponents[:] = rng.integers(
            0, rng.integers(1, layer.exponent + 2, count)[:, None, None], genes.exponents.shape
        )
        products = genes.masks.astype(np.int64) << genes.exponents
        minus = (products * (genes.signs == 1)).sum(-1)
        plus = products.sum(-1) - minus
        middle, width = (minus - plus) // (2 if index == 0 else 5), np.sqrt((products**2).sum(-1)) / 2
        limit = space.upper[space.layout[index, 6]]
        genes.biases[:] = np.clip(middle + rng.normal(0, 1, middle.shape) * width, -limit, limit)
        genes.biases[rng.random(genes.biases.shape) < 0.1] = 0
        if genes.shift is not None:
            top = np.log2(np.maximum(plus + genes.biases, 1).max(-1)).astype(int)
            genes.shift[:] = np.clip(
                top - rng.integers(1, layer.hidden_bits + 2, count), 0, space.upper[space.layout[index, 7]]
            )
    sets, everything = space.comparators(genomes), (1 << space.width) - 1
    kept = rng.random((*sets.shape, space.width)) < rng.uniform(0.1, 1, count)[:, None, None]
    sets[:] = (kept << np.arange(space.width)).sum(-1)
    sets[rng.random(count) < 0.4] = everything
    return genomes


def synthesised(job: tuple[tuple[int, ...], np.ndarray]) -> float:
    """Return the area in mm² of one genome's circuit on ``egfet`` by the reference recipe."""
    from approxhw.backends.bespoke.circuit import build_circuit
    from approxhw.backends.bespoke.emit import emit
    from approxhw.backends.estimate import synthesise

    sizes, genome = job
    graph = masked_graph(sizes)
    emitted = emit(build_circuit(decode_genome(space_of(graph), genome, graph)))
    return float(synthesise(emitted.verilog, emitted.top, "egfet").area())


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return the rank correlation, equal values at their mean rank."""

    def ranks(values: np.ndarray) -> np.ndarray:
        _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[place]

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


@dataclass(frozen=True)
class Measured:
    """One task and kind: synthesised areas, estimates by each model, full adders as published, genomes a second."""

    task: str
    kind: str
    areas: np.ndarray
    named: np.ndarray
    before: np.ndarray
    after: np.ndarray
    adders: np.ndarray
    speed: tuple[float, float]

    def off(self, estimates: np.ndarray) -> str:
        """Return by what factor half of the estimates, and nine tenths, are off at most; circuits of no area left out."""
        there = self.areas > 0
        factors = np.exp(np.abs(np.log(np.maximum(estimates[there], 1e-3) / self.areas[there])))
        return f"{np.median(factors):.2f}, {np.quantile(factors, 0.9):.2f}"


def speed(space: Space, genomes: np.ndarray, by_name: bool) -> float:
    """Return genomes counted a CPU second, the best of three."""
    many = np.tile(genomes, (2000 // len(genomes) + 1, 1))
    taken = []
    for _ in range(4):  # the first compiles, or loads what is compiled
        started = time.process_time()
        features(space.layout, space.head, many, by_name=by_name)
        taken.append(time.process_time() - started)
    return len(many) / min(taken[1:])


def measure(task: str, sizes: tuple[int, ...], pool: ProcessPoolExecutor, number: int) -> list[Measured]:
    """Synthesise and estimate the genomes of one task."""
    space, start = space_of(masked_graph(sizes)), default_model("egfet")
    tried, tuned = {}, []
    for kind, count in SETS.items():
        note(f"{task}: {count} genomes, {kind}, and {TUNING} more")
        genomes = genomes_of(space, count + TUNING, 100 * number + len(tried), small=kind == "small")
        areas = np.array(list(pool.map(synthesised, [(sizes, genome) for genome in genomes], chunksize=4)))
        tried[kind] = (genomes[:count], areas[:count])
        tuned.append((genomes[count:], areas[count:]))
    model = calibrate(space.layout, space.head, *(np.concatenate(parts) for parts in zip(*tuned)), start)
    return [_measured(task, kind, space, genomes, areas, start, model) for kind, (genomes, areas) in tried.items()]


def _measured(
    task: str, kind: str, space: Space, genomes: np.ndarray, areas: np.ndarray, start: AreaModel, model: AreaModel
) -> Measured:
    return Measured(
        task,
        kind,
        areas,
        features(space.layout, space.head, genomes, by_name=True) @ np.array(start.coefficients),
        start.area_mm2(space.layout, space.head, genomes),
        model.area_mm2(space.layout, space.head, genomes),
        full_adders_date24(space.layout, genomes).astype(float),
        (speed(space, genomes, by_name=False), speed(space, genomes, by_name=True)),
    )


def topology(path: Path) -> tuple[int, ...]:
    """Return the widths of Input and layers of a model."""
    graph = ax.read(path)
    layers = [node.type.elements for node in graph.nodes if isinstance(node.op, Dense)]
    return (graph.input.type.elements, *layers)


def report(found: list[Measured]) -> list[str]:
    """Return the parts of the result."""
    return [
        "# The area model of the search\n",
        command(),
        f"Estimated against synthesised area (`egfet`, the reference recipe) of random genomes of the five tasks. {machine()}",
        "Random: signs, exponents 0 to 7, comparators; biases and shifts where sums can go either way; circuits that say",
        f"the same of more than {VARIED:.0%} of random inputs are drawn anew. *all densities*: mask bits from 2 to 100 %;",
        f"*small*: 1 to 40 cells. Calibrated on {TUNING} genomes of each kind of the same task, others than those tried.\n",
        "## Rank correlation (Spearman)\n",
        f"Target: at least {TARGET} on {SETS['all densities']} random genomes of each task. *by name*: cells as the",
        "builder makes them, constants folded, nothing taken apart. DATE 2024: full adders as published.\n",
        table(
            ("task", "genomes", "mm²", "DATE 2024", "by name", "estimate", "calibrated", "target"),
            [
                (
                    m.task,
                    f"{len(m.areas)}, {m.kind}",
                    f"{m.areas.min():.1f} to {m.areas.max():.0f}",
                    *(f"{spearman(values, m.areas):.3f}" for values in (m.adders, m.named, m.before, m.after)),
                    met(min(spearman(m.before, m.areas), spearman(m.after, m.areas)) >= TARGET)
                    if m.kind == "all densities"
                    else "",
                )
                for m in found
            ],
        ),
        "## Error\n",
        "Factor by which the estimate is off, of half of the circuits and of nine tenths at most.\n",
        table(
            ("task", "genomes", "by name", "estimate", "calibrated"),
            [(m.task, m.kind, m.off(m.named), m.off(m.before), m.off(m.after)) for m in found],
        ),
        "## Speed\n",
        f"Genomes a CPU second on one core, of those above. Aim: {SPEED:,}.\n",
        table(
            ("task", "genomes", "estimate", "by name"),
            [(m.task, m.kind, f"{m.speed[0]:,.0f}", f"{m.speed[1]:,.0f}") for m in found],
        ),
    ]


def main() -> None:
    """Measure all tasks, print, and write the result."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes that synthesise")
    given = parser.parse_args()
    need_tasks(given.tasks)
    found = []
    with ProcessPoolExecutor(given.jobs) as pool:
        for number, task in enumerate(TASKS):
            found += measure(task, topology(given.tasks / f"{task}.onnx"), pool, number)
    write("area_model", report(found))


if __name__ == "__main__":
    main()
