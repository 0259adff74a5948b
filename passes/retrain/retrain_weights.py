"""The pass that retrains the weights of a model of codes with the products that its operators make, through PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem, shown
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext
from approxhw.passes.finetune._training_rows import checked_rows, fixed_rows, picked
from approxhw.passes.finetune.operators.library import torch
from approxhw.passes.integers._biases import moved_biases
from approxhw.passes.integers._editing import Editor, with_weights

from ._network import differentiable
from ._product_sums import GRADIENTS, TABLE
from ._steps import PASS
from ._training import Feeds, TrainingPlan, train_network


@dataclass(frozen=True)
class RetrainWeights:
    """Retrain weights and biases on training rows, each product being the operator's; slopes are those of its own table.

    Forward, the network computes what the Graph says, whole number by whole number; scales stay. Backward, a product has the
    slope of the operator's table, smoothed over *window* neighbours to either side, or that of the exact product; through
    rounding goes the slope as it is, through what is cut off none. A part of the training rows is put aside: the epoch that does
    best on them is kept, none where the Graph as it was does best. It stands behind approximate-multiplier, and behind
    correct-bias, tune-weights, too: what these would take from the errors of its weights, it has learnt. Needs PyTorch
    (``approxhw[retrain]``). Source of the slopes: Meng, Burleson, De Micheli, arXiv 2509.10519, 2025.
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True

    epochs: int = field(default=20, metadata={"help": "sweeps over the training rows"})
    gradient: str = field(
        default=TABLE,
        metadata={"help": "table, the operator's own, or straight, the exact product's", "choices": GRADIENTS},
    )
    rate: float = field(default=0.002, metadata={"help": "first step of a weight, as a share of the greatest code"})
    batch: int = field(default=64, metadata={"help": "rows a step, 1 to 4096"})
    window: int = field(default=16, metadata={"help": "neighbours to either side that smooth the table, 0 to 126"})
    aside: float = field(default=0.2, metadata={"help": "share of the training rows that the epoch is chosen by"})
    seed: int = field(default=1, metadata={"help": "seed of everything random"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        found = []
        for name, low, high in (
            ("epochs", 1, 100_000),
            ("batch", 1, 4096),
            ("window", 0, 126),
            ("seed", 0, (1 << 31) - 1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                found.append(Problem(f"retrain-weights.{name}", f"{value} is not in {low}…{high}"))
        if not 0 < self.rate <= 1:
            found.append(Problem("retrain-weights.rate", f"{self.rate:g} is not above 0 and at most 1"))
        if not 0.01 <= self.aside <= 0.9:
            found.append(Problem("retrain-weights.aside", f"{self.aside:g} is not in 0.01…0.9"))
        if self.gradient not in GRADIENTS:
            why = f"{shown(repr(self.gradient), 40)} is no gradient"
            found.append(Problem("retrain-weights.gradient", why, f"choose {' or '.join(GRADIENTS)}"))
        if found:
            raise OptionError("retrain-weights", found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with the weights and biases of the best epoch."""
        torch()
        feeds, labels = _training_rows(graph, context)
        network = differentiable(graph, self.gradient, self.window)
        labels = _columns(labels, network.row.classes)
        fixed = fixed_rows(graph)
        order = np.random.default_rng(self.seed).permutation(len(labels))
        cut = max(fixed or 1, round(self.aside * len(labels)))
        if len(labels) - cut < (fixed or 1):
            why = f"{len(labels)} training rows are too few to train on, and to put {cut} of them aside"
            raise PassError(PASS, [Problem("data", why, "give more of them")])
        _check_classes(network.scores(picked(feeds, order[: fixed or 1])).shape[1], labels)
        aside, rows = (
            (picked(feeds, chosen), labels[chosen]) for chosen in (np.sort(order[:cut]), np.sort(order[cut:]))
        )
        how = TrainingPlan(self.epochs, self.batch, self.rate, self.seed)
        made = train_network(network, rows, aside, how, fixed)
        before, after = made.before, made.after
        context.note(
            f"{self.gradient} gradient, {len(rows[1])} training rows: of {before.rows} rows put aside {before.right} were right "
            f"({before.right / max(1, before.rows):.4f}), {after.right} are ({after.right / max(1, after.rows):.4f}), "
            f"after epoch {made.epoch} of {self.epochs}"
        )
        if not made.epoch:
            context.note("no epoch did better: nothing changed")
            return graph
        editor, moved, count = Editor(graph), 0, 0
        for node in graph.nodes:
            if node.name in made.weights:
                codes = made.weights[node.name]
                moved += int((codes != graph.constant(node.inputs[1])).sum())
                count += codes.size
                node = with_weights(editor, graph, node, codes, "retrained")
            editor.nodes.append(node)
        moves = {name: move for name, move in made.moves.items() if move.any()}
        context.note(f"{moved} of {count} weights moved, in {len(made.weights)} layers; biases of {len(moves)}")
        return moved_biases(editor.done(), moves)


def _training_rows(graph: Graph, context: PassContext) -> tuple[Feeds, np.ndarray]:
    if context.training is None or context.training[1] is None:
        why = "it learns from training rows and their classes, and there are none"
        raise PassError(PASS, [Problem("data", why, "give --data with labels")])
    return checked_rows(graph, context.training[0], PASS), context.training[1]


def _columns(labels: np.ndarray, classes: np.ndarray | None) -> np.ndarray:
    """Return which column of the scores each of *labels* stands for."""
    if classes is None:
        return labels.astype(np.int64)
    places = {int(name): column for column, name in enumerate(classes)}
    if unknown := sorted({int(label) for label in labels} - places.keys()):
        why = f"labels {', '.join(map(str, unknown[:5]))} are no classes of the model: {shown(classes.tolist(), 60)}"
        raise PassError(PASS, [Problem("data", why, "give the model's own classes")])
    return np.array([places[int(label)] for label in labels], np.int64)


def _check_classes(columns: int, labels: np.ndarray) -> None:
    classes = max(2, columns)
    if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        why = f"labels {int(labels.min())}…{int(labels.max())}, the model scores classes 0…{classes - 1}"
        raise PassError(PASS, [Problem("data", why, "give class indices")])
