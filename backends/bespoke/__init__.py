"""Graph -> a circuit with every weight wired in, in Verilog."""
