"""The intermediate representation: Graph, Node, the registry of their kinds, exact ranges and names.

``docs/ir.md`` says what each of them means, ``approxhw/ir/kinds`` holds the rules of each kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from approxhw.common.arguments import settle_fields, told
from approxhw.common.errors import GraphError, Problem, shown
from approxhw.common.options import suggestion
from approxhw.numerics.formats import EightBit, Fixed

from . import kinds
from .kinds import (
    Add,
    Affine,
    ArgMax,
    Binarize,
    Clip,
    Concat,
    Constant,
    Conv,
    ConvInteger,
    ConvTranspose,
    Decode,
    Dense,
    DequantizeLinear,
    Encode,
    Feed,
    Forest,
    Gates,
    Gemm,
    HardSwish,
    Host,
    Input,
    LeakyRelu,
    Lookup,
    MatMul,
    MatMulInteger,
    Operand,
    Part,
    PRelu,
    QuantizeLinear,
    Range,
    Relu,
    Requantize,
    Rescale,
    Reshape,
    SomeKind,
    Threshold,
    ThresholdedRelu,
    Transpose,
    Type,
)

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


Op = (
    Input
    | Constant
    | Dense
    | Affine
    | Relu
    | LeakyRelu
    | PRelu
    | Clip
    | ThresholdedRelu
    | HardSwish
    | Requantize
    | Lookup
    | ArgMax
    | Threshold
    | Binarize
    | Reshape
    | Concat
    | Add
    | Encode
    | Decode
    | Forest
    | Gates
    | Feed
    | MatMul
    | Gemm
    | Conv
    | ConvTranspose
    | Transpose
    | Host
    | Part
    | QuantizeLinear
    | DequantizeLinear
    | MatMulInteger
    | ConvInteger
    | Rescale
)

KINDS: dict[str, SomeKind] = {kind.keyword: kind for kind in (*kinds.KINDS, *kinds.TENSOR_KINDS)}
"""Keyword of the text form → kind: the registry. A new family of kinds is added here."""

_BY_CLASS = {kind.op: kind for kind in KINDS.values()}


def kind_of(op: object) -> SomeKind:
    """Return the rules of *op*; raise ``TypeError`` where it is no op of a registered kind."""
    kind = _BY_CLASS.get(type(op))
    if kind is None:
        raise TypeError(f"{type(op).__name__} is no kind of Node")
    return kind


def is_legal(op: object) -> bool:
    """Whether *op* is of a registered kind."""
    return type(op) in _BY_CLASS


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
        return self.type.is_float


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

    def __post_init__(self) -> None:
        """Refuse what is no list of Nodes at all; the verifier looks at everything else."""
        texts = all(isinstance(text, str) for text in (self.name, self.output, self.source))
        rows = all(isinstance(row, tuple) for row in (self.nodes, self.labels, self.results))
        if not (texts and rows and all(isinstance(node, Node) for node in self.nodes)):
            settle_fields(self, "Graph")  # passes make many Graphs: the long look is for what is wrong at a glance

    def __getitem__(self, name: str) -> Node:
        """Return the Node called *name*; raise :class:`GraphError` where there is none."""
        try:
            return self.by_name[name]
        except (KeyError, TypeError):
            raise self._unknown(name) from None

    def _unknown(self, name: object) -> GraphError:
        near = suggestion(str(name), list(self.by_name)[:1000])
        return GraphError(
            f"Graph {shown(self.name)}", [Problem("name", f"there is no value {shown(told(name))}{near}")]
        )

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
        if isinstance(node.op, Constant):
            return True
        kind = _BY_CLASS.get(type(node.op))
        return kind is not None and kind.folds and bool(node.inputs) and all(map(self.is_constant, node.inputs))

    def constant(self, name: str) -> np.ndarray:
        """Return the data of the Constant called *name*, or what a Decode of that name makes of one (made once a Graph)."""
        node = self[name]
        if isinstance(node.op, Constant):
            return node.op.data
        if not self.is_constant(name):
            why = "it is computed, and no Constant"
            raise GraphError(f"Graph {shown(self.name)}", [Problem(f"value {shown(name)}", why)])
        known: dict[str, np.ndarray] = self.__dict__.get("_decoded", {})
        if name not in known:
            kind = kind_of(node.op)
            operands = tuple(self.operand(read) for read in node.inputs)
            values = tuple(operand.data[None] for operand in operands[: kind.rows])
            meaning = kind.on_reals if node.is_float else kind.on_codes
            data = meaning(node.op, values, operands, self.outline(name))[0]
            data.flags.writeable = False
            known[name] = data
            object.__setattr__(self, "_decoded", known)
        return known[name]

    def outline(self, name: str) -> Operand:
        """Return name, kind and Type of the value *name* for rules that need no more (made once a Graph)."""
        made: dict[str, Operand] | None = self.__dict__.get("_outlines")
        if made is None:
            made = {node.name: Operand(node.name, node.kind, node.type) for node in self.nodes}
            object.__setattr__(self, "_outlines", made)
        try:
            return made[name]
        except (KeyError, TypeError):
            raise self._unknown(name) from None

    def operand(self, name: str, known: Mapping[str, Range] | None = None) -> Operand:
        """Return what rules may know of the value *name*: its data where it is constant, its range where it is *known*."""
        made: dict[str, Operand] = self.__dict__.get("_operands", {})
        if not made:
            object.__setattr__(self, "_operands", made)
        operand = made.get(name) if isinstance(name, str) else None
        if operand is None:
            operand = self.outline(name)
            if self.is_constant(name):
                operand = operand._replace(constant=self.constant(name))
            made[name] = operand
        found = known.get(name) if known is not None else None
        return operand if found is None else Operand(*operand[:4], found)

    def readers(self, name: str) -> tuple[Node, ...]:
        """Return every Node that reads *name*, in order; raise :class:`GraphError` where there is no such value."""
        if not isinstance(name, str) or name not in self.by_name:
            raise self._unknown(name)
        return tuple(node for node in self.nodes if name in node.inputs)

    @property
    def is_integer(self) -> bool:
        """Whether every value is ``Fixed`` or an 8-bit code: a Graph that hardware can carry out."""
        return not self.is_tensor and all(isinstance(node.type.format, Fixed | EightBit) for node in self.nodes)

    @property
    def classes(self) -> int:
        """Number of classes that the output can name."""
        node = self[self.output]
        count = kind_of(node.op).classes if is_legal(node.op) else None
        return count(node.op, self[node.inputs[0]].type) if count is not None else 0


def arity(op: Op) -> int:
    """Return how many inputs a Node of this *op* has."""
    return kind_of(op).arity(op) if is_legal(op) else 1


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


def ranges(graph: Graph) -> dict[str, Range]:
    """Return the exact range of every ``Fixed`` value, element by element; of a tensor Graph nothing (``docs/ir.md``)."""
    known: dict[str, Range] = {}
    if graph.is_tensor:
        return known
    for node in graph.nodes:
        if has_range(node, known):
            known[node.name] = range_of(graph, node, known)
    return {name: interval for name, interval in known.items() if isinstance(graph[name].type.format, Fixed)}


def has_range(node: Node, known: Mapping[str, Range]) -> bool:
    """Whether *node* makes codes whose range follows from those *known*: of what it reads."""
    if isinstance(node.type.format, Fixed):
        return True
    encodes = is_legal(node.op) and kind_of(node.op).makes_eight_bit
    return encodes and all(name in known for name in node.inputs)


def range_of(graph: Graph, node: Node, known: Mapping[str, Range]) -> Range:
    """Return the range of one value of codes; *known*: those of the values above it (``Fixed`` ones may read real values)."""
    kind = kind_of(node.op)
    operands = tuple(graph.operand(name, known) for name in node.inputs)
    return kind.range(node.op, operands, graph.operand(node.name) if kind.folds else graph.outline(node.name))
