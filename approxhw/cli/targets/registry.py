"""The targets that the command line knows, and how to find what each command takes and does for one of them.

A target of ours is a folder here: ``compile``, ``search``, ``simulate`` and ``estimate`` hold a ``KIND`` each, ``folder``
opens what stands on disk. Those of other packages are in ``other``. Nothing is loaded before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from approxhw.cli.parameters.kinds import Kind
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.options import suggestion

_HERE = "approxhw.cli.targets"
_OURS = {"printed": f"{_HERE}.printed", "matrix-engine": f"{_HERE}.matrix_engine"}
_BESIDE = {"compile": f"{_HERE}.printed.front", "estimate": f"{_HERE}.verilog"}
"""What a command works on besides models and designs of a target."""


def target_names() -> tuple[str, ...]:
    """Return the names of all targets, those of other packages last."""
    from approxhw.flow.targets import target_names as known

    return known()


def is_ours(name: str) -> bool:
    """Whether the target has options of the command line, not in braces behind its name."""
    return name in _OURS


def searched_names() -> tuple[str, ...]:
    """Return the names of the targets that can be searched for."""
    return tuple(_OURS)


def check_searched(name: str) -> None:
    """Refuse a target that cannot be searched for."""
    if name not in _OURS:
        why = f"there is no target {shown(name)!r}{suggestion(name, searched_names())}"
        raise OptionError("search", [Problem("--target", why)])


def kinds_of(command: str) -> list[Kind]:
    """Return what *command* takes and does for each target of ours, and for what else it works on."""
    beside = [_kind(_BESIDE[command])] if command in _BESIDE else []
    return [*(_kind(f"{package}.{command}") for package in _OURS.values()), *beside]


def _kind(module: str) -> Kind:
    kind: Kind = import_module(module).KIND
    return kind


def _folder(name: str) -> Any:
    return import_module(f"{_OURS[name]}.folder")


def target_of(folder: Path) -> str:
    """Return the target whose design is in *folder*; that of printed circuits where it is no other's: it says what is wrong."""
    first, *others = _OURS
    return next((name for name in others if _folder(name).is_there(folder)), first)


def opened(folder: Path) -> tuple[Any, Callable[[Any], dict[str, Any]]]:
    """Return the design in *folder*, and the function that says what ``--json`` prints of one."""
    module = _folder(target_of(folder))
    return module.open_folder(folder), module.summary
