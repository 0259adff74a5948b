"""The cocotb bench for AXI4-Streams: send all words by cocotbext-axi, rest at random, reset, write down what came out.

It runs inside the simulator, started by :mod:`.worker`; the file named by ``APPROXHW_BENCH`` says what to do.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

if TYPE_CHECKING:
    from cocotb.handle import HierarchyObject, LogicObject

    from approxhw.sim.bench_json import StreamPort, StreamResults, StreamSettings

_Port = TypeVar("_Port", AxiStreamSource, AxiStreamSink)

RESET_CLOCKS = 5


@cocotb.test()
async def send(dut: HierarchyObject) -> None:
    """Send everything and write ``results.json`` and ``seen.npy``; a mismatch is a result, not a failure of the bench."""
    settings: StreamSettings = json.loads(Path(os.environ["APPROXHW_BENCH"]).read_text())
    folder = Path(settings["folder"])
    logging.getLogger("cocotb").setLevel(logging.WARNING)
    clock, reset = cast("LogicObject", dut.aclk), cast("LogicObject", dut.aresetn)
    reset.value = 0
    for name, value in settings["held"].items():
        getattr(dut, name).value = value
    Clock(clock, 2, unit="ns").start()
    sources = [_port(AxiStreamSource, dut, port) for port in settings["inputs"]]
    sink = _port(AxiStreamSink, dut, settings["output"])
    frames = [_frames(folder, number) for number in range(len(sources))]
    wanted = _integers(np.load(folder / f"words{len(sources)}.npy"))
    rest = random.Random(settings["seed"])
    if settings["pause"]:
        for source in sources:
            source.set_pause_generator(_resting(rest.random(), settings["pause"]))
    await ClockCycles(clock, RESET_CLOCKS)
    counter = _Counter(dut, settings)
    early: list[int] = []
    if settings["reset_at"] is not None:
        _send(sources, frames)
        reset.value = 1
        _take(sink, rest, settings)
        await ClockCycles(clock, settings["reset_at"])
        reset.value = 0
        early = [word for frame in _received(sink) for word in frame.tdata]
        await ClockCycles(clock, RESET_CLOCKS)
        for port in (*sources, sink):
            port.clear()
    _send(sources, frames)
    reset.value = 1
    _take(sink, rest, settings)
    cocotb.start_soon(counter.run())
    seen: list[int] = []
    ends: list[bool] = []
    while len(seen) < len(wanted):
        await ClockCycles(clock, 20)
        for frame in _received(sink):
            seen += frame.tdata
            ends += [False] * (len(frame.tdata) - 1) + [True]
        if counter.idle > settings["idle"]:
            break
    size = -(-settings["output"]["bits"] // 8)
    octets = b"".join(word.to_bytes(size, "little") for word in seen)
    np.save(folder / "seen.npy", np.frombuffer(octets, dtype=np.uint8).reshape(-1, size))
    watched = settings["watch"]
    results: StreamResults = {
        "words": len(seen),
        "ends": ends,
        "clocks": counter.last,
        "accepted": counter.accepted,
        "stalled": counter.stalled,
        "before_reset": len(early),
        "early_mismatches": sum(a != b for a, b in zip(early, wanted)),
        "watched": int(getattr(dut, watched).value) if watched else 0,
    }
    (folder / "results.json").write_text(json.dumps(results))


def _port(kind: type[_Port], dut: HierarchyObject, port: StreamPort) -> _Port:
    bus = AxiStreamBus.from_prefix(dut, port["name"])
    made = kind(bus, dut.aclk, dut.aresetn, reset_active_level=False, byte_lanes=1)
    made.log.setLevel(logging.ERROR)
    return made


def _integers(words: np.ndarray) -> list[int]:
    return [int.from_bytes(word.tobytes(), "little") for word in words]


def _frames(folder: Path, number: int) -> list[AxiStreamFrame]:
    words = _integers(np.load(folder / f"words{number}.npy"))
    user = np.load(folder / f"user{number}.npy").tolist()
    bounds = [0, *(np.flatnonzero(np.load(folder / f"ends{number}.npy")) + 1).tolist()]
    return [AxiStreamFrame(words[a:b], tuser=user[a:b]) for a, b in itertools.pairwise(bounds)]


def _send(sources: list[AxiStreamSource], frames: list[list[AxiStreamFrame]]) -> None:
    for source, given in zip(sources, frames, strict=True):
        for frame in given:
            source.send_nowait(frame)


def _received(sink: AxiStreamSink) -> list[AxiStreamFrame]:
    return [sink.recv_nowait(compact=False) for _ in range(sink.count())]


def _take(sink: AxiStreamSink, rest: random.Random, settings: StreamSettings) -> None:
    """Let the sink take results from now on, with its pauses."""
    if settings["pause"] or settings["hold"]:
        sink.set_pause_generator(_resting(rest.random(), settings["pause"], settings["hold"]))


def _resting(seed: float, probability: float, hold: Sequence[int] | None = None) -> Iterator[bool]:
    """Yield for every clock whether a port rests."""
    source = random.Random(seed)
    clock = 0
    while True:
        held = hold is not None and hold[0] <= clock < hold[0] + hold[1]
        yield held or source.random() < probability
        clock += 1


class _Counter:
    """Clocks, words taken in or given out, and clocks in which a word that was offered was not taken."""

    def __init__(self, dut: HierarchyObject, settings: StreamSettings) -> None:
        names = [*(port["name"] for port in settings["inputs"]), settings["output"]["name"]]
        self.clock = cast("LogicObject", dut.aclk)
        self.ports = [(name, getattr(dut, f"{name}_tvalid"), getattr(dut, f"{name}_tready")) for name in names]
        self.accepted = dict.fromkeys(names, 0)
        self.stalled = dict.fromkeys(names, 0)
        self.output = names[-1]
        self.clocks = self.last = self.idle = 0

    async def run(self) -> None:
        edge = RisingEdge(self.clock)
        while True:
            await edge
            self.clocks += 1
            self.idle += 1
            for name, valid, ready in self.ports:
                if int(valid.value):
                    if int(ready.value):
                        self.accepted[name] += 1
                        self.idle = 0
                        if name == self.output:
                            self.last = self.clocks
                    else:
                        self.stalled[name] += 1
