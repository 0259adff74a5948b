"""A whole ONNX model → a Graph: inputs, the walk over the nodes, the choice of the output, labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.data.dataset import CLASSIFICATION, MULTILABEL, REGRESSION
from approxhw.common.errors import InvalidModelError, Problem, UnsupportedModelError, shown
from approxhw.frontends.quantised.lowering import Unread, lower_graph
from approxhw.frontends.tensors.folding import FOLDABLE, array_of, attributes, constant_node, fold
from approxhw.frontends.tensors.values import (
    PLAIN,
    SIGMOID,
    Broken,
    ClassPrediction,
    Known,
    PickedColumns,
    Refusal,
    Row,
    Value,
    check_width,
)
from approxhw.ir.graph import Graph, Node, identifier, without_unread
from approxhw.ir.kinds import Input, Type
from approxhw.numerics.formats import FLOAT64

from . import support
from .importer import PROBE, Call, Importer, carry_out, where
from .loading import ML, ML_OPSETS, QONNX, Loaded
from .quantised import limits_of
from .tail import label_bits, predicted_class, regression_values

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

QUANTISERS = ("QuantizeLinear", "DequantizeLinear")
"""Operators of the standard, and of onnxruntime, that make a model a quantised one; those of QONNX all do."""

MAXIMUM_FOLDED = 1 << 26
"""Most elements of all folded constants together."""


@dataclass(frozen=True)
class Reading:
    """What a model was read as: the Graph (None where there are problems), and how its output tells the class.

    ``output``: the ONNX output that was read; ``is_label``: whether it holds class indices or labels.
    ``logits``: the ONNX tensor whose order decides, if there is one.
    ``widths``: per model input, its name and the shape of its row.
    ``batch``: fixed number of rows a run, None where it is open, 0 where the model has no batch axis.
    ``batch_axes``: where the batch axis of ``output`` and ``logits`` stands, where that is not in front. ``bound``: what a
    single score, or that of a label, is greater than for class 1. ``notes``: what the user should know of how the model was
    taken. ``whole_inputs``: inputs of whole numbers, by name.
    """

    graph: Graph | None
    problems: tuple[Problem, ...]
    invalid: bool
    output: str = ""
    is_label: bool = False
    logits: str = ""
    widths: tuple[tuple[str, tuple[int, ...]], ...] = ()
    batch: int | None = None
    batch_axes: tuple[tuple[str, int], ...] = ()
    bound: float = 0.0
    task: str = CLASSIFICATION
    doubtful: bool = False
    """Whether nothing in the model tells a classifier from what makes real values, or several labels."""
    notes: tuple[str, ...] = ()
    whole_inputs: tuple[str, ...] = ()

    def whole(self, title: str) -> Graph:
        """Return the Graph, or raise every problem."""
        if self.graph is not None and not self.problems:
            return self.graph
        raise (InvalidModelError if self.invalid else UnsupportedModelError)(shown(title), self.problems)


@dataclass(frozen=True)
class _Inputs:
    rows: dict[str, Row]
    widths: tuple[tuple[str, tuple[int, ...]], ...]
    batch: int | None


def read_loaded(loaded: Loaded, titles: tuple[str, ...] = (), task: str | None = None) -> Reading:
    """Return what *loaded* means; *titles*: the user's names of the features, if they are known.

    *task*: what the model is for (``common.dataset.TASKS``); None: what it says itself, and a class where it says nothing.
    """
    proto = loaded.proto
    work = Importer(PROBE)
    known = _initializers(work, proto)
    try:
        inputs = _inputs(work, proto, known, titles)
        outputs, task = _chosen_outputs(proto, task)
    except Refusal as refusal:
        work.refuse("model", refusal)
        return Reading(None, tuple(work.problems), work.invalid)
    needed = _needed(proto, outputs)
    work.quantised = any(node.op_type in QUANTISERS or node.domain in QONNX for node in needed)
    for node in needed:
        for name in node.input:
            work.readers[name] = work.readers.get(name, 0) + 1
    if str(proto.producer_name) == "skl2onnx":
        work.finals = frozenset(outputs)
    for name in outputs:
        work.readers[name] = work.readers.get(name, 0) + 1
    values: dict[str, Value] = {**known, **inputs.rows}
    functions = frozenset((function.domain, function.name) for function in proto.functions)
    kinds = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    for node in needed:
        values.update(zip(node.output, _node(work, node, values, loaded, functions, kinds)))
    return _finished(work, loaded, inputs, outputs, values, task)


def _finished(
    work: Importer, loaded: Loaded, inputs: _Inputs, outputs: list[str], values: dict[str, Value], task: str | None
) -> Reading:
    prediction, output = None, outputs[0]
    chosen = task or (REGRESSION if _is_regressor(loaded.proto, values, outputs) else CLASSIFICATION)
    if not any(isinstance(values[name], Broken) for name in outputs):
        try:
            output = _one_output(outputs, values)
            prediction = _ENDS[chosen](work, values[output])
            output = _without_names(loaded.proto, output)
        except Refusal as refusal:
            work.refuse(f"output {shown(repr(output))}", refusal)
    graph = None
    if prediction is not None and not work.problems:
        graph = _graph(work, loaded, prediction)
    logits = prediction.tensor if prediction else ""
    is_label = isinstance(values[output], ClassPrediction)
    problems = tuple(work.problems)
    rows = {name: values[name] for name in (output, logits) if isinstance(values.get(name), Row)}
    axes = tuple((name, row.batch) for name, row in rows.items() if isinstance(row, Row) and row.batch)
    told = values[output]
    bound = prediction.bound if prediction else 0.0
    if chosen != REGRESSION and isinstance(told, Row) and told.stage == SIGMOID and not logits:
        bound = 0.5  # there is no tensor of the logits: what tells the class is the probability
    doubtful = task is None and chosen == CLASSIFICATION and not is_label
    return Reading(
        graph,
        problems,
        work.invalid,
        output,
        is_label,
        logits,
        inputs.widths,
        inputs.batch,
        axes,
        bound,
        chosen,
        doubtful,
        _notes(output, told, bound) if chosen == CLASSIFICATION else (),
        _whole_inputs(loaded.proto, inputs),
    )


_ENDS = {CLASSIFICATION: predicted_class, REGRESSION: regression_values, MULTILABEL: label_bits}
"""Task → what makes the end of a Graph of the model's output."""


def _is_regressor(proto: ModelProto, values: dict[str, Value], outputs: list[str]) -> bool:
    """Whether the model itself says that it makes real values: by its operator, or as skl2onnx writes regressors.

    A classifier of skl2onnx has an output of labels beside the probabilities, or ends in these; a regressor has one output.
    """
    if len(outputs) != 1 or not isinstance(row := values[outputs[0]], Row) or row.stage != PLAIN:
        return False
    made = [
        node
        for node in proto.graph.node
        if node.domain == ML and (node.op_type.endswith("Regressor") or node.op_type == "TreeEnsemble")
    ]
    return bool(made) or (str(proto.producer_name) == "skl2onnx" and len(proto.graph.output) == 1)


def _notes(output: str, value: Value, bound: float) -> tuple[str, ...]:
    """Return what was taken for what, where the model does not say it."""
    if not isinstance(value, Row) or value.elements != 1 or value.stage != PLAIN:
        return ()
    name, what = shown(repr(output)), "a probability" if bound else "a logit"
    return (f"output {name} is one number a row: it is taken as {what}, class 1 where it is above {bound:g}",)


def _whole_inputs(proto: ModelProto, inputs: _Inputs) -> tuple[str, ...]:
    """Return the names of the inputs that are of an integer type."""
    from onnx import TensorProto

    floats = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
    kinds = {value.name: value.type.tensor_type.elem_type for value in proto.graph.input}
    return tuple(name for name, _ in inputs.widths if kinds[name] not in floats)


def _graph(work: Importer, loaded: Loaded, prediction: ClassPrediction) -> Graph | None:
    """Return the Graph of what was read: integers, where the model is quantised."""
    producer = loaded.proto.producer_name
    source = shown(f"{loaded.title} ({producer})" if producer else loaded.title, 200)
    graph = Graph(
        identifier(loaded.stem, default="model"), tuple(work.nodes), prediction.value, prediction.labels, source
    )
    graph = without_unread(graph)
    count = graph.classes or graph[graph.output].type.elements
    if prediction.labels and len(prediction.labels) != count:
        why = f"{len(prediction.labels)} class labels for {count} classes"
        work.refuse("class labels", Refusal(why, "export the model again", invalid=True))
        return None
    if not work.quantised:
        return graph
    lowered = lower_graph(graph, work.weight_codes)
    if isinstance(lowered, Unread):
        node, error = lowered.node, lowered.error
        title = f"node {node.origin!r}" if node.origin else f"value {node.name}"
        work.refuse(title, Refusal(error.why, error.remedy, invalid=error.invalid))
        return None
    return lowered


def _initializers(work: Importer, proto: ModelProto) -> dict[str, Known]:
    """Return every initializer; NaN and infinity are problems, but for bounds of Clip, Min and Max."""
    bounds: set[str] = set()
    others: set[str] = set()
    for node in proto.graph.node:
        (bounds if node.op_type in ("Clip", "Min", "Max") else others).update(node.input)
    known: dict[str, Known] = {}
    for tensor in proto.graph.initializer:
        array = array_of(tensor)
        known[tensor.name] = Known(array, tensor.name)
        if array.dtype.kind == "f" and tensor.name in others and not np.isfinite(array).all():
            count = int((~np.isfinite(array)).sum())
            why = f"{count} of {array.size} values are NaN or infinite"
            work.refuse(f"initializer {shown(repr(tensor.name))}", Refusal(why, "train the model again", invalid=True))
    return known


def _inputs(work: Importer, proto: ModelProto, known: dict[str, Known], titles: tuple[str, ...]) -> _Inputs:
    """Append the Graph's Input and return the ONNX inputs as pieces of it. Initializers listed as inputs are none."""
    declared = [value for value in proto.graph.input if value.name not in known]
    if not declared:
        raise Refusal("it has no input: there is nothing to classify", "make the features an input")
    shapes: list[tuple[str, tuple[int, ...], bool]] = []
    sizes: dict[str, int | None] = {}
    for value in declared:
        shape, batch = _input_shape(value)
        shapes.append((value.name, shape, batch != 0))
        sizes[value.name] = batch
    if len(set(sizes.values())) > 1:
        raise _different_batches(sizes)
    work.integer_input = _integers(declared)
    batch = next(iter(sizes.values()))
    work.batch_size = PROBE if batch is None else max(batch, 1)
    total = sum(math.prod(shape) for _, shape, _ in shapes)
    check_width(total)
    work.taken.add("x")
    names = _feature_names(shapes, total, titles)
    identifiers: list[str] = []
    for position, name in enumerate(names):
        made = identifier(name, work.taken, default="x") if name else f"x{position}"
        work.taken.add(made)
        identifiers.append(made)
    work.features = tuple(identifiers)
    shape = shapes[0][1] if len(shapes) == 1 else (total,)
    all_titles = tuple(name or made for name, made in zip(names, identifiers))
    work.nodes.append(
        Node("x", Input(work.features, all_titles), (), Type(shape or (1,), FLOAT64), shown(declared[0].name))
    )
    flat = work.flatten_input("x", shape or (1,))
    rows, start = {}, 0
    for name, dims, batched in shapes:
        count = math.prod(dims)
        columns = PickedColumns(np.arange(start, start + count), np.ones(count), np.zeros(count))
        rows[name] = Row(flat, dims, 0 if batched else None, name, columns=columns)
        start += count
    return _Inputs(rows, tuple((name, dims) for name, dims, _ in shapes), batch)


def _integers(declared: list[ValueInfoProto]) -> tuple[int, int] | None:
    """Return the least and greatest reading of inputs that are all of one integer type of at most 16 bits."""
    kinds = {value.type.tensor_type.elem_type for value in declared}
    return limits_of(kinds.pop()) if len(kinds) == 1 else None


def _different_batches(sizes: dict[str, int | None]) -> Refusal:
    """Return what to tell of inputs whose first axes differ: fixed ones beside an open one are constants, as a rule."""
    fixed = [name for name, batch in sizes.items() if batch is not None]
    if None in sizes.values():
        named = ", ".join(shown(repr(name), 60) for name in fixed[:4]) + (", …" if len(fixed) > 4 else "")
        many = "these inputs have a fixed first axis" if len(fixed) > 1 else "this input has a fixed first axis"
        why = f"{many}, the others an open one: {named}; exporters leave constants outside so (tf2onnx does it)"
        return Refusal(why, "add an initializer of the same name with its value for each of them, or export without it")
    spelled = ", ".join(f"{shown(repr(name), 60)} {batch or 'none'}" for name, batch in list(sizes.items())[:8])
    return Refusal(f"its inputs have different batch axes: {spelled}", "give every input the same first axis")


def _feature_names(shapes: list[tuple[str, tuple[int, ...], bool]], total: int, titles: tuple[str, ...]) -> list[str]:
    """Return a title a feature: given ones, else the names of inputs of one column each, else none."""
    if len(titles) == total:
        return [str(title)[:200] for title in titles]
    if len(shapes) > 1:
        names: list[str] = []
        for name, shape, _ in shapes:
            count = math.prod(shape)
            names += [name[:200]] if count == 1 else [f"{name[:180]} {position}" for position in range(count)]
        return names
    return [""] * total


def _input_shape(value: ValueInfoProto) -> tuple[tuple[int, ...], int | None]:
    """Return the shape of one row and the batch: None where it is open, its size where fixed, 0 where there is none."""
    from onnx import TensorProto

    title = f"input {shown(repr(value.name))}"
    kind = value.type.tensor_type
    numeric = {
        TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8,
        TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32, TensorProto.INT64,
    }  # fmt: skip
    if not value.type.HasField("tensor_type") or kind.elem_type not in numeric:
        raise Refusal(f"{title} is no tensor of numbers", "encode text and categories before the model")
    if not kind.HasField("shape") or not kind.shape.dim:
        raise Refusal(f"{title} has no shape", "export with a fixed number of features")
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
    features = dims[1:] if len(dims) > 1 else dims
    if any(dim is None for dim in features):
        named = [shown(dim.dim_param or "?") for dim in kind.shape.dim]
        raise Refusal(
            f"{title} has a dynamic feature dimension ({', '.join(named)})",
            "export with a fixed number of features",
        )
    shape = tuple(int(dim) for dim in features if dim is not None)
    if any(dim < 1 for dim in shape):
        raise Refusal(f"{title} has a dimension of {min(shape)}", "export with at least one feature", invalid=True)
    if len(dims) == 1:
        return shape, 0
    batch = dims[0]
    if batch is None or batch < 1:  # old exporters write 0 or -1 for an open batch axis
        return shape, None
    return shape, int(batch)


def _chosen_outputs(proto: ModelProto, task: str | None) -> tuple[list[str], str | None]:
    """Return the label output where the model has one, else every output that may hold scores; and the task, where it is known.

    Labels of several columns are independent ones: then, and for another task than classification, scores are what is read.
    """
    from onnx import TensorProto

    label_types = (TensorProto.INT64, TensorProto.INT32, TensorProto.STRING, TensorProto.BOOL)
    outputs = list(proto.graph.output)
    told = [value for value in outputs if value.type.tensor_type.elem_type in label_types]
    labels, scores = [value.name for value in told], [value.name for value in outputs if value not in told]
    if task is None and len(told) == 1 and scores and _tells_labels_apart(proto, told[0]):
        task = MULTILABEL
    if task in (REGRESSION, MULTILABEL) and scores:
        return scores, task
    if len(labels) == 1:
        return labels, task
    if len(labels) > 1:
        named = ", ".join(shown(repr(name)) for name in labels[:8])
        raise Refusal(f"it has several outputs of labels ({named})", "keep one class output", invalid=False)
    return [value.name for value in outputs], task


def _tells_labels_apart(proto: ModelProto, output: ValueInfoProto) -> bool:
    """Whether *output* holds a truth for each of several labels: it has columns, or comes from a Binarizer."""
    columns = [dim.dim_value for dim in output.type.tensor_type.shape.dim[1:]]
    makers = {name: node for node in proto.graph.node for name in node.output}
    maker = makers.get(output.name)
    while maker is not None and maker.op_type in ("Cast", "Identity"):
        maker = makers.get(maker.input[0])
    return (len(columns) == 1 and columns[0] > 1) or (maker is not None and maker.op_type == "Binarizer")


def _one_output(outputs: list[str], values: dict[str, Value]) -> str:
    """Return the output that tells the class; several must be forms of the same scores, or those and their class."""
    tensors = [values[name] for name in outputs]
    if len(outputs) == 1:
        return outputs[0]
    behind = {value.value for value in tensors if isinstance(value, Row | ClassPrediction)}
    if len(behind) == 1 and all(isinstance(value, Row) for value in tensors):
        return max(outputs, key=lambda name: getattr(values[name], "elements", 0))
    classes = [(name, value) for name, value in zip(outputs, tensors) if isinstance(value, ClassPrediction)]
    scores = {value.value for value in tensors if isinstance(value, Row)}
    if len(classes) == 1 and len(scores) == 1 and classes[0][1].tensor and len(tensors) == len(outputs):
        tensor = classes[0][1].tensor
        if all(
            isinstance(value, ClassPrediction) or (isinstance(value, Row) and value.tensor == tensor)
            for value in tensors
        ):
            return classes[0][0]
    named = ", ".join(shown(repr(name)) for name in outputs[:8])
    raise Refusal(
        f"the model has {len(outputs)} outputs that are not forms of the same scores ({named})", "keep one class output"
    )


def _without_names(proto: ModelProto, output: str) -> str:
    """Return the tensor behind *output*: a ZipMap makes dictionaries, label → score, of it."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    while (maker := makers.get(output)) is not None and maker.op_type == "ZipMap":
        output = maker.input[0]
    return output


def _needed(proto: ModelProto, outputs: list[str]) -> list[NodeProto]:
    """Return the nodes that *outputs* depend on, in order."""
    wanted, kept = set(outputs), []
    for node in reversed(proto.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return list(reversed(kept))


def _node(
    work: Importer,
    node: NodeProto,
    values: dict[str, Value],
    loaded: Loaded,
    functions: frozenset[tuple[str, str]],
    kinds: dict[str, int],
) -> tuple[Value, ...]:
    """Return the outputs of *node*; problems of its operator are found even where its inputs are broken already."""
    standard = node.domain in ("", "ai.onnx")
    entry = support.supported_operator(node)
    found = [values.get(name) if name else None for name in node.input]
    computed = any(
        value.computed if isinstance(value, Broken) else not isinstance(value, Known) for value in found if value
    )
    broken = (Broken(computed),) * len(node.output)
    constant = bool(found) and all(value is None or isinstance(value, Known) for value in found) and any(found)
    foldable = standard and constant and node.op_type in FOLDABLE
    if (entry is None and not foldable and not (standard and node.op_type == "Constant")) or (
        node.domain,
        node.op_type,
    ) in functions:
        if any(isinstance(value, Broken) for value in found) and not computed and standard and node.op_type in FOLDABLE:
            return broken  # a constant, had its inputs been readable
        work.problems.append(support.unsupported(node, functions, support.from_scores(loaded.proto)))
        return broken
    if problem := _schema_problem(node, loaded):
        work.refuse(where(node), Refusal(problem, "export the model again", invalid=True))
        return broken
    if any(isinstance(value, Broken) for value in found):
        return broken
    types = {position: kinds[name] for position, name in enumerate(node.input) if name in kinds}
    call = Call(node, tuple(found), attributes(node), loaded.opset, types, work.quantised, work)
    return carry_out(work, call, _folded if _folds(call, foldable) else entry.handler if entry else _constant)


def _folds(call: Call, foldable: bool) -> bool:
    """Whether *call* is a constant that keeps no integers of its own."""
    if not foldable:
        return False
    keeps = any(isinstance(value, Known) and value.codes is not None for value in call.values)
    return call.op not in QUANTISERS and not (keeps and call.op in ("Transpose", "Identity"))


def _folded(work: Importer, call: Call) -> Value | tuple[Value, ...]:
    inputs = [value if isinstance(value, Known) else None for value in call.values]
    sized = any(value is not None and value.sized for value in inputs)
    arrays = fold(call.proto, inputs, call.opset, MAXIMUM_FOLDED - work.folded)
    work.folded += sum(array.size for array in arrays)
    return tuple(Known(array, str(call.proto.name), sized=sized) for array in arrays)


def _constant(work: Importer, call: Call) -> Value:
    array = constant_node(call.attributes)
    if array.dtype.kind == "f" and array.size > 1 and not np.isfinite(array).all():
        raise Refusal("its value holds NaN or infinity", "train the model again", invalid=True)
    return Known(array, str(call.proto.name))


def _schema_problem(node: NodeProto, loaded: Loaded) -> str | None:
    """Return what the ONNX schema says against *node* (number of inputs, attributes, versions), or None."""
    from onnx import checker

    if node.domain not in ("", "ai.onnx", ML):
        return None
    context = checker.DEFAULT_CONTEXT
    fresh = type(context)()
    fresh.ir_version = context.ir_version
    versions = {"": loaded.opset, ML: ML_OPSETS[0]}
    versions.update({entry.domain: entry.version for entry in loaded.proto.opset_import if entry.domain == ML})
    fresh.opset_imports = versions
    try:
        checker.check_node(node, fresh)
    except UnicodeDecodeError:  # the checker's own message fails so
        return "breaks the rules of its operator, and holds text that is no UTF-8"
    except checker.ValidationError as error:
        first = (str(error).splitlines() or [""])[0]
        return f"breaks the rules of its operator: {shown(first, 200)}"
    return None
