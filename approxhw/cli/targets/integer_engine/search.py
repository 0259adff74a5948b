"""``approxhw search --target integer-engine``: the operator, and the edit of its weights, of every layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from approxhw.cli.parameters.kinds import CommandKind, Json
from approxhw.cli.targets.engine_search import Workers, search_of_engine
from approxhw.cli.targets.shared import OpenSizes, SearchOptions
from approxhw.common.errors import OptionError, Problem
from approxhw.common.option_fields import nested
from approxhw.engine.integers.operator_search.settings import IntegerSearch
from approxhw.engine.integers.target import IntegerEngine

from .compile import IS_FOR

if TYPE_CHECKING:
    from approxhw.cli.terminal.terminal import Terminal


@dataclass(frozen=True)
class IntegerSearchOptions:
    """What ``search`` takes for integer engines."""

    target: IntegerEngine = nested(IntegerEngine(), without="compile_only")
    evolution: IntegerSearch = nested(IntegerSearch())
    open: OpenSizes = nested(OpenSizes())
    workers: Workers = nested(Workers())

    def problems(self, said: Mapping[str, object]) -> list[Problem]:
        """Return what is wrong with the array and with sizes."""
        found: list[Problem] = []
        for look in (self.target.check, self.open.sizes):
            try:
                look()
            except OptionError as error:
                found += error.problems
        return found


def run(terminal: Terminal, asked: SearchOptions, own: IntegerSearchOptions) -> Json:
    """Search operators for every layer of a model as the command line asks for it."""
    return search_of_engine(terminal, asked, own.target, own.evolution, own.open, own.workers)


KIND = CommandKind("integer-engine", "Target integer-engine", IntegerSearchOptions, run, is_for=IS_FOR)
