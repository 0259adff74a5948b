"""Graph → bespoke circuit: every neuron its own module, weights wired in, fully parallel.

Integer Graphs only. The result is equal to the interpreter, bit for bit; ``docs/bespoke.md`` tells how it is built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from approxhw.backends.cells.blocks import (
    LOCAL,
    Bit,
    Block,
    Cell,
    Lane,
    Word,
    constant_word,
    prune,
    range_text,
    uninverted,
    width_of,
)
from approxhw.common.errors import PassError, Problem
from approxhw.ir.chain import is_decision
from approxhw.ir.graph import Graph, Node, identifier, kind_of, ranges
from approxhw.ir.kinds import (
    Add,
    ArgMax,
    Binarize,
    Concat,
    Constant,
    Decode,
    Dense,
    Encode,
    Forest,
    Gates,
    Input,
    Reshape,
    Threshold,
    matches,
)
from approxhw.numerics.formats import EightBit, Fixed
from approxhw.numerics.mac.arithmetic import ApproximateMultiplier, Exact, MaskedPowerOfTwo
from approxhw.rtl_templates import template_names

from .comparing import add_match, not_negative
from .compression import Columns, compress
from .elements import ELEMENTS, decode_word, element, encode_word
from .formulas import sum_text, summand_lines, terms_text, weighted_text
from .gates import build_gates
from .products import Neuron, masked_neuron, table_neuron
from .shift_add import Plan, pair_terms, plan_layer
from .trees import Tools, build_forest

ELEMENTWISE = (*ELEMENTS, Encode, Decode)


@dataclass(frozen=True)
class InputPort:
    """An input of the circuit: a feature, and the positions of its code's bits that the port carries, lowest first."""

    name: str
    feature: int
    positions: tuple[int, ...]


@dataclass(frozen=True)
class Circuit:
    """A bespoke circuit: its blocks in order of data flow, input ports, and output ports with their bits, lowest first.

    The one output of a classifier is the class index; else there is a port for each element of the value that leaves.
    """

    name: str
    blocks: tuple[Block, ...]
    inputs: tuple[InputPort, ...]
    outputs: tuple[tuple[str, tuple[Bit, ...]], ...]
    read: dict[str, tuple[int, ...]]
    """Per word that crosses a block: the positions of its bits that are read."""


def build_circuit(graph: Graph, name: str | None = None) -> Circuit:
    """Return the circuit of an integer Graph.

    ``name``: of the top module, ``graph.name`` by default. Raises :class:`PassError` naming every Node that cannot be built.
    """
    _check(graph)
    builder = _Builder(graph, name or graph.name)
    words = builder.build()
    outputs = builder.leaving(words[graph.output])
    blocks, read = prune(builder.blocks, [bit for _, bits in outputs for bit in bits])
    fmt = graph.input.type.format
    assert isinstance(fmt, Fixed)
    assert isinstance(graph.input.op, Input)
    inputs = tuple(
        InputPort(feature, index, read[feature])
        for index, feature in enumerate(graph.input.op.features)
        if feature in read
    )
    return Circuit(builder.top, tuple(blocks), inputs, outputs, read)


def _check(graph: Graph) -> None:
    problems = [
        Problem(node.name, f"{node.kind} of {node.type} is no integer Node", "quantise the Graph first")
        for node in graph.nodes
        if node.is_float
    ]
    problems += [
        Problem(node.name, f"no circuit is known for {node.kind}", "tell the bespoke backend's table of builders")
        for node in graph.nodes
        if not node.is_float and type(node.op) not in (*BUILDERS, Input, Constant)
    ]
    final = graph[graph.output]
    if not isinstance(final.type.format, Fixed):
        problems.append(
            Problem(final.name, f"the Graph ends with {final.type.format}", "end it with values or a class")
        )
    if problems:
        raise PassError(f"bespoke circuit of {graph.name}", problems)


class _Builder:
    """Walks the Graph once; ``blocks`` grows, and every value becomes a tuple of words."""

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph = graph
        self.ranges = ranges(graph)
        self.blocks: list[Block] = []
        features = graph.input.op.features if isinstance(graph.input.op, Input) else ()
        # one name space for modules, ports and wires: a name means one thing in the whole file
        self.names: set[str] = {*features, *template_names()}
        self.output = graph.output if graph.output not in features else self._fresh(graph.output)
        self.names.add(self.output)
        self.top = self._fresh(name)
        self.layers = 0
        self.fused: set[str] = set()

    def _fresh(self, name: str) -> str:
        chosen = identifier(name, self.names)
        self.names.add(chosen)
        return chosen

    def build(self) -> dict[str, tuple[Word, ...]]:
        words: dict[str, tuple[Word, ...]] = {}
        rows = {name for node in self.graph.nodes for name in node.inputs[: kind_of(node.op).rows]} | {
            self.graph.output
        }
        for node in self.graph.nodes:
            if self.graph.is_constant(node.name):
                if node.name in rows:  # read as a value, not as weights: the same for every input
                    data = self.graph.constant(node.name).reshape(-1)
                    words[node.name] = tuple(constant_word(int(code)) for code in data)
                continue
            if node.name in self.fused:
                continue
            if isinstance(node.op, Input):
                words[node.name] = self._input(node)
                continue
            chain = self._chain(node)
            read = tuple(word for name in node.inputs[: kind_of(node.op).rows] for word in words[name])
            words[chain[-1].name] = self._apply(node, chain[1:], read)
            self.fused.update(link.name for link in chain[1:])
        return words

    def leaving(self, words: tuple[Word, ...]) -> tuple[tuple[str, tuple[Bit, ...]], ...]:
        """Return name and bits of every output port: as wide as the class index needs, or as the format of a value is."""
        node = self.graph[self.graph.output]
        fmt = node.type.format
        assert isinstance(fmt, Fixed)
        if is_decision(node):
            width = max(1, width_of(0, self.ranges[node.name][1][0]))
            return ((self.output, tuple(words[0].bit(i) for i in range(width))),)
        base = "label" if isinstance(node.op, Binarize) else "value"
        names = [self._fresh(base if len(words) == 1 else f"{base}{i}") for i in range(len(words))]
        return tuple((name, tuple(word.bit(i) for i in range(fmt.bits))) for name, word in zip(names, words))

    def _input(self, node: Node) -> tuple[Word, ...]:
        fmt = node.type.format
        assert isinstance(node.op, Input)
        assert isinstance(fmt, Fixed)
        bits = range(fmt.bits)
        return tuple(Word(fmt.low, fmt.high, tuple((name, i) for i in bits)) for name in node.op.features)

    def _chain(self, node: Node) -> list[Node]:
        """Return *node* and what follows it element by element with no other reader: it is built in the same block."""
        chain = [node]
        while chain[-1].name != self.graph.output and isinstance(node.op, (Dense, Forest, Add, *ELEMENTWISE)):
            readers = self.graph.readers(chain[-1].name)
            if len(readers) != 1 or isinstance(chain[-1].op, Encode):  # codes are what crosses from layer to layer
                break
            decides = _decided_with(chain[-1], readers[0])
            if not isinstance(readers[0].op, ELEMENTWISE) and not decides:
                break
            chain.append(readers[0])
            if decides:
                break
        return chain

    def _apply(self, node: Node, tail: Sequence[Node], x: tuple[Word, ...]) -> tuple[Word, ...]:
        return BUILDERS[type(node.op)](self, node, tail, x)

    # Dense -----------------------------------------------------------------------------------------------------------

    def _dense(self, node: Node, tail: Sequence[Node], x: tuple[Word, ...]) -> tuple[Word, ...]:
        assert isinstance(node.op, Dense)
        layer = f"layer{self.layers}"
        self.layers += 1
        names = [self._word_name(word, f"x{i}") for i, word in enumerate(x)]
        neurons, totals, arrival = self._neurons(layer, node, x, names)
        low, high = self.ranges[node.name]
        results = []
        for index, (neuron, total) in enumerate(zip(neurons, totals, strict=True)):
            block = Block(self._fresh(f"{layer}_neuron{index}"), cells=list(neuron.cells))
            if tail and isinstance(tail[0].op, Threshold):
                # x > t is the sign of x − t − 1: the comparison costs a constant in the columns
                change = -int(tail[0].op.threshold) - 1
                word = self._sum(block, neuron, change, (low[index] + change, high[index] + change), arrival)
                word = not_negative(word)
                out = self._decision(tail[0])
                block.comment.append(f"{out} = ({total}) > {tail[0].op.threshold}")
                results.append(block.leave(out, word))
                self.blocks.append(block)
                continue
            word = self._sum(block, neuron, 0, (low[index], high[index]), arrival)
            for link in tail:
                word, total = self._element(block, link, index, word, total)
            out = self._fresh(f"{block.name}_y")
            block.comment += [f"{out} = {total}", range_text(word)]
            if isinstance(node.op.arithmetic, Exact):
                block.comment.extend(summand_lines(neuron.terms, neuron.names))
            results.append(block.leave(out, word))
            self.blocks.append(block)
        return tuple(results)

    def _neurons(
        self, layer: str, node: Node, x: tuple[Word, ...], names: list[str]
    ) -> tuple[list[Neuron], list[str], dict[str, int]]:
        """Return what each neuron adds up, that sum as a formula, and when shared sums are there."""
        assert isinstance(node.op, Dense)
        arithmetic = node.op.arithmetic
        weights, bias, *operand = (self.graph.constant(name).astype(object) for name in node.inputs[1:])
        if isinstance(arithmetic, MaskedPowerOfTwo):
            made = [
                masked_neuron(row, masks, start, x, names)
                for row, masks, start in zip(weights.tolist(), operand[0].tolist(), bias.tolist(), strict=True)
            ]
            return made, [sum_text(terms_text(n.terms, n.names), n.constant) for n in made], {}
        if isinstance(arithmetic, ApproximateMultiplier):
            made = [
                table_neuron(arithmetic, operand[0], row, start, x, names)
                for row, start in zip(weights.tolist(), bias.tolist(), strict=True)
            ]
            return made, [sum_text(terms_text(n.terms, n.names), n.constant) for n in made], {}
        plan = plan_layer(weights.tolist(), [w.low for w in x], [w.high for w in x])
        sources, texts, arrival = self._shared(layer, plan, list(x), names)
        made = [Neuron(int(b), sources, texts, list(terms)) for terms, b in zip(plan.neurons, bias, strict=True)]
        return made, [weighted_text(row, b, names) for row, b in zip(weights, bias, strict=True)], arrival

    def _shared(
        self, layer: str, plan: Plan, words: list[Word], names: list[str]
    ) -> tuple[list[Word], list[str], dict[str, int]]:
        """Build the layer's shared sums; return word and name of every source of *plan*, and when each name is there."""
        if len(plan.sources) == plan.inputs:
            return words, names, {}
        block = Block(self._fresh(f"{layer}_shared"), ["sums that several neurons read"])
        words, texts = list(words), list(names)
        factors: list[tuple[int, int] | None] = [(i, 1) for i in range(plan.inputs)]
        arrival: dict[str, int] = {}
        for number, source in enumerate(plan.sources[plan.inputs :]):
            terms = (first, _, first_sign), (second, shift, second_sign) = pair_terms(source)
            factor = _common_factor(factors[first], factors[second], shift, (first_sign, second_sign))
            name = self._fresh(f"{names[factor[0]]}_x{factor[1]}" if factor else f"{layer}_shared{number}")
            factors.append(factor)
            columns = Columns(width_of(source.low, source.high))
            columns.add(words[first], 0, first_sign)
            columns.add(words[second], shift, second_sign)
            # `inside` names stay within the block, the word itself leaves under `name`
            lanes, bits = compress(columns, arrival, f"{LOCAL}{name}_")
            block.cells.extend(lanes)
            inside = Word(source.low, source.high, bits)
            block.comment += [f"{name} = {terms_text(terms, texts)}", range_text(inside)]
            arrival.update(_levels(lanes))
            words.append(inside)
            texts.append(name)
            block.leave(name, inside)
        leaving = [block.outputs.get(name) for name in texts]
        seen = [
            word if bits is None else block.leave(name, word)
            for word, bits, name in zip(words, leaving, texts, strict=True)
        ]
        self.blocks.append(block)
        there = {
            name: max((arrival.get(uninverted(dot)[0], 0) for dot in bits if not isinstance(dot, int)), default=0)
            for name, bits in block.outputs.items()
        }
        return seen, texts, there

    def _sum(
        self,
        block: Block,
        neuron: Neuron,
        change: int,
        interval: tuple[int, int],
        arrival: dict[str, int],
    ) -> Word:
        """Add the summands of *neuron*, its constant and *change* to *block*; ``arrival``: as in :func:`compress`."""
        columns = Columns(width_of(*interval), neuron.constant + change)
        for source, shift, sign in neuron.terms:
            columns.add(neuron.sources[source], shift, sign)
        lanes, bits = compress(columns, arrival, prefix=LOCAL)
        block.cells.extend(lanes)
        return Word(interval[0], interval[1], bits)

    # Forest ----------------------------------------------------------------------------------------------------------

    def _forest(self, node: Node, tail: Sequence[Node], x: tuple[Word, ...]) -> tuple[Word, ...]:
        tools = Tools(self._fresh, self._word_name, self._decision, self._element, self.blocks)
        return build_forest(tools, node, tail, x, self.ranges[node.name])

    # Elementwise -----------------------------------------------------------------------------------------------------

    def _elementwise(self, node: Node, tail: Sequence[Node], x: tuple[Word, ...]) -> tuple[Word, ...]:
        results = []
        for index, word in enumerate(x):
            block = Block(self._fresh(f"{node.name}_element{index}"))
            text = self._word_name(word, f"element {index}")
            for link in (node, *tail):
                word, text = self._element(block, link, index, word, text)
            out = self._fresh(f"{block.name}_y")
            block.comment += [f"{out} = {text}", range_text(word)]
            results.append(block.leave(out, word))
            self.blocks.append(block)
        return tuple(results)

    def _added(self, node: Node, tail: Sequence[Node], x: tuple[Word, ...]) -> tuple[Word, ...]:
        """Add two values element by element; *x*: the words of the first, then those of the second."""
        low, high = self.ranges[node.name]
        results = []
        for index, pair in enumerate(zip(x[: len(x) // 2], x[len(x) // 2 :], strict=True)):
            block = Block(self._fresh(f"{node.name}_element{index}"))
            columns = Columns(width_of(low[index], high[index]))
            for word in pair:
                columns.add(word, 0, 1)
            lanes, bits = compress(columns, prefix=LOCAL)
            block.cells.extend(lanes)
            word = Word(int(low[index]), int(high[index]), bits)
            text = " + ".join(self._word_name(summand, f"element {index}") for summand in pair)
            for link in tail:
                word, text = self._element(block, link, index, word, text)
            out = self._fresh(f"{block.name}_y")
            block.comment += [f"{out} = {text}", range_text(word)]
            results.append(block.leave(out, word))
            self.blocks.append(block)
        return tuple(results)

    def _element(self, block: Block, node: Node, index: int, word: Word, text: str) -> tuple[Word, str]:
        """Add elementwise *node* for element *index* of its value to *block*; return the word and the formula."""
        op, source = node.op, self.graph[node.inputs[0]].type.format
        if not isinstance(op, Encode | Decode):
            return element(block, op, index, word, text)
        code, other = (node.type.format, source) if isinstance(op, Encode) else (source, node.type.format)
        assert isinstance(code, EightBit)
        assert isinstance(other, Fixed)
        maximum = op.maxima[0 if code.block is None else index // code.block]
        if isinstance(op, Encode):
            return encode_word(block, code, maximum, other, word, text)
        low, high = self.ranges[node.name]
        return decode_word(block, code, maximum, other, word, text, (int(low[index]), int(high[index])))

    def _threshold(self, node: Node, word: Word) -> Word:
        assert isinstance(node.op, Threshold)
        block = Block(self._fresh("threshold"))
        text, out = self._word_name(word, "x"), self._decision(node)
        block.comment.append(f"{out} = {text} > {node.op.threshold}")
        columns = Columns(width_of(word.low - node.op.threshold - 1, word.high - node.op.threshold - 1))
        columns.constant = -int(node.op.threshold) - 1
        columns.add(word, 0, 1)
        lanes, bits = compress(columns, prefix=LOCAL)
        block.cells.extend(lanes)
        moved = Word(word.low - node.op.threshold - 1, word.high - node.op.threshold - 1, bits)
        self.blocks.append(block)
        return block.leave(out, not_negative(moved))

    def _argmax(self, node: Node, x: tuple[Word, ...]) -> Word:
        """Build a tree of comparisons: each keeps the greater value and its index; the left, lower index wins ties."""
        out = self._decision(node)
        assert isinstance(node.op, ArgMax)
        block = Block(self._fresh("argmax"), [f"{out} = index of the greatest value, the lowest of equal ones"])
        if node.op.width is not None:
            block.comment = [
                f"{out} = index of the winner of a tree whose comparators look at a few bits of both values"
            ]
        block.comment += [f"  {index}: {self._word_name(word, 'constant')}" for index, word in enumerate(x)]
        entries: list[tuple[Word, tuple[Bit, ...]]] = [(word, ()) for word in x]
        looked_at = iter(node.op.bits)
        for level, pairs in enumerate(matches(len(x))):
            merged = []
            for number, (left, right) in enumerate(pairs):
                group = f"{LOCAL}round{level}_match{number}"
                look = None if node.op.width is None else (node.op.width, next(looked_at))
                if look:
                    shown = ",".join(map(str, reversed(look[1])))
                    seen = f"bit{'s' if len(look[1]) > 1 else ''} {shown}" if shown else "no bit"
                    block.comment.append(f"  {group.removeprefix(LOCAL)} of {look[0]}-bit values looks at {seen}")
                merged.append(add_match(block, group, entries[left], entries[right], look))
            if len(entries) % 2:
                word, index = entries[-1]
                merged.append((word, (*index, 0)))
            entries = merged
        index_bits = entries[0][1]
        self.blocks.append(block)
        return block.leave(out, Word(0, len(x) - 1, index_bits))

    def _gates(self, node: Node, x: tuple[Word, ...]) -> tuple[Word, ...]:
        block = Block(self._fresh("gates"))
        names = [self._word_name(word, f"x{i}") for i, word in enumerate(x)]
        words = build_gates(block, node, self.ranges[node.name], x, names)
        outs = (
            [self._decision(node)]
            if is_decision(node)
            else [self._fresh(f"{node.name}_{i}") for i in range(len(words))]
        )
        self.blocks.append(block)
        return tuple(block.leave(out, word) for out, word in zip(outs, words, strict=True))

    def _decision(self, node: Node) -> str:
        """Return the name under which the class index or bit that *node* makes leaves its block."""
        return self.output if node.name == self.graph.output else self._fresh(node.name)

    def _word_name(self, word: Word, default: str) -> str:
        names = {uninverted(bit)[0] for bit in word.bits if not isinstance(bit, int)}
        return names.pop() if len(names) == 1 else str(word.low) if word.low == word.high else default


_Build = Callable[[_Builder, Node, Sequence[Node], tuple[Word, ...]], tuple[Word, ...]]

BUILDERS: dict[type, _Build] = {
    Dense: _Builder._dense,
    Forest: _Builder._forest,
    ArgMax: lambda builder, node, tail, x: (builder._argmax(node, x),),
    Threshold: lambda builder, node, tail, x: (builder._threshold(node, x[0]),),
    Reshape: lambda builder, node, tail, x: x,
    Concat: lambda builder, node, tail, x: x,
    Add: _Builder._added,
    Gates: lambda builder, node, tail, x: builder._gates(node, x),
    **dict.fromkeys(ELEMENTWISE, _Builder._elementwise),
}
"""Kind of Node → what builds it; activations have a table of their own, in ``elements``."""


def _decided_with(node: Node, reader: Node) -> bool:
    """Whether *reader* decides in the block that makes *node*: a threshold of sums, the class of a single tree."""
    if isinstance(reader.op, Threshold):
        return isinstance(node.op, Dense | Forest)
    exact = isinstance(reader.op, ArgMax) and reader.op.width is None
    return exact and isinstance(node.op, Forest) and len(node.op.roots) == 1


def _levels(cells: Sequence[Cell]) -> dict[str, int]:
    """Return the level at which each signal of *cells* is there: a lane's is in its group's name, the total's comes after."""
    levels: dict[str, int] = {}
    for cell in cells:
        if isinstance(cell, Lane):
            level = int(cell.group.rsplit("level", 1)[1].split("_")[0])
            levels.update({dot[0]: level for _, dot in cell.outputs})
        elif cell.template == "ripple_adder":
            total = cell.outputs[0][1]
            levels[total[0][0]] = 1 + max(levels.values(), default=0) + len(total)
    return levels


def _common_factor(
    first: tuple[int, int] | None, second: tuple[int, int] | None, shift: int, signs: tuple[int, int]
) -> tuple[int, int] | None:
    """Return (input, multiple) where both sources are multiples of one input and the result is a positive one."""
    if first is None or second is None or first[0] != second[0]:
        return None
    multiple = signs[0] * first[1] + signs[1] * (second[1] << shift)
    return (first[0], multiple) if multiple > 0 else None
