"""A 64-32-10 network on scikit-learn's digits: the largest circuit that has to compile, and soon."""

import time

import pytest

import approxhw as ax
from approxhw.sim import simulate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The model, fitted here, and its design."""
    datasets = pytest.importorskip(
        "sklearn.datasets", reason="scikit-learn is not installed: pip install approxhw[sklearn]"
    )
    neural = pytest.importorskip("sklearn.neural_network", reason="scikit-learn is not installed")
    x, y = datasets.load_digits(return_X_y=True)
    model = neural.MLPClassifier((32,), random_state=1, max_iter=60).fit(x[:1200] / 16, y[:1200])
    started = time.perf_counter()
    design = ax.compile(
        model,
        data=(x[:1200] / 16, y[:1200], x[1200:] / 16, y[1200:]),
        output=tmp_path_factory.mktemp("digits") / "design",
    )
    return design, time.perf_counter() - started


def test_it_compiles_soon_and_keeps_its_accuracy(digits):
    design, seconds = digits
    hidden, outputs = [node.type.elements for node in design.design.graph.nodes if node.kind == "dense"]
    assert 16 < hidden <= 32  # neurons that nothing needs once digits have a price are dropped
    assert outputs == 10
    assert seconds < 60  # measured in benchmarks; here only that it does not hang
    assert design.accuracy["hardware"] >= design.accuracy["onnx"] - 0.02
    assert design.accuracy["onnx"] > 0.8


def test_verilator_equals_the_interpreter_on_every_test_row(digits, verilator):
    design, _ = digits
    result = design.simulate("verilator", random=20)
    assert result.mismatches == 0
    assert result.vectors >= 597 + 20


def test_icarus_equals_the_interpreter_on_some_rows(digits, icarus, tmp_path):
    from dataclasses import replace

    from approxhw.flow.stages.measure import job_of

    job, _ = job_of(digits[0].design, random=0)
    first = replace(
        job,
        vectors={name: column[:20] for name, column in job.vectors.items()},
        expected={name: column[:20] for name, column in job.expected.items()},
    )
    result = simulate(first, "icarus", tmp_path / "icarus")
    assert (result.vectors, result.mismatches) == (20, 0)
