"""The pass that puts a small decision tree in the place of a classifier, learnt on its codes from labels or from the model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem, shown
from approxhw.ir.evaluation import codes_of, task_of
from approxhw.ir.graph import Graph
from approxhw.ir.interpreter import run
from approxhw.ir.pass_manager import PassContext
from approxhw.networks.families.graphs import forest_graph
from approxhw.networks.families.teaching import noisy_copies
from approxhw.networks.trees.priced import PricedTree, priced_tree
from approxhw.networks.trees.prices import TreePrices, thermometer_prices, tree_area
from approxhw.networks.trees.tree import answers_of_trees, comparators_of
from approxhw.numerics.formats import Fixed
from approxhw.passes.quantize.quantize_inputs import QuantizeInputs

TEACHERS = ("labels", "model")
CONVERTERS = ("codes", "thermometer")
PASS = "pass distil-tree"
_MOST_ROWS = 1 << 20


@dataclass(frozen=True)
class DistilTree:
    """Replace a classifier by a decision tree on its input codes, learnt from training rows.

    Any Graph that names one class a row will do: of a float one, the Input gets codes of *bits* bits first, as quantize-inputs
    makes them. The tree grows best split first; what a split wins is weighed against the area of its comparator, which costs
    nothing where the tree has it; then thresholds move to cheaper and shared ones where no more rows go wrong. Teacher *labels*:
    the classes of the training rows; *model*: those that the Graph gives to *copies* noisy copies of them.
    """

    kind: ClassVar[str] = "approximating"

    leaves: int = field(default=16, metadata={"help": "leaves at most, 1 to 4096"})
    price: float = field(
        default=0.001,
        metadata={"help": "impurity, a share of all rows, that a mm² of new comparators must win; 0: they are free"},
    )
    splits: str = field(
        default="single",
        metadata={"help": "single: x ≥ c; pairs: x + y ≥ c and x − y ≥ c, too", "choices": ("single", "pairs")},
    )
    criterion: str = field(
        default="gini", metadata={"help": "impurity that splits take away", "choices": ("gini", "entropy")}
    )
    least: int = field(default=3, metadata={"help": "rows that go either way, at least"})
    starts: int = field(
        default=8, metadata={"help": "trees grown, all but one with noisy gains, of which the best is taken"}
    )
    teacher: str = field(default="labels", metadata={"help": "what the tree learns from", "choices": TEACHERS})
    copies: int = field(default=8, metadata={"help": "noisy copies of the rows that the model names, 1 to 64"})
    noise: float = field(default=0.2, metadata={"help": "probability that a code of a copy is off by one"})
    inputs: str = field(
        default="codes",
        metadata={"help": "how comparators are priced: gates on codes, or converters' own", "choices": CONVERTERS},
    )
    bits: int = field(default=4, metadata={"help": "of a code, where the Input has none yet, 1 to 8"})
    seed: int = field(default=1, metadata={"help": "seed of the noise"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        found = []
        try:
            self._tree(1)
        except OptionError as error:
            found += [replace(problem, where=f"distil-tree.{problem.where}") for problem in error.problems]
        for name, low, high in (("copies", 1, 64), ("bits", 1, 8), ("seed", 0, (1 << 31) - 1)):
            if not low <= getattr(self, name) <= high:
                found.append(Problem(f"distil-tree.{name}", f"{getattr(self, name)} is not in {low}…{high}"))
        if not 0 <= self.noise <= 1:
            found.append(Problem("distil-tree.noise", f"{self.noise:g} is not in 0…1"))
        for name, known in (("teacher", TEACHERS), ("inputs", CONVERTERS)):
            if getattr(self, name) not in known:
                why = f"there is no {shown(repr(getattr(self, name)), 40)}"
                found.append(Problem(f"distil-tree.{name}", why, f"choose {' or '.join(known)}"))
        if found:
            raise OptionError("distil-tree", found)

    def _tree(self, rows: int) -> PricedTree:
        return PricedTree(
            leaves=self.leaves, price=self.price, criterion=self.criterion, splits=self.splits, least=self.least,
            exchange=self.price * rows, starts=self.starts, bits=self.bits,
        )  # fmt: skip

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return an integer Graph of the Input, a Forest and an ArgMax."""
        rows, labels = _training(graph, context)
        if not isinstance(graph.input.type.format, Fixed):
            graph = QuantizeInputs(bits=self.bits)(graph, context)
        fmt = graph.input.type.format
        assert isinstance(fmt, Fixed)
        codes = codes_of(graph, rows).reshape(len(rows), -1).astype(np.int64)
        if self.teacher == "model":
            codes, labels = self._taught(graph, codes, fmt.bits)
        options = replace(self._tree(len(labels)), bits=fmt.bits)
        prices = thermometer_prices(fmt.bits) if self.inputs == "thermometer" else TreePrices()
        trees = priced_tree(codes, labels, graph.classes, options, self.seed, prices)
        right = int((answers_of_trees(trees, codes) == labels).sum())
        context.note(
            f"{len(trees.leaves)} leaves, {len(comparators_of(trees))} comparators on {len(np.unique(trees.feature))} inputs, "
            f"about {tree_area(trees, fmt.bits, prices):.3g} mm²; {right} of {len(labels)} rows that it learnt from are right"
        )
        return forest_graph(graph, trees)

    def _taught(self, graph: Graph, codes: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
        """Return noisy copies of *codes*, and the classes that *graph* gives to them."""
        copies = max(1, min(self.copies, _MOST_ROWS // len(codes)))
        noisy = noisy_copies(codes, copies, self.noise, bits, self.seed)
        return noisy, run(graph, noisy.reshape(len(noisy), *graph.input.type.shape)).reshape(-1).astype(np.int64)


def _training(graph: Graph, context: PassContext) -> tuple[np.ndarray, np.ndarray]:
    """Return readings and classes of the training rows, or say all that is missing."""
    found = []
    if graph.is_tensor or task_of(graph) != "classification":
        why = "it names no class a row, and a tree names one"
        raise PassError(PASS, [Problem(f"value {shown(graph.output)}", why, "give a classifier")])
    data = context.data
    if data is None or not len(data.X_train):
        why = "it learns from training rows and their classes, and there are none"
        raise PassError(PASS, [Problem("data", why, "give --data with labels (data= in Python)")])
    rows, labels = np.asarray(data.X_train), np.asarray(data.y_train)
    if rows.shape[1] != graph.input.type.elements:
        found.append(
            Problem("data", f"the model reads {graph.input.type.elements} features, the data has {rows.shape[1]}")
        )
    if labels.ndim != 1 or len(labels) != len(rows):
        found.append(Problem("data", "its labels are not one class a training row"))
    elif labels.min() < 0 or labels.max() >= graph.classes:
        why = f"labels {labels.min()}…{labels.max()}, the model names classes 0…{graph.classes - 1}"
        found.append(Problem("data", why, "give class indices"))
    if found:
        raise PassError(PASS, found)
    return rows, labels.astype(np.int64)
