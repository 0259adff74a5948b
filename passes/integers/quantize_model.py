"""The pass that gives the numbers of a float model 8-bit codes: weights by their own range, activations by what rows show."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds.tensor.integers import ConvInteger, DequantizeLinear, MatMulInteger, QuantizeLinear
from approxhw.ir.kinds.tensor.ops import Conv, Gemm, MatMul
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.tensor.integer_layers import held
from approxhw.numerics.formats import Float, format_of

from ._editing import Editor, codes_behind, is_fixed
from ._mean_shifts import with_float_means
from ._ranges import RANGES, Range, observed_ranges

ALL = "all"


@dataclass(frozen=True)
class QuantizeModel:
    """Give numbers 8-bit codes: symmetric ones to weights, unsigned ones to activations, by the ranges of training rows.

    Every product with constant weights reads codes of its activations (one scale) and of its weights (a scale a column, or
    one); what has codes of its own keeps them. *products* ``all``: products of two activations, too. *ranges*: ``minmax``;
    ``mse``, the range of least squared error; ``entropy``, that of least divergence of the distributions (as TensorRT has it).
    *bias_correction*: one run over the rows for each product, worth it where weights have few bits. Behind it stands
    integer-products.
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True

    weight_bits: int = field(default=8, metadata={"help": "bits of weights, 2 to 8"})
    ranges: str = field(default="mse", metadata={"help": f"of activations: {', '.join(RANGES)}", "choices": RANGES})
    per_channel: bool = field(default=True, metadata={"help": "a scale for each column of weights"})
    products: str = field(
        default="weights", metadata={"help": "with constant weights, or all", "choices": ("weights", ALL)}
    )
    layers: str = field(
        default=ALL, metadata={"help": "names or patterns of products apart by ':', such as /encoder/*; all"}
    )
    bias_correction: bool = field(
        default=False, metadata={"help": "take what codes do to the mean of each product into its bias"}
    )
    again: bool = field(default=False, metadata={"help": "leave a model that has codes already as it is"})

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        found = []
        if not 2 <= self.weight_bits <= 8:
            found.append(Problem("quantize-model.weight_bits", f"{self.weight_bits} does not lie in 2…8"))
        for name, value, known in (
            ("ranges", self.ranges, RANGES),
            ("products", self.products, ("weights", ALL)),
        ):
            if value not in known:
                why = f"{shown(repr(value), 40)} is not one of {', '.join(known)}"
                found.append(Problem(f"quantize-model.{name}", why, f"choose {' or '.join(known)}"))
        if found:
            raise OptionError("quantize-model", found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with codes in front of its products."""
        chosen = self._chosen(graph)
        self._check_names(graph)
        if not chosen:
            if self.again and any(
                isinstance(node.op, DequantizeLinear | MatMulInteger | ConvInteger) for node in graph.nodes
            ):
                context.note("it is quantised already: its codes stay")
                return graph
            raise PassError("pass quantize-model", self._reasons(graph))
        names = list(dict.fromkeys(name for node in chosen for name in _activations(graph, node)))
        known: Mapping[str, Range] = {}
        if names and context.observe is None:
            why = "activations get their ranges from rows, and there are none"
            raise PassError("pass quantize-model", [Problem("data", why, "give --data with training rows")])
        if names and context.observe is not None:
            known = observed_ranges(graph, names, self.ranges, context.observe)
        editor, made = Editor(graph), dict[str, str]()
        for node in graph.nodes:
            if node in chosen:
                node = self._with_codes(editor, graph, node, known, made)
            editor.nodes.append(node)
        kept = sum(_has_codes(graph, node, place) for node in chosen for place in (0, 1))
        own = f"; operands with codes of their own: {kept}" if kept else ""
        context.note(f"{len(chosen)} products, {len(names)} activations: ranges by {self.ranges}{own}")
        coded = editor.done()
        if self.bias_correction and context.observe is not None:
            coded, moved = with_float_means(graph, coded, [node.name for node in chosen], context.observe)
            context.note(f"{moved} biases corrected")
        return coded

    def _check_names(self, graph: Graph) -> None:
        """Raise :class:`PassError` for names and patterns of layers that no product has."""
        titles = [node.op.title for node in graph.nodes if isinstance(node.op, Conv | MatMul | Gemm)]
        asked = [] if self.layers == ALL else self.layers.split(":")
        unknown = [each for each in asked if each not in titles and not fnmatch.filter(titles, each)]
        if unknown:
            some = ", ".join(shown(title, 40) for title in titles[:8])
            remedy = f"there are {some}{', …' if len(titles) > 8 else ''}" if titles else "it may be quantised already"
            found = [Problem("layers", f"no product is called {shown(repr(each), 60)}", remedy) for each in unknown]
            raise PassError("pass quantize-model", found)

    def _chosen(self, graph: Graph) -> list[Node]:
        return [
            node
            for node in graph.nodes
            if isinstance(node.op, Conv | MatMul | Gemm)
            and isinstance(node.type.format, Float)
            and node.op.arithmetic is None
            and self._is_asked(node.op.title)
            and self._lacks_codes(graph, node)
        ]

    def _lacks_codes(self, graph: Graph, node: Node) -> bool:
        """Whether an operand of *node* has no codes yet, and both may have some."""
        fixed = [is_fixed(graph, name) for name in node.inputs[:2]]
        coded = [_has_codes(graph, node, place) for place in (0, 1)]
        # fixed codes that no product of codes reads cannot get others
        given = all(
            has or not known or held(graph, name) is not None
            for has, known, name in zip(coded, fixed, node.inputs, strict=False)
        )
        return given and not all(coded) and (sum(fixed) == 1 or (self.products == ALL and not any(fixed)))

    def _reasons(self, graph: Graph) -> list[Problem]:
        """Return why no product of *graph* gets codes."""
        found = []
        for node in graph.nodes:
            if not isinstance(node.op, Conv | MatMul | Gemm) or node.op.arithmetic is not None:
                continue
            where = f"layer {shown(node.op.title, 60)!r}"
            computed = not any(is_fixed(graph, name) for name in node.inputs[:2])
            if computed and self.products != ALL and self._is_asked(node.op.title):
                why = "both of its operands are computed: it has no weights"
                found.append(Problem(where, why, "give such products codes, too: quantize-model{products=all}"))
        why = "no product of floating-point numbers is left that could get codes"
        return found or [Problem(shown(graph.name), why, "it may be quantised already")]

    def _is_asked(self, title: str) -> bool:
        patterns = self.layers.split(":")
        return self.layers == ALL or any(title == each or fnmatch.fnmatchcase(title, each) for each in patterns)

    def _with_codes(
        self, editor: Editor, graph: Graph, node: Node, known: Mapping[str, Range], made: dict[str, str]
    ) -> Node:
        inputs = list(node.inputs)
        for place, name in enumerate(node.inputs[:2]):
            weights = held(graph, name)
            if weights is not None:
                inputs[place] = self._weights(editor, node, place, weights)
            elif _has_codes(graph, node, place):
                continue
            elif name in made:
                inputs[place] = made[name]
            else:
                inputs[place] = made[name] = _activation(editor, graph[name], known[name])
        return replace(node, inputs=tuple(inputs))

    def _weights(self, editor: Editor, node: Node, place: int, weights: np.ndarray) -> str:
        axis = _column_axis(node, place, weights.ndim)
        if not np.isfinite(weights).all():
            why = "some of its weights are infinite or no numbers"
            where = f"layer {shown(node.op.title, 60)!r}" if isinstance(node.op, Conv | MatMul | Gemm) else node.name
            raise PassError("pass quantize-model", [Problem(where, why, "look at the model, or leave the layer out")])
        top = (1 << (self.weight_bits - 1)) - 1
        others = tuple(i for i in range(weights.ndim) if i != axis)
        several = self.per_channel and axis is not None
        largest = np.abs(weights).max(axis=others if several else None, keepdims=True).astype(np.float64)
        steps = np.where((largest / top).astype(np.float32) > 0, largest / top, 1.0)
        codes = np.clip(np.rint(weights / steps), -top, top).astype(np.int8)
        scale = steps.reshape(-1).astype(np.float32) if several else steps.reshape(()).astype(np.float32)
        base = f"{node.name}_weights"
        names = [editor.constant(f"{base}_{what}", data) for what, data in (("codes", codes), ("scale", scale))]
        names.append(editor.constant(f"{base}_zero", np.zeros((), np.int8)))
        return editor.add(f"{base}_numbers", DequantizeLinear(axis or 0), names, weights.shape, node.type.format)


def _has_codes(graph: Graph, node: Node, place: int) -> bool:
    """Whether the operand of *node* at this *place* stands for codes that a product of codes reads: the first has one scale."""
    codes = codes_behind(graph, node.inputs[place])
    return codes is not None and (place == 1 or codes.scale.size == 1)


def _activations(graph: Graph, node: Node) -> list[str]:
    """Return the operands of *node* that get their ranges from rows."""
    return [
        name
        for place, name in enumerate(node.inputs[:2])
        if held(graph, name) is None and not _has_codes(graph, node, place)
    ]


def _column_axis(node: Node, place: int, rank: int) -> int | None:
    """Return the axis of *node*'s columns in its weights; None where they stand at the left, or are a vector."""
    if isinstance(node.op, Conv):
        return 0 if place == 1 else None
    if place == 0 or rank < 2:
        return None
    return 0 if isinstance(node.op, Gemm) and node.op.transpose_b else rank - 1


def _activation(editor: Editor, node: Node, limits: Range) -> str:
    """Return the numbers that codes of *node* stand for."""
    low, high = min(limits[0], 0.0), max(limits[1], 0.0)
    scale = np.float32((high - low) / 255)
    scale = scale if scale > 0 else np.float32(1.0)  # smaller than float32 can tell apart from 0
    zero = np.array(np.clip(np.rint(-low / float(scale)), 0, 255), np.uint8)
    names = [editor.constant(f"{node.name}_scale", np.array(scale)), editor.constant(f"{node.name}_zero", zero)]
    shape = node.type.shape
    codes = editor.add(f"{node.name}_codes", QuantizeLinear(0), [node.name, *names], shape, format_of(zero.dtype))
    return editor.add(f"{node.name}_numbers", DequantizeLinear(0), [codes, *names], shape, node.type.format)
