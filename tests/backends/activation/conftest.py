"""Simulators that the tests here share with others."""

from __future__ import annotations

from engine_elements import simulator

__all__ = ["simulator"]
