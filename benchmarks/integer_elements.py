"""Elements of an integer engine at equal clocks: ten operators beside both exact forms, on a tile of a quantised network.

``examples/digits.onnx`` is quantised with scikit-learn's digits; the tile is of its first layer, and the same for all. For each
clock the smallest circuit is looked for on all sides in the same way, as ``approxhw estimate`` does: the reference recipe, and
where that misses the clock, two kinds of adders by five scripts. Every netlist is compared with the reference on the tile.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import command, machine, note, table, write

from approxhw.backends.estimate import load_library
from approxhw.backends.integer_engine.engine import IntegerArray
from approxhw.engine.integers.cost import EXACT_FORMS, IntegerElementCost, Tile, integer_element_cost
from approxhw.engine.integers.layers import layer_patterns, streams_of
from approxhw.frontends.products.partition import open_model
from approxhw.ir.graph import Graph, Node
from approxhw.ir.pass_manager import PassContext, run_passes
from approxhw.ir.tensor.integer_layers import integer_mac, integer_nodes, integer_op
from approxhw.ir.tensor.run import walk_tensors
from approxhw.numerics.mac.integer_mac import exact_products
from approxhw.numerics.multipliers.families import EXACT, own_operator

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "digits.onnx"
OPERATORS = (
    *("truncated-4", "truncated-4-corrected", "truncated-6", "truncated-7", "broken-array-6-2"),
    *("leading-3", "leading-4", "logarithmic", "logarithmic-balanced", "rounded"),
)
CLOCKS = (10.0, 5.0, 4.3)
ROWS, PIXELS = 150, 24
"""Rows of digits that give ranges, the first, and that go through the elements, the last; and the first pixel of the tile."""
LIBRARY = "sky130"


def main() -> None:
    """Measure every operator at every clock, print, and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two operators, the longest clock; nothing is written")
    given = parser.parse_args()
    operators, clocks = (OPERATORS[:2], CLOCKS[:1]) if given.quick else (OPERATORS, CLOCKS)
    array, tile = quantised_tile()
    cells, found = load_library(LIBRARY), dict[tuple[str, float], IntegerElementCost]()
    for operator in (*EXACT_FORMS, *operators):
        made = replace(array, mac=replace(array.mac, operator=operator))
        for clock in clocks:
            cost = integer_element_cost(made, operator, cells, clock, tile_for(made, operator, tile))
            found[operator, clock] = cost
            note(f"{operator}, {clock:g} ns: {cost.area_um2:.0f} µm², {cost.delay_ns:.2f} ns, {cost.made}")
    lines = report(found, operators, clocks, array, tile)
    if given.quick:
        note("\n".join(lines))
    else:
        write("integer_elements", lines)


def quantised_tile() -> tuple[IntegerArray, Tile]:
    """Return an array for the network's first product, and a tile of it: rows of digits by 16 of their 64 pixels."""
    from sklearn.datasets import load_digits

    images = load_digits().data
    opened = open_model(EXAMPLE, {"X": images[:ROWS].shape}, integers=True)

    def observe(graph: Graph, seen: Callable[[Node, np.ndarray], None]) -> None:
        walk_tensors(graph, {"X": images[:ROWS]}, opened.host, None, seen)

    graph, _ = run_passes(opened.graph, "quantize-model,integer-products", PassContext(observe=observe))
    node, values = integer_nodes(graph)[0], dict[str, np.ndarray]()
    walk_tensors(graph, {"X": images[-ROWS:]}, opened.host, None, lambda each, value: values.update({each.name: value}))
    mac, array = integer_mac(node), IntegerArray(mac=integer_mac(node))
    x, weights = layer_patterns(streams_of(graph, node, values, ROWS), mac)
    middle = slice(PIXELS, PIXELS + array.rows)
    return array, (integer_op(node).title, x[:, middle], weights[middle, : array.columns], exact_products(mac).products)


def tile_for(array: IntegerArray, operator: str, tile: Tile) -> Tile:
    """Return *tile* with the products of *operator*."""
    mac, own = array.mac, own_operator(operator)
    if operator == EXACT or own is None:
        return (*tile[:3], exact_products(mac).products)
    return (*tile[:3], own.table(mac.weight_bits, mac.x_bits, mac.signed).products)


def report(
    found: Mapping[tuple[str, float], IntegerElementCost],
    operators: tuple[str, ...],
    clocks: tuple[float, ...],
    array: IntegerArray,
    tile: Tile,
) -> list[str]:
    """Return the parts of the result file."""
    checked = sum(each.checked for each in found.values())
    name, x, weights, _ = tile
    one = found[EXACT, clocks[0]]
    parts = [
        "# Integer elements at equal clocks\n",
        command(),
        f"An element of {LIBRARY}: {array.mac.weight_bits} by {array.mac.x_bits} bits, sums of {array.mac.accumulator_bits}, "
        f"depth {array.depth}, mapped for each clock as",
        "`approxhw estimate` does: the reference recipe, else the smallest that two kinds of adders by five scripts give.",
        f"Power at that clock, on a tile of {len(x)} vectors, {len(weights)} × {weights.shape[1]}, of layer `{name}` of",
        f"`examples/digits.onnx` ({one.vectors:,} clocks). In brackets: beside the exact form that takes least at that clock, of",
        "area and of power. Of a circuit that misses the clock its delay is told, and nothing is compared with it.",
        f"{checked:,} sums of mapped netlists were compared with the reference, and all were equal. {machine()}\n",
    ]
    parts.append(table(["operator", *(f"{clock:g} ns" for clock in clocks)], [
        [f"`{operator}`", *(cell(found, operator, clock) for clock in clocks)] for operator in (*EXACT_FORMS, *operators)
    ]))  # fmt: skip
    parts += ["## How each was made\n", table(["operator", *(f"{clock:g} ns" for clock in clocks)], [
        [f"`{operator}`", *(made(found[operator, clock]) for clock in clocks)] for operator in (*EXACT_FORMS, *operators)
    ])]  # fmt: skip
    return parts


def cell(found: Mapping[tuple[str, float], IntegerElementCost], operator: str, clock: float) -> str:
    """Return area, power and delay of *operator* at *clock*, and what they are beside the exact ones."""
    own = found[operator, clock]
    if not own.met:
        return f"missed: {own.delay_ns:.2f} ns at {own.area_um2:.0f} µm²"
    exact = [found[form, clock] for form in EXACT_FORMS if found[form, clock].met]
    text = f"{own.area_um2:.0f} µm²"
    if operator in EXACT_FORMS or not exact:
        return f"{text}, {own.power_mw:.3f} mW, {own.delay_ns:.2f} ns"
    area, power = min(each.area_um2 for each in exact), min(each.power_mw for each in exact)
    return (
        f"{text} ({own.area_um2 / area - 1:+.1%}), {own.power_mw:.3f} mW ({own.power_mw / power - 1:+.1%}), "
        f"{own.delay_ns:.2f} ns"
    )


def made(cost: IntegerElementCost) -> str:
    """Return how the circuit was made, and of how many cells it is."""
    return f"{cost.made}, {cost.cells} cells"


if __name__ == "__main__":
    main()
