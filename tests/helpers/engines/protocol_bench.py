"""Many short streams through one build of an engine, lawful and unlawful, and a plain model of what must come of each."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from approxhw.backends.matrix_engine.engine import Engine, engine_verilog
from approxhw.common.tools import Tool, find_icarus, find_verilator, run_tool
from approxhw.numerics.eight_bit.codes import EightBit
from approxhw.numerics.mac.kernels.codes import from_codes, to_codes
from approxhw.numerics.mac.kernels.gemm import matmul

LONG, OTHER, WEIGHTS, ORPHANED, CHANGED, ABANDONED, CODES = (1 << bit for bit in range(7))
"""What the bits of ``fault`` stand for."""


Chain = Callable[[Engine, Sequence[Sequence[float]], Sequence[np.ndarray]], int]


@dataclass(frozen=True)
class Word:
    """A word of a port, the numbers in it (float32, one a row) and tlast; of activations, tuser. ``bad``: no number at all."""

    word: int
    numbers: tuple[float, ...]
    end: bool
    first: bool = False
    last: bool = False
    bad: bool = False


@dataclass(frozen=True)
class Case:
    """Words of both ports behind a reset. ``rest``: of 64 clocks in how many a port rests. ``stop``: cut off at this clock."""

    weights: tuple[Word, ...]
    vectors: tuple[Word, ...]
    rest: int = 0
    stop: int = 0


@dataclass(frozen=True)
class Seen:
    """What came of a case: result words with their tlast, fault, how many words of each port were taken, and clocks."""

    results: tuple[tuple[int, int], ...]
    fault: int
    weights: int
    vectors: int
    clocks: int


def drawn(engine: Engine, code: EightBit | None, source: random.Random) -> tuple[int, tuple[float, ...]]:
    """Return a random word, and the numbers that it stands for."""
    if code is None:
        numbers = np.array([source.gauss(0, 1) for _ in range(engine.rows)], np.float32)
        codes = to_codes(numbers, engine.mac.format)
        word = sum(int(each) << engine.code_bits * row for row, each in enumerate(codes))
        return word, tuple(from_codes(codes, engine.mac.format).tolist())
    exponent = source.randint(-6, 6)
    octets = np.array([source.randrange(256) for _ in range(engine.rows)])
    values = np.where(octets & 128, -1, 1) * code.tables.values[octets & 127] * np.float32(2.0**exponent)
    word = sum(int(each) << 8 * row for row, each in enumerate([*octets, exponent & 255]))
    return word, tuple(from_codes(to_codes(values.astype(np.float32), "bf16"), "bf16").tolist())


def lawful(engine: Engine, chains: Sequence[tuple[int, int]], seed: int) -> Case:
    """Return chains of (tiles, vectors) one behind the other, all numbers random."""
    source = random.Random(seed)
    weights, vectors = [], []
    for tiles, count in chains:
        for tile in range(tiles):
            for column in range(engine.columns):
                weights.append(Word(*drawn(engine, engine.weight_codes, source), end=column == engine.columns - 1))
            for i in range(count):
                words = drawn(engine, engine.activation_codes, source)
                vectors.append(Word(*words, end=i == count - 1, first=tile == 0, last=tile == tiles - 1))
    return Case(tuple(weights), tuple(vectors))


def expected(
    engine: Engine, case: Case, *, whole: bool = False, chain: Chain | None = None
) -> tuple[tuple[tuple[int, int], ...], int, int]:
    """Return the results that must leave, the bits of fault that must stand, and those that may stand besides.

    What lies before the first word that breaks the protocol yields all its results, what lies behind it yields none.
    ``whole``: multiply-adds are those of :func:`whole_numbers`; ``chain``: what makes a word of results of a vector's numbers
    and the tiles that it went through, another one for other engines.
    """
    tiles, broken = _tiles(engine, case.weights)
    made = chain or (_hashed if whole else _rounded)
    results: list[tuple[int, int]] = []
    pending: list[list[tuple[float, ...]]] = []  # of the open chain: what each vector has seen so far
    stays: list[np.ndarray] = []
    tile, count, previous, is_open, user = 0, 0, 0, False, (False, False)
    for vector in case.vectors:
        if tile == len(tiles):  # its weights never come, or are broken
            return tuple(results), broken, 0
        fault = CODES * vector.bad or _breach(engine, vector, count, previous, is_open, user)
        if fault:
            return tuple(results), fault, broken  # the weights' may be seen as well, as early as they come
        if count == 0:
            user = (vector.first, vector.last)
            stays = [tiles[tile]] if vector.first else [*stays, tiles[tile]]
        if vector.first:
            pending = [*pending[:count], [vector.numbers]]
        else:
            pending[count].append(vector.numbers)
        if vector.last:
            results.append((made(engine, pending[count], stays), int(vector.end)))
        count += 1
        if vector.end:
            tile, previous, count, is_open = tile + 1, count, 0, not vector.last
    return tuple(results), broken, 0


def _tiles(engine: Engine, words: Sequence[Word]) -> tuple[list[np.ndarray], int]:
    """Return the tiles that are whole, rows x columns, and the fault that ends them."""
    tiles = []
    for start in range(0, len(words), engine.columns):
        part = words[start : start + engine.columns]
        spoiled = False
        for column, word in enumerate(part):
            spoiled = spoiled or word.bad
            if spoiled or word.end != (column == engine.columns - 1):
                return tiles, CODES if spoiled else WEIGHTS
        if len(part) == engine.columns:
            tiles.append(np.array([word.numbers for word in reversed(part)], np.float32).T)
    return tiles, 0


def _breach(engine: Engine, vector: Word, count: int, previous: int, is_open: bool, user: tuple[bool, bool]) -> int:
    """Return the bit of what *vector*, number *count* of its tile, breaks; 0 where it breaks nothing."""
    if count:
        if (vector.first, vector.last) != user:
            return CHANGED
    elif vector.first and is_open:
        return ABANDONED
    elif not vector.first and not is_open:
        return ORPHANED
    if vector.first and not vector.last and not vector.end and count + 1 == engine.vectors:
        return LONG
    return OTHER if not vector.first and vector.end != (count + 1 == previous) else 0


def _rounded(engine: Engine, numbers: Sequence[Sequence[float]], stays: Sequence[np.ndarray]) -> int:
    left = np.array([list(itertools.chain(*numbers))], np.float32)
    product = matmul(left, np.concatenate(stays), engine.mac, result=engine.result)[0]
    codes = product.astype(np.float32).view(np.uint32) >> (32 - engine.result_bits)
    return sum(int(code) << engine.result_bits * column for column, code in enumerate(codes))


def _hashed(engine: Engine, numbers: Sequence[Sequence[float]], stays: Sequence[np.ndarray]) -> int:
    state_bits, word = engine.mac.accumulator_bits + 13, 0
    left = to_codes(np.array(list(itertools.chain(*numbers)), np.float32), engine.mac.format).tolist()
    for column, weights in enumerate(np.concatenate(stays).T):
        state = 0x200 << engine.mac.accumulator_bits
        for a, b in zip(left, to_codes(np.ascontiguousarray(weights), engine.mac.format).tolist(), strict=True):
            state = (5 * state + a * b + 1) & ((1 << state_bits) - 1)
        word |= (state & ((1 << engine.result_bits) - 1)) << engine.result_bits * column
    return word


def whole_numbers(verilog: str) -> str:
    """Return an engine's *verilog* with multiply-adds of whole numbers, as late as before: what a bench has done in no time."""
    for name, body in _WHOLE.items():
        start = verilog.index(f"module {name} #(")
        inside = verilog.index("\n);\n", start) + 4
        verilog = verilog[:inside] + body + verilog[verilog.index("\nendmodule", inside) :]
    return verilog


_WHOLE = {
    "float_decode": "  assign operand = {{(OPERAND_EXPONENT_BITS-EXPONENT_BITS+1){1'b0}}, code};",
    "column_end": "  reg [W+12:0] held;\n  always @(posedge clock) held <= state;\n  assign code = held[RESULT_BITS-1:0];",
    "mac_element": """
  reg [EXPONENT_BITS+FRACTION_BITS+1:0] weight;
  reg [W+12:0] early, late, later;
  wire [W+12:0] product, sum;
  assign product = operand_out * weight;
  assign sum = (state_in << 2) + state_in + (DEPTH > 2 ? early : product) + 1;
  always @(posedge clock) begin
    operand_out <= operand_in;
    if (load) weight <= operand_out;
    early <= product;
    late <= sum;
    later <= late;
    state_out <= DEPTH == 1 ? sum : DEPTH == 4 ? later : late;
  end""",
}


_BENCH = """
module bench;
  reg aclk;
  reg aresetn;
  reg [WEIGHT-1:0] weight [0:4095];
  reg              weight_end [0:4095];
  reg [VECTOR-1:0] vector [0:4095];
  reg              vector_end [0:4095];
  reg [1:0]        vector_user [0:4095];
  reg  wv, av, rr;
  wire wr, ar, rv, rl;
  wire [RESULT-1:0] result;
  wire [FAULT-1:0]  fault;
  reg [31:0] noise;
  integer file, count_w, count_a, rest, stop, i, w, a, idle, clocks, read;
  TOP dut (
    .aclk(aclk), .aresetn(aresetn), .fault(fault),
    .s_axis_weights_tdata(weight[w]), .s_axis_weights_tlast(weight_end[w]),
    .s_axis_weights_tvalid(wv), .s_axis_weights_tready(wr),
    .s_axis_activations_tdata(vector[a]), .s_axis_activations_tuser(vector_user[a]),
    .s_axis_activations_tlast(vector_end[a]), .s_axis_activations_tvalid(av), .s_axis_activations_tready(ar),
    .m_axis_results_tdata(result), .m_axis_results_tlast(rl), .m_axis_results_tvalid(rv), .m_axis_results_tready(rr)
  );
  function [31:0] next;
    input [31:0] x;
    reg [31:0] y;
    begin
      y = x ^ (x << 13);
      y = y ^ (y >> 17);
      next = y ^ (y << 5);
    end
  endfunction
  initial begin
    noise = 32'd2463534242;
    aclk = 1'b0;
    aresetn = 1'b0;
    wv = 1'b0; av = 1'b0; rr = 1'b0;
    w = 0; a = 0;
    file = $fopen("cases.txt", "r");
    read = $fscanf(file, "%d %d %d %d\\n", count_w, count_a, rest, stop);
    while (read == 4) begin
      for (i = 0; i < count_w; i = i + 1) read = $fscanf(file, "%h %b\\n", weight[i], weight_end[i]);
      for (i = 0; i < count_a; i = i + 1) read = $fscanf(file, "%h %b %b\\n", vector[i], vector_user[i], vector_end[i]);
      weight_end[count_w] = 1'b0; weight[count_w] = 0;
      vector_end[count_a] = 1'b0; vector_user[count_a] = 2'b00; vector[count_a] = 0;
      aresetn = 1'b0; wv = 1'b0; av = 1'b0; rr = 1'b0; w = 0; a = 0;
      #1 aclk = 1'b1; #1 aclk = 1'b0;
      aresetn = 1'b1;
      idle = 0; clocks = 0;
      while (idle < IDLE && (stop == 0 || clocks < stop)) begin
        noise = next(noise);
        wv = w < count_w && noise[5:0] >= rest;
        av = a < count_a && noise[11:6] >= rest;
        rr = noise[17:12] >= rest;
        #1;  // all is settled: what happens at the edge is known
        idle = idle + 1;
        clocks = clocks + 1;
        if (rv && rr) $display("r %h %b", result, rl);
        i = {30'd0, wv && wr, av && ar};
        if (i != 0 || (rv && rr)) idle = 0;
        aclk = 1'b1; #1;
        if (i >= 2) w = w + 1;
        if (i % 2 == 1) a = a + 1;
        aclk = 1'b0;
      end
      $display("e %0d %0d %0d %0d", fault, w, a, clocks);
      read = $fscanf(file, "%d %d %d %d\\n", count_w, count_a, rest, stop);
    end
    $finish;
  end
endmodule
"""


def run_cases(engine: Engine, cases: Sequence[Case], simulator: str, folder: Path, verilog: str = "") -> list[Seen]:
    """Return what came of every case: one build, one run, a reset of one clock before each case. ``verilog``: other text."""
    lines = []
    for case in cases:
        lines.append(f"{len(case.weights)} {len(case.vectors)} {case.rest} {case.stop}")
        lines += [f"{word.word:x} {word.end:d}" for word in case.weights]
        lines += [f"{word.word:x} {word.last:d}{word.first:d} {word.end:d}" for word in case.vectors]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.txt").write_text("\n".join([*lines, ""]))
    widths = {
        "WEIGHT": engine.weight_word_bits,
        "VECTOR": engine.activation_word_bits,
        "RESULT": engine.columns * engine.result_bits,
        "FAULT": 6 if engine.codes is None else 7,
    }
    bench = _BENCH.replace("TOP dut", f"{engine.top} dut").replace("IDLE", f"{engine.latency + engine.columns + 40}")
    for name, bits in widths.items():
        bench = bench.replace(f"[{name}-1:0]", f"[{bits - 1}:0]")
    (folder / "bench.v").write_text(bench + (verilog or engine_verilog(engine)))
    if simulator == "icarus":
        run_tool(find_icarus(), ["-g2005", "-s", "bench", "-o", "bench", "bench.v"], timeout=120, folder=folder)
        said = run_tool(Tool("vvp", ("vvp",)), ["-n", "bench"], timeout=120, folder=folder).output
    else:
        options = ["--binary", "--timing", "-Wno-fatal", "-Wno-lint", "-O0", "--top-module", "bench", "-Mdir", "made"]
        flags = [
            "-CFLAGS",
            "-std=c++20 -fcoroutines",
            "-MAKEFLAGS",
            f"CFG_CXXFLAGS_PCH_I=-include PYTHON3={sys.executable}",
        ]
        run_tool(find_verilator(), [*options, *flags, "bench.v"], timeout=300, folder=folder)
        said = run_tool(Tool("bench", (str(folder / "made" / "Vbench"),)), [], timeout=120, folder=folder).output
    seen, results = [], []
    for line in said.splitlines():
        kind, *values = line.split()
        if kind == "r":
            results.append((int(values[0], 16), int(values[1])))
        elif kind == "e":
            seen.append(Seen(tuple(results), *map(int, values)))
            results = []
    assert len(seen) == len(cases)
    return seen


def mutated(engine: Engine, case: Case, source: random.Random) -> Case:
    """Return *case* with a few words broken at random: tlast, tuser, words lost or sent twice, exponents out of range."""
    weights, vectors = list(case.weights), list(case.vectors)
    for _ in range(source.randint(1, 2)):
        words = source.choice((weights, vectors, vectors))
        at = source.randrange(len(words))
        kind = source.choice(("end", "user", "tile", "lost", "twice", "codes", "cut"))
        code = engine.weight_codes if words is weights else engine.activation_codes
        if kind == "end":
            words[at] = replace(words[at], end=not words[at].end)
        elif kind == "user":
            name = source.choice(("first", "last"))
            words[at] = replace(words[at], **{name: not getattr(words[at], name)})
        elif kind == "tile":
            name = source.choice(("first", "last"))
            here = next((i for i in range(at, len(words)) if words[i].end), at)
            start = next((i for i in range(at, 0, -1) if words[i - 1].end), 0)
            for i in range(start, here + 1):
                words[i] = replace(words[i], **{name: not getattr(words[i], name)})
        elif kind == "lost" and len(words) > 1:
            del words[at]
        elif kind == "twice":
            words.insert(at, words[at])
        elif kind == "cut":
            del words[at + 1 :]
        elif code is not None:
            exponent = source.randint(128, 159)
            low = words[at].word & ((1 << 8 * engine.rows) - 1)
            words[at] = replace(words[at], word=low | exponent << 8 * engine.rows, bad=low != 0)
            if not low:
                words[at] = replace(words[at], numbers=(0.0,) * engine.rows)
    return replace(case, weights=tuple(weights), vectors=tuple(vectors), rest=source.choice((0, 0, 20, 32)))
