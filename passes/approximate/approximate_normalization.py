"""The pass that has an engine carry products out, in floating point of few bits with approximate normalization."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from approxhw.common.errors import OptionError, PassError, Problem, shown
from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.tensor.layers import macs_of, near, with_macs, with_result
from approxhw.numerics.mac.arithmetic import FLOAT_CODES, FloatMac

ALL = "all"
HOST = "float32"
"""The format of products that stay on the host."""


@dataclass(frozen=True)
class ApproximateNormalization:
    """Have an engine multiply: products become chains of multiply-adds whose sums are normalised exactly or approximately.

    *layers* are names of products, with ``*`` for any text, colons between; *format* ``float32`` leaves them on the host.
    Source of an-K-L: Alexandridis et al., arXiv 2408.11997.
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True

    format: str = field(default="bf16", metadata={"help": f"{', '.join(FLOAT_CODES)}: of both operands; or {HOST}"})
    accumulator: int = field(default=20, metadata={"help": "bits of a sum's significand, 16 to 24"})
    normalization: str = field(default="an-1-2", metadata={"help": "exact, an-K-L or an-K"})
    alignment: int | None = field(default=None, metadata={"help": "bits of distance, 1 to 4; None is exact"})
    result: str = field(default="float32", metadata={"help": "what leaves a column: bf16 or float32"})
    layers: str = field(default=ALL, metadata={"help": "names of products, such as all, /encoder/*, or first:last"})
    exponent_step: int | None = field(
        default=None,
        metadata={"help": "1, 2 or 4: products as they stand, exponents its multiples; None normalises products"},
    )

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        found = []
        try:
            _ = self.mac
        except OptionError as error:
            names = {"accumulator_bits": "accumulator"}
            found = [
                Problem(f"approximate-normalization.{names.get(each.where, each.where)}", each.why, each.remedy)
                for each in error.problems
            ]
        if self.result not in ("bf16", "float32"):
            why = f"{shown(repr(self.result))} is no result"
            found.append(Problem("approximate-normalization.result", why, "choose bf16 or float32"))
        if found:
            raise OptionError("approximate-normalization", found)

    @property
    def mac(self) -> FloatMac | None:
        """The arithmetic that products get; None: the host's."""
        if self.format == HOST:
            return None
        return FloatMac(self.format, self.accumulator, self.normalization, self.alignment, self.exponent_step)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with this arithmetic at the chosen products."""
        before = macs_of(graph)
        if not before:
            why = "it holds no matrix product of floating-point numbers on whole tensors"
            raise PassError("pass approximate-normalization", [Problem(graph.name, why, "use --target matrix-engine")])
        chosen = self._chosen(before)
        context.note(f"{len(chosen)} of {len(before)} products: {self.mac or 'on the host'}")
        changed = with_macs(graph, None, {**before, **dict.fromkeys(chosen, self.mac)})
        return with_result(changed, self.result)

    def _chosen(self, known: Mapping[str, object]) -> list[str]:
        if self.layers == ALL:
            return list(known)
        patterns = [self.layers] if self.layers in known else self.layers.split(":")
        chosen, problems = [], []
        for pattern in patterns:
            fits = [name for name in known if name == pattern or fnmatch.fnmatchcase(name, pattern)]
            if not fits:
                where = f"layer {shown(pattern)!r}"
                problems.append(Problem(where, "the model has no such product", near(pattern, list(known))))
            chosen += fits
        if problems:
            raise OptionError("matrix engine", problems)
        return list(dict.fromkeys(chosen))
