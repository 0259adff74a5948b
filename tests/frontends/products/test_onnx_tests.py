"""A sample of ONNX's own tests: no traceback, no wrong value; and the page that tells of all of them says the same."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
FILES = (
    "conv",
    "convtranspose",
    "gemm",
    "gru",
    "lstm",
    "rnn",
    "if",
    "loop",
    "einsum",
    "qlinearconv",
    "affinegrid",
    "det",
)


@pytest.fixture(scope="module")
def tests_of_onnx() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(CHECKOUT / "benchmarks"))
        import onnx_tests

        return onnx_tests


def test_nodes_of_products_and_others(tests_of_onnx):
    found = [tests_of_onnx.judged(case) for case in tests_of_onnx.node_cases(FILES)]
    assert len(found) > 40
    assert [(each.name, each.trace, each.wrong) for each in found if each.trace or each.ran == "differs"] == []
    equal = {kind for each in found if each.ran == "equal" for kind in each.products}
    assert equal == {"conv", "convtranspose", "gemm", "matmul"}
    assert sum(each.ran == "equal" for each in found) > 30


def test_whole_models(tests_of_onnx):
    found = [tests_of_onnx.judged(case) for case in tests_of_onnx.model_cases(("pytorch-operator",))]
    assert len(found) == 35
    assert [each for each in found if each.trace or each.ran == "differs"] == []
    assert {kind for each in found if each.ran == "equal" for kind in each.products} >= {"conv"}


def test_a_wrong_value_and_a_traceback_are_found(tests_of_onnx, monkeypatch):
    case = next(each for each in tests_of_onnx.node_cases(["gemm"]) if "gemm" in each.name)
    right = tests_of_onnx.finish_product
    monkeypatch.setattr(tests_of_onnx, "finish_product", lambda lowered: right(lowered) + np.float32(0.01))
    assert "lowered: y: off by 0.01" in tests_of_onnx.judged(case).wrong
    monkeypatch.setattr(tests_of_onnx, "finish_product", lambda lowered: 1 / 0)
    assert "ZeroDivisionError" in tests_of_onnx.judged(case).trace


def test_the_page_tells_of_no_traceback_and_no_wrong_value():
    text = (CHECKOUT / "docs" / "onnx-tests.md").read_text()
    (line,) = re.findall(r"^\| all \|(.*)\|$", text, re.MULTILINE)
    cases, tracebacks, _circuits, engines, refused, ran, equal, wrong = map(int, line.split("|"))
    assert cases >= 1884
    assert engines + refused == cases
    assert ran == equal > 150
    assert (tracebacks, wrong) == (0, 0)
    assert "Found:" not in text
