"""Activations of a tensor Graph that a column's end can make: sums as codes of a unit, and the codes that it makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Lookup
from approxhw.ir.kinds.tensor.integer_rules import CODES, SUMS
from approxhw.ir.kinds.tensor.integers import DequantizeLinear, QuantizeLinear, Rescale, is_integer_product
from approxhw.ir.kinds.tensor.ops import Add
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.tensor.integer_layers import held
from approxhw.numerics.exact.fixed_point import fixed_point_multiplier
from approxhw.numerics.formats import Fixed
from approxhw.numerics.functions.bounds import wanted_values
from approxhw.numerics.functions.formulas import Formula, formula_text

from ..integers._editing import Editor, readers_of
from ..integers._ranges import observed_ranges
from ._functions import FunctionsBehind, NoFunction

_READ = Fixed(8, True)
"""Codes that a unit reads behind sums: zero is 0, so that halves may be folded."""


@dataclass(frozen=True, eq=False)
class ColumnActivation:
    """``codes``, a QuantizeLinear, are those of ``formula`` of the numbers that ``numbers``, a DequantizeLinear, makes."""

    codes: Node
    numbers: Node
    formula: Formula
    layer: str
    """The title of the product whose columns end in it."""


def column_activations_of(graph: Graph) -> tuple[list[ColumnActivation], list[str]]:
    """Return the activations of *graph* that stand between a product of codes and codes, and why others are none.

    Between them stands nothing but functions of one value, and nobody else reads what the product makes.
    """
    found, told, behind, readers = list[ColumnActivation](), list[str](), FunctionsBehind(graph), readers_of(graph)
    for node in graph.nodes:
        if not isinstance(node.op, QuantizeLinear) or node.type.format not in CODES or not _is_one_scale(graph, node):
            continue
        made = behind.of(node.inputs[0])
        where = shown(node.origin or node.name, 60)
        if isinstance(made, NoFunction):
            if any(_layer_of(graph, name) for name in _bases(graph, node)):
                told.append(f"{where} stays on the host: {made.why}")
            continue
        if made.base is None or made.formula == ("x",):
            continue
        numbers, layer = graph[made.base], _layer_of(graph, made.base)
        if layer is None or numbers.type.shape != node.type.shape:
            continue
        if other := _read_elsewhere(graph, numbers, node, readers):
            told.append(f"{where} stays on the host: {other} reads what layer {shown(layer, 60)} makes, too")
            continue
        found.append(ColumnActivation(node, numbers, made.formula, layer))
    return found, told


def _is_one_scale(graph: Graph, node: Node) -> bool:
    scale, zero = (held(graph, name) for name in node.inputs[1:3])
    return scale is not None and zero is not None and scale.size == zero.size == 1 and bool(np.all(scale > 0))


def _bases(graph: Graph, node: Node) -> list[str]:
    """Return the numbers behind *node* that codes or sums stand for: as far as values go back through anything."""
    seen, waiting, found = set[str](), [node.inputs[0]], list[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if isinstance(graph[name].op, DequantizeLinear):
            found.append(name)
        else:
            waiting += graph[name].inputs
    return found


def _layer_of(graph: Graph, name: str) -> str | None:
    """Return the title of the product of codes whose sums, or rescaled sums, the numbers *name* stand for."""
    node = graph[name]
    scale, zero = (held(graph, each) for each in node.inputs[1:3])
    if scale is None or zero is None or not (np.isfinite(scale).all() and (scale > 0).all()):
        return None
    node = graph[node.inputs[0]]
    if isinstance(node.op, Rescale):
        if scale.size != 1 or zero.size != 1 or node.type.format not in CODES:
            return None
        node = graph[node.inputs[0]]
    elif np.any(zero):
        return None
    if isinstance(node.op, Add):
        computed = [name for name in node.inputs if held(graph, name) is None]
        node = graph[computed[0]] if len(computed) == 1 else node
    return node.op.title if is_integer_product(node.op) else None  # type: ignore[union-attr]


def _read_elsewhere(graph: Graph, numbers: Node, codes: Node, readers: Callable[[str], list[Node]]) -> str:
    """Return who else than what ends in *codes* reads the product behind *numbers*, empty: nobody does."""
    inside, at = {codes.name}, [codes.inputs[0]]
    while at:
        name = at.pop()
        if name not in inside and held(graph, name) is None:
            inside.add(name)
            if name != numbers.name:
                at += graph[name].inputs
    chain, node = [numbers.name], graph[numbers.inputs[0]]
    while not is_integer_product(node.op):
        chain.append(node.name)
        node = graph[next(name for name in node.inputs if held(graph, name) is None)]
    chain.append(node.name)
    for name in (*chain, *(inside - {codes.name})):
        if name in graph.leaving:
            return "a result of the model"
        for reader in readers(name):
            if reader.name not in inside and reader.name not in chain:
                return shown(reader.origin or reader.name, 60)
    return ""


def with_tables(graph: Graph, found: Sequence[ColumnActivation], context: PassContext) -> Graph:
    """Return *graph* with each of *found* as a table of codes, and sums as codes of it, their scale by training rows.

    Raises :class:`PassError` where there are no rows, and for functions that are defined nowhere.
    """
    sums = [each.numbers.name for each in found if graph[each.numbers.inputs[0]].type.format == SUMS]
    if sums and context.observe is None:
        why = "a unit behind sums gets its scale from training rows, and there are none"
        raise PassError("pass approximate-activation", [Problem("data", why, "give --data with training rows")])
    ends = observed_ranges(graph, sums, "minmax", context.observe) if sums and context.observe is not None else {}
    editor, by_name, problems = Editor(graph), {each.codes.name: each for each in found}, list[Problem]()
    for node in graph.nodes:
        if (each := by_name.get(node.name)) is None:
            editor.nodes.append(node)
            continue
        try:
            _put(editor, graph, each, ends.get(each.numbers.name))
        except (OptionError, ValueError) as error:
            why = shown(error.problems[0].why if isinstance(error, OptionError) else error, 120)
            problems.append(Problem(f"layer {shown(each.layer, 60)!r}", f"{formula_text(each.formula)}: {why}"))
    if problems:
        raise PassError("pass approximate-activation", problems)
    return editor.done()


def _put(editor: Editor, graph: Graph, each: ColumnActivation, ends: tuple[float, float] | None) -> None:
    """Append the Lookup of *each* under the name of its codes, behind a Rescale where it reads sums between *ends*."""
    node, numbers = each.codes, each.numbers
    own, origin = _one(graph, node.inputs[1]), _one(graph, node.inputs[2])
    fmt = node.type.format
    assert isinstance(fmt, Fixed)
    assert isinstance(numbers.op, DequantizeLinear)
    y = replace(fmt, scale=Fraction(float(own)), zero=int(origin))
    if ends is None:
        read = graph[numbers.inputs[0]]
        assert isinstance(read.type.format, Fixed)
        scale, zero = (_one(graph, name) for name in numbers.inputs[1:3])
        x = replace(read.type.format, scale=Fraction(float(scale)), zero=int(zero))
        codes = read.name
    else:
        reach = max(abs(ends[0]), abs(ends[1])) or 1.0
        step = Fraction(np.float32(reach / _READ.high).item())
        x = replace(_READ, scale=step)
        codes = _rescaled(editor, graph, each, step)
    values = wanted_values(each.formula, x, y)
    nearest = np.clip(np.floor(values + 0.5), y.low, y.high).astype(np.int64)
    table = tuple(np.roll(nearest, x.low).tolist())
    editor.add("", Lookup(each.formula, table), [codes], node.type.shape, fmt, name=node.name)


def _rescaled(editor: Editor, graph: Graph, each: ColumnActivation, step: Fraction) -> str:
    numbers = each.numbers
    assert isinstance(numbers.op, DequantizeLinear)
    scale = held(graph, numbers.inputs[1])
    assert scale is not None
    pairs = [fixed_point_multiplier(Fraction(float(one)) / step) for one in scale.reshape(-1)]
    factors, shifts = (np.array([pair[i] for pair in pairs], np.int32) for i in (0, 1))
    inputs = [
        numbers.inputs[0],
        editor.constant(f"{each.codes.name}_multiplier", factors if scale.size > 1 else factors[0]),
        editor.constant(f"{each.codes.name}_shift", shifts if scale.size > 1 else shifts[0]),
    ]
    op = Rescale(0, _READ.low, _READ.high, numbers.op.axis)
    return editor.add(f"{each.codes.name}_read", op, inputs, each.codes.type.shape, _READ)


def _one(graph: Graph, name: str) -> float:
    data = held(graph, name)
    assert data is not None
    return float(data.reshape(-1)[0])
