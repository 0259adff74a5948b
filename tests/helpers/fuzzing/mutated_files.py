"""Mutated files for every reader of untrusted data: seeds made here, seeded mutations, and what a reader may do with them."""

from __future__ import annotations

import gzip
import io
import json
import random
import shutil
import signal
import time
import traceback
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from approxhw.artifacts.design import read_design
from approxhw.artifacts.front import Front, Member, read_front, write_front
from approxhw.artifacts.steps import read_graph
from approxhw.backends.bespoke.readback import read_modules
from approxhw.backends.estimate.library.load import TABLES, load_library
from approxhw.backends.estimate.synthesis.source_files import read_sources
from approxhw.backends.estimate.synthesis.synthesise import flop_liberty, genlib
from approxhw.common.data.dataset import load_dataset
from approxhw.common.errors import ApproxhwError
from approxhw.flow.compile import compile
from approxhw.frontends import read_model
from approxhw.ir.text import print_graph

HANG = 10
"""Seconds that one file may take."""
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "iris.onnx"

LIBERTY = b"""library (seed) { time_unit : "1ns"; leakage_power_unit : "1nW"; capacitive_load_unit (1, pf); nom_voltage : 1.1;
  default_cell_leakage_power : 2; lu_table_template (t) { variable_1 : input_net_transition; index_1 ("1, 2"); }
  /* comment */ define (mine, cell, string);
  cell (INV) { area : 1; leakage_power () { when : "A"; value : 1.0; } pin (A) { direction : input; capacitance : 0.002; }
    pin (Y) { direction : output; function : "!A"; timing () { related_pin : "A"; timing_sense : negative_unate;
      cell_rise (t) { values ("0.1, 0.2"); } cell_fall (t) { values ("0.1, 0.2"); }
      rise_transition (t) { values ("0.1", \\
        "0.2"); } fall_transition (scalar) { values ("0.1"); } } } }
  cell ("ND-2") { area : 2; cell_leakage_power : 1; pin (A, B) { direction : input; capacitance : 0.002; }
    pin (Y) { direction : output; function : "(A B)'"; } }
  cell (FF) { area : 4; ff (IQ, IQN) { clocked_on : "C"; next_state : "D"; clear : "!R"; }
    pin (C) { direction : input; } pin (D) { direction : input; timing () { related_pin : "C"; timing_type : setup_rising;
      rise_constraint (scalar) { values ("0.1"); } } } pin (R) { direction : input; }
    pin (Q) { direction : output; function : "IQ"; } }
}
"""
VERILOG = b"""module top (input clk, input [3:0] a, input signed [3:0] b, output reg [4:0] s);
  wire [3:0] c = a ^ (b & 4'b1010);
  half #(.W(4)) h (.x(c), .y());
  always @(posedge clk) if (c[0]) s <= a + b; else s <= 5'd0;
endmodule
module half #(parameter W = 4) (input [W-1:0] x, output [W-1:0] y); assign y = x >> 1; endmodule
"""
CSV = (
    b"x,y,label\n1,2,0\n3,4.5,1\n1e3,-7,1\n0,0,0\n",
    b'\xef\xbb\xbf"a";"b";species\r\n1,5;2;setosa\r\n\r\n2,25;3;other\r\n4;5;setosa\r\n',
    b"1\t2\t0\n3\t4\t1\n5\t6\t1\n",
)
TOKENS = (
    *(b'`include "a.vh"\n', b'`include "mutated.v"\n', b'$readmemh("a.hex", m);', b"`include <../x>\n"),
    *(
        b"0",
        b"-1",
        b"1e999",
        b"nan",
        b"inf",
        b"65536",
        b"9223372036854775808",
        b"1" * 5000,
        b"True",
        b"null",
        b"{}",
        b"[]",
    ),
    *(
        b"{",
        b"}",
        b"(",
        b")",
        b"[",
        b"]",
        b'"',
        b"'",
        b";",
        b",",
        b":",
        b"\n",
        b"\r",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\\\n",
    ),
    *(
        b"/*",
        b"*/",
        b"//",
        b"<f8",
        b"|O",
        b"|b1",
        b"|V8",
        b"(2,)",
        b"-",
        b"!",
        b"A'",
        b"!(",
        b" " * 2000,
        b"\xe2\x88\x92",
    ),
)


def _plain(content: bytes, chance: random.Random) -> bytes:
    return content


@dataclass(frozen=True)
class Reader:
    """What is fuzzed: ``suffix`` of its files, ``seeds``, what ``read`` does with a file, and how a file is ``wrapped``."""

    name: str
    seeds: tuple[bytes, ...]
    read: Callable[[Path], object]
    suffix: str
    wrapped: Callable[[bytes, random.Random], bytes] = _plain


def mutated(seed: bytes, chance: random.Random, others: tuple[bytes, ...] = ()) -> bytes:
    """Return *seed* after one to six changes, most often one: bytes flipped, cut, doubled, tokens put in, parts of *others*."""
    content = bytearray(seed)
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        at = chance.randrange(len(content) + 1)
        end = min(len(content), at + chance.choice((1, 2, 4, 16, 64, 400)))
        kind = chance.randrange(15) // 2
        if kind == 0 and content:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del content[at:end]
        elif kind == 2:
            content[at:at] = content[at:end]
        elif kind == 3:
            content[at:at] = bytes(content[at:end]) * min(chance.choice((2, 50, 5000)), 200_000 // (end - at + 1))
        elif kind == 4:
            content[at:end] = chance.choice(TOKENS)
        elif kind == 5:
            content[at:at] = chance.choice(TOKENS) * chance.choice((1, 1, 3, 100, 20_000 // 5))
        elif kind == 6 and others:
            other = chance.choice(others)
            start = chance.randrange(len(other) + 1)
            content[at:end] = other[start : start + chance.choice((4, 40, 400))]
        else:
            del content[at:]
    return bytes(content[:2_000_000])


def as_npy(array: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.asarray(array), allow_pickle=False)
    return stream.getvalue()


DESCRS = (
    *("<f8", ">f8", "|b1", "<i4", "|O", "|V8", "|V0", "<U2", "|S0", "<M8[s]", "<c16"),
    *(("<f8", (2,)), [("a", "<f8")], 3),
)
SHAPES = (
    *((3, 4), (3,), (), (True, 2), (False,), (-3, 4), (3.0,), (0, 1 << 70), (1,) * 40, (1 << 40,)),
    *([3], None),
)


def _forged(chance: random.Random) -> bytes:
    """Return an npy array whose header says what numpy.save would not, or what the data behind it does not hold."""
    told = {
        "descr": chance.choice(DESCRS),
        "fortran_order": chance.choice((False, True, 0, None)),
        "shape": chance.choice(SHAPES),
    }
    header = repr(told).encode()
    header = (mutated(header, chance) if chance.random() < 0.2 else header)[:60_000]
    version, width = chance.choice(((1, 2), (2, 4), (3, 4), (9, 2)))
    start = b"\x93NUMPY" + bytes((version, 0)) + len(header).to_bytes(width, "little")
    return start + header + chance.randbytes(chance.choice((0, 96)))


def _zipped(content: bytes, chance: random.Random) -> bytes:
    """Return an npz whose X is *content* or forged, so that its checksum fits; at times the archive itself is mutated."""
    members = {"X": content, "y": as_npy(np.array([0, 1, 1]))}
    if chance.random() < 0.5:
        members[chance.choice("Xy")] = _forged(chance)
    content = archived(members, chance.random() < 0.5)
    return mutated(content, chance) if chance.random() < 0.3 else content


def archived(members: dict[str, bytes], deflated: bool = False) -> bytes:
    """Return an npz of *members*: npy files by name."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def _maybe_packed(content: bytes, chance: random.Random) -> bytes:
    return gzip.compress(content, 1)[: chance.choice((10**9, 10**9, 200))] if chance.random() < 0.2 else content


def _json_values(content: bytes, chance: random.Random) -> bytes:
    """Return the JSON *content* with values of other kinds here and there; at times broken as a text."""
    if chance.random() < 0.3:
        return mutated(content, chance)
    told = json.loads(content)
    for _ in range(chance.randint(1, 3)):
        at = told
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            key = chance.choice(keys) if keys else None
            if key is None:
                break
            if isinstance(at[key], dict | list) and at[key] and chance.random() < 0.75:
                at = at[key]
                continue
            odd = ({}, [], [[[]]], None, True, -1, 0, 1e308, 10**30, "", "../x", "x" * 9000, "\0", 1.5, {"a": 1})
            if isinstance(at, dict) and chance.random() < 0.2:
                del at[key]
            else:
                at[key] = chance.choice(odd)
            break
    return json.dumps(told).encode()


def _kept_rows(content: bytes, chance: random.Random) -> bytes:
    """Return the rows of a design with one array, or two, mutated or forged."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return content
    for name in chance.sample(sorted(members), min(len(members), 2)):
        members[name] = _forged(chance) if chance.random() < 0.5 else mutated(members[name], chance)
    content = archived(members, chance.random() < 0.5)
    return mutated(content, chance) if chance.random() < 0.3 else content


def _arrays() -> tuple[bytes, ...]:
    rows = np.arange(12).reshape(3, 4) / 8
    return as_npy(rows), as_npy(rows.astype(">f4")), as_npy(np.asfortranarray(rows)), as_npy(np.array(["a", "b", "c"]))


def _library(path: Path) -> None:
    """Read a library, and write what synthesis is given of it."""
    loaded = load_library(path)
    genlib(loaded)
    flop_liberty([cell for cell in loaded.cells.values() if cell.flip_flop is not None])


def _verilog(path: Path) -> None:
    """Read a file with what it includes, and its modules, as ``estimate`` and ``tabulate`` do."""
    source = read_sources([path], include=[path.parent])
    read_modules(source.files[source.units[0]].decode("utf-8", "replace"))


PLAIN: dict[str, Callable[[], Reader]] = {
    "npz": lambda: Reader("npz", _arrays(), load_dataset, ".npz", _zipped),
    "csv": lambda: Reader("csv", CSV, load_dataset, ".csv", _maybe_packed),
    "liberty": lambda: Reader("liberty", (LIBERTY,), _library, ".lib", _maybe_packed),
    "cells": lambda: Reader("cells", ((TABLES / "egfet.toml").read_bytes(),), _library, ".toml"),
    "axir": lambda: Reader("axir", (print_graph(read_model(EXAMPLE)).encode(),), read_graph, ".axir"),
    "onnx": lambda: Reader("onnx", (EXAMPLE.read_bytes(),), read_model, ".onnx"),
    "verilog": lambda: Reader("verilog", (VERILOG,), _verilog, ".v"),
}
"""What reads single files, by name."""
FOLDERS = ("design.json", "rows.npz", "front.json")
"""What reads a file of a folder."""


def reader_of(name: str, folder: Path) -> Reader:
    """Return the reader called *name*; what it needs besides the file is made in *folder*."""
    if name in PLAIN:
        return PLAIN[name]()
    front = folder / "front"
    design = front / "members" / "00"
    compile(EXAMPLE, data="sklearn:iris", output=design)
    if name == "front.json":
        member = Member(0, 0.9, 0.9, 0.9, 1.0, 1.0, 0.1, 1.0, 5, 4, 66.0, 5.0, "members/00", chosen=True)
        counts = {"train": 1, "validation": 1, "test": 1}
        told = {"model": {"title": "iris"}, "data": {"rows": counts}, "onnx": dict.fromkeys(counts, 0.9)}
        write_front(Front("iris", (member,), np.zeros((1, 3), np.int32), "0", **told), front)
    place, read = (front, read_front) if name == "front.json" else (design, read_design)
    seed = (place / name).read_bytes()

    def reading(path: Path) -> None:
        """Read the folder with the mutated file in it, its digest renewed where the JSON is another file."""
        shutil.copyfile(path, place / name)
        if name == "rows.npz":
            described = json.loads((place / "design.json").read_text())
            described["files"][name] = sha256(path.read_bytes()).hexdigest()
            (place / "design.json").write_text(json.dumps(described))
        read(place)

    suffix = Path(name).suffix
    return Reader(name, (seed,), reading, suffix, _kept_rows if suffix == ".npz" else _plain)


@dataclass
class Outcome:
    """What became of the files of a reader: how many were ``read`` and ``refused``; ``faults``: file, traceback."""

    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    faults: list[tuple[bytes, str]] = field(default_factory=list)


class Hang(BaseException):
    """A file took more than ``HANG`` seconds."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise :class:`Hang` after *seconds*."""

    def ring(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def one(reader: Reader, content: bytes, path: Path, outcome: Outcome) -> None:
    """Let *reader* read *content* from the file *path*; every exception that is none of ours is a fault."""
    path.write_bytes(content)
    started = time.perf_counter()
    try:
        with limited(HANG):
            reader.read(path)
        outcome.read += 1
    except ApproxhwError:
        outcome.refused += 1
    except (Exception, Hang):
        outcome.faults.append((content, traceback.format_exc(limit=-4)))
    outcome.slowest = max(outcome.slowest, time.perf_counter() - started)


def content_of(reader: Reader, seed: int) -> bytes:
    """Return the mutated file number *seed* of *reader*."""
    chance = random.Random(f"{reader.name} {seed}")
    start = chance.choice(reader.seeds)
    if reader.suffix == ".json":
        return _json_values(start, chance)
    whole = not seed or (reader.suffix == ".npz" and chance.random() < 0.5)  # what wraps it mutates its parts
    return reader.wrapped(start if whole else mutated(start, chance, reader.seeds), chance)
