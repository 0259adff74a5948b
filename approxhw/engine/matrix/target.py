"""The target ``matrix-engine``: its options, its array, its passes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np

from approxhw.common.arguments import settle_fields
from approxhw.common.errors import OptionError, Problem
from approxhw.common.options import Keywords
from approxhw.flow.printed.target import LIBRARIES
from approxhw.ir.graph import Graph
from approxhw.ir.kinds.tensor.ops import Conv, ConvTranspose, Gemm, MatMul
from approxhw.ir.pass_manager import Pass, pass_named
from approxhw.ir.tensor.layers import codes_of_ports, macs_of, product_layers, product_nodes
from approxhw.numerics.eight_bit.port_codes import EngineCodes, read_codes
from approxhw.numerics.mac.arithmetic import FloatMac

if TYPE_CHECKING:
    from approxhw.backends.matrix_engine.engine import Engine as Array
    from approxhw.numerics.mac.float_mac import Result


@dataclass(frozen=True)
class MatrixEngine:
    """Target: a weight-stationary matrix engine of floating-point multiply-adds.

    ``layers``: other arithmetic by name of a product, None for float32 in onnxruntime; the array is of the engine's own.
    """

    flow: ClassVar[str] = "approxhw.engine.matrix.compile:FLOW"
    """How the flow serves it, as ``module:NAME``: the flow knows targets by name, never by import."""
    search_problem: ClassVar[str] = "approxhw.engine.matrix.search:problem"
    """Who makes the problem that a search of it is, likewise: the rooms dse and engine never import each other."""

    mac: FloatMac = field(
        default_factory=FloatMac, metadata={"help": "the arithmetic of the array", "compile_only": True}
    )
    rows: int = field(default=16, metadata={"help": "size of the array, such as 16x16", "joined": "array"})
    columns: int = field(default=16, metadata={"help": "columns of the array", "joined": "array"})
    depth: int = field(default=2, metadata={"help": "pipeline registers of an element, 1 to 4"})
    result: str = field(
        default="float32",
        metadata={"help": "what leaves a column", "choices": ("float32", "bf16"), "compile_only": True},
    )
    vectors: int = field(default=256, metadata={"help": "states of a column that wait between tiles"})
    clock_ns: float = field(default=10.0, metadata={"help": "clock period of estimates"})
    library: str = field(
        default="sky130",
        metadata={"help": "cell library of estimates, or a Liberty file", "choices": LIBRARIES, "metavar": "LIBRARY"},
    )
    layers: Mapping[str, FloatMac | None] = field(default_factory=dict)
    compress: EngineCodes | str | None = field(
        default=None,
        metadata={"help": "on its ports, such as dynamic8,block=256,activations=true", "compile_only": True},
    )

    def __post_init__(self) -> None:
        """Refuse values that are not of the types of their fields."""
        settle_fields(self, "matrix engine")

    def array(self) -> Array:
        """Return the array; raise :class:`OptionError` with everything about it that cannot be built."""
        from approxhw.backends.matrix_engine.engine import Engine

        problems: list[Problem] = []
        made = codes = None
        try:
            codes = read_codes(self.compress)
        except OptionError as error:
            problems += error.problems
        try:
            result = cast("Result", self.result)  # an engine refuses what is none
            made = Engine(self.rows, self.columns, self.mac, self.depth, result, self.vectors, codes=codes)
        except OptionError as error:
            problems += error.problems
        if not (np.isfinite(self.clock_ns) and self.clock_ns > 0):
            problems.append(Problem("clock_ns", f"{self.clock_ns} is no clock period", "give nanoseconds above 0"))
        if problems or made is None:
            raise OptionError("matrix engine", problems)
        return made

    def passes(self) -> tuple[Pass, ...]:
        """Return the passes of this target: the arithmetic of all products, of single ones, and codes on the ports."""
        found = [arithmetic_pass(self.mac, self.result)]
        together: dict[FloatMac | None, list[str]] = {}
        for name, mac in self.layers.items():
            if ":" in name:  # which stands between names
                found.append(arithmetic_pass(mac, self.result, name))
            else:
                together.setdefault(mac, []).append(name)
        found += [arithmetic_pass(mac, self.result, ":".join(names)) for mac, names in together.items()]
        codes = read_codes(self.compress)
        if codes is not None:
            options = {"code": codes.code, "block": codes.block, "max": "pow2"}
            found.append(pass_named("compress")(**options, weights=codes.weights, activations=codes.activations))
        return tuple(found)


def fitted_target(target: MatrixEngine, graph: Graph) -> MatrixEngine:
    """Return *target* with the arithmetic that most multiply-adds of *graph* have, and the result and codes of its products.

    Where none of them is on the engine, *target* is returned as it is.
    """
    macs, counts = macs_of(graph), dict[FloatMac, int]()
    for layer in product_layers(graph):
        mac = macs[layer.name]
        if mac is not None:
            counts[mac] = counts.get(mac, 0) + layer.products
    if not counts:
        return target
    most = max(counts, key=lambda mac: (counts[mac], str(mac)))
    results = [
        node.op.result for node in product_nodes(graph) if isinstance(node.op, MatMul | Gemm | Conv | ConvTranspose)
    ]
    return replace(target, mac=most, result=results[0], compress=codes_of_ports(graph))


def arithmetic_pass(mac: FloatMac | None, result: str, layers: str = "all") -> Pass:
    """Return the pass that gives *layers* the arithmetic *mac*; None: they stay on the host."""
    options: Keywords = {"format": "float32"}
    if mac is not None:
        options = {"format": mac.format, "accumulator": mac.accumulator_bits}
        options |= {
            "normalization": mac.normalization,
            "alignment": mac.alignment,
            "exponent_step": mac.exponent_step,
        }
    made: Pass = pass_named("approximate-normalization")(**options, result=result, layers=layers)
    return made
