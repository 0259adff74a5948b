"""The pass that moves weight and bias codes so that the circuit says what the float model says, with fewer digits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem, shown
from approxhw.ir.chain import compares_values, walk
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph, Node, Op, kind_of
from approxhw.ir.interpreter import activated, run_all
from approxhw.ir.kinds import Dense, Threshold, dense_sums
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import code_constant, fit_formats
from approxhw.numerics.formats import Fixed, Float
from approxhw.numerics.mac.arithmetic import Exact

_EXACT_IN_FLOAT = 1 << 52
_STEPS = (1, 2, 4)
_MOST_WORK = 1_300_000
"""Most codes × rows: a few seconds a sweep. Larger networks are tried on fewer rows, and not at all on too few."""

_FEWEST_ROWS = 500
_LEAST_GAIN = 1e-4
"""Gain, in nats over all rows, below which a difference may be rounding."""


@dataclass(frozen=True)
class CalibrateWeights:
    """Move weight and bias codes step by step where that brings the outputs on training rows nearer to the float model's.

    Coordinate descent on the cross-entropy between the class probabilities of the float model and of the integer Graph
    (*target* ``model``; no label is looked at), or of the labels (``labels``, and where there is no float model), on at
    most *rows* training rows. A move has to gain at least *gain* nats over all of them, or to save signed digits that are
    worth more at *digit_cost* nats each than what it loses. Weights keep their width; test rows are never looked at.
    Without training rows, and where the Graph is no chain of layers, nothing changes.
    """

    kind: ClassVar[str] = "approximating"

    target: str = field(default="model", metadata={"help": "model (the float model's own outputs) or labels"})
    sweeps: int = field(default=6, metadata={"help": "most sweeps over all weights, 1 to 100"})
    rows: int = field(default=2000, metadata={"help": "most training rows that are looked at, 1 or more"})
    gain: float = field(default=0.1, metadata={"help": "nats over all rows that a move has to gain"})
    digit_cost: float = field(default=0.0, metadata={"help": "nats over all rows that one signed digit is worth"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        found = []
        if self.target not in ("model", "labels"):
            found.append(Problem("calibrate-weights.target", f"{shown(self.target)} is neither model nor labels"))
        if not 1 <= self.sweeps <= 100:
            found.append(Problem("calibrate-weights.sweeps", f"{self.sweeps} is not in 1…100"))
        if self.rows < 1:
            found.append(Problem("calibrate-weights.rows", f"{self.rows} is less than 1"))
        for name, value in (("gain", self.gain), ("digit_cost", self.digit_cost)):
            if not 0 <= value <= 1000:
                found.append(Problem(f"calibrate-weights.{name}", f"{value} is not in 0…1000"))
        if found:
            raise OptionError("calibrate-weights", found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return *graph* with other weight and bias codes; scales and widths are what they were."""
        if not graph.is_integer:
            why = "only an integer Graph has codes to move"
            raise PassError("pass calibrate-weights", [Problem(graph.name, why, "run quantize-weights before")])
        if context.model is not None and context.model.is_integer:
            context.note("the model is quantised already: its own integers are moved, towards the labels")
        layers = _chain(graph)
        if context.data is None or not len(context.data.X_train) or not layers:
            context.note("no training rows: nothing changed" if layers else "no chain of layers: nothing changed")
            return graph
        total = len(context.data.X_train)
        count = min(self.rows, total, _MOST_WORK // sum(layer.weights.size + layer.bias.size for layer in layers))
        if count < min(self.rows, total, _FEWEST_ROWS):
            context.note("more weights than can be tried in reasonable time: nothing changed")
            return graph
        chosen = np.unique(np.linspace(0, total - 1, count).astype(np.int64))
        codes, labels = codes_of(graph, context.data.X_train[chosen]), context.data.y_train[chosen]
        if not _reach_is_exact(graph, layers) or labels.max() >= graph.classes:
            context.note("sums too wide, or labels beyond the classes: nothing changed")
            return graph
        head = graph[graph.output].op
        threshold = head.threshold if isinstance(head, Threshold) else None
        shares = _shares_of_model(context.model, context.data.X_train[chosen]) if self.target == "model" else None
        if shares is None:
            shares = np.eye(graph.classes)[labels]
        search = _Search(layers, codes, shares, threshold, self)
        before, moved = search.loss, 0
        for _ in range(self.sweeps):
            changed = search.sweep()
            moved += changed
            if not changed:
                break
        context.note(f"{moved} moves; loss on {len(chosen)} training rows {before:.4f} became {search.loss:.4f}")
        return _with_layers(graph, layers) if moved else graph


def _shares_of_model(model: Graph | None, readings: np.ndarray) -> np.ndarray | None:
    """Return the class probabilities (rows × classes) of the float *model* for *readings*; None where it has none."""
    if model is None:
        return None
    head = model[model.output]
    logits = model[head.inputs[0]]
    if not isinstance(logits.type.format, Float) or not compares_values(head):
        return None
    values = run_all(model, codes_of(model, readings))[logits.name].reshape(len(readings), -1)
    if isinstance(head.op, Threshold):
        share = 1 / (1 + np.exp(-np.clip(values[:, 0] - head.op.threshold, -500, 500)))
        return np.stack([1 - share, share], axis=1)
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


@dataclass
class _Layer:
    """One ``Dense`` and what follows it, element by element. Codes are whole float64 numbers: exact, and fast."""

    node: Node
    weights: np.ndarray
    bias: np.ndarray
    low: int
    high: int
    activations: tuple[Op, ...]
    single: tuple[tuple[Op, ...], ...]
    """The same for each neuron alone."""
    scale: float

    def activate(self, sums: np.ndarray, column: int | None = None) -> np.ndarray:
        """Return the outputs for *sums* (rows × neurons, or the rows of one *column*)."""
        for op in self.activations if column is None else self.single[column]:
            sums = activated(op, sums)
        return sums


def _chain(graph: Graph) -> list[_Layer]:
    """Return the layers of *graph* where it is one chain of exact layers from the Input to the head, else none."""
    passed = walk(graph)
    shared = any(len(graph.readers(node.name)) != 1 for node in passed.path)
    if (
        not compares_values(passed.head)
        or shared
        or passed.strangers
        or passed.before
        or passed.start is not graph.input
    ):
        return []
    layers: list[_Layer] = []
    for stretch in passed.stretches:
        dense = stretch.dense
        fmt, op = dense.type.format, dense.op
        shared = any(len(graph.readers(name)) != 1 for name in dense.inputs[1:])
        if shared or not isinstance(op, Dense) or not isinstance(op.arithmetic, Exact) or not isinstance(fmt, Fixed):
            return []
        weights, bias = (graph.constant(name).astype(np.float64) for name in dense.inputs[1:])
        reach = 1 << (op.arithmetic.bits - 1)
        ops = tuple(node.op for node in stretch.following)
        single = tuple(tuple(kind_of(op).some(op, np.array([o])) for op in ops) for o in range(len(bias)))
        layers.append(_Layer(dense, weights, bias, -reach, reach - 1, ops, single, float(fmt.scale)))
    return layers


def _reach_is_exact(graph: Graph, layers: list[_Layer]) -> bool:
    """Whether every sum that any weights of these widths can make is exact in float64."""
    fmt = graph.input.type.format
    assert isinstance(fmt, Fixed)
    reach = max(abs(fmt.low), fmt.high)
    for layer in layers:
        # biases move too: by steps that are far smaller than the sums
        reach = 2 * (layer.weights.shape[1] * -layer.low * reach + int(np.abs(layer.bias).max()))
        for op in layer.activations:
            if kind_of(op).widest(op, reach) >= _EXACT_IN_FLOAT:
                return False
            if not kind_of(op).monotone:
                reach = kind_of(op).widest(op, reach)
                continue
            reach = max(abs(int(end)) for end in activated(op, np.array([-reach, reach], dtype=object)[:, None]).flat)
        if reach >= _EXACT_IN_FLOAT:
            return False
    return True


class _Search:
    """Sums and outputs of every layer for all rows, and the loss that one change of a code would give."""

    def __init__(
        self,
        layers: list[_Layer],
        codes: np.ndarray,
        shares: np.ndarray,
        threshold: int | None,
        options: CalibrateWeights,
    ) -> None:
        self.layers, self.shares, self.threshold, self.options = layers, shares, threshold, options
        self.inputs: list[np.ndarray] = [codes.astype(np.float64)] + [np.empty(0)] * (len(layers) - 1)
        self.sums: list[np.ndarray] = [np.empty(0)] * len(layers)
        self.rows = np.arange(len(shares))
        self._refresh(0, dense_sums(self.inputs[0], layers[0].weights, layers[0].bias))
        # a Graph with scales of its own has real logits; another one gets the temperature that suits it best
        scales = [layers[-1].scale * 2.0**k for k in range(-24, 7)]
        losses = []
        for self.scale in scales:
            losses.append(float(self._losses(self.sums[-1], self.shares).mean()))
        self.scale = scales[int(np.argmin(losses))]
        self._settle()

    def _settle(self) -> None:
        """Take the loss of every row as it is now."""
        self.row_losses = self._losses(self.sums[-1], self.shares)
        self.loss = float(self.row_losses.mean())

    def _refresh(self, start: int, sums: np.ndarray) -> None:
        """Take *sums* of layer *start*, and work out everything behind it."""
        self.sums[start] = sums
        for k in range(start + 1, len(self.layers)):
            self.inputs[k] = self.layers[k - 1].activate(self.sums[k - 1])
            self.sums[k] = dense_sums(self.inputs[k], self.layers[k].weights, self.layers[k].bias)

    def _losses(self, sums: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """Return the cross-entropy, in nats, of the wanted *shares* of the classes for each row of *sums* of the last layer."""
        # classes × rows: NumPy reduces over a short last axis several times slower than over the first one
        logits = np.multiply(self.layers[-1].activate(sums).T, self.scale, order="C")
        if self.threshold is not None:
            margin = logits[0] - (self.threshold + 0.5) * self.scale
            return shares[:, 1] * np.logaddexp(0, -margin) + shares[:, 0] * np.logaddexp(0, margin)
        logits -= logits.max(axis=0)
        wanted = np.einsum("ji,ij->i", logits, shares)
        losses: np.ndarray = np.log(np.exp(logits, out=logits).sum(axis=0)) - wanted
        return losses

    def _loss_with(self, k: int, o: int, column: np.ndarray) -> float:
        """Return the loss where neuron *o* of layer *k* had *column* as its sums."""
        if k == len(self.layers) - 1:
            sums = self.sums[k].copy()
            sums[:, o] = column
            return float(self._losses(sums, self.shares).mean())
        change = self.layers[k].activate(column, o) - self.inputs[k + 1][:, o]
        moved = np.flatnonzero(change)  # the other rows keep their loss
        if not len(moved):
            return self.loss
        sums = self.sums[k + 1][moved] + change[moved, None] * self.layers[k + 1].weights[:, o]
        for layer, after in zip(self.layers[k + 1 :], self.layers[k + 2 :]):
            sums = dense_sums(layer.activate(sums), after.weights, after.bias)
        difference = self._losses(sums, self.shares[moved]) - self.row_losses[moved]
        return self.loss + float(difference.sum()) / len(self.rows)

    def sweep(self) -> int:
        """Try to move every bias and weight once; return how many moved."""
        return sum(self._sweep_neuron(k, o) for k, layer in enumerate(self.layers) for o in range(len(layer.bias)))

    def _sweep_neuron(self, k: int, o: int) -> int:
        layer, moved = self.layers[k], 0
        unit = max(1.0, np.floor(np.std(self.sums[k][:, o]) / 64))
        slopes = self._gradient(k)[:, o]
        for j in range(-1, layer.weights.shape[1]):
            x = 1.0 if j < 0 else self.inputs[k][:, j]
            if j >= 0 and not np.any(x):
                continue
            old = layer.bias[o] if j < 0 else layer.weights[o, j]
            steps = [unit * step for step in (1, 4, 16)] if j < 0 else [*map(float, _STEPS)]
            downhill = -float(np.sign(np.dot(slopes, np.broadcast_to(x, slopes.shape))))
            for new in self._candidates(old, steps, downhill, j >= 0):
                if j >= 0 and not layer.low <= new <= layer.high:
                    continue
                column = self.sums[k][:, o] + (new - old) * x
                saved = _digits(old) - _digits(new) if j >= 0 else 0
                gained = (self.loss - self._loss_with(k, o, column)) * len(self.rows)
                wanted = _LEAST_GAIN if saved > 0 and self.options.digit_cost else max(self.options.gain, _LEAST_GAIN)
                if gained + self.options.digit_cost * saved > wanted:
                    if j < 0:
                        layer.bias[o] = new
                    else:
                        layer.weights[o, j] = new
                    sums = self.sums[k]
                    sums[:, o] = column
                    self._refresh(k, sums)
                    self._settle()
                    moved += 1
                    break
        return moved

    def _gradient(self, k: int) -> np.ndarray:
        """Return how the loss of each row moves with the sums of layer *k* (rows × neurons), in some unit."""
        last, stack = len(self.layers) - 1, []
        for layer, sums in zip(self.layers[k:], self.sums[k:]):
            slope, value = np.ones_like(sums), sums
            for op in layer.activations:
                before, value = value, activated(op, value)
                slope = slope * kind_of(op).slope(op, before, value)
            stack.append((slope, value))
        logits = stack[-1][1] * self.scale
        if self.threshold is not None:
            margin = np.clip(logits - (self.threshold + 0.5) * self.scale, -500, 500)
            gradient = 1 / (1 + np.exp(-margin)) - self.shares[:, 1:]
        else:
            gradient = np.exp(logits - logits.max(axis=1, keepdims=True))
            gradient /= gradient.sum(axis=1, keepdims=True)
            gradient -= self.shares
        gradient = gradient * stack[-1][0]
        for i in range(last - 1, k - 1, -1):
            gradient = (gradient @ self.layers[i + 1].weights) * stack[i - k][0]
        return gradient

    def _candidates(self, old: float, steps: list[float], downhill: float, is_weight: bool) -> list[float]:
        near = [old + downhill * step for step in steps] if downhill else []
        if is_weight and self.options.digit_cost:  # a step uphill may pay for itself in digits
            near += [old - downhill, old + 2 * downhill]
        return [0.0, *near] if is_weight and self.options.digit_cost and old else near


def _digits(code: float) -> int:
    value = abs(int(code))
    return (3 * value ^ value).bit_count()


def _with_layers(graph: Graph, layers: list[_Layer]) -> Graph:
    """Return *graph* with the codes that *layers* hold now, in formats that hold them."""
    fresh: dict[str, Node] = {}
    for layer in layers:
        for name, data in zip(layer.node.inputs[1:], (layer.weights, layer.bias)):
            fmt = graph[name].type.format
            assert isinstance(fmt, Fixed)
            fresh[name] = code_constant(name, data.astype(np.int64), fmt.scale, origin=graph[name].origin)
    return fit_formats(replace(graph, nodes=tuple(fresh.get(node.name, node) for node in graph.nodes)))
