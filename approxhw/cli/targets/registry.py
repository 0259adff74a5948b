"""The targets that the command line knows, and how to find what each command takes and does for one of them.

A target of ours is a folder here: ``compile``, ``search``, ``simulate`` and ``estimate`` hold a ``KIND`` each, ``folder``
opens what stands on disk. Another one is a frozen dataclass with a method ``compile_model``; ``compile`` takes its fields.
Nothing is loaded before it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from approxhw.cli.parameters.kinds import Kind
from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.options import suggestion

SIMULATORS = ("icarus", "verilator")

_HERE = "approxhw.cli.targets"
_OURS = ("printed", "matrix_engine")
_BESIDE = {"compile": f"{_HERE}.printed.front", "estimate": f"{_HERE}.verilog"}
"""What a command works on besides models and designs of a target."""


def known_targets() -> Mapping[str, Callable[[], Any]]:
    """Return every target by name: a function that loads the folder of one of ours, or the dataclass of another one."""
    return {name.replace("_", "-"): _loader(f"{_HERE}.{name}") for name in _OURS}


def _loader(module: str) -> Callable[[], Any]:
    return lambda: import_module(module)


def target_names() -> tuple[str, ...]:
    """Return the names of all targets."""
    return tuple(known_targets())


def check_target(command: str, name: str) -> None:
    """Refuse a target that there is not."""
    if name not in target_names():
        why = f"there is no target {shown(name)!r}{suggestion(name, target_names())}"
        raise OptionError(command, [Problem("--target", why)])


def kinds_of(command: str) -> list[Kind]:
    """Return what *command* takes and does for each target, and for what else it works on."""
    found = []
    for name, load in known_targets().items():
        target = load()
        if not isinstance(target, type):
            found.append(_kind(f"{target.__name__}.{command}"))
        elif command == "compile":
            found.append(import_module(f"{_HERE}.other").compile_kind(name, target))
    return [*found, _kind(_BESIDE[command])] if command in _BESIDE else found


def _kind(module: str) -> Kind:
    kind: Kind = import_module(module).KIND
    return kind


def _folder(name: str) -> Any:
    return import_module(f"{known_targets()[name]().__name__}.folder")


def target_of(folder: Path) -> str:
    """Return the target whose design is in *folder*; that of printed circuits where it is no other's: it says what is wrong."""
    first, *others = (name.replace("_", "-") for name in _OURS)
    return next((name for name in others if _folder(name).is_there(folder)), first)


def opened(folder: Path) -> tuple[Any, Callable[[Any], dict[str, Any]]]:
    """Return the design in *folder*, and the function that says what ``--json`` prints of one."""
    module = _folder(target_of(folder))
    return module.open_folder(folder), module.summary
