"""Files that real exporters write, made here: the Graph says what onnxruntime says of each, and what is refused says why."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from all_cases import CASES
from exporter_cases import HERE, quiet

CHECKOUT = Path(__file__).resolve().parents[2]
TRIED = [case for case in CASES if case.environment == HERE and case.in_tests]


@pytest.fixture(scope="module")
def exporters() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(CHECKOUT / "benchmarks"))
        import exporters

        return exporters


@pytest.mark.parametrize("case", TRIED, ids=lambda case: case.title)
def test_a_file_of_an_exporter_is_read_as_it_runs(case, exporters, tmp_path):
    with quiet():
        case.make(tmp_path / "model.onnx")
    outcome, model = exporters.tried(case, tmp_path / "model.onnx")
    assert outcome.unclaimed == ""
    assert (model is None) == bool(case.refused)
    assert outcome.rows == (0 if case.refused else 2000)
    if model is not None:
        assert outcome.differ <= 10


def test_what_differs_is_found(exporters, tmp_path, monkeypatch):
    """Another class on a hundred rows is not as claimed; neither is what is refused, and should be read."""
    case = next(case for case in TRIED if case.form == "ReLU, logits")
    with quiet():
        case.make(tmp_path / "model.onnx")
    right = exporters.predict

    def wrong(graph, rows):
        found = right(graph, rows)
        found[:100] = (found[:100] + 1) % 3
        return found

    monkeypatch.setattr(exporters, "predict", wrong)
    outcome, _ = exporters.tried(case, tmp_path / "model.onnx")
    assert outcome.unclaimed == "100 of 2000 rows differ"
    refused = exporters.Outcome(case, refused="operator X is not supported")
    assert refused.unclaimed == "is refused: operator X is not supported"
