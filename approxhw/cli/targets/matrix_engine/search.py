"""``approxhw search --target matrix-engine``: the cheapest arithmetic of every matrix product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.cli.targets.engine_search import Workers, search_of_engine
from approxhw.cli.targets.shared import OpenSizes, SearchOptions
from approxhw.common.errors import Problem
from approxhw.common.option_fields import nested
from approxhw.engine.matrix.settings import EngineSearch
from approxhw.engine.matrix.target import MatrixEngine

from .compile import problems_of
from .folder import IS_FOR

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class EngineSearchOptions:
    """What ``search`` takes for matrix engines."""

    target: MatrixEngine = nested(MatrixEngine(), without="compile_only")
    evolution: EngineSearch = nested(EngineSearch())
    open: OpenSizes = nested(OpenSizes())
    workers: Workers = nested(Workers())

    def problems(self, said: Mapping[str, object]) -> list[Problem]:
        """Return what is wrong with the array and with sizes."""
        return problems_of(self.target, self.open)


def run(terminal: Terminal, asked: SearchOptions, own: EngineSearchOptions) -> Json:
    """Search arithmetic for every product of a model as the command line asks for it."""
    return search_of_engine(terminal, asked, own.target, own.evolution, own.open, own.workers)


KIND = CommandKind("matrix-engine", "Target matrix-engine", EngineSearchOptions, run, is_for=IS_FOR)
