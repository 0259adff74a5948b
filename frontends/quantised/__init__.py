"""Quantised models: their quantisers, and the integer Graph that says exactly what they say."""
