"""An operator in products of codes: its table beside the Node, the accumulator as wide as its products ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from approxhw.common.errors import PassError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds.tensor.integer_rules import needed_bits, stationary
from approxhw.ir.kinds.tensor.integers import needs_table
from approxhw.ir.tensor.integer_layers import held, integer_nodes, integer_op, products_table, weights_last
from approxhw.numerics.mac.integer_mac import IntegerMac, exact_products
from approxhw.numerics.multipliers.families import EXACT
from approxhw.numerics.multipliers.tables import ProductTable

from ._editing import SUMS, Editor
from .integer_products import exact_mac

Observe = Callable[[Graph, Callable[[Node, np.ndarray], None]], None]
"""Runs training rows through a Graph and shows the value of every Node."""

TableFor = Callable[[IntegerMac], ProductTable]
"""Makes the table of an operator for operands as wide and signed as those of an exact arithmetic."""


def with_operators(graph: Graph, chosen: Mapping[str, tuple[str, TableFor | None]], adder: str = EXACT) -> Graph:
    """Return *graph* whose products of the names in *chosen* are made by an operator: its name, and its table, None: exactly.

    *adder*: of their sums. Raises :class:`PassError` for weights that do not fit an operator's.
    """
    editor = Editor(graph)
    for node in graph.nodes:
        if node.name in chosen:
            node = _with_operator(editor, graph, node, *chosen[node.name], adder)
        editor.nodes.append(node)
    changed = editor.done()
    _check_names(changed)
    return changed


def exactly(observe: Observe | None) -> Observe | None:
    """Return *observe* with every product of the Graph that it runs exact; None where there is no such thing.

    What layers send on is then what they send on once each is mended: not what an unmended one before them has made of it.
    """
    if observe is None:
        return None
    run = observe

    def seen(graph: Graph, look: Callable[[Node, np.ndarray], None]) -> None:
        run(with_operators(graph, {node.name: (EXACT, None) for node in integer_nodes(graph)}), look)

    return seen


def _check_names(graph: Graph) -> None:
    """Refuse two operators of one name with different products: an array knows operators by their names."""
    known: dict[tuple[str, str, int], np.ndarray] = {}
    for node in integer_nodes(graph):
        mac = integer_op(node).arithmetic
        if mac is None or not needs_table(integer_op(node)):
            continue
        table = products_table(graph, node)
        if not np.array_equal(known.setdefault((mac.operator, mac.signed, mac.weight_bits), table), table):
            why = f"two operators are called {shown(mac.operator)!r}, and make different products"
            remedy = "rename one of the files: an array knows them by their names"
            raise PassError("pass approximate-multiplier", [Problem("operator", why, remedy)])


def _with_operator(
    editor: Editor, graph: Graph, node: Node, operator: str, table_for: TableFor | None, adder: str
) -> Node:
    op = integer_op(node)
    plain = exact_mac(graph, node)
    mac, data = replace(plain, adder=adder, accumulator_bits=32), exact_products(plain).products
    names = [*node.inputs[:4]]
    if table_for is not None:
        table = table_for(plain)
        mac = IntegerMac(operator, table.signed, table.weight_bits, table.x_bits, adder=adder)
        _check_fit(graph, node, mac)
        data = table.products
        names.append(_shared_table(editor, operator, data))
    weights = held(graph, weights_last(graph, node)[1])
    if weights is not None:
        columns = stationary(op, weights, weights_last(graph, node)[1] == node.inputs[0])
        needed = needed_bits(columns, data, mac)
        if needed > 32:
            plain_bits = needed_bits(columns, data, replace(mac, adder=EXACT))
            why = f"its sums need {needed} bits, and an accumulator has 32 at most"
            remedy = "choose another operator for it, or leave it exact"
            if plain_bits <= 32:
                why = f"by the adder {adder} {why}; exact ones need {plain_bits}"
                remedy = f"choose an adder of fewer low bits, such as {adder.partition('-')[0]}-4"
            raise PassError("pass approximate-multiplier", [Problem(f"layer {shown(op.title, 60)!r}", why, remedy)])
        mac = replace(mac, accumulator_bits=max(needed, 4, mac.low_bits + 1))
    if op.variate:
        names.append(node.inputs[-1])
    return replace(node, op=replace(op, arithmetic=mac), inputs=tuple(names))


def _shared_table(editor: Editor, operator: str, data: np.ndarray) -> str:
    """Return the Constant of an operator's table, made once for all layers that have it."""
    wanted = data.astype(np.int32)
    for node in editor.nodes:
        if node.type.format == SUMS and node.type.shape == wanted.shape and node.name.startswith("table_"):
            found = held(replace(editor.graph, nodes=tuple(editor.nodes)), node.name)
            if found is not None and np.array_equal(found, wanted):
                return node.name
    return editor.constant(f"table_{operator}", wanted)


def _check_fit(graph: Graph, node: Node, mac: IntegerMac) -> None:
    """Refuse an operator whose operands are narrower than the codes of *node*."""
    weights = held(graph, weights_last(graph, node)[1])
    op, found = integer_op(node), []
    if mac.x_bits != 8:
        found.append(f"the operator reads x of {mac.x_bits} bits, the codes have 8")
    if weights is not None and weights.size:
        half = 1 << (mac.weight_bits - 1)
        low, high = int(weights.min()), int(weights.max())
        if low < (-half if weights.dtype == np.int8 else 0) or high >= (half if weights.dtype == np.int8 else 2 * half):
            found.append(f"weights from {low} to {high} do not fit its {mac.weight_bits} bits")
    if found:
        where, remedy = (
            f"layer {shown(op.title, 60)!r}",
            "choose an operator of 8 by 8 bits, or quantize-model{weight_bits=…}",
        )
        raise PassError("pass approximate-multiplier", [Problem(where, why, remedy) for why in found])


def layer_number_problems(what: str, layers: tuple[float, ...] | None) -> list[Problem]:
    """Return what is wrong with *layers* as numbers of layers that the pass *what* is to change; None names all."""
    if layers is not None and not isinstance(layers, tuple | list):
        return [Problem(f"{what}.layers", f"{shown(repr(layers), 60)} is no tuple of numbers", "such as layers=(0, 2)")]
    found = [
        Problem(f"{what}.layers", f"{shown(layer, 40)} is no layer: they are numbered 0, 1, …")
        for layer in layers or ()
        if isinstance(layer, bool) or not isinstance(layer, int | float) or not 0 <= layer < 1e6 or layer != int(layer)
    ]
    if found:
        return found
    if layers is not None and (not layers or len(set(layers)) != len(layers)):
        found.append(Problem(f"{what}.layers", "name every layer once", "such as layers=0:1"))
    return found


def chosen_layers(graph: Graph, layers: tuple[float, ...] | None, what: str) -> list[Node]:
    """Return the products of codes that *layers* number from 0, all where it is None; raise :class:`PassError` of pass *what*."""
    known = integer_nodes(graph)
    if not known:
        why = "it holds no product of codes"
        raise PassError(f"pass {what}", [Problem(shown(graph.name), why, "run quantize-model,integer-products before")])
    wrong = [number for number in layers or () if not 0 <= number < len(known)]
    if wrong:
        why = (
            f"there is no layer {', '.join(f'{number:g}' for number in wrong)}: they are numbered 0 … {len(known) - 1}"
        )
        raise PassError(f"pass {what}", [Problem("layers", why, "name layers that are there")])
    return list(known) if layers is None else [known[int(number)] for number in layers]
