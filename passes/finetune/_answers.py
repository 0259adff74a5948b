"""What a trained model is held against: values of both models behind the same outputs, and how far they are apart."""

from __future__ import annotations

from dataclasses import dataclass

from approxhw.common.errors import PassError, Problem, shown
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import Constant
from approxhw.ir.kinds.tensor.ops import Feed, Host
from approxhw.numerics.formats import Float

from ._torch_model import PASS
from .operators.library import Tensor, torch

CLASSES, VALUES = "classes", "values"
HELD_TO = (CLASSES, VALUES)
"""Chances of classes behind an output, or the output's numbers themselves."""

_TAIL = ("ArgMax", "Cast", "Gather", "Identity", "LogSoftmax", "Sigmoid", "Softmax", "Squeeze", "Unsqueeze")
"""What may stand between the scores of classes and an output: none of it changes which is the largest."""

_FEATURES = ("LayerNormalization", "BatchNormalization")


@dataclass(frozen=True)
class Answer:
    """An output called ``title``: which value of the trained Graph is held against which one of the original."""

    title: str
    made: str
    meant: str


def answers_of(graph: Graph, original: Graph, held_to: str) -> tuple[Answer, ...]:
    """Return what outputs of *graph* are held to, one for all outputs that come of the same scores.

    Raises :class:`PassError` where no output is of real numbers, and none stands behind one that is.
    """
    behind = _scores_behind if held_to == CLASSES else lambda _, name: name
    found: dict[str, Answer] = {}
    meant = dict(original.results) or {"output": original.output}
    for title, name in graph.results or (("output", graph.output),):
        if title not in meant:
            continue
        made = behind(graph, name)
        if isinstance(graph[made].type.format, Float) and _is_of_rows(graph, made):
            found.setdefault(made, Answer(title, made, behind(original, meant[title])))
    if not found:
        why = "no output of it comes of scores that are real numbers, an entry for each row"
        raise PassError(PASS, [Problem("model", why, "give a model whose output is a score for each class")])
    return tuple(found.values())


def unheld_outputs(graph: Graph, answers: tuple[Answer, ...]) -> list[str]:
    """Return the outputs of *graph* that come of none of the values in *answers*."""
    held = {answer.made for answer in answers}
    return [title for title, name in graph.results if not held & _leading_to(graph, name)]


def _leading_to(graph: Graph, name: str) -> set[str]:
    found = {name}
    for node in reversed(graph.nodes):
        if node.name in found:
            found.update(node.inputs)
    return found


def _is_of_rows(graph: Graph, name: str) -> bool:
    """Whether the value *name* of *graph* has an entry for each row that is fed, and comes of what is fed."""
    fed = [graph[each] for each in _leading_to(graph, name) if isinstance(graph[each].op, Feed)]
    return graph[name].type.shape[:1] in {node.type.shape[:1] for node in fed}


def _scores_behind(graph: Graph, name: str) -> str:
    """Return the scores of classes that the value *name* comes of."""
    while True:
        node = graph[name]
        computed = [each for each in node.inputs if not isinstance(graph[each].op, Constant)]
        if not isinstance(node.op, Host) or set(node.op.operators) - set(_TAIL) or len(computed) != 1:
            return name
        if node.op.operators == ("Sigmoid",) and len(node.type.shape) > 1 and node.type.shape[-1] > 1:
            why = f"output {shown(name, 40)!r} says yes or no to several things at once, which are no classes of one"
            raise PassError(PASS, [Problem("model", why, "give held_to=values")])
        if node.op.operators == ("Gather",) and computed[0] == node.inputs[0]:
            return name  # it picks rows of scores, not names of classes
        name = computed[0]


def shared_features(graph: Graph, original: Graph, answers: tuple[Answer, ...]) -> tuple[str, ...]:
    """Return the names of norms that both Graphs have in the same shape: what goes on in between, where nothing left."""
    ends = {answer.made for answer in answers}
    known = original.by_name
    return tuple(
        node.name
        for node in graph.nodes
        if _is_feature(node)
        and node.name not in ends
        and node.name in known
        and known[node.name].type == node.type
        and _is_feature(known[node.name])
    )


def _is_feature(node: Node) -> bool:
    return isinstance(node.op, Host) and len(node.op.operators) == 1 and node.op.operators[0] in _FEATURES


def apart_in_classes(made: Tensor, meant: Tensor, temperature: float) -> Tensor:
    """Return the mean divergence of the chances that the scores *made* stand for from those of *meant*, times temperature².

    Scores are divided by *temperature* before; their last axis are classes. One score alone is held against 0. Source: Hinton,
    Vinyals, Dean, *Distilling the Knowledge in a Neural Network*, arXiv 1503.02531.
    """
    made, meant = (_rows_of_scores(each) / temperature for each in (made, meant))
    wanted = meant.log_softmax(1)
    lost = (wanted.exp() * (wanted - made.log_softmax(1))).sum(1).mean()
    return lost * temperature**2


def _rows_of_scores(scores: Tensor) -> Tensor:
    flat = scores.reshape(-1, scores.shape[-1]) if scores.ndim > 1 else scores.reshape(-1, 1)
    return torch().cat([torch().zeros_like(flat), flat], 1) if flat.shape[1] == 1 else flat


def apart_in_values(made: Tensor, meant: Tensor, spread: float) -> Tensor:
    """Return the mean squared error of *made* over *spread*, the variance of what is meant."""
    return (made - meant).square().mean() / spread


def wrong_of_labels(made: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of the scores *made* against class indices."""
    return torch().nn.functional.cross_entropy(_rows_of_scores(made), labels)


def label_problem(classes: int, least: int, most: int) -> Problem | None:
    """Return why labels from *least* to *most* cannot be learnt by so many *classes* of scores; None where they can."""
    classes = max(2, classes)
    if least >= 0 and most < classes:
        return None
    why = f"labels {least}…{most}, the model scores classes 0…{classes - 1}"
    return Problem("data", shown(why, 200), "give class indices, or labels=0 to learn from the original alone")
