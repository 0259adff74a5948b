"""Passes: Graph → Graph, one file for one pass; ``approxhw.pipeline`` finds them by file name."""
