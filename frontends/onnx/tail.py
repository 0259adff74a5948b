"""From scores to a class: ArgMax, Softmax, Sigmoid, comparisons, Where, Round, ZipMap, labels, the output, what decides."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np

from approxhw.frontends.quantised.quantiser import Quantiser
from approxhw.frontends.tensors.values import (
    COMPLEMENT,
    EXP,
    EXP_PLUS_ONE,
    LEVEL,
    MOVED,
    PAIR,
    PLAIN,
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
from approxhw.ir.kinds import Add, Affine, ArgMax, Binarize, Concat, Lookup, Threshold
from approxhw.numerics.exact.rounding import least_for
from approxhw.numerics.functions.formulas import (
    IDENTITY,
    MOST_WORDS,
    Formula,
    composed,
    formula_text,
    formula_values,
    keeps_order,
)

from .activations import uniform, ways
from .importer import FUNCTIONS, Call, Importer, where
from .written_out import ORDERED

INDEX = "class_index"
REMEDY_WHERE = "end with ArgMax over the classes, or choose between two numbers by one comparison of a single logit"


def softmax(work: Importer, call: Call) -> Value:
    """Softmax or LogSoftmax over the classes: keeps the order of the scores, so it is dropped before ArgMax."""
    value = call.value(0)
    row = value if isinstance(value, Row) and value.stage == MOVED and value.codes is None else call.row()
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
    if value.stage in (UNIFORM, LEVEL):
        raise Refusal(f"works on {value.stage}, which tells none", "let it work on the scores")
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
    greater = op.startswith("Greater") == (position == 0)
    strict = not op.endswith("OrEqual")
    if row.stage == SIGMOID:
        if row.after is not None:
            bound, strict = _before_quantiser(row.after, Fraction(bound), strict == greater, greater)
        if not 0 < bound < 1:
            raise Refusal(f"compares a Sigmoid with {bound:g}, which it never crosses", "compare it with 0.5")
        bound = math.log(bound / (1 - bound))
    origin = str(call.proto.name)
    if not greater:
        vector = work.vector(row, origin)
        row = replace(row, value=work.affine(vector, -np.ones(1), np.zeros(1), origin), columns=None, tensor="")
        bound = -bound
    # x ≥ c is x > the float64 just below c
    return threshold(work, row, bound if strict else math.nextafter(bound, -math.inf), origin)


def _before_quantiser(quantiser: Quantiser, bound: Fraction, strict: bool, greater: bool) -> tuple[float, bool]:
    """Return what a value compares with in front of *quantiser* where its codes compare with *bound*, and whether strictly.

    *strict*: codes above are those that stand for more than *bound*, not for it. *greater*: it is they that are asked for.
    """
    steps = (bound - quantiser.start) / quantiser.step
    code = math.floor(steps) + 1 if strict else math.ceil(steps)  # the lowest code above
    if not quantiser.low < code <= quantiser.high:
        side = "below" if code > quantiser.high else "above"
        raise Refusal(f"compares codes with {float(bound):g}: all of them are {side} it", "compare with 0.5")
    (half,), (open_,) = least_for(quantiser.mode, np.array([code - quantiser.base], dtype=object))
    edge = float((Fraction(half, 2) - quantiser.before) * quantiser.scale)
    return edge, bool(open_) == greater


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
    if not isinstance(row, Row) or row.stage != SIGMOID or row.elements != 1 or not (row.codes is row.after is None):
        raise Refusal("rounds something else than a single Sigmoid", "leave values as they are; end with ArgMax")
    return threshold(work, row, 0.0, str(call.proto.name))


def zipmap(work: Importer, call: Call) -> Value:
    """ZipMap of ai.onnx.ml: scores by label."""
    return Dictionary(_scores(call), labels_of(call, "classlabels_strings", "classlabels_int64s"))


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
    keys = labels_of(call, "keys_int64s", "keys_strings")
    texts = labels_of(call, "values_strings", "values_int64s")
    if not keys or len(keys) != len(texts):
        raise Refusal(
            "its keys and values are not integers or text of equal number", "encode labels as text or integers"
        )
    table = dict(zip(keys, texts))
    known = value.labels or tuple(range(len(keys)))
    if any(label not in table for label in known):
        raise Refusal("some class has no entry in its table", "give every class its label")
    return replace(value, labels=tuple(table[label] for label in known))


def labels_of(call: Call, *names: str) -> tuple[str | int, ...]:
    """Return the labels in the first of the attributes *names* that holds some."""
    for name in names:
        if call.attributes.get(name):
            return tuple(label if isinstance(label, str) else int(label) for label in call.attributes[name])
    return ()


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
    if value.stage not in (*ORDERED, PAIR):
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


# What decides ---------------------------------------------------------------------------------------------------------


_POINTS = np.concatenate([-np.logspace(6, -6, 1500), [0.0], np.logspace(-6, 6, 1500)])
"""Where a function is looked at to find out whether it rises."""

_RISING = frozenset({"sigmoid", "exp", "softplus"})
"""Strictly increasing words that are not 0 at 0."""


def without_rising(work: Importer, name: str) -> str:
    """Return the value whose elements are in the same order as those of *name*: less strictly increasing functions."""
    found = node = work.node(name)
    while True:
        if isinstance(op := node.op, Lookup) and (keeps_order(op.formula) or _rises(op.formula)):
            found = node = work.node(node.inputs[0])
        elif (
            isinstance(op, Affine)
            and (uniform(work, node.inputs[1]) or 0) > 0
            and uniform(work, node.inputs[2]) is not None
        ):
            node = work.node(node.inputs[0])  # stays, unless there is a function before it
        else:
            return found.name


def _rises(formula: Formula) -> bool:
    return formula[1:] in {(word,) for word in _RISING} or formula == ("x", "exp", 1.0, "add")


def crossing(work: Importer, name: str, bound: float) -> tuple[str, float]:
    """Return a value x and t such that *name* is above *bound* just where x is above t: less functions that rise."""
    found = ways(work, name)
    base, formula = list(found.items())[-1]
    if not any(isinstance(work.node(value).op, Lookup) for value in found):
        return name, bound
    values = formula_values(formula, _POINTS)
    if np.isnan(values).any() or (values[1:] < values[:-1]).any() or not values[0] <= bound < values[-1]:
        return name, bound
    place = int(np.flatnonzero(values > bound)[0])
    low, high = float(_POINTS[place - 1]), float(_POINTS[place])
    while low < (middle := (low + high) / 2) < high:
        below = formula_values(formula, np.array([middle]))[0] <= bound
        low, high = (middle, high) if below else (low, middle)
    return base, low


def deciding_bound(work: Importer, row: Row) -> float:
    """Return what the values of *row* have to exceed for class 1, or for their label: 0, or 1/2 where they are probabilities.

    Refuses what is never at most 0 and no probability: nobody can tell which value decides. So are branches joined that
    differ in it.
    """
    bounds = {_deciding(work, *part) for part in _parts(work, row.value)}
    if len(bounds) > 1:
        why = "joins probabilities and other values: which of them decides is not known"
        raise Refusal(why, "end all of them with Sigmoid, or none")
    return bounds.pop()


def _parts(work: Importer, name: str) -> set[tuple[str, Formula]]:
    """Return what the elements of *name* are: functions of a value, several where branches are joined."""
    found: set[tuple[str, Formula]] = set()
    waiting, seen = [(name, IDENTITY)], set[tuple[str, Formula]]()
    while waiting:
        value, outer = part = waiting.pop()
        base, formula = list(ways(work, value).items())[-1]
        op, inputs = work.node(base).op, work.node(base).inputs
        if part in seen or not isinstance(op, Concat):
            found |= set() if isinstance(op, Concat) else {part}
            continue
        seen.add(part)
        formula = composed(outer, formula)
        if len(formula) > MOST_WORDS:
            raise Refusal("joins branches, and is too long a function of them: which value decides is not known")
        waiting += [(inner, formula) for inner in inputs]
    return found


def _deciding(work: Importer, name: str, outer: Formula) -> float:
    """Return what *outer* of *name* has to exceed."""
    base, formula = list(ways(work, name).items())[-1]
    formula = composed(outer, formula)
    if isinstance(work.node(base).op, Add):
        low, middle = _ends_of(work, name, {})
        if low > 0 or (low == 0 and middle > 0):
            why = "is a sum of values that are all above 0, such as probabilities: which one decides is not known"
            raise Refusal(why, "add up the logits, or compare the sum with a threshold (Greater)")
        return 0.0
    values = formula_values(formula, _POINTS)
    values = values[np.isfinite(values)]
    if not len(values) or values.min() < 0 or formula == IDENTITY:
        return 0.0
    if values.max() <= 1 + 1e-9 and values.max() > 0.5:
        return 0.5
    if values.min() > 0 or (
        values.min() == 0 and formula_values(formula, np.zeros(1))[0] > 0
    ):  # exp ends in 0, softplus too
        why = f"is a single value, {formula_text(formula)[:80]}, that is always above 0: which one decides is not known"
        raise Refusal(why, "end with the logit, or compare it with a threshold (Greater)")
    return 0.0


MOST_SUMS = 50
"""How deep sums of sums are looked into."""


def _ends_of(work: Importer, name: str, seen: dict[str, tuple[float, float]]) -> tuple[float, float]:
    """Return what the values of *name* are not below, as far as is known, and its value where all that it is made of is 0."""
    if name in seen:
        return seen[name]
    seen[name] = (-math.inf, 0.0)
    base, formula = list(ways(work, name).items())[-1]
    node, points, middle = work.node(base), _POINTS, 0.0
    if isinstance(node.op, Add) and len(seen) < MOST_SUMS:
        parts = [_ends_of(work, part, seen) for part in node.inputs]
        low, middle = math.fsum(part[0] for part in parts), math.fsum(part[1] for part in parts)
        points = np.concatenate([[low], _POINTS[low < _POINTS]])
    elif formula == IDENTITY:
        return seen[name]
    values, at_middle = formula_values(formula, points), formula_values(formula, np.array([middle]))
    values = values[~np.isnan(values)]
    seen[name] = (float(values.min()) if len(values) else -math.inf, float(at_middle[0]))
    return seen[name]
