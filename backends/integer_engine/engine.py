"""An integer engine: its description, and its Verilog from the templates around any operators, module by module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from approxhw.backends.systolic.templates import configured, modules_of, template_parameters
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.numerics.exact.fixed_point import CODE_BITS, MULTIPLIER_BITS, SHIFT_BITS
from approxhw.numerics.functions.units import ActivationUnit
from approxhw.numerics.mac.integer_mac import IntegerMac
from approxhw.numerics.multipliers.families import EXACT, own_operator

from .column_units import UNITS, column_unit_modules, column_unit_problems
from .foreign_operators import OperatorModule, renamed_operator
from .operator_modules import operator_verilog, product_bits

TOP = "integer_engine"
"""The top module."""
PRODUCT = "operator_product"
"""The module of an element's product, the one that depends on the operators."""
BIAS_BITS, COEFFICIENT_BITS = 32, 16
"""Bits of a column's bias, and of the coefficient of its row sums; both are two's complement."""

Result = Literal["codes", "sums"]
_RESULT_BITS = {"codes": 8, "sums": 32}
_MOST_OPERATORS = 16


@dataclass(frozen=True)
class IntegerArray:
    """A weight-stationary array of ``rows`` x ``columns`` elements of ``mac`` with its streams.

    ``depth``: 1, an element multiplies and adds in one clock; 2, a register stands behind its product. ``vectors``: how many
    sums of a column wait between two tiles of one chain, a power of two. ``result``: what leaves a column, ``codes`` of 8 bits
    or ``sums`` of 32. ``variate``: how many low bits of x are summed along the rows for the columns' coefficients, 0 for none,
    all bits of x for x as a number; ``variate_bits``: width of that sum. ``banks``: tiles whose constants are in the columns at
    a time. ``units``: activation units that the columns' codes may go through, chosen by their constants. ``operators``: those
    that the port ``select`` chooses among, in its order; none: that of ``mac`` alone. ``foreign``: the
    Verilog of those that are not our own. Raises :class:`OptionError` with all problems.
    """

    rows: int = 16
    columns: int = 16
    mac: IntegerMac = field(default_factory=IntegerMac)
    depth: int = 1
    vectors: int = 256
    result: Result = "codes"
    variate: int = 0
    variate_bits: int = 24
    banks: int = 2
    operators: tuple[str, ...] = ()
    foreign: tuple[OperatorModule, ...] = ()
    units: tuple[ActivationUnit, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        problems = []
        for name, least, most in (("rows", 1, 256), ("columns", 1, 256), ("variate_bits", 9, 32)):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                why = f"{shown(repr(value), 60)} is no number of {name} from {least} to {most}"
                problems.append(Problem(name, why, f"choose {least} to {most}"))
        for name, allowed in (("depth", (1, 2)), ("banks", (2, 4, 8, 16))):
            value = getattr(self, name)
            if type(value) is not int or value not in allowed:
                why = f"{shown(repr(value), 60)} is not one of {', '.join(map(str, allowed))}"
                problems.append(Problem(name, why, f"choose {allowed[0]}"))
        if type(self.vectors) is not int or self.vectors not in [1 << n for n in range(1, 17)]:
            why = f"{shown(repr(self.vectors), 60)} is no power of two from 2 to 65536"
            problems.append(Problem("vectors", why, "choose 256, say"))
        if not isinstance(self.result, str) or self.result not in _RESULT_BITS:
            problems.append(Problem("result", f"{shown(repr(self.result), 60)} is no result", "choose codes or sums"))
        if not isinstance(self.mac, IntegerMac):
            why = f"{shown(repr(self.mac), 60)} is no IntegerMac"
            problems.append(Problem("mac", why, "give IntegerMac(), say"))
        else:
            if type(self.variate) is not int or not 0 <= self.variate <= self.mac.x_bits:
                why = f"{shown(repr(self.variate), 60)} is no number of bits of x from 0 to {self.mac.x_bits}"
                problems.append(Problem("variate", why, "choose 0 for no row sums"))
            problems += _operator_problems(self, self.mac)
        problems += column_unit_problems(self.units)
        if problems:
            raise OptionError("integer engine", problems)

    @property
    def names(self) -> tuple[str, ...]:
        """The operators in the order of ``select``."""
        return self.operators or (self.mac.operator,)

    @property
    def select_bits(self) -> int:
        """Width of the port ``select``, 1 where there is nothing to choose."""
        return max(1, (len(self.names) - 1).bit_length())

    def select(self, operator: str) -> int:
        """Return the value of the port ``select`` for *operator*; raise :class:`OptionError` for one that is not there."""
        if operator not in self.names:
            why = f"{shown(operator)!r} is not in this engine"
            raise OptionError("integer engine", [Problem("operator", why, f"choose {', '.join(self.names)}")])
        return self.names.index(operator)

    def mac_of(self, operator: str) -> IntegerMac:
        """Return what an element computes with *operator* chosen."""
        return replace(self.mac, operator=self.names[self.select(operator)])

    @property
    def product_bits(self) -> int:
        """Width of a product, that of the widest operator and of both operands at least."""
        foreign = {each.name: each.product_bits for each in self.foreign}
        own = (product_bits(own_operator(name), self.mac.weight_bits, self.mac.x_bits) for name in self.names)
        return max(self.mac.weight_bits + self.mac.x_bits, *own, *(foreign.get(name, 0) for name in self.names))

    def fields(self) -> dict[str, int]:
        """Return the bits of a column's constants in a word of weights, by name, lowest first."""
        found = {"bias": BIAS_BITS} | ({"coefficient": COEFFICIENT_BITS} if self.variate else {})
        if self.result == "codes":
            found |= {"multiplier": MULTIPLIER_BITS, "shift": SHIFT_BITS}
            found |= dict.fromkeys(("zero", "low", "high"), CODE_BITS)
            found |= {"unit": self.unit_bits} if self.unit_bits else {}
        return found

    @property
    def unit_bits(self) -> int:
        """Width of the constant that says which unit a column's codes go through; 0 where there is none, or sums leave."""
        return len(self.units).bit_length() if self.result == "codes" else 0

    @property
    def weight_word_bits(self) -> int:
        """Width of a word of weights: a weight for each row, and the constants of the column."""
        return self.rows * self.mac.weight_bits + sum(self.fields().values())

    @property
    def activation_word_bits(self) -> int:
        """Width of a word of activations."""
        return self.rows * self.mac.x_bits

    @property
    def result_bits(self) -> int:
        """Width of one result."""
        return _RESULT_BITS[self.result]

    @property
    def latency(self) -> int:
        """Clocks from a vector's word to its sum at the south of column 0; column c is c clocks later."""
        return self.rows + self.depth

    @property
    def end_latency(self) -> int:
        """Clocks from a sum at the south of its column to its result in the queue of results."""
        return 1 + int(self.variate > 0) + (6 if self.result == "codes" else 0) + int(self.unit_bits > 0)

    def parameters(self) -> dict[str, int]:
        """Return the parameters of the top module's template."""
        kind = self.mac.adder.partition("-")[0]
        return {
            "ROWS": self.rows,
            "COLUMNS": self.columns,
            "WEIGHT_BITS": self.mac.weight_bits,
            "X_BITS": self.mac.x_bits,
            "PRODUCT_BITS": self.product_bits,
            "WEIGHT_SIGNED": int(self.mac.weight_signed),
            "X_SIGNED": int(self.mac.x_signed),
            "SELECT_BITS": self.select_bits,
            "SUM_BITS": self.mac.accumulator_bits,
            "DEPTH": self.depth,
            "ADDER": (EXACT, "or", "cut").index(kind),
            "LOW": max(self.mac.low_bits, 1),
            "VARIATE": self.variate,
            "VARIATE_BITS": self.variate_bits,
            "BANK_BITS": self.banks.bit_length() - 1,
            "RESULT_BITS": self.result_bits,
            "ADDRESS_BITS": self.vectors.bit_length() - 1,
            "UNIT_BITS": self.unit_bits,
        }

    def as_data(self) -> dict[str, object]:
        """Return the description as plain data for JSON."""
        return asdict(self)


def _operator_problems(engine: IntegerArray, mac: IntegerMac) -> list[Problem]:
    """Return what is wrong with the operators of *engine*, whose multiply-add is *mac*."""
    problems = []
    if not isinstance(engine.operators, tuple) or not all(isinstance(each, str) for each in engine.operators):
        return [Problem("operators", f"{shown(repr(engine.operators), 60)} is no tuple of names")]
    if not isinstance(engine.foreign, tuple) or not all(isinstance(each, OperatorModule) for each in engine.foreign):
        why = f"{shown(repr(engine.foreign), 60)} is no tuple of OperatorModules"
        return [Problem("foreign", why, "make them by read_operator_module")]
    if engine.operators and mac.operator not in engine.operators:
        why = f"{shown(mac.operator)} of the multiply-add is not among {shown(', '.join(engine.operators), 120)}"
        problems.append(Problem("operators", why, "add it, or leave operators out"))
    if len(set(engine.names)) < len(engine.names) or len(engine.names) > _MOST_OPERATORS:
        why = f"{len(engine.names)} names, {len(set(engine.names))} of them different"
        problems.append(Problem("operators", why, f"name each once, {_MOST_OPERATORS} at most"))
    foreign = {each.name: each for each in engine.foreign}
    for name in dict.fromkeys(engine.names):
        if name in foreign:
            given = foreign[name]
            if (given.weight_bits, given.x_bits) != (mac.weight_bits, mac.x_bits):
                why = f"has operands of {given.weight_bits} and {given.x_bits} bits"
                remedy = f"take one of {mac.weight_bits} and {mac.x_bits} bits"
                problems.append(Problem(f"operator {shown(name)}", why, remedy))
            continue
        if name != EXACT and own_operator(name) is None:
            why = "is none of our own, and its Verilog is not given"
            problems.append(Problem(f"operator {shown(name)}", why, "give it in foreign, by read_operator_module"))
            continue
        try:
            operator_verilog(name, mac.weight_bits, mac.x_bits, mac.signed)
        except OptionError as error:
            problems += [Problem(f"operator {shown(name)}", each.why, each.remedy) for each in error.problems]
    return problems


def integer_engine_modules(engine: IntegerArray, top: str = TOP) -> dict[str, str]:
    """Return the Verilog-2005 of *engine* by module, *top* first.

    *top*: the whole engine, or a template that is a part of it, such as ``integer_array`` or ``integer_element``.
    """
    if not isinstance(engine, IntegerArray):
        why = f"{shown(type(engine).__name__)} is no integer engine"
        raise OptionError("integer engine", [Problem("engine", why, "give IntegerArray(), say")])
    known = template_parameters(top)
    parameters = {key: value for key, value in engine.parameters().items() if key in known}
    found = modules_of(configured(top, parameters))
    if PRODUCT in found:
        found.pop(PRODUCT)
        found |= operator_product_modules(engine)
    if UNITS in found and engine.unit_bits:
        found |= column_unit_modules(engine.units)
    return {top: found.pop(top), **found}


def integer_engine_verilog(engine: IntegerArray, header: Sequence[str] = (), top: str = TOP) -> str:
    """Return the whole engine, or its part *top*, as one text. ``header``: comment lines on top."""
    head = "".join(f"// {line}\n" for line in header)
    text = "\n".join(integer_engine_modules(engine, top).values())
    return f"{head}\n{text}" if head else text


def operator_product_modules(engine: IntegerArray) -> dict[str, str]:
    """Return ``operator_product`` around the operators of *engine*, and what it instantiates, by module."""
    mac, names, total = engine.mac, engine.names, engine.product_bits
    parameters = {key: engine.parameters()[key] for key in template_parameters(PRODUCT)}
    if names == (EXACT,):
        return modules_of(configured(PRODUCT, parameters))
    foreign = {each.name: each for each in engine.foreign}
    inner: dict[str, str] = {}
    lines, chosen, several = [], "choice_0", len(names) > 1
    if several:
        lines = [
            f"  wire [{len(names) - 1}:0] on;  // which operator is chosen: the others read 0, and do not switch",
            f"  assign on[0] = ~|on[{len(names) - 1}:1];",
            *(f"  assign on[{number}] = select == {engine.select_bits}'d{number};" for number in range(1, len(names))),
        ]
    for number, name in enumerate(names):
        if name in foreign:
            module = renamed_operator(foreign[name], f"foreign_{number}_")
            bits, top, text = module.product_bits, module.top, module.verilog
            ports = (module.weight, module.x, module.product)
        else:
            bits = product_bits(own_operator(name), mac.weight_bits, mac.x_bits)
            top, ports = f"operator_{number}", ("a", "b", "y")
            text = operator_verilog(name, mac.weight_bits, mac.x_bits, mac.signed, top)
        inner |= {top: text} if name in foreign else modules_of(text)
        sign = f"made_{number}[{bits - 1}]" if mac.weight_signed else "1'b0"
        wide = f"made_{number}" if bits == total else f"{{{{{total - bits}{{{sign}}}}}, made_{number}}}"
        read = [f"{port} & {{{port.upper()}_BITS{{on[{number}]}}}}" if several else port for port in ("weight", "x")]
        connected = ", ".join(f".{port}({wire})" for port, wire in zip(ports, (*read, f"made_{number}")))
        lines += [
            f"  wire [{bits - 1}:0] made_{number};  // {name}",
            f"  wire [PRODUCT_BITS-1:0] choice_{number};",
            f"  {top} multiplier_{number} ({connected});",
            f"  assign choice_{number} = {wide};",
        ]
        if number:
            chosen = f"on[{number}] ? choice_{number} : {chosen}"
    if len(names) == 1:
        lines += ["  wire unused_select;", "  assign unused_select = |select;"]
    return {PRODUCT: _product_module(parameters, [*lines, f"  assign product = {chosen};"]), **inner}


def _product_module(parameters: dict[str, int], lines: Sequence[str]) -> str:
    """Return the module with *lines* in it; it is made for these *parameters*, and says so."""
    head = ",\n".join(f"  parameter {key} = {value}" for key, value in parameters.items())
    other = " || ".join(f"{key} != {value}" for key, value in parameters.items())
    return "\n".join([
        "// The product of an element by the operators of this engine: the first of them unless select names another one.",
        f"module {PRODUCT} #(\n{head}\n) (",
        "  input  wire [WEIGHT_BITS-1:0]  weight,",
        "  input  wire [X_BITS-1:0]       x,",
        "  input  wire [SELECT_BITS-1:0]  select,",
        "  output wire [PRODUCT_BITS-1:0] product",
        ");",
        "  generate  // what the module is not made for stops elaboration",
        f"    if ({other}) begin : refuse_others",
        f"      {PRODUCT}_needs_the_parameters_that_it_was_made_for stop ();",
        "    end",
        "  endgenerate",
        *lines,
        "endmodule\n",
    ])  # fmt: skip
