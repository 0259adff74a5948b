"""The pass that takes channels, neurons and heads out of a model: those that their readers can best do without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem, shown
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import Reshaping

from .ground.by_layer import fitted_by_layer, read_by_layer, read_count
from .ground.channels import ChannelGroup, Channels
from .ground.layers import ALL, clocks_of, given_alone, share_problem, share_up
from .ground.leaving import (
    chosen_groups,
    clocks_without,
    group_readers,
    meant_columns,
    open_groups,
    touched_by,
    useful_sizes,
    without_channels,
)
from .ground.moments import input_moments
from .ground.refit import refitted
from .ground.repair import Leaving, order_of_leaving

_NAME = "prune-outputs"

USUAL = 0.75
"""Share of channels that stays where nothing is said."""

REPAIRS = ("refit", "once", "none")
"""Least squares of each layer on what it reads by then, of all layers on what they read before, or no repair."""


@dataclass(frozen=True)
class PruneOutputs:
    """Take out channels, neurons and heads that their readers can best do without, and repair these by least squares.

    Either *keep*, a share of the channels of every layer, or *budget*, a share of the engine's clocks: then each layer loses
    what costs least error a clock saved. Numbers of channels fill the array's columns. Nothing is retrained; what a channel
    costs is told by the covariance of calibration rows. Source: greedy output approximation (arXiv 2407.19126), with the order
    of Optimal Brain Surgeon.
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True
    reshapes: ClassVar[bool] = True
    """It changes shapes, by what training rows tell."""

    keep: float | None = field(
        default=None, metadata={"help": "share of every layer's channels that stays; 0.75 without a budget"}
    )
    budget: float | None = field(
        default=None, metadata={"help": "share of the engine's clocks that stays, such as 70%"}
    )
    sizes: str = field(default="", metadata={"help": "channels that stay of single layers, such as conv1=16;fc=48"})
    layers: str = field(default=ALL, metadata={"help": "names or patterns of products apart by ':', or all"})
    repair: str = field(
        default="refit",
        metadata={"help": "of weights that read them: layer after layer, at once, or none", "choices": REPAIRS},
    )

    def __post_init__(self) -> None:
        """Refuse what leaves nothing."""
        found = share_problem(_NAME, "keep", self.keep) + share_problem(_NAME, "budget", self.budget)
        given, several = given_alone(self, ("keep", "budget", "sizes"), _NAME, "keep=0.6 or budget=70%")
        found += several
        if not given:
            object.__setattr__(self, "keep", USUAL)
        try:
            self.by_layer()
        except OptionError as error:
            found += error.problems
        if found:
            raise OptionError(_NAME, found)

    def by_layer(self) -> dict[str, int]:
        """Return the ``sizes`` by names, patterns or numbers of groups of channels."""
        return read_by_layer(self.sizes, read_count, f"{_NAME}.sizes", "sizes=conv1=16;fc=48")

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* without the channels that leave."""
        ground, channels, groups = open_groups(graph, context, self.layers, _NAME)
        own = fitted_by_layer(self.by_layer(), group_titles(channels), _NAME)
        if own:
            _check_sizes(channels, own)
        whole = channels.graph
        if self.keep == 1 or self.budget == 1:
            context.note("every channel stays")
            return graph
        moments = input_moments(whole, sorted({name for group in groups for name in group.readers}), ground.observe)
        leaving = [order_of_leaving(group_readers(channels, group, moments), group.channels) for group in groups]
        sizes = [
            useful_sizes(channels, group, each.channels, ground.reshaping)
            for group, each in zip(groups, leaving, strict=True)
        ]
        before = clocks_of(ground.reshaping, whole)
        if own:
            kept = [own.get(group.title, group.size) for group in groups]
        elif self.budget is None:
            assert self.keep is not None
            kept = [_nearest(each, self.keep * group.size) for each, group in zip(sizes, groups, strict=True)]
        else:
            kept = kept_in_budget(channels, groups, leaving, sizes, ground.reshaping, round(self.budget * before))
        gone = gone_of(groups, leaving, kept)
        made = without_channels(channels, gone, moments if self.repair == "once" else None, ground.reshaping)
        after = clocks_of(ground.reshaping, made)
        context.note(f"{_told(groups, kept)}: {after:,} of {before:,} clocks ({after / before:.1%})")
        if self.repair == "refit" and len(gone):
            tell = None if context.on_progress is None else partial(context.on_progress, "refit layers")
            made = refitted(made, whole, meant_columns(channels, groups, gone), ground.observe, tell)
        return made


def group_titles(channels: Channels) -> list[str]:
    """Return what the groups of channels are called, in their order: what the option ``sizes`` names."""
    return list(dict.fromkeys(group.title for group in channels.groups))


def _check_sizes(channels: Channels, own: Mapping[str, int]) -> None:
    """Raise :class:`PassError` for groups whose sizes are told, and that stay, or are smaller."""
    groups = [group for title in own for group in chosen_groups(channels, title, _NAME)]
    problems = [
        Problem(
            f"layer {shown(group.title, 60)!r}", f"it has {group.size} channels, not {own[group.title]}", "give less"
        )
        for group in groups
        if own[group.title] > group.size
    ]
    if problems:
        raise PassError(f"pass {_NAME}", problems)


def _nearest(sizes: list[int], wanted: float) -> int:
    """Return the smallest of *sizes* that is at least *wanted*."""
    return next(size for size in sizes if size >= wanted - 1e-9)


def gone_of(groups: list[ChannelGroup], leaving: list[Leaving], kept: list[int]) -> np.ndarray:
    """Return the channels that have left when so many of each group are *kept*."""
    parts = [each.channels[: group.size - count] for group, each, count in zip(groups, leaving, kept, strict=True)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def kept_in_budget(
    channels: Channels,
    groups: list[ChannelGroup],
    leaving: list[Leaving],
    sizes: list[list[int]],
    reshaping: Reshaping,
    budget: int,
) -> list[int]:
    """Return how many channels of each group stay so that all products take at most *budget* clocks, at least error.

    One step at a time leaves that costs least error for each clock saved. Raises :class:`PassError` where no step is left.
    """
    at = [len(each) - 1 for each in sizes]
    touched = [touched_by(channels, group) for group in groups]

    def kept() -> list[int]:
        return [each[place] for each, place in zip(sizes, at, strict=True)]

    total = clocks_without(channels, np.zeros(0, np.int64), reshaping)
    while total > budget:
        gone = gone_of(groups, leaving, kept())
        best: tuple[float, int, int] | None = None
        for place, (group, each) in enumerate(zip(groups, leaving, strict=True)):
            if at[place] == 0:
                continue
            fewer = group.size - sizes[place][at[place] - 1]
            now = group.size - sizes[place][at[place]]
            less = np.concatenate([gone, each.channels[now:fewer]])
            saved = clocks_without(channels, gone, reshaping, touched[place]) - clocks_without(
                channels, less, reshaping, touched[place]
            )
            costs = float(each.losses[fewer] - each.losses[now])
            rank = costs / saved if saved > 0 else float("inf")
            if best is None or rank < best[0]:
                best = rank, place, saved
        if best is None:
            why = f"the fewest channels that can stay take {total:,} clocks, and the budget is {budget:,}"
            whole = clocks_without(channels, np.zeros(0, np.int64), reshaping)
            remedy = f"give budget={share_up(total, whole)} or more"
            raise PassError(f"pass {_NAME}", [Problem(f"{_NAME}.budget", why, remedy)])
        at[best[1]] -= 1
        total -= best[2]
    return kept()


def _told(groups: list[ChannelGroup], kept: list[int]) -> str:
    changed = [(group, count) for group, count in zip(groups, kept, strict=True) if count < group.size]
    some = ", ".join(f"{shown(group.title, 40)} {count} of {group.size}" for group, count in changed[:8])
    return f"{some}{', …' if len(changed) > 8 else ''}" if changed else "every channel stays"
