"""The pass that holds weights, and activations at layer borders, as 8-bit codes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem
from approxhw.ir.chain import feeds_layers, is_activation
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph, Node, ranges, renamed_inputs
from approxhw.ir.interpreter import run_all
from approxhw.ir.kinds import Constant, Decode, Dense, Encode, Type
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import code_array, fit_formats, fresh_name
from approxhw.ir.tensor.layers import with_codes
from approxhw.numerics.eight_bit.choose import BUDGET, choose_formats, loss_of
from approxhw.numerics.eight_bit.codes import Compressed, EightBit, make
from approxhw.numerics.eight_bit.port_codes import EngineCodes
from approxhw.numerics.eight_bit.tables import KINDS
from approxhw.numerics.eight_bit_words import calibrated
from approxhw.numerics.formats import Fixed, Float, fixed_for
from approxhw.numerics.mac.arithmetic import Exact

AUTO = "auto"


@dataclass(frozen=True)
class Compress:
    """Hold weights, and if asked for activations between layers, as 8-bit codes with a maximum for each tensor or block.

    Weights of exact layers become codes that are decoded into the format they had; those of masked and tabulated layers
    stay. *code* ``auto`` picks code and block of every weight by its error, with at most *budget* bits a weight. An
    activation is encoded behind ``Relu``, ``Clip`` or ``Requantize`` and decoded in front of the layer; its maxima are the
    greatest magnitudes on training rows (without rows: that its range allows), and what exceeds them saturates. With
    *correct*, biases then take up by how much each sum's mean over training rows has moved, layer after layer.
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True

    code: str = field(default="dynamic8", metadata={"help": f"{', '.join(KINDS)}, or {AUTO}"})
    block: int | None = field(
        default=None, metadata={"help": "values that share a maximum, 64 to 4096; all by default"}
    )
    max: str = field(default="exact", metadata={"help": "exact, or pow2: rounded up to a power of two"})
    weights: bool = field(default=True, metadata={"help": "compress weights"})
    activations: bool = field(default=False, metadata={"help": "compress activations at layer borders"})
    correct: bool = field(
        default=False, metadata={"help": "move biases so that sums keep their means on training rows"}
    )
    budget: float = field(default=BUDGET, metadata={"help": "bits a weight that auto may take, maxima included"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        found = []
        try:
            make("dynamic8" if self.code == AUTO else self.code, self.block, self.max)
        except OptionError as error:
            found += [replace(problem, where=f"compress.{problem.where}") for problem in error.problems]
        if self.code == AUTO and self.block is not None:
            found.append(Problem("compress.block", "auto picks the block of every weight", "leave it out"))
        if not 8 <= self.budget <= 64:
            found.append(Problem("compress.budget", f"{self.budget:g} is not in 8…64 bits"))
        if not (self.weights or self.activations):
            found.append(Problem("compress", "neither weights nor activations", "leave one of them on"))
        if found:
            raise OptionError("compress", found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with codes in place of what it held; products of tensors read them over the ports of an engine."""
        if graph.is_tensor:
            return self._ports(graph, context)
        if any(node.is_float and not isinstance(node.type.format, Float) for node in graph.nodes):
            why = "8-bit codes stand for floating or fixed point, not for fractions"
            raise PassError("pass compress", [Problem(graph.name, why)])
        before = graph
        if self.weights:
            graph = self._weights(graph, context)
        if self.activations:
            graph = self._activations(graph, context)
        graph = fit_formats(graph, widen_only=True)
        return _corrected(before, graph, context) if self.correct else graph

    def _ports(self, graph: Graph, context: PassContext) -> Graph:
        found = [
            Problem(f"compress.{name}", "a product of tensors has no sums whose means are known", "leave it out")
            for name in ("correct",)
            if self.correct
        ]
        try:
            codes = EngineCodes(self.code, self.block, "pow2", self.weights, self.activations)
        except OptionError as error:
            found += error.problems
        if found:
            raise OptionError("compress", found)
        sides = [name for name, there in (("weights", self.weights), ("activations", self.activations)) if there]
        context.note(f"{' and '.join(sides)} of products: {codes.format}, maxima rounded up to powers of two")
        return with_codes(graph, codes)

    def _weights(self, graph: Graph, context: PassContext) -> Graph:
        held, left = _weight_names(graph)
        if left:
            context.note(f"left as they are: {', '.join(left)} (not of an exact layer)")
        if not held:
            context.note("no weights to compress")
            return graph
        real = {name: _real(graph[name], graph.constant(name)) for name in held}
        if self.code == AUTO:
            packed = choose_formats(real, self.budget, maximum=self.max)
        else:
            code = make(self.code, self.block, self.max)
            packed = {name: code.encode(x, ragged=True, name=name) for name, x in real.items()}
        before = after = 0
        for name, tensor in packed.items():
            graph, bits = _coded(graph, name, tensor)
            before, after = before + bits, after + tensor.bits
            loss = loss_of(real[name], _real(graph[name], graph.constant(name)))
            context.note(f"{name}: {tensor.format}, {bits} bits became {tensor.bits}; {loss}")
        context.note(f"weights: {before} bits became {after}, {_saved(before, after)}")
        return graph

    def _activations(self, graph: Graph, context: PassContext) -> Graph:
        names = [node.name for node in graph.nodes if _is_border(graph, node)]
        if not names:
            context.note("no activation stands at a border between layers")
            return graph
        code = make("dynamic8" if self.code == AUTO else self.code, self.block, self.max)
        values = self._on_rows(graph, names, context)
        for name in names:
            node, x = graph[name], values[name]
            encode, bits = _bordered(graph, node, code, np.abs(x).max(axis=0))
            graph = _behind(graph, name, encode)
            decoded = run_all(graph, _rows(graph, context))[encode[1].name] if context.data is not None else None
            told = "" if decoded is None else f"; {loss_of(x, _real(graph[encode[1].name], decoded).reshape(x.shape))}"
            wires = 8 * node.type.elements
            context.note(f"{name}: {code}, {bits} wires became {wires}, {_saved(bits, wires)}{told}")
        return graph

    def _on_rows(self, graph: Graph, names: Iterable[str], context: PassContext) -> dict[str, np.ndarray]:
        """Return real values (rows × elements) on training rows; without rows the two ends of every range."""
        rows = _rows(graph, context)
        if len(rows):
            found = run_all(graph, rows)
            return {name: _real(graph[name], found[name]).reshape(len(rows), -1) for name in names}
        if not graph.is_integer:
            why = "the greatest activations of a real-valued Graph come from training rows, and there are none"
            raise PassError("pass compress", [Problem(graph.name, why, "give --data, or compress weights only")])
        known = ranges(graph)
        return {name: np.stack([_real(graph[name], end) for end in known[name]]) for name in names}


def _corrected(before: Graph, graph: Graph, context: PassContext) -> Graph:
    """Return *graph* with the biases with which every sum has the mean over training rows that it had *before*."""
    rows = _rows(before, context)
    if not len(rows):
        why = "means of sums come from training rows, and there are none"
        raise PassError("pass compress", [Problem(before.name, why, "give --data, or leave correct out")])
    wanted = run_all(before, rows)
    for node in before.nodes:
        if not isinstance(node.op, Dense):
            continue
        bias = graph[node.inputs[2]]
        if not isinstance(bias.op, Constant) or len(graph.readers(bias.name)) > 1:
            context.note(f"{bias.name}: not corrected, as others read it too")
            continue
        # codes and reals alike: both sums have the scale that they had
        moved = (wanted[node.name] - run_all(graph, rows)[node.name]).astype(np.float64).mean(axis=0)
        if isinstance(bias.type.format, Fixed):
            data = code_array(bias.op.data.astype(object) + np.array([round(value) for value in moved], dtype=object))
        else:
            data = bias.op.data + moved
        graph = fit_formats(_replaced(graph, {bias.name: (replace(bias, op=Constant(data)),)}), widen_only=True)
    return graph


def _rows(graph: Graph, context: PassContext) -> np.ndarray:
    if context.data is None:
        return np.empty((0, graph.input.type.elements))
    return codes_of(graph, context.data.X_train)


def _saved(before: int, after: int) -> str:
    return f"{before - after} saved" if after <= before else f"{after - before} more"


def _weight_names(graph: Graph) -> tuple[list[str], list[str]]:
    """Return the Constants that are weights of exact layers, and those of other layers."""
    held: dict[str, None] = {}
    left: dict[str, None] = {}
    for node in graph.nodes:
        if isinstance(node.op, Dense):
            exact = node.op.arithmetic is None or isinstance(node.op.arithmetic, Exact)
            fit = exact and isinstance(graph[node.inputs[1]].op, Constant)
            (held if fit else left)[node.inputs[1]] = None
    return [name for name in held if name not in left], list(left)


def _real(node: Node, data: np.ndarray) -> np.ndarray:
    """Return the real values (float64) of *data*, codes of *node*'s format or real values already."""
    fmt = node.type.format
    if not isinstance(fmt, Fixed):
        return np.asarray(data, dtype=np.float64)
    return (data - fmt.zero).astype(np.float64) * float(fmt.scale)


def _coded(graph: Graph, name: str, tensor: Compressed) -> tuple[Graph, int]:
    """Return *graph* with weight *name* as codes and a ``Decode`` of that name, and the bits that it took before."""
    node = graph[name]
    fmt, count = node.type.format, node.type.elements
    codes = fresh_name(graph, f"{name}_codes")
    held = Node(codes, Constant(tensor.codes.astype(np.int64)), (), Type(node.type.shape, tensor.format), node.origin)
    wide = replace(fmt, bits=fmt.bits + 2, signed=True) if isinstance(fmt, Fixed) else fmt
    decode = Node(name, Decode(tuple(tensor.maxima.tolist())), (codes,), Type(node.type.shape, wide), node.origin)
    result = _replaced(graph, {name: (held, decode)})
    if not isinstance(fmt, Fixed):
        single = np.array_equal(graph.constant(name), graph.constant(name).astype(np.float32))
        return result, (32 if single else 64) * count
    # a code may lie a little beyond the greatest weight: the layer's multiplier gets the bits that it needs
    data = result.constant(name)
    needed = fixed_for(min(0, int(data.min())), max(0, int(data.max()))).bits + (int(data.min()) >= 0)
    kept = replace(fmt, bits=max(fmt.bits, needed), signed=True)
    layers = {
        layer.name: (replace(layer, op=Dense(Exact(max(layer.op.arithmetic.bits, needed)))),)
        for layer in graph.readers(name)
        if isinstance(layer.op, Dense) and isinstance(layer.op.arithmetic, Exact)
    }
    return _replaced(result, {name: (replace(decode, type=Type(node.type.shape, kept)),), **layers}), fmt.bits * count


def _replaced(graph: Graph, nodes: dict[str, tuple[Node, ...]]) -> Graph:
    return replace(graph, nodes=tuple(new for node in graph.nodes for new in nodes.get(node.name, (node,))))


def _is_border(graph: Graph, node: Node) -> bool:
    """Whether *node* is the last of what follows a layer, element by element, and another layer reads it."""
    return is_activation(node) and feeds_layers(graph, node)


def _bordered(graph: Graph, node: Node, code: EightBit, magnitudes: np.ndarray) -> tuple[tuple[Node, Node], int]:
    """Return the two Nodes that follow *node*, and the bits that its value took before."""
    fmt, shape = node.type.format, node.type.shape
    maxima = calibrated(code, magnitudes)
    names = fresh_name(graph, f"{node.name}_codes"), fresh_name(graph, f"{node.name}_decoded")
    encode = Node(names[0], Encode(maxima), (node.name,), Type(shape, code), node.origin)
    # the widest that any code can decode to; fit_formats narrows it
    top = Fraction(max(maxima)) / fmt.scale * 256 if isinstance(fmt, Fixed) else 0
    made = replace(fmt, bits=int(top).bit_length() + 16, signed=True) if isinstance(fmt, Fixed) else fmt
    decode = Node(names[1], Decode(maxima), (names[0],), Type(shape, made), node.origin)
    return (encode, decode), (fmt.bits if isinstance(fmt, Fixed) else 32) * node.type.elements


def _behind(graph: Graph, name: str, added: tuple[Node, Node]) -> Graph:
    """Return *graph* with *added* behind *name*, read by all that read it."""
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes.append(renamed_inputs(node, {name: added[1].name}) if name in node.inputs else node)
        if node.name == name:
            nodes += added
    return fit_formats(replace(graph, nodes=tuple(nodes)))
