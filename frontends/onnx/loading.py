"""A model file or ``ModelProto`` → a ``ModelProto`` that is whole: sizes, external data, order, names, opsets.

Nothing is allocated that the file does not hold, and no file outside the model's folder is opened.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from approxhw.common.errors import InvalidModelError, Problem, shown
from approxhw.common.files import is_plain_file, opened, other_kind, read_bytes

if TYPE_CHECKING:
    from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

ModelSource: TypeAlias = "str | os.PathLike[str] | ModelProto"
"""Where a model comes from: the path of a file, or the model itself."""

MAXIMUM_FILE = 512 << 20
"""Largest model file and external data, in bytes."""

MAXIMUM_NODES = 20_000
"""Most nodes of a model."""

OLDEST_OPSET = 7
UNUSED_OPSET = 17
"""Of the standard operators where a model has none of them, and so need not say it."""
ML_OPSETS = range(1, 6)
STANDARD = ("", "ai.onnx")
ML = "ai.onnx.ml"
QONNX = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
REMEDY_EXPORT = "export the model again, or copy the whole file"


@dataclass(frozen=True)
class Loaded:
    """A whole model: external data is inside ``proto``; ``stem`` names it; ``opset`` of the standard operators.

    ``digest``: SHA-256 of the file, None where it was none.
    """

    proto: ModelProto
    stem: str
    title: str
    opset: int
    digest: str | None = None


def load(source: ModelSource, name: str | None = None, maximum: int | None = None) -> Loaded:
    """Return the model of *source* (path or ``ModelProto``), or raise :class:`InvalidModelError` with all problems.

    *maximum*: bytes of the model file, and of its external data, at most; ``MAXIMUM_FILE`` by default.
    """
    from onnx import ModelProto

    maximum = maximum or MAXIMUM_FILE

    if isinstance(source, ModelProto):
        proto, folder, digest = ModelProto(), None, None
        proto.CopyFrom(source)
        title = name or source.graph.name or "model"
        stem = title
    elif not isinstance(source, str | PathLike):
        why = f"{shown(type(source).__name__)} is no model that is read here"
        raise InvalidModelError(
            "model", [Problem("model", why, "give the path of an ONNX file, or an onnx.ModelProto")]
        )
    else:
        path = Path(source)
        title, stem, folder = path.name, path.stem, path.parent
        proto, digest = _parsed(path, maximum)
    subject = shown(title)
    problems = _envelope(proto)
    if problems:
        raise InvalidModelError(subject, problems)
    _sort(proto.graph)
    problems = [*_tensors(proto, folder, maximum), *_structure(proto)]
    if problems:
        raise InvalidModelError(subject, problems)
    return Loaded(proto, name or stem, title, _opsets(proto).get("", UNUSED_OPSET), digest)


def _parsed(path: Path, maximum: int) -> tuple[ModelProto, str]:
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    where = str(path)
    try:
        if not path.exists():
            raise InvalidModelError(path.name, [Problem(where, "there is no such file", "check the path")])
        if other := other_kind(path):
            raise InvalidModelError(
                path.name or where, [Problem(where, f"this is {other}, not a model file", "name the .onnx file")]
            )
        size = path.stat().st_size
        if size > maximum:
            why = f"the file has {size >> 20} MiB; models of more than {maximum >> 20} MiB are refused"
            raise InvalidModelError(path.name, [Problem(where, why, _remedy_size(maximum))])
        content = read_bytes(path, maximum)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a null byte in it
        raise InvalidModelError(path.name, [Problem(where, "there is no such file", "check the path")]) from error
    except OSError as error:
        raise InvalidModelError(path.name, [Problem(where, f"cannot be read ({error.strerror})")]) from error
    if not content:
        raise InvalidModelError(path.name, [Problem(where, "the file is empty", REMEDY_EXPORT)])
    proto = ModelProto()
    try:
        proto.ParseFromString(content)
    except (DecodeError, RecursionError) as error:
        why = "this is no ONNX model, or one that was cut short"
        raise InvalidModelError(path.name, [Problem(where, why, REMEDY_EXPORT)]) from error
    return proto, hashlib.sha256(content).hexdigest()


def _opsets(proto: ModelProto) -> dict[str, int]:
    return {("" if entry.domain in STANDARD else entry.domain): entry.version for entry in proto.opset_import}


def _envelope(proto: ModelProto) -> list[Problem]:
    """Problems of the outermost level: is it a model at all, and of versions that are known."""
    from onnx.defs import onnx_opset_version

    if not proto.HasField("graph") or (not proto.graph.node and not proto.graph.output):
        return [Problem("model", "it holds no graph: this is no ONNX model, or one that was cut short", REMEDY_EXPORT)]
    if any(isinstance(text, bytes) for text in _texts(proto)):  # what protobuf gives where it cannot decode
        return [Problem("model", "it holds names that are no UTF-8 text: the file is damaged", REMEDY_EXPORT)]
    opsets, problems = _opsets(proto), []
    newest = onnx_opset_version()
    if "" not in opsets:
        if not opsets or _uses_standard(proto.graph, *proto.functions):
            problems.append(Problem("opset", "the model does not say which opset its operators are of", REMEDY_EXPORT))
    elif opsets[""] < OLDEST_OPSET:
        why = f"opset {opsets['']} is too old; {OLDEST_OPSET} … {newest} are known"
        problems.append(Problem("opset", why, "convert it with onnx.version_converter, or export it again"))
    elif opsets[""] > newest:
        why = f"opset {opsets['']} is newer than what is known ({OLDEST_OPSET} … {newest})"
        problems.append(Problem("opset", why, "export with an older opset, such as 17"))
    if ML in opsets and opsets[ML] not in ML_OPSETS:
        problems.append(
            Problem("opset", f"opset {opsets[ML]} of {ML} is unknown; {ML_OPSETS[0]} … {ML_OPSETS[-1]} are known")
        )
    return problems


def _uses_standard(*holders: GraphProto | FunctionProto) -> bool:
    """Whether any node in *holders*, or in a graph within one, is a standard operator: then its opset must be said."""
    return any(
        node.domain in STANDARD
        or any(
            _uses_standard(*attribute.graphs, *([attribute.g] if attribute.HasField("g") else ()))
            for attribute in node.attribute
        )
        for holder in holders
        for node in holder.node
    )


def _texts(proto: ModelProto) -> Iterator[str | bytes]:
    """Yield every name in *proto* that is read; ``bytes`` where it is no UTF-8."""
    yield from (proto.graph.name, proto.producer_name)
    yield from (entry.domain for entry in proto.opset_import)
    for function in proto.functions:
        yield from (function.name, function.domain)
    for value in (*proto.graph.input, *proto.graph.output):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for node in proto.graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for _, tensor in all_tensors(proto):
        yield tensor.name
        for entry in tensor.external_data:
            yield from (entry.key, entry.value)


def all_tensors(proto: ModelProto) -> Iterator[tuple[str, TensorProto]]:
    """Yield what to call it and the tensor itself, for every initializer and every tensor attribute of a node."""
    for tensor in proto.graph.initializer:
        yield f"initializer {tensor.name!r}", tensor
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield f"node {node_title(node)}, attribute {attribute.name!r}", attribute.t
            for tensor in attribute.tensors:
                yield f"node {node_title(node)}, attribute {attribute.name!r}", tensor


def node_title(node: NodeProto) -> str:
    """Return what to call *node* in a message: its name, or what it makes."""
    if node.name:
        return shown(repr(node.name))
    made = next(iter(node.output), "")
    return f"that makes {shown(repr(made))}"


def _remedy_size(maximum: int) -> str:
    small = "approxhw is for small classifiers"
    return small if maximum <= MAXIMUM_FILE else "choose a smaller model, or store it in fewer bits"


def _tensors(proto: ModelProto, folder: Path | None, maximum: int) -> list[Problem]:
    problems: list[Problem] = []
    budget = maximum
    for where, tensor in all_tensors(proto):
        why, used = _tensor_problem(tensor, folder, budget, maximum)
        budget -= used
        if why is not None:
            problems.append(Problem(where, why[0], why[1]))
    for sparse in proto.graph.sparse_initializer:
        problems.append(Problem(f"initializer {sparse.values.name!r}", "sparse tensors are not read", "store it dense"))
    return problems


def _tensor_problem(
    tensor: TensorProto, folder: Path | None, budget: int, maximum: int
) -> tuple[tuple[str, str] | None, int]:
    """Return (why, remedy) or None, and how many bytes of external data were read into *tensor*."""
    from onnx import TensorProto, helper

    dims = list(tensor.dims)
    shape = "×".join(map(str, dims[:8])) or "scalar"
    if any(dim < 0 for dim in dims):
        return (f"has a negative dimension ({shape})", REMEDY_EXPORT), 0
    if len(dims) > 16:
        return (f"has {len(dims)} dimensions", REMEDY_EXPORT), 0
    count = math.prod(dims)
    try:
        bits = _bits(tensor.data_type)
    except KeyError:
        return (f"has the unknown element type {tensor.data_type}", REMEDY_EXPORT), 0
    needed = (count * bits + 7) // 8
    if tensor.data_location == TensorProto.EXTERNAL:
        return _external(tensor, folder, needed, budget, maximum)
    if tensor.data_type == TensorProto.STRING:
        held = len(tensor.string_data)
        return (None if held == count else (f"declares {count} strings ({shape}) but holds {held}", REMEDY_EXPORT)), 0
    if tensor.HasField("raw_data"):
        held = len(tensor.raw_data)
        if held != needed:
            return (f"declares {needed} bytes ({shape}) but holds {held}", REMEDY_EXPORT), 0
        return None, 0
    field = helper.tensor_dtype_to_field(tensor.data_type)
    values = len(getattr(tensor, field))
    per_value = 2 if tensor.data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128) else 1
    expected = count * per_value if bits >= 8 else math.ceil(count * bits / 8)
    if values != expected:
        return (f"declares {count} values ({shape}) but holds {values}", REMEDY_EXPORT), 0
    return None, 0


def _bits(data_type: int) -> int:
    """Return the stored size of one element in bits; raise ``KeyError`` for a type that does not exist."""
    from onnx import TensorProto, helper

    if data_type == TensorProto.STRING:
        return 8
    narrow = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
    try:
        name = TensorProto.DataType.Name(data_type)
    except ValueError:
        raise KeyError(data_type) from None
    if name == "UNDEFINED":
        raise KeyError(data_type)
    return narrow[name] if name in narrow else int(helper.tensor_dtype_to_np_dtype(data_type).itemsize) * 8


def _external(
    tensor: TensorProto, folder: Path | None, needed: int, budget: int, maximum: int
) -> tuple[tuple[str, str] | None, int]:
    """Read the external data of *tensor* into it, if its file lies in the model's folder and is as long as declared."""
    from onnx import TensorProto

    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    named = shown(repr(location))
    if folder is None:
        return (f"lies in external data ({named}), but the model has no folder", "give the path of the model file"), 0
    refused = (f"external data {named} lies outside the model's folder: refused", "put the file beside the model")
    pure = Path(location)
    if (
        not location
        or "\0" in location
        or pure.is_absolute()
        or ".." in pure.parts
        or ":" in location
        or "\\" in location
    ):
        return refused, 0
    base = folder.resolve()
    path = base / pure
    try:
        if not path.resolve().is_relative_to(base):
            return refused, 0
    except (OSError, RuntimeError):  # no name that a file can have, or links in a circle
        return (f"its external data file {named} cannot be one", REMEDY_EXPORT), 0
    if not is_plain_file(path):
        return (f"its external data file {named} is missing", "copy it beside the model"), 0
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries.get("length") or needed)
    except ValueError:
        return (f"the offset or length of its external data {named} is no number", REMEDY_EXPORT), 0
    size = path.stat().st_size
    if offset < 0 or length != needed or offset + length > size:
        why = f"declares {needed} bytes, its external data {named} gives {length} at {offset} of a file of {size}"
        return (why, REMEDY_EXPORT), 0
    if needed > budget:
        return (f"external data of more than {maximum >> 20} MiB is refused", _remedy_size(maximum)), 0
    try:
        with opened(path) as file:
            file.seek(offset)
            content = file.read(length)
    except OSError as error:
        return (f"its external data {named} cannot be read ({error.strerror})", "copy it beside the model"), 0
    if len(content) != length:
        return (f"its external data {named} ends too early", REMEDY_EXPORT), 0
    tensor.raw_data = content
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]
    return None, needed


def _sort(graph: GraphProto) -> None:
    """Put nodes behind those that make what they read, which some tools forget and onnxruntime does, too; cycles stay."""
    if len(graph.node) > MAXIMUM_NODES:
        return
    makers = {
        name: position for position, node in reversed(list(enumerate(graph.node))) for name in node.output if name
    }
    needs = [{makers[name] for name in _reads(node) if name in makers} for node in graph.node]
    if all(before < position for position, found in enumerate(needs) for before in found):
        return
    readers: dict[int, list[int]] = {}
    for position, found in enumerate(needs):
        for before in found:
            readers.setdefault(before, []).append(position)
    left = [len(found) for found in needs]
    ready = [position for position, count in enumerate(left) if not count]  # a heap: it is sorted
    order = []
    while ready:
        order.append(heappop(ready))
        for position in readers.get(order[-1], ()):
            left[position] -= 1
            if not left[position]:
                heappush(ready, position)
    if len(order) == len(graph.node):
        nodes = [type(graph.node[0]).FromString(graph.node[position].SerializeToString()) for position in order]
        del graph.node[:]
        graph.node.extend(nodes)


def _reads(node: NodeProto) -> Iterator[str]:
    """Yield the tensors that *node*, and graphs within it, read."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *((attribute.g,) if attribute.HasField("g") else ())):
            made = {name for inner in graph.node for name in inner.output}
            yield from (name for inner in graph.node for name in _reads(inner) if name not in made)
            yield from (value.name for value in graph.output if value.name not in made)


def _structure(proto: ModelProto) -> list[Problem]:
    """Problems of the graph as a graph: doubled names, inputs that nobody makes, cycles."""
    graph = proto.graph
    problems: list[Problem] = []
    if len(graph.node) > MAXIMUM_NODES:
        return [
            Problem("graph", f"{len(graph.node)} nodes; more than {MAXIMUM_NODES} are refused", "simplify the model")
        ]
    known = {""} | {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    names = [value.name for value in graph.input]
    initializers = [tensor.name for tensor in graph.initializer]
    for kind, listed in (("input", names), ("initializer", initializers)):
        for name in sorted(name for name, count in Counter(listed).items() if count > 1):
            problems.append(Problem(f"{kind} {name!r}", "this name is given twice", REMEDY_EXPORT))
    makers: dict[str, int] = {}
    for position, node in enumerate(graph.node):
        for output in filter(None, node.output):
            if output in makers or output in known:
                problems.append(
                    Problem(f"node {node_title(node)}", f"makes {shown(repr(output))}, which exists already")
                )
            makers.setdefault(output, position)
    for position, node in enumerate(graph.node):
        for name in dict.fromkeys(node.input):
            where = f"node {node_title(node)} ({shown(node.op_type)})"
            if name in known:
                continue
            if name not in makers:
                problems.append(Problem(where, f"reads {shown(repr(name))}, which nothing makes", REMEDY_EXPORT))
            elif makers[name] == position:
                problems.append(Problem(where, "reads its own output: the graph has a cycle", REMEDY_EXPORT))
            elif makers[name] > position:
                why = f"reads {shown(repr(name))}, which is made of what it makes itself: the graph has a cycle"
                problems.append(Problem(where, why, REMEDY_EXPORT))
    if not graph.output:
        problems.append(Problem("graph", "it has no output", REMEDY_EXPORT))
    for value in graph.output:
        if not value.name:
            problems.append(Problem("graph", "an output has no name", REMEDY_EXPORT))
        if value.name not in makers and value.name not in known:
            problems.append(Problem(f"output {value.name!r}", "nothing makes it", REMEDY_EXPORT))
    return problems
