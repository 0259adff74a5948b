"""What :mod:`.worker` and a bench read from ``settings.json``, and what a bench writes into ``results.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict


class RunSettings(TypedDict):
    """What the worker needs of any bench. ``bench``: its module, that of vectors by default. Folders are absolute."""

    bench: NotRequired[str]
    runner: str
    folder: str
    top: str
    sources: Sequence[str]
    build_args: Sequence[str]
    environment: Mapping[str, str]


class VectorSettings(RunSettings):
    """For vectors: widths of the harness's ports, ports of the design with their bits, mismatching rows to keep."""

    stimulus: Sequence[int]
    response: Sequence[int]
    outputs: Sequence[tuple[str, int]]
    latency: int
    keep: int


class VectorResults(TypedDict):
    """Rows driven and compared; ``failing``: mismatches by port; ``rows``: index and bits seen, of the first of them."""

    driven: int
    compared: int
    mismatches: int
    failing: dict[str, int]
    rows: list[tuple[int, str]]


class StreamPort(TypedDict):
    """Name of an AXI4-Stream port, and the width of its tdata."""

    name: str
    bits: int


class StreamSettings(RunSettings):
    """For streams: their ports, and what :class:`.streams.Disturbance` and :class:`.streams.StreamJob` say of them."""

    results: str
    inputs: Sequence[StreamPort]
    output: StreamPort
    pause: float
    hold: Sequence[int] | None
    reset_at: int | None
    seed: int
    idle: int
    watch: str | None
    held: Mapping[str, int]


class StreamResults(TypedDict):
    """``ends``: tlast of every word that came out; ``early_mismatches``: of words before the reset; see ``StreamResult``."""

    words: int
    ends: list[bool]
    clocks: int
    accepted: dict[str, int]
    stalled: dict[str, int]
    before_reset: int
    early_mismatches: int
    watched: int
