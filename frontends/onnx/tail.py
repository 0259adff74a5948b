"""From scores to a class: ArgMax, Softmax, Sigmoid, comparisons, ZipMap, LabelEncoder, LinearClassifier, the output."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from approxhw.ir.kinds import ArgMax, Binarize, Threshold

from .activations import crossing, deciding_bound, without_rising
from .importer import Call, Importer
from .values import COMPLEMENT, PAIR, PLAIN, SIGMOID, SOFTMAX, ClassPrediction, Dictionary, Known, Refusal, Row, Value

INDEX = "class_index"


def softmax(work: Importer, call: Call) -> Value:
    """Softmax or LogSoftmax over the classes: keeps the order of the scores, so it is dropped before ArgMax."""
    row = call.row()
    axis = int(call.attributes.get("axis", -1 if call.opset >= 13 else 1))
    inner = row.axis(axis)
    if call.opset < 13 and inner is not None:
        flat = math.prod(row.shape[inner:])  # everything from the axis on is one axis there
        whole = flat == row.elements and (row.batch is None or row.batch < axis % row.rank)
    else:
        whole = inner is not None and row.shape[inner] == row.elements
    if not whole:
        raise Refusal(f"axis {axis} is not the class axis of rows of shape {row.shape}", "use the last axis")
    if row.elements == 1:
        raise Refusal("has one element a row, so its result is always 1", "use Sigmoid for a single logit")
    return replace(row, stage=SOFTMAX)


def sigmoid(work: Importer, call: Call) -> Value:
    """Sigmoid at the end: keeps the order of the scores; p > 1/2 is logit > 0."""
    return replace(call.row(), stage=SIGMOID)


def argmax(work: Importer, call: Call) -> Value:
    """ArgMax over the classes, the lowest index of equal scores."""
    row = _scores(call)
    axis = int(call.attributes.get("axis", 0))
    inner = row.axis(axis)
    if inner is None or row.shape[inner] != row.elements:
        raise Refusal(f"axis {axis} is not the class axis of rows of shape {row.shape}", "use axis=1 (or -1)")
    if call.attributes.get("select_last_index", 0):
        raise Refusal("takes the last of equal scores", "export with select_last_index=0")
    return decide(work, row, str(call.proto.name))


def decide(work: Importer, row: Row, origin: str) -> ClassPrediction:
    """Return the class of *row*: Threshold for a binary pair (1 − p, p), else ArgMax."""
    if row.stage == PAIR:
        return threshold(work, row, 0.0, origin)
    vector = without_rising(work, work.vector(row, origin))
    return ClassPrediction(work.emit(INDEX, ArgMax(), (vector,), (), origin), row.labels, row.tensor)


def threshold(work: Importer, row: Row, bound: float, origin: str) -> ClassPrediction:
    """Return class 1 where the single logit of *row* is greater than *bound*."""
    vector, bound = crossing(work, work.vector(row, origin), bound)
    return ClassPrediction(work.emit(INDEX, Threshold(bound), (vector,), (), origin), row.labels, row.tensor)


def _scores(call: Call) -> Row:
    """Return input 0, which may have passed Softmax or Sigmoid."""
    value = call.value(0)
    if isinstance(value, Dictionary):
        return value.row
    if not isinstance(value, Row):
        raise Refusal("works on a class index or label", "let it work on the scores")
    if value.stage == COMPLEMENT:
        raise Refusal("works on 1 − p alone", "let it work on p, or on both")
    if value.codes is not None:
        return replace(value, codes=None)  # codes of one quantiser keep the order, too
    return value


def compare(work: Importer, call: Call) -> Value:
    """Greater, GreaterOrEqual, Less, LessOrEqual of a single logit (or its Sigmoid) and a constant."""
    op = call.op
    values = call.values
    position = 0 if isinstance(values[0], Row) else 1
    row = values[position]
    if not isinstance(row, Row) or row.stage not in (PLAIN, SIGMOID) or row.elements != 1 or row.codes is not None:
        raise Refusal("compares something else than a single logit or its Sigmoid", "end with ArgMax over the classes")
    array = call.constant(1 - position, "the threshold")
    if array is None or array.size != 1:
        raise Refusal("its threshold is not one number", invalid=True)
    bound = float(array.reshape(-1)[0])
    if row.stage == SIGMOID:
        if not 0 < bound < 1:
            raise Refusal(f"compares a Sigmoid with {bound:g}, which it never crosses", invalid=True)
        bound = math.log(bound / (1 - bound))
    greater = op.startswith("Greater") == (position == 0)
    strict = not op.endswith("OrEqual")
    origin = str(call.proto.name)
    if not greater:
        vector = work.vector(row, origin)
        row = replace(row, value=work.affine(vector, -np.ones(1), np.zeros(1), origin), columns=None)
        bound = -bound
    # x ≥ c is x > the float64 just below c
    return threshold(work, row, bound if strict else math.nextafter(bound, -math.inf), origin)


def zipmap(work: Importer, call: Call) -> Value:
    """ZipMap of ai.onnx.ml: scores by label."""
    return Dictionary(_scores(call), _labels(call, "classlabels_strings", "classlabels_int64s"))


def normalizer(work: Importer, call: Call) -> Value:
    """Read Normalizer of ai.onnx.ml after Softmax or Sigmoid: keeps the order of the scores."""
    value = call.value(0)
    if isinstance(value, Row) and value.stage in (SOFTMAX, SIGMOID, PAIR):
        return value
    raise Refusal("divides every row by its own norm", "scale features one by one (StandardScaler, MinMaxScaler)")


def label_encoder(work: Importer, call: Call) -> Value:
    """LabelEncoder of ai.onnx.ml behind ArgMax: class index or label → label."""
    value = call.value(0)
    if not isinstance(value, ClassPrediction):
        raise Refusal("translates features", "encode text and categories before the model")
    keys = _labels(call, "keys_int64s", "keys_strings")
    texts = _labels(call, "values_strings", "values_int64s")
    if not keys or len(keys) != len(texts):
        raise Refusal(
            "its keys and values are not integers or text of equal number", "encode labels as text or integers"
        )
    table = dict(zip(keys, texts))
    known = value.labels or tuple(range(len(keys)))
    if any(label not in table for label in known):
        raise Refusal("some class has no entry in its table", invalid=True)
    return replace(value, labels=tuple(table[label] for label in known))


def _labels(call: Call, *names: str) -> tuple[str | int, ...]:
    for name in names:
        if call.attributes.get(name):
            return tuple(label if isinstance(label, str) else int(label) for label in call.attributes[name])
    return ()


def linear_classifier(work: Importer, call: Call) -> tuple[Value, ...]:
    """LinearClassifier of ai.onnx.ml: one row of coefficients a class; label and scores."""
    row = call.row()
    labels = _labels(call, "classlabels_strings", "classlabels_ints")
    coefficients = np.array(call.attributes.get("coefficients") or [], dtype=np.float64)
    if row.elements == 0 or coefficients.size == 0 or coefficients.size % row.elements:
        raise Refusal(f"{coefficients.size} coefficients do not fit {row.elements} features", invalid=True)
    weight = coefficients.reshape(-1, row.elements)
    intercepts = np.array(call.attributes.get("intercepts") or np.zeros(len(weight)), dtype=np.float64)
    if not np.isfinite(weight).all() or not np.isfinite(intercepts).all():
        raise Refusal("its coefficients hold NaN or infinity", invalid=True)
    if len(intercepts) != len(weight) or (labels and len(labels) != len(weight)) or len(weight) < 2:
        raise Refusal(
            f"{len(weight)} rows of coefficients for {len(labels)} labels and {len(intercepts)} intercepts",
            "give one row of coefficients and one intercept a class",
        )
    transform = str(call.attributes.get("post_transform", "NONE"))
    if transform not in ("NONE", "SOFTMAX", "LOGISTIC"):
        raise Refusal(f"post_transform {transform} may change the order of the scores", "use NONE, SOFTMAX or LOGISTIC")
    origin = str(call.proto.name)
    vector = work.vector(row, origin)
    if len(weight) == 2 and (weight[0] == -weight[1]).all() and intercepts[0] == -intercepts[1]:
        # (-z, z), as skl2onnx writes a binary classifier: one sum and a threshold do
        pair = Row(work.dense(vector, weight[1:], intercepts[1:], origin), (2,), row.batch, stage=PAIR, labels=labels)
        return decide(work, pair, origin), pair
    made = work.dense(vector, weight, intercepts, origin)
    scores = Row(made, (len(weight),), row.batch, labels=labels)
    stage = {"NONE": PLAIN, "SOFTMAX": SOFTMAX, "LOGISTIC": SIGMOID}[transform]
    return decide(work, scores, origin), replace(scores, stage=stage)


def regression_values(work: Importer, value: Value) -> ClassPrediction:
    """Return the real values that the model's output *value* stands for: of a regressor."""
    row = _single_row(value)
    if row.stage == SIGMOID:
        row = work.sigmoid(row)
    if row.stage != PLAIN:
        raise Refusal(f"is the result of {row.stage}, no real values of their own", "use --task classification")
    if row.codes is not None:
        raise Refusal("is quantised values", "end with DequantizeLinear")
    return ClassPrediction(work.vector(row, ""), (), row.tensor)


def label_bits(work: Importer, value: Value) -> ClassPrediction:
    """Return a bit for each label, 1 where its score decides for it: of a model of several independent labels."""
    row = _single_row(value)
    if row.stage not in (PLAIN, SIGMOID) or row.codes is not None:
        raise Refusal(f"is the result of {row.stage}, whose values depend on one another", "use --task classification")
    vector = work.vector(row, "")
    bound = deciding_bound(work, replace(row, value=vector)) if row.stage == PLAIN and row.columns is None else 0.0
    base, moved = crossing(work, vector, bound)
    return ClassPrediction(
        work.emit("label_bits", Binarize(moved), (base,), (row.elements,)), row.labels, row.tensor, bound
    )


def _single_row(value: Value) -> Row:
    if isinstance(value, Dictionary):
        return replace(value.row, labels=value.labels or value.row.labels)
    if isinstance(value, Known):
        raise Refusal("does not depend on the model's input", invalid=True)
    if not isinstance(value, Row):
        raise Refusal("is a class index or label", "use --task classification, or none")
    return value


def linear_regressor(work: Importer, call: Call) -> Value:
    """LinearRegressor of ai.onnx.ml: one row of coefficients a target."""
    row = call.row()
    coefficients = np.array(call.attributes.get("coefficients") or [], dtype=np.float64)
    targets = int(call.attributes.get("targets", 1))
    if targets < 1 or coefficients.size != targets * row.elements:
        raise Refusal(
            f"{coefficients.size} coefficients for {targets} targets of {row.elements} features", invalid=True
        )
    intercepts = np.array(call.attributes.get("intercepts") or np.zeros(targets), dtype=np.float64)
    if intercepts.size != targets or not (np.isfinite(coefficients).all() and np.isfinite(intercepts).all()):
        raise Refusal("its intercepts do not fit, or hold NaN or infinity", invalid=True)
    if str(call.attributes.get("post_transform", "NONE")) != "NONE":
        raise Refusal(f"post_transform {call.attributes['post_transform']} is not read", "use NONE")
    origin = str(call.proto.name)
    made = work.dense(work.vector(row, origin), coefficients.reshape(targets, -1), intercepts, origin)
    return Row(made, (targets,), row.batch)


def predicted_class(work: Importer, value: Value) -> ClassPrediction:
    """Return the class that the model's output *value* stands for."""
    if isinstance(value, ClassPrediction):
        return value
    if isinstance(value, Known):
        raise Refusal("does not depend on the model's input", invalid=True)
    if isinstance(value, Dictionary):
        return predicted_class(work, replace(value.row, labels=value.labels or value.row.labels))
    if not isinstance(value, Row):
        raise Refusal("is nothing that a class can be read from")
    if value.stage == COMPLEMENT:
        raise Refusal("is 1 − p, the probability of class 0", "make p, or both, the output")
    row = replace(value, codes=None)
    if row.elements == 1 and row.stage != PAIR:
        if value.codes is not None:
            raise Refusal("is a quantised single logit", "end with DequantizeLinear")
        bound = deciding_bound(work, row) if row.stage == PLAIN and row.columns is None else 0.0
        return replace(threshold(work, row, bound, ""), bound=bound)
    if len([dim for dim in row.shape if dim != 1]) > 1:
        raise Refusal(f"has rows of shape {row.shape}; one score a class is read", "make the class scores the output")
    return decide(work, row, "")
