"""The attributes of ONNX tree ensembles → one table of tests, leaves and weights; all that is wrong with them is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from approxhw.common.errors import shown
from approxhw.frontends.tensors.folding import array_of
from approxhw.frontends.tensors.values import Refusal
from approxhw.ir.kinds.forest import BRANCHES, MOST_NODES

BRANCH = "BRANCH_"
CATEGORIES = "splits by a set of categories (BRANCH_MEMBER), which is not read"
REMEDY_EXPORT = "export the model again"
REMEDY_CATEGORIES = "encode categories as numbers before training"
REMEDY_SMALLER = "train fewer or smaller trees"
REMEDY_SINGLE = "convert it with float inputs (skl2onnx: FloatTensorType)"
AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
"""By number, as ``TreeEnsemble`` has them."""

TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
"""Likewise."""


@dataclass(frozen=True, eq=False)
class TreeTable:
    """Tests, and what leaves add, in the order of the model. ``high``, ``low``, ``roots``: a test, or ~leaf.

    ``leaf``, ``target``, ``weight``: entry i adds weight[i] to sum target[i] in leaf leaf[i]; a leaf may have none, and several.
    """

    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    mode: tuple[str, ...]
    high: np.ndarray
    low: np.ndarray
    missing: np.ndarray
    leaves: int
    leaf: np.ndarray
    target: np.ndarray
    weight: np.ndarray


def _column(values: Mapping[str, Any], name: str, dtype: type) -> np.ndarray:
    """Return a list of numbers; an empty array where it is left out."""
    if f"{name}_as_tensor" in values:
        array = array_of(values[f"{name}_as_tensor"]).reshape(-1)
        if array.dtype == np.float64:
            raise Refusal(f"holds {name} in double precision", REMEDY_SINGLE)
        return array.astype(dtype)
    found = values.get(name)
    return np.array([] if found is None else found, dtype=dtype)


def classic_table(values: Mapping[str, Any], kind: str, features: int, outputs: int) -> TreeTable:
    """Return the table of a TreeEnsembleClassifier (*kind* ``class``) or TreeEnsembleRegressor (``target``).

    *values*: the attributes. Raises :class:`Refusal` for what is no set of trees over *features* that add to *outputs* sums.
    """
    names = ("treeids", "nodeids", "featureids", "truenodeids", "falsenodeids")
    trees, numbers, feature, high, low = (_column(values, f"nodes_{name}", np.int64) for name in names)
    threshold = _column(values, "nodes_values", np.float64)
    modes = tuple(str(mode) for mode in values.get("nodes_modes") or ())
    tracks = _column(values, "nodes_missing_value_tracks_true", np.int64)
    sizes = {f"nodes_{name}": len(column) for name, column in zip(names, (trees, numbers, feature, high, low))}
    _alike({**sizes, "nodes_values": len(threshold), "nodes_modes": len(modes)})
    if not len(trees):
        raise Refusal("has no tree", REMEDY_EXPORT, invalid=True)
    if len(tracks) not in (0, len(trees)):
        raise Refusal(f"has {len(tracks)} nodes_missing_value_tracks_true for {len(trees)} nodes", invalid=True)
    tests = np.array([mode != "LEAF" for mode in modes])
    _check_count(int(tests.sum()))
    mode = _modes([mode for mode in modes if mode != "LEAF"])
    place: dict[tuple[int, int], int] = {}
    # tests are numbered among themselves, leaves too: ~leaf
    targets = np.where(tests, np.cumsum(tests) - 1, ~(np.cumsum(~tests) - 1))
    for row, key in enumerate(zip(trees.tolist(), numbers.tolist())):
        if key in place:
            raise Refusal(f"tree {key[0]} has two nodes of number {key[1]}", REMEDY_EXPORT, invalid=True)
        place[key] = row
    begins = np.flatnonzero(np.append(True, trees[1:] != trees[:-1]))
    if len(begins) != len(set(trees.tolist())):
        raise Refusal("nodes of one tree stand in several places", REMEDY_EXPORT, invalid=True)
    children = [_children(trees, numbers, side, tests, place, targets) for side in (high, low)]
    target, nodes, of_tree = (_column(values, f"{kind}_{name}", np.int64) for name in ("ids", "nodeids", "treeids"))
    weight = _column(values, f"{kind}_weights", np.float64)
    _alike(
        {
            f"{kind}_ids": len(target),
            f"{kind}_nodeids": len(nodes),
            f"{kind}_treeids": len(of_tree),
            f"{kind}_weights": len(weight),
        }
    )
    rows = []
    for key in zip(of_tree.tolist(), nodes.tolist()):
        if key not in place:
            raise Refusal(f"gives weights to node {key[1]} of tree {key[0]}, which does not exist", invalid=True)
        rows.append(place[key])
    at = targets[np.array(rows, dtype=np.int64)]
    held = at < 0  # weights of a test are never added up
    table = TreeTable(
        roots=targets[begins],
        feature=feature[tests],
        threshold=threshold[tests],
        mode=mode,
        high=children[0],
        low=children[1],
        missing=tracks[tests] == 1 if len(tracks) else np.zeros(int(tests.sum()), dtype=bool),
        leaves=int((~tests).sum()),
        leaf=~at[held],
        target=target[held],
        weight=weight[held],
    )
    return _sound(table, features, outputs)


def _alike(sizes: Mapping[str, int]) -> None:
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} {size}" for name, size in sizes.items())
        raise Refusal(f"its lists differ in length: {told}", REMEDY_EXPORT, invalid=True)


def _check_count(count: int) -> None:
    if count > MOST_NODES:
        raise Refusal(f"has {count} nodes that test something; at most {MOST_NODES} are read", REMEDY_SMALLER)


def _modes(words: list[str]) -> tuple[str, ...]:
    known = {f"{BRANCH}{branch.upper()}": branch for branch in BRANCHES}
    if "BRANCH_MEMBER" in words:
        raise Refusal(CATEGORIES, REMEDY_CATEGORIES)
    if unknown := sorted(set(words) - set(known)):
        raise Refusal(f"has the unknown mode {shown(repr(unknown[0]))}", f"there are {', '.join(known)}", invalid=True)
    return tuple(known[word] for word in words)


def _children(
    trees: np.ndarray,
    numbers: np.ndarray,
    side: np.ndarray,
    tests: np.ndarray,
    place: Mapping[tuple[int, int], int],
    targets: np.ndarray,
) -> np.ndarray:
    """Return where each test leads on one side."""
    found = []
    for tree, number, child in zip(trees[tests].tolist(), numbers[tests].tolist(), side[tests].tolist()):
        row = place.get((tree, child))
        if row is None:
            why = f"node {number} of tree {tree} leads to node {child}, which does not exist"
            raise Refusal(why, REMEDY_EXPORT, invalid=True)
        found.append(row)
    return targets[np.array(found, dtype=np.int64)]


def newer_table(values: Mapping[str, Any], features: int, outputs: int) -> TreeTable:
    """Return the table of a ``TreeEnsemble`` (ai.onnx.ml 5); arguments and errors as :func:`classic_table` has them."""
    feature, high, low = (
        _column(values, f"nodes_{name}", np.int64) for name in ("featureids", "truenodeids", "falsenodeids")
    )
    roots, target = _column(values, "tree_roots", np.int64), _column(values, "leaf_targetids", np.int64)
    leafs = [_column(values, f"nodes_{name}", np.int64) for name in ("trueleafs", "falseleafs")]
    threshold, weight = (_tensor(values, name) for name in ("nodes_splits", "leaf_weights"))
    modes = _tensor(values, "nodes_modes").astype(np.int64)
    tracks = _column(values, "nodes_missing_value_tracks_true", np.int64)
    _check_count(len(feature))
    sizes = {"nodes_featureids": len(feature), "nodes_splits": len(threshold), "nodes_modes": len(modes)}
    sizes |= {"nodes_truenodeids": len(high), "nodes_falsenodeids": len(low)}
    _alike({**sizes, "nodes_trueleafs": len(leafs[0]), "nodes_falseleafs": len(leafs[1])})
    _alike({"leaf_targetids": len(target), "leaf_weights": len(weight)})
    if not len(roots) or not len(target):
        raise Refusal("has no tree", REMEDY_EXPORT, invalid=True)
    if len(tracks) not in (0, len(feature)):
        raise Refusal(f"has {len(tracks)} nodes_missing_value_tracks_true for {len(feature)} nodes", invalid=True)
    if (modes == len(BRANCHES)).any() or values.get("membership_values") is not None:
        raise Refusal(CATEGORIES, REMEDY_CATEGORIES)
    if ((modes < 0) | (modes > len(BRANCHES))).any():
        raise Refusal(f"has an unknown mode {int(modes.max())}", REMEDY_EXPORT, invalid=True)
    order = ("leq", "lt", "gte", "gt", "eq", "neq")
    sides = []
    for title, child, is_leaf in (("true", high, leafs[0] == 1), ("false", low, leafs[1] == 1)):
        size = np.where(is_leaf, len(target), len(feature))
        if len(wrong := np.flatnonzero((child < 0) | (child >= size))):
            what = f"{'leaf' if is_leaf[wrong[0]] else 'node'} {int(child[wrong[0]])}"
            why = f"node {int(wrong[0])} leads to {what} ({title}), which does not exist"
            raise Refusal(why, REMEDY_EXPORT, invalid=True)
        sides.append(np.where(is_leaf, ~child, child))
    if len(wrong := np.flatnonzero((roots < 0) | (roots >= len(feature)))):
        raise Refusal(f"tree {int(wrong[0])} starts at node {int(roots[wrong[0]])}, which does not exist", invalid=True)
    # a tree that is a leaf alone has a root whose both ways lead to that leaf
    same = (sides[0] == sides[1]) & (sides[0] < 0)
    roots = np.where(same[roots], sides[0][roots], roots)
    missing = tracks == 1 if len(tracks) else np.zeros(len(feature), dtype=bool)
    mode = tuple(order[number] for number in modes.tolist())
    every = np.arange(len(target))
    above, below = sides
    table = TreeTable(roots, feature, threshold, mode, above, below, missing, len(target), every, target, weight)
    return _sound(table, features, outputs)


def _tensor(values: Mapping[str, Any], name: str) -> np.ndarray:
    if name not in values:
        raise Refusal(f"lacks {name}", REMEDY_EXPORT, invalid=True)
    array = array_of(values[name]).reshape(-1)
    if array.dtype == np.float64:
        raise Refusal(f"holds {name} in double precision", REMEDY_SINGLE)
    return array.astype(np.float64)


def _sound(table: TreeTable, features: int, outputs: int) -> TreeTable:
    """Return *table*; refuse numbers that are none, and features and sums that do not exist."""
    if count := int(np.isnan(table.threshold).sum()):
        raise Refusal(f"{count} of {len(table.threshold)} thresholds are NaN", "train the model again", invalid=True)
    if count := int((~np.isfinite(table.weight)).sum()):
        why = f"{count} of {len(table.weight)} weights of leaves are NaN or infinite"
        raise Refusal(why, "train the model again", invalid=True)
    wrong = table.feature[(table.feature < 0) | (table.feature >= features)]
    if len(wrong):
        raise Refusal(f"tests feature {int(wrong[0])} of {features}", REMEDY_EXPORT, invalid=True)
    wrong = table.target[(table.target < 0) | (table.target >= outputs)]
    if len(wrong):
        raise Refusal(f"adds to sum {int(wrong[0])} of {outputs}", REMEDY_EXPORT, invalid=True)
    return table
