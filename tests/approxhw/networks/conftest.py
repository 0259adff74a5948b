"""Networks and problems that the tests here share with others."""

from __future__ import annotations

from genetic_problems import make_problem, networks

__all__ = ["make_problem", "networks"]
