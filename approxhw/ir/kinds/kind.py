"""What a kind of Node is: one record of its rules, and the plain things that the rules look at.

A rule never sees a Graph. It gets the op itself, the operands as far as the caller knows them, and the value that the
Node makes, as an :class:`Operand` too. A new kind is one frozen dataclass, one :class:`Kind`, and one line in a registry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from approxhw.numerics.formats import MAXIMUM_BITS, Fixed, Float, Format, Rational

EXACT_IN_INT64 = 1 << 62
"""Codes below it are held in int64; from it on Python integers take over, and nothing ever wraps."""

Shape = tuple[int, ...]

OpT = TypeVar("OpT")
"""The op of a kind, a frozen dataclass."""

SomeOp = Any
"""An op of any kind. Their union, ``ir.graph.Op``, is made of the kinds, which are made of this file."""


@dataclass(frozen=True)
class Type:
    """Shape (without the batch axis) and number format of a value."""

    shape: Shape
    format: Format

    @property
    def elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether the value is real-valued (``Float`` or ``Rational``)."""
        return isinstance(self.format, Float | Rational)

    def __str__(self) -> str:
        """Return the one spelling, such as ``u4[16]``."""
        return f"{self.format}[{','.join(map(str, self.shape))}]"


Range = tuple[np.ndarray, np.ndarray]
"""Lowest and highest code of each element: two flat object arrays of Python integers (8-bit codes: by ascending value)."""


class Operand(NamedTuple):
    """What a rule may know of a value: of one that a Node reads, or of the one that it makes."""

    name: str
    kind: str
    """Keyword of the kind that makes it."""
    type: Type
    constant: np.ndarray | None = None
    """Its codes or numbers where it is the same for every row."""
    range: Range | None = None
    """None where nobody knows it: of real values, or while ranges are not worked out yet."""

    @property
    def fixed(self) -> Fixed:
        """Its format, which is ``Fixed``."""
        assert isinstance(self.type.format, Fixed)
        return self.type.format

    @property
    def data(self) -> np.ndarray:
        """Its codes or numbers: of a constant."""
        if self.constant is None:
            raise TypeError(f"{self.name} is no constant")
        return self.constant

    @property
    def ends(self) -> Range:
        """Its range: of a value that has one."""
        if self.range is None:
            raise TypeError(f"the range of {self.name} is not known")
        return self.range


Operands = tuple[Operand, ...]
Values = tuple[np.ndarray, ...]
"""Rows × shape of each operand that differs from row to row."""

Fault = str | tuple[str, str]
"""Why a Node breaks a rule, or why and what to do."""

Check = Callable[[OpT, Operands, Operand], list[Fault]]
"""Op, operands and own value → what is wrong; where *operands* is empty, nothing is known of them."""


def same_shapes(op: object, first: Shape, own: Type) -> list[Shape]:
    """Return the shapes of a kind of one operand that keeps its shape."""
    return [first, first]


def same_range(op: object, operands: Operands, own: Operand) -> Range:
    """Return the range of the first operand."""
    return operands[0].ends


def same_reach(op: object, reach: int) -> int:
    """Return *reach*: nothing greater is met."""
    return reach


def _no_meaning(op: object, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    raise TypeError(f"{own.name}: the interpreter does not know {own.kind}")


def _unmoved(op: object, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    slope: np.ndarray = (after == before).astype(np.float64)
    return slope


@dataclass(frozen=True)
class Kind(Generic[OpT]):
    """The rules of one kind of Node. Every field with a default may be left out.

    Arrays of codes are int64, object (Python integers), or float64 that holds whole numbers below 2^52.
    """

    op: type[OpT]

    # inputs and shape
    arity: Callable[[OpT], int] = lambda op: 1
    most_inputs: int = 1
    rows: int = 1
    """How many operands differ from row to row; those behind them have to be constants."""
    shapes: Callable[[OpT, Shape, Type], list[Shape]] = same_shapes
    """Op, shape of the first operand, own Type → shapes that all operands and the result should have."""

    # formats
    numbers: str = "any"
    """Which Nodes it may make: ``real`` ones alone, ``codes`` alone, or any."""
    keeps_scale: bool = False
    """Scale and zero point of the result are those of the operand."""
    says_format: bool = False
    """The kind or an attribute says the format of the result: no pass may fit it to a range."""
    reads_reals: bool = False
    """It makes codes of real values, too."""
    makes_eight_bit: bool = False
    reads_eight_bit: bool = False
    folds: bool = False
    """Of constants it is a constant itself: weights may stand behind it."""

    tensor: bool = False
    """It stands in Graphs of whole tensors alone; ``tensor_rules`` has its rules."""

    # role
    activation: bool = False
    """A function of each element alone that may stand between layers."""
    classes: Callable[[OpT, Type], int] | None = None
    """Op, Type of the operand → how many classes it decides between; None, or 0 of any Type: it decides nothing."""

    # rules
    checks: Mapping[str, Check[OpT]] = field(default_factory=dict)
    """Name of a rule of the verifier → what the kind itself has to say to it."""
    range: Callable[[OpT, Operands, Operand], Range] = same_range
    on_codes: Callable[[OpT, Values, Operands, Operand], np.ndarray] = _no_meaning
    """Meaning where the result is codes."""
    on_reals: Callable[[OpT, Values, Operands, Operand], np.ndarray] = _no_meaning
    """Meaning where the result is real-valued: values and constants are real-valued too, of the result's number type."""
    elements: Callable[[OpT, np.ndarray], np.ndarray] | None = None
    """Of an activation: op and codes (… × elements) → codes."""
    monotone: bool = True
    """Of an activation: whether its range is that of the two ends."""
    result_scale: Callable[[OpT, Fixed], Fraction] = lambda op, fmt: fmt.scale
    """Of an activation made of a real one (``in_codes``): op on codes, format of the codes it reads → scale of its result."""
    widest: Callable[[OpT, int], int] = same_reach
    """Op, greatest magnitude of the operand → greatest magnitude that is met on the way to the result."""
    slope: Callable[[OpT, np.ndarray, np.ndarray], np.ndarray] = _unmoved
    """Op of an activation, x, y → how much y moves with x, element by element (float64); 0 where it is cut off."""

    # text
    attributes: Callable[[OpT], Mapping[str, object]] = lambda op: {}
    """Op → attributes as JSON knows them; those of the default value may be left out."""
    readers: Mapping[str, Callable[[object, Format], object]] = field(default_factory=dict)
    """Attribute → reader of its JSON value, which raises ``ValueError``."""
    optional: frozenset[str] = frozenset()
    said: Callable[[OpT], str] | None = None
    """Op → what it is called in reports; None: by its keyword."""

    # what passes ask for
    some: Callable[[OpT, np.ndarray], OpT] = lambda op, kept: op
    """Op of an activation → the op for the elements that *kept* (bool) or an index array names."""
    in_codes: Callable[[OpT, Fixed, int], SomeOp | None] | None = None
    """Op on reals, format of the codes that it is to read, bits of a weight → op on codes; None: it has none."""
    coarser: Callable[[OpT, int], OpT] | None = lambda op, shift: op
    """Op → op on codes of a scale that is 2^shift coarser; None: it has none, and reads the codes as they were."""
    sample: Callable[[np.random.Generator, int], tuple[OpT, Fixed | None]] | None = None
    """Random numbers, number of elements → an op for random Graphs, and its format where it does not keep the scale."""

    @property
    def keyword(self) -> str:
        """Keyword of the text form."""
        return self.op.__name__.lower()


SomeKind = Kind[Any]
"""The rules of a kind that is found by its op: that ``kind_of`` gives rules of that very op, no type can say."""


def is_code(value: object) -> bool:
    """Whether *value* is an integer of at most ``MAXIMUM_BITS`` bits."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and abs(int(value)) >> MAXIMUM_BITS == 0


def is_real(value: object) -> bool:
    """Whether *value* is a finite number: float, fraction or code."""
    if isinstance(value, float | np.floating):
        return math.isfinite(value)
    return isinstance(value, Fraction) or is_code(value)


def filled_integers(count: int, value: int) -> np.ndarray:
    """Return *count* times the Python integer *value*."""
    return np.full(count, value, dtype=object)


def reach_of(interval: Range) -> int:
    """Return the greatest magnitude within a range."""
    low, high = interval
    return max(abs(min(low.tolist())), abs(max(high.tolist())))


def exact_integers(x: np.ndarray, widest: int) -> np.ndarray:
    """Return *x* as Python integers where int64 does not hold *widest*."""
    return x if x.dtype == object or widest < EXACT_IN_INT64 else x.astype(object)


def narrowed(x: np.ndarray, interval: Range) -> np.ndarray:
    """Return codes within *interval* as int64 where it holds them."""
    return x.astype(np.int64 if reach_of(interval) < EXACT_IN_INT64 else object, copy=False)


def activation(
    rules: Kind[OpT],
    elements: Callable[[OpT, np.ndarray], np.ndarray],
    *,
    reals: Callable[[OpT, np.ndarray], np.ndarray] | None = None,
    turns: Callable[[OpT], tuple[int, ...]] | None = None,
) -> Kind[OpT]:
    """Return the kind of a function of each element alone: *rules*, and the range and meaning that follow from it.

    *elements*: op and codes (… × elements) → codes. *reals*: op and real values → real values; none: as on codes.
    *turns*: op → codes between which it is monotone; none: it is monotone everywhere.
    """

    def interval(op: OpT, operands: Operands, own: Operand) -> Range:
        low, high = operands[0].ends
        points = [low, high]
        points += [np.minimum(np.maximum(low, code), high) for code in turns(op)] if turns is not None else []
        made = np.stack([elements(op, point) for point in points])
        return made.min(axis=0), made.max(axis=0)  # a falling function swaps the ends

    def on_codes(op: OpT, values: Values, operands: Operands, own: Operand) -> np.ndarray:
        (x,) = values
        if rules.widest is not same_reach:
            x = exact_integers(x, rules.widest(op, reach_of(operands[0].ends)))
        found = elements(op, x.reshape(len(x), own.type.elements)).reshape(x.shape)
        return narrowed(found, own.ends) if found.dtype == object else found

    def on_reals(op: OpT, values: Values, operands: Operands, own: Operand) -> np.ndarray:
        (x,) = values
        return (reals or elements)(op, x)

    found = replace(rules, elements=elements, activation=True, range=interval, on_codes=on_codes, on_reals=on_reals)
    return replace(found, monotone=turns is None)
