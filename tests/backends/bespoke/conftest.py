"""What the tests of the bespoke backend share: small Graphs made node by node, their simulation, and cells in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from approxhw.backends.bespoke.circuit import build_circuit
from approxhw.backends.bespoke.emit import Emitted, emit
from approxhw.backends.bespoke.readback import check_emitted
from approxhw.backends.cells.blocks import Bit, Cell, Dot, Whole
from approxhw.ir.graph import Graph, Node, Op
from approxhw.ir.interpreter import run
from approxhw.ir.kinds import ArgMax, Binarize, Concat, Dense, Input, Threshold, Type
from approxhw.ir.rewriting import code_constant, fit_formats
from approxhw.ir.verifier import verify
from approxhw.numerics.formats import Encoding, Fixed, fixed_for
from approxhw.numerics.mac.arithmetic import Exact
from approxhw.sim import SimulationJob, test_vectors

WIDE = Fixed(4096, True)
"""Format of a value until ``fit_formats`` finds the one that it needs."""


class Making:
    """A Graph in the making: every step reads the one before."""

    def __init__(self, features: int | Sequence[str], bits: int, name: str = "tiny") -> None:
        names = tuple(f"f{i}" for i in range(features)) if isinstance(features, int) else tuple(features)
        n, self.name = len(names), name
        encoding = Encoding(bits, "round", (0.0,) * n, (1.0,) * n)
        self.nodes = [Node("x", Input(names, names, encoding), (), Type((n,), Fixed(bits)))]

    @property
    def last(self) -> Node:
        return self.nodes[-1]

    def constant(self, codes: Any, name: str = "codes") -> Making:
        self.nodes.append(code_constant(name, codes))
        return self

    def dense(self, weights: Any, bias: Any = None, reads: str | None = None) -> Making:
        """Add a ``Dense``; ``reads``: the value it reads, the last one by default."""
        x, number = reads or self.last.name, sum(isinstance(node.op, Dense) for node in self.nodes)
        rows = np.array(weights, dtype=object)
        added = np.zeros(len(rows), dtype=object) if bias is None else np.array(bias, dtype=object)
        w, b = code_constant(f"w{number}", rows), code_constant(f"b{number}", added)
        arithmetic = Exact(fixed_for(min(int(rows.min()), -1), int(rows.max())).bits)
        kind = Type((len(rows),), WIDE)
        self.nodes += [w, b, Node(f"sum{number}", Dense(arithmetic), (x, w.name, b.name), kind)]
        return self

    def then(self, op: Op, name: str | None = None, shape: tuple[int, ...] | None = None) -> Making:
        """Add a Node of one operand, the last value; ``shape``: of the result where it is not the operand's."""
        chosen = name or f"v{len(self.nodes)}"
        wanted = self.last.type.shape if shape is None else shape
        self.nodes.append(Node(chosen, op, (self.last.name,), Type(wanted, WIDE)))
        return self

    def join(self, op: Op, *reads: str, name: str | None = None) -> Making:
        """Add a Node that reads several values."""
        shapes = [next(node for node in self.nodes if node.name == read).type.shape for read in reads]
        shape = (sum(shape[0] for shape in shapes),) if isinstance(op, Concat) else shapes[0]
        self.nodes.append(Node(name or f"v{len(self.nodes)}", op, reads, Type(shape, WIDE)))
        return self

    def bits(self, threshold: int) -> Making:
        self.nodes.append(Node("bits", Binarize(threshold), (self.last.name,), Type(self.last.type.shape, Fixed(1))))
        return self

    def argmax(self, name: str = "class_index", reads: str | None = None) -> Making:
        x = next(node for node in self.nodes if node.name == (reads or self.last.name))
        fmt = Fixed(max(1, (x.type.elements - 1).bit_length()))
        self.nodes.append(Node(name, ArgMax(), (x.name,), Type((), fmt)))
        return self

    def threshold(self, threshold: int, name: str = "class_index") -> Making:
        self.nodes.append(Node(name, Threshold(threshold), (self.last.name,), Type((), Fixed(1))))
        return self

    def graph(self) -> Graph:
        graph = fit_formats(Graph(self.name, tuple(self.nodes), self.last.name))
        verify(graph)
        return graph


def every_code(graph: Graph, emitted: Emitted, vectors: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """Return codes, rows × features, that make the ports carry *vectors*."""
    op = graph.input.op
    assert isinstance(op, Input)
    codes = np.zeros((count, len(op.features)), dtype=np.int64)
    for port, positions in emitted.input_bits:
        for i, bit in enumerate(positions):
            codes[:, op.features.index(port)] |= ((vectors[port] >> i) & 1).astype(np.int64) << bit
    return codes


def job_of(graph: Graph, *, registers: bool = False, limit: int = 12, random: int = 200) -> SimulationJob:
    """Return the simulation of the circuit of *graph*, read back; every vector where there are at most *limit* bits."""
    emitted = emit(build_circuit(graph), registers=registers)
    check_emitted(emitted)
    ports = tuple((name, len(positions)) for name, positions in emitted.input_bits)
    vectors, counts = test_vectors(ports, exhaustive_limit=limit, random=random)
    count = sum(counts.values())
    found = run(graph, every_code(graph, emitted, vectors, count)).reshape(count, -1)
    expected = {name: found[:, i] % (1 << bits) for i, (name, bits) in enumerate(emitted.outputs)}
    return SimulationJob(
        graph.name,
        emitted.verilog,
        emitted.top,
        ports,
        emitted.outputs,
        emitted.clock,
        emitted.latency,
        vectors,
        expected,
    )


TEMPLATES: dict[str, Callable[..., dict[str, int]]] = {
    "any_bit": lambda width, x: {"any": int(x > 0)},
    "choose": lambda width, take_b, a, b: {"y": b if take_b else a},
    "full_adders": lambda width, a, b, c: _lanes(width, a, b, c),
    "greater_than": lambda width, a, b: {"greater": int(a > b)},
    "half_adders": lambda width, a, b: _lanes(width, a, b),
    "half_adders_plus_one": lambda width, a, b: _lanes(width, a, b, (1 << width) - 1),
    "mask_bits": lambda width, keep, x: {"y": x if keep else 0},
    "ripple_adder": lambda width, a, b, carry_in: {
        "sum": (a + b + carry_in) % (1 << width),
        "carry_out": (a + b + carry_in) >> width,
    },
    "ripple_carry": lambda width, a, b, carry_in: {"carry_out": (a + b + carry_in) >> width},
    "saturate_bits": lambda width, overflow, x: {"y": (1 << width) - 1 if overflow else x},
}
"""Template → its meaning over unsigned integers."""


def _lanes(width: int, *words: int) -> dict[str, int]:
    sums = [sum(word >> i & 1 for word in words) for i in range(width)]
    return {
        "sum": sum((s & 1) << i for i, s in enumerate(sums)),
        "carry": sum((s >> 1) << i for i, s in enumerate(sums)),
    }


def bit_value(bit: Bit, values: Mapping[Dot, int]) -> int:
    if isinstance(bit, int):
        return bit
    name, position = bit
    return 1 - values[name[:-1], position] if name.endswith("~") else values[name, position]


def evaluated(cells: Iterable[Cell], given: Mapping[Dot, int]) -> dict[Dot, int]:
    """Return the value of every bit after *cells*, which stand in the order of data flow."""
    values = dict(given)
    for cell in cells:
        columns = dict(cell.inputs)
        if isinstance(cell, Whole):
            words = {port: sum(bit_value(b, values) << i for i, b in enumerate(bits)) for port, bits in columns.items()}
            made = TEMPLATES[cell.template](len(cell.inputs[0][1]), **words)
            for port, dots in cell.outputs:
                values.update({dot: made[port] >> i & 1 for i, dot in enumerate(dots)})
        else:
            made = TEMPLATES[cell.template](1, **{port: bit_value(bit, values) for port, bit in columns.items()})
            values.update({dot: made[port] for port, dot in cell.outputs})
    return values


def number(bits: Sequence[Bit], values: Mapping[Dot, int]) -> int:
    """Return the unsigned number that *bits* are."""
    return sum(bit_value(bit, values) << i for i, bit in enumerate(bits))


@pytest.fixture(scope="session")
def making() -> type[Making]:
    """Graphs made step by step."""
    return Making


@pytest.fixture(scope="session")
def jobs() -> Callable[..., SimulationJob]:
    """Graph → simulation of its circuit."""
    return job_of


@pytest.fixture(scope="session")
def cells() -> SimpleNamespace:
    """Cells in Python: ``evaluated``, ``number``, ``templates``."""
    return SimpleNamespace(evaluated=evaluated, number=number, templates=TEMPLATES)


@pytest.fixture(params=["icarus", "verilator"])
def simulator(request: pytest.FixtureRequest) -> str:
    """Each simulator in turn; one that is missing fails in CI and is a named skip elsewhere."""
    request.getfixturevalue(request.param)
    return str(request.param)
