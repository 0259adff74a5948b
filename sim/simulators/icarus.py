"""Icarus Verilog: interprets, starts at once."""

from __future__ import annotations

from approxhw.common import tools

from .registry import Bench, Build, Simulator


def _find() -> tools.Tool:
    return tools.find_icarus()


def _prepare(bench: Bench, tool: tools.Tool) -> Build:
    return Build(bench.sources, ("-g2005",))


ICARUS = Simulator("icarus", runner="icarus", find=_find, prepare=_prepare)
