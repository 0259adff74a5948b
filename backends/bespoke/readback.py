"""Read Verilog back with pyverilog: modules, ports, widths, instances; and check what was emitted against its circuit."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import io
import os
import re
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

from approxhw.common.errors import GraphError, InvalidDesignError, Problem, shown
from approxhw.common.files import temporary_folder
from approxhw.common.tools import cache_folder

from .emit import Emitted

if TYPE_CHECKING:
    from pyverilog.vparser import ast
    from pyverilog.vparser.parser import VerilogParser


@dataclass(frozen=True)
class ModulePort:
    """A port: its direction (``input``, ``output``, ``inout``) and bits; None where a parameter decides the width.

    ``signed``: whether it is declared so.
    """

    name: str
    direction: str
    bits: int | None
    signed: bool = False


@dataclass(frozen=True)
class ModuleInfo:
    """A module as pyverilog reads it: ports in order, and (module, instance) of everything it instantiates.

    ``clocked``: names assigned at an edge; ``unclocked``: those that other ``always`` blocks assign.
    """

    name: str
    ports: tuple[ModulePort, ...]
    instances: tuple[tuple[str, str], ...]
    clocked: tuple[str, ...] = ()
    unclocked: tuple[str, ...] = ()


def read_modules(verilog: str, subject: str = "Verilog") -> dict[str, ModuleInfo]:
    """Return every module of *verilog* (Verilog-2005 without compiler directives), by name.

    Raises :class:`InvalidDesignError` with the parser's words where it is no such text.
    """
    longest = max(map(len, _WORD.findall(verilog)), default=0)
    if longest > _LONGEST_WORD:  # its lexer keeps every character of a word apart
        why = f"a word in it has {longest} characters; {_LONGEST_WORD} are the most"
        raise InvalidDesignError(subject, [Problem("pyverilog", why)])
    found = {}
    try:
        for module in _parsed(verilog, subject).description.definitions:
            if type(module).__name__ == "ModuleDef":
                info = _module(module)
                found[info.name] = info
    # what pyverilog, and the walk over its tree, trip over in texts that are no Verilog, or nested without end
    except (LookupError, ValueError, TypeError, AttributeError, StopIteration, RecursionError) as error:
        why = f"cannot make sense of it ({type(error).__name__}: {shown(error, 60)})"
        remedy = "give Verilog-2005 without directives"
        raise InvalidDesignError(subject, [Problem("pyverilog", why, remedy)]) from error
    return found


_WORD, _LONGEST_WORD = re.compile(r"\w++"), 100_000
_Part = TypeVar("_Part")  # a class of pyverilog's AST
_PARSER = threading.Lock()
TABLES = "pyverilog.vparser.parsetab"


def _parsed(verilog: str, subject: str) -> ast.Source:
    from pyverilog.vparser.parser import ParseError

    # pyverilog prints about its tables: it is quieted
    with _PARSER, contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        parser = _parser()
        parser.lexer.reset_lineno()
        try:
            return parser.parse(verilog, debug=False)
        except ParseError as error:
            raise InvalidDesignError(
                subject,
                [Problem("pyverilog", f"cannot read it: {shown(error)}", "give Verilog-2005 without directives")],
            ) from error


@functools.cache
def _parser() -> VerilogParser:
    """Return the one parser of this process: making its tables takes a second, reading those in the cache folder a tenth."""
    from pyverilog.vparser.parser import VerilogParser

    with _tables() as folder:
        tables = _stored_tables(folder / "parsetab.py")
        if tables is not None:
            sys.modules[TABLES] = tables  # where PLY looks for them; it checks that they are of this grammar
        try:
            return VerilogParser(outputdir=str(folder), debug=False)
        finally:
            sys.modules.pop(TABLES, None)


def _stored_tables(file: Path) -> ModuleType | None:
    """Return the tables that an earlier process kept, None where there are none or they are damaged."""
    spec = importlib.util.spec_from_file_location(TABLES, file)
    if spec is None or spec.loader is None:
        return None
    tables = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(tables)
    except (OSError, SyntaxError, ValueError, NameError, TypeError):  # another process is writing them just now, say
        return None
    wanted = ("_tabversion", "_lr_method", "_lr_signature", "_lr_action", "_lr_goto", "_lr_productions")
    return tables if all(hasattr(tables, name) for name in wanted) else None


@contextlib.contextmanager
def _tables() -> Iterator[Path]:
    try:
        folder = cache_folder() / "pyverilog"
        folder.mkdir(exist_ok=True)
        usable = os.access(folder, os.W_OK)
    except OSError:
        usable = False
    if usable:
        yield folder
    else:
        with temporary_folder("pyverilog") as folder:
            yield folder


def _module(module: ast.ModuleDef) -> ModuleInfo:
    from pyverilog.vparser import ast

    declared: dict[str, ModulePort] = {}
    order: list[str] = []
    for entry in module.portlist.ports if module.portlist else ():
        if isinstance(entry, ast.Ioport):
            declared[entry.first.name] = _port(entry.first)
            order.append(entry.first.name)
        else:
            order.append(entry.name)
    instances: list[tuple[str, str]] = []
    for item in module.items or ():
        if isinstance(item, ast.Decl):
            for part in item.list:
                if isinstance(part, ast.Input | ast.Output | ast.Inout):
                    declared[part.name] = _port(part)
                elif isinstance(part, ast.Wire | ast.Reg) and part.signed and part.name in declared:
                    declared[part.name] = replace(declared[part.name], signed=True)  # wire signed [7:0] port
        elif isinstance(item, ast.InstanceList):
            instances.extend((instance.module, instance.name) for instance in item.instances)
    blocks = [(block, _edged(block)) for block in _found(module, ast.Always)]
    clocked, unclocked = (
        tuple(dict.fromkeys(name for block, edged in blocks if edged is wanted for name in _assigned(block)))
        for wanted in (True, False)
    )
    return ModuleInfo(module.name, tuple(declared[name] for name in order), tuple(instances), clocked, unclocked)


def _found(node: ast.Node, kind: type[_Part]) -> Iterator[_Part]:
    """Return every part of *node* that is of *kind*, itself too."""
    if isinstance(node, kind):
        yield node
    for child in node.children():
        yield from _found(child, kind)


def _edged(block: ast.Always) -> bool:
    return any(part.type in ("posedge", "negedge") for part in (block.sens_list.list if block.sens_list else ()))


def _assigned(block: ast.Always) -> list[str]:
    """Return the names that an ``always`` block assigns, in order."""
    from pyverilog.vparser import ast

    names = []
    for target in _found(block.statement, ast.Lvalue):
        names += [next(_found(part, ast.Identifier)).name for part in _targets(target.var)]
    return names


def _targets(target: ast.Node) -> list[ast.Node]:
    """Return the parts of what is assigned to: those of a concatenation, else itself."""
    parts = getattr(target, "list", None)
    return [target] if parts is None else [inner for part in parts for inner in _targets(part)]


def _port(part: ast.Variable) -> ModulePort:
    from pyverilog.vparser import ast

    direction = {ast.Input: "input", ast.Output: "output"}.get(type(part), "inout")
    signed = bool(getattr(part, "signed", False))
    if part.width is None:
        return ModulePort(part.name, direction, 1, signed)
    ends = [end.value for end in (part.width.msb, part.width.lsb) if isinstance(end, ast.IntConst)]
    bits = abs(int(ends[0]) - int(ends[1])) + 1 if len(ends) == 2 else None
    return ModulePort(part.name, direction, bits, signed)


def check_emitted(emitted: Emitted) -> dict[str, ModuleInfo]:
    """Read *emitted* back and check its ports, widths and instances against the circuit it was made from.

    Returns the modules. Raises :class:`GraphError` listing every difference: it would be a defect of the backend.
    """
    modules = read_modules(emitted.verilog, emitted.top)
    problems: list[Problem] = []
    top = modules.get(emitted.top)
    if top is None:
        raise GraphError(emitted.top, [Problem(emitted.top, "the emitted text lacks its top module")])
    wanted: set[tuple[str, str, int | None]] = {
        (name, "input", len(positions)) for name, positions in emitted.input_bits
    }
    wanted |= {(name, "output", bits) for name, bits in emitted.outputs}
    if emitted.clock:
        wanted.add((emitted.clock, "input", 1))
    seen = {(port.name, port.direction, port.bits) for port in top.ports}
    for name, direction, bits in sorted(wanted - seen, key=str):
        problems.append(Problem(f"{emitted.top}.{name}", f"{direction} of {bits} bits is missing in the emitted text"))
    for name, direction, bits in sorted(seen - wanted, key=str):
        problems.append(Problem(f"{emitted.top}.{name}", f"{direction} of {bits} bits is not in the Graph"))
    for module in modules.values():
        for kind, instance in module.instances:
            if kind not in modules:
                problems.append(Problem(f"{module.name}.{instance}", f"module {kind} is missing in the emitted text"))
    if problems:
        raise GraphError(f"{emitted.top} as read back", problems)
    return modules
