"""Seeded random Graphs with all that is awkward about small networks: for tests and for random programs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from approxhw.numerics.eight_bit.codes import EightBit, make
from approxhw.numerics.eight_bit.tables import KINDS as CODES
from approxhw.numerics.eight_bit_words import calibrated, codes_to_words
from approxhw.numerics.formats import FLOAT64, Encoding, Fixed, Format, Rational, fixed_for
from approxhw.numerics.mac.arithmetic import ApproximateMultiplier, Exact, MaskedPowerOfTwo

from .graph import KINDS, Graph, Node, Op, arity
from .kinds import (
    Add,
    Affine,
    ArgMax,
    Clip,
    Concat,
    Constant,
    Decode,
    Dense,
    Encode,
    Gates,
    Input,
    Lookup,
    Relu,
    Requantize,
    Reshape,
    Threshold,
    Type,
    random_gates,
)
from .random_forests import random_forest
from .rewriting import fit_formats

_LABELS: tuple[tuple[str | int, ...], ...] = (("setosa", 'quote"', "*/ ü"), (-1, 4, 10), ())


def random_graph(
    seed: int,
    *,
    max_layers: int = 4,
    max_inputs: int = 8,
    max_width: int = 9,
    input_bits: int | None = None,
    weight_bits: int | None = None,
    trees_and_gates: bool = True,
) -> Graph:
    """Return a small integer network that passes the verifier; the same *seed* gives the same Graph.

    It has 1 to *max_layers* ``Dense`` of 1 to *max_width* outputs over 1 to *max_inputs* features of *input_bits* bits
    (1…6 where None), *weight_bits*-bit weights (2…9 where None), and any of: extreme weights, zero rows, columns and
    layers, unread features, one class, one feature, a ``Threshold`` head, every activation, ``Reshape`` and
    ``Requantize`` with one multiplier or one an element, negative ones too; masked powers of two, multiplier tables,
    comparators of chosen bits, weights and values in 8-bit codes, and with *trees_and_gates* a ``Forest`` in place of a
    layer, gates that decide. Half of them have at most 16 input bits.
    """
    rng = np.random.default_rng([seed, 1])
    coding, leaking, adding, growing = (np.random.default_rng([seed, stream]) for stream in (3, 5, 7, 9))
    build = _Builder(rng, coding=coding, leaking=leaking, adding=adding)
    _integer_input(build, max_inputs, input_bits)
    layers = int(rng.integers(1, max_layers + 1))
    for layer in range(layers):
        last = layer == layers - 1
        bits, width = weight_bits or int(rng.integers(2, 10)), int(rng.integers(1, max_width + 1))
        if trees_and_gates and growing.random() < 0.12 and build.fitted().bits < 60:
            _trees(build, f"layer{layer}", width, growing)
        else:
            _integer_dense(build, f"layer{layer}", width, bits)
        _integer_activations(build, f"layer{layer}", 0.25 if last else 1.0)
        if not last:
            _branch(build, f"layer{layer}", max_width)
    threshold, deciding = int(rng.integers(-40, 40)), np.random.default_rng([seed, 11])
    if trees_and_gates and deciding.random() < 0.1:
        _gates_head(build, deciding)
    else:
        _head(build, threshold)
    graph = fit_formats(build.graph(f"random_{seed}"))
    return _widened(graph, rng) if rng.random() < 0.25 else graph


def random_float_graph(seed: int, rational: bool = False) -> Graph:
    """Return a small real-valued network (``float<11,52>``, or exact fractions) of all that frontends make.

    Chains of ``Affine``, ``Reshape``, activations and ``Dense`` in any order; one in three has a ``Fixed``
    Input, as after ``quantize-inputs``. The same *seed* gives the same Graph, which passes the verifier.
    """
    rng = np.random.default_rng([seed, 2])
    build = _Builder(rng, leaking=np.random.default_rng([seed, 6]), adding=np.random.default_rng([seed, 8]))
    build.real = Rational() if rational else FLOAT64
    if rng.random() < 1 / 3:
        _integer_input(build, 7, None, reshape=False)
    else:
        n = int(rng.integers(1, 8))
        names = tuple(f"f{i}" for i in range(n))
        build.add("x", Input(names, names), (), (n,), build.real)
    for layer in range(int(rng.integers(1, 4))):
        for step in range(int(rng.integers(0, 4))):
            _float_step(build, f"layer{layer}_before{step}")
        n, m = build.last.type.elements, int(rng.integers(1, 7))
        if len(build.last.type.shape) != 1:
            build.follow(f"layer{layer}_flat", Reshape(), (n,))
        build.dense_real(f"layer{layer}", build.reals((m, n)), build.reals((m,)))
        for step in range(int(rng.integers(0, 4))):
            _float_step(build, f"layer{layer}_after{step}")
        if build.adding is not None and build.adding.random() < 0.15 and len(build.last.type.shape) == 1:
            others = [n.name for n in build.nodes if n.type == build.last.type and not isinstance(n.op, Constant)]
            build.follow(f"layer{layer}_met", Add())
            other = others[int(build.adding.integers(len(others)))]
            build.nodes[-1] = replace(build.last, inputs=(build.last.inputs[0], other))
    if len(build.last.type.shape) != 1:
        build.follow("flat", Reshape(), (build.last.type.elements,))
    _head(build, build.reals((1,))[0])
    return build.graph(f"random_float_{seed}")


@dataclass
class _Builder:
    """Nodes so far, and a source of random numbers."""

    rng: np.random.Generator
    coding: np.random.Generator | None = None
    """Decides on 8-bit codes; none where there are to be none."""
    leaking: np.random.Generator | None = None
    """Decides on leaky ReLUs, likewise."""
    adding: np.random.Generator | None = None
    """Decides on the rarer activations, likewise."""
    nodes: list[Node] = field(default_factory=list)
    real: Format = FLOAT64

    @property
    def last(self) -> Node:
        return self.nodes[-1]

    def add(self, name: str, op: Op, inputs: tuple[str, ...], shape: tuple[int, ...], fmt: Format) -> str:
        origin = f"/{name} */ \u2028" if self.rng.random() < 0.2 else ""
        self.nodes.append(Node(name, op, inputs, Type(shape, fmt), origin))
        return name

    def follow(self, name: str, op: Op, shape: tuple[int, ...] | None = None, fmt: Format | None = None) -> None:
        """Add a Node that reads the last one."""
        self.add(name, op, (self.last.name,), self.last.type.shape if shape is None else shape, fmt or self._fmt())

    def _fmt(self) -> Format:
        """Return the format that a Node that keeps the scale has (wide: ``fit_formats`` narrows it later)."""
        fmt = self.last.type.format
        return replace(fmt, bits=200, signed=True) if isinstance(fmt, Fixed) and self.real is _WIDE else self.real

    def fitted(self) -> Fixed:
        """Return the narrowest format of the last value: while Nodes are added, formats are wide."""
        fmt = fit_formats(Graph("probe", tuple(self.nodes), self.last.name))[self.last.name].type.format
        assert isinstance(fmt, Fixed)
        return fmt

    def graph(self, name: str) -> Graph:
        node = self.last
        classes = 3 if isinstance(node.op, ArgMax) and len(self.nodes) > 1 and self._classes() == 3 else 0
        labels = _LABELS[int(self.rng.integers(3))] if classes == 3 else ()
        return Graph(name, tuple(self.nodes), node.name, labels, "random" if self.rng.random() < 0.5 else "")

    def _classes(self) -> int:
        name = self.last.inputs[0]
        return next(node.type.elements for node in self.nodes if node.name == name)

    def reals(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return random finite reals in the number type of the Graph, some of them 0."""
        count = int(np.prod(shape))
        numerators, denominators = self.rng.integers(-40, 41, count), self.rng.integers(1, 13, count)
        values = [
            Fraction(int(p), int(q)) if self.rng.random() > 0.1 else Fraction(0)
            for p, q in zip(numerators, denominators)
        ]
        array = np.empty(count, dtype=object)
        array[:] = values
        return (array if isinstance(self.real, Rational) else array.astype(np.float64)).reshape(shape)

    def dense_real(self, name: str, weights: np.ndarray, bias: np.ndarray) -> None:
        x = self.last.name
        w = self.add(f"{name}_weight", Constant(weights), (), weights.shape, self.real)
        b = self.add(f"{name}_bias", Constant(bias), (), bias.shape, self.real)
        self.add(f"{name}_sum", Dense(), (x, w, b), bias.shape, self.real)


_WIDE = Fixed(200, True)
"""Stands for "an integer Graph" in a builder."""


def _integer_input(build: _Builder, max_inputs: int, input_bits: int | None, reshape: bool = True) -> None:
    rng = build.rng
    if isinstance(build.real, type(FLOAT64)) and reshape:
        build.real = _WIDE
    n = int(rng.integers(1, max_inputs + 1))
    bits = input_bits or int(rng.integers(1, 7))
    if rng.random() < 0.5:
        n = max(1, min(n, 16 // bits))
    low = rng.integers(-20, 20, n) / 8
    high = low + rng.integers(0 if rng.random() < 0.3 else 1, 30, n) / 16
    encoding = Encoding(bits, "round", tuple(low.tolist()), tuple(high.tolist()))
    if bits == 4 and rng.random() < 0.5:
        encoding = Encoding(4, "floor16", (0.0,) * n, (1.0,) * n)
    shape: tuple[int, ...] = (n,)
    if reshape and n % 2 == 0 and rng.random() < 0.3:
        shape = (2, n // 2)
    titles = tuple(f'Title {i} "*/<b>' for i in range(n))
    scale = Fraction(1, 2 ** int(rng.integers(0, 5)))
    build.add("x", Input(tuple(f"f{i}" for i in range(n)), titles, encoding), (), shape, Fixed(bits, scale=scale))
    if len(shape) > 1:
        build.follow("x_flat", Reshape(), (n,))


def _integer_dense(build: _Builder, name: str, m: int, bits: int) -> None:
    """Add a ``Dense`` of any arithmetic that its operand allows."""
    fmt, style = build.fitted(), build.rng.random()
    if style < 0.25 and not fmt.signed:
        _masked_dense(build, name, m, fmt)
    elif style < 0.4 and fmt.bits <= 8:
        _table_dense(build, name, m, min(bits, 5), fmt)
    else:
        _exact_dense(build, name, m, bits)


def _masked_dense(build: _Builder, name: str, m: int, fmt: Fixed) -> None:
    rng, x = build.rng, build.last
    n, exponent = x.type.elements, int(rng.integers(0, 9))
    weights = rng.choice([-1, 0, 1], (m, n), p=[0.45, 0.1, 0.45]) << rng.integers(0, exponent + 1, (m, n))
    # as a search leaves them: nearly full, nearly empty, anything
    top = min(fmt.bits, 60)
    masks = rng.integers(0, 1 << top, (m, n))
    if rng.random() < 0.6:
        other = rng.integers(0, 1 << top, (m, n))
        masks = masks & other if rng.random() < 0.5 else masks | other
    bias = rng.integers(-200, 201, m)
    w = build.add(f"{name}_weight", Constant(weights), (), (m, n), Fixed(exponent + 2, True))
    b = build.add(f"{name}_bias", Constant(bias), (), (m,), Fixed(9, True, fmt.scale))
    mask = build.add(f"{name}_mask", Constant(masks), (), (m, n), Fixed(max(1, top)))
    op = Dense(MaskedPowerOfTwo(exponent))
    build.add(f"{name}_sum", op, (x.name, w, b, mask), (m,), Fixed(400, True, fmt.scale))


def _table_dense(build: _Builder, name: str, m: int, bits: int, fmt: Fixed) -> None:
    rng, x = build.rng, build.last
    n = x.type.elements
    weights = rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), (m, n))
    codes = [np.arange(1 << count) for count in (bits, fmt.bits)]
    signed = [c - ((c >> (count - 1)) << count) for c, count in zip(codes, (bits, fmt.bits))]
    table = signed[0][:, None] * (signed[1] if fmt.signed else codes[1])[None, :]
    table = table + rng.integers(-3, 4, table.shape) * (rng.random(table.shape) < rng.random())
    w = build.add(f"{name}_weight", Constant(weights), (), (m, n), Fixed(bits, True))
    b = build.add(f"{name}_bias", Constant(rng.integers(-90, 91, m)), (), (m,), Fixed(8, True, fmt.scale))
    t = build.add(f"{name}_table", Constant(table), (), table.shape, Fixed(bits + fmt.bits + 3, True))
    op = Dense(ApproximateMultiplier(bits, fmt.bits))
    build.add(f"{name}_sum", op, (x.name, w, b, t), (m,), Fixed(400, True, fmt.scale))


def _trees(build: _Builder, name: str, m: int, rng: np.random.Generator) -> None:
    """Add a ``Forest`` of *m* sums."""
    x, fmt = build.last, build.fitted()
    low, high = (np.full(x.type.elements, end) for end in (fmt.low, fmt.high))
    op = random_forest(rng, low, high, m)
    build.add(f"{name}_trees", op, (x.name,), (m,), Fixed(200, True, Fraction(1, 1 << int(rng.integers(0, 5)))))


def _exact_dense(build: _Builder, name: str, m: int, bits: int) -> None:
    rng, x = build.rng, build.last
    n, low, high = x.type.elements, -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    weights = rng.integers(low, high + 1, (m, n))
    style = rng.random()
    if style < 0.15:
        weights = rng.choice([low, high, 0], (m, n))
    elif style < 0.25:
        weights = rng.choice([0, 0, 0, 1, -1, high], (m, n))
    elif style < 0.30:
        weights = np.zeros((m, n), dtype=np.int64)
    elif style < 0.40:
        weights = rng.choice([-1, 1], (m, n)) * (1 << rng.integers(0, bits - 1, (m, n)))
    if rng.random() < 0.3:
        weights[:, rng.integers(0, n)] = 0
    if rng.random() < 0.3:
        weights[rng.integers(0, m)] = 0
    if rng.random() < 0.1:
        weights[rng.integers(0, m)] = weights[0]
    reach = int(rng.choice([1, 10, 1 << bits, 1 << (2 * bits)]))
    bias = rng.integers(-reach, reach + 1, m) * (rng.random() > 0.1)
    fmt = x.type.format
    assert isinstance(fmt, Fixed)
    scale = Fraction(1, 1 << int(rng.integers(0, bits + 2)))
    if build.coding is not None and build.coding.random() < 0.2:
        bits = _coded_weights(build, f"{name}_weight", weights, scale)
        w = f"{name}_weight"
    else:
        w = build.add(f"{name}_weight", Constant(weights), (), (m, n), Fixed(bits, True, scale))
    lowest, highest = int(bias.min()), int(bias.max())
    b = build.add(f"{name}_bias", Constant(bias), (), (m,), fixed_for(lowest, highest, scale * fmt.scale))
    build.add(f"{name}_sum", Dense(Exact(bits)), (x.name, w, b), (m,), Fixed(200, True, scale * fmt.scale))


def _random_code(rng: np.random.Generator) -> EightBit:
    maximum = str(rng.choice(["exact", "pow2", "fixed"]))
    return make(str(rng.choice(CODES)), 64 if maximum != "fixed" and rng.random() < 0.5 else None, maximum)


def _coded_weights(build: _Builder, name: str, weights: np.ndarray, scale: Fraction) -> int:
    """Add *weights* as 8-bit codes that are decoded; return the bits that the decoded ones need."""
    assert build.coding is not None
    code = _random_code(build.coding)
    packed = code.encode(weights * float(scale), ragged=True)
    maxima, codes = tuple(packed.maxima.tolist()), packed.codes.astype(np.int64)
    build.add(f"{name}_codes", Constant(codes), (), codes.shape, code)
    words = codes_to_words(code, maxima, Fixed(200, True, scale), codes.reshape(1, -1))
    bits = fixed_for(min(0, int(words.min())), max(0, int(words.max())), scale).bits + 1
    build.add(name, Decode(maxima), (f"{name}_codes",), codes.shape, Fixed(bits, True, scale))
    return bits


def _coded_values(build: _Builder, name: str) -> None:
    """Encode the last value and decode it again, with maxima that some of it may exceed."""
    rng, fmt = build.coding, build.fitted()
    assert rng is not None
    code = _random_code(rng)
    reach = max(1.0, float(fmt.scale) * max(abs(fmt.low - fmt.zero), abs(fmt.high - fmt.zero)) * rng.uniform(0.3, 1.1))
    maxima = calibrated(code, np.full(build.last.type.elements, reach))
    build.follow(f"{name}_codes", Encode(maxima), fmt=code)
    scale = fmt.scale * Fraction(int(rng.integers(1, 9)), 4)
    build.follow(name, Decode(maxima), fmt=Fixed(200, True, scale, int(rng.choice([0, 0, 5]))))


def _integer_activations(build: _Builder, name: str, chance: float) -> None:
    rng = build.rng
    if rng.random() < 0.8 * chance:
        leaks = build.leaking is not None and build.leaking.random() < 0.15
        _activation(build, f"{name}_relu", "leakyrelu" if leaks else "relu", build.leaking if leaks else rng)
    if rng.random() < 0.2 * chance:
        _activation(build, f"{name}_clip", "clip", rng)
    if build.adding is not None and build.adding.random() < 0.12 * chance:
        keywords = _RARER[: None if build.fitted().bits <= 12 else -1]  # a product is twice as wide
        _activation(build, f"{name}_added", str(build.adding.choice(keywords)), build.adding)
    if build.adding is not None and build.adding.random() < 0.1 * chance:
        _lookup(build, name, build.adding)
    if rng.random() < 0.35 * chance:
        _activation(build, f"{name}_codes", "requantize", rng)
    if build.coding is not None and build.coding.random() < 0.12 * chance:
        _coded_values(build, f"{name}_decoded")


def _branch(build: _Builder, name: str, max_width: int) -> None:
    """Let one value in ten meet a second layer of what is there already: added up, or side by side."""
    rng = build.adding
    assert rng is not None
    first, fmt = build.last, build.fitted()
    if rng.random() >= 0.12 or fmt.zero or fmt.bits > 24:
        return
    joins = Concat if first.type.elements < max_width and rng.random() < 0.5 else Add
    count = int(rng.integers(1, 1 + max_width - first.type.elements)) if joins is Concat else first.type.elements
    weights, bias = rng.integers(-4, 4, (count, first.type.elements)), rng.integers(-40, 40, count)
    w = build.add(f"{name}_other_weight", Constant(weights), (), weights.shape, Fixed(3, True))
    b = build.add(f"{name}_other_bias", Constant(bias), (), (count,), Fixed(7, True, fmt.scale))
    build.add(f"{name}_other_sum", Dense(Exact(3)), (first.name, w, b), (count,), Fixed(200, True, fmt.scale))
    if rng.random() < 0.5:
        build.follow(f"{name}_other_relu", Relu())
    inputs = (first.name, build.last.name) if rng.random() < 0.5 else (build.last.name, first.name)
    sizes = tuple(next(n for n in build.nodes if n.name == read).type.elements for read in inputs)
    op = Concat(sizes) if joins is Concat else Add()
    shape = (sum(sizes),) if joins is Concat else first.type.shape
    build.add(f"{name}_met", op, inputs, shape, Fixed(400, True, fmt.scale))


def _lookup(build: _Builder, name: str, rng: np.random.Generator) -> None:
    """Add a table, behind a Requantize where codes are too wide for it."""
    sample = KINDS["lookup"].sample
    assert sample is not None
    op, fmt = sample(rng, build.last.type.elements)
    bits = len(op.table).bit_length() - 1
    if build.fitted().bits > bits:
        shift, signed = max(0, build.fitted().bits - bits), build.fitted().signed
        narrow = Fixed(bits, signed, build.fitted().scale * (1 << shift))
        build.follow(f"{name}_read", Requantize((1,), shift, (0,), narrow.low, narrow.high), fmt=narrow)
    build.follow(f"{name}_looked_up", op, fmt=fmt)


_RARER = ("prelu", "thresholdedrelu", "hardswish")


def _activation(build: _Builder, name: str, keyword: str, rng: np.random.Generator | None) -> None:
    sample = KINDS[keyword].sample
    assert sample is not None
    assert rng is not None
    op, fmt = sample(rng, build.last.type.elements)
    read, wide = build.last.type.format, build._fmt()
    if fmt is None and isinstance(read, Fixed) and isinstance(wide, Fixed):
        fmt = replace(wide, scale=KINDS[keyword].result_scale(op, read))
    build.follow(name, op, fmt=fmt)


def _head(build: _Builder, threshold: int | float | Fraction) -> None:
    n = build.last.type.elements
    if n == 1 and build.rng.random() < 0.7:
        threshold = threshold if build.rng.random() < 0.6 else 0
        build.follow(
            "class_index",
            Threshold(threshold if isinstance(threshold, int | Fraction) else float(threshold)),
            (),
            Fixed(1),
        )
    else:
        build.follow("class_index", _argmax(build, n), (), Fixed(max(1, (n - 1).bit_length())))


def _gates_head(build: _Builder, rng: np.random.Generator) -> None:
    """Let random gates decide, over some or all of the bits of the last value."""
    n, classes = build.last.type.elements, int(rng.integers(1, 7))
    width, bits = max(1, (classes - 1).bit_length()), min(int(rng.integers(1, 1 + build.fitted().bits)), 60)
    op = Gates(random_gates(rng, n * bits, width, int(rng.integers(0, 60))), bits, classes)
    build.follow("class_index", op, (), Fixed(width))


def _argmax(build: _Builder, n: int) -> ArgMax:
    """Return an exact argmax, or one whose comparators look at some bits only."""
    rng = build.rng
    if not isinstance(build.last.type.format, Fixed) or rng.random() < 0.6:
        return ArgMax()
    fmt = build.fitted()
    width = fmt.bits + (not fmt.signed) + int(rng.integers(0, 3))
    density = rng.random()
    return ArgMax(width, tuple(tuple(np.flatnonzero(rng.random(width) < density).tolist()) for _ in range(n - 1)))


def _float_step(build: _Builder, name: str) -> None:
    rng, shape = build.rng, build.last.type.shape
    choice = int(rng.integers(0, 5)) if isinstance(build.last.type.format, type(build.real)) else 0
    if choice <= 1:
        x = build.last.name
        s = build.add(f"{name}_scale", Constant(build.reals(shape)), (), shape, build.real)
        t = build.add(f"{name}_shift", Constant(build.reals(shape)), (), shape, build.real)
        build.add(name, Affine(), (x, s, t), shape, build.real)
    elif choice == 2:
        n = build.last.type.elements
        build.follow(name, Reshape(), (1, n) if rng.random() < 0.5 else (n,))
    elif choice == 3:
        if build.leaking is not None and build.leaking.random() < 0.25:
            _activation(build, name, "leakyrelu", build.leaking)
        elif build.adding is not None and build.adding.random() < 0.2 and not isinstance(build.real, Rational):
            build.follow(name, Lookup(("x", str(build.adding.choice(["tanh", "sigmoid", "softplus", "abs"])))))
        elif build.adding is not None and build.adding.random() < 0.4:
            _activation(build, name, str(build.adding.choice(_RARER)), build.adding)
        else:
            build.follow(name, Relu())
    else:
        low, high = sorted(build.reals((2,)).tolist())
        build.follow(name, Clip(low if rng.random() < 0.7 else None, high if rng.random() < 0.7 else None))


def _widened(graph: Graph, rng: np.random.Generator) -> Graph:
    """Return *graph* with some formats wider than they need be, as hand-written Graphs have them."""
    nodes = []
    # masks and tables are for codes of a certain kind and width
    bound = {name for node in graph.nodes if arity(node.op) == 4 or isinstance(node.op, Lookup) for name in node.inputs}
    for node in graph.nodes:
        fmt = node.type.format
        free = isinstance(fmt, Fixed) and not KINDS[node.kind].says_format and node.name not in bound
        if free and isinstance(fmt, Fixed) and rng.random() < 0.5:
            extra = int(rng.integers(1, 4))
            node = replace(node, type=Type(node.type.shape, Fixed(fmt.bits + extra, True, fmt.scale, fmt.zero)))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))
