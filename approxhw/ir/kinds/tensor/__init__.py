"""Ops of Graphs over whole tensors, their rules, and their products as plain matrix products."""
