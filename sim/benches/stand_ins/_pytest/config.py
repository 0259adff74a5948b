"""Stands in for the settings of the hook beside it."""

from __future__ import annotations


class Config:
    """Nothing is asked of it."""
