"""How much faster several GPUs train: links, latency, overlap and the cost of 8-bit codes, for data and model parallelism.

Source of the published formula, its terms and constants: Dettmers, "8-Bit Approximations for Parallelism in Deep Learning"
(2015). ``docs/link-model.md`` says what our own model counts and what it leaves out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.numerics.eight_bit.codes import EightBit

if TYPE_CHECKING:
    from approxhw.frontends.onnx.loading import ModelSource

ENCODE_NS, DECODE_NS = 1.0, 0.5
"""Nanoseconds a number that the paper's GPU of 2015 takes to compress and to decompress."""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refuse(subject: str, found: Sequence[Problem]) -> None:
    if found:
        raise OptionError(subject, found)


def _check_hidden(hidden_ms: float) -> None:
    if not _is_number(hidden_ms) or hidden_ms < 0:
        _refuse("link model", [Problem("overlap", f"{shown(hidden_ms)} ms is no time", "give 0 or more")])


@dataclass(frozen=True)
class Link:
    """A link: ``gb_s``, 10⁹ bytes a second in each direction, and ``latency_us``, microseconds before the first byte."""

    gb_s: float
    latency_us: float = 0.0

    def __post_init__(self) -> None:
        """Refuse links that carry nothing, all problems at once."""
        found = []
        if not _is_number(self.gb_s) or self.gb_s <= 0:
            found.append(Problem("bandwidth", f"{shown(self.gb_s)} GB/s is no bandwidth", "give a number above 0"))
        if not _is_number(self.latency_us) or self.latency_us < 0:
            found.append(Problem("latency", f"{shown(self.latency_us)} µs is no latency", "give 0 or more"))
        _refuse("link", found)

    def ms(self, size: float) -> float:
        """Return the milliseconds that a message of *size* bytes takes."""
        return self.latency_us / 1e3 + size / (self.gb_s * 1e6)


@dataclass(frozen=True)
class Cluster:
    """``gpus`` in nodes of ``per_node``: linked ``inside`` of a node, and one link ``between`` it and the other nodes."""

    gpus: int
    per_node: int
    inside: Link
    between: Link

    def __post_init__(self) -> None:
        """Refuse clusters that cannot be, all problems at once."""
        found = []
        for where, count in (("GPUs", self.gpus), ("GPUs a node", self.per_node)):
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                found.append(
                    Problem(where, f"{shown(count)} is no number of GPUs", "give a whole number of at least 1")
                )
        if not found and self.gpus > self.per_node and self.gpus % self.per_node:
            why = f"{self.gpus} GPUs do not fill nodes of {self.per_node}"
            found.append(Problem("GPUs", why, f"such as {self.gpus // self.per_node * self.per_node}"))
        _refuse("cluster", found)

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return -(-self.gpus // self.per_node)

    @property
    def together(self) -> int:
        """GPUs that share a node."""
        return min(self.gpus, self.per_node)


@dataclass(frozen=True)
class Code:
    """How numbers travel: ``bits`` each, maxima included; ``encode_ns`` and ``decode_ns`` of a GPU's time for each number."""

    name: str
    bits: float
    encode_ns: float = 0.0
    decode_ns: float = 0.0

    def __post_init__(self) -> None:
        """Refuse codes that cannot be, all problems at once."""
        found = []
        if not _is_number(self.bits) or self.bits <= 0:
            found.append(Problem("bits", f"{shown(self.bits)} bits a number", "give a number above 0"))
        for where, value in (("compression", self.encode_ns), ("decompression", self.decode_ns)):
            if not _is_number(value) or value < 0:
                found.append(Problem(where, f"{shown(value)} ns a number is no time", "give 0 or more"))
        _refuse("code", found)

    def bytes(self, numbers: float) -> float:
        """Return the bytes that so many *numbers* take."""
        return numbers * self.bits / 8


FLOAT32 = Code("float32", 32.0)


def code_of(format: EightBit, encode_ns: float = ENCODE_NS, decode_ns: float = DECODE_NS) -> Code:
    """Return *format* as numbers travel in it: 8 bits each, and 32 bits a block."""
    return Code(str(format), 8 + (32 / format.block if format.block else 0), encode_ns, decode_ns)


@dataclass(frozen=True)
class Network:
    """A network in training: ``step_ms`` is what one GPU takes for a batch of ``batch`` examples, forward and backward.

    ``parameters``: numbers that data parallelism exchanges, a gradient each. ``widths``: of the layers that model
    parallelism splits, values an example whose activations, and later errors, all GPUs need.
    """

    name: str
    step_ms: float
    parameters: int = 0
    batch: int = 1
    widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Refuse networks that cannot be, all problems at once."""
        found = []
        if not _is_number(self.step_ms) or self.step_ms <= 0:
            found.append(Problem("step", f"{shown(self.step_ms)} ms is no time of a step", "give a number above 0"))
        counts = [
            ("parameters", self.parameters, 0),
            ("batch", self.batch, 1),
            *(("widths", w, 1) for w in self.widths),
        ]
        for where, count, least in counts:
            if isinstance(count, bool) or not isinstance(count, int) or count < least:
                found.append(Problem(where, f"{shown(count)} is too few", f"give a whole number of at least {least}"))
        _refuse("network", found)


@dataclass(frozen=True)
class Prediction:
    """What is predicted of a step: ``exchange_ms`` in all, ``exposed_ms`` of it that computing does not hide.

    ``sent_bytes``: of each GPU. ``speedup``: examples a second beside one GPU.
    """

    code: Code
    gpus: int
    compute_ms: float
    exchange_ms: float
    exposed_ms: float
    sent_bytes: float
    speedup: float

    @property
    def step_ms(self) -> float:
        """The whole step."""
        return self.compute_ms + self.exposed_ms


Predict = Callable[[Network, Cluster, Code, float], Prediction]


def data_parallel(network: Network, cluster: Cluster, code: Code = FLOAT32, hidden_ms: float = 0.0) -> Prediction:
    """Predict a step in which every GPU does a whole batch, and all gradients are summed and given to all.

    Inside of a node each GPU sums a share of the gradients, between nodes a share of that; then the sums go back the same
    way: 2·(GPUs a node − 1) messages inside, 2·(nodes − 1) between, where a node's GPUs share its link. ``hidden_ms``: of the
    exchange that the backward pass hides.
    """
    _check_hidden(hidden_ms)
    g, m, p = cluster.together, cluster.nodes, network.parameters
    inside, between = 2 * (g - 1), 2 * (m - 1)
    time = inside * cluster.inside.ms(code.bytes(p / g)) + between * cluster.between.ms(code.bytes(p / m))
    sent = inside * code.bytes(p / g) + between * code.bytes(p / (g * m))
    if cluster.gpus == 1:
        return Prediction(code, 1, network.step_ms, 0.0, 0.0, 0.0, 1.0)
    away, apart = (g - 1) / g, (m - 1) / m  # shares that go to others: of a node, of other nodes
    encoded = p * away + p / g * apart + p / (g * m)  # each share once a level, then the sums
    decoded = p * away + p / g * apart + p  # to sum up; then everything, one's own sums too
    time += (code.encode_ns * encoded + code.decode_ns * decoded) / 1e6
    exposed = max(0.0, time - hidden_ms)
    speedup = cluster.gpus * network.step_ms / (network.step_ms + exposed)
    return Prediction(code, cluster.gpus, network.step_ms, time, exposed, sent, speedup)


def model_parallel(network: Network, cluster: Cluster, code: Code = FLOAT32, hidden_ms: float = 0.0) -> Prediction:
    """Predict a step of one batch whose layers are split: activations of each go to all GPUs, errors come back likewise.

    A GPU sends its slice to the others of its node, then the node its GPUs' slices to every other node. ``hidden_ms``: of
    each layer's exchange that computing hides.
    """
    _check_hidden(hidden_ms)
    times = [exchange_ms(network.batch * width, cluster, code) for width in network.widths for _ in range(2)]
    exposed = sum(max(0.0, time - hidden_ms) for time in times)
    compute = network.step_ms / cluster.gpus
    g, m = cluster.together, cluster.nodes
    values = sum(2 * network.batch * width for width in network.widths) / cluster.gpus
    sent = code.bytes(values) * ((g - 1) + (m - 1)) if cluster.gpus > 1 else 0.0
    return Prediction(code, cluster.gpus, compute, sum(times), exposed, sent, network.step_ms / (compute + exposed))


def exchange_ms(values: float, cluster: Cluster, code: Code) -> float:
    """Return the milliseconds until all GPUs have *values* of which each made an equal slice."""
    n, g, m = cluster.gpus, cluster.together, cluster.nodes
    if n == 1:
        return 0.0
    part = values / n
    time = (g - 1) * cluster.inside.ms(code.bytes(part)) + (m - 1) * cluster.between.ms(code.bytes(g * part))
    return time + (code.encode_ns * part + code.decode_ns * (values - part)) / 1e6


def counts_of(cluster: Cluster) -> tuple[int, ...]:
    """Return the numbers of GPUs that a curve shows: doubled inside of a node, then doubled nodes, and all of them."""
    found = {1, cluster.together, cluster.gpus}
    found |= {1 << k for k in range(cluster.together.bit_length()) if 1 << k <= cluster.together}
    found |= {cluster.per_node << k for k in range(cluster.nodes.bit_length()) if cluster.per_node << k <= cluster.gpus}
    return tuple(sorted(found))


def curve(
    predict: Predict, network: Network, cluster: Cluster, codes: Sequence[Code], hidden_ms: float = 0.0
) -> dict[str, tuple[Prediction, ...]]:
    """Return, by the name of the code, what *predict* says of parts of *cluster*, up to all of it."""
    parts = [replace(cluster, gpus=count) for count in counts_of(cluster)]
    return {code.name: tuple(predict(network, part, code, hidden_ms) for part in parts) for code in codes}


def network_of(model: ModelSource, step_ms: float, batch: int = 1) -> Network:
    """Return the ONNX *model* (path or ``ModelProto``) as a network: its parameters, and the widths of its dense layers.

    Parameters are all float tensors of the model. Raises as ``approxhw.read`` does for broken files.
    """
    from approxhw.frontends.compressed.model_sizes import measure_model

    found = measure_model(model)
    return Network(found.name, step_ms, found.parameters, batch, found.widths)


def plot(curves: dict[str, tuple[Prediction, ...]], title: str = "") -> str:
    """Return the picture of what :func:`curve` gave, speed-up over GPUs, as SVG text."""
    from approxhw.report.speedups import draw_speedups

    lines = {name: [(point.gpus, point.speedup) for point in points] for name, points in curves.items()}
    return draw_speedups(lines, title)


def write_plot(path: Path, curves: dict[str, tuple[Prediction, ...]], title: str = "") -> None:
    """Write that picture to the file *path*, whole or not at all."""
    from approxhw.common.files import write_beside

    write_beside(path, plot(curves, title))
