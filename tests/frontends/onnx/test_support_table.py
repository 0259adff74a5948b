"""The table in docs/operators.md is the one that the code makes, and it is complete; imports stay light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from onnx import defs

from approxhw.frontends.onnx import support

PAGE = Path(__file__).resolve().parents[3] / "docs" / "operators.md"


def test_the_page_holds_the_table_that_the_code_makes():
    page = PAGE.read_text(encoding="utf-8")
    assert support.page_with_table(page) == page, "make it anew with approxhw.frontends.onnx.support.page_with_table"


def test_every_operator_stands_in_the_table_once():
    table = support.support_table()
    for name in [*support.STANDARD_OPERATORS, *support.ML_OPERATORS, *support.QONNX_OPERATORS]:
        assert table.count(f"| `{name}` |") == 1 + (name in support.MICROSOFT_OPERATORS)
    for name in support.MICROSOFT_OPERATORS:
        assert table.count(f"| `{name}` | {support.MICROSOFT} |") == 1


@pytest.mark.parametrize(("table", "domain"), [("STANDARD_OPERATORS", ""), ("ML_OPERATORS", "ai.onnx.ml")])
def test_every_operator_of_the_table_exists_in_onnx(table, domain):
    for name in getattr(support, table):
        assert defs.has(name, domain), name


def test_no_operator_is_both_read_and_refused():
    read = {*support.STANDARD_OPERATORS, *support.ML_OPERATORS, *support.QONNX_OPERATORS}
    assert not read & set(support.ADVICE)


def test_importing_the_frontends_loads_nothing_heavy():
    heavy = {"onnx", "onnxruntime", "sklearn", "skl2onnx"}
    program = f"import sys, approxhw.frontends; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
