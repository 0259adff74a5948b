"""Read Verilog files with what they include: from beside them or from folders that the user names, and from nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from approxhw.common.errors import OptionError, Problem, shown
from approxhw.common.files import opened

from .source import MAX_SOURCE_BYTES, VerilogSource

MAX_FILES = 2000
MAX_DEPTH = 64
SYSTEM_VERILOG = (".sv", ".svh")
# A comment that is never closed ends with the text; names behind "\" may hold quotes.
_TOKENS = re.compile(
    r"//[^\n]*|/\*(?:[^*]|\*(?!/))*(?:\*/|\Z)|\\[^\s]+|(?P<readmem>\$readmem[hb]\s*\()"
    r'|`include[ \t]*(?P<include>"[^"\n]*"|<[^>\n]*>|[^\s"<]+)|(?P<text>"(?:\\.|[^"\\\n])*")'
)
_GUARDED = re.compile(r"`(?:ifn?def|pragma\s+once)\b")


def read_sources(
    paths: Sequence[str | Path],
    *,
    include: Sequence[str | Path] = (),
    defines: Mapping[str, str] | None = None,
    parameters: Mapping[str, int | str] | None = None,
) -> VerilogSource:
    """Return the Verilog files *paths*, compiled in this order, with all that they include and the data that they read.

    ``include``: folders in which includes and data files are looked for, after that of the file that names them. A file that
    lies, links followed, neither below one of these nor below the folder of one of *paths* is never read. Files called ``.sv``
    make it SystemVerilog. Raises :class:`OptionError` listing every file that is missing, no plain file, or no text.
    """
    problems = [
        Problem(shown(folder, 160), "is no folder to include from", "name a folder that is there")
        for folder in include
        if not Path(folder).is_dir()
    ]
    files = [Path(path) for path in paths]
    folders = tuple(Path(folder).resolve() for folder in include)
    beside = tuple(dict.fromkeys(path.absolute().parent.resolve() for path in files))
    reader = _Reader(folders, (*beside, *folders))
    units = []
    for number, path in enumerate(files, 1):
        try:
            content = reader.content(path)
        except OSError as error:
            problems.append(Problem(str(path), f"it cannot be read as text ({error.strerror or error})"))
            continue
        suffix = ".sv" if path.suffix in SYSTEM_VERILOG else ".v"
        name = f"source{suffix}" if len(files) == 1 else f"source_{number}{suffix}"
        units.append(name)
        reader.take(name, path.name, path.absolute().parent.resolve(), content, (path.resolve(),))
    if not files:
        problems.append(Problem("verilog", "no file is named", "name at least one"))
    if problems:
        raise OptionError("verilog", problems)
    return VerilogSource(
        files=reader.files,
        units=tuple(units),
        names=reader.names,
        unread=reader.unread,
        defines=defines or {},
        parameters=parameters or {},
        system_verilog=any(path.suffix in SYSTEM_VERILOG for path in files),
    )


def source_of(verilog: str | VerilogSource) -> VerilogSource:
    """Return *verilog*, of which a text is one file without a folder: it can include nothing."""
    if isinstance(verilog, VerilogSource):
        return verilog
    reader = _Reader((), ())
    reader.take("source.v", "source.v", None, verilog.encode("utf-8", "surrogatepass"), ())
    return VerilogSource(reader.files, ("source.v",), unread=reader.unread)


@dataclass
class _Reader:
    """What was read so far. ``search``: folders looked in; ``roots``: folders below which a file must lie."""

    search: tuple[Path, ...]
    roots: tuple[Path, ...]
    files: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    unread: dict[str, Problem] = field(default_factory=dict)
    taken: dict[Path, str] = field(default_factory=dict)
    total: int = 0

    def content(self, path: Path) -> bytes:
        """Return the bytes of a plain file; raises ``OSError`` for another thing, and for what is too much or no text."""
        with opened(path) as file:
            data = file.read(MAX_SOURCE_BYTES - self.total + 1).removeprefix(b"\xef\xbb\xbf")
        if len(data) + self.total > MAX_SOURCE_BYTES:
            raise OSError(f"all of it is more than {MAX_SOURCE_BYTES // 1_000_000} MB")
        if b"\0" in data:
            raise OSError("it holds zero bytes: no text, or of another coding than UTF-8")
        self.total += len(data)
        return data

    def take(self, name: str, called: str, folder: Path | None, content: bytes, stack: tuple[Path, ...]) -> None:
        """Keep *content* as *name*, its includes and data files found and called by names of ours."""
        # bytes as characters: comments may be of any coding
        text = content.decode("latin-1")
        if "`include" in text or "$readmem" in text:
            text = self._rewritten(text, called, folder, stack)
        self.names[name] = called
        self.files[name] = text.encode("latin-1")

    def _rewritten(self, text: str, called: str, folder: Path | None, stack: tuple[Path, ...]) -> str:
        reads_data = "$readmem" in text
        parts, done, line, after_readmem = [], 0, 1, False
        for found in _TOKENS.finditer(text):
            if found["readmem"]:
                after_readmem = True
                continue
            if not (found["include"] or (found["text"] and reads_data)):
                continue
            between = text[done : found.start()]
            line += between.count("\n")
            where = f"{called}, line {line}"
            if found["include"]:
                instead = f'`include "{self._included(found["include"], where, folder, stack)}"'
            else:
                instead = self._data(found["text"], where, folder, after_readmem)
            after_readmem = False
            parts += [between, instead]
            done = found.end()
        return "".join([*parts, text[done:]])

    def _included(self, spelled: str, where: str, folder: Path | None, stack: tuple[Path, ...]) -> str:
        """Return the name of the file that an include *spelled* so stands for, read already."""
        written = f"`include {shown(spelled, 80)}"
        if spelled[0] not in '"<':
            return self._mark(where, f"{written} has no file name in quotes", "write the name itself")
        path = self._found(spelled[1:-1], folder)
        if isinstance(path, str):
            return self._mark(where, f"{written}: {path}", "name the folder it lies in with -I (include=[…] in Python)")
        if path in stack and not _GUARDED.search(self._peek(path)):
            return self._mark(where, f"{written} is a file that includes itself without end", "guard it with `ifndef")
        if path in self.taken:
            return self.taken[path]
        name = f"include_{len(self.taken) + 1}{'.svh' if path.suffix in SYSTEM_VERILOG else '.vh'}"
        if len(stack) > MAX_DEPTH or len(self.taken) >= MAX_FILES:
            return self._mark(where, f"{written} is one of too many files", f"at most {MAX_FILES}, {MAX_DEPTH} deep")
        try:
            content = self.content(path)
        except OSError as error:
            return self._mark(where, f"{written} cannot be read ({error.strerror or error})", "check that file")
        self.taken[path] = name
        self.take(name, path.name, path.parent, content, (*stack, path))
        return name

    def _peek(self, path: Path) -> str:
        with opened(path) as file:
            return file.read(MAX_SOURCE_BYTES).decode("latin-1")

    def _data(self, literal: str, where: str, folder: Path | None, named: bool) -> str:
        """Return what stands for a text that may name a data file; *named*: it is the file of a ``$readmem``."""
        name = literal[1:-1]
        path = self._found(name, folder)
        if isinstance(path, str):
            leaves = name.startswith(("/", "~")) or ".." in Path(name).parts
            if not (named or leaves):
                return literal
            why = f"the data file {shown(literal, 80)}: {path}"
            return f'"{self._mark(where, why, "name the folder it lies in with -I (include=[…] in Python)")}"'
        if not named and "." not in name:  # a mode called "fast" beside a file called fast is no file
            return literal
        if path not in self.taken:
            try:
                content = self.content(path)
            except OSError as error:
                if not named:
                    return literal
                why = f"the data file {shown(literal, 80)} cannot be read ({error.strerror or error})"
                return f'"{self._mark(where, why, "check that file")}"'
            self.taken[path] = f"data_{len(self.taken) + 1}.mem"
            self.files[self.taken[path]] = content
        return f'"{self.taken[path]}"'

    def _found(self, name: str, folder: Path | None) -> Path | str:
        """Return the file called *name*, links followed, or why there is none that may be read."""
        if folder is None and not self.roots:
            return "a text has no folder to look in: give files"
        outside = False
        for base in (*([folder] if folder is not None else []), *self.search):
            try:
                path = (base / name).resolve()
                if not name or not path.is_file():
                    continue
            except (OSError, ValueError, RuntimeError):
                continue
            if any(path.is_relative_to(root) for root in self.roots):
                return path
            outside = True
        if outside:
            return "it lies outside of the folders that may be read, those of the files and those named with -I"
        return "there is no such file beside it, nor in a folder named with -I"

    def _mark(self, where: str, why: str, remedy: str) -> str:
        """Return a name that stands for what cannot be read: only where it is reached will a tool ask for it."""
        marker = f"approxhw_unread_{len(self.unread) + 1}_"
        self.unread[marker] = Problem(where, why, remedy)
        return marker
