"""Every product of a module, as Icarus simulates its text: what synthesis makes of it is held against this, x and z with it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import numpy as np

from approxhw.common.errors import ToolNotFoundError
from approxhw.common.files import temporary_folder
from approxhw.common.tools import Tool, find_icarus, run_tool
from approxhw.common.verilog_names import words_in

_BENCH = """
module {bench};
  reg [{weight_bits}:0] w;
  reg [{x_bits}:0] x;
  wire [{product_bits}:0] p;
  integer file, i, j;
  {module} each ({ports});
  initial begin
    file = $fopen("products", "w");
    for (i = 0; i < {weights}; i = i + 1)
      for (j = 0; j < {codes}; j = j + 1) begin
        w = i;
        x = j;
        #1 $fdisplay(file, "%h", p);
      end
    $fclose(file);
    $finish;
  end
endmodule
"""


@dataclass(frozen=True, eq=False)
class SimulatedProducts:
    """``patterns``: int64, 2^weight_bits × 2^x_bits, 0 where a bit is undefined; ``undefined``: bool, where one is."""

    patterns: np.ndarray
    undefined: np.ndarray


def simulated_products(
    verilog: str, module: str, ports: tuple[str, str, str], widths: tuple[int, int, int], timeout: float
) -> SimulatedProducts:
    """Return what *module* of *verilog* makes of every pair of operands.

    ``ports``, ``widths``: of weight, x and product. The text must hold no system tasks: it is run. Raises the tool errors.
    """
    icarus = find_icarus()
    simulator = shutil.which("vvp")
    if simulator is None:
        raise ToolNotFoundError("vvp", "it belongs to Icarus Verilog: install that, and see that it is on PATH")
    words, bench = words_in(verilog), "every_product"
    while bench in words:
        bench += "_"
    weights, codes = 1 << widths[0], 1 << widths[1]
    text = verilog + _BENCH.format(
        bench=bench,
        module=f"\\{module} ",
        ports=", ".join(f".\\{port} ({wire})" for port, wire in zip(ports, "wxp", strict=True)),
        weight_bits=widths[0] - 1,
        x_bits=widths[1] - 1,
        product_bits=widths[2] - 1,
        weights=weights,
        codes=codes,
    )
    with temporary_folder("products") as folder:
        (folder / "products.v").write_text(text, encoding="utf-8")
        run_tool(icarus, ["-g2012", "-s", bench, "-o", "bench.vvp", "products.v"], timeout=timeout, folder=folder)
        run_tool(Tool("vvp", (simulator,)), ["-n", "bench.vvp"], timeout=timeout, folder=folder)
        lines = (folder / "products").read_text(encoding="ascii").split()
    undefined = np.array([not set(each.lower()).isdisjoint("xz") for each in lines])
    patterns = np.array(
        [0 if bad else int(each, 16) for each, bad in zip(lines, undefined, strict=True)], dtype=np.int64
    )
    return SimulatedProducts(patterns.reshape(weights, codes), undefined.reshape(weights, codes))
