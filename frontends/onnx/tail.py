"""From scores to a class: ArgMax, Softmax, Sigmoid, comparisons, Where, Round, ZipMap, labels, LinearClassifier, the output."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from approxhw.ir.kinds import Affine, ArgMax, Binarize, Clip, Constant, Relu, Threshold

from .activations import crossing, deciding_bound, function_of, without_rising
from .importer import FUNCTIONS, Call, Importer, where
from .values import (
    COMPLEMENT,
    EXP,
    EXP_PLUS_ONE,
    PAIR,
    PLAIN,
    SHARES,
    SIGMOID,
    SOFTMAX,
    UNIFORM,
    ClassPrediction,
    Dictionary,
    Known,
    Refusal,
    Row,
    Value,
)

INDEX = "class_index"
SUMS = ("sums up computed values", "only a sum of probabilities over the classes, at the end, is read")
REMEDY_AVERAGE = "average the scores, before Softmax and Sigmoid, or keep one model"
MIXED = ("mixes the probabilities of several models: no scores have their order", REMEDY_AVERAGE)
REMEDY_WHERE = "end with ArgMax over the classes, or choose between two numbers by one comparison of a single logit"


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
    return replace(row, stage=SOFTMAX, staged_by=where(call.proto))


def sigmoid(work: Importer, call: Call) -> Value:
    """Sigmoid: at the end it keeps the order of the scores, and p > 1/2 is logit > 0; elsewhere ``values_of`` carries it out."""
    return replace(call.row(), stage=SIGMOID, staged_by=where(call.proto))


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
    if value.stage == UNIFORM:
        raise Refusal(f"works on {UNIFORM}, which tells none", "let it work on the scores")
    if value.codes is not None:
        return replace(value, codes=None)  # codes of one quantiser keep the order, too
    return value


def compare(work: Importer, call: Call) -> Value:
    """Greater, GreaterOrEqual, Less, LessOrEqual of a single logit (or its Sigmoid) and a constant."""
    op = call.op
    values = call.values
    position = 0 if isinstance(values[0], Row) else 1
    row = values[position]
    if isinstance(row, Row) and row.stage in (EXP, EXP_PLUS_ONE):
        row = work.values_of(row)
    if not isinstance(row, Row) or row.stage not in (PLAIN, SIGMOID) or row.elements != 1 or row.codes is not None:
        raise Refusal("compares something else than a single logit or its Sigmoid", "end with ArgMax over the classes")
    array = call.constant(1 - position, "the threshold")
    if array is None or array.size != 1:
        why = f"compares with {0 if array is None else array.size} numbers (bins of a feature?), not with one"
        raise Refusal(why, "prepare the features before the model")
    bound = float(array.reshape(-1)[0])
    if row.stage == SIGMOID:
        if not 0 < bound < 1:
            raise Refusal(f"compares a Sigmoid with {bound:g}, which it never crosses", "compare it with 0.5")
        bound = math.log(bound / (1 - bound))
    greater = op.startswith("Greater") == (position == 0)
    strict = not op.endswith("OrEqual")
    origin = str(call.proto.name)
    if not greater:
        vector = work.vector(row, origin)
        row = replace(row, value=work.affine(vector, -np.ones(1), np.zeros(1), origin), columns=None, tensor="")
        bound = -bound
    # x ≥ c is x > the float64 just below c
    return threshold(work, row, bound if strict else math.nextafter(bound, -math.inf), origin)


def where_(work: Importer, call: Call) -> Value:
    """Where(class, a, b) with two constant numbers: a for class 1, b for class 0."""
    condition = call.value(0)
    if not isinstance(condition, ClassPrediction):
        raise Refusal("chooses by something else than a single comparison", REMEDY_WHERE)
    if condition.labels:
        raise Refusal("chooses by a label", REMEDY_WHERE)
    found = []
    for position in (1, 2):
        array = call.constant(position, "what it chooses")
        if array is None or array.size != 1 or array.dtype.kind not in "fiub":
            raise Refusal("chooses between tensors", REMEDY_WHERE)
        found.append(float(array.reshape(-1)[0]))
    one, other = found
    if one == other or not all(number.is_integer() for number in found):
        raise Refusal(f"chooses between {one:g} and {other:g}, which are no two labels", "choose between whole numbers")
    if (one, other) == (0, 1):
        return _other_class(work, condition, str(call.proto.name))
    return condition if (one, other) == (1, 0) else replace(condition, labels=(int(other), int(one)))


def not_(work: Importer, call: Call) -> Value:
    """Not of a comparison: the other class."""
    value = call.value(0)
    if isinstance(value, Row) and value.stage == UNIFORM:
        return value
    if not isinstance(value, ClassPrediction) or value.labels:
        raise Refusal("turns something else around than a single comparison", "swap the comparison")
    return _other_class(work, value, str(call.proto.name))


def _other_class(work: Importer, value: ClassPrediction, origin: str) -> ClassPrediction:
    """Return class 1 where *value* has class 0, and the other way round."""
    node = work.node(value.value)
    if not isinstance(node.op, Threshold):
        raise Refusal("turns a choice among several classes around", "swap the comparison")
    negated = work.affine(node.inputs[0], -np.ones(1), np.zeros(1), origin)
    bound = math.nextafter(-float(node.op.threshold), -math.inf)  # not x > c is -x ≥ -c
    return ClassPrediction(work.emit(INDEX, Threshold(bound), (negated,), (), origin))


def round_(work: Importer, call: Call) -> Value:
    """Round of a single Sigmoid: 1 where it is greater than a half, which rounds to the even 0."""
    row = call.value(0)
    if not isinstance(row, Row) or row.stage != SIGMOID or row.elements != 1 or row.codes is not None:
        raise Refusal("rounds something else than a single Sigmoid", "leave values as they are; end with ArgMax")
    return threshold(work, row, 0.0, str(call.proto.name))


def exponential_of(work: Importer, call: Call) -> Value:
    """Exp: maybe the beginning of a Sigmoid that is written out, 1 / (1 + exp(−z)); elsewhere ``values_of`` carries it out."""
    return replace(call.row(), stage=EXP, staged_by=where(call.proto))


def reciprocal(work: Importer, call: Call) -> Value:
    """Reciprocal: the end of a Sigmoid that is written out, or any other value."""
    row = call.value(0)
    if isinstance(row, Row) and row.stage == EXP_PLUS_ONE:
        return _written_out(work, row, call)
    return function_of(work, call.row(), ("x", "reciprocal"), str(call.proto.name))


def _written_out(work: Importer, row: Row, call: Call) -> Row:
    """Return 1 / (1 + exp(x)) of the *row* x: the Sigmoid of −x."""
    node, origin = work.node(row.value), str(call.proto.name)
    scale, shift = (work.node(name).op for name in node.inputs[1:]) if isinstance(node.op, Affine) else (None, None)
    turned = isinstance(scale, Constant) and isinstance(shift, Constant)
    if turned and (scale.data == -1).all() and (shift.data == 0).all() and row.columns is None:  # type: ignore[union-attr]
        value = node.inputs[0]
    else:
        value = work.affine(work.vector(row, origin), -np.ones(row.elements), np.zeros(row.elements), origin)
    return replace(row, value=value, columns=None, stage=SIGMOID, staged_by=where(call.proto), tensor="")


def reduce_sum(work: Importer, call: Call) -> Value:
    """ReduceSum over the classes, of probabilities or of what is not below 0: shares of it keep the order of the scores."""
    row = call.value(0)
    axes = call.attributes.get("axes") or call.constant(1, "the list of axes")
    if not isinstance(row, Row) or row.codes is not None or axes is None:
        raise Refusal(*SUMS)
    inner = [row.axis(int(axis)) for axis in np.asarray(axes).reshape(-1)]
    whole = len(inner) == 1 and inner[0] is not None and row.shape[inner[0]] == row.elements > 1
    positive = row.stage in (SIGMOID, SOFTMAX, SHARES, PAIR) or (row.stage == PLAIN and _least(work, row) >= 0)
    if not whole or not positive:
        raise Refusal(*SUMS)
    if not call.attributes.get("keepdims", 1):
        raise Refusal("drops the axis of the classes", "keep it (keepdims=1)")
    return replace(row, shape=tuple(1 for _ in row.shape), columns=None, stage=UNIFORM, staged_by=where(call.proto))


def _least(work: Importer, row: Row) -> float:
    """Return what no element of *row* is below, as far as activations and scales right behind them tell."""
    if row.columns is not None:
        return -math.inf
    node, scale, shift = work.node(row.value), 1.0, 0.0
    while isinstance(node.op, Affine):
        s, t = (work.node(name).op.data for name in node.inputs[1:])  # type: ignore[union-attr]
        if not (s > 0).all() or (s != s[0]).any() or (t != t[0]).any():
            return -math.inf
        scale, shift = scale * float(s[0]), scale * float(t[0]) + shift
        node = work.node(node.inputs[0])
    if isinstance(node.op, Relu):
        return shift
    return scale * float(node.op.low) + shift if isinstance(node.op, Clip) and node.op.low is not None else -math.inf


def order_kept(work: Importer, call: Call) -> Row | None:
    """Return what Add, Sub, Mul or Div makes where only the order of scores goes through it; None where it is plain.

    That is: 1 + exp(x), 1 / (1 + exp(x)), 0 added and 1 multiplied, a positive number times several probabilities, and
    several scores plus or over one number for all of them. Other numbers times a Sigmoid or Exp are values, as everywhere.
    """
    values = call.values
    staged = [value for value in values if isinstance(value, Row) and value.stage != PLAIN]
    if len(values) != 2 or not staged:
        return None
    stages = {row.stage for row in staged}
    if len(staged) == 2 and stages <= {SOFTMAX, SIGMOID, SHARES, PAIR} and stages != {SIGMOID}:
        raise Refusal(*MIXED)
    first, second = values
    if isinstance(first, Known) and isinstance(second, Row):
        number = _one_number(first)
        if call.op == "Div" and number == 1 and second.stage == EXP_PLUS_ONE:
            return _written_out(work, second, call)
        return _by_number(second, number, call) if call.op in ("Add", "Sum", "Mul") else None
    if not isinstance(first, Row):
        return None
    if isinstance(second, Known):
        return _by_number(first, _one_number(second), call)
    if not isinstance(second, Row) or UNIFORM not in (first.stage, second.stage):
        return None
    if call.op in ("Add", "Sum") and first.stage == UNIFORM:
        first, second = second, first
    if (
        call.op not in ("Add", "Sum", "Div")
        or second.stage != UNIFORM
        or first.stage in (COMPLEMENT, EXP, EXP_PLUS_ONE)
    ):
        return None
    if first.stage == UNIFORM or first.elements == 1:
        return first if call.op in ("Add", "Sum") and first.stage == UNIFORM else None
    return _shares(first, call)


def _shares(row: Row, call: Call) -> Row:
    return replace(
        row, stage=PAIR if row.stage == PAIR else SHARES, staged_by=row.staged_by or where(call.proto), pair_of=""
    )


def _one_number(known: Known) -> float | None:
    """Return the number that *known* holds once or all over; None where it holds several, or none."""
    array = known.array
    if known.sized or not array.size or array.dtype.kind not in "fiu" or (array != array.reshape(-1)[0]).any():
        return None
    return float(array.reshape(-1)[0])


def _by_number(row: Row, number: float | None, call: Call) -> Row | None:
    op = call.op
    if number is None or row.codes is not None:
        return None
    if row.stage == EXP and op in ("Add", "Sum") and number == 1:
        return replace(row, stage=EXP_PLUS_ONE)
    if (op in ("Add", "Sum", "Sub") and number == 0) or (op in ("Mul", "Div") and number == 1):
        return row
    if row.stage == UNIFORM:
        return row if op in ("Add", "Sum", "Mul", "Div") and number >= 0 else None
    probabilities = row.stage in (SOFTMAX, SHARES, PAIR) and row.elements > 1
    return _shares(row, call) if probabilities and op in ("Mul", "Div") and number > 0 else None


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
        raise Refusal("some class has no entry in its table", "give every class its label")
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
        second = {"NONE": PLAIN, "LOGISTIC": SIGMOID}.get(transform, "")
        made = work.dense(vector, weight[1:], intercepts[1:], origin)
        pair = Row(made, (2,), row.batch, stage=PAIR, labels=labels, staged_by=where(call.proto), pair_of=second)
        return decide(work, pair, origin), pair
    made = work.dense(vector, weight, intercepts, origin)
    scores = Row(made, (len(weight),), row.batch, labels=labels)
    stage = {"NONE": PLAIN, "SOFTMAX": SOFTMAX, "LOGISTIC": SIGMOID}[transform]
    return decide(work, scores, origin), replace(scores, stage=stage, staged_by=where(call.proto))


def regression_values(work: Importer, value: Value) -> ClassPrediction:
    """Return the real values that the model's output *value* stands for: of a regressor."""
    row = _single_row(value)
    if row.stage in FUNCTIONS and row.codes is None:
        row = work.values_of(row)
    if row.stage != PLAIN:
        raise Refusal(f"is the result of {row.stage}, no real values of their own", "use --task classification")
    if row.codes is not None:
        raise Refusal("is quantised values", "end with DequantizeLinear")
    return ClassPrediction(work.vector(row, ""), (), row.tensor)


def label_bits(work: Importer, value: Value) -> ClassPrediction:
    """Return a bit for each label, 1 where its score decides for it: of a model of several independent labels."""
    row = _single_row(value)
    if row.stage in (EXP, EXP_PLUS_ONE) and row.codes is None:
        row = work.values_of(row)
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
        raise Refusal("does not depend on the model's input", "make the class scores the output")
    if isinstance(value, Dictionary):
        return predicted_class(work, replace(value.row, labels=value.labels or value.row.labels))
    if not isinstance(value, Row):
        raise Refusal("is nothing that a class can be read from")
    if value.stage == COMPLEMENT:
        raise Refusal("is 1 − p, the probability of class 0", "make p, or both, the output")
    if value.stage in (EXP, EXP_PLUS_ONE) and value.codes is None:
        value = work.values_of(value)
    if value.stage not in (PLAIN, SOFTMAX, SIGMOID, PAIR, SHARES):
        raise Refusal(f"is {value.stage}, from which no class can be read", "make the class scores the output")
    row = replace(value, codes=None)
    if row.elements == 1 and row.stage != PAIR:
        if value.codes is not None:
            raise Refusal("is a quantised single logit", "end with DequantizeLinear")
        bound = deciding_bound(work, row) if row.stage == PLAIN and row.columns is None else 0.0
        return replace(threshold(work, row, bound, ""), bound=bound)
    if len([dim for dim in row.shape if dim != 1]) > 1:
        raise Refusal(f"has rows of shape {row.shape}; one score a class is read", "make the class scores the output")
    return decide(work, row, "")
