"""Stands in for the inside of pytest: what cocotb imports of it before it sees that no assertion is to be rewritten."""
