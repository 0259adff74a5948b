"""Activation units, and softmax and layer norm of rows, as Verilog modules of their own."""
