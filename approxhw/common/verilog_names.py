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


def system_tasks_in(verilog: str) -> set[str]:
    """Return the system tasks and functions that a text calls, such as ``$display``."""
    return {match[0] for match in _TOKEN.finditer(verilog) if match[0].startswith("$")}
