"""The search for cheap arithmetic layer by layer: NSGA-II over format, accumulator, normalization, and the shape."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from approxhw.artifacts.engine_front import (
    EngineFront,
)
from approxhw.artifacts.front import CHECKPOINT
from approxhw.artifacts.objectives import Objective
from approxhw.common.arguments import checked
from approxhw.common.data.dataset import DataSpec
from approxhw.common.errors import OptionError, Problem
from approxhw.common.option_fields import Value
from approxhw.common.options import Keywords
from approxhw.common.statistics.class_bounds import ClassBound
from approxhw.common.tools import tool_threads
from approxhw.ir.tensor.run import title_of
from approxhw.numerics.mac.arithmetic import FloatMac

from ..composing.asked import read_approximations
from ..composing.compose import LossBounds
from ..composing.shapes import KEPT, Shape, composed_rows, shape_notes, shapes_of
from ..layer_search import (
    SearchRecord,
    errors_and_costs,
    errors_once,
    front_folder,
    front_of,
    genetic_settings,
    member_accuracies,
    model_digest,
    most_errors,
    references,
    safety_of,
    search_identity,
    sent_state,
    with_asked,
    write_front_and_page,
    wrong_rows,
)
from ..operands import Feeds, predictions, split_feeds
from ..reshaping import clocks_on
from .compile import CALIBRATION_ROWS, compile_engine
from .cost import ElementCost, element_cost
from .settings import EngineSearch
from .target import MatrixEngine

if TYPE_CHECKING:
    from onnx import ModelProto

    from approxhw.ir.tensor.emulate import EmulatedEngine


@dataclass(eq=False)
class EngineProblem:
    """One arithmetic a matrix product: what the search needs to know of a model and an array.

    Genomes are int32, P × layers, places in ``choices``; where the model may take other ``shapes``, the first gene is a place
    in these. Parts of a layer have its arithmetic. Workers get it without the opened model, and open it themselves.
    """

    model: str | Path | ModelProto | bytes
    """Path, or ``onnx.ModelProto``; what is in its file, at workers."""
    data: DataSpec | None
    target: MatrixEngine
    options: EngineSearch
    shape: Mapping[str, Sequence[int]] | None
    sizes: Mapping[str, Sequence[int]] | None
    """At which the model is opened."""
    names: tuple[str, ...]
    """Of the products."""
    choices: tuple[FloatMac, ...]
    splits: Mapping[str, Feeds]
    onnx: Mapping[str, float]
    """Accuracy of the model in float32 on each of ``splits``."""
    elements: tuple[ElementCost, ...]
    """Of each of ``choices``."""
    products: np.ndarray
    """Multiply-adds of every product in a run (float64)."""
    folder: Path
    title: str
    digest: str
    command: str
    threads: int
    """Of an evaluation; they change nothing but the time."""
    started: float
    opened: EmulatedEngine | None = None
    known: dict[bytes, int] = field(default_factory=dict)
    """Wrong rows of genomes seen before."""
    bounds: Mapping[str, ClassBound] = field(default_factory=dict)
    """What any class may lose on the rows searched on and on those that pick the winner; empty where nothing bounds it."""
    against: str = "float32"
    shapes: tuple[Shape, ...] = ()
    """The model's own first; none where its shape stays."""
    clocks: int = 0
    """Of all products of the model's own shape on the array."""
    notes: tuple[str, ...] = ()

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
        """The first choice, a product; the model's own shape."""
        return np.zeros(bool(self.shapes) + len(self.names), dtype=np.int32)

    @property
    def upper(self) -> np.ndarray:
        """The last choice, a product; the shape of fewest clocks."""
        last = np.full(len(self.lower), len(self.choices) - 1, dtype=np.int32)
        last[: bool(self.shapes)] = len(self.shapes) - 1
        return last

    def shape_of(self, genome: np.ndarray) -> Shape | None:
        """Return the shape of *genome*; None where there is the model's own alone."""
        return self.shapes[int(genome[0])] if self.shapes else None

    def arithmetics(self, genomes: np.ndarray) -> np.ndarray:
        """Return the genes of arithmetic: all but that of the shape."""
        return genomes[..., bool(self.shapes) :]

    @property
    def reference(self) -> float:
        """Accuracy of the model in float32 on validation rows."""
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
            "array": [self.target.rows, self.target.columns, self.target.depth, self.target.clock_ns],
            "library": str(self.target.library),
            "choices": [str(mac) for mac in self.choices],
            "elements": [[each.area_um2, each.power_mw, each.delay_ns] for each in self.elements],
        }
        if self.shapes:
            told["shapes"] = [each.spelled for each in self.shapes]
        return search_identity(self.digest + json.dumps(told, sort_keys=True), self.splits["search"])

    def initialise(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Return *count* genomes; one arithmetic for all layers needs one array: half of them are so."""
        choices, layers = len(self.choices), len(self.names)
        uniform = np.repeat(generator.integers(0, choices, (count, 1)), layers, axis=1)
        mixed = generator.integers(0, choices, (count, layers))
        made = np.where(np.arange(count)[:, None] % 2 == 0, uniform, mixed)
        if not self.shapes:
            return made
        return np.hstack([generator.integers(0, len(self.shapes), (count, 1)), made])

    def mate(self, first: np.ndarray, second: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return children that have every product's arithmetic of either parent."""
        return np.where(generator.random(first.shape) < 0.5, first, second)

    def mutate(self, genomes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Return genomes with one other arithmetic on average; every fifth one layer's everywhere, every third a near shape."""
        layers, own = len(self.names), self.arithmetics(genomes)
        changed = generator.random(own.shape) < 1 / layers
        drawn = np.where(changed, generator.integers(0, len(self.choices), own.shape), own)
        one = own[np.arange(len(own)), generator.integers(0, layers, len(own))]
        made = np.where((generator.random(len(own)) < 0.2)[:, None], one[:, None], drawn)
        if not self.shapes:
            return made
        steps = np.where(generator.random(len(own)) < 1 / 3, generator.choice([-1, 1], len(own)), 0)
        return np.hstack([np.clip(genomes[:, 0] + steps, 0, len(self.shapes) - 1)[:, None], made])

    def evaluate(self, genomes: np.ndarray) -> np.ndarray:
        """Return wrong rows and costs (int64, P × objectives)."""
        return errors_and_costs(self, genomes)

    def costs(self, genome: np.ndarray) -> dict[str, float]:
        """Return every cost of *genome* by the name it has in a member."""
        shape, own = self.shape_of(genome), self.arithmetics(genome)
        used = np.unique(own)
        products = self.products if shape is None else self.products * shape.shares
        areas, powers, delays = (
            np.array([getattr(each, name) for each in self.elements]) for name in ("area_um2", "power_mw", "delay_ns")
        )
        energies = np.array([each.power_mw * each.clock_ns * 1e-3 for each in self.elements])
        return {
            "area_um2": float(areas[used].sum()),
            "energy_nj": float((energies[own] * products).sum()),
            "power_mw": float(powers[used].sum()),
            "delay_ns": float(delays[used].max()),
            "clocks": float(self.clocks if shape is None else shape.clocks),
        }

    def errors(self, genome: np.ndarray) -> int:
        """Return the wrong rows of those searched on."""
        return errors_once(self, genome)

    def said(self, genome: np.ndarray, split: str) -> np.ndarray:
        """Return the class index (int64) that it gives every row of a split."""
        engine, shape = self.engine(), self.shape_of(genome)
        made = engine if shape is None else engine.on(shape.graph)
        return predictions(made.configured(None, self.layers(genome)), self.splits[split])

    def wrong(self, genome: np.ndarray, split: str) -> int:
        """Return the wrong rows of a split."""
        return wrong_rows(self.said(genome, split), self.splits[split])

    def layers(self, genome: np.ndarray) -> dict[str, FloatMac | None]:
        """Return the arithmetic of every product of the shape."""
        shape, own = self.shape_of(genome), self.arithmetics(genome)
        if shape is None:
            return {name: self.choices[int(gene)] for name, gene in zip(self.names, own, strict=True)}
        return {name: self.choices[int(own[origin])] for name, origin in zip(shape.names, shape.origins, strict=True)}

    def engine(self) -> EmulatedEngine:
        """Return the opened model."""
        if self.opened is None:
            from onnx import ModelProto

            from .api import open_engine

            assert isinstance(self.model, bytes)  # as workers get it
            proto = ModelProto.FromString(self.model)
            self.opened = open_engine(proto, None, None, self.sizes, threads=self.threads)
        return self.opened

    def describe(self, genome: np.ndarray) -> Keywords:
        """Return what the front tells of a member."""
        layers, shape = {name: str(mac) for name, mac in self.layers(genome).items()}, self.shape_of(genome)
        return {
            **({} if shape is None else {"passes": shape.spelled, "sizes": shape.sizes}),
            "layers": layers,
            **member_accuracies(self, genome),
            **self.costs(genome),
            "arithmetics": tuple(sorted(set(layers.values()))),
        }

    def front(self, members: Sequence[Keywords], chosen: int, rule: str, found: SearchRecord) -> EngineFront:
        """Return the front of *members*, by rising cost; *found*: what the genetic search came to."""
        elements = {str(mac): asdict(each) for mac, each in zip(self.choices, self.elements)}
        made = front_of(self, members, chosen, rule, found, elements, self.notes)
        return replace(made, options={**made.options, "objective": self.objectives[1].name})

    def write(self, front: EngineFront, genome: np.ndarray, folder: Path) -> None:
        """Compile the member *genome*, its array of the arithmetic that most products have, and write the front's files."""
        layers = self.layers(genome)
        macs = list(layers.values())
        most = max((mac for mac in macs if mac is not None), key=lambda mac: (macs.count(mac), str(mac)))
        chosen, shape = replace(self.target, mac=most, layers=layers), self.shape_of(genome)
        compile_engine(
            self.source,
            target=chosen,
            data=self.data,
            output=folder / "chosen",
            shape=self.shape,
            command=self.command,
            safety=safety_of(self.options),
            passes=None if shape is None or not shape.passes else (*shape.passes, *chosen.passes()),
        )
        write_front_and_page(front, folder)


@checked("search")
def problem(
    model: str | Path | ModelProto,
    *,
    data: DataSpec,
    output: str | Path | None = None,
    target: MatrixEngine | None = None,
    options: EngineSearch | None = None,
    shape: Mapping[str, Sequence[int]] | None = None,
    jobs: int = 1,
    command: str = "",
    on_progress: Callable[[str, int, int], None] | None = None,
    stop: Callable[[], bool] | None = None,
    **asked: Value,
) -> EngineProblem:
    """Return what the search of *model* is; arguments as :func:`approxhw.search_engine` takes them.

    ``asked``: fields of *options* that are to be other than there. Every element that may be chosen is synthesised here.
    Raises errors of :mod:`approxhw.common.errors`.
    """
    from approxhw.frontends.products.partition import open_model

    from .api import open_engine

    target, started = target or MatrixEngine(), time.perf_counter()
    options = with_asked(options or EngineSearch(), asked)
    target.array()
    if target.compress is not None:
        why = "a search tries formats that codes do not go with"
        raise OptionError("search", [Problem("compress", why, "leave it out, and compile the chosen member with it")])
    wanted = read_approximations(options.approximations)
    rows = composed_rows(model, data, options.seed, CALIBRATION_ROWS, options.rows, options.rows) if wanted else None
    splits = split_feeds(model, data, options.seed, options.rows) if rows is None else rows.splits
    search = splits["search"]
    sizes = shape or search.shapes(search.rows)
    # several islands are several processes, of one thread each
    threads = max(1, jobs // options.islands)
    emulated = open_engine(model, None, None, sizes, threads=threads)
    title = Path(str(title_of(emulated.graph))).stem
    folder = front_folder(output, title)
    names = [layer.name for layer in emulated.layers]
    choices = options.choices()
    products = np.array([layer.products for layer in emulated.layers], dtype=np.float64)
    largest = names[int(products.argmax())]
    onnx, bounds = references(emulated, splits, options.max_class_loss)
    shapes: tuple[Shape, ...] = ()
    notes: tuple[str, ...] = ()
    if rows is not None:
        bounded = LossBounds(options.max_accuracy_loss, options.max_class_loss)
        shapes = shapes_of(
            open_model(model, sizes),  # of as many rows as clocks of the plain search are told for
            target,
            rows,
            options.approximations,
            bounded,
            options.compositions,
            threads=max(1, jobs),
            kept=folder / CHECKPOINT / KEPT,
            identity=json.dumps(search_identity(model_digest(model), search)),
            tell=on_progress or _silent,
            stop=stop,
        )
        notes = (*rows.notes, *shape_notes(shapes, bounded))
    return EngineProblem(
        model=model,
        data=data,
        target=target,
        options=options,
        shape=shape,
        sizes=sizes,
        names=tuple(names),
        choices=choices,
        splits=splits,
        onnx=onnx,
        bounds=bounds,
        elements=tuple(_elements(emulated, largest, search, target, choices, jobs, on_progress)),
        products=products,
        folder=folder,
        title=title,
        digest=model_digest(model),
        command=command,
        threads=threads,
        started=started,
        opened=emulated,
        shapes=shapes,
        clocks=sum(each.count * clocks_on(target)(each.m, each.k, each.n) for each in emulated.layers),
        notes=notes,
    )


def _silent(step: str, done: int, total: int) -> None:
    """Tell nobody how far it is."""


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
    tell = on_progress or _silent

    def work(mac: FloatMac) -> ElementCost:
        codes = (layer, to_codes(tile[0], mac.format), to_codes(tile[1], mac.format))
        return element_cost(mac, target.depth, cells, target.clock_ns, codes, quick=True)

    tell("elements", 0, len(choices))
    with tool_threads(max(1, jobs)) as pool:
        for done, one in enumerate(pool.map(work, choices), 1):
            found.append(one)
            tell("elements", done, len(choices))
    return found
