"""The intermediate representation: Graph, Node, Type, node kinds, exact ranges and names.

``docs/ir.md`` says what each of them means; ``approxhw/ir/verifier.py`` checks it; ``approxhw/ir/text.py`` prints it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from approxhw.ir.kinds.tensors import (
    TENSOR_KINDS,
    Add,
    Conv,
    Feed,
    Gemm,
    Host,
    MatMul,
    Part,
    Transpose,
)
from approxhw.numerics.eight_bit_words import codes_to_reals, codes_to_words, decoded, starts
from approxhw.numerics.formats import EightBit, Encoding, Fixed, Float, Format, Rational
from approxhw.numerics.mac.arithmetic import ApproximateMultiplier, Arithmetic, MaskedPowerOfTwo

VERILOG_WORDS = frozenset(
    """
    always and assign automatic begin bit buf bufif0 bufif1 byte case casex casez cell char checker class cmos
    config const context deassign default defparam design disable do edge else end endcase endconfig endfunction
    endgenerate endmodule endprimitive endspecify endtable endtask enum event export extends final for force
    foreach forever fork function generate genvar highz0 highz1 if ifnone import incdir include initial inout
    input inside instance int integer interface join large let liblist library localparam logic longint
    macromodule medium module nand negedge new nmos nor noshowcancelled not notif0 notif1 null or output package
    packed parameter pmos posedge primitive priority program property pull0 pull1 pulldown pullup
    pulsestyle_ondetect pulsestyle_onevent pure rand rcmos real realtime ref reg release repeat return rnmos
    rpmos rtran rtranif0 rtranif1 scalared shortint showcancelled signed small specify specparam static string
    strong0 strong1 struct super supply0 supply1 table tagged task this time tran tranif0 tranif1 tri tri0 tri1
    triand trior trireg type typedef union unique unsigned use uwire var vectored virtual void wait wand weak0
    weak1 while wire with within wor xnor xor
    """.split()  # noqa: SIM905  (a list of 200 strings, one a line, is no easier to read)
)
"""Reserved words of Verilog-2005, and those of SystemVerilog that tools stumble over."""

IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


def identifier(text: str, taken: set[str] | frozenset[str] = frozenset(), default: str = "value") -> str:
    """Return a legal, readable name for free *text* that is not in *taken* (``petal width (cm)`` → ``petal_width_cm``)."""
    base = re.sub(r"[^a-z0-9]+", "_", text[:200].lower()).strip("_")[:48]
    if not base or not base[0].isalpha():
        base = f"{default}_{base}".strip("_")[:48]
    name, count = base, 1
    while name in taken or name in VERILOG_WORDS:
        count += 1
        name = f"{base}_{count}"
    return name


@dataclass(frozen=True)
class Type:
    """Shape (without the batch axis) and number format of a value."""

    shape: tuple[int, ...]
    format: Format

    @property
    def elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        """Return the one spelling, such as ``u4[16]``."""
        return f"{self.format}[{','.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Input:
    """The row: one identifier and one title an element, and how a reading becomes a code (none in a float Graph)."""

    features: tuple[str, ...]
    titles: tuple[str, ...]
    encoding: Encoding | None = None


@dataclass(frozen=True, eq=False)
class Constant:
    """An array of codes: int64 (or object, for integers beyond 63 bits), float64, or object of ``Fraction``. Read-only."""

    data: np.ndarray

    def __post_init__(self) -> None:
        """Freeze the array: Graphs share it."""
        data = np.array(self.data)
        if data.dtype.kind in "iub":
            beyond = data.dtype == np.uint64 and data.size and int(data.max()) >= 1 << 63
            data = data.astype(object if beyond else np.int64)
        data.flags.writeable = False
        object.__setattr__(self, "data", data)

    def __eq__(self, other: object) -> bool:
        """Equal arrays are equal constants."""
        return isinstance(other, Constant) and np.array_equal(self.data, other.data)

    def __hash__(self) -> int:
        """Hash the shape: cheap, and consistent with equality."""
        return hash(self.data.shape)


@dataclass(frozen=True)
class Dense:
    """y[o] = b[o] + Σᵢ w[o,i] · x[i], every multiply-accumulate as ``arithmetic`` says, which may read a fourth operand."""

    arithmetic: Arithmetic | None = None
    """None in a float Graph."""


@dataclass(frozen=True)
class Affine:
    """y = s · x + t, element by element."""


@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""


@dataclass(frozen=True)
class Clip:
    """min(max(x, low), high); a bound may be None."""

    low: Any = None
    high: Any = None


@dataclass(frozen=True)
class Requantize:
    """min(max(floor((multiplier · x + offset) / 2^shift), low), high); multiplier, offset: one, or one an element."""

    multiplier: tuple[int, ...]
    shift: int
    offset: tuple[int, ...]
    low: int
    high: int


@dataclass(frozen=True)
class ArgMax:
    """Index of the greatest element, the lowest index of equal ones.

    Where ``width`` is given, by a tree of comparators that look at chosen ``bits`` only: values sign-extended to ``width``
    bits, the sign inverted; comparator c reads the positions ``bits[c]`` as an unsigned number. :func:`matches` orders them.
    """

    width: int | None = None
    bits: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Threshold:
    """1 where x > threshold, else 0."""

    threshold: Any = 0


@dataclass(frozen=True)
class Reshape:
    """The same elements in row-major order."""


@dataclass(frozen=True)
class Encode:
    """The nearest 8-bit code of x over its block's maximum; what exceeds a maximum saturates. ``maxima``: one a block."""

    maxima: tuple[float, ...]


@dataclass(frozen=True)
class Decode:
    """The value that an 8-bit code stands for, times its block's maximum. ``maxima``: one a block."""

    maxima: tuple[float, ...]


RowOp = Input | Constant | Dense | Affine | Relu | Clip | Requantize | ArgMax | Threshold | Reshape | Encode | Decode
Op = RowOp | Feed | MatMul | Gemm | Conv | Add | Transpose | Host | Part

KINDS: dict[str, type] = {
    "input": Input,
    "constant": Constant,
    "dense": Dense,
    "affine": Affine,
    "relu": Relu,
    "clip": Clip,
    "requantize": Requantize,
    "argmax": ArgMax,
    "threshold": Threshold,
    "reshape": Reshape,
    "encode": Encode,
    "decode": Decode,
    **TENSOR_KINDS,
}
"""Keyword of the text form → kind."""

ARITY = {Input: 0, Constant: 0, Dense: 3, Affine: 3}
"""Number of inputs, 1 where a kind is not listed; a ``Dense`` whose arithmetic reads an operand has one more."""


@dataclass(frozen=True)
class Node:
    """One value and how it is made."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    type: Type
    origin: str = field(default="", compare=False)

    @property
    def kind(self) -> str:
        """Keyword of the op."""
        return type(self.op).__name__.lower()

    @property
    def is_float(self) -> bool:
        """Whether the value is real-valued (``Float`` or ``Rational``)."""
        return isinstance(self.type.format, Float | Rational)


@dataclass(frozen=True)
class Graph:
    """A pure function of one row: Nodes in order, the name of the value that leaves, and the user's class labels."""

    name: str
    nodes: tuple[Node, ...]
    output: str
    labels: tuple[str | int, ...] = ()
    source: str = field(default="", compare=False)
    results: tuple[tuple[str, str], ...] = ()
    """Of a tensor Graph: what the model calls each value that leaves, and its Node; ``output`` is the first of them."""

    def __getitem__(self, name: str) -> Node:
        """Return the Node called *name*."""
        return self.by_name[name]

    @property
    def by_name(self) -> dict[str, Node]:
        """Every Node by name (made once a Graph)."""
        cached = self.__dict__.get("_by_name")
        if cached is None:
            cached = {node.name: node for node in self.nodes}
            object.__setattr__(self, "_by_name", cached)
        return cached

    @property
    def is_tensor(self) -> bool:
        """Whether it is a function of whole tensors, not of one row."""
        return bool(self.results) or any(isinstance(node.op, Feed) for node in self.nodes)

    @property
    def leaving(self) -> tuple[str, ...]:
        """Every value that leaves."""
        return tuple(dict.fromkeys((self.output, *(name for _, name in self.results))))

    @property
    def input(self) -> Node:
        """The one Input."""
        return next(node for node in self.nodes if isinstance(node.op, Input))

    def is_constant(self, name: str) -> bool:
        """Whether *name* is a Constant, or decodes one: the same for every row."""
        node = self[name]
        return isinstance(node.op, Constant) or (isinstance(node.op, Decode) and self.is_constant(node.inputs[0]))

    def constant(self, name: str) -> np.ndarray:
        """Return the data of the Constant called *name*, or what a Decode of that name makes of one (made once a Graph)."""
        node = self[name]
        if isinstance(node.op, Constant):
            return node.op.data
        if not self.is_constant(name):
            raise TypeError(f"{name} is no Constant")
        known: dict[str, np.ndarray] = self.__dict__.get("_decoded", {})
        if name not in known:
            codes = self.constant(node.inputs[0]).reshape(1, -1)
            data = decode_values(self, node, codes).reshape(node.type.shape)
            data.flags.writeable = False
            known[name] = data
            object.__setattr__(self, "_decoded", known)
        return known[name]

    def readers(self, name: str) -> tuple[Node, ...]:
        """Return every Node that reads *name*, in order."""
        return tuple(node for node in self.nodes if name in node.inputs)

    @property
    def is_integer(self) -> bool:
        """Whether every value is ``Fixed`` or an 8-bit code: a Graph that hardware can carry out."""
        return not self.is_tensor and all(isinstance(node.type.format, Fixed | EightBit) for node in self.nodes)

    @property
    def classes(self) -> int:
        """Number of classes that the output can name."""
        node = self[self.output]
        if isinstance(node.op, ArgMax):
            return self[node.inputs[0]].type.shape[0]
        return 2 if isinstance(node.op, Threshold) else 0


def arity(op: Op) -> int:
    """Return how many inputs a Node of this *op* has."""
    extra = isinstance(op, Dense) and op.arithmetic is not None and op.arithmetic.operand is not None
    return ARITY.get(type(op), 1) + extra


def matches(count: int) -> list[list[tuple[int, int]]]:
    """Return the rounds of an argmax tree of *count* values as pairs of places.

    A round matches (0, 1), (2, 3), …; its winners, then its odd last value, are the values of the next one. Comparators
    are numbered in this order.
    """
    rounds = []
    while count > 1:
        rounds.append([(place, place + 1) for place in range(0, count - 1, 2)])
        count = (count + 1) // 2
    return rounds


def rewrite(graph: Graph, change: Callable[[Node], list[Node] | None]) -> Graph:
    """Return *graph* with every Node replaced by what *change* returns (None: kept), and unread Nodes dropped."""
    nodes: list[Node] = []
    for node in graph.nodes:
        changed = change(node)
        nodes.extend([node] if changed is None else changed)
    return without_unread(replace(graph, nodes=tuple(nodes)))


def without_unread(graph: Graph) -> Graph:
    """Return *graph* without Nodes that nothing reads; the Input and the output stay."""
    wanted, kept = set(graph.leaving), []
    for node in reversed(graph.nodes):
        if node.name in wanted or isinstance(node.op, Input | Feed):
            wanted.update(node.inputs)
            kept.append(node)
    return replace(graph, nodes=tuple(reversed(kept)))


def renamed_inputs(node: Node, names: dict[str, str]) -> Node:
    """Return *node* reading ``names[x]`` wherever it read x."""
    return replace(node, inputs=tuple(names.get(name, name) for name in node.inputs))


def titled(graph: Graph, titles: tuple[str, ...]) -> Graph:
    """Return *graph* with its features called *titles*, and ports named after them, where the model names none."""
    node = graph.input
    op = node.op
    assert isinstance(op, Input)
    if len(titles) != len(op.features) or op.titles != op.features:
        return graph
    taken = set(graph.by_name)
    features: list[str] = []
    for title in titles:
        features.append(identifier(title, taken | set(features), default="x"))
    named = replace(node, op=replace(op, features=tuple(features), titles=titles))
    return replace(graph, nodes=tuple(named if other is node else other for other in graph.nodes))


Range = tuple[np.ndarray, np.ndarray]
"""Lowest and highest code of each element: two flat object arrays of Python integers."""


def ranges(graph: Graph) -> dict[str, Range]:
    """Return the exact range of every ``Fixed`` value, element by element; of a tensor Graph nothing (``docs/ir.md``)."""
    result: dict[str, Range] = {}
    if graph.is_tensor:
        return result
    for node in graph.nodes:
        if isinstance(node.type.format, Fixed):
            result[node.name] = range_of(graph, node, result)
    return result


def range_of(graph: Graph, node: Node, known: Mapping[str, Range]) -> Range:
    """Return the range of one ``Fixed`` value; *known*: those of the values above it (ArgMax, Threshold may read floats)."""
    op, count = node.op, node.type.elements
    if isinstance(op, Input):
        fmt = node.type.format
        assert isinstance(fmt, Fixed)
        return _full(count, fmt.low), _full(count, fmt.high)
    if isinstance(op, Constant):
        data = op.data.astype(object).reshape(-1)
        return data, data
    if isinstance(op, ArgMax):
        return _full(1, 0), _full(1, graph[node.inputs[0]].type.elements - 1)
    if isinstance(op, Threshold) and node.inputs[0] not in known:
        return _full(1, 0), _full(1, 1)
    if isinstance(op, Decode):
        return _decoded_range(graph, node, known)
    low, high = known[node.inputs[0]]
    if isinstance(op, Dense):
        bias = graph.constant(node.inputs[2]).astype(object)
        least, greatest = product_ranges(graph, node, (low, high))
        return bias + least.sum(axis=1), bias + greatest.sum(axis=1)
    if isinstance(op, Relu):
        return np.maximum(low, 0), np.maximum(high, 0)
    if isinstance(op, Clip):
        return clip_codes(low, op.low, op.high), clip_codes(high, op.low, op.high)
    if isinstance(op, Requantize):
        a, b = requantize_codes(op, low), requantize_codes(op, high)
        return np.minimum(a, b), np.maximum(a, b)
    if isinstance(op, Threshold):
        return np.array([int(low[0] > op.threshold)], dtype=object), np.array(
            [int(high[0] > op.threshold)], dtype=object
        )
    return low, high


def decode_values(graph: Graph, node: Node, codes: np.ndarray) -> np.ndarray:
    """Return what *node*, a ``Decode``, makes of *codes* (rows × elements): integers, or float64 where its format is real."""
    assert isinstance(node.op, Decode)
    fmt, target = graph[node.inputs[0]].type.format, node.type.format
    assert isinstance(fmt, EightBit)
    if isinstance(target, Fixed):
        return codes_to_words(fmt, node.op.maxima, target, codes)
    return codes_to_reals(fmt, node.op.maxima, codes)


def _decoded_range(graph: Graph, node: Node, known: Mapping[str, Range]) -> Range:
    """Range of a ``Decode``: of the data where that is constant, else of what lies between the codes of both ends."""
    if graph.is_constant(node.name):
        data = graph.constant(node.name).astype(object).reshape(-1)
        return data, data
    encode = graph[node.inputs[0]]
    fmt, target = encode.type.format, node.type.format
    assert isinstance(node.op, Decode)
    assert isinstance(fmt, EightBit)
    assert isinstance(target, Fixed)
    source = graph[encode.inputs[0]] if isinstance(encode.op, Encode) else None
    low, high = _full(node.type.elements, 0), _full(node.type.elements, 0)
    tables = {maximum: decoded(fmt, maximum, target) for maximum in set(node.op.maxima)}
    for i in range(node.type.elements):
        block = 0 if fmt.block is None else i // fmt.block
        table, reached = tables[node.op.maxima[block]], list(range(256))
        if isinstance(encode.op, Encode) and source is not None and source.name in known:
            ends = known[source.name]
            assert isinstance(source.type.format, Fixed)
            reached = starts(fmt, encode.op.maxima[block], source.type.format, int(ends[0][i]), int(ends[1][i]))[0]
        low[i], high[i] = min(table[code] for code in reached), max(table[code] for code in reached)
    return low, high


def product_ranges(graph: Graph, node: Node, operand: Range) -> Range:
    """Return the lowest and highest product of every weight of a ``Dense``: two object arrays, outputs × inputs."""
    assert isinstance(node.op, Dense)
    low, high = operand
    weights = graph.constant(node.inputs[1]).astype(object)
    arithmetic = node.op.arithmetic
    if isinstance(arithmetic, ApproximateMultiplier):
        return _table_ranges(arithmetic, weights, graph.constant(node.inputs[3]), operand)
    if isinstance(arithmetic, MaskedPowerOfTwo):
        masks = graph.constant(node.inputs[3]).astype(object)
        ends = [
            [_masked_range(mask, int(a), int(b)) for mask, a, b in zip(row, low.tolist(), high.tolist())]
            for row in masks.tolist()
        ]
        ends_array = np.array(ends, dtype=object).reshape(*weights.shape, 2)
        first, second = weights * ends_array[..., 0], weights * ends_array[..., 1]
    else:
        first, second = weights * low[None, :], weights * high[None, :]
    return np.minimum(first, second), np.maximum(first, second)


_TRIED = 1 << 10


@lru_cache(maxsize=1 << 16)
def _masked_range(mask: int, low: int, high: int) -> tuple[int, int]:
    """Return least and greatest x & mask for low ≤ x ≤ high, low ≥ 0; beyond 1024 values of x a range that holds them."""
    if high - low < _TRIED:
        values = [x & mask for x in range(low, high + 1)]
        return min(values), max(values)
    return 0, mask & ((1 << high.bit_length()) - 1)


def _table_ranges(arithmetic: ApproximateMultiplier, weights: np.ndarray, table: np.ndarray, operand: Range) -> Range:
    least, greatest = np.empty(weights.shape, dtype=object), np.empty(weights.shape, dtype=object)
    rows = (weights % (1 << arithmetic.weight_bits)).astype(np.int64)
    for i, (low, high) in enumerate(zip(operand[0].tolist(), operand[1].tolist())):
        # one code a column: no more than all columns are ever reached
        count = min(high - low + 1, table.shape[1])
        columns = (np.arange(count) + low % table.shape[1]) % table.shape[1]
        part = table[np.ix_(rows[:, i], columns)]
        least[:, i], greatest[:, i] = part.min(axis=1), part.max(axis=1)
    return least, greatest


def _full(count: int, value: int) -> np.ndarray:
    return np.full(count, value, dtype=object)


def clip_codes(x: np.ndarray, low: Any, high: Any) -> np.ndarray:
    """Return min(max(x, low), high); a bound of None does not bind."""
    x = x if low is None else np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def requantize_codes(op: Requantize, x: np.ndarray) -> np.ndarray:
    """Return ``Requantize`` of integer codes x (… × elements); shifts of negative numbers round towards −∞."""
    multiplier = np.array(op.multiplier, dtype=x.dtype)
    offset = np.array(op.offset, dtype=x.dtype)
    return np.minimum(np.maximum((multiplier * x + offset) >> op.shift, op.low), op.high)
