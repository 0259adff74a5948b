"""Passes that turn real numbers into codes."""
