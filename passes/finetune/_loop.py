"""Training of a Graph in PyTorch to answer as another one: AdamW, the epoch kept by rows put aside, whatever ends it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ._answers import CLASSES, Answer, apart_in_classes, apart_in_values, wrong_of_labels
from ._torch_model import TorchModel
from ._training_rows import PartedRows, picked
from .operators.library import Tensor, torch

_TOGETHER = 256
"""Rows of one run where nothing is learnt."""

_PARTS = 4
"""Runs of a step, which threads share: so many whatever the threads are, so that sums have one order."""

_WARM = 0.05
"""Share of the steps in which the rate rises to its own."""

_DECAY = 0.01

Told = Callable[[int, int], None]


@dataclass(frozen=True)
class TuningPlan:
    """How a model is trained; what the pass's options of these names say."""

    epochs: int
    rate: float
    batch: int
    temperature: float
    labels: float
    features: float
    held_to: str
    seconds: float
    seed: int
    threads: int


@dataclass(frozen=True)
class Held:
    """How far answers of rows put aside are from those meant: the mean ``loss``, and which share of classes is the same."""

    loss: float
    same: float


@dataclass(frozen=True, eq=False)
class Tuned:
    """The best epoch (0: as it was): its weights by name, how it does ``before`` and ``after``, and what ended the training."""

    epoch: int
    epochs: int
    before: Held
    after: Held
    weights: Mapping[str, np.ndarray]
    ended: str = ""


@dataclass(eq=False)
class Tuning:
    """A model as it is trained to answer as ``teacher`` does."""

    model: TorchModel
    teacher: TorchModel
    answers: tuple[Answer, ...]
    features: tuple[str, ...]
    rows: PartedRows
    plan: TuningPlan
    meant: dict[str, np.ndarray] = field(default_factory=dict)
    """What the teacher says of all rows, by the names of its values."""
    spread: dict[str, float] = field(default_factory=dict)

    def run(self, tell: Told | None = None) -> Tuned:
        """Train, and return the best epoch by the rows that choose; Ctrl-C, too, gives what is best by then."""
        pytorch = torch()
        before = pytorch.get_num_threads()
        pytorch.set_num_threads(1)  # parts of a step are what threads share
        threads = max(1, self.plan.threads)
        try:
            with ThreadPoolExecutor(threads, initializer=pytorch.set_num_threads, initargs=(1,)) as pool:
                return self._run(pool, tell)
        finally:
            pytorch.set_num_threads(before)

    def _run(self, pool: ThreadPoolExecutor, tell: Told | None) -> Tuned:
        pytorch, plan = torch(), self.plan
        began = time.monotonic()
        self._ask_teacher(pool)
        weights = list(self.model.trained.values())
        adam = pytorch.optim.AdamW(weights, lr=plan.rate, weight_decay=_DECAY)
        order = np.random.default_rng(plan.seed)
        size = self._step_rows()
        each = max(1, len(self.rows.training) // size)
        steps, done = plan.epochs * each, 0
        found = self._held(pool)
        best = Tuned(0, plan.epochs, found, found, {})
        if not math.isfinite(found.loss):
            return replace(best, ended="the loss of the model as it was is no number")
        try:
            for epoch in range(1, plan.epochs + 1):
                late = False
                for part in self._steps(order.permutation(self.rows.training), size):
                    spent = (time.monotonic() - began) / plan.seconds if plan.seconds else 0.0
                    if late := spent >= 1:
                        break
                    for group in adam.param_groups:
                        group["lr"] = plan.rate * schedule(max(done / steps, spent))
                    if not math.isfinite(self._step(pool, weights, part)):
                        return replace(best, ended=f"in epoch {epoch} the loss became NaN or infinite")
                    adam.step()
                    done += 1
                    if tell is not None:
                        tell(done, steps)
                found = self._held(pool)
                if found.loss < best.after.loss:
                    best = Tuned(epoch, plan.epochs, best.before, found, self._now())
                if late:
                    return replace(best, ended=f"in epoch {epoch} its {plan.seconds:g} s were over")
        except KeyboardInterrupt:
            return replace(best, ended=f"it was interrupted after {done} of {steps} steps")
        return best

    def _now(self) -> dict[str, np.ndarray]:
        return {name: tensor.detach().numpy().copy() for name, tensor in self.model.trained.items()}

    def _step_rows(self) -> int:
        """Return how many rows one step takes."""
        size = min(self.plan.batch, len(self.rows.training))
        return size if self.rows.fixed is None else max(1, size // self.rows.fixed) * self.rows.fixed

    def _steps(self, order: np.ndarray, size: int) -> Iterator[np.ndarray]:
        """Yield rows of one step at a time; what is left over comes in another epoch, in another order."""
        for first in range(0, len(order) - size + 1, size):
            yield order[first : first + size]

    def _runs(self, rows: np.ndarray, most: int) -> list[np.ndarray]:
        """Return *rows* in runs of *most* at most; what does not fill a run of fixed size is left out."""
        size = self.rows.fixed or most
        whole = len(rows) - len(rows) % size if self.rows.fixed else len(rows)
        return [rows[first : first + size] for first in range(0, whole, size)]

    def _fed(self, rows: np.ndarray) -> dict[str, Tensor]:
        return {title: torch().from_numpy(array) for title, array in picked(self.rows.feeds, rows).items()}

    def _ask_teacher(self, pool: ThreadPoolExecutor) -> None:
        """Keep what the teacher says of every row, and how far that is spread."""
        names = [answer.meant for answer in self.answers]
        count = len(self.rows.training) + len(self.rows.choosing)

        def asked(rows: np.ndarray) -> tuple[np.ndarray, dict[str, Tensor]]:
            with torch().no_grad():
                return rows, self.teacher.values(self._fed(rows), names)

        for rows, values in pool.map(asked, self._runs(np.arange(count), _TOGETHER)):
            for name, value in values.items():
                kept = self.meant.setdefault(name, np.zeros((count, *value.shape[1:]), np.float32))
                kept[rows] = value.numpy()
        self.spread = {name: max(float(kept.var()), 1e-12) for name, kept in self.meant.items()}

    def _apart(self, values: Mapping[str, Tensor], rows: np.ndarray) -> Tensor:
        """Return how far the answers in *values* are from those meant for *rows*."""
        plan, lost = self.plan, 0.0
        for answer in self.answers:
            made, meant = values[answer.made], torch().from_numpy(self.meant[answer.meant][rows])
            if plan.held_to == CLASSES:
                lost = lost + apart_in_classes(made, meant, plan.temperature)
            else:
                lost = lost + apart_in_values(made, meant, self.spread[answer.meant])
        if plan.labels and self.rows.labels is not None:
            labels = torch().from_numpy(self.rows.labels[rows])
            lost = (1 - plan.labels) * lost + plan.labels * wrong_of_labels(values[self.answers[0].made], labels)
        return lost

    def _step(self, pool: ThreadPoolExecutor, weights: Sequence[Tensor], rows: np.ndarray) -> float:
        """Put the slopes of the loss on *rows* into *weights*; return the loss."""
        runs = self._runs(rows, -(-len(rows) // _PARTS))
        names = [answer.made for answer in self.answers]

        def sloped(part: np.ndarray) -> tuple[float, Sequence[Any]]:
            values = self.model.values(fed := self._fed(part), [*names, *self.features])
            loss = self._apart(values, part)
            if self.features:
                with torch().no_grad():
                    meant = self.teacher.values(fed, self.features)
                for name in self.features:
                    spread = max(float(meant[name].var()), 1e-12)
                    loss = loss + self.plan.features * apart_in_values(values[name], meant[name], spread)
            loss = loss * (len(part) / len(rows))
            return float(loss.detach()), torch().autograd.grad(loss, weights, allow_unused=True)

        total = 0.0
        for weight in weights:
            weight.grad = None
        for loss, slopes in pool.map(sloped, runs):
            total += loss
            for weight, slope in zip(weights, slopes, strict=True):
                if slope is not None:
                    weight.grad = slope if weight.grad is None else weight.grad + slope
        return total

    def _held(self, pool: ThreadPoolExecutor) -> Held:
        """Return how the model does on the rows that choose."""
        names = [answer.made for answer in self.answers]

        def asked(rows: np.ndarray) -> tuple[int, float, float]:
            with torch().no_grad():
                values = self.model.values(self._fed(rows), names)
                lost = float(self._apart(values, rows))
            same = [
                np.mean(largest(values[answer.made].numpy()) == largest(self.meant[answer.meant][rows]))
                for answer in self.answers
            ]
            return len(rows), lost, float(np.mean(same))

        found = np.array(list(pool.map(asked, self._runs(self.rows.choosing, _TOGETHER))))
        shares = found[:, 0] / found[:, 0].sum()
        return Held(float(shares @ found[:, 1]), float(shares @ found[:, 2]))


def schedule(done: float) -> float:
    """Return the rate as a share of its greatest when *done* of the training is: a rise, then a half cosine down to 0."""
    if done < _WARM:
        return (done + _WARM / 10) / (1.1 * _WARM)
    return (1 + math.cos(math.pi * min(1.0, (done - _WARM) / (1 - _WARM)))) / 2


def largest(scores: np.ndarray) -> np.ndarray:
    """Return which score of each row is the largest; of one score alone whether it is above 0."""
    flat = scores.reshape(len(scores), -1)
    return flat.argmax(axis=1) if flat.shape[1] > 1 else (flat[:, 0] > 0).astype(np.int64)
