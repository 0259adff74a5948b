"""Multiply-accumulate: what one is, for integers and floating point, and its plain reference."""
