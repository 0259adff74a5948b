"""Groups of channels that can leave a tensor Graph: tied by sums, joins, norms, depthwise convolutions and heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from approxhw.common.errors import shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Constant, Relu
from approxhw.ir.kinds.tensor.ops import Add, Conv, ConvTranspose, Feed, Gemm, Host, MatMul, Part, Transpose

from .ids import Axis, Ids
from .operators import Axes, HostOperator, broadcast, followed_axes, host_operator, only_shapes

UNFOLLOWED = "they meet values whose channels are not followed"


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that have the same places, each of which can leave by itself.

    ``title``: the first product that makes them. ``channels``: their ids (int64). ``makers`` and ``readers``: products with
    constant weights whose columns, or whose rows, they are. ``why``: what keeps them; empty where nothing does.
    """

    title: str
    channels: np.ndarray
    makers: tuple[str, ...]
    readers: tuple[str, ...]
    why: str = ""

    @property
    def size(self) -> int:
        """How many channels there are."""
        return len(self.channels)


@dataclass(frozen=True, eq=False)
class Channels:
    """What is known of the channels of a Graph (types known, one operator a Host Node).

    ``axes``: of each value by name, the channel of every place along each axis; None where an axis has none.
    ``reshaped``: Reshapes, by Node and axis, whose sizes are channels.
    """

    graph: Graph
    axes: Mapping[str, Axes]
    groups: tuple[ChannelGroup, ...]
    reshaped: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Weights:
    """Where the constant weights of a product stand: operand, axis of the values read, axis of those made."""

    place: int
    rows: int
    columns: int


def weights_of(graph: Graph, node: Node) -> Weights | None:
    """Return where *node* has its weights; None where it is no product with one constant operand, or groups channels."""
    op = node.op
    if isinstance(op, Conv):  # filters of a ConvTranspose read and make other vectors than moments are gathered of
        return Weights(1, 1, 0) if op.group == 1 and _is_constant(graph, node.inputs[1]) else None
    if not isinstance(op, MatMul | Gemm):
        return None
    fixed = [_is_constant(graph, name) for name in node.inputs[:2]]
    ranks = [len(graph[name].type.shape) for name in node.inputs[:2]]
    if fixed != [False, True] or min(ranks) < 2 or ranks[1] != 2:
        return None
    turned = isinstance(op, Gemm) and op.transpose_b
    return Weights(1, 1, 0) if turned else Weights(1, 0, 1)


def _is_constant(graph: Graph, name: str) -> bool:
    return isinstance(graph[name].op, Constant)


def channels_of(graph: Graph) -> Channels:
    """Return the channels of *graph*, a tensor Graph with one operator a Host Node and all types known."""
    walk = _Walk(graph)
    for node in graph.nodes:
        walk.put(node)
    for _, name in graph.results:
        for axis in walk.axes[name]:
            walk.ids.stop(axis, "they leave the model")
    roots, why = walk.ids.settled()
    settled = {name: tuple(None if axis is None else roots[axis] for axis in axes) for name, axes in walk.axes.items()}
    reshaped = tuple((node.name, place) for node, place, _ in walk.reshaped)
    return Channels(graph, settled, _groups(graph, settled, why), reshaped)


@dataclass(eq=False)
class _Walk:
    """A Graph as it is walked: the axes of every value."""

    graph: Graph
    ids: Ids = field(default_factory=Ids)
    axes: dict[str, Axes] = field(default_factory=dict)
    reshaped: list[tuple[Node, int, np.ndarray]] = field(default_factory=list)

    def put(self, node: Node) -> None:
        """Take note of the axes of what *node* makes."""
        shape, op = node.type.shape, node.op
        open_axes: Axes = (None,) * len(shape)
        if isinstance(op, Constant):
            self.axes[node.name] = tuple(self.ids.fresh(size) for size in shape)
        elif isinstance(op, Feed):
            self.axes[node.name] = open_axes
        elif isinstance(op, Host):
            self._host(node, op)
        elif isinstance(op, Part):
            self.axes.setdefault(node.name, open_axes)
        elif isinstance(op, Relu):
            self.axes[node.name] = self.axes[node.inputs[0]]
        elif isinstance(op, Transpose):
            self.axes[node.name] = tuple(self.axes[node.inputs[0]][place] for place in op.axes)
        elif isinstance(op, Add):
            self.axes[node.name] = broadcast(self.ids, UNFOLLOWED, shape, self._operands(node))
        elif isinstance(op, MatMul | Gemm | Conv | ConvTranspose):
            self.axes[node.name] = self._product(node, op)
        else:
            self._stopped(node, f"{type(op).__name__} ({shown(node.name, 60)}) reads them")

    def _operands(self, node: Node) -> list[tuple[tuple[int, ...], Axes]]:
        return [(self.graph[name].type.shape, self.axes[name]) for name in node.inputs]

    def _stopped(self, node: Node, why: str) -> None:
        for name in node.inputs:
            for axis in self.axes[name]:
                self.ids.stop(axis, why)
        self.axes[node.name] = (None,) * len(node.type.shape)

    def _host(self, node: Node, op: Host) -> None:
        known = host_operator(node)
        parts = [each for each in self.graph.readers(node.name) if isinstance(each.op, Part)]
        if known is None:
            self._stopped(node, f"{shown(', '.join(op.operators), 60)} ({shown(node.name, 60)}) reads them")
            return
        kind, attributes, places = known
        made = [node.type.shape] + [()] * (len(op.makes) - 1)
        for part in parts:
            assert isinstance(part.op, Part)
            made[part.op.index] = part.type.shape
        names = [node.inputs[place] if place >= 0 else "" for place in places]
        operator = HostOperator(
            node,
            kind,
            attributes,
            tuple(self.graph[name].type.shape if name else () for name in names),
            tuple(self.axes[name] if name else () for name in names),
            tuple(made),
            {i: self.graph.constant(name) for i, name in enumerate(names) if name and _is_constant(self.graph, name)},
            self.reshaped,
        )
        if kind in ("Shape", "Size") and not self._only_shapes(node.name):
            for axis in operator.axes[0]:
                self.ids.stop(axis, f"{operator.called} counts them, and the model computes with that")
        found = followed_axes(self.ids, operator)
        self.axes[node.name] = found[0]
        for part in parts:
            assert isinstance(part.op, Part)
            self.axes[part.name] = found[part.op.index]

    def _only_shapes(self, name: str) -> bool:
        """Return whether the sizes *name* end in shapes alone, which follow the channels by themselves."""
        if name in self.graph.leaving:
            return False
        for reader in self.graph.readers(name):
            known = host_operator(reader) if isinstance(reader.op, Host) else None
            if known is None:
                return False
            kind, attributes, places = known
            for place, read in enumerate(places):
                if read >= 0 and reader.inputs[read] == name:
                    taken = only_shapes(kind, attributes, place)
                    if taken is False or (taken is None and not self._only_shapes(reader.name)):
                        return False
        return True

    def _product(self, node: Node, op: MatMul | Gemm | Conv | ConvTranspose) -> Axes:
        ids, rank = self.ids, len(node.type.shape)
        a, b, *rest = (self.axes[name] for name in node.inputs)
        shapes = [self.graph[name].type.shape for name in node.inputs]
        fixed = [_is_constant(self.graph, name) for name in node.inputs[:2]]
        if isinstance(op, MatMul | Gemm) and any(fixed) and weights_of(self.graph, node) is None:
            why = f"{type(op).__name__} ({shown(node.name, 60)}) multiplies them by constants, no plain matrix behind them"
            for axis in (*a, *b):
                ids.stop(axis, why)
        if isinstance(op, MatMul) and min(len(a), len(b)) >= 2:
            ids.tie(a[-1], b[-2], UNFOLLOWED)
            batch = broadcast(
                ids, UNFOLLOWED, node.type.shape[:-2], [(shapes[0][:-2], a[:-2]), (shapes[1][:-2], b[:-2])]
            )
            return (*batch, a[-2], b[-1])
        if isinstance(op, Gemm):
            (m, k), (k2, n) = (a[::-1] if op.transpose_a else a), (b[::-1] if op.transpose_b else b)
            ids.tie(k, k2, UNFOLLOWED)
            if not rest:
                return m, n
            return broadcast(ids, UNFOLLOWED, node.type.shape, [(node.type.shape, (m, n)), (shapes[2], rest[0])])
        if isinstance(op, Conv | ConvTranspose):
            return self._convolution(node, op, a, b, rest, rank)
        self._stopped(node, f"{type(op).__name__} ({shown(node.name, 60)}) multiplies them as vectors")
        return self.axes[node.name]

    def _convolution(
        self, node: Node, op: Conv | ConvTranspose, a: Axes, b: Axes, rest: Sequence[Axes], rank: int
    ) -> Axes:
        ids, channels = self.ids, self.graph[node.inputs[0]].type.shape[1]
        for axis in a[2:]:
            ids.stop(axis, f"{type(op).__name__} ({shown(node.name, 60)}) moves over them")
        columns: Axis
        if isinstance(op, ConvTranspose):
            for axis in (a[1], b[0], b[1]):
                ids.stop(axis, f"ConvTranspose ({shown(node.name, 60)}) spreads them")
            columns = b[1] if op.group == 1 else None
        elif op.group == 1:
            ids.tie(a[1], b[1], UNFOLLOWED)
            columns = b[0]
        elif op.group == channels and b[0] is not None and a[1] is not None:
            each = len(b[0]) // channels
            for place in range(each):  # filters of one channel lie side by side
                ids.tie(a[1], b[0][place::each], UNFOLLOWED)
            columns = b[0]
        else:
            for axis in (a[1], b[0], b[1]):
                ids.stop(axis, f"{type(op).__name__} ({shown(node.name, 60)}) takes them in groups")
            columns = b[0]
        for axes in rest:
            columns = ids.tie(columns, axes[0], UNFOLLOWED)
        return (a[0], columns, *(None,) * (rank - 2))


def _groups(graph: Graph, axes: Mapping[str, Axes], why: Mapping[int, str]) -> tuple[ChannelGroup, ...]:
    """Return channels by the places that they have, in the order of the products that make them."""
    places: dict[int, list[tuple[str, int]]] = {}
    for node in graph.nodes:
        if isinstance(node.op, Constant):
            for place, axis in enumerate(axes[node.name]):
                if axis is not None:
                    for channel in np.unique(axis).tolist():
                        places.setdefault(channel, []).append((node.name, place))
    makers: dict[tuple[str, int], list[str]] = {}
    readers: dict[tuple[str, int], list[str]] = {}
    titles: dict[str, str] = {}
    for node in graph.nodes:
        found = weights_of(graph, node)
        if found is not None:
            weights = node.inputs[found.place]
            makers.setdefault((weights, found.columns), []).append(node.name)
            readers.setdefault((weights, found.rows), []).append(node.name)
            titles[node.name] = node.op.title  # type: ignore[union-attr]
    order = {node.name: i for i, node in enumerate(graph.nodes)}
    together: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for channel, where in places.items():
        together.setdefault(tuple(where), []).append(channel)
    groups = []
    for at, channels in together.items():
        made = sorted({name for place in at for name in makers.get(place, ())}, key=order.__getitem__)
        read = sorted({name for place in at for name in readers.get(place, ())}, key=order.__getitem__)
        if not made:
            continue
        reason = next((why[channel] for channel in channels if channel in why), "")
        if not read and not reason:
            reason = "no product with constant weights reads them"
        ids = np.array(sorted(channels), np.int64)
        groups.append(ChannelGroup(titles[made[0]], ids, tuple(made), tuple(read), reason))
    return tuple(sorted(groups, key=lambda group: order[group.makers[0]]))
