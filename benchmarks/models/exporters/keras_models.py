"""Networks of Keras 3: its own ``export`` with two backends, and tf2onnx on Keras models and functions of TensorFlow."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exporter_cases import CLASSES, FEATURES, HIDDEN, MULTILABEL, REGRESSION, Case, readings

BACKENDS = {"tensorflow": ("keras", "tensorflow-cpu", "tf2onnx"), "torch": ("keras", "torch")}
HOMES = {"tensorflow": "tensorflow", "torch": "torch"}


def _sequence(activation: Any = "relu", end: str | None = "softmax", outputs: int = CLASSES, norm: bool = False) -> Any:
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    parts = [layers.Dense(HIDDEN, activation=None if norm else activation)]
    parts += [layers.BatchNormalization(), layers.Activation(activation)] if norm else []
    made = keras.Sequential([keras.Input((FEATURES,)), *parts, layers.Dense(outputs, activation=end)])
    if norm:
        made.layers[1].set_weights([abs(weight) + 0.5 for weight in made.layers[1].get_weights()])
    return made


def _approximate_gelu(x: Any) -> Any:
    import keras

    return keras.activations.gelu(x, approximate=True)


def _residual() -> Any:
    import keras

    keras.utils.set_random_seed(1)
    layers = keras.layers
    x = keras.Input((FEATURES,))
    hidden = layers.Dense(HIDDEN, activation="relu")(x)
    both = layers.add([hidden, layers.Dense(HIDDEN, activation="relu")(hidden)])
    return keras.Model(x, layers.Dense(CLASSES)(both))


NETWORKS: tuple[tuple[str, str, Callable[[], Any], str | None], ...] = (
    ("Sequential", "relu, softmax", _sequence, None),
    ("Sequential", "relu, logits", lambda: _sequence(end=None), None),
    ("Sequential", "relu, a single sigmoid", lambda: _sequence(end="sigmoid", outputs=1), None),
    ("Sequential", "BatchNormalization", lambda: _sequence(norm=True), None),
    ("Sequential", "leaky_relu", lambda: _sequence("leaky_relu"), None),
    ("Sequential", "hard_sigmoid", lambda: _sequence("hard_sigmoid"), None),
    ("Sequential", "hard_swish", lambda: _sequence("hard_swish"), None),
    ("Sequential", "tanh", lambda: _sequence("tanh"), None),
    ("Sequential", "silu", lambda: _sequence("silu"), None),
    ("Sequential", "gelu", lambda: _sequence("gelu"), None),
    ("Sequential", "gelu, approximate", lambda: _sequence(_approximate_gelu), None),
    ("residual network", "branches added up", _residual, None),
    ("regressor", "a single value", lambda: _sequence(end=None, outputs=1), REGRESSION),
    ("several labels", "sigmoid each", lambda: _sequence(end="sigmoid"), MULTILABEL),
)


def _exported(make: Callable[[], Any], backend: str) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        os.environ["KERAS_BACKEND"] = backend
        model = make()
        model(readings(2))
        model.export(str(file), format="onnx", verbose=False)

    return write


def _converted(make: Callable[[], Any]) -> Callable[[Path], None]:
    """Return what writes a Keras model as ``tf2onnx.convert.from_function`` makes it: ``from_keras`` is for Keras 2."""

    def write(file: Path) -> None:
        os.environ["KERAS_BACKEND"] = "tensorflow"
        import tensorflow
        import tf2onnx

        model = make()
        signature = [tensorflow.TensorSpec((None, FEATURES), tensorflow.float32, name="x")]
        function = tensorflow.function(lambda x: model(x, training=False), input_signature=signature)
        tf2onnx.convert.from_function(function, input_signature=signature, opset=17, output_path=str(file))

    return write


def _variables(file: Path) -> None:
    import tensorflow
    import tf2onnx

    tensorflow.random.set_seed(1)
    w = [tensorflow.Variable(tensorflow.random.normal(shape)) for shape in ((FEATURES, HIDDEN), (HIDDEN, CLASSES))]

    @tensorflow.function(input_signature=[tensorflow.TensorSpec((None, FEATURES), tensorflow.float32, name="x")])
    def network(x: Any) -> Any:
        return tensorflow.argmax(tensorflow.nn.relu(x @ w[0] + 0.5) @ w[1], axis=1)

    signature = [tensorflow.TensorSpec((None, FEATURES), tensorflow.float32, name="x")]
    tf2onnx.convert.from_function(network, input_signature=signature, opset=15, output_path=str(file))


ERFC = "operator Erfc is not supported"
"""Of files of tf2onnx with the exact gelu: it is no operator of ONNX, and no runtime knows it either."""


def _cases() -> list[Case]:
    found = []
    for backend, packages in BACKENDS.items():
        for model, form, make, task in NETWORKS:
            write, why = _exported(make, backend), ERFC if (backend, form) == ("tensorflow", "gelu") else ""
            found.append(Case(f"Keras, {backend} backend", model, form, packages, write, HOMES[backend], task, why))
    packages = ("tf2onnx", "tensorflow-cpu", "keras")
    for model, form, make, task in NETWORKS:
        why = ERFC if form == "gelu" else ""
        found.append(Case("tf2onnx", f"Keras {model}", form, packages, _converted(make), "tensorflow", task, why))
    found.append(Case("tf2onnx", "tf.function", "variables, argmax", packages[:2], _variables, "tensorflow"))
    return found


CASES = tuple(_cases())
