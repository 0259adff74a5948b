"""Printed circuits: the target, how a model becomes a design, and what is said of it."""
