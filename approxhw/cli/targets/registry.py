"""The targets that the command line knows, and how to find what each command takes and does for one of them.

A target of ours is a folder here: ``compile``, ``search``, ``simulate`` and ``estimate`` hold a ``KIND`` each. Those of other
packages share ``added``. Nothing is loaded before it is asked for.
"""

from __future__ import annotations

from importlib import import_module

from approxhw.cli.parameters.kinds import CommandKind
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.options import suggestion

_HERE = "approxhw.cli.targets"
_OURS = {
    "printed": f"{_HERE}.printed",
    "matrix-engine": f"{_HERE}.matrix_engine",
    "integer-engine": f"{_HERE}.integer_engine",
}
_BESIDE = {
    "compile": (f"{_HERE}.printed.front",),
    "simulate": (f"{_HERE}.added.simulate",),
    "estimate": (f"{_HERE}.verilog", f"{_HERE}.added.estimate"),
}
"""What a command works on besides models and designs of our targets."""


def target_choices() -> tuple[str, ...]:
    """Return the names of all targets, those of other packages last."""
    from approxhw.flow.stages.targets import target_names

    return target_names()


def is_ours(name: str) -> bool:
    """Whether the target has options of the command line, not in braces behind its name."""
    return name in _OURS


def searched_names() -> tuple[str, ...]:
    """Return the names of the targets that can be searched for: ours."""
    return tuple(_OURS)


def check_searched(name: str) -> None:
    """Refuse a target that cannot be searched for."""
    if name not in _OURS:
        why = f"there is no target {shown(name)!r}{suggestion(name, searched_names())}"
        raise OptionError("search", [Problem("--target", why)])


def kinds_of(command: str) -> list[CommandKind]:
    """Return what *command* takes and does for each target of ours, and for what else it works on."""
    beside = _BESIDE.get(command, ())
    return [_kind(module) for module in (*(f"{room}.{command}" for room in _OURS.values()), *beside)]


def _kind(module: str) -> CommandKind:
    kind: CommandKind = import_module(module).KIND
    return kind
