"""Exact rationals behind integers: how they round, and which integers round or order alike."""
