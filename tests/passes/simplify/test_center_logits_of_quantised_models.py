"""center-logits takes what orders the logits of a quantised model below their unit into the last layer, and changes no class."""

import numpy as np

from approxhw.ir.interpreter import run
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.text import parse_graph
from approxhw.ir.verifier import verify
from approxhw.passes.simplify.center_logits import CenterLogits

TEXT = """axir 1
graph g
x : u3[2] = input {"features":["a","b"],"titles":["a","b"],"encoding":{"bits":3,"rule":"round","low":[0,0],"high":[7,7]}}
w : s4<2^-2>[3,2] = constant {"data":[[3,-2],[1,4],[-5,6]]}
b : s5<2^-2>[3] = constant {"data":[2,-7,9]}
sum : s8<2^-2>[3] = dense(x, w, b) {"arithmetic":"exact<4>"}
scores : s10<2^-3>[3] = requantize(sum) {"multiplier":[2],"shift":0,"offset":[1,0,-1],"low":-512,"high":511}
class_index : u2[] = argmax(scores)
output class_index
"""
CODES = np.stack(np.meshgrid(range(8), range(8)), axis=-1).reshape(-1, 2)


def changed(text):
    graph = parse_graph(text)
    verify(graph)
    made = CenterLogits()(graph, PassContext())
    verify(made)
    assert run(made, CODES).tolist() == run(graph, CODES).tolist()
    return made


def test_an_order_below_the_unit_goes_into_weights_and_biases():
    made = changed(TEXT)
    assert [node.kind for node in made.nodes] == ["input", "constant", "constant", "dense", "argmax"]
    assert str(made["w"].type.format.scale) == "1/8"
    assert (made.constant("w") % 2 == 0).all()


def test_what_is_more_than_a_shift_stays():
    for old, new in (
        ('"multiplier":[2]', '"multiplier":[3]'),
        ('"multiplier":[2]', '"multiplier":[2,2,4]'),
        ('"shift":0', '"shift":1'),
        ('"low":-512', '"low":-3'),
    ):
        assert old in TEXT
        made = changed(TEXT.replace(old, new))
        assert "requantize" in [node.kind for node in made.nodes]


def test_scores_that_are_read_twice_stay():
    text = TEXT.replace(
        "class_index : u2[] = argmax(scores)", "more : s10<2^-3>[3] = relu(scores)\nclass_index : u2[] = argmax(more)"
    )
    graph = parse_graph(text.replace("s10<2^-3>[3] = relu", "u9<2^-3>[3] = relu"))
    assert CenterLogits()(graph, PassContext()) == graph
