"""Simulation: cocotb benches and runners for Icarus and Verilator, and test vectors."""
