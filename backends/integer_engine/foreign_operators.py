"""A multiplier in anybody's Verilog as an operator of an integer engine: its ports by their widths, its names out of the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from approxhw.backends.bespoke.readback import ModuleInfo, ModulePort, read_modules
from approxhw.common.errors import InvalidDesignError, OptionError, Problem, shown
from approxhw.common.verilog_names import defined_modules, directives_in, rename_identifiers
from approxhw.numerics.multipliers.tables import Stated

from .module_checks import port_problems, text_problems, top_module, weight_port

_MOST_PRODUCT_BITS = 32


@dataclass(frozen=True)
class OperatorModule:
    """A combinational module of two operands and their product. ``name``: of the operator, as an ``IntegerMac`` says it.

    ``verilog``: the whole text, ``top`` with all that it instantiates. ``weight``, ``x``, ``product``: its ports.
    """

    name: str
    verilog: str
    top: str
    weight: str
    x: str
    product: str
    weight_bits: int
    x_bits: int
    product_bits: int


def read_operator_module(
    name: str, verilog: str, *, weight_bits: int, x_bits: int, top: str | None = None, weight: str | None = None
) -> OperatorModule:
    """Return the multiplier in *verilog* (Verilog-2005 without directives) for operands of these widths.

    ``top``: its module, by default the one that no other instantiates, of several the one that is called as the file
    *name*. ``weight``: the port that reads the weight, by default the first of *weight_bits*: what tabulating it takes.
    What it computes is not looked at here. Raises :class:`OptionError`, or :class:`InvalidDesignError` where it is no such
    Verilog.
    """
    subject = f"multiplier {shown(name)}"
    problems = text_problems(verilog)
    problems += [
        Problem(shown(word), "a directive would reach into the engine's modules", "preprocess the file first")
        for word in sorted(directives_in(verilog))
    ]
    if problems:
        raise OptionError(subject, problems)
    modules = read_modules(verilog, subject)
    inner = {module for info in modules.values() for module, _ in info.instances}
    if unknown := sorted(inner - modules.keys()):
        raise InvalidDesignError(
            subject, [Problem(shown(each), "is instantiated, but not defined") for each in unknown]
        )
    problems = [
        Problem(shown(each), "has registers", "an operator is combinational: take them out")
        for each, info in modules.items()
        if info.clocked
    ]
    if problems:
        raise OptionError(subject, problems)
    stated = Stated(weight, signed=None, weight_bits=weight_bits, x_bits=x_bits, top=top)
    chosen = top_module(modules, top, Path(name).stem, problems)
    if chosen is None:
        raise OptionError(subject, problems)
    operand, other, product = _operands_and_product(subject, chosen, stated)
    return OperatorModule(
        name,
        verilog,
        chosen.name,
        weight=operand.name,
        x=other.name,
        product=product.name,
        weight_bits=weight_bits,
        x_bits=x_bits,
        product_bits=product.bits or 1,
    )


def renamed_operator(operator: OperatorModule, prefix: str) -> OperatorModule:
    """Return *operator* with *prefix* before the names of all its modules, so that they collide with none."""
    names = {each: prefix + each for each in defined_modules(operator.verilog)}
    weight, x, product = (names.get(port, port) for port in (operator.weight, operator.x, operator.product))
    text = rename_identifiers(operator.verilog, names)
    return replace(operator, verilog=text, top=names[operator.top], weight=weight, x=x, product=product)


def _operands_and_product(
    subject: str, module: ModuleInfo, stated: Stated
) -> tuple[ModulePort, ModulePort, ModulePort]:
    """Return the ports of weight, x and product; raise :class:`OptionError` with everything that is wrong with them."""
    weight = weight_port(module, stated)
    if problems := port_problems(module, stated, weight):
        raise OptionError(subject, problems)
    first, second = sorted((port for port in module.ports if port.direction == "input"), key=lambda p: p.name != weight)
    (product,) = (port for port in module.ports if port.direction == "output")
    if (first.bits, second.bits) != (stated.weight_bits, stated.x_bits):
        why = f"its operands have {first.bits} and {second.bits} bits, the engine's {stated.weight_bits} and {stated.x_bits}"
        problems.append(Problem("operands", why, "take a multiplier of these widths"))
    if product.bits is None or product.bits > _MOST_PRODUCT_BITS:
        why = f"has {product.bits or 'a parametric number of'} bits"
        remedy = f"give a product of at most {_MOST_PRODUCT_BITS} bits"
        problems.append(Problem(f"port {shown(product.name)}", why, remedy))
    if problems:
        raise OptionError(subject, problems)
    return first, second, product
