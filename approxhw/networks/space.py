"""The genome of a masked power-of-two network: where its genes stand, what they may be, and the way to a Graph and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from approxhw.common.errors import PassError, Problem
from approxhw.ir.chain import compares_values, walk
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import ArgMax, Constant, Dense, Requantize, Reshape, Threshold, Type
from approxhw.ir.rewriting import code_constant, fit_formats
from approxhw.numerics.formats import Fixed
from approxhw.numerics.mac.arithmetic import MaskedPowerOfTwo

ARGMAX, THRESHOLD = 0, 1
"""Kinds of ``head[0]``."""

MOST_INPUT_BITS = 16
MOST_WIDTH = 31
_MOST_SHIFT = 62


class LayerGenes(NamedTuple):
    """The genes of one layer as views of a population: change them, and the genomes change."""

    masks: np.ndarray
    """P × m × n; 0: no connection."""
    signs: np.ndarray
    """P × m × n; 0 plus, 1 minus."""
    exponents: np.ndarray
    """P × m × n."""
    biases: np.ndarray
    """P × m."""
    shift: np.ndarray | None
    """P; None in the last layer."""


@dataclass(frozen=True)
class Layer:
    """Sizes of one layer, and the Nodes of the Graph behind it (empty names where the space was made from sizes)."""

    inputs: int
    outputs: int
    input_bits: int
    exponent: int
    """The greatest exponent."""
    hidden_bits: int
    """Bits of the activation that follows; 0 in the last layer."""
    dense: str = ""
    requantize: str = ""


@dataclass(frozen=True, eq=False)
class Space:
    """Every genome that a search may visit: one int32 array of ``genes`` integers, each from ``lower`` to ``upper``.

    A layer's genes: masks (m·n), signs (m·n), exponents (m·n), biases (m), and the shift of a hidden layer. The
    comparators of an argmax, m − 1 bit sets over ``width`` positions, stand at the end.
    """

    layers: tuple[Layer, ...]
    layout: np.ndarray
    """int64, one row a layer: inputs n, outputs m, input bits, offsets of masks, signs, exponents, biases and of the
    shift (−1 in the last layer), hidden bits (0 in the last layer)."""
    head: np.ndarray
    """int64: kind, offset of the comparators (−1 where there are none), width."""
    lower: np.ndarray
    upper: np.ndarray
    head_node: str = ""
    threshold: int = 0
    """Threshold of the Graph's head; the bias gene of the last neuron is its bias less this."""

    @property
    def genes(self) -> int:
        """Number of genes."""
        return len(self.lower)

    @property
    def features(self) -> int:
        """Number of inputs."""
        return self.layers[0].inputs

    @property
    def classes(self) -> int:
        """Number of classes."""
        return 2 if self.head[0] == THRESHOLD else self.layers[-1].outputs

    @property
    def width(self) -> int:
        """Bits of the common width at which comparators look at values."""
        return int(self.head[2])

    def layer_genes(self, genomes: np.ndarray, index: int) -> LayerGenes:
        """Return views of the genes of layer *index*; *genomes*: P × G."""
        n, m, _, masks, signs, exponents, biases, shift, _ = self.layout[index].tolist()
        shape = (len(genomes), m, n)
        first, second, third = (genomes[:, at : at + m * n].reshape(shape) for at in (masks, signs, exponents))
        drop = genomes[:, shift] if shift >= 0 else None
        return LayerGenes(first, second, third, genomes[:, biases : biases + m], drop)

    def comparators(self, genomes: np.ndarray) -> np.ndarray:
        """Return a view of the comparators' bit sets: P × (m − 1), of no columns where there are none."""
        offset = int(self.head[1])
        return genomes[:, offset:] if offset >= 0 else genomes[:, :0]


def make_space(
    sizes: tuple[int, ...], *, input_bits: int = 4, exponent: int = 7, hidden_bits: int = 8, threshold: bool = False
) -> Space:
    """Return the space of a network of *sizes* (inputs, hidden …, outputs) without a Graph behind it."""
    bits = [input_bits, *[hidden_bits] * (len(sizes) - 2)]
    layers = tuple(
        Layer(n, m, b, exponent, hidden_bits if i < len(sizes) - 2 else 0)
        for i, (n, m, b) in enumerate(zip(sizes, sizes[1:], bits))
    )
    return _space(layers, THRESHOLD if threshold else ARGMAX)


def space_of(graph: Graph) -> Space:
    """Return the space of *graph*: Input → Dense(MaskedPowerOfTwo) → QReLU → … → Dense → ArgMax or Threshold.

    Biases and shifts of *graph* itself lie within the bounds. Raises :class:`PassError` that lists every Node that is
    none of the masked form.
    """
    layers, head, found = _chain(graph)
    if found:
        raise PassError(f"genetic search on {graph.name}", found)
    op = head.op
    threshold = int(op.threshold) if isinstance(op, Threshold) else 0
    least = [max(map(abs, _biases(graph, layer).tolist()), default=0) for layer in layers]
    least[-1] += abs(threshold)
    shifts = [_shift(graph, layer) for layer in layers]
    width = op.width or 0 if isinstance(op, ArgMax) else 0
    space = _space(tuple(layers), THRESHOLD if isinstance(op, Threshold) else ARGMAX, least, shifts, width)
    if space.width > MOST_WIDTH or max(map(int, space.upper[space.layout[:, 6]])) >= 1 << 30:
        why = f"sums may need {space.width} bits; comparators look at {MOST_WIDTH} at most"
        raise PassError(f"genetic search on {graph.name}", [Problem(head.name, why, "use fewer bits or exponents")])
    return replace(space, head_node=head.name, threshold=threshold)


def _space(
    layers: tuple[Layer, ...],
    kind: int,
    biases: list[int] | None = None,
    shifts: list[int] | None = None,
    width: int = 0,
) -> Space:
    rows, lower, upper = [], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    offset = 0
    for index, layer in enumerate(layers):
        n, m, last = layer.inputs, layer.outputs, index == len(layers) - 1
        reach = n * (((1 << layer.input_bits) - 1) << layer.exponent)
        bound = max(reach, biases[index] if biases else 0)
        shift = max(reach.bit_length() - 1, shifts[index] if shifts else 0)
        starts = [offset, offset + m * n, offset + 2 * m * n, offset + 3 * m * n]
        rows.append([n, m, layer.input_bits, *starts, -1 if last else starts[3] + m, layer.hidden_bits])
        highest = np.repeat([(1 << layer.input_bits) - 1, 1, layer.exponent], m * n)
        lower += [np.zeros(3 * m * n, np.int64), np.full(m, -bound), np.zeros(0 if last else 1, np.int64)]
        upper += [highest, np.full(m, bound), np.full(0 if last else 1, shift)]
        offset = starts[3] + m + (0 if last else 1)
        width = max(width, (reach + bound).bit_length() + 1) if last else width
    count = layers[-1].outputs - 1 if kind == ARGMAX else 0
    lower.append(np.zeros(count, np.int64))
    upper.append(np.full(count, (1 << min(width, MOST_WIDTH)) - 1))
    low, high = (np.concatenate(parts).clip(-(1 << 31), (1 << 31) - 1).astype(np.int32) for parts in (lower, upper))
    for array in (low, high):
        array.flags.writeable = False
    layout, head = np.array(rows, np.int64), np.array([kind, offset if count else -1, width], np.int64)
    return Space(layers, layout, head, low, high)


def _chain(graph: Graph) -> tuple[list[Layer], Node, list[Problem]]:
    """Return the layers from the Input on, the head, and what keeps the Graph from being of the masked form."""
    found: list[Problem] = []
    head = graph[graph.output]
    if not compares_values(head):
        found.append(Problem(head.name, f"the output is {head.kind}, not argmax or threshold"))
    layers: list[Layer] = []
    passed = walk(graph)
    node, requantize, bits = passed.start, "", 0
    for step in passed.path:
        if isinstance(step.op, Dense):
            if not isinstance(step.op.arithmetic, MaskedPowerOfTwo):
                found.append(
                    Problem(step.name, f"its arithmetic is {step.op.arithmetic}, not a masked power of two", _REMEDY)
                )
            shared = [name for name in step.inputs[1:] if sum(n.inputs.count(name) for n in graph.nodes) > 1]
            found += [Problem(name, "two Nodes share this constant; genes belong to one layer") for name in shared]
            exponent = getattr(step.op.arithmetic, "exponent", 0)
            m, n = graph[step.inputs[1]].type.shape
            layers.insert(0, Layer(n, m, 0, exponent, bits, step.name, requantize))
            requantize, bits = "", 0
        elif isinstance(step.op, Requantize) and not requantize:
            op, bits = step.op, step.op.high.bit_length()
            plain = op.rounding == "floor" and set(op.multiplier) == {1} and set(op.offset) == {0}
            if not plain or op.low or op.high != (1 << bits) - 1 or bits < 1:
                found.append(Problem(step.name, "it is no QReLU: multiplier 1, offset 0, from 0 to 2^n − 1", _REMEDY))
            requantize = step.name
        elif not isinstance(step.op, Reshape):
            found.append(
                Problem(step.name, f"{step.kind} has no place between the layers of a masked network", _REMEDY)
            )
    fmt = graph.input.type.format
    if node is not graph.input:
        found.append(Problem(node.name, "the layers do not start at the input"))
    elif not isinstance(fmt, Fixed) or fmt.signed or fmt.bits > MOST_INPUT_BITS:
        found.append(Problem(node.name, f"inputs are {fmt}, not unsigned codes of {MOST_INPUT_BITS} bits at most"))
    if not layers:
        found.append(Problem(graph.name, "there is no layer of masked powers of two", _REMEDY))
    if requantize:
        found.append(Problem(requantize, "it reads the input; activations stand between layers"))
    for before, layer in pairwise(layers):
        if not before.hidden_bits:
            found.append(Problem(layer.dense, f"it reads {before.dense} without a QReLU between them", _REMEDY))
        elif before.hidden_bits > MOST_INPUT_BITS:
            found.append(
                Problem(before.requantize, f"{before.hidden_bits} bits; at most {MOST_INPUT_BITS} are searched")
            )
    bits_in = [fmt.bits if isinstance(fmt, Fixed) else 0, *[layer.hidden_bits for layer in layers]]
    return [replace(layer, input_bits=b) for layer, b in zip(layers, bits_in)], head, found


_REMEDY = "run power-of-two (and qrelu) before"


def _biases(graph: Graph, layer: Layer) -> np.ndarray:
    return graph.constant(graph[layer.dense].inputs[2])


def _shift(graph: Graph, layer: Layer) -> int:
    op = graph[layer.requantize].op if layer.requantize else None
    return min(op.shift, _MOST_SHIFT) if isinstance(op, Requantize) else 0


def encode_genome(space: Space, graph: Graph) -> np.ndarray:
    """Return *graph* (of the masked form, and of the sizes of *space*) as a genome: int32, G."""
    layers, head, found = _chain(graph)
    sizes = [(a.inputs, a.outputs, a.input_bits, a.hidden_bits) for a in layers]
    if not found and sizes != [(a.inputs, a.outputs, a.input_bits, a.hidden_bits) for a in space.layers]:
        found = [Problem(graph.name, f"its layers are {sizes}, those of the search are others")]
    if found:
        raise PassError(f"genome of {graph.name}", found)
    wide = np.zeros((1, space.genes), np.int64)
    for index, layer in enumerate(layers):
        weights, biases, masks = (graph.constant(name) for name in graph[layer.dense].inputs[1:])
        genes, full = space.layer_genes(wide, index), (1 << layer.input_bits) - 1
        there = (weights != 0) & (masks & full != 0)
        genes.masks[0] = np.where(there, masks & full, 0)
        genes.signs[0] = there & (weights < 0)
        genes.exponents[0] = np.log2(np.where(there, np.abs(weights), 1)).astype(np.int64)
        genes.biases[0] = biases
        if genes.shift is not None:
            genes.shift[0] = _shift(graph, layer)
    op = head.op
    if isinstance(op, Threshold):
        wide[0, space.layout[-1, 6]] -= int(op.threshold)
    elif isinstance(op, ArgMax):
        space.comparators(wide)[0] = _bit_sets(op, space.width, layers[-1].outputs - 1)
    outside = np.flatnonzero((wide[0] < space.lower) | (wide[0] > space.upper))
    if len(outside):
        why = f"{len(outside)} genes lie outside the bounds of the search, the first is gene {outside[0]}: "
        why += f"{wide[0, outside[0]]} is not in {space.lower[outside[0]]}…{space.upper[outside[0]]}"
        raise PassError(f"genome of {graph.name}", [Problem(graph.name, why)])
    return wide[0].astype(np.int32)


def _bit_sets(op: ArgMax, width: int, count: int) -> list[int]:
    if op.width is None:
        return [(1 << width) - 1] * count
    # In a wider word the inverted sign moves to the new top; what lay under it stays where it is. A comparator that
    # looked at everything goes on doing so.
    sets = []
    for positions in op.bits:
        everything = len(set(positions)) == op.width
        moved = sum(1 << (width - 1 if p == op.width - 1 else p) for p in set(positions))
        sets.append((1 << width) - 1 if everything else moved)
    return sets


def decode_genome(space: Space, genome: np.ndarray, graph: Graph) -> Graph:
    """Return the Graph of *genome*: the Nodes of *graph* (the one behind *space*) with other constants and attributes.

    A mask of 0 makes a weight of 0 and vice versa. Formats are the narrowest for the new ranges.
    """
    changed: dict[str, Node] = {}
    genomes = np.asarray(genome, dtype=np.int64).reshape(1, space.genes)
    for index, layer in enumerate(space.layers):
        genes = space.layer_genes(genomes, index)
        node = graph[layer.dense]
        weights = np.where(genes.masks[0] != 0, (1 - 2 * genes.signs[0]) << genes.exponents[0], 0)
        biases = genes.biases[0] + (space.threshold if layer is space.layers[-1] else 0)
        for name, data in zip(node.inputs[1:3], (weights, biases)):
            fmt = graph[name].type.format
            assert isinstance(fmt, Fixed)
            changed[name] = code_constant(name, data, fmt.scale, origin=graph[name].origin)
        mask = graph[node.inputs[3]]
        changed[mask.name] = replace(
            mask, op=Constant(genes.masks[0]), type=Type(mask.type.shape, Fixed(layer.input_bits))
        )
        changed[node.name] = _wide(node)
        if genes.shift is not None:
            cut = graph[layer.requantize]
            assert isinstance(cut.op, Requantize)
            changed[cut.name] = replace(cut, op=replace(cut.op, shift=int(genes.shift[0])))
    head = graph[space.head_node]
    if isinstance(head.op, ArgMax):
        changed[head.name] = replace(head, op=_argmax(space, space.comparators(genomes)[0].tolist()))
    nodes = tuple(changed.get(node.name, node) for node in graph.nodes)
    return fit_formats(replace(graph, nodes=nodes))


def _wide(node: Node) -> Node:
    """Return *node* in a format that holds any sum; ``fit_formats`` narrows it."""
    fmt = node.type.format
    assert isinstance(fmt, Fixed)
    return replace(node, type=Type(node.type.shape, replace(fmt, bits=4000, signed=True)))


def _argmax(space: Space, sets: list[int]) -> ArgMax:
    everything = (1 << space.width) - 1
    if all(bits == everything for bits in sets):
        return ArgMax()
    return ArgMax(space.width, tuple(tuple(p for p in range(space.width) if bits >> p & 1) for bits in sets))


def canonical(space: Space, genomes: np.ndarray) -> np.ndarray:
    """Return genomes (P × G, a copy) of the same meaning, where what has no effect is 0: equal rows, equal circuits.

    Neurons that nothing reads lose masks and bias, summands without a mask bit their sign and exponent.
    """
    result = np.array(genomes, dtype=np.int32)
    for index in range(len(space.layers) - 1, -1, -1):
        genes = space.layer_genes(result, index)
        if index + 1 < len(space.layers):
            unread = ~(space.layer_genes(result, index + 1).masks != 0).any(axis=1)
            genes.masks[unread] = 0
            genes.biases[unread] = 0
        nothing = genes.masks == 0
        genes.signs[nothing] = 0
        genes.exponents[nothing] = 0
    return result
