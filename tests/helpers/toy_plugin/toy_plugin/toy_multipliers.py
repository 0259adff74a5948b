"""Two multipliers: a table of products, and a Verilog module with what it cannot say itself."""

from pathlib import Path

import numpy as np

from approxhw.numerics.multipliers.plugins import MultiplierFile
from approxhw.numerics.multipliers.tables import ProductTable, Stated, operand_values

# 8-bit signed weight × 4-bit unsigned x, the lowest two bits of the product cut off
_PRODUCTS = np.outer(operand_values(8, True), operand_values(4, False))
TABLE = ProductTable("toy-table", _PRODUCTS & ~3, "weight")

MODULE = MultiplierFile(Path(__file__).parent / "toy_multiplier.v", Stated(weight="w", signed="weight"))
