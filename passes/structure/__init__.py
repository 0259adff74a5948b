"""Passes that take channels, heads, ranks and neurons out of tensor Graphs; what they stand on is in ``ground``."""
