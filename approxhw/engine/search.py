"""The search for cheap arithmetic layer by layer: NSGA-II over format, accumulator and normalization of every product."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from approxhw.common.errors import OptionError, Problem
from approxhw.common.files import check_folder, write_beside
from approxhw.common.version import __version__
from approxhw.ir.tensor.run import title_of
from approxhw.numerics.mac.arithmetic import FloatMac

from .compile import CompiledEngine, compile_engine
from .cost import ElementCost, element_cost
from .operands import Feeds, predictions, split_feeds
from .target import MatrixEngine

if TYPE_CHECKING:
    from deap import base

    from approxhw.ir.tensor.emulate import EmulatedEngine

FORMAT = "approxhw engine front 1"
OBJECTIVES = ("area", "energy")


@dataclass(frozen=True)
class EngineSearch:
    """How to search. ``formats``, ``accumulator_bits``, ``normalizations``, ``alignments``: what a layer may have.

    ``objective``: ``area`` of the elements (one array for each arithmetic that is used), or ``energy`` of one run's
    multiply-adds. ``max_accuracy_loss``: absolute, against the model in float32 on the same rows.
    """

    population: int = field(default=32, metadata={"help": "individuals"})
    generations: int = field(default=10, metadata={"help": "generations after the start population"})
    max_accuracy_loss: float = field(
        default=0.01, metadata={"help": "absolute, against the model in float32", "unit": "share"}
    )
    objective: str = field(default="area", metadata={"help": "area or energy", "choices": OBJECTIVES})
    formats: tuple[str, ...] = ("bf16", "e4m3", "e5m2")
    accumulator_bits: tuple[int, ...] = (16, 18, 20, 22, 24)
    normalizations: tuple[str, ...] = ("exact", "an-1-1", "an-1-2", "an-2-2", "an-2-3")
    alignments: tuple[int | None, ...] = (None,)
    rows: int = field(default=512, metadata={"help": "most rows that a configuration is judged on"})
    members: int = field(default=12, metadata={"help": "members of the front at most"})
    seed: int = field(default=1, metadata={"help": "seed of every random draw"})

    def __post_init__(self) -> None:
        """Refuse what cannot be, all at once."""
        least = {"population": 4, "generations": 0, "rows": 1, "members": 1, "seed": 0}
        found = [
            Problem(name, f"{getattr(self, name)!r} is no integer of {low} or more")
            for name, low in least.items()
            if isinstance(getattr(self, name), bool)
            or not isinstance(getattr(self, name), int)
            or getattr(self, name) < low
        ]
        if not 0 <= self.max_accuracy_loss <= 1:
            found.append(Problem("max_accuracy_loss", f"{self.max_accuracy_loss!r} is not in 0…1"))
        if self.objective not in OBJECTIVES:
            found.append(Problem("objective", f"{self.objective!r} is not one of {', '.join(OBJECTIVES)}"))
        if not found and not self.choices():
            found.append(Problem("choices", "no format fits any accumulator and normalization that is given"))
        if found:
            raise OptionError("search", found)

    def choices(self) -> tuple[FloatMac, ...]:
        """Return every arithmetic that a layer may have."""
        made = []
        for code in self.formats:
            for bits in self.accumulator_bits:
                for normalization, alignment in product(self.normalizations, self.alignments):
                    try:
                        made.append(FloatMac(code, bits, normalization, alignment))
                    except OptionError:
                        continue  # they do not fit together
        return tuple(made)


@dataclass(frozen=True)
class EngineMember:
    """A point of the front: arithmetic by layer, wrong rows on those searched, accuracies, and cost."""

    index: int
    layers: Mapping[str, str]
    search_accuracy: float
    validation_accuracy: float
    test_accuracy: float
    cost: float
    """µm² of one element of each arithmetic that is used, or nJ a run."""
    area_um2: float
    energy_nj: float
    arithmetics: tuple[str, ...]
    chosen: bool = False


@dataclass(frozen=True, eq=False)
class EngineFront:
    """Members by rising cost; ``onnx``: accuracy of the model in float32 on ``search``, ``validation``, ``test`` rows."""

    folder: Path
    members: tuple[EngineMember, ...]
    onnx: Mapping[str, float]
    options: Mapping[str, Any]
    elements: Mapping[str, Mapping[str, Any]]
    evaluations: int
    seconds: float
    rule: str

    @property
    def chosen(self) -> EngineMember:
        """The cheapest member that loses no more than was allowed on validation rows, else the most accurate."""
        return next(member for member in self.members if member.chosen)

    def as_json(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        members = [{**asdict(member), "design": None} for member in self.members]
        chosen = members[self.chosen.index]
        chosen["design"] = str(self.folder / "chosen")
        return {
            "format": FORMAT,
            "version": __version__,
            "output": str(self.folder),
            "front": members,
            "chosen": chosen,
            "onnx": dict(self.onnx),
            "options": dict(self.options),
            "elements": {name: dict(told) for name, told in self.elements.items()},
            "evaluations": self.evaluations,
            "seconds": self.seconds,
            "rule": self.rule,
        }


class _Judge:
    """Wrong rows of a genome, and its cost; both are remembered."""

    def __init__(self, engine: EmulatedEngine, names: Sequence[str], choices: Sequence[FloatMac], feeds: Feeds) -> None:
        self.engine, self.names, self.choices, self.feeds = engine, list(names), list(choices), feeds
        self.known: dict[bytes, int] = {}

    def layers(self, genome: np.ndarray) -> dict[str, FloatMac | None]:
        return {name: self.choices[int(gene)] for name, gene in zip(self.names, genome, strict=True)}

    def errors(self, genome: np.ndarray) -> int:
        key = genome.tobytes()
        if key not in self.known:
            self.known[key] = self.wrong(genome, self.feeds)
        return self.known[key]

    def wrong(self, genome: np.ndarray, feeds: Feeds) -> int:
        assert feeds.labels is not None
        found = predictions(self.engine.configured(None, self.layers(genome)), feeds)
        return int(np.sum(found != feeds.labels[: len(found)]))


@dataclass(frozen=True, eq=False)
class _Prices:
    """Cost of an element of every choice: area in µm², energy of one multiply-add in nJ; products of every layer in a run."""

    areas: np.ndarray
    energies: np.ndarray
    products: np.ndarray

    def area(self, genome: np.ndarray) -> float:
        return float(self.areas[np.unique(genome)].sum())

    def energy(self, genome: np.ndarray) -> float:
        return float((self.energies[genome] * self.products).sum())


def engine_toolbox(judge: Any, cost: Callable[[np.ndarray], float], choices: int) -> base.Toolbox:
    """Return DEAP's toolbox with the operators of this search, on whole populations (int64, P × layers).

    ``initialise(count, generator)``, ``mate(first, second, generator)``, ``mutate(genomes, generator)``,
    ``evaluate(genomes)`` → int64 P × 2 (wrong rows, cost), ``parents`` and ``select`` as in the search of printed circuits.
    """
    from deap import base

    from approxhw.numerics._kernel_pareto import select_nsga2, tournament

    layers = len(judge.names)

    def initialise(count: int, generator: np.random.Generator) -> np.ndarray:
        # one arithmetic for all layers needs one array: half of the first ones are so
        uniform = np.repeat(generator.integers(0, choices, (count, 1)), layers, axis=1)
        mixed = generator.integers(0, choices, (count, layers))
        return np.where(np.arange(count)[:, None] % 2 == 0, uniform, mixed)

    def mate(first: np.ndarray, second: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return np.where(generator.random(first.shape) < 0.5, first, second)

    def mutate(genomes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        changed = generator.random(genomes.shape) < 1 / layers
        drawn = np.where(changed, generator.integers(0, choices, genomes.shape), genomes)
        # every fifth child takes one layer's arithmetic everywhere
        one = genomes[np.arange(len(genomes)), generator.integers(0, layers, len(genomes))]
        return np.where((generator.random(len(genomes)) < 0.2)[:, None], one[:, None], drawn)

    def evaluate(genomes: np.ndarray) -> np.ndarray:
        return np.array([[judge.errors(genome), round(1000 * cost(genome))] for genome in genomes], dtype=np.int64)

    toolbox = base.Toolbox()
    for name, function in (("initialise", initialise), ("mate", mate), ("mutate", mutate), ("evaluate", evaluate)):
        toolbox.register(name, function)
    toolbox.register("parents", tournament)
    toolbox.register("select", select_nsga2)
    return toolbox


def search_engine(
    model: Any,
    *,
    data: Any,
    output: str | Path | None = None,
    target: MatrixEngine | None = None,
    options: EngineSearch | None = None,
    shape: Mapping[str, Sequence[int]] | None = None,
    jobs: int = 1,
    command: str = "",
    on_generation: Callable[[dict[str, Any]], None] | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> EngineFront:
    """Search the cheapest arithmetic of every matrix product of *model*, write the front, and compile the chosen member.

    ``data``: labelled rows, as :func:`approxhw.engine.compile.compile_engine` takes them. ``target``: the array; its own
    arithmetic is not looked at. ``stop``: asked after each generation; true ends the search with the front so far.
    Raises errors of :mod:`approxhw.common.errors`.
    """
    from .api import open_engine

    options, target, started = options or EngineSearch(), target or MatrixEngine(), time.perf_counter()
    target.array()
    if target.compress is not None:
        why = "a search tries formats that codes do not go with"
        raise OptionError("search", [Problem("compress", why, "leave it out, and compile the chosen member with it")])
    splits = split_feeds(model, data, options.seed, options.rows)
    search = splits["search"]
    emulated = open_engine(model, None, None, shape or search.shapes(search.rows), threads=jobs)
    folder = (
        Path(output)
        if output is not None
        else Path("build") / f"{Path(str(title_of(emulated.graph))).stem}-engine-front"
    )
    check_folder(folder, "an engine front", _ours)
    names = [layer.name for layer in emulated.layers]
    choices = options.choices()
    judge = _Judge(emulated, names, choices, search)
    onnx = {name: _share(predictions(emulated, feeds), feeds) for name, feeds in splits.items()}
    products = np.array([layer.products for layer in emulated.layers], dtype=np.float64)
    elements = _elements(emulated, names[int(products.argmax())], search, target, choices, jobs, on_progress)
    prices = _Prices(
        np.array([found.area_um2 for found in elements]),
        np.array([found.power_mw * found.clock_ns * 1e-3 for found in elements]),
        products,
    )
    cost = prices.area if options.objective == "area" else prices.energy
    toolbox = engine_toolbox(judge, cost, len(choices))
    assert search.labels is not None
    allowed = round((1 - onnx["search"] + options.max_accuracy_loss) * search.rows)
    archive, interrupted = _evolve(toolbox, options, allowed, on_generation, stop)
    members, rule = _members(archive, judge, prices, cost, splits, onnx, options)
    told = asdict(options)
    front = EngineFront(
        folder=folder,
        members=members,
        onnx={"search": onnx["search"], "validation": onnx["validation"], "test": onnx["report"]},
        options={key: list(value) if isinstance(value, tuple) else value for key, value in told.items()},
        elements={str(mac): asdict(found) for mac, found in zip(choices, elements)},
        evaluations=len(judge.known),
        seconds=time.perf_counter() - started,
        rule=rule + ("; the search was interrupted" if interrupted else ""),
    )
    _write(front, model, data, target, choices, shape, command)
    return replace(front, seconds=time.perf_counter() - started)


def _share(found: np.ndarray, feeds: Feeds) -> float:
    assert feeds.labels is not None
    return float(np.mean(found == feeds.labels[: len(found)]))


def _elements(
    emulated: EmulatedEngine,
    layer: str,
    feeds: Feeds,
    target: MatrixEngine,
    choices: Sequence[FloatMac],
    jobs: int,
    on_progress: Callable[[str, int, int], None] | None,
) -> list[ElementCost]:
    """Return the cost of an element of every choice, on a tile of the model's greatest layer, at the target's clock."""
    from approxhw.backends.estimate import load_library
    from approxhw.numerics.mac.kernels.codes import to_codes

    a, b = emulated.operands(feeds.first(64), layer)
    tile = (a[:64, : target.rows], b[: target.rows, : target.columns])
    cells, found = load_library(target.library), []
    tell = on_progress or (lambda step, done, total: None)

    def work(mac: FloatMac) -> ElementCost:
        codes = (layer, to_codes(tile[0], mac.format), to_codes(tile[1], mac.format))
        return element_cost(mac, target.depth, cells, target.clock_ns, codes, quick=True)

    tell("elements", 0, len(choices))
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        for done, one in enumerate(pool.map(work, choices), 1):
            found.append(one)
            tell("elements", done, len(choices))
    return found


def _evolve(
    toolbox: Any,
    options: EngineSearch,
    allowed: int,
    on_generation: Callable[[dict[str, Any]], None] | None,
    stop: Callable[[], bool] | None,
) -> tuple[np.ndarray, bool]:
    """Return the genomes that no other beats, by rising errors, and whether the search was ended."""
    from approxhw.numerics._kernel_pareto import non_dominated

    generator = np.random.default_rng(options.seed)
    size = options.population
    genomes = toolbox.initialise(size, generator)
    objectives = toolbox.evaluate(genomes)
    archive, reached, interrupted = genomes, objectives, False
    for generation in range(options.generations + 1):
        if generation:
            first = genomes[toolbox.parents(size, size, generator)]
            second = genomes[toolbox.parents(size, size, generator)]
            children = toolbox.mutate(toolbox.mate(first, second, generator), generator)
            found = toolbox.evaluate(children)
            genomes, objectives = np.concatenate([children, genomes]), np.concatenate([found, objectives])
            archive, reached = np.concatenate([archive, children]), np.concatenate([reached, found])
        best = toolbox.select(objectives, np.maximum(objectives[:, 0] - allowed, 0), size)
        genomes, objectives = genomes[best], objectives[best]
        kept = non_dominated(reached, np.maximum(reached[:, 0] - allowed, 0))
        archive, reached = archive[kept], reached[kept]
        if on_generation:
            on_generation(
                {
                    "generation": generation,
                    "generations": options.generations,
                    "least_errors": int(reached[:, 0].min()),
                    "least_cost": float(reached[:, 1].min()) / 1000,
                    "front": len(reached),
                }
            )
        if stop is not None and stop() and generation < options.generations:
            interrupted = True
            break
    return archive, interrupted


def _members(
    archive: np.ndarray,
    judge: _Judge,
    prices: _Prices,
    cost: Callable[[np.ndarray], float],
    splits: Mapping[str, Feeds],
    onnx: Mapping[str, float],
    options: EngineSearch,
) -> tuple[tuple[EngineMember, ...], str]:
    """Return the members by rising cost, one of them chosen by validation rows, and the rule in words."""
    order = sorted(range(len(archive)), key=lambda i: (cost(archive[i]), judge.errors(archive[i])))
    if len(order) > options.members:
        order = [order[i] for i in np.linspace(0, len(order) - 1, options.members).round().astype(int)]
    rows = {name: feeds.rows for name, feeds in splits.items()}
    members = []
    for index, i in enumerate(order):
        genome = archive[i]
        layers = {name: str(mac) for name, mac in judge.layers(genome).items()}
        members.append(
            EngineMember(
                index=index,
                layers=layers,
                search_accuracy=1 - judge.errors(genome) / rows["search"],
                validation_accuracy=1 - judge.wrong(genome, splits["validation"]) / rows["validation"],
                test_accuracy=1 - judge.wrong(genome, splits["report"]) / rows["report"],
                cost=cost(genome),
                area_um2=prices.area(genome),
                energy_nj=prices.energy(genome),
                arithmetics=tuple(sorted(set(layers.values()))),
            )
        )
    least = onnx["validation"] - options.max_accuracy_loss - 1e-12
    held = [member for member in members if member.validation_accuracy >= least]
    loss = f"{100 * options.max_accuracy_loss:g} %"
    rule = f"the cheapest that loses at most {loss} against float32 on validation rows"
    if not held:
        rule += "; there is none, so it is the most accurate on them"
    chosen = held[0] if held else max(members, key=lambda member: (member.validation_accuracy, -member.cost))
    return tuple(replace(member, chosen=member is chosen) for member in members), rule


def _write(
    front: EngineFront,
    model: Any,
    data: Any,
    target: MatrixEngine,
    choices: Sequence[FloatMac],
    shape: Mapping[str, Sequence[int]] | None,
    command: str,
) -> None:
    """Write the front's files, and compile its chosen member: the array is of the arithmetic that most products have."""
    by_name = {str(mac): mac for mac in choices}
    layers = {name: by_name[text] for name, text in front.chosen.layers.items()}
    most = max(layers.values(), key=lambda mac: (list(layers.values()).count(mac), str(mac)))
    chosen = replace(target, mac=most, layers=layers)
    compile_engine(model, target=chosen, data=data, output=front.folder / "chosen", shape=shape, command=command)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "cost", "area_um2", "energy_nj", "search", "validation", "test", "chosen", "arithmetics"])
    for m in front.members:
        accuracies = (m.search_accuracy, m.validation_accuracy, m.test_accuracy)
        writer.writerow([m.index, m.cost, m.area_um2, m.energy_nj, *accuracies, m.chosen, " ".join(m.arithmetics)])
    write_beside(front.folder / "front.csv", text.getvalue())
    write_beside(front.folder / "front.json", json.dumps(front.as_json(), indent=1) + "\n")


def _ours(folder: Path) -> tuple[set[str], tuple[str, ...]]:
    told = json.loads((folder / "front.json").read_text(encoding="utf-8"))
    if told["format"] != FORMAT:
        raise ValueError("another front")
    return {"front.json", "front.csv"}, ("chosen",)


def chosen_engine(front: EngineFront) -> CompiledEngine:
    """Return the compiled engine of the chosen member."""
    from .compile import open_engine_design

    return open_engine_design(front.folder / "chosen")
