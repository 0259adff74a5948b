"""printed-exact on the five outside classifiers: accuracy against the float models, on rows that no pass has seen."""

from pathlib import Path

import pytest

from approxhw.common.data.dataset import load_dataset
from approxhw.frontends import read_model
from approxhw.ir.evaluation import accuracy
from approxhw.ir.pass_manager import PassContext, named_pipeline, parse_passes, run_passes

TASKS = Path(__file__).resolve().parents[3].parent / "shared" / "tasks"
pytestmark = pytest.mark.skipif(not TASKS.is_dir(), reason="work material ../shared/tasks is not here")

# float accuracy, and the most that 8-bit weights and inputs of 4 or 8 bits may cost (638 test rows of cardio: one is 0.16 %)
NAMES = {
    "breast_cancer": (0.9561, 0.01),
    "cardio": (0.9138, 0.015),
    "pendigits": (0.9597, 0.01),
    "redwine": (0.6104, 0.01),
    "whitewine": (0.5605, 0.01),
}


def task(name):
    graph = read_model(TASKS / f"{name}.onnx")
    return graph, load_dataset(TASKS / f"{name}.npz", features=graph.input.type.elements, classes=graph.classes)


@pytest.mark.parametrize("name", NAMES)
def test_quantised_accuracy_is_near_the_float_accuracy(name):
    known, loss = NAMES[name]
    graph, data = task(name)
    assert accuracy(graph, data.X_test, data.y_test) == pytest.approx(known, abs=1e-4)
    result, ledger = run_passes(graph, named_pipeline("printed-exact"), PassContext(data))
    assert result.is_integer
    assert ledger[-1].test_accuracy_after >= known - loss
    assert all(record.checked_rows > 500 for record in ledger if record.kind == "exact")
    eight, _ = run_passes(graph, named_pipeline("printed-exact", input_bits=8), PassContext(data))
    assert accuracy(eight, data.X_test, data.y_test) >= known - loss


@pytest.mark.parametrize(("name", "middle"), [("cardio", 0.895), ("pendigits", 0.9515), ("whitewine", 0.5143)])
def test_the_middle_of_a_floor16_cell_is_the_better_reading(name, middle):
    graph, data = task(name)
    after, _ = run_passes(graph, parse_passes("quantize-inputs{code=floor16},fold-affine"), PassContext(data))
    assert accuracy(after, data.X_test, data.y_test) == pytest.approx(middle, abs=2e-3)
