"""Passes on functions of one value: how hardware makes them."""
