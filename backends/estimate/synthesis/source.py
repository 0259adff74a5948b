"""Verilog as tools get it: texts under names of our own, macros and parameters, and the commands that read them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from approxhw.backends.estimate.library.cells import IDENTIFIER, Cell
from approxhw.common.errors import OptionError, Problem, ToolFailedError, VerilogError, shown

MAX_SOURCE_BYTES = 64_000_000
WRAPPER = "approxhw_wrapper"
STUBS = "approxhw_cells"
"""File of the library cells that a source instantiates by name."""
# What stands in a script of Yosys unquoted: no blank, no ";", no "#".
_DEFINED = re.compile(r"[A-Za-z0-9_.'\"$+*/%()<>&|^~?:,\[\]{}=!-]{0,400}")
_INTEGER = re.compile(r"[+-]?[0-9][0-9_]{0,400}")
_SIZED = re.compile(r"([0-9]{1,5})?'(s?)([bodhBODH])([0-9a-fA-F_]{1,2000})")
_TEXT = re.compile(r"[A-Za-z0-9_./+,:=-]{0,400}")
_STAGED = re.compile(r"\b(?:source|include)_?[0-9]*\.(?:svh|vh|sv|v)\b")
_BASES = {"b": 2, "o": 8, "d": 10, "h": 16}


_STOPPED = (
    (
        re.compile(
            r"^\S+?:\d+(?=(?:\.\d+\S*)?: ?ERROR: ?System task `\$(?:finish|stop|fatal)' executed)", re.MULTILINE
        ),
        "an initial block ends the simulation: this is a test bench, or a guard against parameters that are given",
        "leave the bench out of the files, or give --parameter what the guard allows",
    ),
    (
        re.compile(r"ERROR: Cannot flatten a design containing recursive instantiations"),
        "a module instantiates itself without an end",
        "let its parameter fall with each step",
    ),
)
"""What of a log says that elaboration stops, and what to tell of it."""


@dataclass(frozen=True)
class VerilogSource:
    """Everything that is read of a circuit, under names that are safe in every script.

    ``files``: content by name; ``units``: those that are compiled, in order. ``names``: what users call a file.
    ``unread``: names that stand in the files where an include or a data file cannot be read, and why. ``defines``: macros;
    ``parameters``: of the top module, integers or texts. ``system_verilog``: read by the full front end for SystemVerilog.
    """

    files: Mapping[str, bytes]
    units: tuple[str, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    unread: Mapping[str, Problem] = field(default_factory=dict)
    defines: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, int | str] = field(default_factory=dict)
    system_verilog: bool = False

    def write(self, folder: Path, cells: Sequence[Cell] = ()) -> None:
        """Write all files into *folder*, and the frames of *cells* that the source instantiates."""
        for name, content in self.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        if cells:
            (folder / f"{STUBS}.v").write_text("".join(map(_frame, cells)))
        if self.parameters:
            lines = "".join(f"    parameter {_rtlil(name, value)}\n" for name, value in self.parameters.items())
            (folder / f"{WRAPPER}.il").write_text(f"module \\{WRAPPER}\n  cell \\@TOP@ \\u\n{lines}  end\nend\n")

    def commands(
        self, folder: Path, top: str | None, cells: Sequence[Cell] = (), variant: Mapping[str, int] | None = None
    ) -> list[str]:
        """Return the commands that read it all in *folder*, where :meth:`write` wrote it, down to the hierarchy of *top*.

        Without *top* modules are read as they stand, and no hierarchy is built. ``variant``: parameters of Verilog of ours, whose
        signs do not matter.
        """
        stubs = [f"{STUBS}.v"] if cells else []
        defines = [f"-D{name}={value}" if value else f"-D{name}" for name, value in self.defines.items()]
        if self.system_verilog:
            words = ["read_slang --empty-blackboxes --max-include-depth 64 --error-limit 40", *defines]
            words += [f"--top {top}"] if top is not None else []
            words += [f"-G {name}={_slang(value)}" for name, value in self.parameters.items() if top is not None]
            read = [" ".join([*words, *self.units, *stubs])]
            return [*read, f"hierarchy -check -top {top}"] if top is not None else read
        later = ["-defer"] if self.parameters and top is not None else []
        read = [" ".join(["read_verilog", *later, *defines, *self.units])]
        read += [f"read_verilog -lib {STUBS}.v"] if stubs else []
        if top is None:
            return read
        if not self.parameters:
            given = "".join(f" -chparam {name} {value}" for name, value in (variant or {}).items())
            return [*read, f"hierarchy -check -top {top}{given}", *([f"rename -top {top}"] if given else [])]
        wrapper = folder / f"{WRAPPER}.il"
        wrapper.write_text(wrapper.read_text().replace("@TOP@", top))
        # a cell with parameters keeps their signs, which `chparam` loses; what it derived is then the only one on top
        read += [f"read_rtlil {WRAPPER}.il", f"hierarchy -check -top {WRAPPER}", f"delete {WRAPPER}"]
        return [*read, "hierarchy -check -auto-top", f"rename -top {top}", f"hierarchy -check -top {top}"]

    def told(self, text: str) -> str:
        """Return *text* of a tool with the files called as users call them."""
        return _STAGED.sub(lambda found: shown(self.names.get(found[0], found[0])), text)

    def place(self, attribute: str) -> str:
        """Return ``their.v, line 7`` for Yosys' *attribute* ``src``; empty where it names no file of the source."""
        found = re.match(r"([^|:]+):(\d+)", attribute.rsplit("|", 1)[-1])
        if found is None or found[1] not in self.files:
            return ""
        return f"{shown(self.names.get(found[1], found[1]))}, line {found[2]}"

    def explained(self, error: ToolFailedError) -> ToolFailedError | VerilogError:
        """Return *error* as users can act on it: what could not be read, or the log with their names in it."""
        unread = [problem for marker, problem in self.unread.items() if marker in error.tail]
        if unread:
            return VerilogError("Verilog", unread)
        for pattern, why, remedy in _STOPPED:
            if found := pattern.search(error.tail):
                return VerilogError("Verilog", [Problem(self.place(found[0]) or "hierarchy", why, remedy)])
        return ToolFailedError(error.tool, error.code, self.told(error.tail), error.log)


def check_source(source: VerilogSource) -> list[Problem]:
    """Return what is wrong with *source* before anything reads it: size, macros, parameters."""
    problems = []
    if sum(map(len, source.files.values())) > MAX_SOURCE_BYTES:
        problems.append(Problem("verilog", f"longer than {MAX_SOURCE_BYTES // 1_000_000} MB"))
    if not any(source.files[name].strip() for name in source.units):
        problems.append(Problem("verilog", "is empty", "give a file that defines a module"))
    for name, value in source.defines.items():
        if not IDENTIFIER.fullmatch(name) or not _DEFINED.fullmatch(value):
            why = "is no macro: a name, and a value without blanks"
            problems.append(Problem(f"define {shown(name, 40)}={shown(value, 40)}", why, "such as WIDTH=8"))
    for name, given in source.parameters.items():
        if not IDENTIFIER.fullmatch(name) or (isinstance(given, str) and not _is_value(given)):
            why = "is no parameter: a name, and an integer, a sized constant or a plain text"
            problems.append(Problem(f"parameter {shown(name, 40)}={shown(given, 40)}", why, "such as WIDTH=8"))
        elif source.system_verilog and not any(
            re.search(rb"\b%b\b" % name.encode(), source.files[n]) for n in source.units
        ):
            # the front end for SystemVerilog says nothing of parameters that are not there
            problems.append(
                Problem(f"parameter {shown(name, 40)}", "is in none of the files", "see the head of the top")
            )
    return problems


def named_values(given: Mapping[str, object] | Sequence[str], what: str) -> dict[str, str]:
    """Return ``NAME=VALUE`` texts, or a mapping, as texts by name; raise :class:`OptionError` for what is neither."""
    if isinstance(given, Mapping):
        return {str(name): "" if value is None else str(value) for name, value in given.items()}
    if isinstance(given, str):
        given = (given,)
    found, problems = {}, []
    for text in given:
        name, equals, value = str(text).partition("=")
        if not IDENTIFIER.fullmatch(name) or (what == "parameter" and not equals):
            problems.append(Problem(f"--{what} {shown(text, 60)}", "is not NAME=VALUE", "such as WIDTH=8"))
        found[name] = value
    if problems:
        raise OptionError("verilog", problems)
    return found


def parameter_value(text: str) -> int | str:
    """Return the value that *text* spells: an integer where it is one, else the text itself, without quotes around it."""
    if _INTEGER.fullmatch(text):
        return int(text.replace("_", ""))
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _is_value(text: str) -> bool:
    sized = _SIZED.fullmatch(text)
    if sized is None:
        return _TEXT.fullmatch(text) is not None
    try:
        int(sized[4], _BASES[sized[3].lower()])
    except ValueError:
        return False
    return 1 <= int(sized[1] or 32) <= 65536


def _bits(value: int | str) -> tuple[bool, str] | None:
    """Return whether a number is signed, and its bits; None for a text."""
    if isinstance(value, int):
        width = max(32, value.bit_length() + 1)
        return True, format(value & ((1 << width) - 1), f"0{width}b")
    sized = _SIZED.fullmatch(value)
    if sized is None:
        return None
    width = int(sized[1] or 32)
    number = int(sized[4], _BASES[sized[3].lower()]) & ((1 << width) - 1)
    return bool(sized[2]), format(number, f"0{width}b")


def _rtlil(name: str, value: int | str) -> str:
    bits = _bits(value)
    if bits is None:
        return f'\\{name} "{value}"'
    return f"{'signed ' if bits[0] else ''}\\{name} {len(bits[1])}'{bits[1]}"


def _slang(value: int | str) -> str:
    if isinstance(value, int):
        return str(value)
    return value if _SIZED.fullmatch(value) else f'"{value}"'


def _frame(cell: Cell) -> str:
    ports = ", ".join([*(f"input {pin}" for pin in cell.inputs), *(f"output {pin}" for pin in cell.functions)])
    return f"(* blackbox *) module {cell.name}({ports}); endmodule\n"
