"""Typed errors, all of them: what went wrong, where, why, and what to do about it.

Every error that a user can cause is an :class:`ApproxhwError`. The command line prints its text and leaves with its
``exit_code``; a traceback is shown only with ``-v``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


def shown(text: object, limit: int = 80) -> str:
    """Return *text* as one printable line of at most *limit* characters: names from files are not trusted."""
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    ``where``: the node, file, column or option. ``why``: what is wrong with it. ``remedy``: what to do.
    """

    where: str
    why: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return ``where: why`` and, on a second line, what to do."""
        head = f"{shown(self.where, 160)}: {self.why}"
        return f"{head}\n    do: {self.remedy}" if self.remedy else head


class ApproxhwError(Exception):
    """Base of every error that a user can cause; ``exit_code`` is what the command line leaves with."""

    exit_code = 1


class ProblemsError(ApproxhwError):
    """An error that lists every :class:`Problem` at once: equal ones once, those of many places in one line."""

    def __init__(self, subject: str, problems: Sequence[Problem]) -> None:
        self.subject = subject
        self.problems = tuple(dict.fromkeys(problems))
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{shown(subject, 160)}: {count}{_listed(self.problems)}")


GROUPED = 3
"""Problems that differ in nothing but their place are told once from this many on."""
NAMED = 12
"""Places of such a group that are named at most."""


def _listed(problems: Sequence[Problem]) -> str:
    """Return *problems* as lines; those that differ in nothing but their place stand together, behind the first of them."""
    groups: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        groups.setdefault((problem.why, problem.remedy), []).append(problem)
    lines = []
    for problem in problems:
        group = groups[problem.why, problem.remedy]
        if len(group) < GROUPED:
            lines.append(f"\n  {problem}")
        elif problem is group[0]:
            kind = _kind_of(group)
            others = [shown(other.where.removeprefix(kind).strip(), 160) for other in group[1:]]
            left = len(others) - NAMED
            more = f", and {left} {'other' if left == 1 else 'others'}" if left > 0 else ""
            noun = f" {kind}s" if kind else ""
            lines.append(f"\n  {problem}\n    and {len(others)} more{noun}: {', '.join(others[:NAMED])}{more}")
    return "".join(lines)


def _kind_of(group: Sequence[Problem]) -> str:
    """Return the word that the places of all of *group* begin with, such as ``node``; empty where there is none."""
    words = {problem.where.partition(" ")[0] for problem in group}
    return words.pop() if len(words) == 1 and words <= {"node", "input", "output", "initializer", "layer"} else ""


class OptionError(ProblemsError):
    """An option of a command, function or pass is unknown or has a value it cannot have."""

    exit_code = 2


class UnsupportedModelError(ProblemsError):
    """The model file is whole, but holds nodes or settings that approxhw cannot compile."""

    exit_code = 3


class InvalidModelError(ProblemsError):
    """The model file is broken, or describes something that cannot exist."""

    exit_code = 4


class InvalidDataError(ProblemsError):
    """Rows or labels are unusable, or do not fit the model."""

    exit_code = 5


class GraphError(ProblemsError):
    """A Graph breaks a rule of ``docs/ir.md``, or a text is no Graph."""

    exit_code = 6


class PassError(ProblemsError):
    """A pass cannot do its work on this Graph, or broke it."""

    exit_code = 7


class OutputError(ProblemsError):
    """A result cannot be written where it was asked for."""

    exit_code = 8


class InvalidDesignError(ProblemsError):
    """A design folder is incomplete, altered, or none at all."""

    exit_code = 9


class LibraryError(ProblemsError):
    """A cell library is unreadable or lacks a figure that an estimate needs."""

    exit_code = 10


class VerilogError(ProblemsError):
    """Verilog describes no circuit that could be measured: nets that nothing drives, parts without contents, files unread."""

    exit_code = 18


class CheckpointError(ProblemsError):
    """A checkpoint is unreadable, or of another search than the one that is to go on."""

    exit_code = 15


class WorkersError(ApproxhwError):
    """The workers of a search are not there, went away, or cannot be given the work."""

    exit_code = 16

    def __init__(self, what: str, remedy: str) -> None:
        self.what, self.remedy = what, remedy
        super().__init__(f"{what}\n    do: {remedy}")


class PluginError(ProblemsError):
    """What an installed package adds to approxhw cannot be used, or has the name of something else."""

    exit_code = 17


class MismatchError(ApproxhwError):
    """Hardware and model disagree; ``file`` holds every vector with the expected and the seen value."""

    exit_code = 11

    def __init__(self, what: str, mismatches: int, vectors: int, file: Path, remedy: str = "") -> None:
        self.mismatches, self.vectors, self.file = mismatches, vectors, file
        remedy = remedy or "this is a defect of approxhw, never of your model; please report it with that file"
        super().__init__(
            f"{what}: {mismatches} of {vectors} vectors differ\n"
            f"    vector, expected and seen value: {file}\n"
            f"    do: {remedy}"
        )


class ToolNotFoundError(ApproxhwError):
    """An external program is missing, or what is there lacks a feature; ``hint`` says how to get it."""

    exit_code = 12

    def __init__(self, tool: str, hint: str) -> None:
        self.tool, self.hint = tool, hint
        super().__init__(f"{tool}: not usable here\n    do: {hint}")


class ToolFailedError(ApproxhwError):
    """An external program left with an error; the text ends with the tail of its log."""

    exit_code = 13

    def __init__(self, tool: str, code: int, tail: str, log: Path | None = None) -> None:
        self.tool, self.code, self.tail, self.log = tool, code, tail, log
        where = f" (whole log: {log})" if log else ""
        ending = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
        super().__init__(f"{tool}: {ending}{where}\n{_indent(tail)}")


class ToolTimeoutError(ApproxhwError):
    """An external program did not end in its time; it and all it started were ended."""

    exit_code = 14

    def __init__(self, tool: str, seconds: float, tail: str, log: Path | None = None) -> None:
        self.tool, self.seconds, self.tail, self.log = tool, seconds, tail, log
        where = f" (whole log: {log})" if log else ""
        super().__init__(f"{tool}: not done after {seconds:g} s, ended{where}\n{_indent(tail)}")


def _indent(tail: str) -> str:
    return "\n".join(f"    | {line}" for line in tail.splitlines()) or "    | (no output)"
