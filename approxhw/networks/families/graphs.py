"""Graphs of what learners made: trees, or gates, in the place of whatever names the classes of a Graph."""

from __future__ import annotations

from dataclasses import replace

from approxhw.ir.graph import Graph, Node, without_unread
from approxhw.ir.kinds import ArgMax, Forest, Gates, Type
from approxhw.ir.rewriting import fit_formats, fresh_name
from approxhw.networks.trees.gates.trimmed import TrimmedTree
from approxhw.networks.trees.scored import ScoredTrees
from approxhw.numerics.formats import Fixed


def forest_graph(graph: Graph, trees: Forest) -> Graph:
    """Return *graph* with *trees* on its Input's codes, and the class of the greatest sum, in place of what it computes."""
    name = fresh_name(graph, "tree_votes" if len(trees.roots) == 1 else "forest_sums")
    return _named(graph, (_sums(name, trees, graph.input.name),))


def scored_graph(graph: Graph, made: ScoredTrees) -> Graph:
    """Return *graph* with the score of *made* on its Input's codes, and its table, in place of what it computes."""
    score = _sums(fresh_name(graph, "score"), made.trees, graph.input.name)
    return _named(graph, (score, _sums(fresh_name(graph, "score_votes"), made.table, score.name)))


def trimmed_graph(graph: Graph, made: TrimmedTree) -> Graph:
    """Return *graph* with the gates of *made* on its Input's codes in place of what it computes."""
    head, gates = graph[graph.output], Gates(made.gates, made.bits, made.classes)
    node = Node(graph.output, gates, (graph.input.name,), Type((), Fixed(made.width)), head.origin)
    return without_unread(replace(graph, nodes=(graph.input, node)))


def _sums(name: str, trees: Forest, read: str) -> Node:
    return Node(name, trees, (read,), Type((trees.classes,), Fixed(64, signed=True)))


def _named(graph: Graph, nodes: tuple[Node, ...]) -> Graph:
    """Return *graph* of its Input, *nodes*, and the class of the greatest value of the last of them."""
    bits = max(1, (nodes[-1].type.elements - 1).bit_length())
    output = Node(graph.output, ArgMax(), (nodes[-1].name,), Type((), Fixed(bits)), graph[graph.output].origin)
    return fit_formats(without_unread(replace(graph, nodes=(graph.input, *nodes, output))))
