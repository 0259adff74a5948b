"""The slow reference of the area model: templates of the blocks that the builder made, counted bit by bit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from approxhw.backends.bespoke.circuit import Circuit
from approxhw.backends.cells.blocks import uninverted
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import ArgMax, Constant, Dense, Input, Requantize, Threshold, Type
from approxhw.ir.rewriting import code_constant
from approxhw.networks.area_model import FEATURES
from approxhw.networks.space import Space
from approxhw.numerics.formats import Encoding, Fixed
from approxhw.numerics.mac.arithmetic import MaskedPowerOfTwo

KIND = {name: index for index, name in enumerate(FEATURES)}


def masked_graph(sizes: tuple[int, ...], *, bits: int = 4, hidden: int = 8, threshold: bool = False) -> Graph:
    """A network of the masked form, of full masks and weights of 1."""
    n = sizes[0]
    names = tuple(f"x{i}" for i in range(n))
    encoding = Encoding(bits, "round", (0.0,) * n, (1.0,) * n)
    nodes = [Node("x", Input(names, names, encoding), (), Type((n,), Fixed(bits)))]
    last, width = "x", bits
    for layer, (a, b) in enumerate(pairwise(sizes)):
        weight = code_constant(f"weight{layer}", np.ones((b, a), dtype=object), 1)
        bias = code_constant(f"bias{layer}", np.zeros(b, dtype=object), 1)
        mask = Node(f"mask{layer}", Constant(np.full((b, a), (1 << width) - 1)), (), Type((b, a), Fixed(width)))
        inputs = (last, weight.name, bias.name, mask.name)
        last = f"sum{layer}"
        nodes += [weight, bias, mask, Node(last, Dense(MaskedPowerOfTwo(7)), inputs, Type((b,), Fixed(40, True)))]
        if layer < len(sizes) - 2:
            cut = Requantize((1,), 0, (0,), 0, (1 << hidden) - 1)
            nodes.append(Node(f"hidden{layer}", cut, (last,), Type((b,), Fixed(hidden))))
            last, width = f"hidden{layer}", hidden
    head, m = (Threshold(0) if threshold else ArgMax()), sizes[-1]
    nodes.append(Node("y", head, (last,), Type((), Fixed(1 if threshold else max(1, (m - 1).bit_length())))))
    return Graph("net", tuple(nodes), "y")


def random_genomes(space: Space, count: int, seed: int, reach: int = 300) -> np.ndarray:
    """Genomes of all densities, with biases and shifts that leave neurons something to decide."""
    rng = np.random.default_rng(seed)
    genomes = rng.integers(space.lower, space.upper + 1, (count, space.genes)).astype(np.int32)
    for index, layer in enumerate(space.layers):
        genes = space.layer_genes(genomes, index)
        density = rng.random((count, 1, 1, 1))
        bits = rng.random((*genes.masks.shape, layer.input_bits)) < density
        genes.masks[:] = (bits << np.arange(layer.input_bits)).sum(-1)
        genes.exponents[:] = rng.integers(0, rng.integers(1, 9), genes.exponents.shape)
        # around the middle of each sum's range, and no further off than *reach*
        products = (genes.masks.astype(np.int64) << genes.exponents) * (1 - 2 * genes.signs)
        middle = -products.sum(-1) // (2 if index == 0 else 5)  # hidden values are small more often than not
        genes.biases[:] = middle + rng.integers(-reach, reach + 1, middle.shape)
        if genes.shift is not None:
            wide = np.log2(np.abs(products).sum(-1).max(-1) + 1).astype(int)
            genes.shift[:] = np.clip(wide - layer.hidden_bits - rng.integers(-1, 3, count), 0, None)
    return genomes


# The slow reference: templates of the blocks that the builder made, bit by bit ---------------------------------------


class Reference:
    """Cells and liveness of a built circuit; a literal is a constant or (variable, inverted)."""

    def __init__(self) -> None:
        self.cells: list[tuple[str, tuple]] = []
        self.constants = False  # whether a bit that leaves a block turned out constant: the builder goes on with it

    def new(self, kind: str, *inputs):
        self.cells.append((kind, inputs))
        return len(self.cells) - 1

    def half(self, a, b, one=False):
        if one:
            total, carry = self.half(invert(a), invert(b))
            return invert(total), invert(carry)
        if isinstance(a, int):
            a, b = b, a
        if isinstance(b, int):
            if isinstance(a, int):
                return a ^ b, a & b
            return (a, 0) if b == 0 else (invert(a), a)
        if a[0] == b[0]:
            return (0, a) if a == b else (1, 0)
        cell = self.new("half", a, b)
        return ((cell, "sum"), 0), ((cell, "carry"), 0)

    def full(self, a, b, c):
        fixed = [x for x in (a, b, c) if isinstance(x, int)]
        if fixed:
            free = [x for x in (a, b, c) if not isinstance(x, int)] + fixed[1:]
            return self.half(free[0], free[1], one=bool(fixed[0]))
        for x, y, z in ((a, b, c), (a, c, b), (b, c, a)):
            if x[0] == y[0]:
                return (z, x) if x == y else (invert(z), z)
        cell = self.new("full", a, b, c)
        return ((cell, "sum"), 0), ((cell, "carry"), 0)

    def both(self, kind, a, b):
        if isinstance(a, int):
            a, b = b, a
        if isinstance(b, int):
            return a if b else 0
        if a[0] == b[0]:
            return a if a == b else 0
        return ((self.new(kind, a, b), "sum"), 0)

    def either(self, kind, a, b):
        return invert(self.both(kind, invert(a), invert(b)))

    def majority(self, a, b, c):
        fixed = [x for x in (a, b, c) if isinstance(x, int)]
        if fixed:
            free = [x for x in (a, b, c) if not isinstance(x, int)] + fixed[1:]
            return (self.either if fixed[0] else self.both)("comparator gate", free[0], free[1])
        for x, y, z in ((a, b, c), (a, c, b), (b, c, a)):
            if x[0] == y[0]:
                return x if x == y else z
        return ((self.new("comparator step", a, b, c), "sum"), 0)

    def choose(self, s, a, b):
        if a == b or s == 0:
            return a
        if s == 1:
            return b
        if not isinstance(a, int) and a == invert(b):
            return self.half(s, a)[0]
        gate = "multiplexer with a constant"
        if a in (0, s):
            return self.both(gate, s, b)
        if b in (0, invert(s)):
            return self.both(gate, invert(s), a)
        if a in (1, invert(s)):
            return self.either(gate, invert(s), b)
        if b in (1, s):
            return self.either(gate, s, a)
        return ((self.new("multiplexer", s, a, b), "sum"), 0)

    def greater(self, a, b):
        wins = below = 0
        last = None
        for x, y in zip(a, b, strict=True):
            if x == y:
                continue
            if last in ((x, y), (invert(x), invert(y))):
                wins = below
            below, last = wins, (x, y)
            wins = self.majority(x, invert(y), wins)
        return wins

    def elaborate(self, cell, read):
        inputs, outputs = dict(cell.inputs), dict(cell.outputs)
        made = {}
        match cell.template:
            case "full_adders":
                made[outputs["sum"]], made[outputs["carry"]] = self.full(*(read(inputs[port]) for port in "abc"))
            case "half_adders" | "half_adders_plus_one":
                one = cell.template.endswith("one")
                made[outputs["sum"]], made[outputs["carry"]] = self.half(read(inputs["a"]), read(inputs["b"]), one)
            case "mask_bits":
                made[outputs["y"]] = self.both("mask gate", read(inputs["keep"]), read(inputs["x"]))
            case "saturate_bits":
                made[outputs["y"]] = self.either("saturation gate", read(inputs["overflow"]), read(inputs["x"]))
            case "choose":
                made[outputs["y"]] = self.choose(*(read(inputs[port]) for port in ("take_b", "a", "b")))
            case "any_bit":
                found = 0
                for bit in inputs["x"]:
                    found = self.either("overflow gate", found, read(bit))
                made[outputs["any"][0]] = found
            case "greater_than":
                made[outputs["greater"][0]] = self.greater(*([read(bit) for bit in inputs[port]] for port in "ab"))
            case "ripple_adder" | "ripple_carry":
                carry = read(inputs["carry_in"][0])
                for place, (a, b) in enumerate(zip(inputs["a"], inputs["b"], strict=True)):
                    total, carry = self.full(read(a), read(b), carry)
                    if "sum" in outputs:
                        made[outputs["sum"][place]] = total
                if "carry_out" in outputs:
                    made[outputs["carry_out"][0]] = carry
            case _:
                raise AssertionError(cell.template)
        return made

    def count(self, circuit: Circuit) -> np.ndarray:
        """Return the counts of a built circuit."""
        seen: dict = {}
        for block in circuit.blocks:
            local: dict = {}

            def read(bit, local=local):
                if isinstance(bit, int):
                    return bit
                dot = uninverted(bit)
                literal = local.get(dot, seen.get(dot, (("input", *dot), 0)))
                return invert(literal) if bit[0].endswith("~") else literal

            for cell in block.cells:
                local.update(self.elaborate(cell, read))
            leaving = {}
            for name, bits in block.outputs.items():
                for place, bit in enumerate(bits):
                    if isinstance(bit, int) or not uninverted(bit)[0].startswith(":") or uninverted(bit) in local:
                        leaving[name, place] = read(bit)
                        if "_neuron" in block.name and isinstance(read(bit), int):
                            self.constants |= not isinstance(bit, int)
            seen.update(leaving)
        roots = [b if isinstance(b, int) else seen.get(b, (("input", *b), 0)) for b in circuit.outputs[0][1]]
        return self._live(roots)

    def _live(self, roots) -> np.ndarray:
        used: dict = {}
        for literal in roots:
            if not isinstance(literal, int):
                used.setdefault(literal[0], set()).add(literal[1])
        row = np.zeros(len(FEATURES))
        for number in range(len(self.cells) - 1, -1, -1):
            kind, inputs = self.cells[number]
            total, carry = used.get((number, "sum"), set()), used.get((number, "carry"), set())
            if not total and not carry:
                continue
            for variable, phase in inputs:
                used.setdefault(variable, set()).add(2 if kind in ("full", "half") and not carry else phase)
            row[KIND["cell read in both phases"]] += {0, 1} <= total or {0, 1} <= carry
            if kind == "full":
                kind = "full adder" if total and carry else f"full adder, {'sum' if total else 'carry'} alone"
            elif kind == "half":
                kind = "half adder" if total and carry else "half adder, sum alone" if total else "gate of an adder"
            row[KIND[kind]] += 1
            if kind.endswith(("gate", "of an adder", "constant")) and 0 in total | carry:
                row[KIND["gate read as it is"]] += 1
        row[KIND["inverted input bit"]] = sum(v[0] == "input" and 1 in phases for v, phases in used.items())
        return row


def invert(literal):
    return 1 - literal if isinstance(literal, int) else (literal[0], 1 - literal[1])
