"""8-bit codes on the way: ``Encode`` makes them, ``Decode`` reads them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from approxhw.numerics.eight_bit_words import codes_to_reals, codes_to_words, decoded, reals_to_codes, words_to_codes
from approxhw.numerics.formats import EightBit, Fixed, Float

from .attributes import reals
from .kind import Fault, Kind, Operand, Operands, Range, Values, filled_integers, is_real


@dataclass(frozen=True)
class Encode:
    """The nearest 8-bit code of x over its block's maximum; what exceeds a maximum saturates. ``maxima``: one a block."""

    maxima: tuple[float, ...]


@dataclass(frozen=True)
class Decode:
    """The value that an 8-bit code stands for, times its block's maximum. ``maxima``: one a block."""

    maxima: tuple[float, ...]


def _faults(op: Encode | Decode, operands: Operands, own: Operand) -> list[Fault]:
    (operand,) = operands
    encodes = isinstance(op, Encode)
    fmt, other = (own.type.format, operand.type.format) if encodes else (operand.type.format, own.type.format)
    if not isinstance(fmt, EightBit) or not isinstance(other, Fixed | Float):
        side = "makes 8-bit codes of" if encodes else "reads 8-bit codes and makes"
        return [f"{own.kind} {side} fixed or floating point, not {operand.type.format} → {own.type.format}"]
    why: list[Fault] = []
    if not encodes and operand.kind not in ("constant", "encode"):
        why.append(f"{operand.name} is {operand.kind}, codes come from encode or constant")
    count = fmt.blocks(own.type.elements)
    if len(op.maxima) != count:
        why.append(f"{own.type.elements} values of {fmt} have {count} maxima, it has {len(op.maxima)}")
    least = "greater than 0" if encodes else "at least 0"
    single = [value for value in op.maxima if not is_real(value) or not _is_single(float(value))]
    if single or any(value < 0 or (value == 0 and encodes) for value in op.maxima):
        why.append(f"maxima are finite numbers of float32, {least}")
    elif fmt.maximum == "fixed" and any(value != 1 for value in op.maxima):
        why.append("its format keeps no maxima: they are 1")
    elif fmt.maximum == "pow2" and any(value and math.frexp(value)[0] != 0.5 for value in op.maxima):
        why.append("its format has powers of two as maxima")
    return why


def _is_single(value: float) -> bool:
    with np.errstate(over="ignore"):
        return float(np.float32(value)) == value


def _attributes(op: Encode | Decode) -> dict[str, object]:
    return {"maxima": [float(value) for value in op.maxima]}


def _code(operand: Operand) -> EightBit:
    assert isinstance(operand.type.format, EightBit)
    return operand.type.format


# Encode ----------------------------------------------------------------------------------------------------------------


def _encoded(op: Encode, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    (x,) = values
    source, flat = operands[0].type.format, x.reshape(len(x), own.type.elements)
    code = _code(own)
    found = words_to_codes(code, op.maxima, source, flat) if isinstance(source, Fixed) else None
    return (reals_to_codes(code, op.maxima, flat) if found is None else found).reshape(x.shape)


def _encoded_range(op: Encode, operands: Operands, own: Operand) -> Range:
    """Return the codes of both ends: a greater value never has a code of a smaller one."""
    ends = words_to_codes(_code(own), op.maxima, operands[0].fixed, np.stack(operands[0].ends))
    return ends[0], ends[1]


ENCODE = Kind(
    op=Encode,
    coarser=None,
    makes_eight_bit=True,
    checks={"formats": _faults},
    range=_encoded_range,
    on_codes=_encoded,
    attributes=_attributes,
    readers={"maxima": reals},
)


# Decode ----------------------------------------------------------------------------------------------------------------


def _words(op: Decode, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    (x,) = values
    flat = codes_to_words(_code(operands[0]), op.maxima, own.fixed, x.reshape(len(x), own.type.elements))
    return flat.reshape(len(x), *own.type.shape)


def _reals(op: Decode, values: Values, operands: Operands, own: Operand) -> np.ndarray:
    (x,) = values
    flat = codes_to_reals(_code(operands[0]), op.maxima, x.reshape(len(x), own.type.elements))
    return flat.reshape(len(x), *own.type.shape)


def _decoded_range(op: Decode, operands: Operands, own: Operand) -> Range:
    """Range of the data where that is constant, else of what lies between the codes of both ends."""
    if own.constant is not None:
        data = own.constant.astype(object).reshape(-1)
        return data, data
    fmt, elements = _code(operands[0]), own.type.elements
    if operands[0].range is not None:
        ends = codes_to_words(fmt, op.maxima, own.fixed, np.stack(operands[0].range)).astype(object)
        return ends[0], ends[1]
    low, high = filled_integers(elements, 0), filled_integers(elements, 0)
    tables = {maximum: decoded(fmt, maximum, own.fixed) for maximum in set(op.maxima)}
    for i in range(elements):
        table = tables[op.maxima[0 if fmt.block is None else i // fmt.block]]
        low[i], high[i] = min(table), max(table)
    return low, high


DECODE = Kind(
    op=Decode,
    reads_eight_bit=True,
    folds=True,
    checks={"formats": _faults},
    range=_decoded_range,
    on_codes=_words,
    on_reals=_reals,
    attributes=_attributes,
    readers={"maxima": reals},
)

KINDS = (ENCODE, DECODE)
