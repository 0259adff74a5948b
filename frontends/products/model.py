"""An ONNX model as the matrix engine takes it apart: nodes, constants as arrays, inputs with their sizes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.errors import OptionError, Problem, UnsupportedModelError, shown
from approxhw.frontends.onnx.loading import (
    STANDARD,
    Loaded,
    ModelSource,
    load,
    node_title,
)
from approxhw.frontends.runtime.standard_nodes import standard_nodes
from approxhw.ir.kinds.tensor.ops import misfit, spell_dims

from .inlining import inline_branches, inline_functions
from .names import fixed_names, needed_nodes, nodes_inside
from .quantised_nodes import plain_quantised
from .recurrent import unroll

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto

MAXIMUM_MODEL = 2 << 30
"""Largest model file, and external data, in bytes; a protobuf file can be no larger."""

MAXIMUM_VALUE = 1 << 30
"""Largest tensor that a node may make, in bytes."""

PRODUCTS = frozenset(["MatMul", "Gemm", "Conv", "ConvTranspose"])
"""Operators that run on the engine."""

CODE_PRODUCTS = frozenset(["MatMulInteger", "ConvInteger"])
"""Operators that an engine of whole numbers carries out."""

NATIVE = frozenset(
    ["float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
)
"""Element types that NumPy and onnxruntime both know."""

_MOST_TOLD = 8
"""Most products outside of the engine that an error names."""

_INTEGER = frozenset(["MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv", "DynamicQuantizeMatMul", "QGemm"])
"""Operators that multiply whole numbers."""

_OTHERS = _INTEGER | {"Einsum", "LSTM", "GRU", "RNN", "Attention", "DeformConv"}
"""Operators that multiply matrices too, and stay in onnxruntime."""

_MICROSOFT = "com.microsoft"
"""The domain of onnxruntime's own operators."""

MAXIMUM_SIZE = 1 << 31
"""Sizes of inputs stay below it."""


@dataclass(frozen=True)
class ModelInput:
    """An input: its NumPy type, and its sizes: a number, or the name of an open one; None where even the rank is open."""

    name: str
    dtype: str
    dims: tuple[int | str, ...] | None

    def __str__(self) -> str:
        """Return name and sizes, open ones by name."""
        return spell_dims(self.name, self.dims)


@dataclass(frozen=True)
class EngineModel:
    """``nodes``: NodeProtos in order. ``constants``: by name. ``odd``: TensorProtos of types that NumPy lacks.

    ``fixed``: names that depend on constants alone; ``sizes``: of every input, as the user gave or the model fixed them.
    """

    title: str
    nodes: tuple[NodeProto, ...]
    constants: dict[str, np.ndarray]
    odd: dict[str, TensorProto]
    fixed: frozenset[str]
    inputs: tuple[ModelInput, ...]
    sizes: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]
    opsets: tuple[OperatorSetIdProto, ...]
    ir_version: int
    left: tuple[str, ...]
    integers: bool = False
    """Whether products of codes become Nodes."""


def read_engine_model(
    source: ModelSource | Loaded, shape: Mapping[str, Sequence[int]] | None = None, *, integers: bool = False
) -> EngineModel:
    """Return the model of *source* (path or ``ModelProto``); *shape*: sizes of inputs whose own are open.

    ``integers``: products of codes, and what makes codes of numbers and numbers of codes, are to become Nodes too.
    Raises :class:`InvalidModelError`, :class:`UnsupportedModelError` where it holds no matrix product, and
    :class:`OptionError` where *shape* does not fit or is needed and not there.
    """
    loaded = load_products(source)
    title = loaded.title
    proto, stays = unroll(inline_branches(inline_functions(loaded.proto, title), title))
    proto = _without_maps(standard_nodes(proto))
    proto = plain_quantised(proto) if integers else proto
    constants, odd = _constants(proto)
    live = needed_nodes(proto.graph.node, [value.name for value in proto.graph.output])
    nodes = tuple(node for node in live if not _is_tensor(node))
    known = constants.keys() | odd.keys()
    inputs = _inputs(proto, known, title)
    # constant codes stay codes: weights of products that an engine of whole numbers carries out
    fixed = fixed_names([node for node in nodes if not (integers and node.op_type == "DequantizeLinear")], known)
    left = tuple(_left(nodes, stays, integers))
    if not any(is_engine_product(node, integers) and node.output[0] not in fixed for node in nodes):
        why = "no MatMul, Gemm, Conv or ConvTranspose that reads an input: an engine has nothing to do"
        others = sorted({shown(node.op_type) for node in nodes})
        remedy = f"its operators are {', '.join(others[:12])}; choose a model of dense or convolutional layers"
        stay = [Problem("products", sentence) for sentence in left[:_MOST_TOLD]]
        raise UnsupportedModelError(shown(title), [Problem("model", f"it holds {why}", remedy), *stay])
    return EngineModel(
        title=title,
        nodes=nodes,
        constants=constants,
        odd=odd,
        fixed=fixed,
        inputs=inputs,
        sizes=sizes_of_inputs(inputs, shape),
        outputs=tuple(value.name for value in proto.graph.output),
        opsets=tuple(proto.opset_import),
        ir_version=proto.ir_version,
        left=left,
        integers=integers,
    )


def _without_maps(proto: ModelProto) -> ModelProto:
    """Return *proto* with tensors for outputs of which ZipMap, which skl2onnx puts behind, makes rows of dictionaries."""
    from onnx import helper

    read = {name for node in proto.graph.node for name in node.input}
    outputs = {value.name: value for value in proto.graph.output}
    for node in proto.graph.node:
        if node.op_type == "ZipMap" and node.domain == "ai.onnx.ml" and node.output[0] in outputs.keys() - read:
            outputs[node.output[0]].ClearField("type")
            node.CopyFrom(helper.make_node("Identity", [node.input[0]], [node.output[0]], name=node.name))
    return proto


def load_products(source: ModelSource | Loaded) -> Loaded:
    """Return the model of *source* (path or ``ModelProto``), read and checked; other functions here take it in its place."""
    return source if isinstance(source, Loaded) else load(source, maximum=MAXIMUM_MODEL)


def model_inputs(source: ModelSource | Loaded) -> tuple[ModelInput, ...]:
    """Return the inputs of the model in *source*, whatever sizes it leaves open. Raises as :func:`read_engine_model`."""
    loaded = load_products(source)
    known = {tensor.name for tensor in loaded.proto.graph.initializer}
    return _inputs(loaded.proto, known, loaded.title)


def is_engine_product(node: NodeProto, integers: bool = False) -> bool:
    """Return whether *node* multiplies matrices in a way that the engine knows; with *integers*, those of codes too."""
    return node.domain in STANDARD and (node.op_type in PRODUCTS or (integers and node.op_type in CODE_PRODUCTS))


def _is_tensor(node: NodeProto) -> bool:
    return (
        node.op_type == "Constant"
        and node.domain in STANDARD
        and any(entry.name == "value" for entry in node.attribute)
    )


def _constants(proto: ModelProto) -> tuple[dict[str, np.ndarray], dict[str, TensorProto]]:
    """Return initializers and Constants, each taken out of *proto* as it is read, so that none is held twice."""
    from onnx import numpy_helper

    held: list[tuple[str, TensorProto]] = [(tensor.name, tensor) for tensor in proto.graph.initializer]
    for node in proto.graph.node:
        if _is_tensor(node):
            held.extend((node.output[0], entry.t) for entry in node.attribute if entry.name == "value")
    constants: dict[str, np.ndarray] = {}
    odd: dict[str, TensorProto] = {}
    for name, tensor in held:
        array = numpy_helper.to_array(tensor)
        if array.dtype.name in NATIVE:
            constants[name] = array
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
        else:
            odd[name] = type(tensor)()
            odd[name].CopyFrom(tensor)
            odd[name].name = name
    return constants, odd


def _inputs(proto: ModelProto, known: set[str], title: str) -> tuple[ModelInput, ...]:
    from onnx import helper

    problems, inputs = [], []
    for value in proto.graph.input:
        if value.name in known:
            continue
        kind = value.type.tensor_type
        try:
            dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        except KeyError:
            dtype = "no tensor"
        if dtype not in NATIVE and dtype != "object":
            why = f"its element type ({shown(dtype)}) cannot be fed to the model"
            problems.append(Problem(f"input {shown(value.name)!r}", why, "export with float32 or integer inputs"))
        dims = tuple(_dim(dim, axis) for axis, dim in enumerate(kind.shape.dim)) if kind.HasField("shape") else None
        inputs.append(ModelInput(value.name, dtype, dims))
    if problems:
        raise UnsupportedModelError(shown(title), problems)
    return tuple(inputs)


def _dim(dim: TensorShapeProto.Dimension, axis: int) -> int | str:
    if dim.HasField("dim_value") and dim.dim_value > 0:
        return int(dim.dim_value)
    return dim.dim_param or f"size{axis}"


def given_sizes(shape: Mapping[str, Sequence[int]] | None) -> dict[str, tuple[int, ...]]:
    """Return what a user says of sizes, or raise :class:`OptionError` where it is nothing of the kind."""
    how = "give a tuple of sizes by the name of an input, such as {'x': (1, 8)}"
    if shape is not None and not isinstance(shape, Mapping):
        raise OptionError("input shapes", [Problem("shape", f"{shown(repr(shape), 80)} is no dict", how)])
    wrong = [
        Problem("shape", f"{shown(repr(name), 40)}: {shown(repr(sizes), 40)} are no sizes of an input", how)
        for name, sizes in (shape or {}).items()
        if not isinstance(name, str) or isinstance(sizes, str) or not isinstance(sizes, Sequence | np.ndarray)
    ]
    if wrong:
        raise OptionError("input shapes", wrong)
    return {name: tuple(sizes) for name, sizes in (shape or {}).items()}


def sizes_of_inputs(
    inputs: Sequence[ModelInput], shape: Mapping[str, Sequence[int]] | None
) -> dict[str, tuple[int, ...]]:
    """Return the sizes of every input, or raise :class:`OptionError`."""
    problems, shape = [], given_sizes(shape)
    names = [value.name for value in inputs]
    for name in shape:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {shown(near[0])!r}?" if near else f"its inputs are {', '.join(map(shown, names))}"
            problems.append(Problem("shape", f"the model has no input {shown(name)!r}", hint))
    sizes = {}
    for value in inputs:
        if value.name not in shape:
            if value.dims is None or any(isinstance(dim, str) for dim in value.dims):
                example = " ".join(map(str, (dim if isinstance(dim, int) else 1 for dim in value.dims or ())))
                how = f"say them: --shape {shown(value.name)}={example.replace(' ', 'x') or '1x8'}"
                problems.append(Problem(f"input {shown(value.name)!r}", f"its sizes are open ({value})", how))
            else:
                sizes[value.name] = tuple(int(dim) for dim in value.dims)
            continue
        given = shape[value.name]
        if any(isinstance(size, bool) or not isinstance(size, int) or size >= MAXIMUM_SIZE for size in given):
            why = f"sizes are whole numbers below {MAXIMUM_SIZE}"
            problems.append(Problem(f"shape of input {shown(value.name)!r}", why, f"the model says {value}"))
        elif why := misfit(value.dims, given):
            problems.append(Problem(f"shape of input {shown(value.name)!r}", why, f"the model says {value}"))
        sizes[value.name] = given
    if problems:
        raise OptionError("input shapes", problems)
    return sizes


def _left(nodes: Sequence[NodeProto], stays: Mapping[str, str], integers: bool = False) -> list[str]:
    """Return a sentence for every product that stays outside of the engine: other operators, and those inside of branches.

    *stays*: why a recurrent node does, by its first output.
    """
    said = []
    for node in nodes:
        if integers and is_engine_product(node, integers):
            continue
        if node.domain in (*STANDARD, _MICROSOFT) and node.op_type in _OTHERS:
            why = next((f": {stays[name]}" for name in node.output if name in stays), "")
            if node.op_type in _INTEGER:
                why = (
                    ": its scales are computed"
                    if integers
                    else ": the engine multiplies floating-point numbers, not whole ones"
                )
            said.append(f"node {node_title(node)} ({shown(node.op_type)}) runs in onnxruntime, not on the engine{why}")
        inside = sum(is_engine_product(inner) for inner in nodes_inside(node))
        if inside:
            said.append(
                f"node {node_title(node)} ({shown(node.op_type)}) holds {inside} matrix products in its branches; "
                "they run in onnxruntime, not on the engine"
            )
    return said
