"""Elements and simulators that the tests here share with others."""

from __future__ import annotations

from engine_elements import making, simulator

__all__ = ["making", "simulator"]
