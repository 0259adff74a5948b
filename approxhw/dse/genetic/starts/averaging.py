"""Networks retrained with other draws: matched neuron by neuron and averaged into one, or taken together as a teacher."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from approxhw.networks.initial_weights import RealLayer, start_from
from approxhw.networks.retrain import Start, start_of_genome
from approxhw.networks.space import THRESHOLD, Space


@dataclass(frozen=True, eq=False)
class MeanTeacher:
    """Codes (integers, rows × features) → the classes that are likeliest by the mean of what several networks think."""

    space: Space
    genomes: np.ndarray
    """int32, networks × G, comparators exact."""
    logarithms: tuple[float, ...]
    """Natural log of the temperature of each: what its sums are multiplied by to be logits."""

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Return them (int64, rows)."""
        total = 0.0
        for genome, logarithm in zip(self.genomes, self.logarithms, strict=True):
            logits = layer_values(self.space, genome, codes)[-1] * np.exp(logarithm)
            if self.space.head[0] == THRESHOLD:
                logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            total = total + shares / shares.sum(axis=1, keepdims=True)
        return np.argmax(total, axis=1)


def mean_teacher(space: Space, genomes: np.ndarray, codes: np.ndarray, labels: np.ndarray) -> MeanTeacher:
    """Return *genomes* (networks × G) as one teacher; temperatures are those that suit *codes* and *labels* best."""
    return MeanTeacher(space, genomes, tuple(start_of_genome(space, genome, codes, labels)[2] for genome in genomes))


def averaged_start(space: Space, genomes: np.ndarray, codes: np.ndarray, labels: np.ndarray) -> Start:
    """Return the start of training nearest to the mean of *genomes* (networks × G), over *codes* and *labels*.

    Hidden neurons of the others are paired with those of the first so that what they say of the rows agrees most: the sum of
    the correlations is greatest. Then every neuron is scaled to vary as its partner does, and weights are averaged as the
    real numbers that they are no longer made to be: powers of two come back with the training that follows.
    Source of matching before averaging: Singh and Jaggi, Model Fusion via Optimal Transport, NeurIPS 2020.
    """
    values = [layer_values(space, genome, codes) for genome in genomes]
    networks = [_real_layers(space, genome) for genome in genomes]
    for number in range(1, len(networks)):
        networks[number] = _aligned(networks[number], values[number], values[0])
    mean = [
        RealLayer(np.mean([each.weights for each in same], axis=0), np.mean([each.bias for each in same], axis=0))
        for same in zip(*networks)
    ]
    return start_from(mean, space, codes, labels)


def layer_values(space: Space, genome: np.ndarray, codes: np.ndarray) -> list[np.ndarray]:
    """Return what every layer of *genome* (G) makes of *codes* (rows × features): int64, rows × neurons; of the last the sums."""
    x, found, wide = np.asarray(codes, dtype=np.int64), [], np.asarray(genome, dtype=np.int64)[None]
    for index, layer in enumerate(space.layers):
        genes = space.layer_genes(wide, index)
        weights = (1 - 2 * genes.signs[0]) << genes.exponents[0]
        sums = np.tile(genes.biases[0], (len(x), 1))
        for i in range(layer.inputs):
            sums += (x[:, i, None] & genes.masks[0][:, i]) * weights[:, i]
        x = sums if genes.shift is None else np.clip(sums >> genes.shift[0], 0, (1 << layer.hidden_bits) - 1)
        found.append(x)
    return found


def best_pairs(gains: np.ndarray) -> np.ndarray:
    """Return the column of each row of *gains* (m × m), no column twice, so that the sum of what is taken is greatest.

    Row after row joins along the cheapest path of exchanges; prices of rows and columns keep every exchange at 0 or more
    (Jonker and Volgenant, Computing 38, 1987).
    """
    costs, count = -np.asarray(gains, dtype=np.float64), len(gains)
    row_prices, column_prices = np.zeros(count), np.zeros(count)
    column_of, row_of = np.full(count, -1), np.full(count, -1)
    for new in range(count):
        reach, came = np.full(count, np.inf), np.full(count, -1)
        settled, row, total = np.zeros(count, dtype=bool), new, 0.0
        while True:
            paths = total + costs[row] - row_prices[row] - column_prices
            nearer = ~settled & (paths < reach)
            reach[nearer], came[nearer] = paths[nearer], row
            column = int(np.argmin(np.where(settled, np.inf, reach)))
            total = float(reach[column])
            if row_of[column] < 0:
                break
            settled[column], row = True, int(row_of[column])
        row_prices[new] += total
        for other in np.flatnonzero(settled):
            row_prices[row_of[other]] += total - reach[other]
            column_prices[other] -= total - reach[other]
        while column >= 0:  # backwards along the path, until the new row has a column
            row = int(came[column])
            row_of[column] = row
            column_of[row], column = column, (-1 if row == new else int(column_of[row]))
    return column_of


def _real_layers(space: Space, genome: np.ndarray) -> list[RealLayer]:
    """Return *genome* as a real network: shifts divide what the next layer reads, and what they cut off is a half on average."""
    layers, unit, wide = [], 1.0, np.asarray(genome, dtype=np.int64)[None]
    for index in range(len(space.layers)):
        genes = space.layer_genes(wide, index)
        weights = np.where(genes.masks[0] != 0, (1 - 2 * genes.signs[0]) * np.ldexp(1.0, genes.exponents[0]), 0.0)
        bias = genes.biases[0] - 0.5 * (1.0 - unit) * weights.sum(axis=1)
        layers.append(RealLayer(weights * unit, bias))
        unit = 1.0 if genes.shift is None else 0.5 ** int(genes.shift[0])
    return layers


def _aligned(network: list[RealLayer], values: list[np.ndarray], wanted: list[np.ndarray]) -> list[RealLayer]:
    """Return *network* with the neurons in the order of those that *wanted* are values of, and varying as they do."""
    result, order = [], np.arange(network[0].weights.shape[1])
    factors = np.ones(len(order))
    for layer, mine, theirs in zip(network, values, wanted, strict=True):
        weights = layer.weights[:, order] / factors
        together, first, second = _moments(theirs, mine)
        if layer is network[-1]:  # one factor for all sums: what is greatest stays
            spread = float(np.sqrt(second.sum()))
            factor = float(np.sqrt(first.sum())) / spread if spread > 0 else 1.0
            result.append(RealLayer(weights * factor, layer.bias * factor))
            break
        sizes = np.sqrt(first[:, None] * second)
        order = best_pairs(np.where(sizes > 0, together / np.where(sizes > 0, sizes, 1.0), 0.0))
        alive = (first > 0) & (second[order] > 0)
        factors = np.where(alive, np.sqrt(first / np.where(alive, second[order], 1.0)), 1.0)
        result.append(RealLayer(weights[order] * factors[:, None], layer.bias[order] * factors))
    return result


def _moments(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return covariances (first's × second's columns) and the two variances, times rows."""
    # no product of matrices: the order of its sums depends on how many threads there are
    a, b = first - first.mean(axis=0), second - second.mean(axis=0)
    together = np.stack([(a * column[:, None]).sum(axis=0) for column in b.T], axis=1)
    return together, (a * a).sum(axis=0), (b * b).sum(axis=0)
