"""Approximate multipliers as tables of their products: error figures, what is stated of them, and tables in files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from approxhw.common.data.arrays import read_npz
from approxhw.common.errors import OptionError, Problem, shown

from .signs import SIGNS, as_signed, fitting_signs, operand_values, read_signs

__all__ = [
    "MAXIMUM_OPERAND_BITS",
    "MAXIMUM_TABLE_BITS",
    "SIGNS",
    "ErrorFigures",
    "ProductTable",
    "Stated",
    "as_signed",
    "check_signs",
    "error_figures",
    "fitted_table",
    "operand_values",
    "read_table",
    "too_wide",
    "width_problems",
]

MAXIMUM_OPERAND_BITS = 10
MAXIMUM_TABLE_BITS = 18
"""Most bits of both operands together: the table has 2^18 entries then."""

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

    @property
    def flags(self) -> np.ndarray:
        """Whether the weight is signed, and whether x is, as files have it."""
        return np.array([self.signed in ("weight", "both"), self.signed == "both"])

    def save(self, path: str | Path) -> None:
        """Write the table as ``.npz``: ``table`` and ``signed``, as :func:`read_table` reads them."""
        np.savez_compressed(path, table=self.products, signed=self.flags)


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
    Lombardi, *New Metrics for the Reliability of Approximate and Probabilistic Adders*, IEEE TC 2013. ``mean_relative``,
    ``worst_relative``: of the distances over |w · x|, of pairs whose product is not 0 alone, as operator libraries have it;
    ``mean_square``: mean of their squares; ``span``: 2^(bits of both operands), the whole of which libraries give shares.
    """

    mean_distance: float
    normalised: float
    worst_distance: int
    error_rate: float
    bias: float
    mean_relative: float = 0.0
    worst_relative: float = 0.0
    mean_square: float = 0.0
    span: int = 1

    @property
    def mean_share(self) -> float:
        """The mean distance as a share of ``span``: MAE% over 100."""
        return self.mean_distance / self.span

    @property
    def worst_share(self) -> float:
        """The worst distance as a share of ``span``: WCE% over 100."""
        return self.worst_distance / self.span

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
        return ErrorFigures(0.0, 0.0, 0, 0.0, 0.0, span=errors.size)
    distances = np.abs(errors)
    relative = distances / np.maximum(np.abs(exact), 1) * (exact != 0)
    mean = float((distances * often).sum()) / total
    return ErrorFigures(
        mean,
        mean / int(np.abs(exact).max()),
        int(distances[often > 0].max()),
        float(((errors != 0) * often).sum()) / total,
        float((errors * often).sum()) / total,
        float((relative * often).sum()) / max(float(often[exact != 0].sum()), 1e-300),
        float(relative[often > 0].max()),
        float((errors.astype(np.float64) ** 2 * often).sum()) / total,
        errors.size,
    )


def check_signs(table: ProductTable, bits: int | None = None) -> None:
    """Raise :class:`OptionError` where *table* is far from the product of what ``signed`` says.

    That is where another reading is four times nearer, or one number for all products is: a table, and a gate-level module,
    does not say what its bit patterns stand for, and whoever states it wrongly would get products that are off by multiples of
    2^bits. ``bits``: width of a product that comes as a bit pattern itself.
    """
    readings = {each.signed: each for each in read_signs(table.products, bits)}
    errors = {signed: readings[signed].mean_error for signed in SIGNS}
    best = min(errors, key=lambda signed: (errors[signed], signed != table.signed))
    if errors[table.signed] > 4 * errors[best]:
        why = (
            f"signed={table.signed} is stated, but the mean error of its products is {errors[table.signed]:.4g} so; "
            f"they are the products of signed={best} with a mean error of {errors[best]:.4g}"
        )
        remedy = f"state signed={best}, or take another multiplier"
        raise OptionError(f"multiplier {shown(table.name)}", [Problem("signed", why, remedy)])
    if not (own := readings[table.signed]).fits:
        why = (
            f"the mean error of its products is {own.mean_error:.4g} as signed={table.signed}, that of one number for all "
            f"{own.constant:.4g}: it multiplies nothing"
        )
        raise OptionError(f"multiplier {shown(table.name)}", [Problem("products", why, "take another multiplier")])


FIRST = "first"
"""In place of a port's name: the one that stands first."""


@dataclass(frozen=True)
class Stated:
    """What a user says of a multiplier: which operand is the weight, which are signed, how wide they are, its top module.

    ``weight``: the port of a module that reads the weight; axis ``a`` (rows) or ``b`` (columns) of a table; None: the first
    one. ``signed``: one of :data:`SIGNS`; None: found out of the products. Widths in bits, None where nothing is said.
    """

    weight: str | None = "a"
    signed: str | None = "weight"
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
    of a and of b. Signs that are not stated are those of the flags, else those that fit the products best. Raises
    :class:`InvalidDataError` for what is no such file, and :class:`OptionError` with every mismatch.
    """
    stated = replace(stated, weight=stated.weight or "a")
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
    signed = stated.signed or _signs_of(path.name, products, arrays.get("signed"), axes)
    if "signed" in arrays:
        problems = _flag_problems(arrays["signed"], signed, axes)
    try:
        table = ProductTable(path.name, products, signed)
    except OptionError as error:
        raise OptionError(error.subject, [*error.problems, *problems]) from None
    problems += width_problems(stated, table.weight_bits, table.x_bits)
    if problems:
        raise OptionError(f"multiplier {shown(path.name)}", problems)
    check_signs(table)
    return table


def _signs_of(name: str, products: np.ndarray, flags: np.ndarray | None, axes: tuple[int, int]) -> str:
    """Return the signs that the file says by its *flags*, or that fit best; what is no table, or no flag, is told later."""
    if flags is not None:
        by_flags = {(0, 0): "none", (1, 0): "weight", (1, 1): "both"}
        said = tuple(flags[list(axes)].tolist()) if flags.shape == (2,) and flags.dtype.kind in "biu" else ()
        if said == (0, 1):
            why = "it says that x alone is signed: no arithmetic here reads products so"
            raise OptionError(
                f"multiplier {shown(name)}", [Problem("signed", why, "say weight= for the other operand")]
            )
        return by_flags.get(said, "weight")
    return "weight" if _table_problems(products) else fitting_signs(name, read_signs(products.astype(np.int64)))[0]


def _flag_problems(flags: np.ndarray, signed: str, axes: tuple[int, int]) -> list[Problem]:
    if flags.shape != (2,) or flags.dtype.kind not in "biu" or not set(flags.tolist()) <= {0, 1}:
        return [
            Problem("signed", f"{flags.dtype} of shape {shown(list(flags.shape))}", "give two flags, of a and of b")
        ]
    wanted = (signed in ("weight", "both"), signed == "both")
    pairs = zip((_SHOWN_WEIGHT, _SHOWN_X), axes, wanted)
    return [
        Problem(
            "signed",
            f"signed={signed} is stated, but the file says that operand {'ab'[axis]}, the {title}, is "
            f"{'signed' if flags[axis] else 'unsigned'}",
            "state what the file says",
        )
        for title, axis, said in pairs
        if bool(flags[axis]) != said
    ]


def fitted_table(
    table: ProductTable, weights: np.ndarray, codes: tuple[int, int], x_bits: int, x_signed: bool
) -> np.ndarray:
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
