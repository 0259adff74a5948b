"""Passes that take channels, heads, ranks and neurons out of tensor Graphs, and the ground they stand on."""
