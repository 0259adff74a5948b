"""Passes: Graph → Graph, one file for one pass; ``approxhw.ir.pass_manager`` finds them by file name."""
