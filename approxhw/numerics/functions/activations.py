"""Activations by name: the unary functions of ONNX, and SAU, SMU and Padé units, with their parameters, as formulas."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.options import suggestion

from .formulas import Formula, formula_faults

MOST_COEFFICIENTS = 12
"""Of a Padé unit, above or below the line."""


def _gelu() -> Formula:
    return ("x", 0.5, "mul", *_one_and(("x", math.sqrt(0.5), "mul", "erf")), "mul")


def _gelu_tanh() -> Formula:
    cubic: Formula = ("x", "x", "x", "mul", "x", "mul", 0.044715, "mul", "add", math.sqrt(2 / math.pi), "mul")
    return ("x", 0.5, "mul", *_one_and((*cubic, "tanh")), "mul")


def _swish(alpha: float = 1.0) -> Formula:
    return ("x", "x", alpha, "mul", "sigmoid", "mul")


def _hard_sigmoid(alpha: float = 0.2, beta: float = 0.5) -> Formula:
    return ("x", alpha, "mul", beta, "add", 0.0, 1.0, "clip")


def _sau(alpha: float = 0.25, b: float = 1.0) -> Formula:
    """(1/(2b)) √(2/π) e^(−b²x²/2) + ½(1+α)x + ½(1−α) x erf(bx/√2), the published form."""
    bell: Formula = ("x", "x", "mul", -b * b / 2, "mul", "exp", math.sqrt(2 / math.pi) / (2 * b), "mul")
    leak: Formula = ("x", 0.5 * (1 + alpha), "mul", "add")
    step: Formula = ("x", b * math.sqrt(0.5), "mul", "erf", "x", "mul", 0.5 * (1 - alpha), "mul", "add")
    return (*bell, *leak, *step)


def _smu(alpha: float = 0.25, mu: float = 1.0) -> Formula:
    """½[(1+α)x + (1−α)x erf(μ(1−α)x)]."""
    step: Formula = ("x", mu * (1 - alpha), "mul", "erf", "x", "mul", 0.5 * (1 - alpha), "mul")
    return ("x", 0.5 * (1 + alpha), "mul", *step, "add")


def _pade(numerator: Sequence[float] = (0.0, 1.0), denominator: Sequence[float] = (1.0,)) -> Formula:
    """Σ numerator[k] x^k / (1 + |Σ denominator[k] x^(k+1)|): the safe form of trained Padé units."""
    below: Formula = (*_horner((0.0, *denominator)), "abs")
    return (*_horner(numerator), *_one_and(below), "div")


def _horner(coefficients: Sequence[float]) -> Formula:
    """Return Σ coefficients[k] x^k."""
    words: list[str | float] = [coefficients[-1]]
    for coefficient in reversed(coefficients[:-1]):
        words += ["x", "mul", coefficient, "add"]
    return tuple(words)


def _one_and(words: Formula) -> Formula:
    return (*words, 1.0, "add")


ACTIVATIONS: dict[str, Callable[..., Formula]] = {
    "celu": lambda alpha=1.0: ("x", alpha, "celu"),
    "cos": lambda: ("x", "cos"),
    "elu": lambda alpha=1.0: ("x", alpha, "elu"),
    "erf": lambda: ("x", "erf"),
    "exp": lambda: ("x", "exp"),
    "exp-minus": lambda: ("x", "neg", "exp"),
    "gelu": _gelu,
    "gelu-tanh": _gelu_tanh,
    "hard-sigmoid": _hard_sigmoid,
    "hard-swish": lambda: ("x", 3.0, 0.0, 6.0, "gate", 1 / 6, "mul"),
    "leaky-relu": lambda alpha=0.01: ("x", alpha, "leaky"),
    "log": lambda: ("x", "log"),
    "mish": lambda: ("x", "x", "softplus", "tanh", "mul"),
    "pade": _pade,
    "reciprocal": lambda: ("x", "reciprocal"),
    "sau": _sau,
    "selu": lambda alpha=1.6732632423543772, gamma=1.0507009873554805: ("x", alpha, gamma, "selu"),
    "shrink": lambda bias=0.0, lambd=0.5: ("x", bias, lambd, "shrink"),
    "sigmoid": lambda: ("x", "sigmoid"),
    "silu": _swish,
    "sin": lambda: ("x", "sin"),
    "smu": _smu,
    "softplus": lambda: ("x", "softplus"),
    "softsign": lambda: ("x", "softsign"),
    "sqrt": lambda: ("x", "sqrt"),
    "swish": _swish,
    "tanh": lambda: ("x", "tanh"),
    "thresholded-relu": lambda alpha=1.0: ("x", alpha, "thresholded"),
}
"""Name → what makes the formula of its parameters; defaults are ONNX's where ONNX has them."""


def activation_formula(name: str, **parameters: float | Sequence[float]) -> Formula:
    """Return the formula of the activation called *name*.

    Raises :class:`OptionError` with all that is wrong: an unknown name or parameter, values that are no finite numbers.
    """
    if name not in ACTIVATIONS:
        why = f"there is no activation of this name{suggestion(name, list(ACTIVATIONS))}"
        raise OptionError("activation", [Problem(shown(name, 40), why)])
    known = inspect.signature(ACTIVATIONS[name]).parameters
    found = []
    for key, value in parameters.items():
        if key not in known:
            said = f"it has {', '.join(known)}" if known else "it has none"
            found.append(Problem(f"{name}.{shown(key, 40)}", "there is no parameter of this name", said))
        elif why := _misfit(value, several=isinstance(known[key].default, tuple)):
            found.append(Problem(f"{name}.{key}", why))
    if parameters.get("b") == 0 and not found:
        found.append(Problem(f"{name}.b", "it is 0, and divides", "take a greater one: it says how sharp the bend is"))
    if found:
        raise OptionError("activation", found)
    numbers = {key: _as_float(value) for key, value in parameters.items()}
    formula = ACTIVATIONS[name](**numbers)
    if faults := formula_faults(formula):
        raise OptionError(
            "activation", [Problem(name, f"its numbers go beyond what floats hold: {shown(faults[0], 120)}")]
        )
    return formula


def _as_float(value: float | Sequence[float]) -> float | tuple[float, ...]:
    return tuple(map(float, value)) if isinstance(value, Sequence) else float(value)


def _misfit(value: object, *, several: bool) -> str:
    """Return why *value* is no parameter; empty where it is one."""
    if several:
        if not isinstance(value, list | tuple) or not 1 <= len(value) <= MOST_COEFFICIENTS:
            return f"it is a list of 1 to {MOST_COEFFICIENTS} numbers, the constant one first"
        return next((why for each in value if (why := _misfit(each, several=False))), "")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{shown(value, 40)} is no number"
    if isinstance(value, int) and value.bit_length() > 1000:
        return "it is larger than any float"
    return "" if math.isfinite(value) else f"{value} is not finite"
