"""The pass that folds scalers, batch normalisation, the input map and reshapes into Dense constants."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np

from approxhw.ir.chain import is_activation
from approxhw.ir.graph import Graph, Node, identifier, without_unread
from approxhw.ir.kinds import Affine, Constant, Dense, Reshape, Type
from approxhw.ir.pass_manager import PassContext
from approxhw.numerics.formats import Format, Rational


@dataclass(frozen=True)
class FoldAffine:
    """Fold every Affine and Reshape into neighbouring Dense constants, and merge Dense that follow each other.

    Equal over the rationals. Real values are multiplied out in float64; sums are exact before they are rounded once
    (``math.fsum``), so that every machine gets the same constants. Two Dense are merged only where that does not take
    more weights. An Affine with no Dense to go into becomes a diagonal Dense. Integer Nodes are left alone.
    """

    kind: ClassVar[str] = "algebraic"

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with ``Dense`` where ``Affine`` and ``Reshape`` were."""
        if not any(node.is_float and isinstance(node.op, Affine | Reshape | Dense) for node in graph.nodes):
            return graph
        return _Folding(graph).result()


@dataclass(frozen=True)
class _Form:
    """A value as an affine function of one that is emitted: matrix · base + shift, or scale · base + shift.

    ``matrix`` None: the map is element by element. ``node``: the Dense (or Affine) that gives it its name.
    """

    base: str
    shape: tuple[int, ...]
    scale: np.ndarray | None = None
    matrix: np.ndarray | None = None
    shift: np.ndarray | None = None
    node: Node | None = None

    @property
    def is_plain(self) -> bool:
        return self.scale is None and self.matrix is None


class _Folding:
    """One walk over a Graph: affine maps are kept pending until something that is not affine reads them."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.forms: dict[str, _Form] = {}
        self.made: dict[int, tuple[_Form, str]] = {}  # by identity; the form is held so that its identity stays
        self.taken = {node.name for node in graph.nodes}
        self.formats: dict[str, Type] = {}

    def result(self) -> Graph:
        for node in self.graph.nodes:
            self._visit(node)
        output = self._emitted(self.graph.output, self.graph[self.graph.output].type.shape)
        return without_unread(replace(self.graph, nodes=tuple(self.nodes), output=output))

    def _visit(self, node: Node) -> None:
        if isinstance(node.op, Constant):
            self._emit(node)
        elif node.is_float and isinstance(node.op, Affine | Dense):
            self.forms[node.name] = self._applied(node)
        elif isinstance(node.op, Reshape) and node.inputs[0] in self.forms:
            self.forms[node.name] = replace(self.forms[node.inputs[0]], shape=node.type.shape)
        elif node.is_float and is_activation(node):
            # element by element: the shape may stay pending
            form = self.forms[node.inputs[0]]
            operand = self._materialised(form)
            self._emit(replace(node, inputs=(operand,), type=Type(self.formats[operand].shape, node.type.format)))
            self.forms[node.name] = _Form(node.name, node.type.shape)
        else:
            inputs = tuple(self._emitted(name, self.graph[name].type.shape) for name in node.inputs)
            self._emit(replace(node, inputs=inputs))

    def _emit(self, node: Node) -> str:
        self.nodes.append(node)
        self.formats[node.name] = node.type
        self.taken.add(node.name)
        self.forms.setdefault(node.name, _Form(node.name, node.type.shape))
        return node.name

    def _applied(self, node: Node) -> _Form:
        """Return the pending form of an Affine or Dense."""
        exact = isinstance(node.type.format, Rational)
        weights, shift = (self._real(name, exact) for name in node.inputs[1:])
        form = self.forms[node.inputs[0]]
        if isinstance(node.op, Affine):
            weights, shift = weights.reshape(-1), shift.reshape(-1)
            before = form.shift if form.shift is not None else None
            moved = shift if before is None else _sums(np.stack([weights * before, shift], axis=1), exact)
            if form.matrix is not None:
                return replace(form, matrix=weights[:, None] * form.matrix, shift=moved, shape=node.type.shape)
            scale = weights if form.scale is None else weights * form.scale
            return _Form(form.base, node.type.shape, scale=scale, shift=moved, node=form.node or node)
        if form.matrix is not None:
            m, k = weights.shape
            n = form.matrix.shape[1]
            if m * n > m * k + k * n:
                form = _Form(self._materialised(form), form.shape)
        if form.is_plain:
            return _Form(form.base, node.type.shape, matrix=weights, shift=shift, node=node)
        assert form.shift is not None
        moved = _sums(np.concatenate([weights * form.shift, shift[:, None]], axis=1), exact)
        if form.matrix is None:
            assert form.scale is not None
            return _Form(form.base, node.type.shape, matrix=weights * form.scale, shift=moved, node=node)
        matrix = np.stack([_sums(weights * column, exact) for column in form.matrix.T], axis=1)
        return _Form(form.base, node.type.shape, matrix=matrix, shift=moved, node=node)

    def _real(self, name: str, exact: bool) -> np.ndarray:
        data = self.graph.constant(name)
        fmt = self.graph[name].type.format
        scale, zero = getattr(fmt, "scale", Fraction(1)), getattr(fmt, "zero", 0)
        if exact:
            return np.vectorize(lambda v: (Fraction(v) - zero) * scale, otypes=[object])(data)
        return (data - zero).astype(np.float64) * float(scale)

    def _emitted(self, name: str, shape: tuple[int, ...]) -> str:
        """Return the name of an emitted value that equals *name* and has *shape*."""
        return self._shaped(self._materialised(self.forms[name]), shape)

    def _shaped(self, name: str, shape: tuple[int, ...]) -> str:
        type_ = self.formats[name]
        if type_.shape == shape:
            return name
        return self._emit(Node(self._fresh(f"{name}_flat"), Reshape(), (name,), Type(shape, type_.format)))

    def _fresh(self, base: str) -> str:
        name = identifier(base, self.taken)
        self.taken.add(name)
        return name

    def _materialised(self, form: _Form) -> str:
        """Emit what *form* says, once, and return its name; the value is flat unless the form is plain."""
        if form.is_plain:
            return form.base
        if id(form) in self.made:
            return self.made[id(form)][1]
        assert form.node is not None
        assert form.shift is not None
        matrix = form.matrix
        if matrix is None:
            assert form.scale is not None
            matrix = _diagonal(form.scale)
        name = self._dense(form, form.node, matrix, form.shift)
        self.made[id(form)] = (form, name)
        return name

    def _dense(self, form: _Form, node: Node, matrix: np.ndarray, shift: np.ndarray) -> str:
        fmt: Format = node.type.format
        x = self._shaped(form.base, (matrix.shape[1],))
        used = {n.name for n in self.nodes}
        stem = node.name.removesuffix("_sum")
        name = node.name if node.name not in used else self._fresh(node.name)
        w, b = (self._fresh(f"{stem}_{part}") for part in ("weight", "bias"))
        if isinstance(node.op, Dense):  # keep the names of the constants it had, where nothing else bears them now
            w, b = (self._renamed(old, new) for old, new in zip(node.inputs[1:], (w, b)))
        self._emit(Node(w, Constant(matrix), (), Type(matrix.shape, fmt)))
        self._emit(Node(b, Constant(shift), (), Type(shift.shape, fmt)))
        return self._emit(Node(name, Dense(), (x, w, b), Type((matrix.shape[0],), fmt), node.origin))

    def _renamed(self, old: str, new: str) -> str:
        """Return *old* after dropping the Constant of that name, where nothing emitted reads it; else *new*."""
        if sum(old in node.inputs for node in self.graph.nodes) > 1 or any(old in n.inputs for n in self.nodes):
            return new
        self.nodes = [node for node in self.nodes if node.name != old]
        return old


def _diagonal(scale: np.ndarray) -> np.ndarray:
    matrix = np.zeros((len(scale), len(scale)), dtype=scale.dtype)
    if scale.dtype == object:
        matrix[:] = Fraction(0)
    np.fill_diagonal(matrix, scale)
    return matrix


def _sums(terms: np.ndarray, exact: bool) -> np.ndarray:
    """Return the sum of each row of *terms*: exact for fractions, rounded once for floats."""
    if exact:
        sums = np.empty(len(terms), dtype=object)
        sums[:] = [sum(row, Fraction(0)) for row in terms.tolist()]
        return sums
    return np.array([math.fsum(row) for row in terms.tolist()], dtype=np.float64)
