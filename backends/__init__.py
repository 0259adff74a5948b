"""Backends: Graph → Verilog."""
