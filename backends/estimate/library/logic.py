"""Boolean functions as Liberty spells them: parse, evaluate on bit masks, tabulate, find what an input does.

Precedence, from tight to loose, is Liberty's: ``!`` and ``'``, ``^``, ``*`` ``&`` and juxtaposition, ``+`` ``|``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_TOKEN = re.compile(r"\s*+(?:([A-Za-z_][\w\[\]]*+)|([01])|([!'^*&+|()]))")
_LONG_CHAIN = 16


@dataclass(frozen=True)
class Expression:
    """One operation: ``pin`` (``name``), ``zero``, ``one``, ``not``, ``and``, ``or`` or ``xor`` of ``operands``."""

    kind: str
    name: str = ""
    operands: tuple[Expression, ...] = ()

    def pins(self) -> frozenset[str]:
        """Return the names that the expression reads."""
        return frozenset({self.name} if self.kind == "pin" else ()).union(*(o.pins() for o in self.operands))


def parse_expression(text: str) -> Expression:
    """Return the expression that *text* spells; raises :class:`ValueError` saying what is wrong with it.

    Its depth is bounded, whatever the text: complements of complements fall out, long sums and products are balanced.
    """
    tokens: list[str] = []
    text, position = text.strip(), 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"cannot read {text[position : position + 12]!r}")
        tokens.append(match.group(1) or match.group(2) or match.group(3))
        position = match.end()
        if len(tokens) > 2000:
            raise ValueError("longer than 2000 symbols")
    expression, rest = _either(tokens, 0, 0)
    if rest != len(tokens):
        raise ValueError(f"unexpected {tokens[rest]!r}")
    return expression


def _either(tokens: list[str], at: int, depth: int) -> tuple[Expression, int]:
    if depth > 60:
        raise ValueError("nested deeper than 60 brackets")
    operand, at = _both(tokens, at, depth)
    operands = [operand]
    while at < len(tokens) and tokens[at] in "+|":
        operand, at = _both(tokens, at + 1, depth)
        operands.append(operand)
    return _chain("or", operands), at


def _both(tokens: list[str], at: int, depth: int) -> tuple[Expression, int]:
    operand, at = _differ(tokens, at, depth)
    operands = [operand]
    while at < len(tokens) and tokens[at] not in ("+", "|", ")", "^", "'"):
        operand, at = _differ(tokens, at + (tokens[at] in "*&"), depth)
        operands.append(operand)
    return _chain("and", operands), at


def _differ(tokens: list[str], at: int, depth: int) -> tuple[Expression, int]:
    operand, at = _single(tokens, at, depth)
    operands = [operand]
    while at < len(tokens) and tokens[at] == "^":
        operand, at = _single(tokens, at + 1, depth)
        operands.append(operand)
    return _chain("xor", operands), at


def _chain(kind: str, operands: list[Expression]) -> Expression:
    """Return *operands* joined: one after the other where they are few, else as a balanced tree."""
    if len(operands) > _LONG_CHAIN:
        half = len(operands) // 2
        return Expression(kind, operands=(_chain(kind, operands[:half]), _chain(kind, operands[half:])))
    joined = operands[0]
    for operand in operands[1:]:
        joined = Expression(kind, operands=(joined, operand))
    return joined


def _complement(expression: Expression) -> Expression:
    return expression.operands[0] if expression.kind == "not" else Expression("not", operands=(expression,))


def _single(tokens: list[str], at: int, depth: int) -> tuple[Expression, int]:
    first = at
    while at < len(tokens) and tokens[at] == "!":
        at += 1
    inverted = (at - first) % 2 == 1
    if at >= len(tokens):
        raise ValueError("ends in the middle of an expression")
    token = tokens[at]
    if token == "(":
        inner, at = _either(tokens, at + 1, depth + 1)
        if at >= len(tokens) or tokens[at] != ")":
            raise ValueError("a bracket is not closed")
        at += 1
    elif token in "01":
        inner, at = Expression("one" if token == "1" else "zero"), at + 1
    elif token[0].isalpha() or token[0] == "_":
        inner, at = Expression("pin", token), at + 1
    else:
        raise ValueError(f"unexpected {token!r}")
    while at < len(tokens) and tokens[at] == "'":
        inner, at = _complement(inner), at + 1
    return _complement(inner) if inverted else inner, at


def evaluate_expression(expression: Expression, values: Mapping[str, int], full: int) -> int:
    """Return the value of *expression* where pin p has value ``values[p]``; all are masks within the bits of *full*."""
    if expression.kind == "pin":
        return values[expression.name] & full
    if expression.kind in ("zero", "one"):
        return full if expression.kind == "one" else 0
    operands = [evaluate_expression(operand, values, full) for operand in expression.operands]
    if expression.kind == "not":
        return full & ~operands[0]
    left, right = operands
    return {"and": left & right, "or": left | right, "xor": left ^ right}[expression.kind]


def columns(pins: Sequence[str]) -> tuple[dict[str, int], int]:
    """Return the truth-table column of each pin as a mask over all states, and the mask of all states.

    Bit s of a mask is state s; the *first* pin is the most significant bit of s, so states read as text: ``"01"`` is
    first pin 0, second pin 1.
    """
    count = len(pins)
    states = range(1 << count)
    masks = {pin: sum(1 << s for s in states if s >> (count - 1 - i) & 1) for i, pin in enumerate(pins)}
    return masks, (1 << (1 << count)) - 1


def table(expression: Expression, pins: Sequence[str]) -> int:
    """Return the truth table of *expression* over *pins* as a mask: bit s is the value in state s."""
    masks, full = columns(pins)
    return evaluate_expression(expression, masks, full)


def unateness(expression: Expression, pins: Sequence[str], pin: str) -> tuple[bool, bool]:
    """Return whether a rise of *pin* can raise the output, and whether it can lower it."""
    masks, full = columns(pins)
    high = evaluate_expression(expression, {**masks, pin: full}, full)
    low = evaluate_expression(expression, {**masks, pin: 0}, full)
    return bool(high & ~low), bool(low & ~high)
