"""Small multipliers as operator libraries have them: gates, ports without signs, figures in comments or beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

MODULE = """module {name} ( A, B, O );
  input [3:0] A;
  input [3:0] B;
  output [7:0] O;
  wire {sign}[3:0] a, b;
  wire {sign}[7:0] whole;
  assign a = A;
  assign b = B;
  assign whole = a * b;
  assign O = {{whole[7:{cut}], {cut}'b0}};
endmodule
"""
"""4 × 4 bits; no port says signed; the *cut* lowest bits of the product are 0."""


def module_text(name: str = "mul4s", cut: int = 2, signed: bool = True) -> str:
    """Return a multiplier of two signed operands, or of two unsigned ones."""
    return MODULE.format(name=name, cut=cut, sign="signed " if signed else "")


@pytest.fixture(scope="session")
def gates() -> Callable[..., str]:
    """Return what writes a multiplier of 4 × 4 bits: name, lowest bits that are 0, whether both operands are signed."""
    return module_text


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder as a user has it: two good modules and a copy, one with state, one of 3 × 3 bits, a text that is none, notes."""
    folder = tmp_path / "lib"
    (folder / "signed").mkdir(parents=True)
    (folder / "signed" / "mul4s_A.v").write_text(module_text("mul4s_A", 2))
    (folder / "signed" / "mul4s_B.v").write_text(module_text("mul4s_B", 4))
    (folder / "signed" / "copy").mkdir()
    (folder / "signed" / "copy" / "mul4s_A.v").write_text("// of another front\n" + module_text("mul4s_A", 2))
    ports = "input [3:0] A, input [3:0] B, output reg [7:0] O"
    clocked = f"module clocked(input c, {ports});\n  always @(posedge c) O <= A * B;\nendmodule\n"
    (folder / "clocked.v").write_text(clocked)
    narrow = "module narrow(input [2:0] A, input [2:0] B, output [5:0] O);\n  assign O = A * B;\nendmodule\n"
    (folder / "narrow.v").write_text(narrow)
    (folder / "broken.v").write_text("module broken(input [3:0] A;\n")
    (folder / "notes.txt").write_text("not a multiplier")
    return folder


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write a module to a file, by default one of two signed operands of 4 bits that leaves out 2, and JSON beside it."""

    def write(text: str = "", name: str = "mul4s.v", **beside: object) -> Path:
        path = tmp_path / name
        path.write_text(text or module_text(Path(name).stem))
        for file, content in beside.items():
            (tmp_path / f"{file}.json").write_text(json.dumps(content))
        return path

    return write
