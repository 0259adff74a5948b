"""Verilog -> a mapped netlist, by Yosys and ABC; recipes, proofs, timed mapping."""
