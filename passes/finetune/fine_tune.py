"""The pass that trains the weights of a smaller model until it answers as the model did that it came from, through PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem, shown
from approxhw.ir.graph import Graph
from approxhw.ir.kinds import Constant
from approxhw.ir.pass_manager import PassContext
from approxhw.passes.structure.ground.layers import ground_of

from ._answers import CLASSES, HELD_TO, answers_of, label_problem, shared_features, unheld_outputs
from ._loop import Tuned, Tuning, TuningPlan
from ._same_meaning import check_same_meaning
from ._torch_model import PASS, torch_model
from ._training_rows import parted_rows
from .operators.library import torch

_NAME = "fine-tune"


@dataclass(frozen=True)
class FineTune:
    """Train weights, biases and scales of norms so that the model answers as it did before any pass; shapes stay.

    It stands behind passes that take channels, heads or ranks out, and in front of those that choose an arithmetic: products are
    exact while it trains. The model as it was opened teaches: of every output that comes of scores the chances of classes, at a
    *temperature*, are to be the same, or (*held_to*: values) its numbers. Labels of the rows count as far as *labels* says.
    AdamW, its rate rising over a twentieth of the steps, then falling to 0 as a cosine does, by steps or by *seconds*, whichever
    is further on. A part of the training rows is put aside: the epoch that does best on them is kept, none where the model as it
    was does best. The same seed gives the same weights, whatever the threads, unless seconds end it. Needs PyTorch
    (``approxhw[retrain]``). Source: Hinton, Vinyals, Dean, arXiv 1503.02531, 2015.
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True
    reshapes: ClassVar[bool] = True
    """It looks at training rows, and what it makes is a model of its own."""

    epochs: int = field(default=5, metadata={"help": "sweeps over the training rows"})
    rate: float = field(default=0.001, metadata={"help": "greatest step of a weight"})
    temperature: float = field(default=2.0, metadata={"help": "what scores are divided by before they are compared"})
    labels: float = field(default=0.0, metadata={"help": "share of the loss that labels of the rows are, 0 to 1"})
    features: float = field(
        default=0.0, metadata={"help": "weight of what norms in between give, where both models have them alike"}
    )
    held_to: str = field(
        default=CLASSES,
        metadata={"help": "chances of classes, or values of the outputs themselves", "choices": HELD_TO},
    )
    batch: int = field(default=128, metadata={"help": "rows a step, 1 to 4096"})
    aside: float = field(default=0.1, metadata={"help": "share of the training rows that the epoch is chosen by"})
    seconds: float = field(
        default=0.0, metadata={"help": "end after so long with the best so far; 0: when all is done"}
    )
    seed: int = field(default=1, metadata={"help": "seed of everything random"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        found = []
        for name, low, high in (("epochs", 1, 100_000), ("batch", 1, 4096), ("seed", 0, (1 << 31) - 1)):
            if not low <= getattr(self, name) <= high:
                found.append(Problem(f"{_NAME}.{name}", f"{getattr(self, name)} is not in {low}…{high}"))
        for name, least, most in (
            ("aside", 0.01, 0.9),
            ("labels", 0, 1),
            ("temperature", 0.1, 100),
            ("features", 0, 1e6),
        ):
            if not least <= getattr(self, name) <= most:
                found.append(Problem(f"{_NAME}.{name}", f"{getattr(self, name):g} is not in {least:g}…{most:g}"))
        if not 0 < self.rate <= 1:
            found.append(Problem(f"{_NAME}.rate", f"{self.rate:g} is not above 0 and at most 1"))
        if not 0 <= self.seconds < float("inf"):
            found.append(Problem(f"{_NAME}.seconds", f"{self.seconds:g} is no time", "give 0 for no limit"))
        if self.held_to not in HELD_TO:
            why = f"{shown(repr(self.held_to), 40)} is nothing to hold to"
            found.append(Problem(f"{_NAME}.held_to", why, f"choose {' or '.join(HELD_TO)}"))
        if found:
            raise OptionError(_NAME, found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with the weights of the best epoch."""
        torch()
        ground = ground_of(context, _NAME)
        if context.training is None or context.model is None:
            why = "it learns from training rows what the original model says of them, and one of both is not there"
            raise PassError(PASS, [Problem("data", why, "give --data with training rows")])
        apart, original = (ground.reshaping.apart(each) for each in (graph, context.model))
        answers = answers_of(apart, original, self.held_to)
        if left := unheld_outputs(apart, answers):
            told = ", ".join(shown(title, 40) for title in left[:8])
            context.note(f"nothing holds {told}: no real numbers with an entry for each row stand behind")
        features = shared_features(apart, original, answers) if self.features else ()
        names = ([answer.made for answer in answers], [answer.meant for answer in answers])
        model = torch_model(apart, [*names[0], *features], trained=True)
        teacher = torch_model(original, [*names[1], *features], trained=False)
        if not model.trained:
            why = "none of its constants is a weight of a product, a bias or a scale of a norm"
            raise PassError(PASS, [Problem("model", why, "there is nothing to train: leave fine-tune out")])
        rows = parted_rows(apart, *context.training, self.aside, self.seed, PASS)
        if self.labels:
            self._check_labels(apart, answers[0].made, rows.labels)
        for each, wanted in ((model, names[0]), (teacher, names[1])):
            checked = check_same_meaning(each, ground.observe, wanted)
        plan = TuningPlan(
            **{name: getattr(self, name) for name in TuningPlan.__dataclass_fields__ if name != "threads"},
            threads=context.threads,
        )
        tell = None if context.on_progress is None else partial(context.on_progress, "fine-tune")
        tuned = Tuning(model, teacher, answers, features, rows, plan).run(tell)
        context.note(
            f"{len(rows.training)} training rows, {len(model.trained)} constants trained; PyTorch agrees with the Graph on "
            f"{checked} rows; {_told(tuned, len(rows.choosing))}"
        )
        if tuned.ended:
            context.note(f"{tuned.ended}: what was best by then is kept")
        if not tuned.epoch:
            context.note("no epoch did better: nothing changed")
            return graph
        return _with_constants(apart, tuned)

    def _check_labels(self, graph: Graph, scores: str, labels: np.ndarray | None) -> None:
        if labels is None:
            why = "the training rows have none"
            raise PassError(PASS, [Problem("labels", why, "give --data with labels, or labels=0")])
        shape = graph[scores].type.shape
        if len(shape) > 2:
            why = f"its scores have {len(shape)} axes, and the rows have a label each"
            raise PassError(PASS, [Problem("labels", why, "give labels=0: the original teaches")])
        found = label_problem(shape[-1] if len(shape) > 1 else 1, int(labels.min()), int(labels.max()))
        if found is not None:
            raise PassError(PASS, [found])


def _with_constants(graph: Graph, tuned: Tuned) -> Graph:
    nodes = [
        replace(node, op=Constant(tuned.weights[node.name])) if node.name in tuned.weights else node
        for node in graph.nodes
    ]
    return replace(graph, nodes=tuple(nodes))


def _told(tuned: Tuned, count: int) -> str:
    before, after = tuned.before, tuned.after
    return (
        f"of {count} rows put aside {before.same:.2%} were answered as by the original at a loss of {before.loss:.4g}, "
        f"{after.same:.2%} at {after.loss:.4g} after epoch {tuned.epoch} of {tuned.epochs}"
    )
