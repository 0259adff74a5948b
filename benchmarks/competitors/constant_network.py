"""What generators of constant-matrix circuits are given and what they hand back: integers of a network, and Verilog.

A network is dense layers with a ReLU between them and nothing after the last: no argmax, all sums leave the circuit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Network:
    """Integers of a network: per layer weights (inputs × outputs) and biases; unsigned input codes of ``bits`` bits."""

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    bits: int

    @property
    def features(self) -> int:
        """How many codes a row has."""
        return len(self.layers[0][0])

    def sums(self, codes: np.ndarray) -> np.ndarray:
        """Return the last layer's sums (int64, rows × outputs): what every circuit must make of *codes*."""
        x = codes.astype(np.int64)
        for number, (weights, biases) in enumerate(self.layers):
            x = (np.maximum(x, 0) if number else x) @ weights + biases
        return x


class Wire(NamedTuple):
    """One bit of an input port: it carries bit ``position`` of the code of ``feature``."""

    port: str
    place: int
    feature: int
    position: int


class Sum(NamedTuple):
    """Where a sum leaves: ``bits`` bits of the output port from ``first`` on; value = that number · 2^``shift``."""

    first: int
    bits: int
    signed: bool
    shift: int


@dataclass(frozen=True)
class Generated:
    """A combinational circuit: all of its Verilog, and how codes go in and sums come out."""

    verilog: str
    top: str
    wires: tuple[Wire, ...]
    output: str
    sums: tuple[Sum, ...]

    def vectors(self, codes: np.ndarray) -> dict[str, np.ndarray]:
        """Return *codes* (rows × features) as numbers on the input ports."""
        ports: dict[str, np.ndarray] = {}
        for port, place, feature, position in self.wires:
            bit = (codes[:, feature].astype(np.int64) >> position & 1).astype(object)
            ports[port] = ports.get(port, 0) + (bit << place)
        return {
            name: number if max(number) >> 63 or self._width(name) > 63 else number.astype(np.int64)
            for name, number in ports.items()
        }

    def _width(self, port: str) -> int:
        return 1 + max(wire.place for wire in self.wires if wire.port == port)

    def read(self, number: np.ndarray) -> np.ndarray:
        """Return the sums (int64, rows × outputs) that the output port's numbers stand for."""
        columns = []
        for first, bits, signed, shift in self.sums:
            code = np.array([int(word) >> first & ((1 << bits) - 1) for word in number], dtype=np.int64)
            columns.append((code - (signed * (code >> (bits - 1)) << bits if bits else 0)) << shift)
        return np.stack(columns, axis=1)


def of_solution(text: str, sources: Path, input_kifs: np.ndarray, output_kifs: np.ndarray) -> Generated:
    """Return what da4ml and alkaid wrote: one input and one output port, the first element in the lowest bits.

    *sources*: folder of the modules that *text* instantiates. *kifs*: sign, integer and fraction bits (3 × elements).
    """
    modules = "\n".join(file.read_text(encoding="utf-8") for file in sorted(sources.glob("*.v")) if _used(file, text))
    wires, place = [], 0
    for feature, bits in enumerate(input_kifs.sum(axis=0).tolist()):
        wires += [Wire("model_inp", place + i, feature, i) for i in range(bits)]
        place += bits
    return Generated(f"{text}\n{modules}", "network", tuple(wires), "model_out", tuple(_sums(output_kifs.T.tolist())))


def _used(file: Path, text: str) -> bool:
    return f" {file.stem} #(" in text


def _sums(kifs: Sequence[Sequence[int]]) -> list[Sum]:
    sums, first = [], 0
    for sign, integer, fraction in kifs:
        bits = sign + integer + fraction
        sums.append(Sum(first, bits, bool(sign), -fraction))
        first += bits
    return sums
