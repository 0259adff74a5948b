"""The words of a Verilog text: which modules it defines, which directives it uses, and identifiers under other names."""

from __future__ import annotations

import re

# comments, texts, escaped identifiers, system tasks, directives, numbers, identifiers: what must not be cut in two
_TOKEN = re.compile(
    r"""(?P<skip>//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*"|\$\w+|\d[\w]*|'[sS]?[bBoOdDhH]\s*\w+)"""
    r"""|(?P<directive>`\w+)|\\(?P<escaped>\S+)|(?P<plain>[A-Za-z_][\w$]*)""",
    re.DOTALL,
)


def defined_modules(verilog: str) -> tuple[str, ...]:
    """Return the names of the modules that a text defines, in order."""
    found, after_keyword = [], False
    for match in _TOKEN.finditer(verilog):
        word = match["plain"] or match["escaped"]
        if word is None:
            continue
        if after_keyword:
            found.append(word)
        after_keyword = match["plain"] in ("module", "macromodule")
    return tuple(found)


def rename_identifiers(verilog: str, names: dict[str, str]) -> str:
    """Return *verilog* with every identifier in *names* replaced; comments, texts and numbers stay as they are.

    A port, wire or instance that bears a module's name is renamed along with it, at every place, so the text keeps its
    meaning.
    """

    def replaced(match: re.Match[str]) -> str:
        if match["plain"] in names:
            return names[match["plain"]]
        if match["escaped"] in names:
            return "\\" + names[match["escaped"]]
        return match[0]

    return _TOKEN.sub(replaced, verilog)


def words_in(verilog: str) -> set[str]:
    """Return all identifiers of a text, keywords among them."""
    return {word for match in _TOKEN.finditer(verilog) if (word := match["plain"] or match["escaped"])}


def directives_in(verilog: str) -> set[str]:
    """Return the compiler directives and macros that a text uses, such as ```timescale``."""
    return {match["directive"] for match in _TOKEN.finditer(verilog) if match["directive"]}


_WITH_HASH = re.compile(
    r"""(?P<skip>//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\])*")|(?P<name>\\\S+|[A-Za-z_$][\w$]*)|(?P<hash>\#+\s*[^\s;()]*)|(?P<other>\S)""",
    re.DOTALL,
)
_NO_MODULE = re.compile(
    r"always|and|assign|begin|buf|bufif0|bufif1|cmos|do|else|forever|fork|initial|nand|nmos|nor|not|notif0|notif1|or|pmos|"
    r"pull0|pull1|rcmos|reg|rnmos|rpmos|rtran|strong0|strong1|supply0|supply1|tran|tri|tri0|tri1|triand|trior|trireg|wand|"
    r"weak0|weak1|wire|wor|xnor|xor|"
)
"""Behind these, and behind no word at all, ``#`` begins a delay; behind any other word the parameters of an instance."""


def delays_in(verilog: str) -> list[str]:
    """Return the delays of a text, such as ``#1``, in order, each once."""
    found: dict[str, None] = {}
    before = ""
    for match in _WITH_HASH.finditer(verilog):
        if match["skip"]:
            continue
        if match["hash"] and _NO_MODULE.fullmatch(before):
            found[match["hash"] if len(match["hash"].strip("#")) else "#(…)"] = None
        before = match["name"] or ""
    return [*found]


def system_tasks_in(verilog: str) -> set[str]:
    """Return the system tasks and functions that a text calls, such as ``$display``."""
    return {match[0] for match in _TOKEN.finditer(verilog) if match[0].startswith("$")}
