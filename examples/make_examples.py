"""Train the example classifiers on data that scikit-learn ships, and write them beside this file as ONNX.

Run it from anywhere: python examples/make_examples.py. The files it writes are in the repository; running it again gives
models of the same shape (the weights may differ in the last digits between machines).
"""

from __future__ import annotations

import warnings
from pathlib import Path

from skl2onnx import to_onnx
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import approxhw as ax

# name, hidden neurons: small, as printed classifiers are
EXAMPLES = (("breast_cancer", 3), ("iris", 3), ("digits", 16))


def main() -> None:
    """Train every example on the same training rows that ``--data sklearn:NAME`` gives, and say how good it is."""
    for name, hidden in EXAMPLES:
        data = ax.load_dataset(f"sklearn:{name}")
        network = MLPClassifier((hidden,), alpha=1e-3, max_iter=2000, random_state=1)
        model = make_pipeline(MinMaxScaler(), network)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(data.X_train, data.y_train)
        # float64 in and out, so that the scaler's figures stay what scikit-learn has
        proto = to_onnx(model, data.X_train[:1], options={"zipmap": False}, target_opset=18)
        path = Path(__file__).with_name(f"{name}.onnx")
        path.write_bytes(proto.SerializeToString())
        print(f"{path.name}: test accuracy {model.score(data.X_test, data.y_test):.4f}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
