"""The pass that takes blocks, heads and groups of neurons out of a network with residuals, where the loss does not rise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem
from approxhw.ir.graph import Graph, Node, without_unread
from approxhw.ir.kinds.tensor.ops import Add, Host, is_product
from approxhw.ir.pass_manager import PassContext

from .ground.channels import channels_of
from .ground.layers import Ground, clocks_of, ground_of
from .ground.leaving import group_readers, without_channels
from .ground.losses import LossJudge, judge_of, mean_loss
from .ground.moments import input_moments
from .ground.repair import order_of_leaving

_NAME = "prune-transformer"


@dataclass(frozen=True)
class PruneTransformer:
    """Take out whole blocks behind residuals, then heads and groups of neurons, as long as the loss does not rise.

    The deepest block first: what is left of a removed one is its residual. What stays of a block that must not go is looked at
    more closely: its heads one by one, its neurons in *parts* of a layer. Something stays away where the loss on calibration
    rows is at most (1 + *max_rise*) times the least so far; with 0, pruning can only help. Nothing is repaired in between.
    Source: AxFormer (arXiv 2010.03688).
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True
    reshapes: ClassVar[bool] = True
    """It changes shapes, by what training rows tell."""

    max_rise: float = field(default=0.0, metadata={"help": "of the loss, against the least so far, such as 2%"})
    parts: int = field(
        default=8, metadata={"help": "of a layer's neurons, each of which leaves as one; 0: blocks alone"}
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        found = []
        if not 0 <= self.max_rise <= 1:
            found.append(Problem(f"{_NAME}.max_rise", f"{self.max_rise} is not in 0…1", "give a share such as 2%"))
        if self.parts < 0:
            found.append(Problem(f"{_NAME}.parts", f"{self.parts} is no number of parts", "give 0 or more"))
        if found:
            raise OptionError(_NAME, found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* without what its loss does not need."""
        ground = ground_of(context, _NAME)
        whole = ground.reshaping.apart(graph)
        judge = judge_of(context, whole, ground.observe)
        names = [block.sum for block in blocks_of_residuals(whole)]
        if not names:
            why = "no sum adds a value to what products made of it: there is no block behind a residual"
            raise PassError(f"pass {_NAME}", [Problem("model", why, "use prune-outputs, which needs none")])
        search = _Pruning(self, ground, judge, whole, mean_loss(judge, whole))
        for done, name in enumerate(reversed(names)):
            search.block(name)
            if context.on_progress is not None:
                context.on_progress("prune blocks", done + 1, len(names))
        before, after = (clocks_of(ground.reshaping, each) for each in (whole, search.graph))
        context.note(
            f"{search.blocks} of {len(names)} blocks left, then {search.finer} heads or parts of layers: {after:,} of "
            f"{before:,} clocks ({after / before:.1%}); loss {search.first:.4g}, now {search.loss:.4g}"
        )
        return search.graph if search.blocks or search.finer else graph


@dataclass(frozen=True)
class ResidualBlock:
    """A sum, the value that goes past the block, and the products inside of it."""

    sum: str
    skip: str
    products: tuple[str, ...]


def blocks_of_residuals(graph: Graph) -> list[ResidualBlock]:
    """Return the blocks of *graph* (one operator a Host Node) behind residuals, in order.

    A block: what a sum adds to a value of its own shape, all of it made of that value and of constants by products.
    """
    above: dict[str, set[str]] = {}
    for node in graph.nodes:
        above[node.name] = {node.name}.union(*(above[name] for name in node.inputs))
    found = []
    for node in graph.nodes:
        plain = isinstance(node.op, Add) or (isinstance(node.op, Host) and node.op.operators == ("Add",))
        if not plain or len(node.inputs) != 2:
            continue
        for skip, made in (node.inputs, node.inputs[::-1]):
            if graph[skip].type == graph[made].type == node.type and skip in above[made] and skip != made:
                inside = tuple(
                    name
                    for name in sorted(above[made] - above[skip])
                    if is_product(graph[name].op) and skip in above[name]
                )
                if inside:
                    found.append(ResidualBlock(node.name, skip, inside))
    return found


@dataclass(eq=False)
class _Pruning:
    """A Graph as it loses blocks, heads and neurons."""

    asked: PruneTransformer
    ground: Ground
    judge: LossJudge
    graph: Graph
    loss: float
    """The least so far."""
    blocks: int = 0
    finer: int = 0
    first: float = 0.0

    def __post_init__(self) -> None:
        """Remember where it began."""
        self.first = self.loss

    def block(self, name: str) -> None:
        """Take out the block that the sum *name* adds, or what it can lose."""
        block = next((each for each in blocks_of_residuals(self.graph) if each.sum == name), None)
        if block is None:
            return
        if self._taken(self.ground.reshaping.typed(without_block(self.graph, block))):
            self.blocks += 1
        elif self.asked.parts:
            self._finer(block)

    def _taken(self, made: Graph) -> bool:
        """Take *made* where its loss allows, and say so."""
        loss = mean_loss(self.judge, made)
        if loss > (1 + self.asked.max_rise) * self.loss:
            return False
        self.graph, self.loss = made, min(self.loss, loss)
        return True

    def _finer(self, block: ResidualBlock) -> None:
        titles = [self.graph[name].op.title for name in block.products]  # type: ignore[union-attr]
        for title in titles:
            self._group(title)

    def _group(self, title: str) -> None:
        """Take parts of the channels that the product *title* makes out, those that cost least first."""
        channels = channels_of(self.graph)
        group = next((each for each in channels.groups if each.title == title), None)
        if group is None or group.why or group.size < 2:
            return
        moments = input_moments(self.graph, list(group.readers), self.ground.observe)
        order = order_of_leaving(group_readers(channels, group, moments), group.channels).channels
        gone = order[:0]
        for part in np.array_split(order, min(self.asked.parts, len(order))):
            if len(gone) + len(part) >= len(order):
                break
            more = np.concatenate([gone, part])
            if not self._taken(without_channels(channels, more, None, self.ground.reshaping)):
                break
            gone = more
            self.finer += 1


def without_block(graph: Graph, block: ResidualBlock) -> Graph:
    """Return *graph* with the residual of *block* alone in place of its sum."""
    names = {block.sum: block.skip}

    def renamed(node: Node) -> Node:
        return replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))

    nodes = tuple(renamed(node) for node in graph.nodes if node.name != block.sum)
    results = tuple((title, names.get(name, name)) for title, name in graph.results)
    made = replace(graph, nodes=nodes, results=results, output=names.get(graph.output, graph.output))
    return without_unread(made)
