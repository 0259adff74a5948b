"""Compare the timing analysis with ABC's own on ten designs, each mapped for area and for a clock, on each library.

ABC reads the library's own Liberty file and the mapped netlist; inputs have no slew and outputs no load on both sides.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from approxhw.backends.estimate import Surroundings, analyse, load_library, synthesise
from approxhw.backends.estimate.library.as_abc_reads import as_abc_reads
from approxhw.backends.estimate.library.cells import CellLibrary
from approxhw.backends.estimate.netlist.netlist import Netlist
from approxhw.backends.estimate.netlist.text import netlist_verilog
from approxhw.backends.estimate.synthesis.timed import front, mapped, usable
from approxhw.common.tools import Tool, run_tool

sys.path.insert(0, str(Path(__file__).parent))
from common import RESULTS

DEFAULT = Path("../shared/liberty")
LIBRARIES = ("sky130hd_tt.lib.gz", "sg13g2_typ_1v20.lib.gz")
LIMIT = 0.05
DESIGNS = {
    "8 × 8 multiplier": "input [7:0] a, b, output [15:0] y); assign y = a * b;",
    "16 + 16 adder": "input [15:0] a, b, output [16:0] y); assign y = a + b;",
    "32-bit parity": "input [31:0] a, output y); assign y = ^a;",
    "16-bit left shifter": "input [15:0] a, input [3:0] s, output [15:0] y); assign y = a << s;",
    "16-bit comparator": "input [15:0] a, b, output y); assign y = a < b;",
    "multiply-add 6 × 6 + 12": "input [5:0] a, b, input [11:0] c, output [12:0] y); assign y = a * b + c;",
    "one select, 32 bits": "input s, input [31:0] a, b, output [31:0] y); assign y = s ? a : b;",
    "absolute difference": "input [11:0] a, b, output [11:0] y); assign y = a > b ? a - b : b - a;",
    "greatest of four": "input [7:0] a, b, c, d, output [7:0] y); wire [7:0] p = a > b ? a : b, q = c > d ? c : d;"
    " assign y = p > q ? p : q;",
    "leading zeros of 16": "input [15:0] a, output reg [4:0] y); integer i; always @* begin y = 16;"
    " for (i = 0; i < 16; i = i + 1) if (a[i]) y = 15 - i; end",
}
BARE = Surroundings(input_slew=0.0, output_load=0.0, wires=False)


def main() -> None:
    """Measure, print, and write the result; end with an error where the limit is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--liberty", type=Path, default=DEFAULT, metavar="FOLDER", help=f"folder of {LIBRARIES}")
    folder = parser.parse_args().liberty
    missing = [name for name in LIBRARIES if not (folder / name).is_file()]
    if missing:
        sys.stderr.write(f"skipped: {folder} lacks {', '.join(missing)}; name the folder with --liberty\n")
        return
    rows, worst, apart = [], 0.0, 0.0
    with tempfile.TemporaryDirectory(prefix="approxhw-benchmark-") as name:
        for library in LIBRARIES:
            plain = Path(name) / "library.lib"
            plain.write_bytes(gzip.decompress((folder / library).read_bytes()))
            cells = usable(load_library(folder / library))
            merged = as_abc_reads(cells)
            for design, body in DESIGNS.items():
                for purpose, netlist in circuits(f"module t({body} endmodule", cells):
                    theirs = abc_delay(netlist, plain, Path(name))
                    equal = analyse(replace(netlist, library=merged), BARE).delay_ps
                    ours = analyse(netlist, BARE).delay_ps
                    worst, apart = max(worst, abs(equal / theirs - 1)), max(apart, abs(ours / theirs - 1))
                    figures = f"{theirs:.1f} | {equal:.1f} | {equal / theirs - 1:+.2%} | {ours:.1f} | {ours / theirs - 1:+.2%}"
                    title = f"{library.split('_')[0]} | {design}, {purpose} | {len(netlist.instances)}"
                    rows.append(f"| {title} | {figures} |")
    lines = [
        "# Static timing beside ABC's\n",
        "    python benchmarks/timing_check.py --liberty ../shared/liberty\n",
        f"{len(rows)} mapped netlists; ps. *Equal terms*: every input has one arc, as ABC reads the library; *analysed*: the",
        "senses of an arc kept apart, as approxhw does it (docs/timing.md).\n",
        "| library | circuit | cells | ABC `stime` | equal terms | off | analysed | off |\n|---|---|---|---|---|---|---|---|",
        *rows,
        f"\nLargest difference on equal terms: {worst:.3%} (limit {LIMIT:.0%}); senses apart: {apart:.1%}.",
    ]
    text = "\n".join(lines) + "\n"
    sys.stdout.write(text)
    (RESULTS / "timing_check.md").write_text(text)
    if worst > LIMIT:
        raise SystemExit(f"off by {worst:.1%}, more than {LIMIT:.0%}")


def circuits(verilog: str, cells: CellLibrary) -> list[tuple[str, Netlist]]:
    """Return the design mapped for area by the ruler, and for speed with buffers and sizes."""
    return [("area", synthesise(verilog, "t", cells)), ("speed", mapped(front(verilog, "t", cells), 300.0, "kept"))]


def abc_delay(netlist: Netlist, liberty: Path, folder: Path) -> float:
    """Return the critical delay that ABC tells of *netlist*, in ps."""
    (folder / "mapped.v").write_text(netlist_verilog(netlist))
    spec = importlib.util.find_spec("pyosys")
    if spec is None or spec.origin is None:
        raise SystemExit("pyosys is not here: pip install pyosys")
    tool = Tool("yosys-abc", (str(Path(spec.origin).parent / "yosys-abc"), "-q"))
    script = f"read_lib {liberty}; read_verilog -m {folder / 'mapped.v'}; topo; stime -p"
    output = run_tool(tool, [script], timeout=120, folder=folder).output
    found = re.search(r"Delay = *([0-9.]+) ps", output)
    if found is None:
        raise SystemExit(f"ABC told no delay:\n{output[-1000:]}")
    return float(found[1])


if __name__ == "__main__":
    main()
