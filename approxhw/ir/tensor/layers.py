"""The matrix products of a tensor Graph as layers of an engine: sizes, arithmetic, and Graphs with another arithmetic."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Constant
from approxhw.ir.kinds.tensor.blocks import Sizes
from approxhw.ir.kinds.tensor.ops import Conv, ConvTranspose, Gemm, MatMul
from approxhw.ir.kinds.tensor.ops import Product as ProductOp
from approxhw.ir.kinds.tensor.products import operand_sizes, product_of
from approxhw.numerics.eight_bit.port_codes import EngineCodes, lane_problems
from approxhw.numerics.formats import Float
from approxhw.numerics.mac.arithmetic import FloatMac
from approxhw.numerics.mac.float_mac import Result


@dataclass(frozen=True)
class ProductLayer:
    """A product that runs on the engine, at the sizes the model was opened with: ``count`` times M × K by K × N."""

    name: str
    op: str
    count: int
    m: int
    k: int
    n: int
    weights: bool
    """Whether one of its operands is the same in every run."""

    @property
    def products(self) -> int:
        """Return how many multiply-adds that is."""
        return self.count * self.m * self.k * self.n


def product_nodes(graph: Graph) -> tuple[Node, ...]:
    """Return the Nodes that an engine can carry out: products of floating-point numbers, in order."""
    return tuple(node for node in graph.nodes if _op(node) is not None and isinstance(node.type.format, Float))


def product_layers(graph: Graph) -> tuple[ProductLayer, ...]:
    """Return the products of *graph* in order, at the sizes of its types."""
    found = []
    for node in product_nodes(graph):
        op = _op(node)
        assert op is not None
        sizes = product_sizes(graph, node)
        weights = any(isinstance(graph[name].op, Constant) for name in node.inputs[:2])
        found.append(ProductLayer(op.title, type(op).__name__, sizes.count, sizes.m, sizes.k, sizes.n, weights))
    return tuple(found)


def product_sizes(graph: Graph, node: Node) -> Sizes:
    """Return the sizes of the product *node* at the sizes of its operands' types."""
    op = _op(node)
    assert op is not None
    product = product_of(op, node.inputs, node.origin)
    return operand_sizes(product, [graph[name].type.shape for name in node.inputs])


def macs_of(graph: Graph) -> dict[str, FloatMac | None]:
    """Return the arithmetic of every layer by its name; None where it runs on the host."""
    return {op.title: op.arithmetic for op in map(_op, product_nodes(graph)) if op is not None}


def codes_of_ports(graph: Graph) -> EngineCodes | None:
    """Return the 8-bit codes of the ports, which are those of every layer; None where they carry numbers."""
    found = {op.codes for op in map(_op, product_nodes(graph)) if op is not None}
    return found.pop() if len(found) == 1 else None


def with_macs(graph: Graph, mac: FloatMac | None, layers: Mapping[str, FloatMac | None] | None = None) -> Graph:
    """Return *graph* with *mac* for every product, and *layers* for those of these names; None: on the host.

    Raises :class:`OptionError` for names that no product has, and for what is no arithmetic.
    """
    if layers is not None and not isinstance(layers, Mapping):
        why = f"{shown(repr(layers), 80)} is no dict"
        raise OptionError("matrix engine", [Problem("layers", why, "give a FloatMac, or None, by the name of a layer")])
    chosen = layers or {}
    known = list(macs_of(graph))
    problems = []
    for name, given in chosen.items():
        if name not in known:
            problems.append(Problem(f"layer {shown(name)!r}", "the model has no such product", near(name, known)))
        if given is not None and not isinstance(given, FloatMac):
            problems.append(Problem(f"layer {shown(name)!r}", f"{shown(repr(given))} is neither a FloatMac nor None"))
    if mac is not None and not isinstance(mac, FloatMac):
        problems.append(Problem("mac", f"{shown(repr(mac))} is neither a FloatMac nor None"))
    if problems:
        raise OptionError("matrix engine", problems)
    return _changed(graph, lambda op: replace(op, arithmetic=chosen.get(op.title, mac)))


def with_codes(graph: Graph, codes: EngineCodes | None) -> Graph:
    """Return *graph* with *codes* on the ports of every product; raise :class:`OptionError` where a format has none."""
    formats = dict.fromkeys(mac.format for mac in macs_of(graph).values() if mac is not None)
    if problems := [problem for format in formats for problem in lane_problems(codes, 1, format)]:
        raise OptionError("matrix engine", problems)
    return _changed(graph, lambda op: replace(op, codes=codes))


def with_result(graph: Graph, result: str) -> Graph:
    """Return *graph* with products that leave a column as *result*: float32 or bf16."""
    if result not in ("bf16", "float32"):
        why = f"{shown(repr(result))} is no result"
        raise OptionError("matrix engine", [Problem("result", why, "choose bf16 or float32")])
    chosen: Result = "bf16" if result == "bf16" else "float32"
    return _changed(graph, lambda op: replace(op, result=chosen))


def near(name: str, known: Sequence[str]) -> str:
    """Return a hint for who asked for product *name*, which is not among those *known*."""
    found = difflib.get_close_matches(str(name), known, 1)
    return f"did you mean {shown(found[0])!r}?" if found else f"its products are {shown(', '.join(known), 300)}"


def _op(node: Node) -> ProductOp | None:
    return node.op if isinstance(node.op, MatMul | Gemm | Conv | ConvTranspose) else None


def _changed(graph: Graph, change: Callable[[ProductOp], ProductOp]) -> Graph:
    floats = {node.name for node in product_nodes(graph)}
    nodes = []
    for node in graph.nodes:
        op = _op(node)
        nodes.append(node if op is None or node.name not in floats else replace(node, op=change(op)))
    return replace(graph, nodes=tuple(nodes))
