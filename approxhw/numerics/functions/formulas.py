"""Functions of one real number as formulas in postfix form: what each word means, checks, values, and how people read one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Formula = tuple[str | float, ...]
"""Words in postfix order: ``x``, numbers, and names of :data:`WORDS`. ``("x", "x", "sigmoid", "mul")`` is x · sigmoid(x)."""

MOST_WORDS = 256
"""Longest formula; the longest activation that exporters write has some twenty words."""

IDENTITY: Formula = ("x",)


@dataclass(frozen=True)
class FormulaWord:
    """One word of a formula: how many values it takes from the stack, what it makes of them, and how it is written."""

    operands: int
    meaning: Callable[..., np.ndarray]
    spelled: str = ""
    """With ``{0}``, ``{1}`` in place of operands; the name and brackets where it is empty."""
    rises: bool = False
    """Of one operand: strictly increasing, and 0 at 0: it changes neither order nor sign."""


def _each(function: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
    """Return *function* for arrays; NaN where it is not defined, infinity beyond the largest number."""

    def one(value: float) -> float:
        try:
            return function(value)
        except OverflowError:
            return math.inf
        except ValueError:
            return math.nan

    return lambda x: np.vectorize(one, otypes=[np.float64])(x)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


def _elu(x: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


def _celu(x: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0) / alpha))


def _selu(x: np.ndarray, alpha: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    return gamma * _elu(x, alpha)


def _shrink(x: np.ndarray, bias: np.ndarray, lambd: np.ndarray) -> np.ndarray:
    return np.where(x < -lambd, x + bias, np.where(x > lambd, x - bias, 0.0))


WORDS: dict[str, FormulaWord] = {
    "abs": FormulaWord(1, np.abs, "|{0}|"),
    "acos": FormulaWord(1, np.arccos),
    "acosh": FormulaWord(1, np.arccosh),
    "add": FormulaWord(2, np.add, "({0} + {1})"),
    "asin": FormulaWord(1, np.arcsin),
    "asinh": FormulaWord(1, np.arcsinh, rises=True),
    "atan": FormulaWord(1, np.arctan, rises=True),
    "atanh": FormulaWord(1, np.arctanh),
    "ceil": FormulaWord(1, np.ceil),
    "celu": FormulaWord(2, _celu),
    "clip": FormulaWord(3, lambda x, low, high: np.minimum(np.maximum(x, low), high)),
    "cos": FormulaWord(1, np.cos),
    "cosh": FormulaWord(1, np.cosh),
    "div": FormulaWord(2, np.divide, "({0} / {1})"),
    "elu": FormulaWord(2, _elu),
    "erf": FormulaWord(1, _each(math.erf), rises=True),
    "exp": FormulaWord(1, np.exp),
    "floor": FormulaWord(1, np.floor),
    "gate": FormulaWord(4, lambda x, offset, low, high: x * np.minimum(np.maximum(x + offset, low), high)),
    "leaky": FormulaWord(2, lambda x, slope: np.where(x < 0, slope * x, x)),
    "log": FormulaWord(1, np.log),
    "max": FormulaWord(2, np.maximum),
    "min": FormulaWord(2, np.minimum),
    "mul": FormulaWord(2, np.multiply, "{0} * {1}"),
    "neg": FormulaWord(1, np.negative, "-{0}"),
    "pow": FormulaWord(2, np.power, "{0}^{1}"),
    "reciprocal": FormulaWord(1, np.reciprocal, "(1 / {0})"),
    "relu": FormulaWord(1, lambda x: np.maximum(x, 0.0)),
    "round": FormulaWord(1, np.rint),
    "selu": FormulaWord(3, _selu),
    "shrink": FormulaWord(3, _shrink),
    "sigmoid": FormulaWord(1, _sigmoid),
    "sign": FormulaWord(1, np.sign),
    "sin": FormulaWord(1, np.sin),
    "sinh": FormulaWord(1, np.sinh, rises=True),
    "softplus": FormulaWord(1, _softplus),
    "softsign": FormulaWord(1, lambda x: x / (1.0 + np.abs(x)), rises=True),
    "sqrt": FormulaWord(1, np.sqrt),
    "sub": FormulaWord(2, np.subtract, "({0} - {1})"),
    "tan": FormulaWord(1, np.tan),
    "tanh": FormulaWord(1, np.tanh, rises=True),
    "thresholded": FormulaWord(2, lambda x, bound: np.where(x > bound, x, 0.0)),
}
"""Name → word. An operator that an exporter writes, and a table can hold, needs one line here."""


def formula_faults(formula: Sequence[object]) -> list[str]:
    """Return why *formula* is none; empty where it is one of x."""
    if not isinstance(formula, tuple) or not 1 <= len(formula) <= MOST_WORDS:
        return [f"a formula has 1 to {MOST_WORDS} words"]
    depth = 0
    for word in formula:
        if isinstance(word, str) and word != "x":
            if word not in WORDS:
                return [f"there is no function {word[:40]!r}"]
            depth -= WORDS[word].operands
            if depth < 0:
                return [f"{word} lacks an operand"]
        elif not isinstance(word, str) and not (isinstance(word, float) and math.isfinite(word)):
            return [f"{str(word)[:40]} is neither a name nor a finite number"]
        depth += 1
    return [] if depth == 1 else [f"it leaves {depth} values, not one"]


def formula_values(formula: Formula, x: np.ndarray) -> np.ndarray:
    """Return the float64 values of *formula* at *x*; NaN and infinity where it is not defined."""
    stack: list[np.ndarray] = []
    x = np.asarray(x, dtype=np.float64)
    with np.errstate(all="ignore"):
        for word in formula:
            if word == "x":
                stack.append(x)
            elif isinstance(word, str):
                count = WORDS[word].operands
                stack[-count:] = [np.asarray(WORDS[word].meaning(*stack[-count:]), dtype=np.float64)]
            else:
                stack.append(np.full(x.shape, word))
    return stack[0]


def composed(outer: Formula, inner: Formula) -> Formula:
    """Return outer(inner(x))."""
    words: list[str | float] = []
    for word in outer:
        words += inner if word == "x" else (word,)
    return tuple(words)


def keeps_order(formula: Formula) -> bool:
    """Whether *formula* is one strictly increasing function that is 0 at 0: it changes neither order nor sign."""
    return len(formula) == 2 and formula[0] == "x" and isinstance(formula[1], str) and WORDS[formula[1]].rises


def formula_text(formula: Formula) -> str:
    """Return *formula* as people write it, such as ``x * sigmoid(x)``."""
    stack: list[str] = []
    for word in formula:
        if isinstance(word, float):
            stack.append(f"{word:.6g}")
        elif word == "x":
            stack.append("x")
        else:
            count = WORDS[word].operands
            parts = stack[-count:]
            text = WORDS[word].spelled.format(*parts) if WORDS[word].spelled else f"{word}({', '.join(parts)})"
            stack[-count:] = [text]
    return stack[0]
