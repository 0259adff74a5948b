"""The reference: the model as onnxruntime executes it, with labels turned back into class indices."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from approxhw.common.data.dataset import MULTILABEL, REGRESSION
from approxhw.common.errors import InvalidDataError, Problem, UnsupportedModelError, shown
from approxhw.frontends.classifier import Classifier, open_classifier
from approxhw.frontends.onnx.reading import Reading

from .readings import are_whole, as_real_inputs, as_whole
from .sessions import open_session
from .standard_nodes import standard_nodes

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CHUNK = 8192


@dataclass(frozen=True)
class OnnxReference:
    """A model in onnxruntime. ``labels``: class labels by index, empty where the model gives indices or scores."""

    session: InferenceSession
    reading: Reading
    labels: tuple[str | int, ...]
    classes: int
    title: str
    real: InferenceSession | None = None
    """The same model with real inputs, where it declares whole numbers: for readings that are none."""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Return the class index of every row (int64). ``rows``: rows × features, finite, in the model's order.

        Of a regressor its values (float64, rows × outputs), of a model of several labels a bit each (int64, rows × labels).
        """
        if self.reading.task == REGRESSION:
            return self._run(rows, self.reading.output).astype(np.float64).reshape(len(rows), -1)
        if self.reading.task == MULTILABEL:
            raw = self._run(rows, self.reading.logits or self.reading.output)
            return (raw.reshape(len(rows), -1) > self.reading.bound).astype(np.int64)
        if self.reading.is_label:
            return self._indices(self._run(rows, self.reading.output).reshape(-1))
        scores = self.scores(rows)
        if scores is None:  # LinearClassifier shows probabilities alone: their order is that of the logits
            scores = self._run(rows, self.reading.output)
        if scores.shape[1] == 1:
            return (scores[:, 0] > self.reading.bound).astype(np.int64)
        return np.argmax(scores, axis=1).astype(np.int64)

    def scores(self, rows: np.ndarray) -> np.ndarray | None:
        """Return the logits (float64, rows × classes; one column for a single logit); None where it shows labels."""
        if not self.reading.logits:
            return None
        raw = self._run(rows, self.reading.logits)
        return np.asarray(raw, dtype=np.float64).reshape(len(rows), -1 if len(rows) else self.classes)

    def _indices(self, raw: np.ndarray) -> np.ndarray:
        if not self.labels:
            return raw.astype(np.int64)
        table = {label: index for index, label in enumerate(self.labels)}
        plain = [value.decode() if isinstance(value, bytes) else value for value in raw.tolist()]
        return np.array([table[value] for value in plain], dtype=np.int64)

    def _run(self, rows: np.ndarray, output: str) -> np.ndarray:
        rows = np.asarray(rows)
        total = sum(math.prod(shape) for _, shape in self.reading.widths)
        if rows.ndim < 2 or math.prod(rows.shape[1:]) != total:
            why = f"the model reads {total} features, the data has shape {rows.shape}"
            raise InvalidDataError(f"rows for {self.title}", [Problem("rows", why)])
        rows = rows.reshape(len(rows), total)
        batch = self.reading.batch
        size = CHUNK if batch is None else max(batch, 1)
        parts = [self._chunk(rows[start : start + size], output) for start in range(0, len(rows), size)]
        return np.concatenate(parts) if parts else np.zeros((0, self.classes), dtype=np.int64)

    def _chunk(self, rows: np.ndarray, output: str) -> np.ndarray:
        """Run at most one batch; a fixed batch is filled up with its last row, and the filling cut off again."""
        batch, count = self.reading.batch, len(rows)
        if batch and count < batch:
            rows = np.concatenate([rows, np.repeat(rows[-1:], batch - count, axis=0)])
        parts, start = {}, 0
        for name, shape in self.reading.widths:
            width = math.prod(shape)
            parts[name] = rows[:, start : start + width].reshape(shape if batch == 0 else (len(rows), *shape))
            start += width
        session, types = self.session, _types(self.session)
        if self.real is not None and not all(_holds(types[name], part) for name, part in parts.items()):
            session, types = self.real, _types(self.real)
        feeds = {name: np.ascontiguousarray(_as_type(types[name], part)) for name, part in parts.items()}
        made = np.asarray(session.run([output], feeds)[0])
        if batch == 0:
            return made.reshape(1, -1)
        axis = dict(self.reading.batch_axes).get(output, 0)
        made = np.moveaxis(made, axis, 0) if axis else made
        return made.reshape(len(rows), -1)[:count]


def _types(session: InferenceSession) -> dict[str, np.dtype[np.generic]]:
    names = {"float": "float32", "double": "float64"}
    inner = {entry.name: entry.type.removeprefix("tensor(").removesuffix(")") for entry in session.get_inputs()}
    return {name: np.dtype(names.get(kind, kind)) for name, kind in inner.items()}


def _holds(dtype: np.dtype[np.generic], rows: np.ndarray) -> bool:
    return dtype.kind not in "iu" or are_whole(rows, dtype)


def _as_type(dtype: np.dtype[np.generic], rows: np.ndarray) -> np.ndarray:
    return as_whole(rows, dtype) if dtype.kind in "iu" else rows.astype(dtype)


def open_reference(source: object) -> OnnxReference:
    """Return the model in *source* (a :class:`Classifier`, or as for ``read_model``) in onnxruntime, on the CPU.

    Raises what ``read_model`` raises, and :class:`UnsupportedModelError` where onnxruntime does not know an operator.
    """
    model = source if isinstance(source, Classifier) else open_classifier(source)
    if model.loaded is None or model.reading is None:
        why = "it is no ONNX model: onnxruntime has nothing to run"
        raise UnsupportedModelError(shown(model.title), [Problem("model", why)])
    proto, reading, title = type(model.loaded.proto)(), model.reading, model.loaded.title
    proto.CopyFrom(model.loaded.proto)
    names = {value.name for value in proto.graph.output}
    for name in filter(None, {reading.output: None, reading.logits: None}):
        if name not in names:
            proto.graph.output.add().name = name
    for node in proto.graph.node:
        node.name = ""  # onnxruntime refuses doubled names, which mean nothing
    proto = standard_nodes(proto)
    session, real = open_session(proto, title), as_real_inputs(proto, title)
    return OnnxReference(session, reading, model.graph.labels, model.graph.classes, title, real)
