"""The pass that takes the products of chosen layers from an approximate multiplier: a table, a Verilog module, one of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem, shown
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Dense
from approxhw.ir.pass_manager import PassContext
from approxhw.numerics.mac import arithmetic
from approxhw.numerics.mac.integer_mac import IntegerMac, is_adder, operator_name
from approxhw.numerics.multipliers.families import EXACT, SPELLED, Operator, bits_of, own_operator
from approxhw.numerics.multipliers.plugins import SUFFIXES, added_multiplier, multiplier_names
from approxhw.numerics.multipliers.signs import FOUND
from approxhw.numerics.multipliers.tables import (
    FIRST,
    SIGNS,
    ProductTable,
    Stated,
    error_figures,
    read_table,
    width_problems,
)
from approxhw.passes.integers._operators import chosen_layers, layer_number_problems, with_operators

from ._operators import (
    Maker,
    OperatorChoice,
    choose_operators,
    figures_in_use,
    integer_layers,
    operand_format,
    replaced,
    with_operator,
)

__all__ = ["ApproximateMultiplier", "OperatorChoice", "choose_operators"]

_NAME = "approximate-multiplier"
_FILES = SUFFIXES


@dataclass(frozen=True)
class ApproximateMultiplier:
    """Take the products of chosen layers from an approximate multiplier: every w · x becomes T[w, x], sums stay exact.

    The multiplier is one of ours (``truncated-4``, ``truncated-4-corrected``, ``broken-array-4-1``, ``logarithmic``; as wide
    as the layer needs), one that another package names, a table (``.npz``) or a Verilog module (``.v``) of two inputs and one
    output. What a table or module cannot say is stated: ``weight``, the port (axis ``a`` or ``b``) of the weight; ``signed``,
    which operands are two's
    complement; widths. With *correct*, the mean error of every neuron's sum on training rows goes into its bias, layer by
    layer, unless that costs training accuracy; with *skip_zero*, a weight of 0 has no product. *operators* ``a:b:exact``
    names several: each layer gets the one with which the synthesised circuit is smallest at a training accuracy at most
    *max_loss* lower. Of a Graph of whole tensors, products of codes are its layers (integer-products makes them); their
    biases are moved by the pass correct-bias, and operators are chosen layer by layer by a search.
    """

    kind: ClassVar[str] = "approximating"
    tensors: ClassVar[bool] = True

    operator: str = field(default="truncated-4", metadata={"help": "one of ours, a .npz table or a .v module"})
    layers: tuple[float, ...] | None = field(
        default=None, metadata={"help": "layers by number, from 0; all by default"}
    )
    weight: str = field(
        default="a",
        metadata={"help": "port of a module, or axis a or b of a table, that is the weight; or first"},
    )
    signed: str = field(
        default=FOUND,
        metadata={
            "help": "operands in two's complement: weight, none or both; found: as the file says, or its products fit"
        },
    )
    weight_bits: int | None = field(default=None, metadata={"help": "bits of the weight operand; checked, or as found"})
    x_bits: int | None = field(default=None, metadata={"help": "bits of the other operand; checked, or as found"})
    top: str | None = field(default=None, metadata={"help": "module of a .v file, where it has several"})
    correct: bool = field(
        default=True, metadata={"help": "move biases by the mean error on training rows, where that helps"}
    )
    skip_zero: bool = field(default=True, metadata={"help": "a weight of 0 has no product, whatever the table says"})
    operators: str | None = field(default=None, metadata={"help": "a:b:exact: choose among these, layer by layer"})
    adder: str = field(default=EXACT, metadata={"help": "of sums on engines: exact, or-L or cut-L"})
    max_loss: float = field(default=0.01, metadata={"help": "training accuracy that a choice may cost, absolute"})

    def __post_init__(self) -> None:
        """Refuse options that cannot be; files are looked at when the pass runs."""
        found = [
            Problem(f"{_NAME}.operators" if self.operators else f"{_NAME}.operator", why) for why in self._unknown()
        ]
        if self.signed not in (FOUND, *SIGNS):
            why = f"{shown(self.signed)!r} is not one of {', '.join((FOUND, *SIGNS))}"
            found.append(Problem(f"{_NAME}.signed", why))
        found += layer_number_problems(_NAME, self.layers)
        for name in ("weight_bits", "x_bits"):
            value = getattr(self, name)
            if value is not None and value < 1:
                found.append(Problem(f"{_NAME}.{name}", f"{value} is less than 1"))
        if not is_adder(self.adder):
            why = f"{shown(repr(self.adder), 40)} is no adder"
            found.append(Problem(f"{_NAME}.adder", why, "choose exact, or-L or cut-L, such as or-4"))
        if not 0 <= self.max_loss <= 1:
            found.append(Problem(f"{_NAME}.max_loss", f"{self.max_loss} is not in 0…1"))
        if self.operators is not None and self.operator != _default("operator"):
            found.append(Problem(f"{_NAME}.operator", "several are named by operators", "give one of the two options"))
        found += self._foreign_to_ours()
        if found:
            raise OptionError(_NAME, found)

    def _names(self) -> tuple[str, ...]:
        named = self.operator if self.operators is None else self.operators
        return tuple(dict.fromkeys(named.split(":") if self.operators is not None else [named]))

    def _unknown(self) -> list[str]:
        several = self.operators is not None
        return [
            f"there is no operator {shown(name)!r}; there are {', '.join((*SPELLED, *multiplier_names()))}"
            f"{', exact' if several else ''}, and files that end in {', '.join(_FILES)}"
            for name in self._names()
            if own_operator(name) is None
            and Path(name).suffix not in _FILES
            and not (name == EXACT and (several or self.adder != EXACT or self.layers is not None))
            and name not in multiplier_names()
        ]

    def _foreign_to_ours(self) -> list[Problem]:
        """Return what is stated of operators that know it themselves: ours, and those of other packages."""
        if any(Path(name).suffix in _FILES for name in self._names()):
            return []
        known = "have signed weights and unsigned x"
        if set(self._names()) & set(multiplier_names()):
            known = "say it themselves"
        return [
            Problem(
                f"{_NAME}.{name}",
                f"{_spelled(getattr(self, name))} is stated of operators that {known}",
                f"leave {name} out: it is for .npz and .v files",
            )
            for name in ("weight", "signed", "top")
            if getattr(self, name) != _default(name) and not (name == "signed" and self._may_be_of_codes())
        ]

    def _may_be_of_codes(self) -> bool:
        """Whether it names one of ours, which products of codes may have with any signs."""
        return self.operators is None and own_operator(self.operator) is not None

    def _refuse_what_is_for_codes(self) -> None:
        """Raise :class:`PassError` for what only products of codes may have."""
        found = []
        if self.signed != _default("signed") and self._may_be_of_codes():
            why = f"{_spelled(self.signed)} is stated of operators that have signed weights and unsigned x"
            found.append(Problem("signed", why, "leave signed out: it is for .npz and .v files, and for engines"))
        if self.operator == EXACT and self.adder == EXACT:
            found.append(Problem("operator", "there is no operator 'exact'", "leave the pass out: products are exact"))
        if found:
            raise PassError(f"pass {_NAME}", found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with approximate products."""
        if graph.is_tensor:
            return self._of_tensors(graph, context)
        self._refuse_what_is_for_codes()
        if self.adder != EXACT:
            why = "a circuit adds a neuron's summands up by a tree of its own"
            raise PassError(f"pass {_NAME}", [Problem("adder", why, "leave it out: it is for engines")])
        layers = self._chosen_layers(graph)
        makers = {name: self._maker(name, context) for name in self._names()}
        _refuse_what_does_not_fit(graph, layers, makers)
        codes = codes_of(graph, context.data.X_train) if context.data is not None else np.empty((0, 1), dtype=np.int64)
        if self.operators is not None:
            return self._choose(graph, layers, makers, codes, context)
        (maker,) = makers.values()
        assert maker is not None
        for layer in layers:
            table = maker(graph, graph[layer])
            context.note(f"{layer}: {table.name}: over all pairs {error_figures(table)}")
            graph, moves = with_operator(graph, layer, table, context.data, self.correct, self.skip_zero)
            _note_use(graph, layer, codes, moves, context)
        if self.correct and not len(codes):
            context.note("no training rows: biases stay")
        return graph

    def _of_tensors(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with the operator in its products of codes."""
        if self.operators is not None:
            why = "products of codes get one operator from this pass"
            remedy = "name each in a pass of its own with layers=…, or let approxhw search choose"
            raise PassError(f"pass {_NAME}", [Problem("operators", why, remedy)])
        nodes = chosen_layers(graph, self.layers, _NAME)
        made: dict[tuple[int, str], ProductTable] = {}

        def table_for(mac: IntegerMac) -> ProductTable:
            # ours read codes as they are unless something else is said, to stand beside files that do
            signed = mac.signed if self.signed == _default("signed") else self.signed
            key = (mac.weight_bits, signed)
            if key not in made:
                own = own_operator(self.operator)
                made[key] = (
                    own.table(mac.weight_bits, mac.x_bits, signed) if own else self._read(self.operator, context)
                )
            return made[key]

        exact = self.operator == EXACT
        chosen = {node.name: (operator_name(self.operator), None if exact else table_for) for node in nodes}
        changed = with_operators(graph, chosen, self.adder)
        for table in made.values():
            context.note(f"{self.operator}: {error_figures(table)}")
        context.note(f"{len(nodes)} products of codes{'' if self.adder == EXACT else f', sums by {self.adder}'}")
        return changed

    def _choose(
        self, graph: Graph, layers: list[str], makers: dict[str, Maker | None], codes: np.ndarray, context: PassContext
    ) -> Graph:
        if context.data is None or not len(codes):
            why = "operators are chosen by training rows, and there are none"
            raise PassError(f"pass {_NAME}", [Problem("operators", why, "give --data, or name one operator")])
        if context.area is None:
            why = "operators are chosen by synthesised area, and nothing here synthesises"
            remedy = "run it by approxhw compile or opt, or give PassContext(area=…)"
            raise PassError(f"pass {_NAME}", [Problem("operators", why, remedy)])
        built, choice = choose_operators(
            graph,
            layers,
            makers,
            context.data,
            context.area,
            self.max_loss,
            correct=self.correct,
            skip_zero=self.skip_zero,
        )
        for layer, name in choice.names.items():
            saved = ", ".join(f"{other} {choice.saved[layer, other]:.4g}" for other in makers if other != EXACT)
            context.note(f"{layer}: {name}; mm² saved in this layer alone: {saved}")
            if name != EXACT:
                _note_use(built, layer, codes, [], context)
        context.note(f"{choice.exact_mm2:.4g} mm² became {choice.area_mm2:.4g} mm²")
        return built

    def _chosen_layers(self, graph: Graph) -> list[str]:
        """Return the names of the layers that change; raise :class:`PassError` listing those that cannot."""
        if not graph.is_integer:
            why = "only an integer Graph has products to replace"
            raise PassError(f"pass {_NAME}", [Problem(graph.name, why, "run quantize-weights before")])
        there = integer_layers(graph)
        found, chosen = [], []
        for number in map(int, self.layers if self.layers is not None else range(len(there))):
            if number >= len(there):
                names = ", ".join(f"{i} {node.name}" for i, node in enumerate(there)) or "none"
                found.append(Problem(f"layer {number}", f"there is none of this number; there are: {names}"))
                continue
            node = there[number]
            assert isinstance(node.op, Dense)
            if isinstance(node.op.arithmetic, arithmetic.Exact):
                chosen.append(node.name)
            else:
                why = f"its products are those of {node.op.arithmetic} already"
                found.append(Problem(f"layer {number}, {node.name}", why, "name other layers, or run it before"))
        if found:
            raise PassError(f"pass {_NAME}", found)
        return chosen

    def _maker(self, name: str, context: PassContext) -> Maker | None:
        """Return what makes the table of operator *name* for a layer; files are read here, once."""
        if name == EXACT and self.operators is not None:
            return None
        operator = own_operator(name)
        if operator is not None:
            return partial(self._own, operator)
        given = self._read(name, context)
        return lambda graph, node: given

    def _read(self, name: str, context: PassContext) -> ProductTable:
        """Return the table of an operator that is none of our own: of another package, or of a file."""
        weight = None if self.weight == FIRST else self.weight
        stated = Stated(weight, None if self.signed == FOUND else self.signed, self.weight_bits, self.x_bits, self.top)
        added = added_multiplier(name)
        if isinstance(added, ProductTable):
            if found := width_problems(stated, added.weight_bits, added.x_bits):
                raise PassError(f"pass {_NAME}", found)
            return added
        path = Path(name)
        if added is not None:
            path, stated = added.path, added.checked(self.weight_bits, self.x_bits)
        if path.suffix == ".npz":
            return read_table(path, stated)
        if context.tabulate is not None:
            return context.tabulate(path, stated)
        why = "it is a Verilog module, and nothing here tabulates one"
        remedy = "run it by approxhw compile or opt, or give PassContext(tabulate=…)"
        raise PassError(f"pass {_NAME}", [Problem(name, why, remedy)])

    def _own(self, operator: Operator, graph: Graph, node: Node) -> ProductTable:
        weights, fmt = graph.constant(node.inputs[1]), operand_format(graph, node)
        return operator.table(self.weight_bits or bits_of(weights), self.x_bits or fmt.bits)


def _refuse_what_does_not_fit(graph: Graph, layers: list[str], makers: Mapping[str, Maker | None]) -> None:
    """Raise :class:`PassError` listing every layer whose weights or codes are too wide for an operator."""
    found: list[Problem] = []
    for layer in layers:
        for maker in makers.values():
            try:
                if maker is not None:
                    replaced(graph, layer, maker(graph, graph[layer]))
            except OptionError as error:
                found += [replace(p, where=f"{layer}, {p.where}") for p in error.problems]
    if found:
        raise PassError(f"pass {_NAME}", found)


def _note_use(graph: Graph, layer: str, codes: np.ndarray, moves: list[int], context: PassContext) -> None:
    if not len(codes):
        return
    moved = f"; biases moved by {min(moves)}…{max(moves)}" if moves else "; biases stay"
    context.note(f"{layer}: on its own weights and training rows {figures_in_use(graph, layer, codes)}{moved}")


def _default(name: str) -> object:
    return next(f.default for f in fields(ApproximateMultiplier) if f.name == name)


def _spelled(value: object) -> str:
    return shown(repr(value), 40)
