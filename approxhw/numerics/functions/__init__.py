"""Functions of one value: formulas, named activations, and the units that make them of codes, bit for bit."""
