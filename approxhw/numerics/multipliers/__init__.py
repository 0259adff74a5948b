"""Approximate multipliers: their plain references, tables of all products, and those that other packages add."""
