"""What the value of an ONNX tensor can be while a model is read: known, computed per row, a class index, or broken."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from approxhw.frontends.quantised.quantiser import Codes, Quantiser

PLAIN, SOFTMAX, SIGMOID, COMPLEMENT, PAIR = "plain", "Softmax", "Sigmoid", "1 - Sigmoid", "the pair (1 - p, p)"
"""Stages of a row on its way to a class: a real value, or something that only its order matters of."""

EXP, EXP_PLUS_ONE, SHARES, UNIFORM = "Exp", "1 + Exp", "scores divided by their sum", "a sum over the classes"
"""Stages of a Sigmoid that is written out, and of scores made shares; the last one is one number for all classes, not below 0."""

LEVEL, MOVED = "one number for all classes", "scores less one number for all of them"
"""Stages of a Softmax that is written out: such as the greatest score, and scores that it is taken from. Of any sign."""


class Refusal(Exception):
    """A node that cannot be read: why, and what to do.

    ``invalid``: the model contradicts itself, not us. ``where``: the node that is to blame, where it is another one.
    """

    def __init__(self, why: str, remedy: str = "", *, invalid: bool = False, where: str = "") -> None:
        self.why, self.remedy, self.invalid, self.where = why, remedy, invalid, where
        super().__init__(why)


MAXIMUM_WIDTH = 1 << 16
"""Most elements of a row."""


def check_width(count: int) -> None:
    """Refuse rows of more than ``MAXIMUM_WIDTH`` elements."""
    if count > MAXIMUM_WIDTH:
        raise Refusal(f"{count} elements a row; at most {MAXIMUM_WIDTH} are read", "approxhw is for small classifiers")


@dataclass(frozen=True, eq=False)
class Known:
    """A constant tensor.

    ``codes``: the integers behind it, where it was dequantised. ``sized``: it was worked out from the batch size, and so holds
    only as a shape.
    """

    array: np.ndarray
    origin: str = ""
    sized: bool = False
    codes: Codes | None = None


@dataclass(frozen=True, eq=False)
class PickedColumns:
    """Elements of the Input, each scaled and shifted: element j is scale[j] · x[index[j]] + shift[j].

    ``steps``: of each element how the model works that out, as ``frontends/trees/scaling.py`` tells it; empty for plain copies.
    """

    index: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    steps: tuple[tuple[tuple[str, float, float], ...], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what grows beyond any model: columns joined with themselves again and again."""
        check_width(len(self.index))

    @property
    def is_scaled(self) -> bool:
        """Whether any element is more than a plain copy."""
        return bool((self.scale != 1).any() or (self.shift != 0).any())

    def picked(self, positions: np.ndarray) -> PickedColumns:
        """Return the elements at *positions*."""
        steps = tuple(self.steps[place] for place in positions.tolist()) if self.steps else ()
        return PickedColumns(self.index[positions], self.scale[positions], self.shift[positions], steps)

    def is_all_of(self, features: int) -> bool:
        """Whether the elements are those of the Input, in order."""
        return bool(len(self.index) == features and (self.index == np.arange(features)).all())


def joined_columns(parts: list[PickedColumns]) -> PickedColumns:
    """Return the elements of all *parts*, side by side."""
    index, scale, shift = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("index", "scale", "shift")
    )
    told = any(part.steps for part in parts)
    steps = tuple(step for part in parts for step in (part.steps or ((),) * len(part.index))) if told else ()
    return PickedColumns(index, scale, shift, steps)


@dataclass(frozen=True, eq=False)
class Row:
    """A tensor computed per row.

    ``value``: the Graph's value that holds its elements flat. ``shape``: without the batch axis, which stands at
    position ``batch`` of the ONNX shape (None: the model has none). ``tensor``: the ONNX name of the logits, or of
    this value. ``codes``: the quantiser whose codes it holds, between QuantizeLinear and DequantizeLinear.
    ``shared``: more than one node reads it, so the Node behind it must stay as it is. ``staged_by``: the ONNX node that made
    it what ``stage`` says. ``after``: the quantiser that values of this stage have passed. ``pair_of``: what the second
    element of a pair is, a Sigmoid or a plain score, where that is known.
    """

    value: str
    shape: tuple[int, ...]
    batch: int | None
    tensor: str = ""
    stage: str = PLAIN
    columns: PickedColumns | None = None
    labels: tuple[str | int, ...] = ()
    codes: Quantiser | None = None
    shared: bool = False
    staged_by: str = ""
    after: Quantiser | None = None
    pair_of: str = ""

    @property
    def elements(self) -> int:
        """Number of elements of one row."""
        return math.prod(self.shape)

    @property
    def rank(self) -> int:
        """Rank of the ONNX tensor."""
        return len(self.shape) + (self.batch is not None)

    def full(self, batch_size: int) -> tuple[int, ...]:
        """Return the ONNX shape with *batch_size* rows."""
        if self.batch is None:
            return self.shape
        return (*self.shape[: self.batch], batch_size, *self.shape[self.batch :])

    def axis(self, axis: int) -> int | None:
        """Return where ONNX axis *axis* stands in ``shape``; None for the batch axis."""
        if not -self.rank <= axis < self.rank:
            raise Refusal(f"axis {axis} does not exist in a tensor of rank {self.rank}", invalid=True)
        axis %= self.rank
        if self.batch is None or axis < self.batch:
            return axis
        return None if axis == self.batch else axis - 1


@dataclass(frozen=True, eq=False)
class ClassPrediction:
    """The class index (or label) of a row; ``rank`` of the ONNX tensor does not matter any more.

    At the end of reading also the real values, or the bits of labels, of a model that names no class.
    """

    value: str
    labels: tuple[str | int, ...] = ()
    tensor: str = ""
    bound: float = 0.0
    """What the single logit ``tensor`` has to exceed for class 1."""


@dataclass(frozen=True)
class Broken:
    """What a refused node would have made: whatever reads it is not blamed. ``computed``: no constant, but per row."""

    computed: bool = True


@dataclass(frozen=True)
class Dictionary:
    """What ZipMap makes: scores by label."""

    row: Row
    labels: tuple[str | int, ...] = field(default=())


Value = Known | Row | ClassPrediction | Broken | Dictionary


def per_row(array: np.ndarray, row: Row, what: str = "the constant") -> np.ndarray:
    """Return *array*, broadcast against the ONNX tensor of *row*, in the shape of one row, flat: float64, or fractions.

    Refuses what varies along the batch axis, and what makes the tensor larger.
    """
    full = row.full(1)
    try:
        shape = np.broadcast_shapes(array.shape, full)
    except ValueError:
        raise Refusal(f"{what} of shape {array.shape} does not fit rows of shape {row.shape}", invalid=True) from None
    if shape != full:
        raise Refusal(
            f"{what} of shape {array.shape} varies along the batch axis or enlarges rows of shape {row.shape}",
            "give it the shape of one row, with 1 for the batch axis",
        )
    wide = np.broadcast_to(array, full)
    return (wide if wide.dtype == object else wide.astype(np.float64)).reshape(-1)


def as_exact(array: np.ndarray) -> np.ndarray:
    """Return *array* as fractions (object): a float is the dyadic rational that it stands for."""
    found = np.empty(array.shape, dtype=object)
    found.reshape(-1)[:] = [Fraction(value) for value in array.reshape(-1).tolist()]
    return found
