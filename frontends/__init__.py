"""Frontends: a model file → Graph."""
