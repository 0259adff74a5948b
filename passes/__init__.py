"""Passes: Graph → Graph, one file for one pass."""
