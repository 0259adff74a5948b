"""The walk over a chain of layers."""

from approxhw.ir.chain import feeds_layers, is_activation, is_decision, unshaped, walk
from approxhw.ir.random_graphs import random_graph
from approxhw.ir.text import parse_graph

TEXT = """axir 1
graph two
x : u2[2] = input {"features":["a","b"],"titles":["a","b"],"encoding":{"bits":2,"rule":"round",\
"low":[0,0],"high":[1,1]}}
c : u2[2] = clip(x) {"low":1,"high":null}
w : s2[2,2] = constant {"data":[[1,-1],[0,1]]}
b : s2[2] = constant {"data":[0,1]}
s : s5[2] = dense(c, w, b) {"arithmetic":"exact<2>"}
l : s5[2] = leakyrelu(s) {"alpha":"1/4"}
q : u3[2] = requantize(l) {"multiplier":[1],"shift":0,"offset":[0],"low":0,"high":7}
f : u3[1,2] = reshape(q)
g : u3[2] = reshape(f)
t : s7[2] = dense(g, w, b) {"arithmetic":"exact<2>"}
y : u1[] = argmax(t)
output y
"""


def names(nodes):
    return [node.name for node in nodes]


def test_layers_from_the_input_on_with_what_follows_each():
    passed = walk(parse_graph(TEXT))
    assert [(stretch.dense.name, names(stretch.following)) for stretch in passed.stretches] == [
        ("s", ["l", "q"]),
        ("t", []),
    ]
    assert names(passed.path) == ["t", "g", "f", "q", "l", "s", "c"]
    assert (passed.head.name, passed.start.name, names(passed.before), passed.strangers) == ("y", "x", ["c"], ())


def test_what_is_no_layer_is_named():
    graph = parse_graph(TEXT.replace('l : s5[2] = leakyrelu(s) {"alpha":"1/4"}', "l : u1[] = argmax(s)"))
    passed = walk(graph)
    assert names(passed.strangers) == ["l"]
    assert names(passed.stretches[0].following) == ["l", "q"]


def test_a_circle_ends_the_walk():
    assert names(walk(parse_graph(TEXT.replace("= dense(c, w", "= dense(t, w"))).path) == ["t", "g", "f", "q", "l", "s"]


def test_readers_and_sources_through_reshapes():
    graph = parse_graph(TEXT)
    assert unshaped(graph, "g").name == "q"
    assert feeds_layers(graph, graph["q"])
    assert feeds_layers(graph, graph["c"])
    assert not feeds_layers(graph, graph["l"])
    assert not feeds_layers(graph, graph["y"])
    assert names(filter(is_activation, graph.nodes)) == ["c", "l", "q"]
    assert names(filter(is_decision, graph.nodes)) == ["y"]


def test_the_walk_passes_every_layer_of_a_random_graph():
    for seed in range(100):
        graph = random_graph(seed)
        layers = [node.name for node in graph.nodes if node.kind == "dense"]
        passed = walk(graph)
        if any(
            node.kind in ("add", "concat") for node in graph.nodes
        ):  # branches: whoever needs a chain sees that there is none
            assert {"add", "concat"} & {node.kind for node in passed.strangers}, seed
            continue
        assert [stretch.dense.name for stretch in passed.stretches] == layers
