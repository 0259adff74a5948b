"""Mapped netlists: read, printed, simulated 64 vectors a word."""
