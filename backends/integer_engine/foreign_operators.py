"""A multiplier in anybody's Verilog as an operator of an integer engine: its ports by their widths, its names out of the way."""

from __future__ import annotations

from dataclasses import dataclass, replace

from approxhw.backends.bespoke.readback import ModuleInfo, ModulePort, read_modules
from approxhw.common.errors import InvalidDesignError, OptionError, Problem, shown
from approxhw.common.verilog_names import defined_modules, directives_in, rename_identifiers, system_tasks_in


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

    ``top``: its module, by default the one that no other instantiates. ``weight``: the port that reads the weight, by
    default the first of *weight_bits*. What it computes is not looked at here. Raises :class:`OptionError`, or
    :class:`InvalidDesignError` where it is no such Verilog.
    """
    subject = f"multiplier {shown(name)}"
    problems = [
        Problem(shown(word), "an operator has gates and registers alone, no tasks of a simulator", "take it out")
        for word in sorted(system_tasks_in(verilog))
    ]
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
    tops = [each for each in modules if each not in inner]
    chosen = top if top is not None else tops[0] if len(tops) == 1 else None
    if chosen is None or chosen not in modules:
        why = "there are several" if chosen is None else f"{shown(chosen)!r} is none of its modules"
        raise OptionError(subject, [Problem("top", f"{why}: {shown(', '.join(modules))}", "name one of them")])
    ports = _chosen_ports(subject, modules[chosen], (weight_bits, x_bits), weight)
    operand, other, product = ports
    return OperatorModule(
        name,
        verilog,
        chosen,
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


def _chosen_ports(
    subject: str, info: ModuleInfo, widths: tuple[int, int], weight: str | None
) -> tuple[ModulePort, ModulePort, ModulePort]:
    """Return the ports of weight, x and product; raise :class:`OptionError` with everything that is wrong with them."""
    inputs = [port for port in info.ports if port.direction == "input"]
    outputs = [port for port in info.ports if port.direction == "output"]
    listed = ", ".join(f"{port.direction} {port.name} ({port.bits or 'parametric'})" for port in info.ports)
    problems = []
    if len(inputs) != 2 or len(outputs) != 1 or len(info.ports) != 3:
        why = f"its ports are {shown(listed, 120)}, not two inputs and an output"
        problems.append(Problem(shown(info.name), why, "put a module with the two operands and the product around it"))
        raise OptionError(subject, problems)
    named = [port for port in inputs if port.name == weight]
    if weight is not None and not named:
        why = f"{shown(weight)!r} is none of its inputs: {shown(listed, 120)}"
        problems.append(Problem("weight", why, f"say {inputs[0].name} or {inputs[1].name}"))
    first = named[0] if named else next((port for port in inputs if port.bits == widths[0]), inputs[0])
    second = inputs[1 - inputs.index(first)]
    if (first.bits, second.bits) != widths:
        why = f"its operands have {first.bits} and {second.bits} bits, the engine's {widths[0]} and {widths[1]}"
        problems.append(Problem("operands", why, "take a multiplier of these widths"))
    most = 32
    if outputs[0].bits is None or outputs[0].bits > most:
        why = f"has {outputs[0].bits or 'a parametric number of'} bits"
        problems.append(Problem(shown(outputs[0].name), why, f"give a product of at most {most} bits"))
    if problems:
        raise OptionError(subject, problems)
    return first, second, outputs[0]
