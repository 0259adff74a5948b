"""The pass that makes hidden activations QReLU: drop low bits, keep a few, saturate."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem
from approxhw.ir.chain import unshaped
from approxhw.ir.evaluation import codes_of, names_classes
from approxhw.ir.graph import Graph, Node, kind_of, ranges, without_unread
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import Clip, Constant, Dense, Relu, Requantize, Type
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import fit_formats, fresh_name
from approxhw.numerics.formats import Fixed
from approxhw.numerics.mac.arithmetic import MaskedPowerOfTwo
from approxhw.passes.quantize.requantize_hidden import coarser, is_hidden


@dataclass(frozen=True)
class Qrelu:
    """Make every hidden activation QReLU: negative sums become 0, low bits are dropped, a few kept, the rest saturates.

    A ``Relu``, or a ``Clip`` from 0 on, that only ``Dense`` read becomes ``Requantize(1, shift, 0, 0, 2^bits − 1)``; an
    upper bound of the ``Clip`` gives way to saturation. Of all shifts that leave a bit, the one with the fewest wrong
    training rows is taken, the greatest of equally good ones; layer by layer from the input on. Without training rows it
    is the least that holds the whole range. Biases and masks behind it follow the coarser scale.
    """

    kind: ClassVar[str] = "approximating"

    bits: int = field(default=8, metadata={"help": "width of a hidden activation, 1 to 16"})
    shift: int | None = field(
        default=None, metadata={"help": "low bits to drop in every layer; none: by training rows"}
    )

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        found = []
        if not 1 <= self.bits <= 16:
            found.append(Problem("qrelu.bits", f"{self.bits} is not in 1…16"))
        if self.shift is not None and not 0 <= self.shift <= 62:
            found.append(Problem("qrelu.shift", f"{self.shift} is not in 0…62"))
        if found:
            raise OptionError("qrelu", found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with QReLU for hidden activations."""
        if not graph.is_integer:
            why = "only an integer Graph has bits to drop"
            raise PassError("pass qrelu", [Problem(graph.name, why, "run quantize-weights or power-of-two before")])
        names = [node.name for node in graph.nodes if is_hidden(graph, node)]
        if not names:
            context.note("there is no hidden Relu or Clip: nothing changed")
            return graph
        found = [
            Problem(name, f"it is clip from {op.low}, and QReLU starts at 0", "use a ReLU, or a clip from 0 on")
            for name in names
            if isinstance(op := graph[name].op, Clip) and op.low != 0
        ]
        remedy = "use a ReLU, or power-of-two, which retrains the network with QReLU"
        for name in names:
            op = graph[name].op
            if not isinstance(op, Relu | Clip):
                said = kind_of(op).said
                why = f"it is a {said(op) if said else graph[name].kind}, and QReLU lets nothing below 0 through"
                found.append(Problem(name, why, remedy))
        if found:
            raise PassError("pass qrelu", found)
        for name in names:
            graph = self._replaced(graph, name, context)
        return graph

    def _replaced(self, graph: Graph, name: str, context: PassContext) -> Graph:
        widest = max(1, int(max(ranges(graph)[name][1].tolist())).bit_length())
        data = context.data
        if self.shift is not None:
            shift = self.shift
            context.note(f"{name}: {self.bits} bits kept, {shift} low bits dropped, as asked for")
        elif data is None or not len(data.X_train) or not names_classes(graph):
            shift = max(0, widest - self.bits)
            context.note(f"{name}: {self.bits} bits kept, {shift} low bits dropped: the whole range fits")
        else:
            codes = codes_of(graph, data.X_train)
            errors = [
                int(np.count_nonzero(run(self._cut(graph, name, s), codes).reshape(-1) != data.y_train))
                for s in range(widest)
            ]
            shift = max(s for s in range(widest) if errors[s] == min(errors))
            before = int(np.count_nonzero(run(graph, codes).reshape(-1) != data.y_train))
            context.note(
                f"{name}: {self.bits} bits kept, {shift} low bits dropped: {errors[shift]} of {len(codes)} training rows wrong, "
                f"{before} before"
            )
        return self._cut(graph, name, shift)

    def _cut(self, graph: Graph, name: str, shift: int) -> Graph:
        """Return *graph* with a QReLU in the place of *name*."""
        node, top = graph[name], (1 << self.bits) - 1
        fmt = node.type.format
        assert isinstance(fmt, Fixed)
        kind = Type(node.type.shape, Fixed(self.bits, False, fmt.scale * (1 << shift)))
        cut = Node(
            fresh_name(graph, f"{name}_codes"), Requantize((1,), shift, (0,), 0, top), node.inputs, kind, node.origin
        )
        result = without_unread(coarser(graph, name, cut, shift))
        masks = {
            reader.inputs[3]
            for reader in result.nodes
            if isinstance(reader.op, Dense)
            and isinstance(reader.op.arithmetic, MaskedPowerOfTwo)
            and unshaped(result, reader.inputs[0]).name == cut.name
        }
        if not masks:
            return result
        nodes = tuple(
            replace(other, op=Constant((result.constant(other.name) >> shift) & top)) if other.name in masks else other
            for other in result.nodes
        )
        return fit_formats(replace(result, nodes=nodes))
