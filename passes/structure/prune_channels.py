"""The pass that takes out as many channels as no task minds, an output or a class: a bound on the loss of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext

from .ground.channels import ChannelGroup, Channels
from .ground.layers import ALL, Ground, clocks_of
from .ground.leaving import (
    clocks_without,
    group_readers,
    meant_columns,
    open_groups,
    touched_by,
    useful_sizes,
    without_channels,
)
from .ground.losses import LossJudge, judge_of, losses_of
from .ground.moments import Moments, input_moments
from .ground.refit import Told, refitted
from .ground.repair import Leaving, order_of_leaving

_NAME = "prune-channels"

_TRIED = 0.3
"""Share of a layer's channels without which it is looked at first."""


@dataclass(frozen=True)
class PruneChannels:
    """Take out channels, layer after layer, as long as the loss of no task rises by more than a bound.

    Tasks are the outputs of a model that scores classes in several, else the classes. A layer after another is thinned as far as
    every task allows: its own bound is *bound* · λ^i for the i-th layer, λ such that
    all of them together come to the *whole*. Layers that save most clocks come first. What reads the channels that are left is
    repaired by least squares as each is judged; at the end once more, layer after layer, where that keeps what the bounds came
    to, which is looked at. *layers_kept*: share of the layers, those that save most for
    the loss they cost, that stay thinned. Source: PAGCP (Ye et al., TPAMI 2023).
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True
    reshapes: ClassVar[bool] = True
    """It changes shapes, by what training rows tell."""

    bound: float = field(
        default=0.05, metadata={"help": "how much a task's loss may rise at the first layer, of itself"}
    )
    whole: float = field(default=5.0, metadata={"help": "how often its loss a task may have at the end of all layers"})
    layers_kept: float = field(default=1.0, metadata={"help": "share of the layers that stay thinned"})
    steps: int = field(default=8, metadata={"help": "sizes of a layer that are tried"})
    layers: str = field(default=ALL, metadata={"help": "names or patterns of products apart by ':', or all"})

    def __post_init__(self) -> None:
        """Refuse bounds that bound nothing."""
        found = []
        if not 0 <= self.bound <= 1:
            found.append(Problem(f"{_NAME}.bound", f"{self.bound} is not in 0…1", "give a share such as 5%"))
        if not self.whole >= 1:
            found.append(
                Problem(f"{_NAME}.whole", f"{self.whole} is below 1", "give how often a loss may become, such as 5")
            )
        if not 0 < self.layers_kept <= 1:
            why = f"{self.layers_kept} leaves nothing" if self.layers_kept == 0 else f"{self.layers_kept} is not in 0…1"
            found.append(Problem(f"{_NAME}.layers_kept", why, "give a share such as 80%"))
        if self.steps < 1:
            found.append(Problem(f"{_NAME}.steps", f"{self.steps} sizes try nothing", "give 1 or more"))
        if found:
            raise OptionError(_NAME, found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* without the channels that no task minds."""
        ground, channels, groups = open_groups(graph, context, self.layers, _NAME)
        whole = channels.graph
        judge = judge_of(context, whole, ground.observe)
        moments = input_moments(whole, sorted({name for group in groups for name in group.readers}), ground.observe)
        leaving = [order_of_leaving(group_readers(channels, group, moments), group.channels) for group in groups]
        thinning = _Thinning(self, channels, groups, leaving, moments, ground, judge)
        tell = None if context.on_progress is None else partial(context.on_progress, "thin layers")
        gone = thinning.run(tell)
        if not len(gone):
            some = "output" if len(judge.outputs) > 1 else "class"
            context.note(f"every channel stays: each layer's first step costs some {some} more than the bound")
            return graph
        judged = without_channels(channels, gone, moments, ground.reshaping)
        again = None if context.on_progress is None else partial(context.on_progress, "refit layers")
        plain = without_channels(channels, gone, None, ground.reshaping)
        made = refitted(plain, whole, meant_columns(channels, groups, gone), ground.observe, again)
        if (losses_of(judge, made) > np.maximum(losses_of(judge, judged), thinning.most) + 1e-12).any():
            made = judged  # what the bounds were held to
        before, after = (clocks_of(ground.reshaping, each) for each in (whole, made))
        base, now = losses_of(judge, whole), losses_of(judge, made)
        worst = int(np.argmax(now / np.maximum(base, 1e-9)))
        context.note(
            f"{thinning.told()}: {after:,} of {before:,} clocks ({after / before:.1%}); loss of "
            f"{judge.tasks[worst]}, which rises most, {base[worst]:.4g}, now {now[worst]:.4g}"
        )
        return made


def geometric_share(layers: int, bound: float, whole: float) -> float:
    """Return λ such that Π (1 + *bound* · λ^i) over *layers* layers is *whole*; 1 where bounds of all layers come to less."""
    if layers < 1 or bound <= 0 or whole <= 1:
        return 0.0

    def product(share: float) -> float:
        return float(np.prod(1 + bound * share ** np.arange(layers)))

    low, high = 0.0, 1.0
    while product(high) < whole and high < 16:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if product(middle) < whole else (low, middle)
    return (low + high) / 2


@dataclass(eq=False)
class _Thinning:
    """Layers as they are thinned one after another."""

    asked: PruneChannels
    channels: Channels
    groups: list[ChannelGroup]
    leaving: list[Leaving]
    moments: dict[str, Moments]
    ground: Ground
    judge: LossJudge
    gone: dict[int, np.ndarray] = field(default_factory=dict)
    most: float | np.ndarray = 0.0
    """Loss of each task that the bounds have come to."""

    def run(self, tell: Told | None) -> np.ndarray:
        """Thin every layer as far as its bound allows; return the channels that leave."""
        share = geometric_share(len(self.groups), self.asked.bound, self.asked.whole)
        saved = [self._saved(place) for place in range(len(self.groups))]
        order = sorted(range(len(self.groups)), key=lambda place: -saved[place] if share <= 1 else saved[place])
        base, bound = losses_of(self.judge, self.channels.graph), self.asked.bound
        worth: dict[int, float] = {}
        for done, place in enumerate(order):
            kept, least = self._thinned(place, base * (1 + bound))
            if least is not None:
                self.gone[place] = kept
                clocks = self._clocks_saved(place, kept)
                worth[place] = float(np.max(least - base)) / max(1, clocks)
                base = self.most = np.maximum(base, least)
                bound *= share
            if tell is not None:
                tell(done + 1, len(order))
        most = int(np.ceil(self.asked.layers_kept * len(self.gone) - 1e-9))
        for place in sorted(self.gone, key=lambda each: worth[each])[most:]:
            del self.gone[place]
        return self._all()

    def told(self) -> str:
        """Return how many channels of which layer stay."""
        some = [
            f"{shown(self.groups[place].title, 40)} {self.groups[place].size - len(gone)} of {self.groups[place].size}"
            for place, gone in sorted(self.gone.items())
        ]
        return f"{', '.join(some[:8])}{', …' if len(some) > 8 else ''}"

    def _all(self, more: np.ndarray | None = None) -> np.ndarray:
        parts = [*self.gone.values(), *([] if more is None else [more])]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def _saved(self, place: int) -> int:
        group, order = self.groups[place], self.leaving[place].channels
        return self._clocks_saved(place, order[: int(_TRIED * group.size)])

    def _clocks_saved(self, place: int, gone: np.ndarray) -> int:
        names = touched_by(self.channels, self.groups[place])
        before, after = (clocks_without(self.channels, each, self.ground.reshaping, names) for each in (gone[:0], gone))
        return before - after

    def _thinned(self, place: int, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the most channels of a layer that can leave within the *bounds* of all tasks, and the losses then."""
        group, order = self.groups[place], self.leaving[place].channels
        sizes = useful_sizes(self.channels, group, order, self.ground.reshaping)[:-1]
        tried = sorted(
            {sizes[round(at)] for at in np.linspace(0, len(sizes) - 1, self.asked.steps)} if sizes else set()
        )
        found: tuple[np.ndarray, np.ndarray | None] = order[:0], None
        for size in reversed(tried):
            gone = order[: group.size - size]
            made = without_channels(self.channels, self._all(gone), self.moments, self.ground.reshaping)
            losses = losses_of(self.judge, made)
            if (losses > bounds + 1e-12).any():
                break
            found = gone, losses
        return found
