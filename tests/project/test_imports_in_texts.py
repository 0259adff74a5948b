"""Programs inside of strings and pages import names that are there: no linter reads them."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
_IMPORT = re.compile(r"from (approxhw(?:\.\w+)*) import (\([^)]*\)|[^\n;#]+)")


def missing(text: str) -> tuple[int, list[str]]:
    """Return how many names *text* imports from the package, and those that are not there."""
    count, wrong = 0, []
    for found in _IMPORT.finditer(text):
        for spelled in found[2].strip("()").split(","):
            name = re.match(r"\s*(\w*)", spelled)[1]
            if name:
                count += 1
                wrong += [] if _is_there(found[1], name) else [f"{found[1]}: {name}"]
    return count, wrong


def _is_there(module: str, name: str) -> bool:
    try:
        if hasattr(import_module(module), name):
            return True
        import_module(f"{module}.{name}")
    except ImportError:
        return False
    return True


def test_names_that_tests_and_pages_import_are_there():
    files = [*(CHECKOUT / "tests").rglob("*.py"), *(CHECKOUT / "docs").glob("*.md"), CHECKOUT / "README.md"]
    total, wrong = 0, {}
    for file in files:
        if file != Path(__file__):
            count, names = missing(file.read_text(encoding="utf-8"))
            total += count
            wrong |= {str(file.relative_to(CHECKOUT)): names} if names else {}
    assert total > 1000
    assert wrong == {}


def test_a_name_of_before_is_found():
    assert missing("x = '''\nfrom approxhw.ir.graph import Graph, Grph\n'''") == (2, ["approxhw.ir.graph: Grph"])
    assert missing("from approxhw.formats import Fixed") == (1, ["approxhw.formats: Fixed"])
