"""The pass that makes one neuron of several that are alike."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.ir.graph import Graph
from approxhw.ir.kinds import Constant
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.tensor.integer_layers import held
from approxhw.passes.integers._editing import Editor

from .ground.channels import ChannelGroup, Channels, weights_of
from .ground.layers import ALL, clocks_of, share_problem
from .ground.leaving import meant_columns, open_groups, useful_sizes
from .ground.refit import refitted
from .ground.slicing import sliced

_NAME = "fuse-neurons"


@dataclass(frozen=True)
class FuseNeurons:
    """Make one neuron, channel or head of several that are alike: means of what makes them, sums of what reads them.

    Alike are those whose weights, biases and readers' weights lie together by k-means (*starts* draws, the best of them).
    *keep* is the share of a layer's neurons that stays. Then the readers are fitted again. Source: arXiv 2307.08941.
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True
    reshapes: ClassVar[bool] = True
    """It changes shapes, by what training rows tell."""

    keep: float = field(default=0.75, metadata={"help": "share of every layer's neurons that stays"})
    layers: str = field(default=ALL, metadata={"help": "names or patterns of products apart by ':', or all"})
    starts: int = field(default=30, metadata={"help": "draws of k-means"})
    refit: bool = field(default=True, metadata={"help": "weights that read them once more, by least squares"})
    seed: int = field(default=1, metadata={"help": "of the draws; same seed, same neurons"})

    def __post_init__(self) -> None:
        """Refuse what leaves nothing."""
        found = share_problem(_NAME, "keep", self.keep)
        if self.starts < 1:
            found.append(Problem(f"{_NAME}.starts", f"{self.starts} draws find nothing", "give 1 or more"))
        if found:
            raise OptionError(_NAME, found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with fewer neurons."""
        ground, channels, groups = open_groups(graph, context, self.layers, _NAME)
        whole = channels.graph
        if self.keep == 1:
            context.note("every neuron stays")
            return graph
        rng = np.random.default_rng(self.seed)
        made, gone, told = whole, [], []
        for done, group in enumerate(groups):
            if context.on_progress is not None:
                context.on_progress("fuse neurons", done, len(groups))
            sizes = useful_sizes(channels, group, group.channels, ground.reshaping)
            size = next(each for each in sizes if each >= self.keep * group.size - 1e-9)
            if size == group.size:
                continue
            clusters = _clustered(_features(channels, group), size, self.starts, rng)
            made, left = _fused(_of(channels, made), group, clusters)
            gone.append(left)
            told.append(f"{shown(group.title, 40)} {size} of {group.size}")
        if not gone:
            context.note("every neuron stays: fewer would save no clock")
            return graph
        all_gone = np.concatenate(gone)
        before = clocks_of(ground.reshaping, whole)
        made = sliced(_of(channels, made), all_gone, ground.reshaping.typed)
        after = clocks_of(ground.reshaping, made)
        some = f"{', '.join(told[:8])}{', …' if len(told) > 8 else ''}"
        context.note(f"{some}: {after:,} of {before:,} clocks ({after / before:.1%})")
        if self.refit:
            tell = None if context.on_progress is None else partial(context.on_progress, "refit layers")
            made = refitted(made, whole, meant_columns(channels, groups, all_gone), ground.observe, tell)
        return made


def _of(channels: Channels, graph: Graph) -> Channels:
    """Return *channels* of *graph*, whose constants stand at the same places under other names."""
    axes = dict(channels.axes)
    for old, new in zip(channels.graph.nodes, graph.nodes, strict=True):
        axes[new.name] = axes[old.name]
    return replace(channels, graph=graph, axes=axes)


def _places(channels: Channels, group: ChannelGroup) -> list[tuple[int, int, bool]]:
    """Return where *group* stands: place of a Constant among the Nodes, axis, and whether it is rows of a reader."""
    rows = set()
    for name in group.readers:
        found = weights_of(channels.graph, channels.graph[name])
        assert found is not None
        rows.add((channels.graph[name].inputs[found.place], found.rows))
    places = []
    for number, node in enumerate(channels.graph.nodes):
        if isinstance(node.op, Constant):
            for axis, ids in enumerate(channels.axes[node.name]):
                if ids is not None and np.isin(ids, group.channels).any():
                    places.append((number, axis, (node.name, axis) in rows))
    return places


def _slices(channels: Channels, group: ChannelGroup, number: int, axis: int) -> np.ndarray:
    """Return what a Constant holds of each channel of *group*: channels × how often each stands there × the rest."""
    node = channels.graph.nodes[number]
    data, ids = held(channels.graph, node.name), channels.axes[node.name][axis]
    assert data is not None
    assert ids is not None
    moved = np.moveaxis(data.astype(np.float64), axis, 0)
    return np.stack([moved[ids == channel] for channel in group.channels])


def _features(channels: Channels, group: ChannelGroup) -> np.ndarray:
    """Return all constants of each channel of *group* side by side: channels × numbers."""
    parts = [_slices(channels, group, number, axis) for number, axis, _ in _places(channels, group)]
    return np.concatenate([part.reshape(group.size, -1) for part in parts], axis=1)


def _fused(channels: Channels, group: ChannelGroup, clusters: np.ndarray) -> tuple[Graph, np.ndarray]:
    """Return the Graph whose first channel of each cluster stands for all of it, and the channels that can leave."""
    first = np.array([np.flatnonzero(clusters == each)[0] for each in np.unique(clusters)])
    changed: dict[int, np.ndarray] = {}
    for number, axis, sums in _places(channels, group):
        node = channels.graph.nodes[number]
        ids = channels.axes[node.name][axis]
        data = changed.get(number)
        if data is None:
            data = held(channels.graph, node.name)
        assert data is not None
        assert ids is not None
        moved = np.moveaxis(np.array(data), axis, 0)
        for one in first:
            members = [ids == group.channels[each] for each in np.flatnonzero(clusters == clusters[one])]
            together = np.stack([moved[member].astype(np.float64) for member in members])
            moved[members[0]] = together.sum(axis=0) if sums else together.mean(axis=0)
        changed[number] = np.moveaxis(moved, 0, axis)
    editor = Editor(channels.graph)
    names: dict[str, str] = {}
    for number, node in enumerate(channels.graph.nodes):
        if number in changed:
            names[node.name] = editor.constant(f"{node.name}_fused", np.ascontiguousarray(changed[number]))
        else:
            editor.nodes.append(replace(node, inputs=tuple(names.get(name, name) for name in node.inputs)))
    graph = replace(channels.graph, nodes=tuple(editor.nodes))
    gone = np.setdiff1d(np.arange(group.size), first)
    return graph, group.channels[gone]


def _clustered(features: np.ndarray, count: int, starts: int, rng: np.random.Generator) -> np.ndarray:
    """Return the cluster of each row of *features* by k-means, the best of *starts* draws; no cluster is empty."""
    best: tuple[float, np.ndarray] | None = None
    for _ in range(starts):
        centres = features[rng.choice(len(features), count, replace=False)]
        labels = np.zeros(len(features), np.int64)
        for _ in range(30):
            apart = _distances(features, centres)
            found = apart.argmin(axis=1)
            for empty in np.setdiff1d(np.arange(count), found):
                sizes = np.bincount(found, minlength=count)
                far = np.where(sizes[found] > 1, apart[np.arange(len(found)), found], -1.0).argmax()
                found[far] = empty
            if np.array_equal(found, labels):
                break
            labels = found
            centres = np.stack([features[labels == each].mean(axis=0) for each in range(count)])
        spread = float(((features - centres[labels]) ** 2).sum())
        if best is None or spread < best[0]:
            best = spread, labels
    assert best is not None
    return best[1]


def _distances(features: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return (features**2).sum(axis=1)[:, None] - 2 * features @ centres.T + (centres**2).sum(axis=1)[None, :]
