"""Which function of one value the numbers of a tensor Graph are: chains of operators on the host as formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from approxhw.common.errors import OptionError, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Constant, Relu
from approxhw.ir.kinds.tensor.integers import DequantizeLinear
from approxhw.ir.kinds.tensor.ops import Add, Host, Part
from approxhw.ir.tensor.integer_layers import held
from approxhw.numerics.functions.activations import activation_formula
from approxhw.numerics.functions.formulas import IDENTITY, MOST_WORDS, Formula, composed

from ..structure.ground.operators import host_operator


@dataclass(frozen=True)
class FunctionOf:
    """A value is ``formula`` of the value ``base``, element by element; no base: it is one number everywhere."""

    formula: Formula
    base: str | None = None


@dataclass(frozen=True)
class NoFunction:
    """Why a value is no function of one value alone."""

    why: str


@dataclass
class FunctionsBehind:
    """What values of ``graph`` are of numbers that codes or sums stand for, each looked at once."""

    graph: Graph
    known: dict[str, FunctionOf | NoFunction] = field(default_factory=dict)

    def of(self, name: str) -> FunctionOf | NoFunction:
        """Return which function the value *name* is."""
        at, waiting = name, [name]
        while waiting:  # chains may be long: no recursion
            at = waiting[-1]
            node = self.graph[at]
            left = [each for each in node.inputs if each not in self.known] if _goes_on(node) else []
            if left:
                waiting += left
                continue
            self.known.setdefault(at, self._made(node))
            waiting.pop()
        return self.known[name]

    def _made(self, node: Node) -> FunctionOf | NoFunction:
        op = node.op
        if isinstance(op, Constant):
            data = held(self.graph, node.name)
            flat = None if data is None or data.dtype.kind not in "fiu" else data.astype(np.float64).reshape(-1)
            if flat is None or not flat.size or not np.isfinite(flat[0]) or not (flat == flat[0]).all():
                return NoFunction(f"the constant {shown(node.name, 40)} is no one finite number for all elements")
            return FunctionOf((float(flat[0]),))
        if isinstance(op, DequantizeLinear):
            return FunctionOf(IDENTITY, node.name)
        if isinstance(op, Relu):
            return self._joined(node, ("0", "relu"), [0])
        if isinstance(op, Add):
            return self._joined(node, ("01", "add"), [0, 1])
        if isinstance(op, Host):
            return self._of_host(node)
        return NoFunction(f"{node.kind} ({shown(node.name, 40)}) is no operator of one value")

    def _of_host(self, node: Node) -> FunctionOf | NoFunction:
        found = host_operator(node)
        if found is None:
            assert isinstance(node.op, Host)
            return NoFunction(f"{shown(', '.join(node.op.operators), 40)} is no single standard operator")
        kind, attributes, places = found
        if kind in ("Min", "Max", "Sum", "Mean") and len(places) != 2:
            return NoFunction(f"{kind} ({shown(node.name, 40)}) of {len(places)} operands has no unit")
        maker = OPERATORS.get(kind)
        if maker is None:
            return NoFunction(
                f"{shown(kind, 40)} ({shown(node.name, 40)}) is no function of one value that a unit makes"
            )
        if kind == "Clip":
            return self._clipped(node, attributes, places)
        try:
            words = maker(attributes)
        except (OptionError, OverflowError, TypeError, ValueError) as error:
            return NoFunction(f"{kind} ({shown(node.name, 40)}): {shown(error, 80)}")
        return self._joined(node, words, places)

    def _clipped(self, node: Node, attributes: Mapping[str, Any], places: list[int]) -> FunctionOf | NoFunction:
        words: tuple[str | float, ...] = ("0",)
        ends = (("min", 1, "max"), ("max", 2, "min"))
        for name, place, word in ends:
            if name in attributes:
                words = (*words, float(attributes[name]), word)
            elif len(places) > place and places[place] >= 0:
                words = (*words, str(place), word)
        return self._joined(node, words, places)

    def _joined(self, node: Node, words: tuple[str | float, ...], places: list[int]) -> FunctionOf | NoFunction:
        """Return *words*, operands by number in place of x, of the operands that stand at *places* of the inputs."""
        made: list[str | float] = []
        bases = set[str]()
        for word in words:
            for part in word if isinstance(word, str) and word.isdigit() else (word,):
                if not (isinstance(part, str) and part.isdigit()):
                    made.append(part)
                    continue
                operand = self.known[node.inputs[places[int(part)]]]
                if isinstance(operand, NoFunction):
                    return operand
                made += operand.formula
                if operand.base is not None:
                    bases.add(operand.base)
        if len(bases) > 1:
            return NoFunction(f"{node.kind} ({shown(node.name, 40)}) joins {len(bases)} values: a unit reads one")
        if len(made) > MOST_WORDS:
            return NoFunction(f"it is a formula of {len(made)} words; {MOST_WORDS} are the most")
        if any(isinstance(word, float) and not np.isfinite(word) for word in made):
            return NoFunction(f"a number of {shown(node.name, 40)} is not finite")
        return FunctionOf(tuple(made), next(iter(bases), None))


def _goes_on(node: Node) -> bool:
    return isinstance(node.op, Host | Relu | Add) and not isinstance(node.op, Part)


Words = tuple[str | float, ...]


def _named(name: str, **given: str) -> Callable[[Mapping[str, Any]], Words]:
    """Return what makes words of attributes: the activation *name*, its parameters by the attributes called *given*."""

    def words(attributes: Mapping[str, Any]) -> Words:
        parameters = {key: float(attributes[title]) for key, title in given.items() if title in attributes}
        return composed(activation_formula(name, **parameters), ("0",))

    return words


def _word(word: str, operands: str = "0") -> Callable[[Mapping[str, Any]], Words]:
    return lambda attributes: (operands, word)


def _gelu(attributes: Mapping[str, Any]) -> Words:
    by_tanh = attributes.get("approximate", b"none") in (b"tanh", "tanh")
    return composed(activation_formula("gelu-tanh" if by_tanh else "gelu"), ("0",))


OPERATORS: Mapping[str, Callable[[Mapping[str, Any]], Words]] = {
    **{kind: _word(kind.lower()) for kind in ("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos")},
    **{
        kind: _word(kind.lower())
        for kind in ("Cosh", "Erf", "Exp", "Floor", "Log", "Neg", "Reciprocal", "Relu", "Round")
    },
    **{
        kind: _word(kind.lower())
        for kind in ("Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh")
    },
    **{kind: _word(kind.lower(), "01") for kind in ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min")},
    "Identity": lambda attributes: ("0",),
    "Clip": lambda attributes: (),  # bounds are attributes or operands
    "Sum": _word("add", "01"),
    "Gelu": _gelu,
    "LeakyRelu": _named("leaky-relu", alpha="alpha"),
    "PRelu": _word("leaky", "01"),
    "ThresholdedRelu": _named("thresholded-relu", alpha="alpha"),
    "HardSigmoid": _named("hard-sigmoid", alpha="alpha", beta="beta"),
    "HardSwish": _named("hard-swish"),
    "Elu": _named("elu", alpha="alpha"),
    "Celu": _named("celu", alpha="alpha"),
    "Selu": _named("selu", alpha="alpha", gamma="gamma"),
    "Mish": _named("mish"),
    "Swish": _named("swish", alpha="alpha"),
    "Shrink": _named("shrink", bias="bias", lambd="lambd"),
}
"""Operators of ONNX as words, operands by number; each is tested beside onnxruntime."""
