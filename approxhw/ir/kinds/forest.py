"""Trees, forests and boosted trees: ``Forest``, tests on elements of a row that lead to leaves, which add to sums."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields

import numpy as np

from approxhw.common.errors import shown
from approxhw.numerics.formats import FLOAT64, MAXIMUM_BITS, Float, Format

from .attributes import json_number
from .kind import EXACT_IN_INT64, Fault, Kind, Operand, Operands, Range, Values, exact_integers, narrowed, reach_of

MOST_NODES = 100_000
"""Nodes of all trees of one Forest together."""

MOST_DEPTH = 4096
"""Tests on the way from a root to a leaf."""

BRANCHES = ("leq", "lt", "gte", "gt", "eq", "neq")
"""How a value is compared with a threshold on reals; on codes it is always ``gte``."""

_AT_ONCE = 1 << 20
"""Places in trees that are followed at once: rows are taken in parts."""


@dataclass(frozen=True, eq=False)
class Forest:
    """Sums of leaves: every tree is followed from its root, and the leaf it ends in adds a row of ``leaves`` to ``base``.

    A node n tests x[feature] + sign · x[other], or x[feature] alone where ``other`` is −1: on codes whether it is
    ≥ threshold, on reals as ``mode`` says. ``high`` is where to go if the test holds, ``low`` if not: a node behind n, or
    ~leaf. On reals x is rounded to float32 first, NaN goes where ``missing`` says, high where it is true, and sums are of
    float32, the base added last, as onnxruntime has it: which of two equal votes wins depends on it. Arrays are read-only;
    T trees, N nodes, L leaves, C sums. What is left out: no second element, mode ``gte``, NaN as any test fails.
    """

    roots: np.ndarray
    """T integers: a node, or ~leaf where a tree is a leaf alone."""
    feature: np.ndarray
    threshold: np.ndarray
    """N codes (int64), or N numbers that float32 holds (float64)."""
    high: np.ndarray
    low: np.ndarray
    leaves: np.ndarray
    """L × C codes (int64, or object beyond 63 bits), or numbers (float64)."""
    base: np.ndarray
    """C of them: what the sums start from."""
    other: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    sign: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    mode: tuple[str, ...] = ()
    missing: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def __post_init__(self) -> None:
        """Fill in what is left out, and freeze the arrays: Graphs share them."""
        count = np.size(self.feature)
        for name in ("roots", "feature", "high", "low", "other", "sign"):
            given = np.array(getattr(self, name))
            if name in ("other", "sign") and not given.size:
                given = np.full(count, -1 if name == "other" else 1)
            _set(self, name, given.astype(np.int64) if given.dtype.kind in "iub" or not given.size else given)
        leaves = _numbers(self.leaves)
        _set(self, "leaves", leaves)
        for name in ("threshold", "base"):
            found = _numbers(getattr(self, name))
            if not found.size or (leaves.dtype.kind == "f" and found.dtype.kind == "i"):
                found = found.astype(np.float64 if leaves.dtype.kind == "f" else np.int64)
            _set(self, name, found)
        given = np.array(self.missing, dtype=bool)
        _set(self, "missing", given if given.size else np.zeros(count, dtype=bool))
        mode = (self.mode,) * count if isinstance(self.mode, str) else tuple(self.mode) or ("gte",) * count
        object.__setattr__(self, "mode", mode)

    def __eq__(self, other: object) -> bool:
        """Equal arrays are equal forests."""
        if not isinstance(other, Forest):
            return False
        pairs = [(getattr(self, part.name), getattr(other, part.name)) for part in fields(self) if part.name != "mode"]
        return self.mode == other.mode and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)

    def __hash__(self) -> int:
        """Hash the sizes: cheap, and consistent with equality."""
        return hash((self.roots.shape, self.feature.shape, self.leaves.shape))

    @property
    def classes(self) -> int:
        """C: how many sums it makes."""
        return int(self.leaves.shape[1]) if self.leaves.ndim == 2 else 0


def _set(op: Forest, name: str, array: np.ndarray) -> None:
    array.flags.writeable = False
    object.__setattr__(op, name, array)


def _numbers(values: object) -> np.ndarray:
    """Return *values* as int64, as object where an integer needs more bits, or as float64."""
    array = np.array(values)
    if array.dtype == np.uint64 or array.dtype == object:
        flat = array.reshape(-1).tolist()
        whole = all(type(value) is int for value in flat)
        wide = not whole or any(not -(1 << 63) <= value < 1 << 63 for value in flat)
        return array.astype(object if wide else np.int64)
    return array.astype(np.int64) if array.dtype.kind in "iub" else array


# Structure --------------------------------------------------------------------------------------------------------------


def _structure_faults(op: Forest, operands: Operands, own: Operand) -> list[Fault]:
    """Return what is wrong with the arrays: sizes and kinds first, then whether nodes and leaves make trees."""
    why: list[Fault] = []
    count = len(op.feature) if op.feature.ndim == 1 else -1
    if count < 0 or op.roots.ndim != 1 or op.leaves.ndim != 2 or op.base.shape != (op.classes,) or not op.classes:
        return ["roots and feature are lists, leaves a row of sums each, base one number a sum; one sum at least"]
    if not len(op.roots):
        return ["it has no tree"]
    if count > MOST_NODES or max(len(op.roots), len(op.leaves)) > 2 * MOST_NODES:
        return [(f"{count} nodes; a Forest has at most {MOST_NODES}", "train fewer or smaller trees")]
    for name in ("threshold", "high", "low", "other", "sign", "missing", "mode"):
        size = len(getattr(op, name)) if name == "mode" or getattr(op, name).ndim == 1 else -1
        if size != count:
            why.append(f"{name} has {max(size, 0)} values for {count} nodes")
    if bad := [name for name in ("roots", "feature", "high", "low", "other", "sign") if not _whole(getattr(op, name))]:
        why.append(f"{', '.join(bad)} hold something else than integers of 64 bits")
    why += _number_faults(op, own)
    return why or [*_test_faults(op, own), *_tree_faults(op)]


def _whole(array: np.ndarray) -> bool:
    return array.dtype == np.int64


def _number_faults(op: Forest, own: Operand) -> list[Fault]:
    why: list[Fault] = []
    if own.type.is_float:
        if own.type.format != FLOAT64:
            why.append(f"a Forest of reals makes {FLOAT64}, not {own.type.format}")
        for name in ("threshold", "leaves", "base"):
            array = getattr(op, name)
            if array.size and (array.dtype != np.float64 or not np.isfinite(array).all()):
                why.append(f"{name} of a Forest of reals holds something else than finite numbers (float64)")
        return why
    if op.threshold.size and not _whole(op.threshold):
        why.append("threshold of a Forest of codes holds something else than codes of 64 bits")
    for name in ("leaves", "base"):
        flat = getattr(op, name).reshape(-1).tolist()
        if any(type(value) is not int or abs(value) >> MAXIMUM_BITS for value in flat):
            why.append(f"{name} of a Forest of codes holds something else than integers of at most {MAXIMUM_BITS} bits")
    return why


def _test_faults(op: Forest, own: Operand) -> list[Fault]:
    why: list[Fault] = []
    if own.type.is_float:
        if strange := sorted({shown(mode) for mode in op.mode if mode not in BRANCHES}):
            why.append(f"there is no mode {', '.join(strange[:3])}; there are {', '.join(BRANCHES)}")
        with np.errstate(over="ignore"):
            unheld = op.threshold.astype(np.float32).astype(np.float64) != op.threshold
        if unheld.any():
            why.append(f"threshold {op.threshold[unheld][0]!r} is no number that float32 holds")
    elif any(mode != "gte" for mode in op.mode) or op.missing.any():
        why.append("on codes every test is x ≥ threshold, and there is no NaN")
    if (op.feature < 0).any():
        why.append(f"node {int(np.flatnonzero(op.feature < 0)[0])} looks at element {int(op.feature.min())}")
    if (op.other < -1).any():
        why.append(f"the second element of a test is at least 0, or −1 for none; there is {int(op.other.min())}")
    if (np.abs(op.sign) != 1).any():
        why.append("sign is +1 or −1")
    return why


def _tree_faults(op: Forest) -> list[Fault]:
    """Return what keeps nodes and leaves from being trees whose children stand behind their parents."""
    count, leaves = len(op.feature), len(op.leaves)
    places = np.arange(count)
    for name, targets, above in (("high", op.high, places), ("low", op.low, places), ("roots", op.roots, None)):
        wrong = (targets >= count) | (targets < -leaves)
        if wrong.any():
            place = int(np.flatnonzero(wrong)[0])
            return [f"{name} {place} leads to {_spelled_target(int(targets[place]))}, which does not exist"]
        if above is not None and ((targets >= 0) & (targets <= above)).any():
            place = int(np.flatnonzero((targets >= 0) & (targets <= above))[0])
            return [f"{name} of node {place} leads to node {int(targets[place])}: children stand behind their parents"]
    targets = np.concatenate([op.roots, op.high, op.low])
    for title, found, size in (("node", targets[targets >= 0], count), ("leaf", ~targets[targets < 0], leaves)):
        parents = np.bincount(found, minlength=size)
        if (parents != 1).any():
            place = int(np.flatnonzero(parents != 1)[0])
            return [f"{title} {place} is reached from {int(parents[place])} places, not from one"]
    depth = forest_depth(op, MOST_DEPTH)
    return [f"a tree is deeper than {MOST_DEPTH} tests"] if depth > MOST_DEPTH else []


def _spelled_target(target: int) -> str:
    return f"node {target}" if target >= 0 else f"leaf {~target}"


def forest_depth(op: Forest, most: int | None = None) -> int:
    """Return how many tests the longest way from a root to a leaf has; where it exceeds *most*, only that it does."""
    depth, level = 0, op.roots[op.roots >= 0]
    while len(level) and (most is None or depth <= most):
        depth += 1
        below = np.concatenate([op.high[level], op.low[level]])
        level = below[below >= 0]
    return depth


def _elements_exist(op: Forest, operands: Operands, own: Operand) -> list[Fault]:
    size = operands[0].type.elements if operands else None
    most = max([-1, *op.feature.reshape(-1).tolist(), *op.other.reshape(-1).tolist()])
    return [f"it looks at element {most} of {size}"] if size is not None and most >= size else []


def _zero_point(op: Forest, operands: Operands, own: Operand) -> list[Fault]:
    return [f"its result has zero point {own.fixed.zero}, only 0 is allowed there"] if own.fixed.zero else []


# Meaning ----------------------------------------------------------------------------------------------------------------


def leaves_reached(op: Forest, x: np.ndarray) -> np.ndarray:
    """Return the leaf that each row of *x* (codes, or real values: rows × elements) ends in: int64, rows × trees."""
    found = np.empty((len(x), len(op.roots)), dtype=np.int64)
    step = max(1, _AT_ONCE // max(1, len(op.roots)))
    real = x.dtype.kind == "f"
    for start in range(0, len(x), step):
        part = x[start : start + step]
        if real:
            with np.errstate(over="ignore"):
                part = part.astype(np.float32).astype(np.float64)
        found[start : start + step] = _followed(op, part, real)
    return found


def _followed(op: Forest, x: np.ndarray, real: bool) -> np.ndarray:
    """Return the leaves of all trees for a few rows: all places go down one level at a time."""
    at = np.tile(op.roots, (len(x), 1)).reshape(-1)
    active = np.flatnonzero(at >= 0)
    rows = np.repeat(np.arange(len(x)), len(op.roots))
    double = bool((op.other >= 0).any())
    modes = np.array([BRANCHES.index(mode) for mode in op.mode], dtype=np.int64) if real else None
    while len(active):
        node, row = at[active], rows[active]
        value = x[row, op.feature[node]]
        if double:
            second = op.other[node]
            value = value + np.where(second >= 0, op.sign[node] * x[row, second], 0)
        holds = _holds(value, op.threshold[node], modes[node]) if modes is not None else value >= op.threshold[node]
        if real:
            holds |= op.missing[node] & np.isnan(value)
        at[active] = np.where(holds.astype(bool), op.high[node], op.low[node])
        active = active[at[active] >= 0]
    return ~at.reshape(len(x), len(op.roots))


_COMPARE: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "leq": np.less_equal,
    "lt": np.less,
    "gte": np.greater_equal,
    "gt": np.greater,
    "eq": np.equal,
    "neq": np.not_equal,
}


def _holds(value: np.ndarray, threshold: np.ndarray, modes: np.ndarray) -> np.ndarray:
    found = np.zeros(len(value), dtype=bool)
    for index, name in enumerate(BRANCHES):
        chosen = modes == index
        if chosen.any():
            found[chosen] = _COMPARE[name](value[chosen], threshold[chosen])
    return found


def _on_codes(op: Forest, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    x = values[0].reshape(len(values[0]), -1)
    if (op.other >= 0).any() and x.dtype != object:
        x = exact_integers(x, 2 * reach_of(operands[0].ends))
    widest = _reach(op.leaves) * len(op.roots) + _reach(op.base)
    dtype = np.int64 if widest < EXACT_IN_INT64 else object
    return narrowed(code_sums(op, leaves_reached(op, x), dtype), own.ends)


def code_sums(op: Forest, reached: np.ndarray, dtype: type = np.int64) -> np.ndarray:
    """Return what the leaves that are *reached* (rows × trees) add up to, with the base: *dtype*, which holds it, rows × sums."""
    leaves: np.ndarray = op.leaves.astype(dtype)
    total: np.ndarray = np.tile(op.base.astype(dtype), (len(reached), 1))
    for tree in range(len(op.roots)):
        total += leaves[reached[:, tree]]
    return total


def _reach(array: np.ndarray) -> int:
    return max(abs(int(array.min())), abs(int(array.max())))


def _on_reals(op: Forest, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    x = values[0].reshape(len(values[0]), -1).astype(np.float64)
    return real_sums(op, leaves_reached(op, x))


def real_sums(op: Forest, reached: np.ndarray) -> np.ndarray:
    """Return what the leaves that are *reached* (rows × trees) add up to: tree by tree in float32, the base last (float64)."""
    leaves = op.leaves.astype(np.float32)
    total = np.zeros((len(reached), op.classes), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # sums beyond float32 are infinite, as onnxruntime has them
        for tree in range(len(op.roots)):
            total += leaves[reached[:, tree]]
        return (total + op.base.astype(np.float32)).astype(np.float64)


# Range ------------------------------------------------------------------------------------------------------------------


def reachable_leaves(op: Forest, low: list[int], high: list[int]) -> list[list[int]]:
    """Return the leaves that codes from *low* to *high* (one each an element) can end in, tree by tree, from high to low.

    Exact where every test is on one element; a test on two narrows nothing, and is decided by the ends alone.
    """
    low, high = list(low), list(high)
    feature, threshold, other, sign = (a.tolist() for a in (op.feature, op.threshold, op.other, op.sign))
    above, below = op.high.tolist(), op.low.tolist()
    found: list[list[int]] = []
    for root in op.roots.tolist():
        reached: list[int] = []
        # a step: a place to go to, or (element, its end, the old bound) to put back
        steps: list[tuple[int, int, int, int]] = [(0, root, 0, 0)]
        while steps:
            what, place, side, bound = steps.pop()
            if what == 1:  # put a bound back
                (high if side else low)[place] = bound
                continue
            if what == 2:  # go low: what is tested stays below the threshold
                node, element = place, feature[place]
                steps.append((1, element, 1, high[element]))
                high[element] = min(high[element], threshold[node] - 1)
                steps.append((0, below[node], 0, 0))
                continue
            if place < 0:
                reached.append(~place)
                continue
            element, second = feature[place], other[place]
            if second >= 0:
                ends = (low[second], high[second]) if sign[place] > 0 else (-high[second], -low[second])
                if low[element] + ends[0] < threshold[place]:
                    steps.append((0, below[place], 0, 0))
                if high[element] + ends[1] >= threshold[place]:
                    steps.append((0, above[place], 0, 0))
                continue
            if low[element] < threshold[place]:
                steps.append((2, place, 0, 0))
            if high[element] >= threshold[place]:
                steps.append((1, element, 0, low[element]))
                low[element] = max(low[element], threshold[place])
                steps.append((0, above[place], 0, 0))
        found.append(reached)
    return found


def _range(op: Forest, operands: Operands, own: Operand) -> Range:
    """Return base + the least and the greatest leaf of every tree that its own tests let a row reach (kept by the op)."""
    low, high = (end.tolist() for end in operands[0].ends)
    kept: dict[tuple[int, ...], Range] = op.__dict__.setdefault("_ranges", {})
    key = (*low, *high)
    if key not in kept:
        leaves = op.leaves.astype(object)
        least, most = op.base.astype(object), op.base.astype(object)
        for reached in reachable_leaves(op, low, high):
            rows = leaves[reached]
            least, most = least + rows.min(axis=0), most + rows.max(axis=0)
        kept.clear()
        kept[key] = (least, most)
    return kept[key]


# Text -------------------------------------------------------------------------------------------------------------------


def _attributes(op: Forest) -> dict[str, object]:
    told: dict[str, object] = {name: getattr(op, name).tolist() for name in ("roots", "feature")}
    told["threshold"] = [json_number(value) for value in op.threshold.tolist()]
    told |= {name: getattr(op, name).tolist() for name in ("high", "low")}
    told["leaves"] = [[json_number(value) for value in row] for row in op.leaves.tolist()]
    told["base"] = [json_number(value) for value in op.base.tolist()]
    if (op.other >= 0).any():
        told |= {"other": op.other.tolist(), "sign": op.sign.tolist()}
    if any(mode != "gte" for mode in op.mode):
        told["mode"] = op.mode[0] if len(set(op.mode)) == 1 else list(op.mode)
    if op.missing.any():
        told["missing"] = op.missing.astype(int).tolist()
    return told


def _integers(value: object, fmt: Format) -> np.ndarray:
    if not isinstance(value, list) or not all(type(v) is int for v in value):
        raise ValueError(f"a list of integers is needed, not {shown(value)!r}")
    if any(not -(1 << 63) <= v < 1 << 63 for v in value):
        raise ValueError("an integer of more than 64 bits")
    return np.array(value, dtype=np.int64)


def _values(value: object, fmt: Format) -> np.ndarray:
    """Read a list of codes, or of real numbers."""
    kinds = (int, float) if isinstance(fmt, Float) else (int,)
    if not isinstance(value, list) or not all(type(v) in kinds for v in value):
        raise ValueError(f"a list of {'numbers' if float in kinds else 'integers'} is needed, not {shown(value)!r}")
    if isinstance(fmt, Float):
        return np.array([float(v) for v in value], dtype=np.float64)
    small = all(-(1 << 63) <= v < 1 << 63 for v in value)
    return np.array(value, dtype=np.int64 if small else object)


def _rows(value: object, fmt: Format) -> np.ndarray:
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        raise ValueError("leaves is a list of lists")
    if len({len(row) for row in value}) > 1:
        raise ValueError("leaves is ragged")
    width = len(value[0]) if value else 0
    return _values([v for row in value for v in row], fmt).reshape(len(value), width)


def _modes(value: object, fmt: Format) -> tuple[str, ...] | str:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) and word in BRANCHES for word in words):
        raise ValueError(f"mode is one of {', '.join(BRANCHES)}, or a list of them")
    return value if isinstance(value, str) else tuple(words)


def _truths(value: object, fmt: Format) -> np.ndarray:
    if not isinstance(value, list) or not all(v in (0, 1) for v in value):
        raise ValueError("missing is a list of 0 and 1")
    return np.array(value, dtype=bool)


FOREST = Kind(
    op=Forest,
    shapes=lambda op, first, own: [(math.prod(first),), (op.classes,)],
    checks={"attributes": _structure_faults, "shapes": _elements_exist, "formats": _zero_point},
    range=_range,
    on_codes=_on_codes,
    on_reals=_on_reals,
    attributes=_attributes,
    readers={
        "roots": _integers,
        "feature": _integers,
        "threshold": _values,
        "high": _integers,
        "low": _integers,
        "leaves": _rows,
        "base": _values,
        "other": _integers,
        "sign": _integers,
        "mode": _modes,
        "missing": _truths,
    },
    optional=frozenset({"other", "sign", "mode", "missing"}),
    said=lambda op: f"{len(op.roots)} trees" if len(op.roots) > 1 else "a tree",
    coarser=None,
)

KINDS = (FOREST,)
