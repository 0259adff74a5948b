"""An ONNX model with its weights in 8-bit codes: which tensors, what they lose, and the model that any ONNX runtime runs."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from approxhw.common.arguments import checked, settle_fields
from approxhw.common.errors import InvalidDataError, OptionError, OutputError, Problem, UnsupportedModelError, shown
from approxhw.common.files import read_bytes, unwritable, write_beside
from approxhw.frontends.onnx.loading import ModelSource, all_tensors, load
from approxhw.numerics.eight_bit.choose import BUDGET, choose_formats
from approxhw.numerics.eight_bit.codes import Compressed, EightBit, parse

from .decoding_nodes import Decoder, held_formats
from .weight_tensors import LEAST_IR, MAXIMUM_MODEL, LeftTensor, all_names, is_constant, weights

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
    from google.protobuf.message import Message
    from onnx import ModelProto, TensorProto

MARK = "approxhw.compressed"
"""Key of the model's metadata that names the formats of its weights."""

MARGIN = 1 << 24
"""What nodes and names of a model take at most."""

CHUNK = 1 << 20
"""Values whose errors are worked out at one time."""


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A weight in codes. ``bits_after``: of codes and maxima; ``relative``: mean of |error / value| over values that are not 0.

    ``decoded_zeros``: values other than 0 that decode to 0.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    format: EightBit
    bits_before: int
    bits_after: int
    mse: float
    mae: float
    relative: float
    decoded_zeros: int
    compressed: Compressed = field(repr=False)

    @property
    def elements(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def ratio(self) -> float:
        """How many times smaller than before it is."""
        return self.bits_before / self.bits_after

    def decode(self) -> np.ndarray:
        """Return the values as the model reads them: ``shape``, of type ``dtype``."""
        return self.format.decode(self.compressed).astype(self.dtype)


@dataclass(frozen=True, eq=False)
class CompressedModel:
    """``proto``: the model that decodes its own weights. ``bytes_before``, ``bytes_after``: of files, external data included.

    ``left``: tensors that stay as they are; ``notes``: what else a user should know.
    """

    title: str
    proto: ModelProto = field(repr=False)
    tensors: tuple[StoredTensor, ...]
    left: tuple[LeftTensor, ...]
    notes: tuple[str, ...]
    bytes_before: int
    bytes_after: int
    added: frozenset[str] = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse values that are not of the types of their fields."""
        settle_fields(self, "CompressedModel")

    @property
    def elements(self) -> int:
        """Values that are codes now."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def ratio(self) -> float:
        """How many times smaller the compressed weights are, maxima included."""
        return sum(t.bits_before for t in self.tensors) / sum(t.bits_after for t in self.tensors)

    @property
    def file_ratio(self) -> float:
        """How many times smaller the file is: tables, nodes and what was left alone included."""
        return self.bytes_before / self.bytes_after

    def decoded(self) -> ModelProto:
        """Return the same model with the decoded weights stored plainly (``onnx.ModelProto``)."""
        from onnx import numpy_helper

        made = type(self.proto)()
        made.CopyFrom(self.proto)
        graph, ours = made.graph, {tensor.name for tensor in self.tensors} | self.added
        kept = [node for node in graph.node if not set(node.output) <= ours]
        held = [tensor for tensor in graph.initializer if tensor.name not in ours]
        held += [numpy_helper.from_array(tensor.decode(), tensor.name) for tensor in self.tensors]
        _replace(graph.node, kept)
        _replace(graph.initializer, held)
        return made

    @checked("write")
    def write(self, path: Path | str) -> None:
        """Write the model to *path*, whole or not at all.

        A file that is there already is replaced only where it is a compressed model of ours; else :class:`OutputError`.
        """
        path = Path(path)
        check_compressed_output(path)
        write_beside(path, self.proto.SerializeToString())

    def as_json(self) -> dict[str, object]:
        """Return what ``approxhw compress --json`` prints."""
        return {
            "model": self.title,
            "elements": self.elements,
            "ratio": self.ratio,
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "file_ratio": self.file_ratio,
            "tensors": [
                {
                    "name": tensor.name,
                    "shape": list(tensor.shape),
                    "elements": tensor.elements,
                    "dtype": tensor.dtype,
                    "format": str(tensor.format),
                    "bits_before": tensor.bits_before,
                    "bits_after": tensor.bits_after,
                    "mse": tensor.mse,
                    "mae": tensor.mae,
                    "mean_relative_error": tensor.relative,
                    "decoded_zeros": tensor.decoded_zeros,
                }
                for tensor in self.tensors
            ],
            "left": [asdict(entry) for entry in self.left],
            "notes": list(self.notes),
        }


@checked("compress")
def compress_model(
    model: ModelSource,
    format: str | EightBit = "dynamic8,block=256",
    *,
    minimum_elements: int = 256,
    keep: Sequence[str] = (),
    output: Path | str | None = None,
) -> CompressedModel:
    """Return *model* (path or ``onnx.ModelProto``) with its weights as 8-bit codes, decoded by standard operators.

    Weights are initialisers and Constants of float16, float32 or float64 with at least two dimensions and *minimum_elements*
    values, but for those that *keep* names. ``format``: an :class:`EightBit` or its spelling; a last block may be shorter.
    Or ``auto,budget=BITS,max=pow2``: every tensor gets a format of its own, all together at most *budget* bits a value
    (``approxhw.numerics.eight_bit.choose`` says how). ``output``: file to write the model to. Raises :class:`OptionError`,
    :class:`InvalidModelError`, :class:`InvalidDataError` for NaN and infinite weights, :class:`UnsupportedModelError` where
    there is nothing to compress, :class:`OutputError`.
    """
    wanted = _wanted(format)
    if isinstance(minimum_elements, bool) or not isinstance(minimum_elements, int) or minimum_elements < 1:
        why = f"{shown(repr(minimum_elements))} is no number of elements"
        raise OptionError("compress", [Problem("minimum elements", why, "give a whole number of at least 1")])
    if output is not None:
        check_compressed_output(Path(output), _path_of(model))
    loaded = load(model, maximum=MAXIMUM_MODEL)
    proto, title = loaded.proto, loaded.title
    if kinds := held_formats(proto):
        why = f"its weights are {', '.join(kinds)} codes already"
        raise UnsupportedModelError(shown(title), [Problem("model", why, "compress the model that it was made from")])
    bytes_before = _size(proto)
    found, left = weights(proto, minimum_elements, keep)
    if not found:
        raise UnsupportedModelError(shown(title), [_nothing(left, minimum_elements)])
    stored = _encoded(found, wanted, title)
    titles = frozenset(node.name for node in proto.graph.node)
    decoder = Decoder(loaded.opset, all_names(proto.graph), titles)
    types = {name: tensor.data_type for name, tensor in found.items()}
    for tensor in stored:
        decoder.add(tensor.name, tensor.compressed, types[tensor.name])
    notes = _rebuild(proto, set(found), decoder, wanted)
    bytes_after = _size(proto)
    if bytes_after >= MAXIMUM_MODEL:
        why = f"what is left has {bytes_after >> 20} MiB; a model file can have no more than {MAXIMUM_MODEL >> 20}"
        raise UnsupportedModelError(shown(title), [Problem("model", why, "compress more of it: --minimum-elements")])
    added = {tensor.name for tensor in decoder.initializers} | {node.output[0] for node in decoder.nodes}
    made = CompressedModel(
        title, proto, tuple(stored), tuple(left), tuple(notes), bytes_before, bytes_after, frozenset(added)
    )
    if output is not None:
        made.write(output)
    return made


def check_compressed_output(path: Path, source: Path | None = None) -> None:
    """Raise :class:`OutputError` unless *path* is free, or a compressed model of ours; never where it is *source*."""
    try:
        if source is not None and path.exists() and source.exists() and path.samefile(source):
            why = "this is the model itself"
        elif path.is_dir():
            why = "this is a folder"
        elif (path.exists() or path.is_symlink()) and not _is_ours(path):
            why = "it exists and is no model that approxhw compressed"
        else:
            return
    except OSError as error:  # a name of 5000 characters
        raise unwritable(path, error) from error
    raise OutputError("compress", [Problem(str(path), why, "choose another name with -o")])


def _is_ours(path: Path) -> bool:
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    proto = ModelProto()
    try:
        proto.ParseFromString(read_bytes(path, MAXIMUM_MODEL))
    except (OSError, DecodeError, RecursionError):
        return False
    return any(entry.key == MARK for entry in proto.metadata_props)


def _path_of(model: ModelSource) -> Path | None:
    from onnx import ModelProto

    return None if isinstance(model, ModelProto) else Path(model)


def _size(proto: ModelProto) -> int:
    """Return the bytes of *proto* as one file; of more than a file can have, those of its tensors."""
    held = sum(len(tensor.raw_data) for _, tensor in all_tensors(proto))
    return held if held >= MAXIMUM_MODEL - MARGIN else int(proto.ByteSize())


def _nothing(left: Sequence[LeftTensor], minimum: int) -> Problem:
    counts = Counter(entry.why for entry in left)
    said = "; ".join(f"{count} × {why}" for why, count in counts.most_common(6))
    why = f"no float tensor of at least {minimum} elements and two dimensions: there is nothing to compress"
    remedy = "lower --minimum-elements" if any("fewer than" in why for why in counts) else "compress a float model"
    return Problem("model", f"{why} (left: {said})" if said else why, remedy)


@dataclass(frozen=True)
class Auto:
    """Formats chosen tensor by tensor: *budget* bits a value, maxima included; ``maximum``: exact or pow2."""

    budget: float = BUDGET
    maximum: str = "exact"

    def __str__(self) -> str:
        """Return its spelling."""
        return f"auto<budget={self.budget:g}{'' if self.maximum == 'exact' else f',max={self.maximum}'}>"


def _wanted(format: str | EightBit) -> EightBit | Auto:
    if isinstance(format, EightBit):
        return format
    if not isinstance(format, str):
        why = f"{shown(repr(format))} is neither an 8-bit format nor its spelling"
        raise OptionError("compress", [Problem("format", why, "such as dynamic8,block=256")])
    kind, *options = (part.strip() for part in format.split(","))
    if kind != "auto":
        return parse(format)
    budget, maximum, found = BUDGET, "exact", []
    for option in options:
        key, _, value = (piece.strip() for piece in option.partition("="))
        if key == "budget" and re.fullmatch(r"\d{1,2}(\.\d{1,6})?", value) and 8 <= float(value) <= 64:
            budget = float(value)
        elif key == "budget":
            found.append(
                Problem(key, f"{shown(repr(value))} is no number of bits a value in 8…64", "such as budget=8.2")
            )
        elif key == "max" and value in ("exact", "pow2"):
            maximum = value
        elif key == "max":
            found.append(Problem(key, f"{shown(repr(value))} is none", "choose exact or pow2"))
        else:
            found.append(Problem(shown(key), "no option of auto", "there are budget=BITS and max=exact or pow2"))
    if found:
        raise OptionError("compress", found)
    return Auto(budget, maximum)


def _encoded(found: Mapping[str, TensorProto], wanted: EightBit | Auto, title: str) -> list[StoredTensor]:
    from onnx import numpy_helper

    stored: list[StoredTensor] = []
    problems: list[Problem] = []
    trial = EightBit("dynamic8", None, wanted.maximum) if isinstance(wanted, Auto) else wanted
    for name, tensor in found.items():
        values = numpy_helper.to_array(tensor)
        try:
            stored.append(_stored(name, values, trial.encode(values, ragged=True, name=name)))
        except InvalidDataError as error:
            problems += [Problem(f"tensor {shown(repr(name))}", p.why, _remedy(p)) for p in error.problems]
    if problems:
        raise InvalidDataError(shown(title), problems)
    if not isinstance(wanted, Auto):
        return stored
    arrays = {name: numpy_helper.to_array(tensor) for name, tensor in found.items()}
    chosen = choose_formats(arrays, wanted.budget, maximum=wanted.maximum)
    return [_stored(name, arrays[name], chosen[name]) for name in found]


def _remedy(problem: Problem) -> str:
    return f"{problem.remedy or 'train the model again'}; or leave it alone: --keep"


def _stored(name: str, values: np.ndarray, compressed: Compressed) -> StoredTensor:
    format = compressed.format
    with np.errstate(over="ignore"):
        decoded = format.decode(compressed).astype(values.dtype)
    if not np.isfinite(decoded).all():
        why = f"{values.dtype} cannot hold its largest value once decoded"
        raise InvalidDataError(name, [Problem(name, why, "use max=exact")])
    squares = sizes = shares = 0.0
    nonzero = zeros = 0
    flat, other = values.reshape(-1), decoded.reshape(-1)
    for start in range(0, flat.size, CHUNK):
        before = flat[start : start + CHUNK].astype(np.float64)
        error = np.abs(other[start : start + CHUNK].astype(np.float64) - before)
        squares, sizes = squares + float(error @ error), sizes + float(error.sum())
        here = before != 0
        shares += float((error[here] / np.abs(before[here])).sum())
        nonzero += int(here.sum())
        zeros += int((here & (other[start : start + CHUNK] == 0)).sum())
    return StoredTensor(
        name=name,
        shape=values.shape,
        dtype=values.dtype.name,
        format=format,
        bits_before=8 * values.nbytes,
        bits_after=compressed.bits,
        mse=squares / flat.size,
        mae=sizes / flat.size,
        relative=shares / max(1, nonzero),
        decoded_zeros=zeros,
        compressed=compressed,
    )


def _rebuild(proto: ModelProto, names: set[str], decoder: Decoder, format: EightBit | Auto) -> list[str]:
    """Put codes and their decoding into *proto* in place of the tensors *names*; return what else was changed."""
    graph, notes = proto.graph, []
    _replace(graph.initializer, [t for t in graph.initializer if t.name not in names] + decoder.initializers)
    kept = [node for node in graph.node if not (is_constant(node) and node.output[0] in names)]
    _replace(graph.node, [*decoder.nodes, *kept])
    if proto.ir_version < LEAST_IR:
        notes.append(f"IR version {proto.ir_version} raised to {LEAST_IR}: compressed weights are no inputs any more")
        _replace(graph.input, [value for value in graph.input if value.name not in names])
        proto.ir_version = LEAST_IR
    entry = proto.metadata_props.add()
    entry.key, entry.value = MARK, str(format)
    return notes


_M = TypeVar("_M", bound="Message")


def _replace(field: RepeatedCompositeFieldContainer[_M], entries: Iterable[_M]) -> None:
    """Let the repeated *field* hold *entries*, some of which may be its own."""
    held = [type(entry)() for entry in entries]
    for copy, entry in zip(held, entries, strict=True):
        copy.CopyFrom(entry)
    del field[:]
    field.extend(held)
