"""Approximate multipliers as tables of their products: three classic ones, error figures, and tables read from files."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .datafiles import read_npz
from .errors import OptionError, Problem, shown

MAXIMUM_OPERAND_BITS = 10
MAXIMUM_TABLE_BITS = 18
"""Most bits of both operands together: the table has 2^18 entries then."""

SIGNS = ("weight", "none", "both")
"""Which operands of a multiplier are two's complement: the weight alone, neither, or both."""

_REACH = 1 << 40
_SHOWN_WEIGHT, _SHOWN_X = "weight", "x"


@dataclass(frozen=True, eq=False)
class ProductTable:
    """Every product of a multiplier: ``products[w mod 2^weight_bits, x mod 2^x_bits]``, int64.

    A row is the bit pattern of the weight operand, a column that of the other one, x; ``signed``: which of them are
    two's complement (one of :data:`SIGNS`). The products themselves are plain signed integers.
    """

    name: str
    products: np.ndarray
    signed: str = "weight"

    def __post_init__(self) -> None:
        """Freeze the table, and refuse one of a shape, size or type that none can have; all problems at once."""
        given = np.asarray(self.products)
        problems = _table_problems(given)
        if self.signed not in SIGNS:
            problems.append(Problem("signed", f"{shown(self.signed)!r} is not one of {', '.join(SIGNS)}"))
        if problems:
            raise OptionError(f"multiplier {shown(self.name)}", problems)
        products = np.array(given, dtype=np.int64)
        products.flags.writeable = False
        object.__setattr__(self, "products", products)

    @property
    def weight_bits(self) -> int:
        """Width of the weight operand."""
        return len(self.products).bit_length() - 1

    @property
    def x_bits(self) -> int:
        """Width of the operand x."""
        return self.products.shape[1].bit_length() - 1

    @property
    def weights(self) -> np.ndarray:
        """The weight that each row stands for."""
        return operand_values(self.weight_bits, self.signed in ("weight", "both"))

    @property
    def codes(self) -> np.ndarray:
        """The x that each column stands for."""
        return operand_values(self.x_bits, self.signed == "both")

    def save(self, path: str | Path) -> None:
        """Write the table as ``.npz``: ``table`` and ``signed``, as :func:`read_table` reads them."""
        flags = np.array([self.signed in ("weight", "both"), self.signed == "both"])
        np.savez_compressed(path, table=self.products, signed=flags)


def operand_values(bits: int, signed: bool) -> np.ndarray:
    """Return the number that each *bits*-bit pattern 0 … 2^bits − 1 stands for (int64)."""
    patterns = np.arange(1 << bits)
    return np.where(patterns >> (bits - 1), patterns - (1 << bits), patterns) if signed else patterns


def _table_problems(products: np.ndarray) -> list[Problem]:
    sides = products.shape
    if products.ndim != 2 or any(side < 2 or side & (side - 1) for side in sides):
        why = f"shape {shown(list(sides))}: rows and columns are powers of two, one for every bit pattern of an operand"
        return [Problem("table", why)]
    bits = [side.bit_length() - 1 for side in sides]
    if why := too_wide(*bits):
        return [Problem("table", why, "approximate narrower operands")]
    if products.dtype.kind not in "iu":
        return [Problem("table", f"its products are {products.dtype}, not integers", "give the products as they are")]
    if abs(int(products.min())) >= _REACH or abs(int(products.max())) >= _REACH:
        return [Problem("table", f"products {products.min()}…{products.max()} of {bits[0]} by {bits[1]} bits")]
    return []


def too_wide(weight_bits: int, x_bits: int) -> str:
    """Return why operands of these widths cannot be tabulated, nothing where they can."""
    if max(weight_bits, x_bits) <= MAXIMUM_OPERAND_BITS and weight_bits + x_bits <= MAXIMUM_TABLE_BITS:
        return ""
    return (
        f"{weight_bits} by {x_bits} bits: the table of its products would be too large "
        f"(at most {MAXIMUM_OPERAND_BITS} bits an operand, {MAXIMUM_TABLE_BITS} together)"
    )


@dataclass(frozen=True)
class ErrorFigures:
    """How far products are from the exact ones; distance: |T[w, x] − w · x|.

    ``mean_distance``, ``worst_distance``; ``normalised``: the mean one over the greatest exact |product|; ``error_rate``:
    share of products that are not exact; ``bias``: mean of T[w, x] − w · x, signed. Source of the names: Liang, Han,
    Lombardi, *New Metrics for the Reliability of Approximate and Probabilistic Adders*, IEEE TC 2013.
    """

    mean_distance: float
    normalised: float
    worst_distance: int
    error_rate: float
    bias: float

    def __str__(self) -> str:
        """Return the figures as one line of the ledger."""
        return (
            f"mean error distance {self.mean_distance:.4g}, normalised {self.normalised:.3g}, "
            f"worst {self.worst_distance}, error rate {self.error_rate:.3g}, bias {self.bias:.4g}"
        )


def error_figures(table: ProductTable, times: np.ndarray | None = None) -> ErrorFigures:
    """Return the error figures of *table*: every pair of operands counts once, or as often as *times* says.

    ``times``: how often each product is made, in the shape of the table (by a layer's weights on training rows, say).
    """
    exact = table.weights[:, None] * table.codes[None, :]
    errors = table.products - exact
    often = np.ones(errors.shape) if times is None else np.asarray(times, dtype=np.float64)
    total = float(often.sum())
    if not total:
        return ErrorFigures(0.0, 0.0, 0, 0.0, 0.0)
    distances = np.abs(errors)
    mean = float((distances * often).sum()) / total
    return ErrorFigures(
        mean,
        mean / int(np.abs(exact).max()),
        int(distances[often > 0].max()),
        float(((errors != 0) * often).sum()) / total,
        float((errors * often).sum()) / total,
    )


def check_signs(table: ProductTable) -> None:
    """Raise :class:`OptionError` where *table* is far from the product of what ``signed`` says, but near another reading.

    A table, and a gate-level module, does not say what its bit patterns stand for: whoever states it wrongly would get
    products that are off by multiples of 2^bits.
    """
    found = error_figures(table).mean_distance
    others = {signed: error_figures(replace(table, signed=signed)).mean_distance for signed in SIGNS}
    best = min(others, key=lambda signed: (others[signed], signed != table.signed))
    if found > 4 * others[best] and best != table.signed:
        why = (
            f"signed={table.signed} is stated, but the mean error of its products is {found:.4g} so; "
            f"they are the products of signed={best} with a mean error of {others[best]:.4g}"
        )
        raise OptionError(
            f"multiplier {shown(table.name)}",
            [Problem("signed", why, f"state signed={best}, or take another multiplier")],
        )


def truncated(w: Any, x: Any, weight_bits: int, x_bits: int, columns: int = 0, corrected: bool = False) -> Any:
    """Return w · x without the lowest *columns* columns of partial-product bits; w two's complement, x unsigned.

    Every bit w_j · x_i of weight 2^(i + j) with i + j < *columns* is left out (the sign bit of w counts −2^j). With
    *corrected*, the mean of what is left out, rounded to a multiple of 2^columns, is added. Source: Schulte and Swartzlander,
    *Truncated Multiplication with Correction Constant*, VLSI Signal Processing VI, 1993.
    """
    start = correction(weight_bits, x_bits, columns) if corrected else 0
    return start + _kept(w, x, weight_bits, x_bits, lambda i, j: i + j >= columns)


def correction(weight_bits: int, x_bits: int, columns: int) -> int:
    """Return the constant of a truncated multiplier: a quarter of all dropped bits, to the nearest multiple of 2^columns."""
    dropped = -_kept(-1, (1 << x_bits) - 1, weight_bits, x_bits, lambda i, j: i + j >= columns) - ((1 << x_bits) - 1)
    return (dropped + 2 * (1 << columns)) // (4 << columns) << columns


def broken_array(w: Any, x: Any, weight_bits: int, x_bits: int, vertical: int = 0, horizontal: int = 0) -> Any:
    """Return w · x by an array of carry-save cells of which some are left out; w two's complement, x unsigned.

    Row i of the array adds w · x_i · 2^i. The cells right of the *vertical* break level (columns i + j < vertical) and those
    above the *horizontal* one (rows i < horizontal) are not there. Source: Mahdiani, Ahmadi, Fakhraie, Lucas,
    *Bio-Inspired Imprecise Computational Blocks*, IEEE TCAS I, 2010 (there for unsigned operands).
    """
    return _kept(w, x, weight_bits, x_bits, lambda i, j: i + j >= vertical and i >= horizontal)


def _kept(w: Any, x: Any, weight_bits: int, x_bits: int, keeps: Callable[[int, int], bool]) -> Any:
    """Return the sum of the partial-product bits w_j · x_i that *keeps* (i, j) keeps; of integers, or arrays of them."""
    total: Any = 0
    for i in range(x_bits):
        for j in range(weight_bits):
            if keeps(i, j):
                bit = (w >> j & 1) * (x >> i & 1) << (i + j)
                total += -bit if j == weight_bits - 1 else bit
    return total


def logarithmic(w: int, x: int) -> int:
    """Return w · x by adding binary logarithms, log2(1 + f) taken as f; the sign of w is put aside. No rounding.

    |w| = 2^a (1 + f), x = 2^b (1 + g): 2^(a+b) (1 + f + g) where f + g < 1, else 2^(a+b+1) (f + g); never too large, at
    most 1/9 too small. Source: Mitchell, *Computer Multiplication and Division Using Binary Logarithms*, IRE Trans., 1962.
    """
    if w == 0 or x == 0:
        return 0
    a, b = abs(w).bit_length() - 1, x.bit_length() - 1
    # f + g, in units of 2^-(a + b)
    fractions = ((abs(w) - (1 << a)) << b) + ((x - (1 << b)) << a)
    one = 1 << (a + b)
    magnitude = one + fractions if fractions < one else 2 * fractions
    return -magnitude if w < 0 else magnitude


_SPELLINGS = {
    "truncated": re.compile(r"truncated(?:-(\d{1,2}))?(-corrected)?\Z"),
    "broken-array": re.compile(r"broken-array(?:-(\d{1,2})-(\d{1,2}))?\Z"),
    "logarithmic": re.compile(r"logarithmic\Z"),
}
SPELLED = ("truncated-COLUMNS", "truncated-COLUMNS-corrected", "broken-array-VERTICAL-HORIZONTAL", "logarithmic")
"""How our own operators are spelled; ``truncated`` alone drops 4 columns, ``broken-array`` alone breaks at 4 and 1."""

EXACT = "exact"
"""The name that stands for the exact product where operators are chosen."""


@dataclass(frozen=True)
class Operator:
    """One of our own multipliers: its ``kind``, and the levels and flag of its spelling."""

    kind: str
    columns: int = 0
    horizontal: int = 0
    corrected: bool = False

    def product(self, w: Any, x: Any, weight_bits: int, x_bits: int) -> Any:
        """Return the product by the plain reference: w two's complement of *weight_bits*, x unsigned."""
        if self.kind == "truncated":
            return truncated(w, x, weight_bits, x_bits, self.columns, self.corrected)
        if self.kind == "broken-array":
            return broken_array(w, x, weight_bits, x_bits, self.columns, self.horizontal)
        return logarithmic(w, x)

    def table(self, weight_bits: int, x_bits: int) -> ProductTable:
        """Return all its products for operands of these widths; raise :class:`OptionError` where they are too many."""
        name = f"{spell_operator(self)} of {weight_bits} by {x_bits} bits"
        if why := too_wide(weight_bits, x_bits):
            raise OptionError("multiplier", [Problem(name, why, "use fewer bits of weights or activations")])
        weights, codes = operand_values(weight_bits, True), operand_values(x_bits, False)
        if self.kind == "logarithmic":
            products = np.array([[logarithmic(w, x) for x in codes.tolist()] for w in weights.tolist()])
        else:  # bits and sums only: the reference takes whole arrays, too
            products = np.asarray(self.product(weights[:, None], codes[None, :], weight_bits, x_bits))
        return ProductTable(name, np.broadcast_to(products, (len(weights), len(codes))), "weight")


def spell_operator(operator: Operator) -> str:
    """Return the text that :func:`own_operator` reads as *operator*."""
    if operator.kind == "truncated":
        return f"truncated-{operator.columns}{'-corrected' if operator.corrected else ''}"
    if operator.kind == "broken-array":
        return f"broken-array-{operator.columns}-{operator.horizontal}"
    return operator.kind


def own_operator(text: str) -> Operator | None:
    """Return the operator that *text* spells (``truncated-4``, ``broken-array-4-1``, ``logarithmic``), None for none."""
    if match := _SPELLINGS["truncated"].match(text):
        return Operator("truncated", int(match[1] or 4), corrected=bool(match[2]))
    if match := _SPELLINGS["broken-array"].match(text):
        return Operator("broken-array", int(match[1] or 4), int(match[2] or 1))
    return Operator("logarithmic") if _SPELLINGS["logarithmic"].match(text) else None


@dataclass(frozen=True)
class Stated:
    """What a user says of a multiplier: which operand is the weight, which are signed, how wide they are, its top module.

    ``weight``: the port of a module that reads the weight; axis ``a`` (rows) or ``b`` (columns) of a table. ``signed``: one
    of :data:`SIGNS`. Widths in bits, None where nothing is said.
    """

    weight: str = "a"
    signed: str = "weight"
    weight_bits: int | None = None
    x_bits: int | None = None
    top: str | None = None


def width_problems(stated: Stated, weight_bits: int, x_bits: int) -> list[Problem]:
    """Return a problem for each stated width that is not the one that was found."""
    pairs = (("weight_bits", stated.weight_bits, weight_bits), ("x_bits", stated.x_bits, x_bits))
    return [
        Problem(name, f"{said} bits are stated, the multiplier has {found}", f"state {name}={found}, or leave it out")
        for name, said, found in pairs
        if said is not None and said != found
    ]


def read_table(path: Path, stated: Stated) -> ProductTable:
    """Return the table in the ``.npz`` file *path*, checked against what is *stated*.

    ``table``: integers, 2^bits of operand a × 2^bits of operand b, by bit pattern; ``signed`` (optional): two flags,
    of a and of b. Raises :class:`InvalidDataError` for what is no such file, and :class:`OptionError` with every mismatch.
    """
    if not path.is_file():
        raise OptionError("multiplier", [Problem(str(path), "there is no such file", "check the path")])
    arrays = read_npz(path).arrays
    problems: list[Problem] = []
    if stated.weight not in ("a", "b"):
        why = f"{shown(stated.weight)!r}: operand a is the rows of a table, b its columns"
        problems.append(Problem("weight", why, "say weight=a or weight=b"))
    if "table" not in arrays:
        why = f"it has no array 'table'; there are {shown(', '.join(sorted(arrays))) or 'none'}"
        problems.append(Problem(path.name, why, "write it with numpy.savez(path, table=products, signed=[1, 0])"))
    if problems:
        raise OptionError(f"multiplier {shown(path.name)}", problems)
    axes = (0, 1) if stated.weight == "a" else (1, 0)
    products = arrays["table"] if stated.weight == "a" or arrays["table"].ndim != 2 else arrays["table"].T
    if "signed" in arrays:
        problems = _flag_problems(arrays["signed"], stated, axes)
    try:
        table = ProductTable(path.name, products, stated.signed)
    except OptionError as error:
        raise OptionError(error.subject, [*error.problems, *problems]) from None
    problems += width_problems(stated, table.weight_bits, table.x_bits)
    if problems:
        raise OptionError(f"multiplier {shown(path.name)}", problems)
    check_signs(table)
    return table


def _flag_problems(flags: np.ndarray, stated: Stated, axes: tuple[int, int]) -> list[Problem]:
    if flags.shape != (2,) or flags.dtype.kind not in "biu" or not set(flags.tolist()) <= {0, 1}:
        return [
            Problem("signed", f"{flags.dtype} of shape {shown(list(flags.shape))}", "give two flags, of a and of b")
        ]
    wanted = (stated.signed in ("weight", "both"), stated.signed == "both")
    pairs = zip((_SHOWN_WEIGHT, _SHOWN_X), axes, wanted)
    return [
        Problem(
            "signed",
            f"signed={stated.signed} is stated, but the file says that operand {'ab'[axis]}, the {title}, is "
            f"{'signed' if flags[axis] else 'unsigned'}",
            "state what the file says",
        )
        for title, axis, said in pairs
        if bool(flags[axis]) != said
    ]


def bits_of(weights: np.ndarray) -> int:
    """Return the bits of two's complement that hold all *weights*, at least 2."""
    low, high = int(weights.min()), int(weights.max())
    return max(2, 1 + max((-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0))


def fitted(table: ProductTable, weights: np.ndarray, codes: tuple[int, int], x_bits: int, x_signed: bool) -> np.ndarray:
    """Return *table* as a ``Dense`` reads it: rows by w mod 2^bits, w two's complement, columns by x mod 2^x_bits.

    For *weights*, and for x in a format of *x_bits* bits with *codes* from low to high. An unsigned weight operand gets
    rows for negative weights; those, and columns that its x cannot be, are never read and 0. Raises :class:`OptionError`
    with everything that does not fit.
    """
    low, high = codes
    problems = []
    values, operands = table.weights, table.codes
    least, greatest = int(weights.min()), int(weights.max())
    if least < values.min() or greatest > values.max():
        kind = "signed" if table.signed != "none" else "unsigned"
        why = f"weights {least}…{greatest} do not fit its {kind} {table.weight_bits}-bit weight operand"
        remedy = (
            f"quantise weights to {table.weight_bits} bits"
            if kind == "signed"
            else "take a multiplier of signed weights"
        )
        problems.append(Problem("weights", f"{why} ({values.min()}…{values.max()})", remedy))
    if low < operands.min() or high > operands.max():
        kind = "signed" if table.signed == "both" else "unsigned"
        why = (
            f"codes {low}…{high} do not fit its {kind} {table.x_bits}-bit operand x ({operands.min()}…{operands.max()})"
        )
        problems.append(Problem("x", why, "cut hidden activations by requantize-hidden{bits=…} before"))
    if problems:
        raise OptionError(f"multiplier {shown(table.name)}", problems)
    products = table.products
    if table.signed == "none":
        products = np.concatenate([products, np.zeros_like(products)])
    read = operand_values(x_bits, x_signed)
    inside = (read >= operands.min()) & (read <= operands.max())
    made: np.ndarray = products[:, read % (1 << table.x_bits)] * inside
    return made
