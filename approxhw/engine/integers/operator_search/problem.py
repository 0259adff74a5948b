"""The search for operators layer by layer: NSGA-II over what each layer may have, guided by estimates of harm and energy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.engine_front import EngineFront
from approxhw.artifacts.objectives import Objective
from approxhw.common.data.dataset import DataSpec
from approxhw.common.options import Keywords
from approxhw.common.statistics import rank_correlation
from approxhw.common.statistics.class_bounds import ClassBound
from approxhw.engine.composing.shapes import Shape
from approxhw.engine.layer_search import (
    SearchRecord,
    errors_and_costs,
    errors_once,
    front_of,
    genetic_settings,
    member_accuracies,
    most_errors,
    safety_of,
    search_identity,
    sent_state,
    write_front_and_page,
    wrong_rows,
)
from approxhw.engine.operands import Feeds, observe_rows, predictions
from approxhw.ir.graph import Graph, Node
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.tensor.emulate import EmulatedEngine
from approxhw.numerics.multipliers.families import EXACT
from approxhw.numerics.multipliers.tables import ProductTable, Stated

from ..compile import compile_integer_engine
from ..plans import LayerPlan, spell_plan
from ..target import IntegerEngine
from .choices import LayerChoice, energy_of, guided_starts, harm_of, operators_of
from .settings import IntegerSearch

if TYPE_CHECKING:
    from onnx import ModelProto

    from approxhw.frontends.products.partition import OpenedModel

PATH = 64
"""Places along the way from exact to cheapest."""

CODES = 2
"""Passes of the target that make codes: quantize-model, integer-products."""


@dataclass(eq=False)
class IntegerProblem:
    """Operators and edits of a model's layers: what the search needs to know. Genomes: int32, P × layers, places in ``choices``.

    Workers get it without the opened model and without netlists, and open the model themselves.
    """

    model: str | Path | ModelProto | bytes
    """Path, or ``onnx.ModelProto``; what is in its file, at workers."""
    data: DataSpec | None
    target: IntegerEngine
    options: IntegerSearch
    shape: Mapping[str, Sequence[int]] | None
    sizes: Mapping[str, Sequence[int]] | None
    """At which the model is opened."""
    base: Graph
    """The model in codes, all products exact."""
    numbers: tuple[int, ...]
    """Of the layers that are searched: those with constant weights."""
    titles: tuple[str, ...]
    choices: tuple[tuple[LayerChoice, ...], ...]
    products: np.ndarray
    """Of each layer in one inference (float64)."""
    exact_fj: np.ndarray
    """Energy of an exact product of each layer, its weights as they are (float64)."""
    calibration: Feeds
    splits: Mapping[str, Feeds]
    onnx: Mapping[str, float]
    """Accuracy of the model as it is given on each of ``splits``."""
    tables: Mapping[str, ProductTable]
    """Of operators in files, by how they are spelled."""
    areas: tuple[float, ...]
    """Of each operator, the exact one first (µm²)."""
    rest_um2: float
    """Of what else an element holds."""
    folder: Path
    title: str
    digest: str
    command: str
    threads: int
    """Of an evaluation; they change nothing but the time."""
    started: float
    notes: tuple[str, ...] = ()
    fits: dict[str, np.ndarray] = field(default_factory=dict)
    """Fitted weights by what they were fitted to."""
    opened: OpenedModel | None = None
    known: dict[bytes, int] = field(default_factory=dict)
    """Wrong rows of genomes seen before."""
    bounds: Mapping[str, ClassBound] = field(default_factory=dict)
    """What any class may lose on the rows searched on and on those that pick the winner; empty where nothing bounds it."""
    against: str = "the model as it is given"
    taken: Shape | None = None
    """The shape of the model whose operators are searched; None where it is the model's own."""

    def __getstate__(self) -> dict[str, object]:
        """Return what a worker needs to evaluate: the model's own bytes, the rows searched on, no folder, no command."""
        return sent_state(self)

    @property
    def source(self) -> str | Path | ModelProto:
        """The model as it was given; workers, which have its bytes, neither write it nor send it on."""
        assert not isinstance(self.model, bytes)
        return self.model

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is made least."""
        return self.options.chosen()

    @property
    def lower(self) -> np.ndarray:
        """The exact product, a layer."""
        return np.zeros(len(self.choices), dtype=np.int32)

    @property
    def upper(self) -> np.ndarray:
        """The cheapest choice, a layer."""
        return np.array([len(each) - 1 for each in self.choices], dtype=np.int32)

    @property
    def reference(self) -> float:
        """Accuracy of the model as it is given on validation rows."""
        return self.onnx["validation"]

    @property
    def max_accuracy_loss(self) -> float:
        """What all rows may lose."""
        return self.options.max_accuracy_loss

    def settings(self) -> Keywords:
        """Return what the genetic search is asked for."""
        return genetic_settings(self.options)

    def allowed_errors(self, max_accuracy_loss: float) -> int:
        """Return the most wrong rows of those searched on."""
        return most_errors(self, max_accuracy_loss)

    def identity(self) -> dict[str, str]:
        """Return digests of the model with its array and choices, and of the rows."""
        told = {
            "sizes": {name: list(size) for name, size in (self.sizes or {}).items()},
            "target": [str(value) for value in asdict(self.target).values()],
            "choices": [[str(each.plan), each.energy_fj] for layer in self.choices for each in layer],
        }
        return search_identity(self.digest + json.dumps(told, sort_keys=True), self.splits["search"])

    @cached_property
    def path(self) -> np.ndarray:
        """Genomes from exact to cheapest as the estimates draw the way, by what they save (int32)."""
        least, greatest = self.turns
        dense = guided_starts(self.choices, self.products, np.geomspace(greatest, least, 16 * PATH))
        saved = np.array([1 - energy_of(self.choices, self.products, genome) / self.exact_nj for genome in dense])
        return dense[np.searchsorted(saved, np.linspace(saved[0], saved[-1], PATH)).clip(0, len(dense) - 1)]

    @property
    def turns(self) -> tuple[float, float]:
        """Below the one weight of harm all layers have their cheapest choice, above the other the exact one."""
        total, found = self.exact_nj * 1e6, [1.0]
        for layer, count in zip(self.choices, self.products, strict=True):
            spared = [
                (layer[0].energy_fj - each.energy_fj) * count / total / each.harm for each in layer if each.harm > 0
            ]
            found += [each for each in spared if each > 0]
            rest = [(a, b) for a in layer for b in layer if a.energy_fj > b.energy_fj and b.harm > a.harm]
            found += [(a.energy_fj - b.energy_fj) * count / total / (b.harm - a.harm) for a, b in rest]
        return min(found) / 2, max(found) * 2

    def initialise(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Return *count* genomes: half along the way from exact to cheapest, the others where layers count differently."""
        half = max(1, count // 2)
        even = self.path[np.linspace(0, PATH - 1, half).round().astype(int)]
        least, greatest = np.log(self.turns)
        weights = np.exp(generator.uniform(least, greatest, count - half))
        uneven = generator.lognormal(0.0, 0.7, (count - half, len(self.choices)))
        return np.concatenate([even, guided_starts(self.choices, self.products, weights, uneven)])[:count]

    def mate(self, first: np.ndarray, second: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return children that have what each layer has in either parent."""
        return np.where(generator.random(first.shape) < 0.5, first, second)

    def mutate(self, genomes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return genomes of which a layer or two went a choice up or down, or to where it is on the way at some place."""
        layers = len(self.choices)
        changed = generator.random(genomes.shape) < max(1.5 / layers, 0.1)
        steps = generator.integers(1, 4, genomes.shape) * generator.choice((-1, 1), genomes.shape)
        along = self.path[generator.integers(0, PATH, genomes.shape), np.arange(layers)[None, :]]
        moved = np.where(generator.random(genomes.shape) < 0.5, along, genomes + steps)
        made: np.ndarray = np.clip(np.where(changed, moved, genomes), self.lower, self.upper).astype(np.int32)
        return made

    def evaluate(self, genomes: np.ndarray) -> np.ndarray:
        """Return wrong rows and costs (int64, P × objectives)."""
        return errors_and_costs(self, genomes)

    def costs(self, genome: np.ndarray) -> dict[str, float]:
        """Return every cost of *genome* by the name it has in a member."""
        energy = energy_of(self.choices, self.products, genome)
        used = operators_of(self.choices, genome)
        areas = [self.areas[0 if each is None else each + 1] for each in used]
        return {
            "area_um2": self.rest_um2 + sum(areas),
            "apart_um2": len(areas) * self.rest_um2 + sum(areas),
            "energy_nj": energy,
            "saved": 1 - energy / self.exact_nj,
        }

    @property
    def exact_nj(self) -> float:
        """Energy of one inference's products, all exact, weights as they are."""
        return float((self.exact_fj * self.products).sum()) * 1e-6

    def errors(self, genome: np.ndarray) -> int:
        """Return the wrong rows of those searched on."""
        return errors_once(self, genome)

    def said(self, genome: np.ndarray, split: str) -> np.ndarray:
        """Return the class index (int64) that it gives every row of a split."""
        engine = EmulatedEngine(self.lowered(genome), self.whole().host, self.threads)
        return predictions(engine, self.splits[split])

    def wrong(self, genome: np.ndarray, split: str) -> int:
        """Return the wrong rows of a split."""
        return wrong_rows(self.said(genome, split), self.splits[split])

    def plan(self, genome: np.ndarray) -> dict[int, LayerPlan]:
        """Return what each layer has, by its number."""
        return {
            number: layer[int(gene)].plan
            for number, layer, gene in zip(self.numbers, self.choices, genome, strict=True)
        }

    def planned(self, genome: np.ndarray) -> IntegerEngine:
        """Return the target that *genome* is."""
        return replace(self.target, operator=EXACT, layers=spell_plan(self.plan(genome)))

    def lowered(self, genome: np.ndarray) -> Graph:
        """Return the Graph of *genome*: the passes of its target behind those that make codes, from the same rows."""
        passes = self.planned(genome).passes()[CODES:]
        if not self.planned(genome).is_approximate:
            return self.base
        graph, _ = run_passes(self.base, passes, self.context, check=False)
        return graph

    @cached_property
    def context(self) -> PassContext:
        """What passes may look at: the rows that compiling looks at, too, and tables of operators in files."""
        return PassContext(observe=self.observe, tabulate=self._tabulated, fits=self.fits, threads=self.threads)

    def _tabulated(self, path: Path, stated: Stated) -> ProductTable:
        return self.tables[str(path)]

    def observe(self, graph: Graph, seen: Callable[[Node, np.ndarray], None]) -> None:
        """Carry *graph* out on training rows, batch by batch, and show every value."""
        observe_rows(self.calibration, self.whole().host, graph, seen)

    def whole(self) -> OpenedModel:
        """Return the opened model."""
        if self.opened is None:
            from onnx import ModelProto

            from approxhw.frontends.products.partition import open_model

            assert isinstance(self.model, bytes)  # as workers get it
            self.opened = open_model(ModelProto.FromString(self.model), self.sizes, integers=True)
        return self.opened

    def told_shape(self) -> Keywords:
        """Return what a member is told of the shape."""
        taken = self.taken
        return {} if taken is None else {"passes": taken.spelled, "sizes": taken.sizes, "clocks": float(taken.clocks)}

    def describe(self, genome: np.ndarray) -> Keywords:
        """Return what the front tells of a member."""
        plan = self.plan(genome)
        return {
            "layers": {title: str(each) for title, each in zip(self.titles, plan.values(), strict=True)},
            "plan": spell_plan(plan),
            **self.told_shape(),
            **member_accuracies(self, genome),
            **self.costs(genome),
            "arithmetics": tuple(sorted({each.operator for each in plan.values()})),
        }

    def front(self, members: Sequence[Keywords], chosen: int, rule: str, found: SearchRecord) -> EngineFront:
        """Return the front of *members*, by rising cost; *found*: what the genetic search came to."""
        elements = {
            f"layer {number}, {title}": {
                "products": int(count),
                "exact_fj": float(energy),
                "choices": len(layer),
                "least_fj": layer[-1].energy_fj,
            }
            for number, title, count, energy, layer in zip(
                self.numbers, self.titles, self.products, self.exact_fj, self.choices, strict=True
            )
        }
        made = front_of(self, members, chosen, rule, found, elements, self.notes)
        return replace(
            made, target="integer-engine", exact_energy_nj=self.exact_nj, rank_correlation=self.correlation()
        )

    def correlation(self) -> float | None:
        """Return the rank correlation of estimated harm and wrong rows over all that was evaluated here."""
        if not self.known:
            return None
        genomes = [np.frombuffer(key, np.int32) for key in self.known]
        harms = np.array([harm_of(self.choices, genome) for genome in genomes])
        return rank_correlation(harms, np.array([*self.known.values()], dtype=np.float64))

    def write(self, front: EngineFront, genome: np.ndarray, folder: Path) -> None:
        """Compile the member *genome*, and write the front's files."""
        planned, taken = self.planned(genome), self.taken
        compile_integer_engine(
            self.source,
            target=planned,
            data=self.data,
            output=folder / "chosen",
            shape=self.shape,
            command=self.command,
            safety=safety_of(self.options),
            passes=None if taken is None or not taken.passes else (*taken.passes, *planned.passes()),
        )
        write_front_and_page(front, folder)
