"""The cocotb bench: drive every row of bits, compare every response, write down what was seen.

It runs inside the simulator, started by :mod:`.worker`; the file named by ``APPROXHW_BENCH`` says what to do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import cocotb
import numpy as np
from cocotb.triggers import Timer

if TYPE_CHECKING:
    from cocotb.handle import HierarchyObject, LogicObject

    from approxhw.sim.bench_json import VectorResults, VectorSettings

BLOCK = 1024  # rows unpacked at a time; progress is written once a block
FAST_BITS = 32  # up to here a write takes an integer, which is quicker than a text


@cocotb.test()
async def compare_responses(dut: HierarchyObject) -> None:
    """Drive all rows and write ``results.json``; a mismatch is a result, not a failure of the bench."""
    settings: VectorSettings = json.loads(Path(os.environ["APPROXHW_BENCH"]).read_text())
    folder = Path(settings["folder"])
    stimulus, expected = (_load(folder / name) for name in ("stimulus.npy", "expected.npy"))
    writers = [getattr(dut, f"stimulus{index}") for index in range(len(settings["stimulus"]))]
    readers = [getattr(dut, f"response{index}") for index in range(len(settings["response"]))]
    latency, count = settings["latency"], len(expected)
    clock = cast("LogicObject", dut.clock) if latency else None
    step = Timer(1, "step")
    awaited = _texts(expected, sum(settings["response"]))
    tally = _Tally(settings["outputs"], settings["keep"])
    driven = compared = 0
    # one row may follow the other each cycle; the last is held until its response has come out
    for row in _rows(stimulus, settings["stimulus"], held=max(latency - 1, 0)):
        for handle, value in zip(writers, row, strict=True):
            handle.value = value
        if clock is not None:
            clock.value = 0
            await step
            clock.value = 1
        await step
        driven += driven < count
        latency = max(latency - 1, 0)
        if latency:
            continue
        seen = str(readers[0].value) if len(readers) == 1 else "".join(str(handle.value) for handle in readers)
        wanted = next(awaited)
        if seen != wanted:
            tally.add(compared, wanted, seen)
        compared += 1
        if compared % BLOCK == 0:
            _write(folder / "progress", str(compared))
    results: VectorResults = {
        "driven": driven,
        "compared": compared,
        "mismatches": tally.mismatches,
        "failing": tally.failing,
        "rows": tally.rows,
    }
    _write(folder / "results.json", json.dumps(results))


def _load(path: Path) -> np.ndarray:
    rows: np.ndarray = np.load(path, allow_pickle=False)
    return rows


class _Tally:
    """Count of mismatching rows, in all and by output port, and the first of them."""

    def __init__(self, outputs: Sequence[tuple[str, int]], keep: int) -> None:
        self.mismatches, self.keep = 0, keep
        self.rows: list[tuple[int, str]] = []
        self.failing: dict[str, int] = {}
        ends = np.cumsum([bits for _, bits in outputs]).tolist()
        self.slices = [(name, slice(end - bits, end)) for (name, bits), end in zip(outputs, ends, strict=True)]

    def add(self, index: int, wanted: str, seen: str) -> None:
        self.mismatches += 1
        if len(self.rows) < self.keep:
            self.rows.append((index, seen))
        for name, part in self.slices:
            if wanted[part] != seen[part]:
                self.failing[name] = self.failing.get(name, 0) + 1


def _texts(packed: np.ndarray, bits: int) -> Iterator[str]:
    for start in range(0, len(packed), BLOCK):
        text = (np.unpackbits(packed[start : start + BLOCK], axis=1, count=bits) + ord("0")).tobytes().decode()
        yield from (text[begin : begin + bits] for begin in range(0, len(text), bits))


def _rows(packed: np.ndarray, widths: Sequence[int], held: int) -> Iterator[tuple[int | str, ...]]:
    ends = np.cumsum(widths).tolist()
    row: tuple[int | str, ...] = ()
    for start in range(0, len(packed), BLOCK):
        block = np.unpackbits(packed[start : start + BLOCK], axis=1)
        columns = [_column(block[:, end - width : end]) for width, end in zip(widths, ends, strict=True)]
        for row in zip(*columns) if columns else [()] * len(block):
            yield row
    for _ in range(held):
        yield row


def _column(bits: np.ndarray) -> list[int] | list[str]:
    width = bits.shape[1]
    if width <= FAST_BITS:
        values: list[int] = (bits @ (1 << np.arange(width - 1, -1, -1, dtype=np.int64))).tolist()
        return values
    text = (bits + ord("0")).tobytes().decode()
    return [text[begin : begin + width] for begin in range(0, len(text), width)]


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f"{path.name}.partial")
    beside.write_text(text)
    beside.replace(path)
