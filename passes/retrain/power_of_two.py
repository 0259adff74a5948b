"""The pass that turns weights into 0 or ±2^k and retrains them as the integer network that the circuit will be."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from approxhw.common.errors import OptionError, PassError, Problem, shown
from approxhw.ir.evaluation import codes_of
from approxhw.ir.graph import Graph, Node
from approxhw.ir.kinds import ArgMax, Constant, Dense, Requantize, Threshold, Type
from approxhw.ir.pass_manager import PassContext
from approxhw.ir.rewriting import code_constant, fit_formats, fresh_name
from approxhw.networks.chain import Chain, read_chain
from approxhw.networks.initial_weights import RealLayer, products, random_layers, start_from, widened_layers
from approxhw.networks.retrain import Settings, better_first, genome_of, retrain, train_starts
from approxhw.networks.space import Space, decode_genome, encode_genome, make_space, space_of
from approxhw.numerics.formats import Fixed
from approxhw.numerics.mac.arithmetic import MaskedPowerOfTwo

STARTS = ("model", "scratch")
_WIDE = 4000
_WIDEST = 16
"""Neurons of a layer to which ``widen`` goes: beyond that a layer of the model has enough."""

_WORK = 150_000_000
"""Weights × rows × epochs of one start where no number of epochs is given: about half a second."""

_STEPS = 20_000
"""Most steps of one start where no number of epochs is given: few rows are looked at the more often."""

_FEWEST_EPOCHS, _MOST_EPOCHS = 20, 1000


@dataclass(frozen=True)
class PowerOfTwo:
    """Turn weights into 0 or ±2^k, biases into integers and hidden activations into QReLU, and retrain them as such.

    Training sees exactly what the circuit computes: nearest powers of two, whole biases, dropped low bits and saturation;
    slopes pass straight through them (Adam on cross-entropy). Of *starts* trainings the one with the fewest errors on training
    rows is taken. Two classes become one logit. Without training rows, weights are only rounded. A Graph of masked powers
    of two is retrained with its masks.
    """

    kind: ClassVar[str] = "approximating"

    exponents: int = field(default=8, metadata={"help": "how many exponents a weight may have: k is 0 to this less 1"})
    hidden_bits: int = field(default=8, metadata={"help": "width of a hidden activation, 1 to 16"})
    hidden: tuple[float, ...] | None = field(
        default=None, metadata={"help": "neurons of each hidden layer, no fewer than the model has; none: as many"}
    )
    widen: float = field(
        default=1.0, metadata={"help": "times the neurons of hidden layers, to at most 16 of them; 1 to 16"}
    )
    epochs: int | None = field(default=None, metadata={"help": "sweeps over the training rows; none: by the size"})
    batch: int = field(default=64, metadata={"help": "rows a step, 1 to 4096"})
    rate: float = field(default=0.02, metadata={"help": "first step of a weight, as a share of the greatest weight"})
    l1: float = field(default=0.001, metadata={"help": "pull of every weight towards 0"})
    jitter: float = field(default=0.2, metadata={"help": "probability that an input code is off by one in training"})
    settle: bool = field(
        default=True, metadata={"help": "weights settle on powers of two one by one; false: all are rounded throughout"}
    )
    starts: int = field(default=3, metadata={"help": "trainings of which the best is taken, 1 to 1000"})
    start: str = field(default="model", metadata={"help": "model (its weights) or scratch (random ones)"})
    one_logit: bool = field(default=True, metadata={"help": "two classes become the sign of one sum"})
    seed: int = field(default=1, metadata={"help": "seed of everything random"})

    def __post_init__(self) -> None:
        """Refuse options out of reach."""
        found = []
        for name, low, high in (
            ("exponents", 1, 16),
            ("hidden_bits", 1, 16),
            ("epochs", 0, 1_000_000),
            ("batch", 1, 4096),
            ("starts", 1, 1000),
            ("seed", 0, (1 << 31) - 1),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                found.append(Problem(f"power-of-two.{name}", f"{value} is not in {low}…{high}"))
        if not 1 <= self.widen <= 16:
            found.append(Problem("power-of-two.widen", f"{self.widen} is not in 1…16"))
        for name, most in (("rate", 1.0), ("l1", 1.0), ("jitter", 1.0)):
            if not 0 <= getattr(self, name) <= most:
                found.append(Problem(f"power-of-two.{name}", f"{getattr(self, name)} is not in 0…{most:g}"))
        if self.hidden is not None and not all(value == int(value) and 1 <= value <= 4096 for value in self.hidden):
            sizes = ":".join(f"{value:g}" for value in self.hidden)
            found.append(Problem("power-of-two.hidden", f"{sizes} are not whole numbers in 1…4096"))
        if self.start not in STARTS:
            found.append(Problem("power-of-two.start", f"{shown(self.start)} is neither model nor scratch"))
        if found:
            raise OptionError("power-of-two", found)

    def __call__(self, graph: Graph, context: PassContext) -> Graph:
        """Return an integer Graph of the masked form, every mask full."""
        masked = any(isinstance(n.op, Dense) and isinstance(n.op.arithmetic, MaskedPowerOfTwo) for n in graph.nodes)
        if masked:
            return self._again(graph, context)
        chain, found = read_chain(graph)
        if chain is None:
            raise PassError("pass power-of-two", found)
        hidden = self._hidden(chain)
        for note in chain.notes:
            context.note(note)
        layers = self._merged(chain)
        rows, labels = _rows(graph, context)
        constant = _constant_features(rows, context)
        layers[0] = _without(layers[0], rows, constant)
        fmt = graph.input.type.format
        assert isinstance(fmt, Fixed)
        space = make_space(
            (graph.input.type.elements, *hidden, len(layers[-1].bias)),
            input_bits=fmt.bits,
            exponent=self.exponents - 1,
            hidden_bits=self.hidden_bits,
            threshold=len(layers[-1].bias) == 1,
        )
        if self.start == "scratch" and not len(rows):
            why = "random weights cannot be trained without training rows"
            raise PassError("pass power-of-two", [Problem("start", why, "give data, or start=model")])
        genome = _full(space)
        space.layer_genes(genome[None], 0).masks[:, :, constant] = 0  # jitter must not bring them back
        if not len(rows) or len(np.unique(labels)) < 2:
            why = "no training rows" if not len(rows) else "training rows of one class only"
            context.note(f"{why}: weights were rounded to the nearest power of two, and not trained")
            layers = widened_layers(layers, hidden, self.seed)
            latent, shifts, _ = start_from(layers, space, rows if len(rows) else None, None)
            return _graph_of(graph, chain, space, genome_of(space, genome, latent, shifts))
        starts = []
        for number in range(self.starts):
            seed = self.seed + 7919 * number
            real = random_layers(space, rows, seed) if self.start == "scratch" else widened_layers(layers, hidden, seed)
            starts.append(start_from(real, space, rows, labels, seed if number and self.start == "model" else None))
        settings = self._settings(space, len(rows))
        result = train_starts(space, np.repeat(genome[None], len(starts), axis=0), starts, rows, labels, settings)
        best = int(better_first(result, settings.keep)[0])
        context.note(
            f"start {best} of {len(starts)} was best: {len(rows) - int(result.errors[best])} of {len(rows)} training rows right "
            f"after epoch {result.epochs[best]} of {settings.epochs}"
        )
        return _graph_of(graph, chain, space, result.genomes[best])

    def _again(self, graph: Graph, context: PassContext) -> Graph:
        """Retrain a Graph of the masked form; masks stay."""
        space = space_of(graph)
        rows, labels = _rows(graph, context)
        if not len(rows) or len(np.unique(labels)) < 2:
            context.note("weights are powers of two already, and there are no rows of two classes to train on")
            return graph
        settings = self._settings(space, len(rows))
        genomes = np.repeat(encode_genome(space, graph)[None], self.starts, axis=0)
        result = retrain(space, genomes, rows, labels, settings)
        best = int(better_first(result, settings.keep)[0])
        if result.epochs[best] == 0:
            context.note("retraining found no fewer errors: nothing changed")
            return graph
        right = len(rows) - int(result.errors[best])
        context.note(f"retrained with its masks: {right} of {len(rows)} training rows right")
        return decode_genome(space, result.genomes[best], graph)

    def _settings(self, space: Space, rows: int) -> Settings:
        weights = sum(layer.inputs * layer.outputs for layer in space.layers)
        most = min(_WORK // (weights * rows), _STEPS // -(-rows // self.batch))
        epochs = min(max(most, _FEWEST_EPOCHS), _MOST_EPOCHS) if self.epochs is None else self.epochs
        chosen = Settings(
            epochs=epochs, batch=self.batch, rate=self.rate, l1=self.l1, jitter=self.jitter, seed=self.seed
        )
        return chosen if self.settle else replace(chosen, settle=(0.0, 0.0))

    def _hidden(self, chain: Chain) -> list[int]:
        """Return the number of neurons that each hidden layer is to have."""
        there = [len(layer.bias) for layer in chain.layers[:-1]]
        if self.hidden is None:
            return [max(size, min(math.ceil(size * self.widen), _WIDEST)) for size in there]
        wanted = [int(value) for value in self.hidden]
        if len(wanted) != len(there) or any(a < b for a, b in zip(wanted, there)):
            why = f"hidden layers of {wanted} neurons for a model that has {there}"
            remedy = "give one number a hidden layer, none less than the model's"
            raise PassError("pass power-of-two", [Problem("hidden", why, remedy)])
        return wanted

    def _merged(self, chain: Chain) -> list[RealLayer]:
        """Return the layers, those of a threshold with it in the bias; two logits as their difference, where wanted."""
        layers, op = list(chain.layers), chain.head.op
        weights, bias = layers[-1].weights, layers[-1].bias
        if isinstance(op, Threshold):
            layers[-1] = RealLayer(weights, bias - float(op.threshold))
        elif len(bias) == 2 and self.one_logit:
            layers[-1] = RealLayer(weights[1:] - weights[:1], bias[1:] - bias[:1])
        return layers


def _rows(graph: Graph, context: PassContext) -> tuple[np.ndarray, np.ndarray]:
    """Return codes (rows × features) and labels of the training rows; none where there is no data."""
    features = graph.input.type.elements
    if context.data is None or not len(context.data.X_train):
        return np.zeros((0, features), np.int64), np.zeros(0, np.int64)
    readings, labels = context.data.X_train, context.data.y_train
    if readings.shape[1] != features:
        why = f"the model reads {features} features, the data has {readings.shape[1]}"
        raise PassError("pass power-of-two", [Problem("data", why)])
    if int(labels.min()) < 0 or int(labels.max()) >= graph.classes:
        why = f"labels {int(labels.min())}…{int(labels.max())}, the model names classes 0…{graph.classes - 1}"
        raise PassError("pass power-of-two", [Problem("data", why)])
    missing = sorted(set(range(graph.classes)) - set(labels.tolist()))
    if missing:
        context.note(f"no training row is of class {', '.join(map(str, missing[:10]))}")
    return codes_of(graph, readings).reshape(len(readings), features), labels


def _constant_features(rows: np.ndarray, context: PassContext) -> np.ndarray:
    """Return which features have one code in all *rows* (bool): nothing is to be learnt from them."""
    if not len(rows):
        return np.zeros(rows.shape[1], dtype=bool)
    constant: np.ndarray = rows.min(axis=0) == rows.max(axis=0)
    if constant.any():
        context.note(f"{int(constant.sum())} features have one code in all training rows, and are read no longer")
    return constant


def _without(layer: RealLayer, rows: np.ndarray, constant: np.ndarray) -> RealLayer:
    """Return *layer* where it does not read what is *constant*; what that added is in the biases."""
    if not constant.any():
        return layer
    bias = layer.bias + products(layer.weights[:, constant], rows[0, constant])
    return RealLayer(np.where(constant, 0.0, layer.weights), bias)


def _full(space: Space) -> np.ndarray:
    """Return the genome (int32, G) whose masks and comparators are full, and all else 0."""
    genomes = np.zeros((1, space.genes), np.int32)
    for index, layer in enumerate(space.layers):
        space.layer_genes(genomes, index).masks[:] = (1 << layer.input_bits) - 1
    comparators = space.comparators(genomes)
    comparators[:] = space.upper[len(space.upper) - comparators.shape[1] :]
    return genomes[0]


def _graph_of(graph: Graph, chain: Chain, space: Space, genome: np.ndarray) -> Graph:
    """Return the Graph of *genome*, its Nodes named after those of *graph*. All masks are full, also those of a weight 0."""
    genomes, nodes = genome[None].astype(np.int64), [graph.input]
    x, used = graph.input, set[str]()
    fmt = x.type.format
    assert isinstance(fmt, Fixed)
    if x.type.shape != (space.features,):
        raise PassError("pass power-of-two", [Problem(x.name, f"rows of shape {list(x.type.shape)} are not flat")])
    for index, (layer, dense) in enumerate(zip(space.layers, chain.dense)):
        genes = space.layer_genes(genomes, index)
        weights = np.where(genes.masks[0] != 0, (1 - 2 * genes.signs[0]) << genes.exponents[0], 0)
        w, b = (graph[name] for name in dense.inputs[1:3])
        # layers may have shared a constant; they do so no longer
        names = [name if name not in used else fresh_name(graph, name, used) for name in (w.name, b.name)]
        names.append(fresh_name(graph, f"{dense.name}_mask", used))
        used.update(names)
        shape, scale = weights.shape, fmt.scale
        full = np.full(shape, (1 << layer.input_bits) - 1, np.int64)
        nodes += [
            code_constant(names[0], weights, origin=w.origin),
            code_constant(names[1], genes.biases[0], scale, origin=b.origin),
            Node(names[2], Constant(full), (), Type(shape, Fixed(layer.input_bits))),
            Node(
                dense.name,
                Dense(MaskedPowerOfTwo(layer.exponent)),
                (x.name, *names),
                Type(shape[:1], Fixed(_WIDE, True, scale)),
                dense.origin,
            ),
        ]
        x = nodes[-1]
        if genes.shift is not None:
            old = graph[chain.activations[index]]
            cut = Requantize((1,), int(genes.shift[0]), (0,), 0, (1 << layer.hidden_bits) - 1)
            fmt = Fixed(layer.hidden_bits)
            nodes.append(Node(old.name, cut, (x.name,), Type(shape[:1], fmt), old.origin))
            x = nodes[-1]
    head = chain.head
    one = space.layers[-1].outputs == 1
    op = Threshold(0) if one else ArgMax()
    nodes.append(replace(head, op=op, inputs=(x.name,)))
    return fit_formats(replace(graph, nodes=tuple(nodes)))
