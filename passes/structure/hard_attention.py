"""The pass that keeps the few largest weights of attention in every row, where the loss does not rise."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem
from approxhw.ir.graph import Graph, Node, identifier
from approxhw.ir.kinds.tensor.ops import Host, MatMul
from approxhw.ir.pass_manager import PassContext
from approxhw.numerics.formats import Float

from .ground.layers import ground_of
from .ground.losses import judge_of, mean_loss
from .ground.operators import OPSET, host_operator

_NAME = "hard-attention"
_LEAST_OPSET = 11
"""From which on every operator that it needs reads its bounds as operands."""
_HARD = ("Shape", "Slice", "Less", "Where", "Sub", "TopK", "Slice", "Less", "Where", "Softmax")
"""Operators of rows that keep their largest weights alone."""
_BETWEEN = frozenset(["Cast", "Dropout", "Identity", "Where", "Mul"])
"""Operators that may stand between chances and the product that reads them."""
_FARTHEST = 4


@dataclass(frozen=True)
class HardAttention:
    """Keep the *k* largest weights of attention in each row, and give none to the others; their sum stays 1.

    The deepest layer first: a layer keeps its few where the loss on calibration rows is at most (1 + *max_rise*) times the
    least so far; with 0, it can only help. Of weights that are as large as the last one kept, all stay. No clock is saved on
    arrays that multiply by zero like by anything else: it is told how many products one that skips zeros would be spared.
    Source: AxFormer (arXiv 2010.03688).
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True
    reshapes: ClassVar[bool] = True
    """It puts other operators into a whole model, by what training rows tell."""

    k: int = field(default=16, metadata={"help": "weights of a row that stay"})
    max_rise: float = field(default=0.0, metadata={"help": "of the loss, against the least so far, such as 2%"})

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        found = []
        if self.k < 1:
            found.append(Problem(f"{_NAME}.k", f"{self.k} leaves no weight in a row", "give 1 or more"))
        if not 0 <= self.max_rise <= 1:
            found.append(Problem(f"{_NAME}.max_rise", f"{self.max_rise} is not in 0…1", "give a share such as 2%"))
        if found:
            raise OptionError(_NAME, found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* whose attention looks at fewer places."""
        ground = ground_of(context, _NAME)
        whole = ground.reshaping.apart(graph)
        names = attention_rows(whole)
        if not names:
            why = "no Softmax makes the rows of a product of two computed values: it has no attention"
            raise PassError(f"pass {_NAME}", [Problem("model", why, "leave the pass out")])
        longer = [name for name in names if whole[name].type.shape[-1] > self.k]
        if not longer:
            longest = max(whole[name].type.shape[-1] for name in names)
            why = f"no row of attention has more than {longest} weights, and {self.k} may stay"
            raise PassError(f"pass {_NAME}", [Problem(f"{_NAME}.k", why, f"give k below {longest}")])
        judge = judge_of(context, whole, ground.observe)
        first = least = loss = mean_loss(judge, whole)
        made, spared, hard = whole, 0.0, 0
        for done, name in enumerate(reversed(longer)):
            tried = ground.reshaping.typed(with_fewest(made, name, self.k))
            seen = mean_loss(judge, tried)
            if seen <= (1 + self.max_rise) * least:
                made, loss, least, hard = tried, seen, min(least, seen), hard + 1
                spared += 1 - self.k / whole[name].type.shape[-1]
            if context.on_progress is not None:
                context.on_progress("harden attention", done + 1, len(longer))
        context.note(
            f"{hard} of {len(names)} layers look at {self.k} places alone; loss {first:.4g}, now {loss:.4g}. No clock is saved: "
            f"an array that skips zeros would be spared up to {spared / len(names):.0%} of the products with attention's weights"
        )
        return made if hard else graph


def attention_rows(graph: Graph) -> list[str]:
    """Return the Softmax Nodes of *graph* (one operator a Host Node) whose rows a product of computed values reads, in order."""
    readers: dict[str, list[Node]] = {node.name: [] for node in graph.nodes}
    for node in graph.nodes:
        for name in dict.fromkeys(node.inputs):
            readers[name].append(node)
    computed: set[str] = set()
    for node in graph.nodes:
        if node.kind == "feed" or any(name in computed for name in node.inputs):
            computed.add(node.name)

    def reaches(name: str, steps: int) -> bool:
        return any(
            (isinstance(reader.op, MatMul) and reader.inputs[0] == name and reader.inputs[1] in computed)
            or (steps and _passes_on(reader) and reaches(reader.name, steps - 1))
            for reader in readers[name]
        )

    return [node.name for node in graph.nodes if _is_row_softmax(node) and reaches(node.name, _FARTHEST)]


def _passes_on(node: Node) -> bool:
    return isinstance(node.op, Host) and set(node.op.operators) <= _BETWEEN


def _is_row_softmax(node: Node) -> bool:
    """Whether *node* makes chances of the last axis of real numbers."""
    if not isinstance(node.op, Host) or node.op.operators != ("Softmax",) or not isinstance(node.type.format, Float):
        return False
    found = host_operator(node)
    if found is None or len(node.inputs) != 1 or not node.type.shape:
        return False
    attributes, rank = found[1], len(node.type.shape)
    axis = int(attributes.get("axis", -1 if attributes[OPSET] >= 13 else 1))
    return attributes[OPSET] >= _LEAST_OPSET and axis % rank == rank - 1


def with_fewest(graph: Graph, name: str, k: int) -> Graph:
    """Return *graph* whose Softmax *name* sees minus infinity for all but the *k* largest scores of each row."""
    op = graph[name].op
    assert isinstance(op, Host)
    hard = Host(_program(op.program, k), op.makes, _HARD)
    nodes = tuple(replace(node, op=hard) if node.name == name else node for node in graph.nodes)
    return replace(graph, nodes=nodes)


def _program(program: bytes, k: int) -> bytes:
    """Return the ONNX *program* of one Softmax behind a threshold: the k-th largest score of each row."""
    from onnx import ModelProto, NodeProto, helper, numpy_helper

    made = ModelProto.FromString(program)
    soft = NodeProto.FromString(made.graph.node[0].SerializeToString())
    scores, taken = soft.input[0], {soft.input[0], *soft.output}
    element = made.graph.input[0].type.tensor_type.elem_type

    def fresh(base: str) -> str:
        name = identifier(base, taken)
        taken.add(name)
        return name

    def held(base: str, value: np.ndarray) -> str:
        made.graph.initializer.append(numpy_helper.from_array(value, fresh(base)))
        return made.graph.initializer[-1].name

    ends = held("back", np.array([-1])), held("end", np.array([np.iinfo(np.int64).max]))
    most, one = held("most", np.array([k])), held("one", np.array([1]))
    nothing = held("nothing", np.array(-np.inf, helper.tensor_dtype_to_np_dtype(element)))
    sizes, length, fewer, count, first = (fresh(each) for each in ("sizes", "length", "fewer", "count", "first"))
    largest, bound, below, soft.input[0] = (fresh(each) for each in ("largest", "bound", "below", "few"))
    del made.graph.node[:]
    made.graph.node.extend(
        [
            helper.make_node("Shape", [scores], [sizes]),  # rows may be shorter where their length is open
            helper.make_node("Slice", [sizes, *ends], [length]),
            helper.make_node("Less", [length, most], [fewer]),
            helper.make_node("Where", [fewer, length, most], [count]),
            helper.make_node("Sub", [count, one], [first]),
            helper.make_node("TopK", [scores, count], [largest, fresh("places")], axis=-1),
            helper.make_node("Slice", [largest, first, count, ends[0]], [bound]),
            helper.make_node("Less", [scores, bound], [below]),
            helper.make_node("Where", [below, nothing, scores], [soft.input[0]]),
            soft,
        ]
    )
    return made.SerializeToString(deterministic=True)
