"""Graphs of an integer engine in which one layer alone is approximated: its passes carried out again, for that layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from approxhw.ir.graph import Graph
from approxhw.ir.pass_manager import Pass, PassContext, run_passes
from approxhw.ir.tensor.integer_layers import integer_nodes, integer_op


def layers_alone(
    passes: Sequence[Pass], graphs: Sequence[Graph], context: PassContext
) -> tuple[Graph, list[tuple[str, Callable[[], Graph]]]]:
    """Return the Graph before any of *passes* approximates a layer, and of each layer its name and what approximates it alone.

    *graphs*: before any pass, and after each. What a pass does to all layers, such as moving biases by the errors that there
    are, it does to the one that has errors.
    """
    start = next((place for place, item in enumerate(passes) if of_layers(item)), len(passes))
    exact = graphs[start]

    def made(chosen: Sequence[Pass]) -> Graph:
        return run_passes(exact, chosen, context, check=False)[0]

    titles = [integer_op(node).title for node in integer_nodes(exact)]
    alone = [(title, layer_alone(passes[start:], number)) for number, title in enumerate(titles)]
    return exact, [(title, partial(made, chosen)) for title, chosen in alone if any(map(of_layers, chosen))]


def of_layers(item: Pass) -> bool:
    """Whether the pass *item* changes layers that are chosen by number, or all of them."""
    return hasattr(item, "layers") and (item.layers is None or isinstance(item.layers, tuple))


def layer_alone(passes: Sequence[Pass], number: int) -> tuple[Pass, ...]:
    """Return *passes* as they are for the layer of this *number* alone; those that choose other layers are left out."""
    made: list[Pass] = []
    for item in passes:
        if not of_layers(item):
            made.append(item)
        elif item.layers is None or float(number) in item.layers:  # type: ignore[attr-defined]  # it has layers
            made.append(replace(item, layers=(float(number),)))  # type: ignore[type-var]  # passes are dataclasses
    return tuple(made)
