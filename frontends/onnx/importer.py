"""The walk over an ONNX graph: every node is read by its handler, every refusal kept, and the Graph grows meanwhile."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

import numpy as np

from approxhw.common.errors import Problem, shown
from approxhw.frontends.quantised.quantiser import Codes, FakeQuantize
from approxhw.frontends.tensors.folding import MAXIMUM_ELEMENTS, Attributes
from approxhw.frontends.tensors.values import (
    COMPLEMENT,
    EXP,
    EXP_PLUS_ONE,
    PLAIN,
    SIGMOID,
    Broken,
    Known,
    PickedColumns,
    Refusal,
    Row,
    Value,
    as_exact,
)
from approxhw.frontends.trees.scaling import Steps, scaling_steps
from approxhw.ir.graph import Node, Op, identifier
from approxhw.ir.kinds import Affine, ArgMax, Binarize, Constant, Dense, Forest, Lookup, Reshape, Threshold, Type
from approxhw.numerics.formats import FLOAT64, Format, fixed_for
from approxhw.numerics.functions.formulas import Formula

if TYPE_CHECKING:
    from onnx import NodeProto

FUNCTIONS: dict[str, Formula] = {
    SIGMOID: ("x", "sigmoid"),
    COMPLEMENT: ("x", "sigmoid", -1.0, "mul", 1.0, "add"),
    EXP: ("x", "exp"),
    EXP_PLUS_ONE: ("x", "exp", 1.0, "add"),
}
"""Stages that are a function of the logits, element by element, and which."""

PROBE = 999_983
"""Stands for the batch size where the model leaves it open: a prime that no sane model has as a dimension."""


@dataclass(frozen=True, eq=False)
class Call:
    """One ONNX node with its inputs looked up: ``values[i]`` is None for an input that is left out."""

    proto: NodeProto
    values: tuple[Value | None, ...]
    attributes: Attributes
    opset: int
    types: dict[int, int] = field(default_factory=dict)
    """ONNX element type of the inputs that are initializers, by position."""
    exact: bool = False
    """Whether the model is quantised: its constants are fractions then, so that nothing is rounded on the way."""
    work: Importer | None = None
    """Where a Sigmoid, or the beginning of one, that turns out to stand between layers is carried out."""

    @property
    def op(self) -> str:
        """Operator."""
        return str(self.proto.op_type)

    def value(self, position: int) -> Value:
        """Return input *position*; refuse a node without it."""
        found = self.values[position] if position < len(self.values) else None
        if found is None:
            raise Refusal(f"input {position} is missing", invalid=True)
        return found

    def constant(self, position: int, what: str) -> np.ndarray | None:
        """Return input *position*, which must be a constant; None where it is left out."""
        found = self.values[position] if position < len(self.values) else None
        if found is None:
            return None
        if not isinstance(found, Known):
            raise Refusal(f"{what} is computed from the input", f"make {what} a constant")
        if found.sized:
            raise Refusal(f"{what} depends on the batch size", f"make {what} a constant")
        return found.array

    def number(self, position: int, what: str) -> np.ndarray | None:
        """Return input *position*, a constant, to calculate with: fractions in a quantised model."""
        array = self.constant(position, what)
        if array is None or not self.exact or array.dtype.kind not in "fiu":
            return array
        found = self.values[position]
        if isinstance(found, Known) and found.codes is not None:
            integers, scale = (as_exact(part) for part in (found.codes.integers, found.codes.scale))
            product: np.ndarray = integers * scale
            return product.reshape(array.shape)
        return as_exact(array)

    def row(self, position: int = 0) -> Row:
        """Return input *position*, which must be a plain tensor computed per row."""
        found = self.value(position)
        if not isinstance(found, Row):
            raise Refusal(
                "works on a class index or label", "nothing but Cast, Reshape and label lookup may follow ArgMax"
            )
        if found.stage in FUNCTIONS and self.work is not None and found.codes is None:
            return self.work.values_of(found)
        if found.stage != PLAIN:
            raise _hidden(found, where(self.proto))
        if found.codes is not None:
            raise Refusal("works on quantised codes", "put a DequantizeLinear before it (QDQ form)")
        return found


def _hidden(row: Row, reader: str) -> Refusal:
    """Return what to tell where *reader* works on a row that only its order matters of: the node that made it so is to blame."""
    if not row.staged_by:
        return Refusal(f"works on {row.stage}", "only ArgMax, ZipMap or the output may follow it")
    why = f"its result goes on into {reader}; {row.stage} is read at the end of a model alone"
    return Refusal(why, "end the model behind it, or leave it out", where=row.staged_by)


Handler = Callable[["Importer", Call], "Value | tuple[Value, ...]"]
REMEDY_EMPTY = "look at its sizes: a layer of 0 neurons, 0 classes, or a slice of nothing"


@dataclass
class Importer:
    """The Graph so far and what is known of every ONNX tensor. One per model read; not shared."""

    batch_size: int
    features: tuple[str, ...] = ()
    nodes: list[Node] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    readers: dict[str, int] = field(default_factory=dict)
    weight_codes: dict[str, Codes] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    invalid: bool = False
    finals: frozenset[str] = frozenset()
    """Outputs of a model of skl2onnx, which writes several targets of a network as one column."""
    layer: int = -1
    quantised: bool = False
    """Whether the model has quantisers: what is calculated on the way is exact then, in fractions."""
    integer_input: tuple[int, int] | None = None
    """Lowest and highest reading, where the model's inputs are of one type of few integers."""
    folded: int = 0
    """Elements of folded constants so far."""

    def refuse(self, where: str, refusal: Refusal) -> None:
        """Keep one problem."""
        self.problems.append(Problem(refusal.where or where, refusal.why, refusal.remedy))
        self.invalid = self.invalid or refusal.invalid

    @property
    def prefix(self) -> str:
        """What names of values begin with here: the number of the last Dense."""
        return f"layer{self.layer}" if self.layer >= 0 else "input"

    def emit(self, name: str, op: Op, inputs: tuple[str, ...], shape: tuple[int, ...], origin: str = "") -> str:
        """Append a float Node and return its name."""
        fmt: Format = FLOAT64
        if isinstance(op, Binarize):
            fmt = fixed_for(0, 1)
        elif isinstance(op, ArgMax | Threshold):
            classes = 2 if isinstance(op, Threshold) else self.node(inputs[0]).type.elements
            fmt = fixed_for(0, max(1, classes - 1))
        name = identifier(name, self.taken)
        self.taken.add(name)
        self.nodes.append(Node(name, op, inputs, Type(shape, fmt), origin))
        return name

    def constant(self, name: str, array: np.ndarray, origin: str = "") -> str:
        """Append a Constant of float64, or of fractions, and return its name."""
        data = self.exact(array) if self.quantised else np.asarray(array, dtype=np.float64)
        return self.emit(name, Constant(data), (), data.shape, origin)

    def exact(self, array: np.ndarray) -> np.ndarray:
        """Return *array* as fractions where the model is quantised, else as it is."""
        return as_exact(array) if self.quantised and array.dtype != object else array

    def node(self, name: str) -> Node:
        """Return the Node called *name*: one of the latest, as a rule."""
        return next(node for node in reversed(self.nodes) if node.name == name)

    def change(self, changed: Node) -> None:
        """Put *changed* in the place of the Node of its name."""
        place = next(place for place, node in enumerate(self.nodes) if node.name == changed.name)
        self.nodes[place] = changed

    def constant_of(self, name: str) -> np.ndarray:
        """Return the data of the Constant called *name*."""
        op = self.node(name).op
        assert isinstance(op, Constant)
        return op.data

    def vector(self, row: Row, origin: str) -> str:
        """Return the Graph's value that holds *row* flat; makes scaled or picked elements of the Input first."""
        columns = row.columns
        if columns is None:
            return row.value
        whole = columns.is_all_of(len(self.features))
        if not whole:
            weight = self.blank(len(columns.index))
            weight[np.arange(len(columns.index)), columns.index] = columns.scale.astype(np.float64)
            return self.dense(row.value, weight, columns.shift, origin, name="input_pick")
        if not columns.is_scaled:
            return row.value
        return self.affine(row.value, columns.scale, columns.shift, origin)

    def values_of(self, row: Row) -> Row:
        """Return *row*, whose stage is one of ``FUNCTIONS``, as values: something else than the end of the model reads it."""
        formula = FUNCTIONS[row.stage]
        name = f"{self.prefix}_{formula[1]}"
        value = self.emit(name, Lookup(formula), (self.vector(row, ""),), (row.elements,))
        if row.after is not None:
            op = cast("Op", FakeQuantize(row.after))  # lowering ends it
            value = self.emit(f"{self.prefix}_code", op, (value,), (row.elements,))
        return replace(row, value=value, columns=None, stage=PLAIN, after=None, shared=False)

    def blank(self, outputs: int) -> np.ndarray:
        """Return weights of 0 from every feature to *outputs* outputs; refuse what a small file could blow up."""
        if outputs * len(self.features) > MAXIMUM_ELEMENTS:
            raise Refusal(f"picks columns into {outputs} × {len(self.features)} weights", "drop unused features first")
        return np.zeros((outputs, len(self.features)))

    def affine(self, value: str, scale: np.ndarray, shift: np.ndarray, origin: str) -> str:
        """Append y = scale · x + shift."""
        s = self.constant(f"{self.prefix}_scale", scale, origin)
        t = self.constant(f"{self.prefix}_shift", shift, origin)
        return self.emit(f"{self.prefix}_affine", Affine(), (value, s, t), scale.shape, origin)

    def dense(
        self,
        value: str,
        weight: np.ndarray,
        bias: np.ndarray,
        origin: str,
        *,
        name: str = "",
        codes: Codes | None = None,
        weight_origin: str = "",
    ) -> str:
        """Append y = weight · x + bias (weight: outputs × inputs) as the next layer, or under *name* as none."""
        if not name:
            self.layer += 1
            name = self.prefix
        # the integers behind them are what counts where there are any
        data = np.asarray(weight, dtype=np.float64)
        w = self.emit(f"{name}_weight", Constant(data), (), data.shape, weight_origin)
        if codes is not None:
            self.weight_codes[w] = codes
        b = self.constant(f"{name}_bias", bias, origin)
        return self.emit(f"{name}_sum", Dense(), (value, w, b), (weight.shape[0],), origin)

    def scaled(self, row: Row, scale: np.ndarray, shift: np.ndarray, call: Call) -> Row:
        """Return scale · row + shift, element by element: fused into picked Input elements or into a Dense's bias."""
        origin = str(call.proto.name)
        scale, shift = self.exact(scale), self.exact(shift)
        columns = row.columns
        if columns is not None:
            if self.quantised:
                columns = PickedColumns(columns.index, self.exact(columns.scale), self.exact(columns.shift))
            steps = () if self.quantised else self._steps(columns, scale, shift, call)
            merged = PickedColumns(columns.index, scale * columns.scale, scale * columns.shift + shift, steps)
            return replace(row, columns=merged)
        node = self.node(row.value)
        if isinstance(node.op, Forest) and not row.shared:
            op = replace(node.op, leaves=node.op.leaves * scale, base=node.op.base * scale + shift)
            self.change(replace(node, op=op))
            return row
        if isinstance(node.op, Dense) and (scale == 1).all() and not row.shared:
            self.add_to_bias(node, shift)
            return row
        return replace(row, value=self.affine(row.value, scale, shift, origin))

    @staticmethod
    def _steps(columns: PickedColumns, scale: np.ndarray, shift: np.ndarray, call: Call) -> tuple[Steps, ...]:
        """Return what the model did to each of *columns*, with what *call* does to them now."""
        offset = call.attributes.get("offset") or [0.0]
        taken = np.broadcast_to(np.array(offset, dtype=np.float64), scale.shape) if call.op == "Scaler" else None
        now = scaling_steps(call.op, taken, scale, shift)
        before: tuple[Steps, ...] = columns.steps or ((),) * len(now)
        return tuple(first + then for first, then in zip(before, now, strict=True))

    def add_to_bias(self, dense: Node, shift: np.ndarray) -> None:
        """Add *shift* to the bias of *dense*, which nothing but the node at hand reads."""
        shift = self.exact(shift)
        for position, node in enumerate(self.nodes):
            if node.name == dense.inputs[2] and isinstance(node.op, Constant):
                self.nodes[position] = replace(node, op=Constant(node.op.data + shift))

    def flatten_input(self, value: str, shape: tuple[int, ...]) -> str:
        """Append the Reshape to a flat vector where the Input is none."""
        if len(shape) == 1:
            return value
        return self.emit(f"{value}_flat", Reshape(), (value,), (math.prod(shape),))


def carry_out(work: Importer, call: Call, handler: Handler) -> tuple[Value, ...]:
    """Return what *handler* makes of *call*; a refusal is kept, and its outputs are broken."""
    count = len(call.proto.output)
    try:
        made = handler(work, call)
    except Refusal as refusal:
        work.refuse(where(call.proto), refusal)
        return (Broken(any(value is not None and not isinstance(value, Known) for value in call.values)),) * count
    values = made if isinstance(made, tuple) else (made,)
    values = values + (Broken(),) * (count - len(values))
    if any(isinstance(value, Row) and not value.elements for value in values):
        why = "makes rows without an element: nothing is left to decide on"
        work.refuse(where(call.proto), Refusal(why, REMEDY_EMPTY))
        return (Broken(),) * count
    return tuple(_bound(work, name, value) for name, value in zip(call.proto.output, values))


def _bound(work: Importer, name: str, value: Value) -> Value:
    """Return *value* as the ONNX tensor *name*: told its name, and whether several nodes read it."""
    if not isinstance(value, Row):
        return value
    shared = value.shared or work.readers.get(name, 0) > 1
    return replace(value, shared=shared, tensor=name if value.stage == PLAIN else value.tensor)


def where(proto: NodeProto) -> str:
    """Return what to call a node in a problem: its name and operator."""
    from .loading import node_title

    return f"node {node_title(proto)} ({shown(proto.op_type)})"
