"""docs/tried.md is what the cases of tests and benchmarks make, at the versions that are installed here."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from types import ModuleType

import pytest
from exporter_cases import HERE

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tried() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(CHECKOUT / "benchmarks"))
        import tried

        return tried


def test_the_page_is_what_the_cases_make(tried):
    page = (CHECKOUT / "docs" / "tried.md").read_text(encoding="utf-8")
    assert page == tried.page(), "make it anew: make pages"


def test_the_versions_of_the_page_are_those_that_run_here(tried):
    names = {name for case in tried.CASES if case.environment == HERE for name in case.packages}
    names |= {name for source in tried.SOURCES for name in source.packages}
    assert {"torch", "onnxscript", "skl2onnx", "onnxruntime", "scikit-learn"} <= names
    for name in names:
        assert importlib.metadata.version(name).split("+")[0] == tried.pins()[name], name


def test_every_other_source_has_a_test(tried):
    for source in tried.SOURCES:
        assert tried.holding(source.marks), source.what
    assert (CHECKOUT / tried.TEST_OF_CASES).is_file()
