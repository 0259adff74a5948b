"""The competitor: a mapped netlist on Icarus Verilog under a plain bench, as fast as we can write one.

Vectors and expected outputs come in by ``$readmemh``; the bench applies a vector, waits one step, compares one word
with ``!==`` and counts; nothing is printed in the loop. Cells are Verilog gate primitives where the function is one
(measured: 1.7 times the rate of continuous assignments), else continuous assignments.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from approxhw.backends.estimate import Netlist
from approxhw.backends.estimate.library import logic
from approxhw.backends.estimate.synthesis.proofs import spell_verilog
from approxhw.common.tools import Tool, find_icarus, run_tool

PRIMITIVES = {  # truth table over two pins → primitive; bit s of the table is the value in state s
    0b0111: "nand",
    0b1000: "and",
    0b1110: "or",
    0b0001: "nor",
    0b0110: "xor",
    0b1001: "xnor",
}


@dataclass(frozen=True)
class IcarusRun:
    """How many vectors were compared, how many differed, and the CPU seconds of the simulation alone."""

    vectors: int
    mismatches: int
    seconds: float


def models(netlist: Netlist, primitives: bool = True) -> str:
    """Return Verilog modules for the cells that *netlist* uses."""
    text = []
    for name in netlist.cells_by_type():
        cell = netlist.library.cells[name]
        (output, function), *_ = cell.functions.items()
        table = logic.table(function, cell.inputs)
        ports = ", ".join([*(f"input {pin}" for pin in cell.inputs), f"output {output}"])
        if primitives and len(cell.inputs) == 2 and table in PRIMITIVES:
            body = f"{PRIMITIVES[table]} g({output}, {', '.join(cell.inputs)});"
        elif primitives and len(cell.inputs) == 1:
            body = f"{'not' if table == 0b01 else 'buf'} g({output}, {cell.inputs[0]});"
        else:
            body = f"assign {output} = {spell_verilog(function)};"
        text.append(f"module {name}({ports}); {body} endmodule")
    return "\n".join(text) + "\n"


def words(ports: Mapping[str, int], codes: Mapping[str, np.ndarray], count: int) -> str:
    """Return *count* hexadecimal words, the first port in the lowest bits."""
    rows = [0] * count
    position = 0
    for name, bits in ports.items():
        for index, code in enumerate(codes[name][:count].tolist()):
            rows[index] |= code << position
        position += bits
    return "\n".join(f"{row:x}" for row in rows) + "\n"


def prepare(
    netlist: Netlist, vectors: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], folder: Path, count: int
) -> None:
    """Write netlist, bench and vectors to *folder* and compile them; ``vvp`` then runs ``bench.vvp``."""
    inputs = {port.name: len(port.nets) for port in netlist.data_inputs}
    outputs = {port.name: len(port.nets) for port in netlist.outputs}
    (folder / "vectors.hex").write_text(words(inputs, vectors, count))
    (folder / "expected.hex").write_text(words(outputs, expected, count))
    wide, narrow = sum(inputs.values()), sum(outputs.values())
    connections = []
    for ports, word in ((inputs, "vector"), (outputs, "seen")):
        position = 0
        for name, bits in ports.items():
            connections.append(f".{name}({word}[{position + bits - 1}:{position}])")
            position += bits
    (folder / "bench.v").write_text(
        f"""module bench;
  reg [{wide - 1}:0] vectors [0:{count - 1}];
  reg [{narrow - 1}:0] expected [0:{count - 1}];
  reg [{wide - 1}:0] vector;
  wire [{narrow - 1}:0] seen;
  integer i, n, mismatches;
  {netlist.top} circuit({", ".join(connections)});
  initial begin
    $readmemh("vectors.hex", vectors);
    $readmemh("expected.hex", expected);
    if (!$value$plusargs("n=%d", n)) n = {count};
    mismatches = 0;
    for (i = 0; i < n; i = i + 1) begin
      vector = vectors[i];
      #1 if (seen !== expected[i]) mismatches = mismatches + 1;
    end
    $display("vectors %0d mismatches %0d", n, mismatches);
    $finish;
  end
endmodule
"""
    )
    (folder / "netlist.v").write_text(netlist.verilog + models(netlist))
    run_tool(find_icarus(), ["-o", "bench.vvp", "bench.v", "netlist.v"], timeout=120, folder=folder)


def run(folder: Path, count: int) -> IcarusRun:
    """Simulate the first *count* vectors of what :func:`prepare` wrote; CPU time of the ``vvp`` process, all of it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    finished = run_tool(Tool("vvp", ("vvp",)), ["-n", "bench.vvp", f"+n={count}"], timeout=600, folder=folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    line = next(text for text in finished.output.splitlines() if text.startswith("vectors "))
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return IcarusRun(int(line.split()[1]), int(line.split()[3]), seconds)
