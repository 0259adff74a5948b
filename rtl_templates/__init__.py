"""Verilog that depends on parameters only, never on weights; one module a file."""
