"""Measure a whole generation of the search, population 200 on 16-5-10 × 10 000 rows, against DEAP as its users write it.

It is to be at least 35 times as fast as plain DEAP with NumPy, and 2.5 times as fast as DEAP with our evaluator and
``nd='log'``; all that is not fitness is to take less than a third of it.
"""

from __future__ import annotations

import functools
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import command, machine, met, table, write

from approxhw.dse.genetic import operators
from approxhw.dse.genetic.evolution import evolve
from approxhw.dse.genetic.options import GeneticOptions
from approxhw.dse.genetic.problem import UM2_PER_MM2, default_toolbox
from approxhw.dse.genetic.problem import NetworkProblem as Problem
from approxhw.networks.area_model import default_model, full_adders_date24
from approxhw.networks.kernels.masked_network import classes_of, count_errors
from approxhw.networks.space import make_space

sys.path.insert(0, str(Path(__file__).parent))
from competitors import deap_search, numpy_fitness

SIZES, ROWS, POPULATION = (16, 5, 10), 10_000, 200
ROUNDS = 5
OURS, FAST, PLAIN = 24, 12, 3
"""Generations a round: ours, DEAP with our evaluator, plain DEAP."""
EXACT = GeneticOptions(population=POPULATION, islands=1, generations=OURS, mutation_weights=(3, 1, 2, 4, 4, 0))
SPACE = make_space(SIZES)
COMPARATORS = SIZES[-1] - 1


def paper_area(genomes: np.ndarray) -> np.ndarray:
    """Return the area that DATE 2024 minimises, which everybody here does: its count of full adders."""
    return full_adders_date24(SPACE.layout, genomes).astype(np.float64)


def problem_and_start(seed: int) -> tuple[Problem, np.ndarray]:
    """Return rows that a random network classified, a tenth of them changed, and a start population around that network."""
    rng = np.random.default_rng(seed)
    genes = operators.gene_map(SPACE)
    some = operators.initialise(genes, np.zeros((0, SPACE.genes), np.int32), 200, rng)
    codes = rng.integers(0, 16, (ROWS, SIZES[0]))
    classes = classes_of(SPACE.layout, SPACE.head, some, codes)
    even = int(np.argmin([np.bincount(row, minlength=SIZES[-1]).max() for row in classes]))
    labels = np.where(rng.random(ROWS) < 0.1, rng.integers(0, SIZES[-1], ROWS), classes[even])
    problem = Problem(SPACE, codes, labels, ROWS, paper_area, some[even : even + 1])
    start = operators.initialise(genes, problem.starts, POPULATION, rng)
    SPACE.comparators(start)[:] = (1 << SPACE.width) - 1
    return problem, start


class Ours:
    """Generations of our search, and the CPU seconds of them that its evaluator took."""

    def __init__(self, problem: Problem, start: np.ndarray, options: GeneticOptions, checkpoint: Path | None) -> None:
        self.problem, self.options, self.checkpoint, self.fitness = problem, options, checkpoint, 0.0
        self.toolbox = default_toolbox(problem, options)
        self.toolbox.register("initialise", lambda count, generator: start)
        plain = self.toolbox.evaluate

        def evaluate(genomes: np.ndarray) -> np.ndarray:
            since = time.process_time()
            found = plain(genomes)
            self.fitness += time.process_time() - since
            return found

        self.toolbox.register("evaluate", evaluate)

    def __call__(self) -> float:
        """Return CPU seconds a generation, the start population's apart."""
        times: list[float] = []

        def told(record: object) -> None:
            times.append(time.process_time())
            if len(times) == 1:
                self.fitness = 0.0

        evolve(self.problem, self.options, self.toolbox, on_generation=told, checkpoint=self.checkpoint)
        self.fitness /= len(times) - 1
        return (times[-1] - times[0]) / (len(times) - 1)


def deap(problem: Problem, start: np.ndarray, *, evaluator: str, quick_clone: bool = False) -> Iterator[float]:
    """Give CPU seconds a generation of DEAP, round after round; *evaluator*: numpy, ours (one by one), ours at once."""
    plain = slice(None, SPACE.genes - COMPARATORS)  # exact argmax: its users have no comparators in their genome
    lower, upper = SPACE.lower[plain].tolist(), SPACE.upper[plain].tolist()
    sort = "standard" if evaluator == "numpy" else "log"
    toolbox = deap_search.toolbox_of(lower, upper, sort, quick_clone=quick_clone)
    codes = np.asarray(problem.codes, dtype=np.int32)
    whole = default_toolbox(problem, EXACT).evaluate
    comparators = np.full((POPULATION, COMPARATORS), (1 << SPACE.width) - 1, np.int32)

    def with_numpy(person: list[int]) -> tuple[float, ...]:
        network = deap_search.network_of(person, SIZES, 8)
        errors = numpy_fitness.per_neuron(network, codes, problem.labels)
        return errors, deap_search.full_adders(network, (4, 8))

    def at_once(people: list[list[int]]) -> list[tuple[float, ...]]:
        genomes = np.concatenate([np.array(people, np.int32), comparators[: len(people)]], axis=1)
        return [(errors, adders // UM2_PER_MM2) for errors, adders in whole(genomes).tolist()]

    def one_by_one(people: list[list[int]]) -> list[tuple[float, ...]]:
        return list(map(with_numpy if evaluator == "numpy" else lambda person: at_once([person])[0], people))

    evaluate = at_once if evaluator == "ours at once" else one_by_one
    errors = count_errors(SPACE.layout, SPACE.head, start, problem.codes, problem.labels)
    if evaluate(start[:, plain].tolist()) != list(zip(errors.tolist(), paper_area(start).astype(int).tolist())):
        raise SystemExit("DEAP's evaluation gives other errors or full adders than ours")
    while True:
        random.seed(1)
        people, count = (
            deap_search.individuals(start[:, plain], evaluate, toolbox),
            PLAIN if evaluator == "numpy" else FAST,
        )
        stats, book = deap_search.statistics(), deap_search.tools.Logbook()
        since = time.process_time()
        for _ in range(count):
            people = deap_search.generation(people, evaluate, toolbox, stats, book)
        yield (time.process_time() - since) / count


def operators_alone(problem: Problem, start: np.ndarray) -> list[tuple[str, str]]:
    """Return the milliseconds that each of our operators takes for one population."""
    toolbox, rng = default_toolbox(problem, EXACT), np.random.default_rng(1)
    objectives = toolbox.evaluate(start)
    both, none = np.concatenate([objectives, objectives[::-1]]), np.zeros(2 * POPULATION, np.int64)
    model = functools.partial(default_model().area_mm2, SPACE.layout, SPACE.head)
    calls: dict[str, Callable[[], object]] = {
        "initialise": lambda: toolbox.initialise(POPULATION, rng),
        "parents": lambda: toolbox.parents(POPULATION, POPULATION, rng),
        "mate": lambda: toolbox.mate(start, start[::-1], rng),
        "mutate": lambda: toolbox.mutate(start, rng),
        "evaluate": lambda: toolbox.evaluate(start),
        "its area": lambda: problem.area(start),
        "area by the model of the search": lambda: model(start),
        "select": lambda: toolbox.select(both, none, POPULATION),
    }
    rows = []
    for name in calls:
        times = []
        for _ in range(15):
            since = time.process_time()
            calls[name]()
            times.append(time.process_time() - since)
        rows.append((name, f"{1000 * np.median(times):.2f}"))
    return rows


def main() -> None:
    """Measure, print, and write the result."""
    problem, start = problem_and_start(3)
    with tempfile.TemporaryDirectory(prefix="approxhw-benchmark-") as folder:
        exact = Ours(problem, start, EXACT, None)
        model = functools.partial(default_model().area_mm2, SPACE.layout, SPACE.head)
        rivals = {
            "DEAP and NumPy (per neuron), nd='standard'": deap(problem, start, evaluator="numpy"),
            "DEAP with our evaluator, nd='log'": deap(problem, start, evaluator="ours"),
            "… evaluating all children at once": deap(problem, start, evaluator="ours at once"),
            "… and with a clone() of its own": deap(problem, start, evaluator="ours at once", quick_clone=True),
        }
        cases: dict[str, Callable[[], float]] = {
            **{name: functools.partial(next, rival) for name, rival in rivals.items()},
            "ours": exact,
            "ours, a checkpoint every generation": Ours(problem, start, EXACT, Path(folder) / "search.npz"),
            "ours, approximate argmax searched, too": Ours(
                problem, start, GeneticOptions(population=POPULATION, islands=1, generations=OURS), None
            ),
            "ours, area by the model of the search": Ours(replace(problem, area=model), start, EXACT, None),
        }
        for work in cases.values():
            work()
        times: dict[str, list[float]] = {name: [] for name in cases}
        shares = []
        for _ in range(ROUNDS):  # the competitors take turns
            for name, work in cases.items():
                times[name].append(work())
            shares.append(1 - exact.fitness / times["ours"][-1])
    ours = np.array(times["ours"])
    ratios = {name: float(np.median(np.array(found) / ours)) for name, found in times.items()}
    rows = [(name, f"{1000 * np.median(found):,.1f}", f"{ratios[name]:.2f}") for name, found in times.items()]
    plain, fast, best = list(ratios.values())[:3]
    share = float(np.median(shares))
    parts = [
        "# Speed of a generation\n",
        command(),
        f"CPU time of one generation, population {POPULATION}, {'-'.join(map(str, SIZES))}, {ROWS:,} rows, one thread, one start",
        f"population for all; median of {ROUNDS} rounds in which the competitors take turns. {machine()}",
        "Ours: `evolve()` on one island, logbook and archive included. DEAP: its own example of NSGA-II (tournaments by",
        "`selTournamentDCD`, `selNSGA2`, lists cloned by `deepcopy`, `map(evaluate, children)`) with `cxTwoPoint` and",
        "`mutUniformInt`. Area is the paper's count of full adders in all but the last line; its own rivals count it in Python.",
        "Errors and full adders of the start population are the same in all. DEAP calls `evaluate` for one child after the",
        "other; two more lines show what somebody makes of it who works around that, and around its `clone`.\n",
        table(("generation", "ms", "times ours"), rows),
        f"To reach: 35 times DEAP and NumPy: {met(plain >= 35)} ({plain:.1f}); 2.5 times DEAP with our evaluator:"
        f" {met(fast >= 2.5)} ({fast:.2f}, all at once {best:.2f}); all that is not fitness under a third:"
        f" {met(share < 1 / 3)} ({share:.1%}).\n",
        "Our operators alone, on one population:\n",
        table(("operator", "ms"), operators_alone(problem, start)),
    ]
    write("generation_speed", parts)


if __name__ == "__main__":
    main()
