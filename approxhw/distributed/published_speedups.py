"""The published speed-ups of 8-bit exchange, the formula behind them, and how near our own model of links comes.

Source: Dettmers, "8-Bit Approximations for Parallelism in Deep Learning" (2015): AlexNet on 4 and on 96 GPUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .link_model import DECODE_NS, ENCODE_NS, FLOAT32, Cluster, Code, Link, exchange_ms

TOTAL_MS, DENSE_MS = 104.1, 6.5
"""A step of AlexNet on one GPU for 128 examples, and its fully connected layers."""

WIDTHS = ((9216, 4096, 4096, 1000), (4096, 4096, 9216))
"""Values an example that all GPUs need of AlexNet's fully connected layers: activations forward, errors backward."""

EXAMPLES = 128
"""Of each GPU in a step."""

PARAMETERS = 60_000_000
"""Of AlexNet."""

HIDDEN_MS = 1.3
"""Of a transfer that computing hides."""

CLUSTER = Cluster(96, 3, Link(7.0), Link(6.0))
"""32 nodes of three GPUs: PCIe at 7 GB/s beyond two GPUs, InfiniBand at 6 GB/s. Latencies are not given."""

CODES = (FLOAT32, Code("dynamic8", 8.0, ENCODE_NS, DECODE_NS))


@dataclass(frozen=True)
class Terms:
    """Milliseconds in the published formula: ``sub_batches`` · ``dense_parallel_ms`` is the forward pass of dense layers."""

    gpus: int
    sub_batches: float
    dense_parallel_ms: float
    convolution_ms: float
    exchange_ms: float
    total_ms: float = TOTAL_MS
    dense_ms: float = DENSE_MS

    @property
    def speedup(self) -> float:
        """N · T / [(T − T_fc) + conv_penalty + n_sub · T_fc,par + fc_penalty]."""
        rest = self.total_ms - self.dense_ms + self.convolution_ms
        return self.gpus * self.total_ms / (rest + self.sub_batches * self.dense_parallel_ms + self.exchange_ms)


@dataclass(frozen=True)
class Published:
    """A speed-up as printed, with the terms behind it. ``code``: float32 or dynamic8; ``sub_batch``: examples."""

    code: str
    sub_batch: int
    printed: str
    terms: Terms

    @property
    def half_digit(self) -> float:
        """Half a unit of the last printed digit."""
        return 0.5 * 10.0 ** -len(self.printed.partition(".")[2])

    @property
    def deviation(self) -> float:
        """What the formula gives beside what is printed, relative."""
        return self.terms.speedup / float(self.printed) - 1

    @property
    def is_near(self) -> bool:
        """Whether the formula is within 0.3 % or half a unit of the last printed digit."""
        near = abs(self.terms.speedup - float(self.printed)) <= self.half_digit + 1e-12
        return near or abs(self.deviation) <= 0.003


FOUR_GPUS = (
    Published("float32", 128, "3.53", Terms(4, 4, 3.34, 0.05, 6.81)),
    Published("dynamic8", 128, "3.67", Terms(4, 4, 3.34, 0.05, 2.55)),
)
"""The printed terms of 6.81 ms add up to 7.01; 6.81 is what is used here, and 7.01 gives 3.53 as well."""

_ROWS = (
    (128, 624.0, (24.8, 0.35), ("13.4", "13.8")),
    (256, 312.0, (89.9, 0.55), ("20.0", "24.4")),
    (512, 156.0, (181.0, 1.13), ("23.0", "39.3")),
    (1024, 78.0, (499.0, 29.5), ("14.8", "48.6")),
    (2048, 39.0, (750.0, 60.8), ("11.3", "50.6")),
    (12288, 6.5, (7750.0, 921.0), ("1.3", "9.7")),
)
"""Examples of a sub-batch, forward pass, exchange after overlap and speed-up in 32 and in 8 bits."""

NINETY_SIX_GPUS = tuple(
    Published(code.name, size, printed[place], Terms(96, 1, forward, 0.0, exchange[place]))
    for size, forward, exchange, printed in _ROWS
    for place, code in enumerate(CODES)
)


@dataclass(frozen=True)
class Exchange:
    """Published milliseconds of exchange of all sub-batches, after overlap, and what links give for them.

    ``slices``: our model, every GPU sends the slice it made, each layer's exchange hides 1.3 ms, all sub-batches counted;
    ``free``: the same where encoding and decoding cost nothing. ``whole``: 2 PCIe and 31 InfiniBand messages that each
    carry all of a sub-batch and each hide 1.3 ms, and only one sub-batch is counted.
    """

    code: str
    sub_batch: int
    published: float
    slices: float
    free: float
    whole: float


def exchanges() -> tuple[Exchange, ...]:
    """Return what links, overlap and the cost of codes give for every published exchange on 96 GPUs; nothing is fitted."""
    found = []
    for size, _, published, _ in _ROWS:
        for place, code in enumerate(CODES):
            free = Code(code.name, code.bits)
            whole = sum(_whole_ms(size * width, code) for width in _widths())
            found.append(Exchange(code.name, size, published[place], _slices(size, code), _slices(size, free), whole))
    return tuple(found)


def _slices(size: int, code: Code) -> float:
    exposed = (max(0.0, exchange_ms(size * width, CLUSTER, code) - HIDDEN_MS) for width in _widths())
    return CLUSTER.gpus * EXAMPLES / size * sum(exposed)


def _widths() -> Sequence[int]:
    return [width for widths in WIDTHS for width in widths]


def _whole_ms(values: float, code: Code) -> float:
    """Return what is not hidden of one sender's messages, each of all *values*, and of encoding and decoding them once."""
    size, nodes, near = code.bytes(values), CLUSTER.nodes - 1, CLUSTER.per_node - 1
    sent = near * max(0.0, CLUSTER.inside.ms(size) - HIDDEN_MS) + nodes * max(0.0, CLUSTER.between.ms(size) - HIDDEN_MS)
    return sent + (code.encode_ns + code.decode_ns) * values / 1e6
