"""Searches as passes: a Graph goes in, the one that a rule chooses among many comes out."""
