"""TreeEnsembleClassifier, TreeEnsembleRegressor and TreeEnsemble of ai.onnx.ml: a Forest, and what decides of its sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from approxhw.common.errors import shown
from approxhw.frontends.tensors.values import PAIR, PLAIN, SIGMOID, SOFTMAX, ClassPrediction, Refusal, Row, Value
from approxhw.frontends.trees.planting import always_scored, planted, tree_leaves
from approxhw.frontends.trees.scaling import before_scaling
from approxhw.frontends.trees.tables import AGGREGATES, REMEDY_EXPORT, TRANSFORMS, TreeTable, classic_table, newer_table
from approxhw.ir.kinds import ArgMax, Forest, Threshold

from .importer import Call, Importer, where
from .tail import INDEX, labels_of

REMEDY_AGGREGATE = "train trees whose results are added up, as forests and boosted trees are"
REMEDY_BINARY = "give the weights of both classes to class 0 alone (as skl2onnx does), or end with ArgMax"


def tree_classifier(work: Importer, call: Call) -> tuple[Value, ...]:
    """TreeEnsembleClassifier: label and scores. Of two classes onnxruntime looks at one sum, and so does the Graph."""
    row, values = call.row(), call.attributes
    labels = labels_of(call, "classlabels_strings", "classlabels_int64s")
    if len(labels) < 2:
        why = f"knows {len(labels)} class{'es' * (len(labels) != 1)}: there is nothing to decide"
        raise Refusal(why, "train on rows of two classes at least")
    table = _on_readings(classic_table(values, "class", row.elements, len(labels)), row)
    base = _base(call)
    if len(base) not in (0, 1, len(labels)):
        raise Refusal(f"has {len(base)} base values for {len(labels)} classes", REMEDY_EXPORT, invalid=True)
    transform = str(values.get("post_transform", "NONE"))
    if transform not in TRANSFORMS:
        raise Refusal(f"has the unknown post_transform {shown(repr(transform))}", f"there are {', '.join(TRANSFORMS)}")
    origin = str(call.proto.name)
    if len(labels) == 2:
        return _one_of_two(work, call, row, table, base, labels)
    if len(base) == 1:
        raise Refusal(f"has one base value for {len(labels)} classes", REMEDY_EXPORT, invalid=True)
    _check_scored(table, base, len(labels))
    op = planted(table, len(labels), base if len(base) else np.zeros(len(labels)))
    made = work.emit("trees", op, (row.value,), (len(labels),), origin)
    stage = _stage(transform, op)
    index = work.emit(INDEX, ArgMax(), (made,), (), origin)
    scores = Row(made, (len(labels),), row.batch, labels=labels, stage=stage, staged_by=where(call.proto))
    return ClassPrediction(index, labels), scores


def _one_of_two(
    work: Importer, call: Call, row: Row, table: TreeTable, base: np.ndarray, labels: tuple[str | int, ...]
) -> tuple[Value, ...]:
    """Return class and scores of a classifier of two classes: class 1 where one sum is above its bound."""
    named = sorted(set(table.target.tolist()))
    if len(named) == 2:
        column, first, bound = _both_named(table, base, labels)
    else:
        column = named[0] if named else 0
        if column == 1 and len(base) == 2:
            why = "has two base values, and weights of class 1 alone: onnxruntime leaves the trees out then"
            raise Refusal(why, REMEDY_BINARY)
        first = float(base[0]) if len(base) and column == 0 else 0.0
        bound = 0.5 if (table.weight >= 0).all() else 0.0
    chosen = table.target == column
    single = replace(
        table, leaf=table.leaf[chosen], target=np.zeros(int(chosen.sum()), dtype=np.int64), weight=table.weight[chosen]
    )
    origin = str(call.proto.name)
    made = work.emit("trees", planted(single, 1, np.array([first])), (row.value,), (1,), origin)
    index = work.emit(INDEX, Threshold(bound), (made,), (), origin)
    moved = made if bound == 0 else work.affine(made, np.ones(1), np.full(1, -bound), origin)
    pair = Row(moved, (2,), row.batch, stage=PAIR, labels=labels, staged_by=where(call.proto))
    return ClassPrediction(index, labels), pair


def _both_named(table: TreeTable, base: np.ndarray, labels: tuple[str | int, ...]) -> tuple[int, float, float]:
    """Return which sum decides, what it starts from and its bound, where leaves add to both: as onnxruntime has it."""
    if not isinstance(labels[0], str) and labels != (0, 1):
        told = f"{labels[0]} and {labels[1]}"
        why = f"gives weights to both of two classes: onnxruntime answers 0 and 1 then, in place of {told}"
        raise Refusal(why, REMEDY_BINARY)
    if not always_scored(table, 2)[1]:
        why = "has leaves that name class 0 alone: onnxruntime takes their weight for that of class 1"
        raise Refusal(why, REMEDY_BINARY)
    # with two base values it adds that of class 1 to the sum of class 0
    return (0, float(base[1]), 0.0) if len(base) == 2 else (1, 0.0, 0.0)


def _check_scored(table: TreeTable, base: np.ndarray, classes: int) -> None:
    """Refuse classes that get no score in some rows, where that is not the same as a score of 0: onnxruntime passes over them."""
    if len(base) or always_scored(table, classes).all():
        return
    positive = np.zeros(table.leaves, dtype=bool)
    positive[table.leaf[table.weight > 0]] = True
    if (table.weight >= 0).all() and any(positive[leaves].all() for leaves in tree_leaves(table)):
        return
    why = "has leaves that leave classes out, and weights below 0: onnxruntime passes over a class without a weight"
    raise Refusal(why, "give every leaf a weight for each class, or give base_values")


def _stage(transform: str, op: Forest) -> str:
    """Return what scores have become: a word that only the order of the values matters of where *transform* keeps it."""
    if transform in ("NONE", "LOGISTIC", "SOFTMAX"):
        return {"NONE": PLAIN, "LOGISTIC": SIGMOID, "SOFTMAX": SOFTMAX}[transform]
    least, most = op.base.copy(), op.base.copy()
    for leaves in _leaves_of(op):
        least, most = least + op.leaves[leaves].min(axis=0), most + op.leaves[leaves].max(axis=0)
    if transform == "SOFTMAX_ZERO":  # it leaves 0 as it is: below what e^x makes of numbers below 0
        return SOFTMAX if (least >= 0).all() else transform
    return SIGMOID if (least > 0).all() and (most < 1).all() else transform  # PROBIT rises between 0 and 1


def _leaves_of(op: Forest) -> list[list[int]]:
    """Return the leaves of every tree of *op*."""
    tree = np.empty(len(op.feature), dtype=np.int64)
    found: list[list[int]] = [[] for _ in op.roots]
    for number, root in enumerate(op.roots.tolist()):
        if root < 0:
            found[number].append(~root)
        else:
            tree[root] = number
    for node in range(len(tree)):  # children stand behind their parents
        for child in (int(op.high[node]), int(op.low[node])):
            if child < 0:
                found[tree[node]].append(~child)
            else:
                tree[child] = tree[node]
    return found


def _on_readings(table: TreeTable, row: Row) -> TreeTable:
    """Return *table* with tests on what the Graph's value holds: on readings in front of a scaler."""
    columns = row.columns
    if columns is None:
        return table
    steps = [columns.steps[feature] if columns.steps else () for feature in table.feature.tolist()]
    threshold, mode = before_scaling(steps, table.threshold, table.mode)
    return replace(table, feature=columns.index[table.feature], threshold=threshold, mode=mode)


def _base(call: Call) -> np.ndarray:
    base = np.array(call.attributes.get("base_values") or [], dtype=np.float64)
    if call.attributes.get("base_values_as_tensor") is not None:
        raise Refusal(
            "holds base_values in double precision", "convert it with float inputs (skl2onnx: FloatTensorType)"
        )
    if not np.isfinite(base).all():
        raise Refusal("its base values hold NaN or infinity", "train the model again", invalid=True)
    return base


def tree_regressor(work: Importer, call: Call) -> Value:
    """TreeEnsembleRegressor: sums or averages over the trees."""
    values, row = call.attributes, call.row()
    targets = int(values.get("n_targets", 1))
    if targets < 1:
        raise Refusal(f"makes {targets} values", REMEDY_EXPORT, invalid=True)
    table = _on_readings(classic_table(values, "target", row.elements, targets), row)
    aggregate, transform = str(values.get("aggregate_function", "SUM")), str(values.get("post_transform", "NONE"))
    return _values(work, call, row, table, targets, aggregate, transform)


def tree_ensemble(work: Importer, call: Call) -> Value:
    """TreeEnsemble of ai.onnx.ml 5: sums or averages over the trees."""
    values, row = call.attributes, call.row()
    targets = int(values.get("n_targets", 1))
    if targets < 1:
        raise Refusal(f"makes {targets} values", REMEDY_EXPORT, invalid=True)
    table = _on_readings(newer_table(values, row.elements, targets), row)
    words = []
    for name, known, usual in (("aggregate_function", AGGREGATES, 1), ("post_transform", TRANSFORMS, 0)):
        number = int(values.get(name, usual))
        if not 0 <= number < len(known):
            raise Refusal(f"has the unknown {name} {number}", REMEDY_EXPORT, invalid=True)
        words.append(known[number])
    return _values(work, call, row, table, targets, *words)


def _values(
    work: Importer, call: Call, row: Row, table: TreeTable, targets: int, aggregate: str, transform: str
) -> Value:
    if aggregate not in ("SUM", "AVERAGE"):
        raise Refusal(f"takes the {aggregate} over its trees, which is not read", REMEDY_AGGREGATE)
    base = _base(call)
    if len(base) not in (0, targets):
        raise Refusal(f"has {len(base)} base values for {targets} values", REMEDY_EXPORT, invalid=True)
    if targets == 1 and transform != "NONE":
        why = f"post_transform {transform} of a single value is not read: onnxruntime leaves some of them out"
        raise Refusal(why, "use NONE, and a Sigmoid behind it")
    if targets == 1 and len(table.leaf) != len(set(table.leaf.tolist())):
        raise Refusal("has a leaf with several weights", REMEDY_EXPORT, invalid=True)
    share = 1 / len(table.roots) if aggregate == "AVERAGE" else 1.0
    op = planted(table, targets, base if len(base) else np.zeros(targets), share)
    made = work.emit("trees", op, (row.value,), (targets,), str(call.proto.name))
    return Row(made, (targets,), row.batch, stage=_stage(transform, op), staged_by=where(call.proto))
